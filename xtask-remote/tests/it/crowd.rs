//! Many publishers at once, none of whom knows of the others: nothing is lost, nothing is wrong, and whoever comes last repairs.
//!
//! Each is a whole release in a process of its own, from a clone and a commit of its own. They meet in what S3 and the registry
//! promise, and nowhere else.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use semver::Version;
use xtask::chart::archive::{self, RELEASED_IMAGE};
use xtask::oci::sha256_hex;
use xtask::release::version;

use crate::production::{IMAGE, Production};
use crate::reproducible::two_compilers;
use crate::servers::{Fault, Gate, When};
use crate::support::{Demo, Run, pretended_programs};

/// In no order: two pre-releases, backports, and the versions that end up in the lead of a line somewhere in the middle.
const VERSIONS: [&str; 16] = [
    "2.0.1",
    "1.0.0",
    "3.0.0-rc.1",
    "1.2.0",
    "2.1.0",
    "1.0.2",
    "3.0.1",
    "1.1.0",
    "2.0.0",
    "1.2.1",
    "2.2.0-beta.1",
    "1.0.1",
    "3.0.0",
    "1.1.1",
    "2.0.10",
    "1.10.0",
];

/// The floating tags of all those, and whose they are.
const LEADERS: [(&str, &str); 11] = [
    ("1", "1.10.0"),
    ("1.0", "1.0.2"),
    ("1.1", "1.1.1"),
    ("1.10", "1.10.0"),
    ("1.2", "1.2.1"),
    ("2", "2.1.0"),
    ("2.0", "2.0.10"),
    ("2.1", "2.1.0"),
    ("3", "3.0.1"),
    ("3.0", "3.0.1"),
    ("latest", "3.0.1"),
];

#[test]
fn x5_h6_i3_i12_sixteen_releases_at_once_lose_nothing_and_say_nothing_wrong() {
    let Some(production) = Production::new() else { return };
    let programs = pretended_programs();
    let clones =
        VERSIONS.map(|version| production.demo.cloned(production.origin.path(), &format!("release/{version}")));
    let order = |number: usize| {
        let words = ["release", VERSIONS[number], "--push", "--to", "production", "--json"];
        pretended(&production, &clones[number], programs.path(), &words)
    };
    let observer = production.observe();
    let started = std::time::Instant::now();
    let runs = at_once((0..VERSIONS.len()).map(order));
    for (run, version) in runs.into_iter().zip(VERSIONS) {
        let report = run.ok().json();
        assert_eq!((report["version"].as_str(), report["changed"].as_bool()), (Some(version), Some(true)));
    }
    let seconds = started.elapsed().as_secs_f64();
    let observed = observer.finish();
    assert_eq!((observed.violations, observed.vanished), (Vec::new(), Vec::new()));
    assert_eq!(production.dropped(), Vec::<String>::new());
    println!("{} releases at once: {seconds:.1} s, looked at {} times", VERSIONS.len(), observed.polls);
    check_all(&production);
    let (objects, tags) = (production.objects(), production.tags());
    let writings = production.store.versions("index.yaml");
    assert_eq!(writings.len(), VERSIONS.len() + 1, "each release writes the index once");
    for run in at_once((0..VERSIONS.len()).map(order)) {
        assert_eq!(run.ok().json()["changed"], false);
    }
    assert!(production.objects() == objects && production.tags() == tags, "no byte changes");
    assert_eq!(production.store.versions("index.yaml"), writings, "nor is any written again");
}

