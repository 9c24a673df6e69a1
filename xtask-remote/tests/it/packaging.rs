//! The archive against its oracle: what three Helms make of the same chart folder.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};
use xtask::chart::archive::{self, ChartFiles, Origin, Stamp};
use xtask::git::Item;

use crate::support::{Demo, Helm, files_below, write_items, yaml_documents};

type Items = Vec<(String, Item)>;

const CHART: &str = "apiVersion: v2\nname: demo\nversion: 1.0.0\nappVersion: \"1.0.0\"\n";
const TIME: i64 = 1_700_000_000;

fn file(path: &str, content: impl AsRef<[u8]>) -> (String, Item) {
    (path.into(), Item::File(content.as_ref().to_vec(), false))
}

fn link(path: &str, target: &str) -> (String, Item) {
    (path.into(), Item::Link(target.into()))
}

/// A chart of the usual files and some more; one of the same path replaces a usual one.
fn chart(more: impl IntoIterator<Item = (String, Item)>) -> Items {
    let mut items = BTreeMap::from([
        file("Chart.yaml", CHART),
        file("values.yaml", "a: 1\n"),
        file("README.md", "# demo\n"),
        file("templates/a.yaml", "# a\n"),
        file("templates/sub/b.yaml", "# b\n"),
        file("templates/.hidden", "x"),
        file("templates/_helpers.tpl", ""),
        file("docs/guide.txt", "guide"),
        file("docs/deep/er/guide.txt", "guide"),
        file("files/one.txt", "one"),
        file("files/two.bak", "two"),
    ]);
    items.extend(more);
    items.into_iter().collect()
}

fn ignoring(rules: &str) -> Items {
    chart([file(".helmignore", rules)])
}

fn described(fields: &str) -> Items {
    chart([file("Chart.yaml", format!("{CHART}{fields}"))])
}

fn subchart(folder: &str, name: &str) -> Items {
    vec![
        file(&format!("{folder}/Chart.yaml"), format!("apiVersion: v2\nname: {name}\nversion: 0.1.0\n")),
        file(&format!("{folder}/values.yaml"), "b: 2\n"),
        file(&format!("{folder}/templates/c.yaml"), "# c\n"),
    ]
}

