//! Measures publishing on real servers of this machine, beside the script that others publish with, and keeps the figures and the
//! README's table. `cargo bench --package xtask-remote`, with `TEST_TOOLS` as `cargo xtask ci` fills it.
//!
//! Both ways are measured in one run, through the same proxies, so that they share every hindrance. What takes minutes is measured only
//! when asked for, and keeps its earlier figure otherwise: `-- --slow`. Groups can be named (`chart`, `lost`, `whole`, `crowd`): the
//! others keep theirs.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark's own files and words"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Instant;

use tempfile::TempDir;
use xtask::chart::page::{self, About};
use xtask::chart::repository;
use xtask::chart::store::Store;
use xtask::config::Workspace;
use xtask::local;

use measure::Figures;
use servers::{Production, Whole, ask_aws};
use support::{Demo, Run};

#[path = "../tests/it/folders.rs"]
mod folders;
#[expect(dead_code, reason = "the other benchmarks need more of it")]
#[path = "../../xtask/benches/measure.rs"]
mod measure;
#[path = "../../xtask/benches/sample.rs"]
mod sample;
#[expect(dead_code, unused_imports, reason = "tests need more of it")]
#[path = "../tests/it/servers/mod.rs"]
mod servers;
#[expect(dead_code, reason = "tests need more of it")]
#[path = "../tests/it/support.rs"]
mod support;
#[path = "../../xtask/benches/table.rs"]
mod table;

/// The chart of the workspace that is published.
const CHART: &str = "demo";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if sample::is_run_as_people_do("xtask-remote", "publishing", &words) {
        return;
    }
    let slow = words.iter().any(|word| word == "--slow");
    let mut figures = Figures::of(measure::root(), "publishing.json");
    const GROUPS: [&str; 4] = ["chart", "lost", "whole", "crowd"];
    let named = GROUPS.iter().any(|group| words.iter().any(|word| word == group));
    for group in GROUPS.into_iter().filter(|group| !named || words.iter().any(|word| word == group)) {
        match group {
            "chart" => chart_rows(&mut figures, slow),
            "lost" => lost_row(&mut figures),
            "whole" => whole_rows(&mut figures),
            _ if slow => crowd_rows(&mut figures),
            _ => {}
        }
        figures.write(measure::root());
    }
}

/// Production, and workspaces that publish to it with a compiler that answers at once.
struct Stage {
    production: Production,
    programs: TempDir,
}

impl Stage {
    fn new() -> Self {
        let production = Production::new().expect("TEST_TOOLS is the folder that cargo xtask ci --only tools fills");
        Stage { production, programs: support::pretended_programs() }
    }

    fn command(&self, demo: &Demo, words: &[&str]) -> Command {
        let mut command = self.production.equip(demo.command(&[words, &["--to", "production"]].concat()));
        command.env("PATH", self.programs.path()).env("CARGO", self.programs.path().join("cargo"));
        command
    }

    /// Everything of a release up to its chart.
    fn make_image(&self, demo: &Demo) {
        for stretch in ["build", "scan", "push", "tag"] {
            Run::of(self.command(demo, &["release", stretch])).ok();
        }
    }

    /// Makes the bucket hold only this index, which no cache knows.
    fn seed(&self, empty: &TempDir, index: &str) {
        let headers = [("content-type", "application/json"), ("cache-control", "public, max-age=300")];
        self.production.store.restore(empty);
        self.production.store.put("index.yaml", index.as_bytes(), &headers);
        self.production.edge.forget();
        self.production.cloudfront.forget();
    }

    /// Which of these versions the index does not list.
    fn lost(&self, versions: &[String]) -> usize {
        let bytes = self.production.store.get("index.yaml").unwrap().body;
        let index: serde_json::Value = serde_yaml::from_slice(&bytes).unwrap();
        let entries = index["entries"][CHART].as_array().unwrap();
        versions.iter().filter(|version| entries.iter().all(|entry| entry["version"] != version.as_str())).count()
    }

    /// A workspace of its own for each version, committed and pushed to a remote of its own.
    fn publishers(&self, versions: &[String]) -> Vec<(Demo, TempDir)> {
        versions.iter().map(|version| self.publisher(version)).collect()
    }