#[test]
fn x5_one_version_released_at_once_by_two_compilers_is_one_release() {
    let Some(rustc) = two_compilers() else { return };
    let Some(production) = Production::new() else { return };
    let clones = [(); 2].map(|()| production.demo.cloned(production.origin.path(), "main"));
    let observer = production.observe();
    // Both come to the same point before one of them goes on: the version's tag, its archive, or the index.
    let (registry, s3) = (&production.registry.proxy, &production.s3);
    for (version, proxy, moment) in
        [("1.0.0", registry, "/manifests/v1.0.0"), ("1.0.1", s3, "/demo-1.0.1.tgz"), ("1.0.2", s3, "/index.yaml")]
    {
        if version != "1.0.0" {
            production.demo.git(&["pull", "--quiet"]);
            set_version(&production.demo, version);
            production.demo.git(&["push", "--quiet"]);
        }
        let gate = Gate::new();
        proxy.inject(When::asked("PUT", moment).first(2), Fault::Hold(gate.clone()));
        let runs = std::thread::scope(|scope| {
            let orders = clones.iter().zip(&rustc).map(|(clone, rustc)| {
                clone.git(&["pull", "--quiet"]);
                let mut command = production.equip(clone.command(&["release", "--to", "production", "--json"]));
                command.env("RUSTC", rustc);
                command
            });
            let orders: Vec<Command> = orders.collect();
            let runs = scope.spawn(move || at_once(orders));
            gate.wait_for(2);
            gate.open();
            runs.join().unwrap()
        });
        proxy.heal();
        let digests: Vec<String> =
            runs.into_iter().map(|run| run.ok().json()["digest"].as_str().unwrap().to_owned()).collect();
        let built =
            clones.iter().map(|clone| std::fs::read(clone.root().join("target/xtask/image/index.json")).unwrap());
        let built: Vec<Vec<u8>> = built.collect();
        assert_ne!(built[0], built[1], "{version}: two compilers make two images");
        assert_eq!(digests[0], digests[1], "{version}: both end with the same image");
        let archive = production.store.versions(&format!("demo-{version}.tgz"));
        assert_eq!(archive.len(), 1, "{version}: the archive was written once");
        let charts = charts(&production);
        assert_eq!(charts[version], digests[0], "{version}: the chart names it");
        let tags = production.tags();
        for tag in [version, &format!("v{version}"), "1", "1.0", "latest"] {
            assert_eq!(tags[tag], digests[0], "{version}: {tag}");
        }
    }
    let observed = observer.finish();
    assert_eq!((observed.violations, observed.vanished), (Vec::new(), Vec::new()));
}

#[test]
fn i3_i12_a_publisher_that_pauses_between_list_and_write_leaves_no_tag_behind() {
    let Some(production) = Production::new() else { return };
    let programs = pretended_programs();
    let [slow, fast] = ["1.1.0", "2.0.0"]
        .map(|version| production.demo.cloned(production.origin.path(), &format!("release/{version}")));
    let order = |clone: &Demo, version: &str| {
        pretended(&production, clone, programs.path(), &["release", version, "--push", "--to", "production", "--json"])
    };
    let observer = production.observe();
    let gate = Gate::new();
    production.registry.proxy.inject(When::asked("PUT", "/manifests/latest").first(1), Fault::Hold(gate.clone()));
    let late = start(order(&slow, "1.1.0"));
    gate.wait_for(1);
    let fast = Run::of(order(&fast, "2.0.0")).ok().json();
    assert_eq!(production.tags()["latest"], fast["digest"].as_str().unwrap());
    gate.open();
    Run::from(late.wait_with_output().unwrap()).ok();
    assert!(production.registry.proxy.count("PUT", "/manifests/latest") >= 3, "the slow one wrote, and then repaired");
    assert_eq!(production.tags()["latest"], fast["digest"].as_str().unwrap());
    let observed = observer.finish();
    assert_eq!((observed.violations, observed.vanished), (Vec::new(), Vec::new()));
}

/// A build takes minutes: what another compiler published meanwhile is found before any tag is set.
#[test]
fn x5_the_tags_of_a_version_never_lead_away_from_the_image_that_its_chart_names() {
    let Some(rustc) = two_compilers() else { return };
    let Some(production) = Production::new() else { return };
    let [slow, fast] = [(); 2].map(|()| production.demo.cloned(production.origin.path(), "main"));
    let order = |clone: &Demo, rustc: &Path| {
        let mut command = production.equip(clone.command(&["release", "--to", "production", "--json"]));
        command.env("RUSTC", rustc);
        command
    };
    let gate = Gate::new();
    let registry = &production.registry.proxy;
    registry.inject(When::asked("POST", "/uploads").first(1), Fault::Hold(gate.clone()));
    let late = start(order(&slow, &rustc[0]));
    gate.wait_for(1);
    let published = Run::of(order(&fast, &rustc[1])).ok().json();
    let tagged = registry.count("PUT", "/manifests/v1.0.0");
    gate.open();
    let adopted = Run::from(late.wait_with_output().unwrap()).ok().json();
    assert_eq!(adopted["digest"], published["digest"]);
    assert_eq!((tagged, registry.count("PUT", "/manifests/v1.0.0")), (1, 1), "the tag was set once");
}