/// A chart as somebody else's tool may have packed it.
fn tgz(items: &Items) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, item) in items {
        let Item::File(bytes, _) = item else { continue };
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn depending(names: &[&str]) -> (String, Item) {
    let one = |name: &&str| format!("  - name: {name}\n    version: 0.1.0\n    repository: https://example.com\n");
    let list: String = names.iter().map(one).collect();
    file("Chart.yaml", format!("{CHART}dependencies:\n{list}"))
}

/// Charts that Helm packages, each with the reason why it is here.
fn good() -> Vec<(&'static str, Items)> {
    let long = format!("files/{}/{}.txt", "folder".repeat(12), "name".repeat(20));
    let longer = format!("files/{}/{}.txt", ["a".repeat(90), "b".repeat(90)].join("/"), "c".repeat(120));
    let nested = {
        let mut inner = subchart("outer/charts/inner", "inner");
        inner.extend(subchart("outer", "outer"));
        inner
    };
    vec![
        ("the usual files", chart([])),
        ("nothing but a manifest", vec![file("Chart.yaml", CHART)]),
        ("a rule for names", ignoring("*.bak\n*.txt\n")),
        ("an anchored rule", ignoring("/README.md\n/guide.txt\n/docs/deep\n")),
        ("a rule with a slash", ignoring("docs/guide.txt\ndeep/er\nfiles/*.txt\n")),
        ("a rule for folders", ignoring("er/\none.txt/\n")),
        ("a folder by its name", ignoring("docs\n")),
        ("classes and escapes", ignoring("[a-f]*.txt\n[^a-z]*.md\ntwo.[!b]ak\n\\one.txt\n")),
        ("a question mark", ignoring("?wo.bak\nfiles?one.txt\n")),
        ("a negated rule", ignoring("!*.yaml\n")),
        ("negation after a rule", ignoring("two.bak\n!*\n")),
        ("a negated rule for some folders", ignoring("!?[^q]*\n")),
        ("comments, blanks and spaces", ignoring("# c\n\n   *.bak  \n\t/README.md\n #x\n")),
        ("a byte order mark and carriage returns", ignoring("\u{feff}*.bak\r\ndocs/\r\n")),
        ("rules that match nothing", ignoring("/\n.\n./\n\\#x\n//\n")),
        ("it ignores itself", ignoring(".helmignore\n")),
        ("custom resources", chart([file("crds/a.yaml", "kind: A\n"), file("crds/sub/b.yaml", "kind: B\n")])),
        ("other files in every place", chart([file("LICENSE", "x"), file(".dot", "x"), file("_under", "x")])),
        (
            "byte order marks",
            chart([
                file("values.yaml", "\u{feff}a: 1\n"),
                file("Chart.yaml", format!("\u{feff}{CHART}")),
                file("files/bom.txt", "\u{feff}x"),
            ]),
        ),
        ("binary files", chart([file("files/bin", [0, 159, 146, 150, 255]), file("files/nothing", [])])),
        ("empty values", chart([file("values.yaml", "")])),
        ("values that are only comments", chart([file("values.yaml", "# nothing\n\n")])),
        ("values of null", chart([file("values.yaml", "null\n")])),
        ("values with anchors", chart([file("values.yaml", "a: &a {b: 1}\nc: {<<: *a, d: 2}\ne: *a\n")])),
        ("a schema", chart([file("values.schema.json", "{\"type\": \"object\"}\n")])),
        ("unicode names", chart([file("files/über.txt", "ü"), file("files/日本/語.txt", "x"), file("files/😀", "x")])),
        ("spaces and odd characters", chart([file("files/a b.txt", "x"), file("files/a'\"$#.txt", "x")])),
        ("a long path", chart([file(&long, "long"), file(&longer, "longer")])),
        (
            "links to files and folders",
            chart([
                link("files/link.txt", "one.txt"),
                link("copy", "docs"),
                link("docs/deep/up.txt", "../../files/one.txt"),
                link("templates/chain.yaml", "link2.yaml"),
                link("templates/link2.yaml", "sub/b.yaml"),
            ]),
        ),
        (
            "a rule for a link's own name",
            chart([
                file(".helmignore", "link.txt\ncopy/\n"),
                link("files/link.txt", "one.txt"),
                link("copy", "docs"),
            ]),
        ),
        (
            "a rule for what a link leads to",
            chart([file(".helmignore", "docs/\none.txt\n"), link("copy", "docs"), link("other.txt", "files/one.txt")]),
        ),
        (
            "subcharts as folders",
            chart([
                subchart("charts/one", "one"),
                subchart("charts/two", "another-name"),
                vec![file("charts/one/.helmignore", "*.txt\n"), file("charts/one/kept.txt", "x")],
            ].concat()),
        ),
        ("a packed subchart", chart([file("charts/one-0.1.0.tgz", tgz(&subchart("one", "one")))])),
        (
            "a packed subchart in a packed subchart, twice",
            chart([file("charts/outer.tgz", tgz(&{
                let mut items = nested.clone();
                let packed = tgz(&subchart("deepest", "deepest"));
                items.push(file("outer/charts/inner/charts/deepest-0.1.0.tgz", packed));
                items
            }))]),
        ),
        (
            "a subchart in a subchart",
            chart([subchart("charts/one", "one"), subchart("charts/one/charts/two", "two")].concat()),
        ),
        (
            "names that are no subcharts",
            chart([
                file("charts/_ignored/x", "x"),
                file("charts/.ignored/x", "x"),
                file("charts/_ignored.tgz", "x"),
                file("charts/.gitkeep", ""),
                file("charts/one-0.1.0.tgz", tgz(&subchart("one", "one"))),
                file("charts/one-0.1.0.tgz.prov", "signature"),
            ]),
        ),
        (
            "a subchart behind a link",
            chart([subchart("elsewhere", "one"), vec![link("charts/one", "../elsewhere")]].concat()),
        ),
        (
            "dependencies and their lock",
            chart([
                subchart("charts/one", "one"),
                vec![
                    depending(&["one"]),
                    file(
                        "Chart.lock",
                        "dependencies:\n- name: one\n  repository: https://example.com\n  version: 0.1.0\n\
                         digest: sha256:9f3bd8e5bb5a4c2ab7bd05b1cf3f1c4a2b0be3d0cf3d8a1e5ef2a3bdfd3a6a11\n\
                         generated: \"2026-01-02T03:04:05.123456789Z\"\n",
                    ),
                ],
            ]
            .concat()),
        ),
        (
            "every field of a manifest",
            described(
                "kubeVersion: \">=1.25.0-0\"\ndescription: all of it\ntype: application\nkeywords: [a, b]\n\
                 home: https://example.com\nsources: [https://example.com/a, https://example.com/b]\n\
                 maintainers:\n  - {name: A, email: a@example.com, url: https://example.com}\n  - name: B\n\
                 icon: https://example.com/i.svg\ndeprecated: true\ncondition: a.enabled\ntags: x\n\
                 annotations: {a: \"b\", category: \"no\", \"on\": \"1.10\"}\n",
            ),
        ),
        (
            "texts that look like something else, in quotes",
            described(
                "description: \"no\"\nkeywords: [\"on\", \"012\", \"1e3\", \"1_000\", \"~\", \"null\", '', \"0x1f\", \"y\", \".5\", \"1.10\", \"2026-01-02\", \"2026-01-02T03:04:05Z\", \"12:30\", \"<<\", \"=\", \"-\", \"? a\", \"a: b\", \" #\", \"!!str\", \"&a\", \"*a\", \"%\", \"@\", \"`\"]\n\
                 annotations: {\"no\": \"yes\", \"1\": \"0o14\", \"~\": \"~\"}\n",
            ),
        ),
        (
            "multi-line and unusual texts",
            described(
                "description: |\n  one\n    two\n\n  three\nkeywords:\n  - >-\n    folded\n    text\n  - \"tab\\tquote\\\"back\\\\slash\\u2028\\u00a0\\x07\\e\"\n  - 'it''s'\n  - Grüße 日本 😀\n\
                 annotations:\n  a: |+\n    keep\n\n  b: \"<>&\"\n",
            ),
        ),
        ("texts without quotes that stay texts", described("description: 1.2.3\nkeywords: [12:30:45, 2026-01-02, a b, nope]\n")),
        ("empty fields", described("description: \"\"\nkeywords: []\nhome: ~\nannotations: {}\nmaintainers:\n")),
        ("fields that Helm does not know", described("mystery: {a: [1, no]}\nengine: gotpl\n")),
        (
            "every field of a dependency",
            chart([
                subchart("charts/one", "one"),
                vec![file(
                    "Chart.yaml",
                    format!(
                        "{CHART}dependencies:\n  - name: one\n    version: ~0.1\n    repository: \"\"\n    condition: one.on\n    \
                         tags: [x]\n    alias: uno\n    import-values: [data, {{child: a, parent: b}}]\n"
                    ),
                )],
            ]
            .concat()),
        ),
        ("a pre-release", chart([file("Chart.yaml", "apiVersion: v2\nname: demo\nversion: 1.0.0-rc.1\nappVersion: 1.0.0-rc.1\n")])),
        ("a library", described("type: library\n")),
    ]
}

/// Charts that Helm refuses to package, and a word of what we say.
fn bad() -> Vec<(&'static str, Items, &'static str)> {
    let manifest = |text: &str| chart([file("Chart.yaml", text)]);
    vec![
        ("no manifest", vec![file("values.yaml", "a: 1\n")], "Chart.yaml"),
        ("an empty manifest", manifest(""), "Chart.yaml"),
        ("a manifest that is no YAML", manifest("name: [\n"), "Chart.yaml"),
        ("a manifest that is a list", manifest("- a\n"), "Chart.yaml"),
        ("no name", manifest("apiVersion: v2\nversion: 1.0.0\n"), "name"),
        ("no version", manifest("apiVersion: v2\nname: demo\n"), "version"),
        ("a version that is none", manifest("apiVersion: v2\nname: demo\nversion: one\n"), "semver"),
        ("a rule that keeps folders only", ignoring("!templates/\n"), "Chart.yaml"),
        ("a rule that keeps one file only", ignoring("*.bak\n!two.bak\n"), "Chart.yaml"),
        ("a type that does not exist", described("type: applicaton\n"), "type"),
        ("a list where a text belongs", described("description: [a]\n"), "Chart.yaml"),
        ("a rule with two stars", ignoring("a/**/b\n"), "**"),
        ("values that are no YAML", chart([file("values.yaml", "a: [\n")]), "values.yaml"),
        ("values that are a list", chart([file("values.yaml", "- a\n")]), "values.yaml"),
        ("values that are a text", chart([file("values.yaml", "hello\n")]), "values.yaml"),
        ("a dependency that is not there", chart([depending(&["one"])]), "one"),
        ("a packed subchart that is none", chart([file("charts/one.tgz", "x")]), "one.tgz"),
        ("a folder in charts/ that is no subchart", chart([file("charts/one/README.md", "x")]), "charts/one"),
        ("a file in charts/ that is no subchart", chart([file("charts/README.md", "x")]), "charts/README.md"),
        ("a link to nothing", chart([link("files/gone", "nowhere")]), "files/gone"),
        ("a dependency without a name", described("dependencies: [{version: 1.0.0, repository: x}]\n"), "dependenc"),
        ("a maintainer that is a text", described("maintainers: [me]\n"), "Chart.yaml"),
        (
            "two dependencies of one name",
            chart([subchart("charts/one", "one"), vec![depending(&["one", "one"])]].concat()),
            "one",
        ),
        (
            "an alias that is no name",
            chart(
                [
                    subchart("charts/one", "one"),
                    vec![file(
                        "Chart.yaml",
                        format!(
                            "{CHART}dependencies:\n  - {{name: one, version: 0.1.0, repository: \"\", alias: a/b}}\n"
                        ),
                    )],
                ]
                .concat(),
            ),
            "alias",
        ),
    ]
}

fn stamp() -> Stamp {
    Stamp {
        of: Origin::Image {
            reference: format!("localhost:8879/demo:1.0.0@sha256:{}", "0".repeat(64)),
            platforms: vec!["linux/amd64".to_owned().try_into().unwrap()],
        },
        repository: "http://localhost:8879".into(),
        changes: None,
    }
}

/// Every path in an archive and its content.
fn content(archive: &[u8]) -> ChartFiles {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let mut files = ChartFiles::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        assert!(entry.header().entry_type().is_file());
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let path = entry.path().unwrap().display().to_string();
        assert!(files.insert(path.clone(), bytes).is_none(), "{path} stands twice");
    }
    files
}

