//! Measures what the README promises, and writes the figures and the READMEs' tables. `cargo bench --package xtask`.
//!
//! People run the development build that `cargo xtask` makes, so that is what is measured: built as cargo builds benchmarks, this one
//! only calls itself again in a development build.
//!
//! Each figure is the best of several runs: a busy machine makes every time longer and none shorter. What takes minutes is measured
//! only when asked for, and keeps its earlier figure otherwise: `cargo bench --package xtask -- --slow`. Groups can be named, too
//! (`index`, `growth`, `page`, `chart`, `release`): the others keep theirs. `-- tables` measures nothing, and only writes the tables, such as
//! after the operator's own benchmarks.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark's own files and words"
)]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Instant;

use xtask::chart::index::{FILE, Index, short};
use xtask::chart::page::{self, About};
use xtask::chart::store::Store;
use xtask::chart::{archive, record, repository};
use xtask::git::{Repository, Worktree};
use xtask::image::dockerfile::Dockerfile;
use xtask::image::embedded::{self, BuildContext, Stamp};
use xtask::local;
use xtask::oci::{Layout, Platform, sha256_hex};

mod measure;
mod sample;
mod table;

use measure::{Figures, cargo, run};
use sample::{best_of_prepared, entry, foreign, is_run_as_people_do, ours, version};

const CHART: &str = "kube9-operator";

fn main() {
    if let Ok(path) = std::env::var("MEASURE_MEMORY_OF") {
        // A process of its own: what it needs at the most is what adding one version needs.
        let bytes = std::fs::read(path).unwrap();
        println!("{}", resident_peak());
        drop(add_one(&bytes));
        println!("{}", resident_peak());
        return;
    }
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let slow = words.iter().any(|word| word == "--slow");
    let root = measure::root();
    if words.iter().any(|word| word == "tables") {
        return measure::write_tables(root);
    }
    if is_run_as_people_do("xtask", "figures", &words) {
        return;
    }
    let mut figures = Figures::of(root, "xtask.json");
    const GROUPS: [&str; 5] = ["index", "growth", "page", "chart", "release"];
    let named = GROUPS.iter().any(|group| words.iter().any(|word| word == group));
    for group in GROUPS.into_iter().filter(|group| !named || words.iter().any(|word| word == group)) {
        match group {
            "index" => index_rows(&mut figures, slow),
            "growth" => growth_rows(&mut figures),
            "page" => page_rows(&mut figures),
            "chart" => chart_row(&mut figures, root),
            _ => release_rows(&mut figures, root),
        }
    }
    figures.write(root);
}