    fn publisher(&self, version: &str) -> (Demo, TempDir) {
        let demo = Demo::in_memory();
        demo.write("Cargo.toml", self.production.demo.read("Cargo.toml"));
        demo.edit("operator/Cargo.toml", "version = \"1.0.0\"", &format!("version = \"{version}\""));
        demo.edit("Cargo.lock", "version = \"1.0.0\"", &format!("version = \"{version}\""));
        demo.edit("chart/Chart.yaml", "\nversion: 1.0.0", &format!("\nversion: {version}"));
        demo.edit("chart/Chart.yaml", "appVersion: \"1.0.0\"", &format!("appVersion: \"{version}\""));
        demo.commit(version);
        let origin = tempfile::tempdir().unwrap();
        support::git(origin.path(), &["init", "--quiet", "--bare", "--initial-branch=main"]);
        demo.git(&["remote", "add", "origin", origin.path().to_str().unwrap()]);
        demo.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
        (demo, origin)
    }
}

/// The script that others publish with, ready for any version.
struct Script<'s> {
    stage: &'s Stage,
    distribution: String,
}

impl<'s> Script<'s> {
    fn new(stage: &'s Stage) -> Self {
        let port = stage.production.cloudfront.proxy.port;
        let listed = ask_aws(port, "cloudfront", "GET", "/2020-05-31/distribution", "").is(200);
        Script { stage, distribution: listed.elements("Id").remove(0) }
    }

    fn command(&self, version: &str, folder: &Path) -> Command {
        const TEXT: &str = r#"set -e
            helm-3 package "$CHART" --version "$VERSION" --app-version "$VERSION" --destination new
            aws s3 cp "s3://$BUCKET/index.yaml" old.yaml
            helm-3 repo index new --url "$REPOSITORY" --merge old.yaml
            aws s3 cp "new/demo-$VERSION.tgz" "s3://$BUCKET/" --content-type application/gzip
            aws s3 cp new/index.yaml "s3://$BUCKET/index.yaml" --content-type text/yaml
            aws cloudfront create-invalidation --distribution-id "$DISTRIBUTION" --paths /index.yaml"#;
        let production = &self.stage.production;
        let mut command = Command::new("sh");
        command.args(["-c", TEXT]).current_dir(folder);
        let mut command = production.equip(command);
        let tools = std::env::var("TEST_TOOLS").unwrap();
        command.env("PATH", format!("{tools}:{}", std::env::var("PATH").unwrap())).env("HOME", folder);
        command.env("AWS_ENDPOINT_URL_S3", production.s3.url()).env("AWS_DEFAULT_REGION", "us-east-1");
        command.env("AWS_ENDPOINT_URL_CLOUDFRONT", production.cloudfront.proxy.url());
        command.env("CHART", production.demo.root().join("chart")).env("VERSION", version);
        command.env("BUCKET", &production.store.bucket).env("REPOSITORY", production.edge.url());
        command.env("DISTRIBUTION", &self.distribution);
        command
    }

    fn publish(&self, version: &str) {
        let folder = tempfile::tempdir().unwrap();
        Run::of(self.command(version, folder.path())).ok();
    }
}

fn chart_rows(figures: &mut Figures, slow: bool) {
    let stage = Stage::new();
    let empty = stage.production.store.keep();
    let demo = &stage.production.demo;
    stage.make_image(demo);
    let mut without = 0.0;
    for (count, reach, runs) in [(3, 0.15, 7), (1_000, 0.2, 7), (10_000, 0.5, 5)] {
        let index = sample::ours(CHART, count);
        let seed = || stage.seed(&empty, &index);
        let publish = || Run::of(stage.command(demo, &["release", "chart"])).ok();
        let time = sample::best_of_prepared(runs, seed, publish);
        without = time;
        assert_eq!(stage.lost(&["1.0.0".into()]), 0);
        let others = (count < 10_000 || slow).then(|| by_script(&stage, &empty, count));
        let others = others.map(|time| format!("the script: {time:.1} s"));
        figures.add(&format!("publish a chart where the index has {count}"), time, "s", Some(reach), others);
    }
    println!("requests of one:\n  {}", requests_of_one(&stage, &empty).join("\n  "));
    drop(stage);
    page_row(figures, without);
}