/// `helm package`, and the archive it made.
fn packaged(helm: &Helm, folder: &Path) -> Result<Vec<u8>, String> {
    let out = tempfile::tempdir().unwrap();
    let run = helm.run(&["package", &folder.display().to_string(), "--destination", &out.path().display().to_string()]);
    if run.code != Some(0) {
        return Err(run.stderr);
    }
    files_below(out.path()).into_values().next().ok_or_else(|| "it made no archive there".into())
}

/// The entry that Helm makes of an archive, without what the archive does not decide.
fn entry(helm: &Helm, archive: &[u8]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("demo.tgz"), archive).unwrap();
    helm.run(&["repo", "index", &folder.path().display().to_string()]).ok();
    let index = std::fs::read_to_string(folder.path().join("index.yaml")).unwrap();
    let mut entry = yaml_documents(&index)[0]["entries"]["demo"][0].clone();
    for field in ["created", "digest", "urls"] {
        assert!(entry.as_object_mut().unwrap().remove(field).is_some(), "{field}");
    }
    entry
}

/// Where two archives hold other paths, or other bytes; other data, for what Helm writes anew.
fn differences(ours: &ChartFiles, theirs: &ChartFiles, rewritten: &[&str]) -> Vec<String> {
    let data = |bytes: &[u8]| yaml_documents(std::str::from_utf8(bytes).unwrap());
    let paths: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let difference = |path: &String| match (ours.get(path), theirs.get(path)) {
        (Some(_), None) => Some("is only in ours".to_owned()),
        (None, _) => Some("is only in Helm's".to_owned()),
        (Some(ours), Some(theirs)) if ours == theirs => None,
        (Some(ours), Some(theirs)) if rewritten.iter().any(|name| path.ends_with(name)) => {
            let (ours, theirs) = (data(ours), data(theirs));
            (ours != theirs).then(|| format!("is {ours:?}\nand Helm's {theirs:?}"))
        }
        _ => Some("has other bytes".to_owned()),
    };
    paths.into_iter().filter_map(|path| Some(format!("{path} {}", difference(path)?))).collect()
}