fn index_rows(figures: &mut Figures, slow: bool) {
    let mut times = Vec::new();
    for (count, reach, runs) in [(1_000, 15.0, 20), (10_000, 150.0, 5), (100_000, 1_500.0, 3)] {
        let bytes = ours(CHART, count).into_bytes();
        let time = best_of(runs, || add_one(&bytes));
        times.push(time);
        let what = format!("add a version to an index of ours with {count}");
        let merged = helm_merge(count, slow).map(|time| format!("`helm repo index --merge`: {time:.2} s"));
        figures.add(&what, time, "ms", Some(reach), merged);
    }
    println!("ten times the versions take {:.1} and {:.1} times as long", times[1] / times[0], times[2] / times[1]);
    for (count, reach, runs) in [(1_000, 60.0, 10), (10_000, 600.0, 3), (100_000, 5_000.0, 1)] {
        let yaml = foreign(CHART, count).into_bytes();
        let what = format!("the same, reading {count} versions of others' YAML");
        figures.add(&what, best_of(runs, || add_one(&yaml)), "ms", Some(reach), None);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.yaml");
    let text = ours(CHART, 100_000);
    std::fs::write(&path, &text).unwrap();
    let output = Command::new(std::env::current_exe().unwrap()).env("MEASURE_MEMORY_OF", &path).output().unwrap();
    let peaks: Vec<f64> = String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    // The file itself is in memory before the first reading.
    let needed = (peaks[1] - peaks[0] + text.len() as f64) / text.len() as f64;
    figures.add("memory for that, in sizes of the file", needed, "x", Some(10.0), None);
}

/// The whole change, from the bytes of the old file to those of the new one.
fn add_one(bytes: &[u8]) -> String {
    let mut index = Index::from_bytes(bytes).unwrap();
    index.add(CHART, short(&entry(CHART, "999.0.0"))).unwrap();
    index.write()
}

/// What Helm takes to add one version to as many, in seconds. At 10,000 that is more than a minute, and it never ended at 100,000.
fn helm_merge(count: usize, slow: bool) -> Option<f64> {
    let measured = count == 1_000 || (slow && count == 10_000);
    let helm = helm().filter(|_| measured)?;
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.yaml"), folder.path().join("new"));
    std::fs::write(&old, foreign(CHART, count)).unwrap();
    std::fs::create_dir(&new).unwrap();
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("charts").join(CHART);
    run(Command::new(&helm).args(["package", "--version", "999.0.0", "--destination"]).arg(&new).arg(chart));
    let started = Instant::now();
    run(Command::new(&helm).args(["repo", "index", "--merge"]).arg(&old).arg(&new));
    Some(started.elapsed().as_secs_f64())
}

/// What each refresh of Helm and Flux fetches, which ask for nothing compressed, and what CloudFront charges for a million of them: the list
/// price of the first 10 TB a month in Europe and the USA, and of requests over TLS. The plain index is what `helm repo index` makes.
fn growth_rows(figures: &mut Figures) {
    const DOLLARS_PER_GB: f64 = 0.085;
    const DOLLARS_PER_MILLION: f64 = 1.0;
    // CloudFront compresses nothing that is larger.
    const COMPRESSED: f64 = 10.0;
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    let dollars = |megabytes: f64| megabytes * 1e6 / 1e3 * DOLLARS_PER_GB + DOLLARS_PER_MILLION;
    for (count, reach) in [(1_000, 0.48), (10_000, 4.8), (100_000, 50.0 * 1.048_576)] {
        let index = ours(CHART, count);
        let (size, plain) = (megabytes(index.len()), megabytes(foreign(CHART, count).len()));
        let what = format!("what a refresh of Helm or Flux fetches at {count} versions");
        figures.add(&what, size, "MB", Some(reach), Some(format!("the plain index: {plain:.1} MB")));
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut zipped, index.as_bytes()).unwrap();
        let zipped = if size < COMPRESSED { megabytes(zipped.finish().unwrap().len()) } else { size };
        let what = format!("the same for who asks for gzip, such as Argo CD, at {count}");
        figures.add(&what, zipped, "MB", None, None);
        let what = format!("what a million fetches by Helm or Flux cost at {count} versions");
        let others = format!("the plain index: {:.0} $", dollars(plain));
        figures.add(&what, dollars(size), "$", Some(dollars(reach)), Some(others));
    }
}

/// The pages that people read: all of them are made again, and those that a release changes are written into a folder.
fn page_rows(figures: &mut Figures) {
    let about = About { repository: "https://charts.kube9.io".into(), chart: CHART.into(), ..About::default() };
    for (count, reach) in [(1_000, 20.0), (10_000, 100.0)] {
        let folder = tempfile::tempdir().unwrap();
        let store = local::store(folder.path());
        assert!(store.put_new(FILE, ours(CHART, count).as_bytes()).unwrap().is_done());
        (0..count).for_each(|number| record_one(folder.path(), &version(number)));
        let seen = RefCell::new(Rc::new(repository::read(&store).unwrap()));
        let publish = || page::publish(&store, &about, &|| Ok(Rc::clone(&seen.borrow()))).unwrap();
        assert_eq!(publish().written.len(), count / 50 + 1);
        let mut patch = 0;
        let release = || {
            patch += 1;
            let newest = format!("999.0.{patch}");
            record_one(folder.path(), &newest);
            let listed = short(&entry(CHART, &newest));
            repository::add(&repository::read(&store).unwrap(), &store, CHART, &listed).unwrap();
            let now = repository::read(&store).unwrap();
            now.index().unwrap();
            seen.replace(Rc::new(now));
        };
        let time = best_of_prepared(5, release, publish);
        let what = format!("the pages of a repository with {count} versions, after a release");
        figures.add(&what, time * 1000.0, "ms", Some(reach), None);
    }
}