/// What the page adds to the last of these, where it is there for all versions before.
fn page_row(figures: &mut Figures, without: f64) {
    const COUNT: usize = 10_000;
    let stage = Stage::new();
    let (demo, store) = (&stage.production.demo, &stage.production.store);
    demo.show_page();
    demo.git(&["push", "--quiet"]);
    stage.make_image(demo);
    let index = sample::ours(CHART, COUNT);
    stage.seed(&store.keep(), &index);
    for (name, bytes) in pages_of(demo, &index) {
        let (kind, caching) = repository::headers(&name).unwrap();
        store.put(&name, &bytes, &[("content-type", kind), ("cache-control", caching)]);
    }
    let seeded = store.keep();
    let seed = || {
        store.restore(&seeded);
        stage.production.edge.forget();
        stage.production.cloudfront.forget();
    };
    let with = sample::best_of_prepared(5, seed, || drop(Run::of(stage.command(demo, &["release", "chart"])).ok()));
    let front = store.get("index.html").unwrap().text();
    assert!(front.contains("id=\"1.0.0\""), "{front}");
    figures.add(&format!("what the page adds to that, at {COUNT}"), with - without, "s", Some(0.1), None);
}

/// The pages of an index, as an earlier release wrote them.
fn pages_of(demo: &Demo, index: &str) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let pages = local::store(folder.path());
    assert!(pages.put_new("index.yaml", index.as_bytes()).unwrap().is_done());
    let target = Workspace::find(demo.root()).unwrap().target("production").unwrap();
    let about = About::of("chart", &[], &target, &|path| Ok(std::fs::read(demo.root().join(path)).ok())).unwrap();
    page::publish(&pages, &about, &|| repository::read(&pages).map(Rc::new)).unwrap();
    let names = pages.list("").unwrap().into_keys().filter(|name| name != "index.yaml");
    names.map(|name| (name.clone(), pages.get(&name).unwrap().unwrap().bytes)).collect()
}

/// Every request of one publication, for whoever wants to make it faster.
fn requests_of_one(stage: &Stage, empty: &TempDir) -> Vec<String> {
    stage.seed(empty, &sample::ours(CHART, 3));
    let production = &stage.production;
    let proxies = [&production.registry.proxy, &production.s3, &production.cloudfront.proxy];
    proxies.iter().for_each(|proxy| proxy.forget());
    Run::of(stage.command(&production.demo, &["release", "chart"])).ok();
    let seen = proxies.iter().flat_map(|proxy| proxy.seen());
    seen.map(|seen| format!("{} {}", seen.method, seen.path)).collect()
}

/// What the script takes, whose index is one that it wrote itself: YAML.
fn by_script(stage: &Stage, empty: &TempDir, count: usize) -> f64 {
    let script = Script::new(stage);
    let index = sample::foreign(CHART, count);
    let runs = if count < 10_000 { 3 } else { 1 };
    let time = sample::best_of_prepared(runs, || stage.seed(empty, &index), || script.publish("1.0.0"));
    assert_eq!(stage.lost(&["1.0.0".into()]), 0);
    time
}

/// Starts all at once and waits for all. Gives how many seconds that took, and how each ended.
fn at_once(commands: Vec<Command>) -> (f64, Vec<Run>) {
    let started = Instant::now();
    let runs = std::thread::scope(|scope| {
        let running: Vec<_> = commands.into_iter().map(|command| scope.spawn(|| Run::of(command))).collect();
        running.into_iter().map(|run| run.join().unwrap()).collect()
    });
    (started.elapsed().as_secs_f64(), runs)
}

fn lost_row(figures: &mut Figures) {
    const COUNT: usize = 8;
    let stage = Stage::new();
    let empty = stage.production.store.keep();
    let versions: Vec<String> = (1..=COUNT).map(|number| format!("1.0.{number}")).collect();
    let publishers = stage.publishers(&versions);
    publishers.iter().for_each(|(demo, _)| stage.make_image(demo));
    stage.seed(&empty, &sample::ours(CHART, 3));
    let (time, runs) = at_once(publishers.iter().map(|(demo, _)| stage.command(demo, &["release", "chart"])).collect());
    let ours = stage.lost(&versions);
    println!("{COUNT} publishers at once took {time:.1} s");
    runs.into_iter().for_each(|run| drop(run.ok()));

    stage.seed(&empty, &sample::foreign(CHART, 3));
    let script = Script::new(&stage);
    let folders: Vec<TempDir> = versions.iter().map(|_| tempfile::tempdir().unwrap()).collect();
    let commands = versions.iter().zip(&folders).map(|(version, folder)| script.command(version, folder.path()));
    let (_, runs) = at_once(commands.collect());
    runs.into_iter().for_each(|run| drop(run.ok()));
    let others = format!("the script: {} of {COUNT}", stage.lost(&versions));
    let what = format!("versions lost with {COUNT} publishers at once");
    figures.add(&what, ours as f64, &format!("of {COUNT}"), Some(0.0), Some(others));
}

