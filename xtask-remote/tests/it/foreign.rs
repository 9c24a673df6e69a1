//! Repositories that others began: whatever wrote the index before, users see the old entries after our release as they did before.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::{Demo, Helm, World, yaml_documents};

/// An index and which Helms can read it as it is.
struct Foreign {
    what: &'static str,
    index: String,
    /// The oldest Helm refuses a file with fields that it does not know.
    oldest_reads_it: bool,
}

fn foreign(what: &'static str, index: impl Into<String>) -> Foreign {
    Foreign { what, index: index.into(), oldest_reads_it: true }
}

const GENERATED: &str = "generated: \"2025-01-01T00:00:00.123456789+01:00\"\n";

/// An index in YAML with some entries, each indented by four.
fn yaml(entries: &str) -> String {
    format!("apiVersion: v1\nentries:\n{entries}{GENERATED}")
}

fn indexes() -> Vec<Foreign> {
    let plain = "  other:\n  - name: other\n    version: 1.2.3\n    apiVersion: v2\n    urls: [other-1.2.3.tgz]\n";
    vec![
        foreign("an index without entries", format!("apiVersion: v1\nentries: {{}}\n{GENERATED}")),
        foreign(
            "plain scalars",
            yaml(
                "  other:\n  - {name: other, version: 1.2.3, appVersion: v1, description: ~, deprecated: yes, urls: [a.tgz]}\n\
                 \x20 - {name: other, version: 1.2.2, appVersion: 2026-01-02, description: nope, removed: on, urls: [a.tgz]}\n\
                 \x20 - {name: other, version: 1.2.1, appVersion: 2026-01-02T03:04:05Z, description: 12:30:45, deprecated: n, urls: [a.tgz]}\n\
                 \x20 - {name: other, version: 1.2.0, appVersion: 1.2.3.4, description: 1e3x, deprecated: OFF, keywords: [a b, 0o8], urls: [a.tgz]}\n\
                 \x20 - {name: other, version: 1.1.0, appVersion: 0x, description: 1__0_x, created: 2024-01-01T00:00:00.5+02:00, urls: [a.tgz]}\n",
            ),
        ),
        foreign(
            "texts in quotes",
            yaml(
                "  'other':\n  - \"name\": 'other'\n    version: \"1.2.3\"\n    appVersion: '1.10'\n    description: \"no\"\n    urls: ['a.tgz']\n\
                 \x20 - name: other\n    version: '1.2.2'\n    appVersion: \"012\"\n    description: 'it''s \"~\" \\ on'\n    urls: ['a.tgz']\n\
                 \x20 - name: other\n    version: '1.2.1'\n    appVersion: \"\\x31\\u00fc\\U0001F600\"\n    description: \"tab\\tquote\\\"\"\n    urls: ['a.tgz']\n",
            ),
        ),
        foreign(
            "multi-line texts",
            yaml(
                "  other:\n  - name: other\n    version: 1.2.3\n    description: |\n      one\n        two\n\n      three\n    urls:\n    - a.tgz\n\
                 \x20 - name: other\n    version: 1.2.2\n    description: >-\n      folded\n      text\n    urls:\n    - a.tgz\n\
                 \x20 - name: other\n    version: 1.2.1\n    description: plain text\n      that goes on # a comment\n    urls:\n    - a.tgz\n\
                 \x20 - name: other\n    version: 1.2.0\n    description: \"quoted text\n\n      that goes \\\n      on\"\n    urls:\n    - a.tgz\n",
            ),
        ),
        foreign(
            "anchors, aliases and merges",
            yaml(
                "  other:\n  - name: other\n    version: 1.2.3\n    appVersion: &app \"7\"\n    urls: &urls [a.tgz]\n    annotations: &notes {a: b}\n\
                 \x20 - name: other\n    version: 1.2.2\n    description: merged\n    urls: [a.tgz]\n    annotations: {<<: *notes, c: d}\n\
                 \x20 - name: other\n    version: 1.2.1\n    appVersion: *app\n    urls: *urls\n    annotations: *notes\n",
            ),
        ),
        foreign(
            "annotations, and everything else that an entry may hold",
            yaml(
                "  other:\n  - name: other\n    version: 1.2.3\n    annotations: {a: \"no\", b: '1.10', on: x, 012: w, 1.5: z}\n    created: 2024-01-01T00:00:00.5+02:00\n\
                 \x20   digest: a123456789012345678901234567890123456789012345678901234567890123\n    deprecated: true\n    removed: false\n    home: ~\n    icon:\n\
                 \x20   dependencies: [{name: x, version: \"1\", repository: \"\", enabled: yes, import-values: [a, {b: 1.10}]}]\n\
                 \x20   maintainers: [{name: one, email: ~}]\n    sources: []\n    kubeVersion: '1.25'\n    type: application\n    urls: [http://localhost/a.tgz, b.tgz]\n",
            ) + "annotations:\n  team: \"no\"\n  build: '1.10'\n  text: \"yes\"\nserverInfo: {contextPath: /x}\npublicKeys: []\n",
        ),
        foreign(
            // None are equal but for build metadata: Helm shows those in an order that changes from run to run.
            "versions that Helm sorts or drops in its own way",
            yaml(
                "  other:\n  - {name: other, version: 1.5.0+build.5, urls: [a.tgz]}\n  - {name: other, version: not-semver, urls: [a.tgz]}\n\
                 \x20 - {name: other, version: v2.0.0, urls: [a.tgz]}\n  - {name: other, version: 1.0.0-rc.1, urls: [a.tgz]}\n\
                 \x20 - {name: other, version: 1.0.0, urls: [a.tgz]}\n  - {name: other, version: 10.0.0, urls: [a.tgz]}\n  - {version: 3.0.0, urls: [a.tgz]}\n",
            ),
        ),
        foreign(
            "older versions of our own chart",
            yaml(
                "  demo:\n  - {name: demo, version: 0.9.0, appVersion: 0.9.0, urls: [demo-0.9.0.tgz], created: 2024-01-01T00:00:00Z}\n\
                 \x20 - {name: demo, version: 0.10.0+x, appVersion: \"10\", urls: [demo-0.10.0.tgz]}\n\
                 \x20 - {name: demo, version: 2.0.0-rc.1, appVersion: \"11\", urls: [demo-2.tgz]}\n",
            ),
        ),
        foreign(
            "pretty-printed JSON",
            serde_json::to_string_pretty(&json!({
                "apiVersion": "v1",
                "generated": "2025-01-01T00:00:00Z",
                "entries": {"other": [
                    {"name": "other", "version": "1.2.3", "appVersion": "1.10", "description": "no \u{1f600} \\ \" /", "urls": ["a.tgz"]},
                    {"name": "other", "version": "1.2.2", "appVersion": "012", "urls": ["a.tgz"], "annotations": {"a": "~"}},
                ]},
            }))
            .unwrap(),
        ),
        foreign("a byte order mark, carriage returns and comments", format!("\u{feff}# written by hand\r\n{}", yaml(plain).replace('\n', "\r\n"))),
        Foreign {
            what: "fields that nobody knows",
            index: json!({
                "apiVersion": "v1",
                "entries": {"other": [{"name": "other", "version": "1.2.3", "urls": ["a.tgz"], "mystery": [1.5, null]}]},
                "generated": "2025-01-01T00:00:00Z",
                "puzzle": true,
            })
            .to_string(),
            oldest_reads_it: false,
        },
    ]
}

