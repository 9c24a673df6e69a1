//! What the benchmarks share: figures that are kept, the best of several runs, and indexes to measure with.

#![expect(clippy::disallowed_methods, reason = "a benchmark's own files")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use xtask::chart::index::{Entry, Index};
use xtask::chart::manifest::ChartManifest;
use xtask::chart::package;
use xtask::image::layout::sha256_hex;

use crate::table::{self, Figure, READMES};

/// The workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A command of cargo, that builds where people's builds are.
pub(crate) fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(folder).env_remove("CARGO_TARGET_DIR");
    command
}

/// Runs the same benchmark as the development build that people have. False where it is that already.
pub(crate) fn is_run_as_people_do(bench: &[&str], words: &[String]) -> bool {
    if cfg!(debug_assertions) {
        return false;
    }
    let mut again = cargo(root());
    again.args(["bench", "--profile", "dev", "--locked", "--package", "xtask", "--bench"]).args(bench);
    assert!(again.arg("--").args(words).status().unwrap().success());
    true
}

/// The figures of one file.
pub(crate) struct Figures {
    path: PathBuf,
    rows: Vec<Figure>,
}

impl Figures {
    /// Those of `name` in the folder of figures below `root`, as they were measured before.
    pub(crate) fn of(root: &Path, name: &str) -> Self {
        let path = root.join("figures").join(name);
        Figures { rows: table::read(&path), path }
    }

    /// Keeps them, and makes the READMEs' tables from all figures.
    pub(crate) fn write(&self, root: &Path) {
        let json = serde_json::to_string_pretty(&self.rows).unwrap();
        std::fs::write(&self.path, format!("{json}\n")).unwrap();
        write_tables(root);
    }

    /// Puts a figure in place of the earlier one. What others take is kept where it was not measured again.
    pub(crate) fn add(&mut self, what: &str, measured: f64, unit: &str, reach: Option<f64>, others: Option<String>) {
        println!("{what}: {measured:.3} {unit}{}", reach.map(|reach| format!(" (goal {reach})")).unwrap_or_default());
        let figure = |others| Figure { what: what.into(), measured, unit: unit.into(), reach, others };
        match self.rows.iter_mut().find(|row| row.what == what) {
            Some(row) => *row = figure(others.or(row.others.take())),
            None => self.rows.push(figure(others)),
        }
    }
}

/// Makes the READMEs' tables from the figures as they are.
pub(crate) fn write_tables(root: &Path) {
    for readme in READMES {
        let path = root.join(readme.path);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, readme.with_table(&text, root).unwrap()).unwrap();
    }
}

/// The shortest of some runs, in milliseconds.
pub(crate) fn best_of<T>(runs: usize, work: impl FnMut() -> T) -> f64 {
    best_of_prepared(runs, || (), work) * 1000.0
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

/// An entry of the size of our real ones.
pub(crate) fn entry(chart: &str, version: &str) -> Entry<'static> {
    let text = include_str!("../../charts/kube9-operator/Chart.yaml");
    let mut manifest = ChartManifest::parse(text).unwrap();
    manifest.version = version.into();
    let digest = sha256_hex(version.as_bytes());
    manifest
        .annotations
        .insert(package::RELEASED_IMAGE.into(), format!("ghcr.io/alto9/{chart}:{version}@sha256:{digest}"));
    manifest.annotations.insert(
        "artifacthub.io/images".into(),
        format!("- name: {chart}\n  image: ghcr.io/alto9/{chart}:{version}@sha256:{digest}\n  platforms:\n  - linux/amd64\n  - linux/arm64\n"),
    );
    let mut fields = serde_json::to_value(&manifest).unwrap();
    fields["urls"] = serde_json::json!([format!("https://charts.kube9.io/{chart}-{version}.tgz")]);
    fields["created"] = "2026-01-01T00:00:00Z".into();
    fields["digest"] = digest.into();
    Entry::of(&fields).unwrap()
}

/// An index with that many versions, as we write it.
pub(crate) fn ours(chart: &str, count: usize) -> String {
    let json = format!(
        "{{\"apiVersion\":\"v1\",\"entries\":{{\"{chart}\":[{}]}},\"generated\":\"2026-01-01T00:00:00Z\"}}",
        (0..count)
            .rev()
            .map(|n| entry(chart, &format!("{}.{}.{}", 3 + n / 1000, n / 100 % 10, n % 100)).json().to_owned())
            .collect::<Vec<_>>()
            .join(",")
    );
    Index::parse(&json).unwrap().write()
}

/// The same as YAML, in the layout of Helm's own.
pub(crate) fn foreign(chart: &str, count: usize) -> String {
    let value: serde_json::Value = serde_json::from_str(&ours(chart, count)).unwrap();
    serde_yaml::to_string(&value).unwrap()
}
