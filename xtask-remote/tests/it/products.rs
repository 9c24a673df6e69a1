//! Several products of one workspace: each has its versions and its git tags; targets, repository and index are everybody's.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use xtask::local;
use xtask::oci::registry::Registry;

use crate::crowd;
use crate::production::Production;
use crate::servers::{Fault, Gate, When};
use crate::support::{Demo, Run, git, pretended_programs, wait_until};

const WORKSPACE: i32 = 3;
const NAMES: [&str; 2] = ["web", "worker"];
/// How the fixture describes its one product.
const ONE: &str = "package = \"demo\"\nfirst-version = \"1.0.0\"\nchart = \"chart\"\n";

#[test]
fn h2_each_of_several_products_is_released_on_its_own_into_one_repository() {
    let demo = several(&NAMES);
    let released = demo.xtask(&["release", "web", "--json"]).ok().json();
    assert_eq!((&released["version"], &released["changed"]), (&"1.0.0".into(), &true.into()));
    let released = demo.xtask(&["release", "worker", "minor", "--json"]).ok().json();
    assert_eq!(released["version"], "1.1.0");
    assert_eq!(listed(&demo), [("web", vec!["1.0.0"]), ("worker", vec!["1.1.0"])].map(owned).into());
    assert_eq!(tags(&demo, "web"), ["1", "1.0", "1.0.0", "latest", "v1.0.0"]);
    assert_eq!(tags(&demo, "worker"), ["1", "1.1", "1.1.0", "latest", "v1.1.0"]);
    let before = demo.snapshot();
    assert_eq!(demo.xtask(&["release", "web", "--json"]).ok().json()["changed"], false);
    assert!(demo.snapshot() == before, "a byte changed");
    demo.xtask(&["release", "web", "minor"]).ok();
    demo.xtask(&["release", "yank", "web", "1.1.0", "--reason", "wrong"]).ok();
    assert_eq!(listed(&demo), [("web", vec!["1.0.0"]), ("worker", vec!["1.1.0"])].map(owned).into());
    let _serve = demo.serve();
    let proof = demo.xtask(&["verify", "worker", "1.1.0", "--json"]).ok().json();
    assert_eq!(proof["image"].as_str().unwrap().split('@').next().unwrap(), image(&demo, "worker:1.1.0"));
    demo.xtask(&["verify", "web", "1.1.0"]).fails(8, "does not list web 1.1.0");
    let proofs = demo.xtask(&["verify", "--all", "--json"]).ok().json();
    let charts: Vec<&str> = proofs.as_array().unwrap().iter().map(|proof| proof["chart"].as_str().unwrap()).collect();
    assert_eq!(charts, ["web-1.0.0.tgz", "worker-1.1.0.tgz"].map(|name| format!("{}/{name}", demo.url())));
    let proofs = demo.xtask(&["verify", "worker", "--all", "--json"]).ok().json();
    assert_eq!(proofs.as_array().unwrap().len(), 1);
}

#[test]
fn a_command_says_which_product_it_is_for_where_there_are_several() {
    let demo = several(&NAMES);
    for words in [&["release"][..], &["release", "--plan"], &["release", "minor"], &["verify"], &["doctor"]] {
        demo.xtask(words).fails(2, "name one of: web, worker");
    }
    demo.xtask(&["release", "wen", "minor"]).fails(2, "there is no product `wen`");
    demo.xtask(&["release", "yank", "web", "--reason", "x"]).fails(2, "which version");
    demo.xtask(&["release", "web", "1.1.0", "1.2.0"]).fails(2, "1.2.0");
    let one = Demo::new();
    one.xtask(&["release", "minor", "1.2.0"]).fails(2, "this is too much: minor 1.2.0");
}

#[test]
fn all_that_is_wrong_with_several_products_is_said_at_once() {
    let demo = several(&NAMES);
    let release = "[workspace.metadata.release]\n";
    demo.edit("Cargo.toml", release, &format!("{release}chart = \"chart\"\n"));
    let more = "\n[workspace.metadata.release.products.promote]\npackage = \"gone\"\nchart = \"charts/web\"\n\
                [workspace.metadata.release.products.Web_2]\npackage = \"web\"\nfirst-version = \"1.0.0\"\nchart = \"charts/web\"\n";
    demo.write("Cargo.toml", demo.read("Cargo.toml") + more);
    let said = demo.xtask(&["release", "web"]).fails(WORKSPACE, "cannot be used").stderr;
    for expected in [
        "`chart` is said beside [workspace.metadata.release.products]",
        "no product can be called `promote`",
        "missing field `first-version` of the product `promote`",
        "the workspace has no package `gone`",
        "no product can be called `Web_2`",
        "several products have the package `web`: Web_2, web",
        "several products have the chart `charts/web`: Web_2, web",
    ] {
        assert!(said.contains(expected), "`{expected}` is not in:\n{said}");
    }
}