/// Another publisher finds in the bucket what users do not see yet.
#[test]
fn x4_i3_no_tag_leads_to_a_version_that_caches_do_not_show_yet() {
    let Some(production) = Production::new() else { return };
    let programs = pretended_programs();
    let clones = ["1.0.0", "1.1.0"]
        .map(|version| production.demo.cloned(production.origin.path(), &format!("release/{version}")));
    let [first, second] = [(0, "1.0.0"), (1, "1.1.0")].map(|(number, version)| {
        let words = ["release", version, "--push", "--to", "production"];
        pretended(&production, &clones[number], programs.path(), &words)
    });
    let observer = production.observe();
    let [told, listed] = [(); 2].map(|()| Gate::new());
    let invalidation = || When::asked("POST", "/invalidation");
    production.cloudfront.proxy.inject(invalidation().nth(1), Fault::HoldReply(told.clone()));
    production.cloudfront.proxy.inject(invalidation().nth(2), Fault::Hold(listed.clone()));
    // The caches dropped the index for 1.0.0, and keep the new one from now on.
    let first = start(first);
    told.wait_for(1);
    assert_eq!([production.versions(0), production.versions(1)], [["1.0.0"], ["1.0.0"]]);
    // 1.1.0 is in the bucket, and its publisher pauses before any cache hears of it.
    let second = start(second);
    listed.wait_for(1);
    assert_eq!(production.versions(1), ["1.0.0"]);
    told.open();
    Run::from(first.wait_with_output().unwrap()).ok();
    listed.open();
    Run::from(second.wait_with_output().unwrap()).ok();
    let observed = observer.finish();
    assert_eq!((observed.violations, observed.vanished), (Vec::new(), Vec::new()));
}

/// A release from a clone, with compilers that are pretended: real ones would keep the machine busy, and the publishers apart.
pub fn pretended(production: &Production, clone: &Demo, programs: &Path, words: &[&str]) -> Command {
    let mut command = production.equip(clone.command(words));
    command.env("PATH", programs).env("CARGO", programs.join("cargo"));
    command
}

pub fn start(mut command: Command) -> std::process::Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs all of them at the same time.
pub fn at_once(commands: impl IntoIterator<Item = Command>) -> Vec<Run> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = commands.into_iter().map(|command| scope.spawn(|| Run::of(command))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Commits another version, as a release does.
fn set_version(demo: &Demo, to: &str) {
    let current = version_in(&demo.read("operator/Cargo.toml"));
    for file in ["operator/Cargo.toml", "Cargo.lock", "chart/Chart.yaml"] {
        let text = demo.read(file);
        demo.write(file, text.replace(&current, to));
    }
    demo.commit(to);
}

fn version_in(manifest: &str) -> String {
    let line = manifest.lines().find(|line| line.starts_with("version")).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

/// The listed charts as users fetch them: by version, the image that each installs.
fn charts(production: &Production) -> BTreeMap<String, String> {
    let index = production.index(1);
    let entries = index["entries"]["demo"].as_array().unwrap().clone();
    let fetched = entries.iter().map(|entry| {
        let url = entry["urls"][0].as_str().unwrap();
        let path = url.strip_prefix(&production.edge.url()).unwrap();
        let archive = production.edge.get(1, path).is(200).body;
        assert_eq!(entry["digest"].as_str(), Some(sha256_hex(&archive).as_str()), "{path}");
        let manifest = archive::manifest(&archive::unpack(&archive).unwrap()).unwrap();
        let (version, image) = (entry["version"].as_str().unwrap(), &manifest.annotations[RELEASED_IMAGE]);
        let (name, digest) = image.split_once('@').unwrap();
        assert_eq!(name, format!("{}/{IMAGE}:{version}", production.registry.name()));
        (version.to_owned(), digest.to_owned())
    });
    fetched.collect()
}

/// All sixteen are there, right, and led by the right ones.
fn check_all(production: &Production) {
    let mut sorted = VERSIONS.map(|version| Version::parse(version).unwrap());
    sorted.sort();
    let newest_first: Vec<String> = sorted.iter().rev().map(Version::to_string).collect();
    for location in [0, 1] {
        assert_eq!(production.versions(location), newest_first, "location {location}");
    }
    let (charts, mut tags) = (charts(production), production.tags());
    for version in &sorted {
        for tag in version::version_tags(version) {
            assert_eq!(tags.remove(&tag).as_ref(), charts.get(&version.to_string()), "{tag}");
        }
        let name = format!("refs/tags/v{version}");
        let commit = crate::support::git(production.origin.path(), &["rev-parse", &name]);
        let branch = format!("refs/heads/release/{version}");
        assert_eq!(commit, crate::support::git(production.origin.path(), &["rev-parse", &branch]), "{name}");
    }
    let led = LEADERS.map(|(tag, leader)| (tag.to_owned(), charts[leader].clone()));
    assert_eq!(tags, BTreeMap::from(led), "nothing else is tagged");
}
