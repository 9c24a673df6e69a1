//! What quick benchmarks share: the best of several runs of the build that people have, and indexes to measure with.

use std::time::Instant;

use xtask::chart::archive;
use xtask::chart::index::{self, Entry, Index};
use xtask::chart::manifest::ChartManifest;
use xtask::oci::sha256_hex;

use crate::measure::{cargo, root};

/// Runs the same benchmark as the development build that people have. False where it is that already.
pub(crate) fn is_run_as_people_do(package: &str, bench: &str, words: &[String]) -> bool {
    if cfg!(debug_assertions) {
        return false;
    }
    let mut again = cargo(root());
    again.args(["bench", "--profile", "dev", "--locked", "--package", package, "--bench", bench]);
    assert!(again.arg("--").args(words).status().unwrap().success());
    true
}

/// The shortest of some runs, in seconds, each after something that does not count.
pub(crate) fn best_of_prepared<T>(runs: usize, mut prepare: impl FnMut(), mut work: impl FnMut() -> T) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        prepare();
        let started = Instant::now();
        let result = work();
        best = best.min(started.elapsed().as_secs_f64());
        drop(result);
    }
    best
}

/// A whole entry, of the size of our real ones.
pub(crate) fn entry(chart: &str, version: &str) -> Entry {
    let text = include_str!("../../charts/kube9-operator/Chart.yaml");
    let mut manifest = ChartManifest::parse(text).unwrap();
    manifest.version = version.into();
    let (digest, image) = (sha256_hex(version.as_bytes()), sha256_hex(format!("the image of {version}").as_bytes()));
    manifest
        .annotations
        .insert(archive::RELEASED_IMAGE.into(), format!("ghcr.io/alto9/{chart}:{version}@sha256:{image}"));
    manifest.annotations.insert(
        "artifacthub.io/images".into(),
        format!("- name: {chart}\n  image: ghcr.io/alto9/{chart}:{version}@sha256:{image}\n  platforms:\n  - linux/amd64\n  - linux/arm64\n"),
    );
    let mut fields = serde_json::to_value(&manifest).unwrap();
    fields["urls"] = serde_json::json!([format!("https://charts.kube9.io/{chart}-{version}.tgz")]);
    fields["created"] = "2026-01-01T00:00:00Z".into();
    fields["digest"] = digest.into();
    Entry::of(&fields).unwrap()
}

/// An index with that many versions, as we write it.
pub(crate) fn ours(chart: &str, count: usize) -> String {
    index_of(chart, count, index::short)
}

/// The same as YAML, in the layout of Helm's own, and with all that Helm lists.
pub(crate) fn foreign(chart: &str, count: usize) -> String {
    let value: serde_json::Value = serde_json::from_str(&index_of(chart, count, Entry::clone)).unwrap();
    serde_yaml::to_string(&value).unwrap()
}

fn index_of(chart: &str, count: usize, listed: impl Fn(&Entry) -> Entry) -> String {
    let json = format!(
        "{{\"apiVersion\":\"v1\",\"entries\":{{\"{chart}\":[{}]}},\"generated\":\"2026-01-01T00:00:00Z\"}}",
        (0..count).rev().map(|n| listed(&entry(chart, &version(n))).json().to_owned()).collect::<Vec<_>>().join(",")
    );
    Index::from_bytes(json.as_bytes()).unwrap().write()
}

/// The n-th version of a sample.
pub(crate) fn version(n: usize) -> String {
    format!("{}.{}.{}", 3 + n / 1000, n / 100 % 10, n % 100)
}