/// Compares one chart's archive with Helm's, and gives complaints.
fn compare(helm: &Helm, items: &Items) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let (source, staged) = (folder.path().join("source/demo"), folder.path().join("staged/demo"));
    write_items(&source, items);
    let text = |error: xtask::error::Error| error.to_string();
    let files = archive::collect(items).map_err(text)?;
    let plain = archive::pack(&files, TIME).map_err(text)?;
    let theirs = content(&packaged(helm, &source)?);
    // The manifest of the sources may hold what Helm drops.
    let without_manifest = |archive: &[u8]| {
        let mut files = content(archive);
        assert!(files.remove("demo/Chart.yaml").is_some());
        files
    };
    let mut plain = without_manifest(&plain);
    plain.insert("demo/Chart.yaml".into(), theirs["demo/Chart.yaml"].clone());
    let mut wrong = differences(&plain, &theirs, &["/Chart.yaml", "/Chart.lock"]);

    let (files, manifest) = archive::stage(files, &stamp()).map_err(text)?;
    let released = archive::pack(&files, TIME).map_err(text)?;
    write_items(&staged, &files.iter().map(|(path, bytes)| file(path, bytes)).collect::<Items>());
    let theirs = packaged(helm, &staged)?;
    wrong.extend(differences(&content(&released), &content(&theirs), &["/Chart.yaml", "/Chart.lock"]));
    let (ours, theirs) = (serde_json::to_value(&manifest).unwrap(), entry(helm, &released));
    if ours != theirs {
        wrong.push(format!("our entry of the index is {ours}\nand Helm's {theirs}"));
    }
    Ok(wrong)
}

