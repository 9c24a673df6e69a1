//! Several products of one workspace: each has its versions and its git tags; targets, repository and index are everybody's.

use std::collections::BTreeMap;

use serde_json::Value;
use xtask::local;
use xtask::oci::registry::Registry;

use crate::production::Production;
use crate::support::{Demo, git};

const WORKSPACE: i32 = 3;
const NAMES: [&str; 2] = ["web", "worker"];

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
    let cases: [(&str, &str, &str, &str); 4] = [
        ("Cargo.toml", "/team/{product}", "/team/all", "each of several products has an image of its own"),
        ("Cargo.toml", "page = false", "page = true", "a page shows one chart"),
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
    split(&production.demo, &NAMES);
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

/// A workspace of these products.
fn several(names: &[&str]) -> Demo {
    let demo = Demo::new();
    split(&demo, names);
    demo
}

/// Makes several products of a workspace's one, each with a crate, a chart and a changelog of its own, and commits that.
pub fn split(demo: &Demo, names: &[&str]) {
    let lock = "version = 4\n".to_owned();
    let mut manifest = demo.read("Cargo.toml");
    for (from, to) in [
        ("package = \"demo\"\nfirst-version = \"1.0.0\"\nchart = \"chart\"\n", "".to_owned()),
        ("members = [\"operator\"]", format!("members = {names:?}")),
        ("/team/demo\"", "/team/{product}\"".to_owned()),
    ] {
        assert!(manifest.contains(from), "{from}");
        manifest = manifest.replace(from, &to);
    }
    let mut packages = String::new();
    for name in names {
        for path in ["Cargo.toml", "Dockerfile", "src/main.rs"] {
            demo.write(&format!("{name}/{path}"), demo.read(&format!("operator/{path}")).replace("demo", name));
        }
        demo.write(&format!("{name}/CHANGELOG.md"), demo.read("CHANGELOG.md"));
        for path in ["Chart.yaml", "values.yaml", "templates/pod.yaml"] {
            demo.write(
                &format!("charts/{name}/{path}"),
                demo.read(&format!("chart/{path}")).replace("name: demo", &format!("name: {name}")),
            );
        }
        packages += &format!("\n[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n");
        manifest += &format!(
            "\n[workspace.metadata.release.products.{name}]\npackage = \"{name}\"\nfirst-version = \"1.0.0\"\nchart = \"charts/{name}\"\n"
        );
    }
    for gone in ["operator", "chart"] {
        demo.git(&["rm", "-r", "--quiet", gone]);
    }
    demo.write("Cargo.lock", lock + &packages);
    demo.write("Cargo.toml", manifest);
    demo.commit("several products");
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