/// Everything that `release --to production` does. Warm means: the sources were compiled before, so that cargo finds nothing to do; the
/// builder has run before, too; all else is made, scanned and published anew. The binaries are as large as ours.
fn whole_rows(figures: &mut Figures) {
    let whole = Whole::new().expect("TEST_TOOLS has buildx, buildkitd and Trivy, and root runs this");
    whole.laboratory.know(&[], 1);
    let production = &whole.production;
    let demo = &production.demo;
    make_as_large_as_ours(demo);
    let (bucket, registry, caches) = (production.store.keep(), production.registry.keep(), production.edge.caches());
    let empty = caches.keep();
    whole.release(&[]).ok();
    let unreleased = || {
        production.store.restore(&bucket);
        production.registry.restore(&registry);
        caches.restore(&empty);
        production.cloudfront.forget();
        demo.git(&["push", "--quiet", "--delete", "origin", "v1.0.0"]);
        demo.git(&["tag", "--delete", "v1.0.0"]);
        for made in ["image", "scan", "verdicts"] {
            std::fs::remove_dir_all(demo.root().join("target/xtask").join(made)).unwrap();
        }
    };
    let release = || println!("{}", whole.release(&[]).ok().stderr);
    let warm = sample::best_of_prepared(5, unreleased, release);
    figures.add("a whole release to production, binaries built", warm, "s", Some(3.0), None);
    let done = sample::best_of_prepared(5, || (), || whole.release(&[]).ok());
    figures.add("the same where all is done", done, "s", Some(1.0), None);
    let mut signing = f64::INFINITY;
    for _ in 0..5 {
        unreleased();
        signing = signing.min(time_of_step(whole.command(&[]), "sign"));
    }
    figures.add("signing and attaching in the first of these", signing, "s", Some(0.3), None);
}

/// How many seconds a step of a release takes, by the marks that a job's log has.
fn time_of_step(mut command: Command, step: &str) -> f64 {
    let mut release =
        command.env("GITHUB_ACTIONS", "true").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut begun, mut took) = (None, None);
    for line in BufReader::new(release.stderr.take().unwrap()).lines().map_while(Result::ok) {
        match line.as_str() {
            "::endgroup::" => took = took.or_else(|| begun.map(|begun: Instant| begun.elapsed().as_secs_f64())),
            line if line.strip_prefix("::group::") == Some(step) => begun = Some(Instant::now()),
            _ => {}
        }
    }
    assert!(release.wait().unwrap().success());
    took.expect("the release says when the step ends")
}

/// Gives the binary of the workspace the size of ours, of bytes that can be compressed as ours can.
fn make_as_large_as_ours(demo: &Demo) {
    const SIZE: usize = 5_000_000;
    let mut state = 1u64;
    let bytes: Vec<u8> = std::iter::from_fn(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Four bits of chance in each byte: half the size once compressed.
        Some((state >> 60) as u8)
    })
    .take(SIZE)
    .collect();
    demo.write("operator/src/ballast", bytes);
    let text = demo.read("operator/src/main.rs");
    demo.write(
        "operator/src/main.rs",
        format!("#[used]\nstatic BALLAST: [u8; {SIZE}] = *include_bytes!(\"ballast\");\n\n{text}"),
    );
    demo.commit("as large as ours");
    demo.git(&["push", "--quiet"]);
}

fn crowd_rows(figures: &mut Figures) {
    const COUNT: usize = 64;
    let stage = Stage::new();
    let versions: Vec<String> = (1..=COUNT).map(|number| format!("1.0.{number}")).collect();
    let publishers = stage.publishers(&versions);
    let (time, runs) = at_once(publishers.iter().map(|(demo, _)| stage.command(demo, &["release"])).collect());
    let lost = stage.lost(&versions);
    runs.into_iter().for_each(|run| drop(run.ok()));
    figures.add(&format!("{COUNT} whole releases at once"), time, "s", None, None);
    figures.add("versions lost then", lost as f64, &format!("of {COUNT}"), Some(0.0), None);
}