#[test]
fn what_several_products_cannot_share_is_refused() {
    let cases: [(&str, &str, &str, &str); 3] = [
        ("Cargo.toml", "/team/{product}", "/team/all", "each of several products has an image of its own"),
        ("web/Cargo.toml", "version = \"1.0.0\"", "version.workspace = true", "takes its version from the workspace"),
        ("charts/web/Chart.yaml", "name: web", "name: net", "the product `web` has a chart called `net`"),
    ];
    for (path, from, to, expected) in cases {
        let demo = several(&NAMES);
        demo.edit("Cargo.toml", "authors =", "version = \"1.0.0\"\nauthors =");
        demo.edit(path, from, to);
        demo.xtask(&["release", "web"]).fails(WORKSPACE, expected);
    }
}

#[test]
fn x1_the_tag_and_the_commit_of_a_release_name_its_product() {
    let Some(production) = Production::new() else { return };
    split(&production.demo, &NAMES, &[]);
    production.demo.git(&["push", "--quiet"]);
    let report = production.release(&["web", "1.1.0", "--push", "--json"]).ok().json();
    let said = |arguments: &[&str]| git(production.origin.path(), arguments);
    assert_eq!(said(&["tag", "--list"]), "web/v1.1.0");
    assert_eq!(said(&["log", "-1", "--format=%s", "main"]), "Release web 1.1.0");
    assert_eq!(said(&["rev-parse", "web/v1.1.0"]), report["revision"].as_str().unwrap());
    let changed = said(&["diff", "--name-only", "main~", "main"]);
    assert_eq!(
        changed.lines().collect::<Vec<_>>(),
        ["Cargo.lock", "charts/web/Chart.yaml", "web/CHANGELOG.md", "web/Cargo.toml"]
    );
    assert_eq!(production.release(&["web", "--json"]).ok().json()["changed"], false);
    production.release(&["worker"]).ok();
    assert_eq!(said(&["tag", "--list"]), "web/v1.1.0\nworker/v1.0.0");
    let index = production.index(1);
    let names: Vec<&String> = index["entries"].as_object().unwrap().keys().collect();
    assert_eq!(names, NAMES.iter().collect::<Vec<_>>());
}

#[test]
fn h2_a_chart_without_an_image_is_a_product_too() {
    let demo = Demo::new().that_signs();
    demo.edit("Cargo.toml", "package = \"demo\"\n", "");
    demo.edit("chart/Chart.yaml", "appVersion: \"1.0.0\"", "appVersion: \"8.6.2\"");
    let commit = demo.commit("a chart alone");
    let steps = demo.xtask(&["release", "--plan", "--json"]).ok().json();
    let steps: Vec<&str> = steps.as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["bump", "sign", "package", "publish", "promote", "verify"]);
    let report = demo.xtask(&["release", "--json"]).ok().json();
    assert_eq!((&report["version"], &report["digest"]), (&"1.0.0".into(), &Value::Null));
    assert_eq!(report["proof"]["image"], Value::Null);
    assert!(report["proof"]["signers"][0].as_str().unwrap().contains("own key"));
    let chart = report["proof"]["registry_chart"].as_str().unwrap();
    assert!(chart.contains("/team/charts/demo:1.0.0@sha256:"), "{chart}");
    let entry = &demo.index()["entries"]["demo"][0];
    assert_eq!(entry["annotations"], serde_json::json!({"release/revision": commit}));
    assert_eq!(entry["appVersion"], "8.6.2");
    assert!(demo.record("1.0.0")["signers"][0].as_str().unwrap().contains("own key"));
    let before = demo.snapshot();
    assert_eq!(demo.xtask(&["release", "--json"]).ok().json()["changed"], false);
    assert!(demo.snapshot() == before, "a byte changed");
    demo.xtask(&["release", "minor"]).ok();
    let entry = &demo.index()["entries"]["demo"][0];
    assert_eq!((&entry["version"], &entry["appVersion"]), (&"1.1.0".into(), &"8.6.2".into()));
    demo.xtask(&["release", "yank", "1.1.0", "--reason", "wrong"]).ok();
    demo.xtask(&["release", "unyank", "1.1.0"]).ok();
    let _serve = demo.serve();
    demo.xtask(&["verify", "1.1.0"]).ok();
    demo.xtask(&["scan", "1.0.0"]).fails(2, "there is no image of chart");
    demo.xtask(&["doctor"]).ok();
}

