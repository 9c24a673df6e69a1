//! The algebra of the index, and what a foreign one must survive.

use proptest::prelude::*;

use super::*;

const CHART: &str = "demo";

fn entry(version: &str, digest: &str, created: &str) -> Entry {
    let value = serde_json::json!({"name": CHART, "version": version, "digest": digest, "created": created, "x": [1, {"y": null}]});
    Entry::of(&value).unwrap()
}

fn written(entries: &[Entry]) -> String {
    let mut index = Index::empty();
    for entry in entries {
        index.add(CHART, entry.clone()).unwrap();
    }
    index.write()
}

#[test]
fn h5_versions_stand_one_a_line_newest_first() {
    let time = "2026-01-01T00:00:00Z";
    let text = written(&["3.0.0", "3.10.0", "3.9.0", "3.10.0-rc.1"].map(|version| entry(version, "d", time)));
    let versions: Vec<&str> =
        text.lines().filter_map(|line| line.split("\"version\":\"").nth(1)?.split('"').next()).collect();
    assert_eq!(versions, ["3.10.0", "3.10.0-rc.1", "3.9.0", "3.0.0"]);
    assert!(text.ends_with(",\"generated\":\"2026-01-01T00:00:00Z\"}\n"));
}

#[test]
fn a_version_with_another_digest_is_a_conflict_and_nothing_changes() {
    let mut index = Index::empty();
    index.add(CHART, entry("3.0.0", "one", "2026-01-01T00:00:00Z")).unwrap();
    let before = index.clone();
    let error = index.add(CHART, entry("3.0.0", "other", "2026-01-01T00:00:00Z")).unwrap_err();
    assert_eq!(error.exit, Exit::Conflict);
    assert_eq!(index, before);
    assert_eq!(index.add(CHART, entry("3.0.0", "sha256:one", "2027-01-01T00:00:00Z")).unwrap(), Added::Already);
    assert_eq!(index, before);
}

#[test]
fn a_yanked_version_is_gone_is_not_added_again_and_comes_back_as_it_was() {
    let mut index = Index::empty();
    let time = "2026-01-01T00:00:00Z";
    index.add(CHART, entry("3.0.0", "one", time)).unwrap();
    index.add(CHART, entry("3.1.0", "two", time)).unwrap();
    let before = index.write();
    assert!(index.yank(CHART, "3.1.0", "breaks \"upgrades\"").unwrap());
    assert!(!index.yank(CHART, "3.1.0", "again").unwrap(), "yanking twice changes nothing");
    let yanked = index.write();
    let mut read = Index::from_bytes(yanked.as_bytes()).unwrap();
    assert_eq!(read.find(CHART, "3.1.0"), None);
    assert_eq!(read.yanked(CHART, "3.1.0").unwrap().unwrap().reason, "breaks \"upgrades\"");
    let error = read.add(CHART, entry("3.1.0", "two", time)).unwrap_err();
    assert!(error.to_string().contains("unyank 3.1.0"), "{error}");
    assert!(read.unyank(CHART, "3.1.0").unwrap());
    assert!(!read.unyank(CHART, "3.1.0").unwrap());
    assert_eq!(read.write(), before);
    assert!(read.yank(CHART, "9.9.9", "x").is_err() && read.unyank(CHART, "9.9.9").is_err());
}

#[test]
fn h6_everything_in_a_foreign_index_survives() {
    let yaml = "apiVersion: v1\nannotations: {team: \"no\"}\nserverInfo: {contextPath: /x}\nmystery: [1, on, ~]\nentries:\n  \
        other:\n  - version: not-semver\n    name: other\n    urls: [http://x/y.tgz]\n    extra: 0x10\n  \
        demo:\n  - version: 2.4.0+build.5\n    digest: abc\n    created: 2024-01-01T00:00:00.5+02:00\n  - version: v2.0.0\n    deprecated: true\n\
        generated: \"2025-01-01T00:00:00Z\"\n";
    let mut index = Index::from_bytes(yaml.as_bytes()).unwrap();
    index.add(CHART, entry("3.0.0", "d", "2024-06-01T00:00:00Z")).unwrap();
    let text = index.write();
    let read: Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({
        "apiVersion": "v1", "serverInfo": {"contextPath": "/x"}, "mystery": [1, true, null], "annotations": {"team": "no"},
        "entries": {
            "other": [{"version": "not-semver", "name": "other", "urls": ["http://x/y.tgz"], "extra": 16}],
            "demo": [
                {"name": "demo", "version": "3.0.0", "digest": "d", "created": "2024-06-01T00:00:00Z", "x": [1, {"y": null}]},
                {"version": "2.4.0+build.5", "digest": "abc", "created": "2024-01-01T00:00:00.5+02:00"},
                {"version": "v2.0.0", "deprecated": true},
            ],
        },
        "generated": "2025-01-01T00:00:00Z",
    });
    assert_eq!(read, expected);
    assert_eq!(Index::from_bytes(text.as_bytes()).unwrap().write(), text, "written once, it stays as it is");
    assert_eq!(index.complaints().unknown, ["entries.*.extra", "entries.*.x", "mystery"]);
}