/// Writes a version's record, without the syncs of ten thousand of them.
fn record_one(folder: &Path, version: &str) {
    let entry: serde_json::Value = serde_json::from_str(entry(CHART, version).json()).unwrap();
    let changes = "### Added\n\n- Something of the usual length, which people may want to know of.\n".repeat(3);
    let record = serde_json::json!({"entry": entry, "size": 14_321, "platforms": {}, "changes": changes, "signers": ["a workflow"]});
    std::fs::write(folder.join(record::name(CHART, version)), record.to_string()).unwrap();
}

fn chart_row(figures: &mut Figures, root: &Path) {
    let source = Worktree::read(&Repository::at(root).unwrap()).unwrap();
    let items = source.below(&format!("charts/{CHART}")).unwrap();
    let platform = Platform::try_from("linux/amd64".to_owned()).unwrap();
    let reference = format!("ghcr.io/alto9/{CHART}:3.0.0@sha256:{}", sha256_hex(b""));
    let stamp = archive::Stamp {
        of: archive::Origin::Image { reference, platforms: vec![platform] },
        repository: "https://charts.kube9.io".into(),
        changes: None,
    };
    let time = best_of(50, || {
        let files = archive::collect(&items).unwrap();
        archive::pack(&archive::stage(files, &stamp).unwrap().0, source.commit_time).unwrap()
    });
    let folder = tempfile::tempdir().unwrap();
    let others = helm().map(|helm| {
        let chart = root.join("charts").join(CHART);
        let time =
            best_of(5, || run(Command::new(&helm).args(["package", "--destination"]).arg(folder.path()).arg(&chart)));
        format!("`helm package`: {time:.0} ms")
    });
    figures.add("package the chart", time, "ms", Some(10.0), others);
}

/// What needs a release of this workspace: it is made first, which compiles the operator where that has not happened.
fn release_rows(figures: &mut Figures, root: &Path) {
    run(cargo(root).args(["build", "--package", "xtask", "--locked"]));
    let xtask = root.join("target/debug/xtask");
    run(Command::new(&xtask).arg("release").current_dir(root));
    let nothing = best_of(5, || run(Command::new(&xtask).arg("release").current_dir(root)));
    figures.add("`cargo xtask release` where all is done (debug build)", nothing / 1000.0, "s", Some(0.3), None);
    let image = Layout::read(&root.join("target/xtask/image")).unwrap();
    let recipe = Dockerfile::parse(&std::fs::read_to_string(root.join("operator/Dockerfile")).unwrap()).unwrap();
    let parts = image.platforms().unwrap();
    let platforms: Vec<Platform> = parts.iter().map(|part| part.platform.clone()).collect();
    let mut context = BuildContext::new();
    for part in &parts {
        let layer = &image.blobs[&part.manifest.layers[0].digest];
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(layer.as_slice()));
        let mut binary = Vec::new();
        let mut entry = archive.entries().unwrap().map(Result::unwrap).find(|entry| entry.size() > 0).unwrap();
        std::io::Read::read_to_end(&mut entry, &mut binary).unwrap();
        context.insert(recipe.copies[0].source(&part.platform), binary);
    }
    let stamp = Stamp { labels: parts[0].config.config.labels.clone(), time: 0 };
    let built = best_of(5, || embedded::assemble(&recipe, &platforms, &context, &stamp).unwrap());
    let what = format!("an image from ready binaries, {} platforms", platforms.len());
    figures.add(&what, built / 1000.0, "s", Some(0.5), Some("buildx: 0.6-0.7 s".into()));
    for part in image.platforms().unwrap() {
        let size: u64 = part.manifest.layers.iter().map(|layer| layer.size).sum();
        figures.add(&format!("the image for {}, compressed", part.platform), size as f64 / 1e6, "MB", Some(2.5), None);
    }
}

/// The shortest of some runs, in milliseconds.
fn best_of<T>(runs: usize, work: impl FnMut() -> T) -> f64 {
    best_of_prepared(runs, || (), work) * 1000.0
}

fn helm() -> Option<PathBuf> {
    let helm = Path::new(&std::env::var_os("TEST_TOOLS")?).join("helm-3");
    helm.exists().then_some(helm)
}

/// The most memory that this process ever had resident, in bytes.
fn resident_peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
}