#[test]
fn i3_an_image_without_a_chart_is_a_product_too() {
    let demo = Demo::new().that_signs();
    lose_chart(&demo);
    let steps = demo.xtask(&["release", "--plan", "--json"]).ok().json();
    let steps: Vec<&str> = steps.as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["bump", "compile", "build", "scan", "push", "sign", "tag", "promote", "verify"]);
    let report = demo.xtask(&["release", "--json"]).ok().json();
    assert_eq!((&report["proof"]["chart"], &report["changed"]), (&Value::Null, &true.into()));
    assert!(report["proof"]["signers"][0].as_str().unwrap().contains("own key"));
    let before = demo.snapshot();
    assert_eq!(demo.xtask(&["release", "--json"]).ok().json()["changed"], false);
    assert!(demo.snapshot() == before, "a byte changed");
    let newer = demo.xtask(&["release", "minor", "--json"]).ok().json();
    let tags = demo.tags();
    for tag in ["1", "1.1", "1.1.0", "latest", "v1.1.0"] {
        assert_eq!(tags[tag], newer["digest"].as_str().unwrap(), "{tag}");
    }
    assert_eq!([&tags["1.0"], &tags["v1.0.0"]], [report["digest"].as_str().unwrap(); 2]);
    assert!(!demo.published().join("index.yaml").exists());
    // Nobody signed that as 9.0.0.
    let forged = [("v9.0.0".to_owned(), tags["v1.0.0"].parse().unwrap())];
    local::registry(&demo.published()).tag(&forged).unwrap();
    demo.xtask(&["release", "promote"]).ok();
    assert_eq!(demo.tags()["latest"], newer["digest"].as_str().unwrap());
    demo.xtask(&["verify", "1.0.0"]).ok();
    demo.xtask(&["verify", "1.2.0"]).fails(8, "answered with 404");
    demo.xtask(&["doctor"]).ok();
    demo.xtask(&["release", "yank", "1.1.0", "--reason", "x"]).fails(2, "there is no chart of demo");
    assert_eq!(
        demo.xtask(&["release", "chart", "1.1.0", "--json"]).ok().json()["changed"],
        false,
        "its jobs are both's"
    );
    let assets = demo.xtask(&["release", "assets", "1.0.0", "--json"]).ok().json();
    assert_eq!(
        assets["files"],
        serde_json::json!(["release.json", "sbom-linux-amd64.cdx.json", "sbom-linux-arm64.cdx.json"])
    );
    let record: Value = serde_json::from_str(&demo.read("target/xtask/assets/release.json")).unwrap();
    assert_eq!(
        (&record["name"], &record["chart"], &record["commit"]),
        (&"demo".into(), &Value::Null, &report["revision"])
    );
}

#[test]
fn x1_an_image_without_a_chart_belongs_to_the_commit_that_it_names() {
    let Some(production) = Production::new() else { return };
    let demo = &production.demo;
    lose_chart(demo);
    demo.git(&["push", "--quiet"]);
    production.release(&[]).ok();
    assert_eq!(production.release(&["--json"]).ok().json()["changed"], false);
    demo.write("more.txt", "more");
    demo.commit("another");
    demo.git(&["push", "--quiet"]);
    production.release(&[]).fails(5, "already released from another commit");
    let report = production.release(&["patch", "--push", "--json"]).ok().json();
    assert_eq!(production.tags()["latest"], report["digest"].as_str().unwrap());
    assert_eq!(production.objects().len(), 1, "the index alone is in the bucket, as it was");
}

fn lose_chart(demo: &Demo) {
    let manifest = demo.read("Cargo.toml").replace("chart = \"chart\"\n", "");
    demo.write("Cargo.toml", manifest);
    demo.git(&["rm", "-r", "--quiet", "chart"]);
    demo.commit("an image alone");
}

#[test]
fn x1_a_chart_without_an_image_belongs_to_the_commit_that_it_names() {
    let Some(production) = Production::new() else { return };
    let demo = &production.demo;
    let manifest = demo.read("Cargo.toml").replace("package = \"demo\"\n", "");
    demo.write("Cargo.toml", manifest);
    let commit = demo.commit("a chart alone");
    demo.git(&["push", "--quiet"]);
    production.release(&[]).ok();
    let written = production.store.versions("index.yaml");
    assert_eq!(production.release(&["--json"]).ok().json()["changed"], false);
    assert_eq!(production.store.versions("index.yaml"), written);
    demo.write("more.txt", "more");
    demo.commit("another");
    demo.git(&["push", "--quiet"]);
    production.release(&[]).fails(5, &format!("git checkout {}", &commit[..12]));
    production.release(&["patch", "--push"]).ok();
    assert_eq!(production.versions(1), ["1.0.1", "1.0.0"]);
    demo.write(".github/rulesets/tags.json", "{}");
    let told = production.xtask(&["doctor", "--to", "production"]).stderr;
    let why = "the first of the chart's `sources` names none of GitHub's";
    assert!(told.contains(why), "{told}");
}