#[test]
fn an_index_that_is_damaged_is_never_taken_for_empty() {
    let good = written(&[entry("3.0.0", "d", "2026-01-01T00:00:00Z")]);
    let half = &good[..good.len() / 2];
    let wrong = [
        "",
        "  \n",
        half,
        "entries",
        "[]",
        "{}",
        "null",
        "{\"apiVersion\":\"v1\"}",
        "{\"apiVersion\":\"v1\",\"entries\":[]}",
        "{\"entries\":{}}",
        "{\"apiVersion\":\"v1\",\"entries\":{\"a\":{}}}",
        "{\"apiVersion\":\"v1\",\"entries\":{\"a\":[1]}}",
        "{\"apiVersion\":\"v1\",\"entries\":{\"a\":[{}]}}",
        "{\"apiVersion\":\"v1\",\"entries\":{\"a\":[],\"a\":[]}}",
        "{\"apiVersion\":\"v1\",\"entries\":{\"a\":[{\"version\":\"1.0.0\",\"x\":{\"b\":1,\"b\":1}}]}}",
        "{\"apiVersion\":\"v1\",\"entries\":{},\"entries\":{}}",
        "{\"apiVersion\":\"v1\",\"entries\":{}} more",
        "<html>not found</html>",
    ];
    for text in wrong {
        let read = Index::from_bytes(text.as_bytes()).map(|index| index.write());
        let error = read.expect_err(text);
        assert_eq!(error.exit, Exit::Repository, "{text}");
    }
    assert!(Index::from_bytes(b"\xff\xfe").is_err());
}

#[test]
fn h6_a_file_that_was_cut_off_is_refused_although_the_rest_is_valid_yaml() {
    let whole =
        "apiVersion: v1\nentries:\n  a:\n  - version: 1.0.0\n  - version: 0.9.0\ngenerated: \"2026-01-01T00:00:00Z\"\n";
    let read = |text: &str| Index::from_bytes(text.as_bytes()).map(|index| index.size());
    assert_eq!(read(whole).unwrap(), (2, 1));
    for end in 0..whole.len() - 1 {
        assert!(read(&whole[..end]).is_err(), "cut after {end} bytes");
    }
}

#[test]
fn what_no_helm_reads_is_kept_and_named() {
    let yaml = "apiVersion: v1\nannotations: {team: no, size: 10}\nentries:\n  demo:\n  - version: 2.0.0\n    appVersion: 1.10\n\
        generated: \"2025-01-01T00:00:00Z\"\n";
    let index = Index::from_bytes(yaml.as_bytes()).unwrap();
    assert_eq!(index.complaints().not_text, ["appVersion of 2.0.0"]);
    let text = index.write();
    assert!(text.contains("\"appVersion\":1.10"), "{text}");
    assert!(text.contains("\"team\":\"false\"") && text.contains("\"size\":\"10\""), "as Helm reads them: {text}");
}

fn entries_strategy() -> impl Strategy<Value = Vec<Entry>> {
    let version = (0u64..4, 0u64..3, 0u64..3, "(-rc\\.[12])?").prop_map(|(a, b, c, pre)| format!("{a}.{b}.{c}{pre}"));
    let versions = proptest::collection::btree_map(version, (0u8..60, 0u8..60), 0..12);
    let made = versions.prop_map(|map| {
        let each = map.into_iter().map(|(version, (minute, second))| {
            entry(&version, &format!("digest of {version}"), &format!("2026-01-01T00:{minute:02}:{second:02}Z"))
        });
        each.collect::<Vec<_>>()
    });
    made.prop_shuffle()
}