/// What a Helm makes of a repository: rows of a search, and the manifest of the one chart whose archive is there.
fn look(helm: &Helm, url: &str) -> Result<(Vec<Value>, Vec<Value>), String> {
    let added = helm.run(&["repo", "add", "team", url, "--force-update"]);
    if added.code != Some(0) {
        return Err(added.stderr);
    }
    let rows = helm.search(&["--versions", "--devel"]);
    let has_archive = |row: &&Value| row["name"] == "team/other" && row["version"] == "1.2.3";
    let charts = rows.iter().filter(has_archive).map(|_| {
        let shown = helm.run(&["show", "chart", "team/other", "--version", "1.2.3"]);
        json!([shown.code, shown.stdout])
    });
    let charts = charts.collect();
    Ok((rows, charts))
}

/// The index as Helm itself reads it, every known field, apart from our chart's new entry.
fn read_by(helm: &Helm, index: &[u8]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (empty, merged) = (folder.path().join("empty"), folder.path().join("merged.yaml"));
    std::fs::create_dir(&empty).unwrap();
    std::fs::write(&merged, index).unwrap();
    helm.run(&["repo", "index", &empty.display().to_string(), "--merge", &merged.display().to_string()]).ok();
    let text = std::fs::read_to_string(empty.join("index.yaml")).unwrap();
    let mut index = yaml_documents(&text).remove(0);
    index.as_object_mut().unwrap().remove("generated");
    let entries = index["entries"].as_object_mut().unwrap();
    for versions in entries.values_mut() {
        let versions = versions.as_array_mut().unwrap();
        versions.retain(|entry| !(entry["name"] == "demo" && entry["version"] == "1.0.0"));
    }
    entries.retain(|_, versions| versions != &json!([]));
    index
}

/// A world in which the index was there first.
fn repository(index: &str) -> World {
    let demo = Demo::new();
    demo.write("target/published/index.yaml", index);
    World::new(demo)
}