/// One clone, so that they meet in its tree as well.
#[test]
fn x5_h6_releases_of_several_products_from_one_tree_lose_nothing() {
    let Some(production) = Production::new() else { return };
    let programs = pretended_programs();
    let charts = ["db", "cache", "queue", "mesh"];
    split(&production.demo, &["web"], &charts);
    production.demo.git(&["push", "--quiet"]);
    let order = |name: &str| {
        let words = ["release", name, "1.1.0", "--push", "--to", "production", "--json"];
        crowd::pretended(&production, &production.demo, programs.path(), &words)
    };
    let names = [&charts[..], &["web"]].concat();
    for run in crowd::at_once(names.iter().map(|name| order(name))) {
        assert_eq!(run.ok().json()["version"], "1.1.0");
    }
    let index = production.index(1);
    for name in &names {
        assert_eq!(index["entries"][name][0]["version"], "1.1.0", "{name}");
    }
    assert_eq!(production.store.versions("index.yaml").len(), names.len() + 1, "each release writes the index once");
    let tags = git(production.origin.path(), &["tag", "--list"]);
    assert_eq!(
        tags.lines().collect::<Vec<_>>(),
        ["cache", "db", "mesh", "queue", "web"].map(|name| format!("{name}/v1.1.0"))
    );
}

#[test]
fn x5_a_release_waits_for_no_other_product_once_its_commit_is_pushed() {
    let Some(production) = Production::new() else { return };
    split(&production.demo, &[], &["db", "cache"]);
    production.demo.git(&["push", "--quiet"]);
    let gate = Gate::new();
    production.s3.inject(When::asked("PUT", "/db-1.1.0.tgz").first(1), Fault::Hold(gate.clone()));
    let order = |name: &str| production.command(&["release", name, "1.1.0", "--push", "--to", "production"]);
    let slow = crowd::start(order("db"));
    gate.wait_for(1);
    let mut fast = crowd::start(order("cache"));
    let is_done = wait_until(Duration::from_secs(60), || fast.try_wait().unwrap().is_some());
    let before = production.index(1);
    gate.open();
    assert!(is_done, "it waited for the other product");
    Run::from(fast.wait_with_output().unwrap()).ok();
    assert!(before["entries"]["db"].is_null(), "the other one is not done yet");
    Run::from(slow.wait_with_output().unwrap()).ok();
    assert_eq!(production.index(1)["entries"]["db"][0]["version"], "1.1.0");
}

pub mod nightly {
    use super::*;