proptest! {
    #[test]
    fn x5_adding_commutes(entries in entries_strategy(), seed in any::<u64>()) {
        let mut shuffled = entries.clone();
        let length = shuffled.len().max(1) as u64;
        shuffled.rotate_left(usize::try_from(seed % length).unwrap());
        shuffled.reverse();
        prop_assert_eq!(written(&entries), written(&shuffled));
    }

    #[test]
    fn x3_adding_is_idempotent(entries in entries_strategy()) {
        let mut index = Index::empty();
        for entry in entries.iter().chain(&entries) {
            index.add(CHART, entry.clone()).unwrap();
        }
        prop_assert_eq!(index.write(), written(&entries));
    }

    #[test]
    fn h6_adding_never_shrinks(entries in entries_strategy()) {
        let mut index = Index::empty();
        for (number, entry) in entries.iter().enumerate() {
            index.add(CHART, entry.clone()).unwrap();
            let text = index.write();
            let read = Index::from_bytes(text.as_bytes()).unwrap();
            prop_assert_eq!(read.size().0, number + 1);
            for earlier in &entries[..=number] {
                prop_assert_eq!(read.find(CHART, &earlier.version).map(Entry::json), Some(earlier.json()));
            }
        }
    }

    #[test]
    fn any_text_survives_writing_and_reading(text in any::<String>(), key in any::<String>()) {
        let value = serde_json::json!({"version": "1.0.0", "other": {key: text}});
        let entry = Entry::of(&value).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(entry.json()).unwrap(), value);
        prop_assert!(!entry.json().contains('\n'));
    }
}

#[test]
fn h15_a_short_entry_keeps_what_tools_ask_of_every_version_and_the_rest_as_far_as_there_is_room() {
    let mut fields = serde_json::json!({
        "apiVersion": "v2", "name": "demo", "version": "1.0.0", "appVersion": "1.0.0", "digest": "d".repeat(64), "deprecated": true,
        "created": "2026-01-01T00:00:00Z", "urls": ["https://c.example/demo-1.0.0.tgz"], "description": "x".repeat(100),
        "home": "https://e.example", "kubeVersion": ">=1.25.0-0", "keywords": ["a"], "maintainers": [{"name": "b"}],
        "annotations": {"release/image": "i.example/demo:1.0.0@sha256:0", "artifacthub.io/images": "- c"},
    });
    let kept = |fields: &Value| short(&Entry::of(fields).unwrap());
    let names = |entry: &Entry| {
        let mut names: Vec<String> = super::fields(entry).keys().cloned().collect();
        names.sort();
        names.join(" ")
    };
    let always = "annotations apiVersion appVersion created";
    let all = kept(&fields);
    assert_eq!(names(&all), format!("{always} deprecated description digest home kubeVersion name urls version"));
    assert_eq!(
        super::fields(&all)["annotations"],
        serde_json::json!({"release/image": "i.example/demo:1.0.0@sha256:0"})
    );
    assert!(all.json().len() <= SHORT && is_short(&all) && !is_short(&Entry::of(&fields).unwrap()));
    assert_eq!(kept(&serde_json::from_str(all.json()).unwrap()), all);
    fields["description"] = "x".repeat(200).into();
    let without = kept(&fields);
    assert_eq!(names(&without), format!("{always} deprecated digest home kubeVersion name urls version"));
    assert!(is_short(&without));
    fields["name"] = "n".repeat(SHORT).into();
    assert_eq!(names(&kept(&fields)), format!("{always} deprecated digest name urls version"));
    fields["urls"] = Value::Null;
    assert!(is_short(&kept(&fields)), "whatever a stranger's entry holds");
}

#[test]
fn h15_h6_only_entries_whose_whole_form_is_held_elsewhere_become_short() {
    let entry =
        |version: &str| Entry::of(&serde_json::json!({"version": version, "digest": "d", "keywords": ["a"]})).unwrap();
    let mut index = Index::empty();
    for (chart, version) in [(CHART, "1.0.0"), (CHART, "1.1.0"), ("other", "1.0.0")] {
        index.add(chart, entry(version)).unwrap();
    }
    let held = |one: &Entry| *one == entry("1.0.0");
    assert!(index.shorten(CHART, &held));
    assert!(!index.shorten(CHART, &held), "once");
    assert_eq!(index.find(CHART, "1.0.0").map(is_short), Some(true));
    assert_eq!(index.find(CHART, "1.1.0"), Some(&entry("1.1.0")));
    assert_eq!(index.find("other", "1.0.0"), Some(&entry("1.0.0")), "another chart has records of its own");
}
