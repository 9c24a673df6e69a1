//! What is damaged in what was published is found, and mended or explained; nothing that was there is lost, and nothing is listed that
//! nobody signed.

#![expect(clippy::disallowed_methods, reason = "tests damage files of their own")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use xtask::chart::archive::{self, ChartFiles};
use xtask::chart::index::Index;
use xtask::local;
use xtask::oci::registry::Registry;

use crate::folders::{kept, refill};
use crate::servers::Production;
use crate::support::{Demo, Run};

/// What comes of a damage.
enum Outcome {
    /// Everything is as it was before it.
    Mended,
    /// It is told, and nothing but the page, which shows what is there, was written.
    Explained,
    /// It is told, and not even the page was written.
    Kept,
    /// It is told that this cannot be seen, and nothing at all was written.
    Unknown,
}

use Outcome::{Explained, Kept, Mended, Unknown};

/// How something is damaged, what comes of it, and parts of what is said: of what, and why.
type Damage = (&'static str, fn(&Demo), Outcome, &'static str, &'static str);

const SIGNATURES_GONE: Damage =
    ("signatures are gone", |demo| unsign(demo, "image"), Explained, "1.0.0", "lacks a signature and provenance");

const IMAGE_GONE: Damage = (
    "an image is gone",
    |demo| {
        let digest = demo.tags()["v1.0.0"].clone();
        remove(demo, &format!("image/blobs/sha256/{}", digest.strip_prefix("sha256:").unwrap()));
    },
    Explained,
    "1.0.0",
    "the image cannot be pulled",
);

const DAMAGES: [Damage; 30] = [
    ("an entry is lost", |demo| lose(demo, &["1.0.0"]), Mended, "1.0.0", "it is not listed, and accepted signers say"),
    (
        "the newest entry is lost, and somebody moved what follows it",
        |demo| {
            lose(demo, &["1.1.0"]);
            point(demo, "latest", "v1.0.0");
        },
        Mended,
        "1.1.0",
        "it is not listed",
    ),
    ("a version's tag is gone", |demo| untag(demo, "v1.0.0"), Mended, "1.0.0", "its tag v1.0.0, which should lead to"),
    ("a version's tag was moved", |demo| point(demo, "1.1.0", "v1.0.0"), Mended, "1.1.0", "its tag 1.1.0 leads to"),
    ("latest was moved", |demo| point(demo, "latest", "v1.0.0"), Mended, "latest", "it leads to"),
    ("a floating tag is gone", |demo| untag(demo, "1.1"), Mended, "1.1", "which should lead to"),
    (
        "a chart's tag is gone",
        |demo| assert!(local::chart_registry(&demo.published()).untag("1.1.0").unwrap()),
        Mended,
        "1.1.0",
        "its chart's tag, which should lead to",
    ),
    (
        "a chart's tag was moved",
        |demo| {
            let charts = local::chart_registry(&demo.published());
            let other = charts.resolve("1.0.0").unwrap().unwrap();
            charts.tag(&[("1.1.0".into(), other)]).unwrap();
        },
        Mended,
        "1.1.0",
        "its chart's tag leads to",
    ),
    ("a record is gone", |demo| remove(demo, "demo-1.0.0.json"), Mended, "1.0.0", "is not recorded beside its archive"),
    (
        "entries say all that older releases listed, and one has no record",
        |demo| {
            lengthen(demo);
            remove(demo, "demo-1.1.0.json");
        },
        Mended,
        "index.yaml",
        "2 of its entries say what is, or can be, recorded",
    ),
    (
        "a record is of another version",
        |demo| {
            lengthen(demo);
            for number in ["1.0.0", "1.1.0"] {
                write(demo, &format!("demo-{number}.json"), &read(demo, "demo-1.2.0.json"));
            }
        },
        Explained,
        "1.0.0",
        "what is recorded beside its archive is not of it",
    ),
    ("the page is gone", |demo| remove(demo, "index.html"), Mended, "page", "index.html"),
    ("the page was written over", |demo| write(demo, "index.html", b"<h1>Gone</h1>"), Mended, "page", "index.html"),
    ("a part of the page is gone", |demo| remove(demo, "page.css"), Mended, "page", "page.css"),
    ("a part of the page was written over", |demo| write(demo, "page.css", b"* {}"), Mended, "page", "page.css"),
    (
        "a tag leads a line that is none",
        |demo| point(demo, "7", "v1.0.0"),
        Explained,
        "tags",
        "tag 7 stays where it is",
    ),
    (
        "a stranger's archive has everything but a signature",
        |demo| forge(demo, "1.5.0"),
        Explained,
        "1.5.0",
        "is not to be: the image sha256:",
    ),
    (
        "a stranger changed the archive of a signed image, and took the entry away",
        |demo| {
            lose(demo, &["1.0.0"]);
            let mut files = archive::unpack(&read(demo, "demo-1.0.0.tgz")).unwrap();
            files.insert("templates/more.yaml".into(), b"# more\n".to_vec());
            plant(demo, "1.0.0", &files);
        },
        Explained,
        "1.0.0",
        "is not to be: the chart sha256:",
    ),
    (
        "an archive holds another chart",
        |demo| write(demo, "demo-9.9.9.tgz", &read(demo, "demo-1.1.0.tgz")),
        Explained,
        "9.9.9",
        "it holds demo 1.1.0",
    ),
    (
        "the index begins anew, in a registry that takes no tag away",
        |demo| {
            write(demo, "index.yaml", Index::empty().write().as_bytes());
            let artifact = xtask::chart::oci::artifact(&read(demo, "demo-1.2.0.tgz"), TIME).unwrap();
            local::chart_registry(&demo.published()).tag(&[("1.2.0".into(), artifact.descriptor.digest)]).unwrap();
        },
        Kept,
        "1.2.0",
        "the page shows it as yanked, and the index does not know that",
    ),
    (
        "the index lost what was yanked, and the page is gone",
        |demo| {
            edit(demo, |index| index["annotations"] = json!({}));
            remove(demo, "index.html");
        },
        Explained,
        "1.2.0",
        "its archive is not listed, and no chart's tag says that it ever was",
    ),
    (
        "a yanked version is listed by hand",
        |demo| {
            edit(demo, |index| {
                let yanked: Value =
                    serde_json::from_str(index["annotations"]["yanked/demo-1.2.0"].as_str().unwrap()).unwrap();
                let entry = serde_json::from_str(yanked["entry"].as_str().unwrap()).unwrap();
                index["entries"]["demo"].as_array_mut().unwrap().insert(0, entry);
            });
        },
        Explained,
        "1.2.0",
        "it is listed, and was yanked",
    ),
    ("an archive is gone", |demo| remove(demo, "demo-1.0.0.tgz"), Explained, "1.0.0", "its archive is not there"),
    (
        "an archive was written over",
        |demo| write(demo, "demo-1.0.0.tgz", &read(demo, "demo-1.1.0.tgz")),
        Explained,
        "1.0.0",
        "its archive is not what it should be",
    ),
    (
        "an entry names another image",
        |demo| {
            let text = String::from_utf8(read(demo, "index.yaml")).unwrap();
            let tags = demo.tags();
            write(demo, "index.yaml", text.replace(&tags["v1.1.0"], &tags["v1.0.0"]).as_bytes());
        },
        Explained,
        "1.1.0",
        "its entry names the image",
    ),
    (
        "an entry leads elsewhere",
        |demo| edit(demo, |index| index["entries"]["demo"][1]["urls"][0] = "https://example.com/demo-1.0.0.tgz".into()),
        Explained,
        "1.0.0",
        "its entry leads to another repository",
    ),
    (
        "an entry stands there twice",
        |demo| {
            edit(demo, |index| {
                let entries = index["entries"]["demo"].as_array_mut().unwrap();
                entries.push(entries[1].clone());
            });
        },
        Explained,
        "1.0.0",
        "it is listed 2 times",
    ),
    SIGNATURES_GONE,
    IMAGE_GONE,
    ("the index is damaged", |demo| write(demo, "index.yaml", b"entries: ["), Unknown, "index.yaml", "cannot be used"),
];

/// When these workspaces are committed, in seconds since 1970.
const TIME: i64 = 1_767_323_045;

fn write(demo: &Demo, name: &str, bytes: &[u8]) {
    std::fs::write(demo.published().join(name), bytes).unwrap();
}

fn read(demo: &Demo, name: &str) -> Vec<u8> {
    std::fs::read(demo.published().join(name)).unwrap()
}

fn remove(demo: &Demo, name: &str) {
    std::fs::remove_file(demo.published().join(name)).unwrap();
}

/// Changes the index, and writes it as releases do.
fn edit(demo: &Demo, change: impl FnOnce(&mut Value)) {
    let mut index: Value = serde_json::from_slice(&read(demo, "index.yaml")).unwrap();
    change(&mut index);
    let index = Index::from_bytes(index.to_string().as_bytes()).unwrap();
    write(demo, "index.yaml", index.write().as_bytes());
}

/// Puts the whole entries into the index, as releases did before there were records.
fn lengthen(demo: &Demo) {
    edit(demo, |index| {
        for entry in index["entries"]["demo"].as_array_mut().unwrap() {
            let record = demo.record(entry["version"].as_str().unwrap());
            assert!(entry.as_object().unwrap().len() < record["entry"].as_object().unwrap().len());
            *entry = record["entry"].clone();
        }
    });
}

fn lose(demo: &Demo, versions: &[&str]) {
    edit(demo, |index| {
        let entries = index["entries"]["demo"].as_array_mut().unwrap();
        entries.retain(|entry| !versions.contains(&entry["version"].as_str().unwrap()));
    });
}

fn untag(demo: &Demo, tag: &str) {
    local::registry(&demo.published()).untag(tag).unwrap();
}

/// Points a tag at what another one leads to.
fn point(demo: &Demo, tag: &str, other: &str) {
    let digest = demo.tags()[other].parse().unwrap();
    local::registry(&demo.published()).tag(&[(tag.to_owned(), digest)]).unwrap();
}

/// Takes all that was signed out of a registry's lists.
fn unsign(demo: &Demo, part: &str) {
    let name = format!("{part}/index.json");
    let mut list: Value = serde_json::from_slice(&read(demo, &name)).unwrap();
    let is_tagged = |one: &Value| one["annotations"]["org.opencontainers.image.ref.name"].is_string();
    list["manifests"].as_array_mut().unwrap().retain(is_tagged);
    write(demo, &name, list.to_string().as_bytes());
}

/// A version that a stranger with every right to write made of 1.1.0.
fn forge(demo: &Demo, version: &str) {
    let mut files = archive::unpack(&read(demo, "demo-1.1.0.tgz")).unwrap();
    let chart = files.get_mut("Chart.yaml").unwrap();
    *chart = String::from_utf8(chart.clone()).unwrap().replace("1.1.0", version).into_bytes();
    plant(demo, version, &files);
    point(demo, &format!("v{version}"), "v1.1.0");
    point(demo, version, "v1.1.0");
}

/// Puts a chart where releases put it, unsigned.
fn plant(demo: &Demo, version: &str, files: &ChartFiles) {
    let archive = archive::pack(files, TIME).unwrap();
    write(demo, &format!("demo-{version}.tgz"), &archive);
    let artifact = xtask::chart::oci::artifact(&archive, TIME).unwrap();
    let digest = artifact.descriptor.digest.clone();
    let charts = local::chart_registry(&demo.published());
    charts.attach(&[artifact]).unwrap();
    charts.tag(&[(version.to_owned(), digest)]).unwrap();
}

/// Three signed versions, the last of which was yanked, and a page.
fn published() -> Demo {
    let demo = Demo::in_memory().that_signs();
    demo.show_page();
    let changes = |version: &str| format!("## [{version}] - 2026-01-01\n\n### Added\n\n- More.\n\n");
    demo.edit("CHANGELOG.md", "## [1.0.0]", &format!("{}{}## [1.0.0]", changes("1.2.0"), changes("1.1.0")));
    demo.commit("say what changes");
    demo.xtask(&["release"]).ok();
    demo.xtask(&["release", "1.1.0"]).ok();
    demo.xtask(&["release", "1.2.0"]).ok();
    demo.xtask(&["release", "yank", "1.2.0", "--reason", "loses events"]).ok();
    demo
}

fn without_pages(mut files: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    files.retain(|name, _| !name.ends_with(".html"));
    files
}

/// Damages what is whole in one way after the other, and holds what is found, mended and left alone against what should be.
fn check_each(demo: &Demo, damages: &[Damage]) {
    let words = ["doctor", "--repair", "--yes", "--json"];
    let run = demo.xtask(&words).ok();
    assert_eq!(run.json(), json!({"found": [], "left": []}), "{}", run.stderr);
    let (whole, copy) = (demo.snapshot(), kept(&demo.published()));
    for (damage, make, outcome, what, why) in damages {
        make(demo);
        let damaged = demo.snapshot();
        assert!(damaged != whole, "{damage}");
        let run = demo.xtask(&words);
        let (report, after) = (run.json(), demo.snapshot());
        let standing = match outcome {
            Mended => "mendable",
            Explained | Kept => "explained",
            Unknown => "unknown",
        };
        let is_it = |finding: &Value| {
            finding["what"] == *what
                && finding["why"].as_str().unwrap().contains(why)
                && finding["standing"] == standing
        };
        let found = report["found"].as_array().unwrap();
        assert!(found.iter().any(is_it), "{damage}: {report:#}");
        match outcome {
            Mended => {
                assert_eq!((run.code, &report["left"]), (Some(0), &json!([])), "{damage}: {}", run.stderr);
                let differing = whole.iter().filter(|(name, bytes)| after.get(*name) != Some(*bytes));
                assert_eq!(differing.map(|(name, _)| name).collect::<Vec<_>>(), Vec::<&String>::new(), "{damage}");
            }
            Explained => {
                assert!(run.code == Some(9) && report["left"].as_array().unwrap().iter().any(is_it), "{damage}");
                assert!(without_pages(after.clone()) == without_pages(damaged.clone()), "{damage}: {}", run.stderr);
            }
            Kept | Unknown => assert!(run.code == Some(9) && after == damaged, "{damage}: {}", run.stderr),
        }
        let lost = damaged.keys().filter(|name| !after.contains_key(*name));
        assert_eq!(lost.collect::<Vec<_>>(), Vec::<&String>::new(), "{damage}");
        refill(&demo.published(), copy.path());
    }
}

#[test]
fn x8_h6_i16_each_of_many_damages_is_found_and_mended_or_explained_and_nothing_is_lost() {
    let demo = published();
    check_each(&demo, &DAMAGES);
    demo.xtask(&["verify", "--all"]).ok();
}

/// The same of a chart alone, which is made of a commit and of no image.
const DAMAGES_OF_A_CHART: [Damage; 6] = [
    ("an entry is lost", |demo| lose(demo, &["1.0.0"]), Mended, "1.0.0", "it is not listed, and accepted signers say"),
    (
        "entries say all, and a record is gone",
        |demo| {
            lengthen(demo);
            remove(demo, "demo-1.0.0.json");
        },
        Mended,
        "1.0.0",
        "is not recorded beside its archive",
    ),
    (
        "a chart's tag is gone, and the page, too",
        |demo| {
            assert!(local::chart_registry(&demo.published()).untag("1.1.0").unwrap());
            remove(demo, "index.html");
        },
        Mended,
        "1.1.0",
        "its chart's tag, which should lead to",
    ),
    (
        "an entry names another commit",
        |demo| edit(demo, |index| index["entries"]["demo"][1]["annotations"]["release/revision"] = "of nobody".into()),
        Explained,
        "1.0.0",
        "its entry names the commit of nobody",
    ),
    (
        "a stranger's archive names a commit",
        |demo| {
            let mut files = archive::unpack(&read(demo, "demo-1.1.0.tgz")).unwrap();
            let chart = files.get_mut("Chart.yaml").unwrap();
            *chart = String::from_utf8(chart.clone()).unwrap().replace("1.1.0", "1.5.0").into_bytes();
            plant(demo, "1.5.0", &files);
        },
        Explained,
        "1.5.0",
        "is not to be: the chart sha256:",
    ),
    ("an archive is gone", |demo| remove(demo, "demo-1.0.0.tgz"), Explained, "1.0.0", "its archive is not there"),
];

#[test]
fn x8_h6_damages_of_a_chart_without_an_image_are_found_and_mended_or_explained_too() {
    let demo = Demo::in_memory().that_signs();
    demo.show_page();
    demo.edit("Cargo.toml", "package = \"demo\"\n", "");
    demo.commit("a chart alone");
    demo.xtask(&["release"]).ok();
    demo.xtask(&["release", "1.1.0"]).ok();
    check_each(&demo, &DAMAGES_OF_A_CHART);
    demo.xtask(&["verify", "--all"]).ok();
}

/// The same of an image alone, of which its tags are all that says what is published.
const DAMAGES_OF_AN_IMAGE: [Damage; 7] = [
    ("latest was moved", |demo| point(demo, "latest", "v1.0.0"), Mended, "latest", "it leads to"),
    ("a version's tag is gone", |demo| untag(demo, "1.1.0"), Mended, "1.1.0", "its tag 1.1.0, which should lead to"),
    ("the tag that decides is gone", |demo| untag(demo, "v1.1.0"), Mended, "1.1.0", "its tag v1.1.0, which should"),
    (
        "the tag that decides was moved",
        |demo| point(demo, "v1.1.0", "v1.0.0"),
        Mended,
        "1.1.0",
        "its tag v1.1.0 leads to",
    ),
    (
        "a version that nobody signed",
        |demo| point(demo, "v9.0.0", "v1.0.0"),
        Explained,
        "9.0.0",
        "is of another version",
    ),
    SIGNATURES_GONE,
    IMAGE_GONE,
];

#[test]
fn x8_i16_damages_of_an_image_without_a_chart_are_found_and_mended_or_explained_too() {
    let demo = Demo::in_memory().that_signs();
    demo.edit("Cargo.toml", "chart = \"chart\"\n", "");
    demo.git(&["rm", "-r", "--quiet", "chart"]);
    demo.commit("an image alone");
    demo.xtask(&["release"]).ok();
    demo.xtask(&["release", "1.1.0"]).ok();
    check_each(&demo, &DAMAGES_OF_AN_IMAGE);
    demo.xtask(&["verify", "--all"]).ok();
}

#[test]
fn x8_h6_h7_what_happens_to_production_alone_is_found_and_mended_too() {
    let Some(production) = Production::new() else { return };
    production.demo.sign_since("1.0.0");
    production.demo.show_page();
    production.demo.git(&["push", "--quiet"]);
    production.release(&[]).ok();
    let repair =
        |words: &[&str]| production.xtask(&[&["doctor", "--to", "production", "--repair", "--json"], words].concat());
    let found = |run: &Run| {
        let report = run.json();
        let found = report["found"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap().to_owned());
        found.collect::<Vec<_>>()
    };
    assert_eq!(found(&repair(&[]).ok()), Vec::<String>::new());
    let (objects, tags) = (production.objects(), production.tags());

    // Somebody begins anew by hand, as people do, and everybody sees it.
    production.store.put("index.yaml", br#"{"apiVersion":"v1","entries":{}}"#, &[]);
    production.edge.caches().invalidate(&["/*".into()]);
    assert!(production.versions(0).is_empty() && production.versions(1).is_empty());
    let damaged = production.objects();
    let run = repair(&[]).fails(9, "what is published to `production` is not whole: 1.0.0, index.yaml, page");
    assert!(
        run.stderr.contains("to mend list 1.0.0"),
        "nobody was asked, and what would be done is told: {}",
        run.stderr
    );
    assert!(production.objects() == damaged, "nothing is done that nobody agreed to");
    assert_eq!(repair(&["--yes"]).ok().json()["left"], json!([]));
    assert!(production.objects() == objects && production.tags() == tags, "all is as it was");
    assert_eq!((production.versions(0), production.versions(1)), (vec!["1.0.0".to_owned()], vec!["1.0.0".to_owned()]));
    production.xtask(&["verify", "--all", "--to", "production"]).ok();

    // Caches that nobody told, twice: what they were told of the same state before is no reason not to tell them again.
    for _ in 0..2 {
        let headers = [("content-type", "text/html; charset=utf-8"), ("cache-control", "public, max-age=300")];
        production.store.put("index.html", b"<h1>Gone</h1>", &headers);
        production.edge.caches().invalidate(&["/*".into()]);
        for location in [0, 1] {
            assert_eq!(production.edge.get(location, "/index.html").body, b"<h1>Gone</h1>");
        }
        production.store.put("index.html", &objects["index.html"], &headers);
        assert_eq!(found(&repair(&["--yes"]).ok()), ["caches"]);
        for location in [0, 1] {
            assert!(production.edge.get(location, "/index.html").body == objects["index.html"], "location {location}");
        }
    }
}