#[test]
fn h2_the_archive_holds_what_helm_package_puts_in() {
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let check = |helm: Helm| {
            let complaints = good().into_iter().flat_map(|(what, items)| {
                let wrong = compare(&helm, &items).unwrap_or_else(|error| vec![error]);
                wrong.into_iter().map(|text| format!("{what} ({}): {text}", helm.name)).collect::<Vec<_>>()
            });
            complaints.collect::<Vec<_>>()
        };
        let threads: Vec<_> = Helm::all().into_iter().map(|helm| scope.spawn(move || check(helm))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn h2_what_helm_refuses_to_package_is_refused() {
    let helms = Helm::all();
    let mut accepted = Vec::new();
    for (what, items, said) in bad() {
        let folder = tempfile::tempdir().unwrap();
        write_items(folder.path(), &items);
        // The oldest does not yet see all of these.
        if !helms.is_empty() && helms.iter().all(|helm| packaged(helm, folder.path()).is_ok()) {
            accepted.push(format!("every Helm packages: {what}"));
        }
        match archive::collect(&items).and_then(|files| archive::stage(files, &stamp())) {
            Ok(_) => accepted.push(format!("we package: {what}")),
            Err(error) if !error.to_string().contains(said) => accepted.push(format!("{what}: no `{said}` in {error}")),
            Err(_) => {}
        }
    }
    assert!(accepted.is_empty(), "{}", accepted.join("\n"));
}

#[test]
fn h2_and_h12_the_whole_entry_that_a_release_records_is_what_helm_makes_of_the_archive() {
    let demo = Demo::new();
    let (_, items) = good().into_iter().find(|(what, _)| *what == "multi-line and unusual texts").unwrap();
    for (path, item) in items {
        let Item::File(bytes, _) = item else { continue };
        demo.write(&format!("chart/{path}"), bytes);
    }
    demo.commit("odd texts");
    demo.xtask(&["release"]).ok();
    let published = demo.record("1.0.0")["entry"].clone();
    assert_eq!(published["created"], json!("2026-01-02T03:04:05Z"));
    for helm in Helm::all() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("demo-1.0.0.tgz"), &demo.snapshot()["demo-1.0.0.tgz"]).unwrap();
        helm.run(&["repo", "index", "--url", &demo.url(), &folder.path().display().to_string()]).ok();
        let index = std::fs::read_to_string(folder.path().join("index.yaml")).unwrap();
        let mut entry = yaml_documents(&index)[0]["entries"]["demo"][0].clone();
        entry["created"] = published["created"].clone();
        // What changed is told by the archive alone.
        assert!(entry["annotations"].as_object_mut().unwrap().remove("artifacthub.io/changes").is_some());
        assert_eq!(entry, published, "{}", helm.name);
    }
}