/// Releases into a repository that holds an index, and gives complaints.
fn check(helms: &[Helm], Foreign { index, oldest_reads_it, .. }: &Foreign) -> Vec<String> {
    let world = repository(index);
    let demo = &world.demo;
    let before: Vec<_> = helms.iter().map(|helm| look(helm, &demo.url())).collect();
    let release = demo.xtask(&["release"]);
    if release.code != Some(0) {
        return vec![release.stderr];
    }
    let after = demo.read("target/published/index.yaml");
    let mut wrong = Vec::new();
    for (helm, before) in helms.iter().zip(before) {
        let mut complain = |text: String| wrong.push(format!("{}: {text}", helm.name));
        let readable = *oldest_reads_it || helm.name != "helm-3.12";
        let (rows, charts) = match before {
            Ok(seen) if readable => seen,
            Err(_) if !readable => continue,
            other => {
                complain(format!("before: {other:?}"));
                continue;
            }
        };
        match look(helm, &demo.url()) {
            Err(error) => complain(format!("refused after the release: {error}")),
            Ok((mut rows_now, charts_now)) => {
                let ours = |row: &Value| row["name"] == "team/demo" && row["version"] == "1.0.0";
                if rows_now.iter().filter(|row| ours(row)).count() != 1 {
                    complain(format!("the new version is not listed once: {rows_now:?}"));
                }
                rows_now.retain(|row| !ours(row));
                if (&rows_now, &charts_now) != (&rows, &charts) {
                    complain(format!("{rows:?} {charts:?}\nbecame {rows_now:?} {charts_now:?}"));
                }
            }
        }
        let (before, after) = (read_by(helm, index.as_bytes()), read_by(helm, after.as_bytes()));
        if before != after {
            complain(format!("{before}\nbecame {after}"));
        }
    }
    wrong
}

#[test]
fn h6_after_a_release_three_helms_see_every_old_entry_as_before() {
    const THREADS: usize = 3;
    let pending = Mutex::new(indexes());
    let next = || pending.lock().unwrap().pop();
    let work = || {
        let helms = Helm::all();
        let mut wrong = Vec::new();
        while let Some(foreign) = next() {
            wrong.extend(check(&helms, &foreign).into_iter().map(|text| format!("{}: {text}", foreign.what)));
        }
        wrong
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn h6_archives_of_other_charts_are_pulled_as_before() {
    for helm in Helm::all() {
        let demo = Demo::new();
        let chart = helm.home().join("other");
        std::fs::create_dir(&chart).unwrap();
        std::fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: other\nversion: 1.2.3\nappVersion: \"no\"\n")
            .unwrap();
        let published = demo.published();
        std::fs::create_dir_all(&published).unwrap();
        helm.run(&["package", "other", "--destination", &published.display().to_string()]).ok();
        // The index by this very Helm, with addresses that are relative to it.
        helm.run(&["repo", "index", &published.display().to_string()]).ok();
        let world = World::new(demo);
        let before = look(&helm, &world.demo.url()).unwrap();
        assert_eq!(before.1[0][0], json!(0), "{}: {before:?}", helm.name);
        world.demo.xtask(&["release"]).ok();
        let after = look(&helm, &world.demo.url()).unwrap();
        assert_eq!((&after.0[1..], &after.1), (&before.0[..], &before.1), "{}", helm.name);
        helm.run(&["pull", "team/other"]).ok();
        helm.run(&["pull", "team/demo"]).ok();
    }
}

#[test]
fn h6_what_nobody_knows_survives_as_data_and_doctor_says_which_helm_refuses_it() {
    let entry = "  other:\n  - {name: other, version: 1.2.3, urls: [a.tgz], mystery: {deep: [1.10, no, ~, 012]}}\n";
    let world = repository(&(yaml(entry) + "puzzle: [on, 1e3]\nserverInfo: {a: 0x10, b: 1_000}\n"));
    let demo = &world.demo;
    demo.xtask(&["release"]).ok();
    let index = demo.index();
    assert_eq!(index["entries"]["other"][0]["mystery"], json!({"deep": [1.10, false, null, 10]}));
    assert_eq!((&index["puzzle"], &index["serverInfo"]), (&json!([true, 1e3]), &json!({"a": 16, "b": 1000})));
    let doctor = demo.xtask(&["doctor"]).ok();
    assert!(
        doctor.stderr.contains("Helm 3.12 refuses it for fields that it does not know: entries.*.mystery, puzzle"),
        "{}",
        doctor.stderr
    );
    for helm in Helm::all() {
        assert_eq!(look(&helm, &demo.url()).is_ok(), helm.name != "helm-3.12", "{}", helm.name);
    }
}

#[test]
fn h6_an_index_that_cannot_be_read_stops_a_release_and_stays_as_it_is() {
    let whole = yaml("  other:\n  - {name: other, version: 1.2.3, urls: [a.tgz]}\n");
    let table = [
        ("nothing", String::new()),
        ("an error page", "<html><body>503</body></html>\n".into()),
        ("half a file", whole[..whole.len() - GENERATED.len()].into()),
        ("a key that stands twice", whole.replace("version:", "name: other, version:")),
        ("two documents", format!("{whole}---\n{whole}")),
        ("a list", "- a\n".into()),
        ("conflict markers", format!("<<<<<<< ours\n{whole}=======\n{whole}>>>>>>> theirs\n")),
    ];
    for (what, index) in table {
        let demo = Demo::new();
        demo.write("target/published/index.yaml", &index);
        let run = demo.xtask(&["release"]);
        assert_eq!(
            (run.code, run.stderr.contains("restore it from a copy")),
            (Some(6), true),
            "{what}: {}",
            run.stderr
        );
        assert_eq!(demo.read("target/published/index.yaml"), index, "{what}");
        assert!(!demo.snapshot().keys().any(|name| name.ends_with(".tgz")), "{what}: nothing became public");
    }
}
