//! Compiling on several machines: what they hand on makes the image that one machine makes, and nothing else is taken for it.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::path::Path;

use serde_json::Value;

use crate::support::{Demo, Run, programs};

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// Compiles the parts of a workspace's image, and forgets everything else that was made on the way.
pub fn compiled(build: &dyn Fn(&[&str]) -> Run, root: &Path) -> Vec<String> {
    let part = |platform: &str| {
        let made = build(&["release", "build", "--platform", platform, "--json"]).ok().json();
        format!("--part={platform}={}", made["part"].as_str().unwrap())
    };
    let parts = PLATFORMS.map(part).to_vec();
    for made in ["source", "build", "image", "metadata"] {
        std::fs::remove_dir_all(root.join("target/xtask").join(made)).ok();
    }
    parts
}

#[test]
fn x1_i15_parts_that_several_machines_compiled_make_the_image_that_one_machine_makes() {
    let demo = Demo::new().that_signs();
    let whole = demo.xtask(&["release", "build", "--json"]).ok().json();
    let bills = demo.read("target/xtask/image/bills.json");
    let parts = compiled(&|words| demo.xtask(words), demo.root());
    // Whoever puts them together has no compiler.
    let git = programs(&["git"]);
    let joined = |parts: &[String]| {
        let words =
            [&["release", "build", "--json"][..], &parts.iter().map(String::as_str).collect::<Vec<_>>()].concat();
        let mut command = demo.command(&words);
        command.env_remove("CARGO").env("PATH", git.path());
        Run::of(command)
    };
    assert_eq!(joined(&parts).ok().json(), whole);
    assert_eq!(demo.read("target/xtask/image/bills.json"), bills);
    let one: Value = joined(&parts[..1]).ok().json();
    assert_ne!(one, whole, "a rehearsal may lack a platform");
    let mut strict = parts.clone();
    strict.truncate(1);
    joined(&[strict, vec!["--strict".into()]].concat()).fails(2, "no part is for linux/arm64");
}

#[test]
fn i4_what_was_changed_on_the_way_is_not_put_into_an_image() {
    let demo = Demo::new();
    let parts = compiled(&|words| demo.xtask(words), demo.root());
    let refused = |text: &str| {
        let words = ["release", "build", &parts[0], &parts[1]];
        demo.xtask(&words).fails(5, "is not the part for linux/arm64").fails(5, text);
        assert!(!demo.root().join("target/xtask/image").exists());
    };
    let folder = "target/xtask/parts/linux-arm64";
    let (binary, note) = (demo.read(&format!("{folder}/binary")), demo.read(&format!("{folder}/part.json")));
    demo.write(&format!("{folder}/binary"), format!("{binary}more"));
    refused("binary\n");
    demo.write(&format!("{folder}/binary"), &binary);
    demo.write(&format!("{folder}/part.json"), note.replace("1.95.0", "1.96.0"));
    refused("part.json\n");
    demo.write(&format!("{folder}/part.json"), &note);
    demo.write("operator/src/main.rs", "fn main() {}\n");
    demo.commit("another commit");
    demo.xtask(&["release", "build", &parts[0], &parts[1]]).fails(5, "wanted is 1.0.0 of");
    demo.xtask(&["release", "build", "--platform", "linux/riscv64"]).fails(2, "there is no image for linux/riscv64");
    demo.xtask(&["release", "build", "--part", "linux/amd64"]).fails(2, "not PLATFORM=DIGEST");
}
