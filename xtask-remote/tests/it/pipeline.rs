//! The road from the version to the proof, on the target `local`.

use crate::support::Demo;

#[test]
fn h2_a_release_publishes_archive_image_index_and_tags() {
    let demo = Demo::new();
    let report = demo.xtask(&["release", "--json"]).ok().json();
    assert_eq!((report["version"].as_str(), report["changed"].as_bool()), (Some("1.0.0"), Some(true)));
    assert_eq!(demo.versions(), ["1.0.0"]);
    let tags = demo.tags();
    assert_eq!(tags.keys().map(String::as_str).collect::<Vec<_>>(), ["1", "1.0", "1.0.0", "latest", "v1.0.0"]);
    assert!(tags.values().all(|digest| *digest == report["digest"].as_str().unwrap()));
}

#[test]
fn x3_a_second_release_changes_no_byte_and_says_so() {
    let demo = Demo::new();
    demo.xtask(&["release"]).ok();
    let before = demo.snapshot();
    let again = demo.xtask(&["release"]).ok();
    assert_eq!(demo.snapshot(), before);
    assert!(again.stderr.contains("no byte was changed"), "{}", again.stderr);
}
