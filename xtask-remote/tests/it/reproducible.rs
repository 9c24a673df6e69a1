//! One commit gives one image, whatever the folder, user and shell; and where two compilers met, one of their images wins.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::oci::Layout;

use crate::folders::copy_tree;
use crate::support::{
    Demo, Run, build_programs, can_compile, compilers, cross_rustc, files_below, pretended_programs, script, skipped,
    unsigned,
};

/// Every setting of a shell that makes cargo or rustc build something else, if it gets through.
const SETTINGS: [(&str, &str); 14] = [
    ("CARGO_BUILD_INCREMENTAL", "true"),
    ("CARGO_BUILD_RUSTFLAGS", "-Copt-level=2"),
    ("CARGO_BUILD_TARGET", "x86_64-unknown-linux-musl"),
    ("CARGO_ENCODED_RUSTFLAGS", "-Copt-level=2"),
    ("CARGO_INCREMENTAL", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2"),
    ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Copt-level=2"),
    ("CFLAGS", "-O3 -g"),
    ("CFLAGS_x86_64_unknown_linux_gnu", "-O3 -g"),
    ("LDFLAGS", "-Wl,--build-id"),
    ("RUSTFLAGS", "-Copt-level=2 -Cdebuginfo=2"),
    ("RUSTC_BOOTSTRAP", "1"),
    ("SOURCE_DATE_EPOCH", "1"),
];

#[test]
fn i15_one_commit_gives_the_same_bytes_in_another_folder_for_another_user_with_other_settings() {
    let Some(programs) = build_programs() else { return };
    let plain = Demo::that_compiles().that_signs();
    let other = Demo::that_compiles_on_port(plain.port).that_signs();
    with_generated_code(&plain);
    with_generated_code(&other);
    assert_eq!(plain.git(&["rev-parse", "HEAD"]), other.git(&["rev-parse", "HEAD"]), "one commit");
    let report = Run::of(fixed(plain.command(&["release", "--json"]), programs.path())).ok().json();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = fixed(other.command(&["release", "--json"]), programs.path());
    command.env("HOME", elsewhere.path().join("home")).env("CARGO_HOME", elsewhere.path().join("cargo"));
    // The pretended home holds no rustup; the compilers of this one are kept.
    if let Some(home) = std::env::var_os("HOME") {
        let rustup = std::env::var_os("RUSTUP_HOME").map_or(Path::new(&home).join(".rustup"), PathBuf::from);
        command.env("RUSTUP_HOME", rustup);
    }
    command.envs(SETTINGS);
    let again = Run::of(command).ok().json();
    assert_eq!(report["digest"], again["digest"]);
    let (plain, other) = (unsigned(plain.snapshot()), unsigned(other.snapshot()));
    assert!(plain == other, "archive, index, image and what is said of it are the same bytes");
}

#[test]
fn i15_the_binary_holds_no_path_of_the_machine() {
    if !can_compile() {
        return;
    }
    let demo = Demo::that_compiles();
    with_generated_code(&demo);
    demo.xtask(&["release"]).ok();
    let home = std::env::var("HOME").unwrap();
    let places = [demo.root().to_str().unwrap(), &home, "/.cargo/", "/.rustup/", "xtask/source"];
    let built = files_below(&demo.root().join("target/xtask/build"));
    let binaries: Vec<_> = built.iter().filter(|(path, _)| path.ends_with("-linux-gnu/release/demo")).collect();
    assert!(!binaries.is_empty());
    for (path, bytes) in binaries {
        for place in places {
            let held = bytes.windows(place.len()).any(|window| window == place.as_bytes());
            assert!(!held, "{path} holds {place}");
        }
        for mapped in ["operator/src/main.rs", "/out/generated.rs"] {
            let held = bytes.windows(mapped.len()).any(|window| window == mapped.as_bytes());
            assert!(held, "the path {mapped} of a panic message is not in {path}: the test proves nothing");
        }
    }
}

#[test]
fn i8_and_i15_commit_and_compiler_can_be_read_from_the_image() {
    let demo = Demo::that_compiles();
    demo.xtask(&["release"]).ok();
    let image = Layout::read(&demo.root().join("target/xtask/image")).unwrap();
    for part in image.platforms().unwrap() {
        let labels = &part.config.config.labels;
        assert_eq!(labels["org.opencontainers.image.revision"], demo.git(&["rev-parse", "HEAD"]));
        assert!(labels["rustc"].contains(&format!("{}: rustc 1.", part.platform)), "{}", labels["rustc"]);
        let expected = [
            ("created", "2026-01-02T03:04:05Z"),
            ("description", "An operator that only says its version"),
            ("documentation", "https://example.com/demo/docs"),
            ("licenses", "MIT"),
            ("source", "https://example.com/demo"),
            ("title", "demo"),
            ("vendor", "Example Ltd"),
            ("version", "1.0.0"),
        ];
        for (name, value) in expected {
            assert_eq!(labels[&format!("org.opencontainers.image.{name}")], value);
            assert_eq!(part.manifest.annotations[&format!("org.opencontainers.image.{name}")], value);
        }
    }
}

#[test]
fn where_the_first_compiler_builds_for_every_platform_no_other_is_asked() {
    let (demo, first, others) = (Demo::new(), pretended_programs(), tempfile::tempdir().unwrap());
    let asked = others.path().join("asked");
    for name in ["rustc", "rustup"] {
        script(&others.path().join(name), &format!("echo {name} \"$@\" >>{}\nexit 1\n", asked.display()));
    }
    let path = std::env::join_paths([first.path(), others.path()]).unwrap();
    let release = |arguments: &[&str]| {
        let mut command = demo.command(arguments);
        command.env("PATH", &path).env("CARGO", first.path().join("cargo"));
        Run::of(command).ok();
    };
    release(&["release"]);
    assert!(!asked.exists(), "{}", std::fs::read_to_string(&asked).unwrap());
    std::fs::remove_dir_all(first.path().join("sysroot/lib/rustlib/aarch64-unknown-linux-gnu")).unwrap();
    release(&["release", "minor"]);
    let asked = std::fs::read_to_string(&asked).unwrap();
    for question in ["rustc --version --verbose", "rustc --print sysroot", "rustup toolchain list --verbose"] {
        assert!(asked.lines().any(|line| line == question), "{question} is not in {asked}");
    }
}

#[test]
fn x3_a_release_of_another_compiler_is_finished_with_its_image() {
    let Some(rustc) = two_compilers() else { return };
    let demo = Demo::that_compiles();
    let (folder, first) = (demo.published(), release(&demo, &rustc[0]));
    let whole = demo.snapshot();
    // The image is pushed and tagged, and the rest was never done.
    std::fs::remove_file(folder.join("demo-1.0.0.tgz")).unwrap();
    std::fs::remove_file(folder.join("index.yaml")).unwrap();
    assert_eq!(release(&demo, &rustc[1]), first);
    assert!(demo.snapshot() == whole);
    // The archive is there, too, and not listed yet.
    demo.write("target/published/index.yaml", "{\"apiVersion\":\"v1\",\"entries\":{}}\n");
    assert_eq!(release(&demo, &rustc[1]), first);
    assert_eq!((demo.versions(), demo.tags()["latest"].as_str()), (vec!["1.0.0".to_owned()], first.as_str()));
    assert!(demo.snapshot() == whole);
    // The same holds where nothing may be replaced.
    demo.write("target/published/index.yaml", "{\"apiVersion\":\"v1\",\"entries\":{}}\n");
    let mut strict = demo.command(&["release", "--strict", "--json"]);
    strict.env("RUSTC", &rustc[1]);
    if cross_rustc().is_some() {
        assert_eq!(Run::of(strict).ok().json()["digest"].as_str(), Some(first.as_str()));
        assert!(demo.snapshot() == whole);
    }
}

#[test]
fn x5_where_two_compilers_met_the_archive_decides_and_the_version_tags_follow() {
    let Some(rustc) = two_compilers() else { return };
    let demo = Demo::that_compiles();
    let first = release(&demo, &rustc[0]);
    let whole = demo.snapshot();
    // Another machine was at it at the same time: its image was pushed, and took the tags.
    let other = Demo::that_compiles_on_port(demo.port);
    let second = release(&other, &rustc[1]);
    assert_ne!(first, second, "two compilers make two images");
    let blobs = "target/published/image/blobs";
    copy_tree(&other.root().join(blobs), &demo.root().join(blobs));
    let tags = demo.read("target/published/image/index.json").replace(&first, &second);
    demo.write("target/published/image/index.json", tags);
    for (moment, listed) in [("listed", true), ("not listed", false)] {
        if !listed {
            demo.write("target/published/index.yaml", "{\"apiVersion\":\"v1\",\"entries\":{}}\n");
        }
        assert_eq!(release(&demo, &rustc[1]), first, "{moment}");
        assert!(demo.tags().values().all(|digest| *digest == first), "{moment}");
        let now = demo.snapshot();
        assert!(
            whole.iter().all(|(path, bytes)| now.get(path) == Some(bytes)),
            "{moment}: all is as the first made it"
        );
        let tags = demo.read("target/published/image/index.json").replace(&first, &second);
        demo.write("target/published/image/index.json", tags);
    }
}

/// Gives the crate panic messages, which hold paths: of its sources, and of what its build script made in cargo's folder.
fn with_generated_code(demo: &Demo) {
    let build = "fn main() {\n    let out = std::env::var(\"OUT_DIR\").unwrap();\n    \
                 let code = \"pub fn check(count: usize) { assert!(count < 1000); }\\n\";\n    \
                 std::fs::write(format!(\"{out}/generated.rs\"), code).unwrap();\n}\n";
    demo.write("operator/build.rs", build);
    let main = "include!(concat!(env!(\"OUT_DIR\"), \"/generated.rs\"));\n\nfn main() {\n    \
                check(std::env::args().len());\n    assert!(std::env::args().len() < 1000);\n}\n";
    demo.write("operator/src/main.rs", main);
    demo.commit("panics");
}

/// Releases with one compiler preferred and gives the image's digest.
fn release(demo: &Demo, rustc: &Path) -> String {
    let mut command = demo.command(&["release", "--json"]);
    command.env("RUSTC", rustc);
    let report = Run::of(command).ok().json();
    assert_eq!(demo.versions(), ["1.0.0"]);
    report["digest"].as_str().unwrap().to_owned()
}

/// A run with these programs and no others.
fn fixed(mut command: Command, programs: &Path) -> Command {
    command.env("PATH", programs).env("CARGO", env!("CARGO"));
    command
}

/// Two compilers of this machine that are not the same one.
pub fn two_compilers() -> Option<[PathBuf; 2]> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for rustc in compilers() {
        let mut ask = Command::new(&rustc);
        ask.arg("--version");
        found.entry(Run::of(ask).stdout).or_insert(rustc);
    }
    let mut found = found.into_values();
    let pair = found.next().zip(found.next()).map(|(first, second)| [first, second]);
    if pair.is_none() {
        skipped("there is only one compiler here");
    }
    pair
}