    /// Forty products, twenty-four of them in two versions, each from a clone of its own.
    #[test]
    fn x5_h6_sixty_four_releases_of_forty_products_at_once_lose_nothing() {
        let Some(production) = Production::new() else { return };
        let programs = pretended_programs();
        let names: Vec<String> = (0..40).map(|number| format!("chart-{number:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (images, charts) = names.split_at(4);
        split(&production.demo, images, charts);
        production.demo.show_page();
        production.demo.git(&["push", "--quiet"]);
        let first = names.iter().map(|name| (*name, "1.0.1"));
        let orders: Vec<(&str, &str)> = first.chain(names[..24].iter().map(|name| (*name, "1.1.0"))).collect();
        let clones: Vec<Demo> = orders
            .iter()
            .map(|(name, version)| {
                let branch = format!("release/{name}-{version}");
                production.demo.cloned(production.origin.path(), &branch)
            })
            .collect();
        let release = |number: usize| {
            let (name, version) = orders[number];
            let words = ["release", name, version, "--push", "--to", "production", "--json"];
            crowd::pretended(&production, &clones[number], programs.path(), &words)
        };
        let started = std::time::Instant::now();
        for (run, (name, version)) in crowd::at_once((0..orders.len()).map(release)).into_iter().zip(&orders) {
            let report = run.ok().json();
            assert_eq!((&report["version"], &report["changed"]), (&(*version).into(), &true.into()), "{name}");
        }
        println!("{} releases of {} products: {:.1} s", orders.len(), names.len(), started.elapsed().as_secs_f64());
        let index = production.index(1);
        for (number, name) in names.iter().enumerate() {
            let versions =
                index["entries"][name].as_array().unwrap().iter().map(|entry| entry["version"].as_str().unwrap());
            let expected: &[&str] = if number < 24 { &["1.1.0", "1.0.1"] } else { &["1.0.1"] };
            assert_eq!(versions.collect::<Vec<_>>(), expected, "{name}");
        }
        assert_eq!(
            production.store.versions("index.yaml").len(),
            orders.len() + 1,
            "each release writes the index once"
        );
        let tags = git(production.origin.path(), &["tag", "--list"]);
        assert_eq!(tags.lines().count(), orders.len());
        let objects = production.objects();
        let front = String::from_utf8_lossy(&objects["index.html"]);
        let newest = |version: &str| front.matches(&format!("<dt>Newest</dt><dd>{version}</dd>")).count();
        assert_eq!((newest("1.1.0"), newest("1.0.1")), (24, 16), "the page leads to each");
        assert!(names.iter().all(|name| objects.contains_key(&format!("{name}-versions-newest.html"))));
    }
}

/// A workspace of these products.
fn several(names: &[&str]) -> Demo {
    let demo = Demo::new();
    split(&demo, names, &[]);
    demo
}

/// Makes several products of a workspace's one, each with a changelog of its own, and commits that: some have a crate and a chart, others
/// a chart alone.
pub fn split(demo: &Demo, names: &[&str], charts: &[&str]) {
    let mut manifest = demo.read("Cargo.toml");
    for (from, to) in [
        (ONE, String::new()),
        ("members = [\"operator\"]", format!("members = {names:?}")),
        ("/team/demo\"", "/team/{product}\"".to_owned()),
    ] {
        assert!(manifest.contains(from), "{from}");
        manifest = manifest.replace(from, &to);
    }
    let mut lock = "version = 4\n".to_owned();
    for name in names {
        for path in ["Cargo.toml", "Dockerfile", "src/main.rs"] {
            demo.write(&format!("{name}/{path}"), demo.read(&format!("operator/{path}")).replace("demo", name));
        }
        demo.write(&format!("{name}/CHANGELOG.md"), demo.read("CHANGELOG.md"));
        lock += &format!("\n[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n");
        manifest += &format!("\n[workspace.metadata.release.products.{name}]\npackage = \"{name}\"\n{}", table(name));
    }
    for name in names.iter().chain(charts) {
        for path in ["Chart.yaml", "values.yaml", "templates/pod.yaml"] {
            let text = demo.read(&format!("chart/{path}")).replace("name: demo", &format!("name: {name}"));
            demo.write(&format!("charts/{name}/{path}"), text);
        }
    }
    for name in charts {
        demo.write(&format!("charts/{name}/CHANGELOG.md"), demo.read("CHANGELOG.md"));
        manifest += &format!("\n[workspace.metadata.release.products.{name}]\n{}", table(name));
    }
    for gone in ["operator", "chart"] {
        demo.git(&["rm", "-r", "--quiet", gone]);
    }
    demo.write("Cargo.lock", lock);
    demo.write("Cargo.toml", manifest);
    demo.commit("several products");
}

/// Makes one of several products an image alone, and commits that.
pub fn without_chart(demo: &Demo, name: &str) {
    demo.edit("Cargo.toml", &format!("chart = \"charts/{name}\"\n"), "");
    demo.git(&["rm", "-r", "--quiet", &format!("charts/{name}")]);
    demo.commit("an image alone");
}

fn table(name: &str) -> String {
    format!("first-version = \"1.0.0\"\nchart = \"charts/{name}\"\n")
}

/// The versions that the index lists, by chart.
fn listed(demo: &Demo) -> BTreeMap<String, Vec<String>> {
    let index = demo.index();
    let versions = |entries: &Value| {
        let entries = entries.as_array().unwrap().iter();
        entries.map(|entry| entry["version"].as_str().unwrap().to_owned()).collect()
    };
    index["entries"].as_object().unwrap().iter().map(|(name, entries)| (name.clone(), versions(entries))).collect()
}

fn owned((name, versions): (&str, Vec<&str>)) -> (String, Vec<String>) {
    (name.to_owned(), versions.into_iter().map(str::to_owned).collect())
}

fn tags(demo: &Demo, product: &str) -> Vec<String> {
    let mut tags = local::registry(&demo.published().join(product)).tags().unwrap();
    tags.sort();
    tags
}

fn image(demo: &Demo, name: &str) -> String {
    format!("localhost:{}/team/{name}", demo.port)
}
