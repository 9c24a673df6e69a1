//! The rest of the road on the local target: what is replaced and what stays, yanking, lines of versions, plans, and stretches.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Demo, Run, build_programs, cross_rustc, git, pretended_programs, programs, script, tool, unsigned,
};

#[test]
fn x3_a_local_bump_leaves_the_tree_untouched_and_the_same_words_give_the_same_version() {
    let demo = Demo::new();
    demo.xtask(&["release", "minor"]).ok();
    assert_eq!(demo.git(&["status", "--porcelain"]), "");
    let before = demo.snapshot();
    let again = demo.xtask(&["release", "minor", "--json"]).ok().json();
    assert_eq!((again["version"].as_str(), again["changed"].as_bool()), (Some("1.1.0"), Some(false)));
    assert!(demo.snapshot() == before);
    demo.xtask(&["release", "v1.2.0"]).ok();
    assert_eq!(demo.versions(), ["1.2.0", "1.1.0"]);
}

#[test]
fn x3_changed_sources_replace_their_version_and_no_other() {
    let demo = Demo::new();
    demo.xtask(&["release", "patch"]).ok();
    let mut last = demo.xtask(&["release", "--json"]).ok().json();
    let kept = demo.index()["entries"]["demo"][0].clone();
    let changes: [(&str, &dyn Fn()); 3] = [
        ("committed", &|| {
            demo.edit("chart/values.yaml", "An image", "Perhaps an image");
            demo.commit("other sources");
        }),
        ("uncommitted", &|| demo.edit("operator/src/main.rs", "demo {}", "this is demo {}")),
        ("untracked", &|| demo.write("chart/templates/more.yaml", "# nothing\n")),
    ];
    for (kind, change) in changes {
        change();
        let run = demo.xtask(&["release", "--json"]).ok();
        let report = run.json();
        let said =
            run.stderr.lines().filter(|line| line.contains("Replacing 1.0.0 was rehearsed before: it was made of"));
        assert_eq!(said.count(), 1, "{kind}: {}", run.stderr);
        assert_ne!(report["digest"], last["digest"], "{kind}");
        assert_eq!(
            (demo.versions(), &demo.index()["entries"]["demo"][0]),
            (vec!["1.0.1".into(), "1.0.0".into()], &kept)
        );
        assert_eq!(demo.tags()["v1.0.0"], report["digest"].as_str().unwrap(), "{kind}");
        demo.xtask(&["verify", "1.0.1"]).ok();
        last = report;
    }
    let before = demo.snapshot();
    demo.xtask(&["release"]).ok();
    assert!(demo.snapshot() == before, "an uncommitted state, too, is released once");
    // What the revision says is the tree that a commit of all this has.
    demo.git(&["add", "--all"]);
    let revision = format!("{}-dirty-{}", demo.git(&["rev-parse", "HEAD"]), demo.git(&["write-tree"]));
    assert_eq!(last["revision"].as_str(), Some(revision.as_str()));
}

#[test]
fn x3_a_folder_that_becomes_a_file_or_a_link_and_back_is_released_as_it_is_now() {
    let demo = Demo::in_memory();
    let programs = pretended_programs();
    let release = || {
        let mut command = demo.command(&["release"]);
        command.env("PATH", programs.path()).env("CARGO", programs.path().join("cargo"));
        Run::of(command).ok();
        let kind = std::fs::symlink_metadata(demo.root().join("target/xtask/source/notes")).unwrap().file_type();
        (kind.is_dir(), kind.is_file(), kind.is_symlink())
    };
    let notes = demo.root().join("notes");
    demo.write("notes/one.txt", "one");
    demo.write("other/one.txt", "two");
    demo.commit("a folder");
    assert_eq!(release(), (true, false, false));
    std::fs::remove_dir_all(&notes).unwrap();
    demo.write("notes", "a file");
    assert_eq!(release(), (false, true, false));
    std::fs::remove_file(&notes).unwrap();
    std::os::unix::fs::symlink("other", &notes).unwrap();
    assert_eq!(release(), (false, false, true));
    demo.commit("a link");
    std::fs::remove_file(&notes).unwrap();
    demo.write("notes/one.txt", "one");
    assert_eq!(release(), (true, false, false));
    assert_eq!(demo.read("target/xtask/source/other/one.txt"), "two", "nothing was written through the link");
}

#[test]
fn x3_ignored_files_change_nothing() {
    let demo = Demo::new();
    demo.xtask(&["release"]).ok();
    let before = demo.snapshot();
    demo.write(".git/info/exclude", "*.local\n");
    demo.write("chart/notes.local", "mine");
    demo.write("target/more", "output");
    let report = demo.xtask(&["release", "--json"]).ok().json();
    assert_eq!(report["changed"], false);
    assert!(demo.snapshot() == before);
}

#[test]
fn x3_strict_refuses_what_a_rehearsal_replaces_and_names_both_ways_out() {
    let demo = Demo::new();
    demo.xtask(&["release"]).ok();
    let first = demo.git(&["rev-parse", "HEAD"]);
    demo.edit("chart/values.yaml", "An image", "Perhaps an image");
    demo.commit("other sources");
    let before = demo.snapshot();
    let run = demo.xtask(&["release", "--strict"]).fails(5, "the tag v1.0.0 belongs to another image");
    assert!(run.stderr.contains(&format!("git checkout {first}")) && run.stderr.contains("release 1.0.1"), "{run:?}");
    assert!(demo.snapshot() == before);
    let plan = demo.xtask(&["release", "--strict", "--plan"]).ok();
    assert!(plan.stdout.contains("conflict") && plan.stdout.contains("the tag v1.0.0 belongs to another"), "{plan:?}");
    // The first way out; the second one is a release like any other.
    demo.git(&["checkout", "--quiet", &first]);
    if cross_rustc().is_some() {
        demo.xtask(&["release", "--strict"]).ok();
        assert!(demo.snapshot() == before);
    }
}

#[test]
fn i2_an_image_with_fewer_platforms_is_completed_once_more_can_be_built() {
    let (Some(rustc), Some(whole)) = (cross_rustc(), build_programs()) else { return };
    let without_linker = programs(&["as", "cc", "gcc", "git", "ld"]);
    std::os::unix::fs::symlink(&rustc, without_linker.path().join("rustc")).unwrap();
    let without_library = without_arm_library(&rustc);
    let lacks = [
        (&without_linker, "there is no linker for aarch64-unknown-linux-gnu"),
        (&without_library, "no rustc here has the standard library for aarch64-unknown-linux-gnu"),
    ];
    for (programs, why) in lacks {
        let demo = Demo::that_compiles();
        let run = released(&demo, programs);
        let told: Vec<&str> = run.stderr.lines().filter(|line| line.contains("linux/arm64 is left out")).collect();
        assert!(told.len() == 1 && told[0].contains(why), "{}", run.stderr);
        assert!(run.stderr.contains("the image lacks linux/arm64: this machine cannot build it"), "{}", run.stderr);
        assert_eq!(run.json()["missing_platforms"][0], "linux/arm64");
        let before = demo.snapshot();
        let again = released(&demo, programs);
        assert!(again.stderr.contains("the image lacks linux/arm64"), "said again: {}", again.stderr);
        assert!(demo.snapshot() == before);
        let run = released(&demo, &whole);
        assert!(run.stderr.contains("linux/arm64 can be built now"), "{}", run.stderr);
        assert_eq!(run.json()["proof"]["platforms"], serde_json::json!(["linux/amd64", "linux/arm64"]));
        assert_eq!(demo.versions(), ["1.0.0"]);
        let before = demo.snapshot();
        released(&demo, programs);
        assert!(demo.snapshot() == before, "an image is never made smaller");
        let mut strict = with_programs(&demo, &["release", "minor", "--strict"], programs);
        strict.env_remove("RUSTC");
        Run::of(strict).fails(4, "linux/arm64 cannot be built on this machine");
        assert!(demo.snapshot() == before, "what is public is whole");
    }
}

#[test]
fn i7_a_machine_that_can_build_nothing_is_told_every_remedy_at_once() {
    let demo = Demo::new();
    let programs = programs(&["git", "rustc"]);
    let run = Run::of(with_programs(&demo, &["release"], &programs)).fails(4, "no platform of the image can be built");
    for part in
        ["linux/amd64: ", "linux/arm64: ", "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", "libc6-dev", "aarch64"]
    {
        assert!(run.stderr.contains(part), "{part} is not in {}", run.stderr);
    }
    assert!(demo.snapshot().is_empty());
}

#[test]
fn h5_x3_yank_hides_a_version_and_unyank_restores_every_byte() {
    let demo = Demo::new();
    demo.xtask(&["release"]).ok();
    let first = demo.tags()["latest"].clone();
    demo.xtask(&["release", "minor"]).ok();
    let before = demo.snapshot();
    let second = demo.tags()["latest"].clone();
    let run = demo.xtask(&["release", "yank", "1.1.0", "--reason", "loses \"events\""]).ok();
    assert!(run.stderr.contains("tag 1.1 stays where it is: no listed stable version is left"), "{}", run.stderr);
    assert_eq!(demo.versions(), ["1.0.0"]);
    let tags = demo.tags();
    assert!(tags["latest"] == first && tags["1"] == first && tags["1.0"] == first, "users go back: {tags:?}");
    assert!(tags["1.1"] == second && tags["v1.1.0"] == second, "what is installed stays: {tags:?}");
    let yanked = demo.snapshot();
    for (path, bytes) in
        before.iter().filter(|(path, _)| !path.ends_with("index.yaml") && !path.ends_with("index.json"))
    {
        assert!(yanked.get(path) == Some(bytes), "{path} stays");
    }
    let kept: Value = serde_json::from_str(demo.index()["annotations"]["yanked/demo-1.1.0"].as_str().unwrap()).unwrap();
    assert_eq!(kept["reason"], "loses \"events\"");
    demo.xtask(&["verify", "1.0.0"]).ok();
    demo.xtask(&["verify", "1.1.0"]).fails(8, "does not list demo 1.1.0");
    let refused = demo.xtask(&["release", "minor"]).fails(5, "1.1.0 was yanked");
    for part in ["loses \"events\"", "cargo xtask release unyank 1.1.0", "or take the next version"] {
        assert!(refused.stderr.contains(part), "{part} is not in {}", refused.stderr);
    }
    demo.xtask(&["release", "yank", "1.1.0", "--reason", "again"]).ok();
    assert!(demo.snapshot() == yanked, "once is enough, and the first reason stays");
    demo.xtask(&["release", "unyank", "1.1.0"]).ok();
    assert!(demo.snapshot() == before, "index and tags are as they were");
    let again = demo.xtask(&["release", "unyank", "1.1.0"]).ok();
    assert!(demo.snapshot() == before && again.stderr.contains("it was done before"));
    demo.xtask(&["release", "yank", "9.9.9", "--reason", "x"]).fails(2, "newest listed versions: 1.1.0, 1.0.0");
    demo.xtask(&["release", "unyank", "9.9.9"]).fails(2, "demo 9.9.9 is not listed");
    assert!(demo.snapshot() == before);
}

#[test]
fn i3_a_line_left_without_a_version_keeps_its_tags_with_a_warning() {
    let demo = Demo::new();
    demo.xtask(&["release"]).ok();
    let before = demo.tags();
    let run = demo.xtask(&["release", "yank", "1.0.0", "--reason", "wrong"]).ok();
    for tag in ["1", "1.0", "latest"] {
        assert!(run.stderr.contains(&format!("tag {tag} stays where it is")), "{}", run.stderr);
    }
    assert_eq!((demo.tags(), demo.versions()), (before, Vec::new()));
}

#[test]
fn i3_a_backport_moves_the_tag_of_its_line_only() {
    let demo = Demo::new();
    let digest =
        |word: &str| demo.xtask(&["release", word, "--json"]).ok().json()["digest"].as_str().unwrap().to_owned();
    let (first, second, backport) = (digest("1.0.0"), digest("1.1.0"), digest("1.0.1"));
    let tags = demo.tags();
    let expected = [
        ("1", &second),
        ("1.0", &backport),
        ("1.0.0", &first),
        ("1.0.1", &backport),
        ("1.1", &second),
        ("1.1.0", &second),
        ("latest", &second),
        ("v1.0.0", &first),
        ("v1.0.1", &backport),
        ("v1.1.0", &second),
    ];
    assert_eq!(tags.iter().map(|(tag, digest)| (tag.as_str(), digest)).collect::<Vec<_>>(), expected);
    assert_eq!(demo.versions(), ["1.1.0", "1.0.1", "1.0.0"], "newest first");
}

#[test]
fn i13_a_pre_release_leads_nothing_and_is_marked() {
    let demo = Demo::new();
    demo.xtask(&["release"]).ok();
    let before = demo.tags();
    demo.xtask(&["release", "1.1.0-rc.1"]).ok();
    let mut tags = demo.tags();
    assert!(tags.remove("v1.1.0-rc.1") == tags.remove("1.1.0-rc.1") && tags == before, "{tags:?}");
    let annotation = |version: &str| demo.record(version)["entry"]["annotations"]["artifacthub.io/prerelease"].clone();
    assert_eq!((annotation("1.1.0-rc.1"), annotation("1.0.0")), ("true".into(), Value::Null));
    demo.xtask(&["release", "1.1.0+linux"]).fails(3, "build metadata");
    assert_eq!(demo.versions(), ["1.1.0-rc.1", "1.0.0"]);
    let Some(helm) = tool("helm-3") else { return };
    let home = tempfile::tempdir().unwrap();
    let _served = demo.serve();
    let say = |arguments: &[&str]| {
        let mut command = Command::new(&helm);
        command.args(arguments).env("HOME", home.path()).env_remove("XDG_CACHE_HOME").env_remove("XDG_CONFIG_HOME");
        Run::of(command).ok().stdout
    };
    say(&["repo", "add", "here", &demo.url()]);
    assert!(!say(&["search", "repo", "here", "--versions"]).contains("rc.1"));
    assert!(say(&["search", "repo", "here", "--versions", "--devel"]).contains("1.1.0-rc.1"));
}

const STEPS: [&str; 11] =
    ["bump", "compile", "build", "scan", "push", "sign", "tag", "package", "publish", "promote", "verify"];

#[test]
fn x7_a_plan_shows_every_step_and_touches_nothing() {
    let demo = Demo::new().that_signs();
    // Where the tree is changed, git stores what is as young as the index once more, and gives the object that is there a new time.
    std::thread::sleep(Duration::from_secs(1));
    // A fresh clone: git knows no times of files yet, and there is no build output.
    let clones = tempfile::tempdir().unwrap();
    git(clones.path(), &["clone", "--quiet", demo.root().to_str().unwrap(), "clone"]);
    let clone = clones.path().join("clone");
    let plan = |folder: &Path, arguments: &[&str]| {
        let before = listing(folder);
        let mut command = demo.command(&[&["release", "--plan"], arguments].concat());
        command.current_dir(folder);
        let run = Run::of(command).ok();
        assert_eq!(listing(folder), before);
        run
    };
    let states = |run: &Run| -> Vec<String> {
        let steps = run.json().as_array().unwrap().clone();
        assert_eq!(steps.iter().map(|step| step["step"].as_str().unwrap()).collect::<Vec<_>>(), STEPS);
        steps.iter().map(|step| step["state"].as_str().unwrap().to_owned()).collect()
    };
    let fresh = plan(&clone, &["minor"]);
    assert_eq!(fresh.stdout.lines().map(|line| line.split_whitespace().next().unwrap()).collect::<Vec<_>>(), STEPS);
    assert!(fresh.stdout.contains("1.0.0 becomes 1.1.0") && fresh.stdout.contains("v1.1.0 1.1.0"), "{}", fresh.stdout);
    let fresh = states(&plan(&clone, &["minor", "--json"]));
    assert!(fresh.iter().enumerate().all(|(step, state)| state == "to-do" || STEPS[step] == "scan"), "{fresh:?}");
    demo.xtask(&["release"]).ok();
    let done = states(&plan(demo.root(), &["--json"]));
    assert!(done[..STEPS.len() - 1].iter().all(|state| state == "done"), "{done:?}");
    demo.edit("chart/values.yaml", "An image", "Perhaps an image");
    let changed = plan(demo.root(), &[]);
    assert!(changed.stdout.contains("again: its sources changed since it was rehearsed"), "{}", changed.stdout);
    demo.commit("other sources");
    let strict = states(&plan(demo.root(), &["--json", "--strict"]));
    assert!(["compile", "package", "publish"].iter().all(|step| strict[position(step)] == "conflict"), "{strict:?}");
    demo.git(&["checkout", "--quiet", "HEAD~1"]);
    demo.xtask(&["release", "yank", "1.0.0", "--reason", "wrong"]).ok();
    let yanked = plan(demo.root(), &[]);
    assert!(yanked.stdout.contains("conflict 1.0.0 was yanked: wrong"), "{}", yanked.stdout);
}

#[test]
fn x1_the_stretches_one_after_the_other_are_the_whole_road() {
    let whole = Demo::new().that_signs();
    whole.xtask(&["release"]).ok();
    whole.xtask(&["release", "minor"]).ok();
    let parts = Demo::on_port(whole.port).that_signs();
    parts.xtask(&["release"]).ok();
    let (before, before_digest) = (parts.snapshot(), parts.tags()["v1.0.0"].clone());
    let say = |stretch: &[&str]| parts.xtask(&[&["release"], stretch].concat());
    say(&["bump", "minor"]).ok();
    assert!(parts.read("target/xtask/source/Cargo.lock").contains("1.1.0"));
    let digest = say(&["build", "minor", "--json"]).ok().json()["digest"].as_str().unwrap().to_owned();
    say(&["push", "minor"]).fails(11, "has no verdict");
    assert!(parts.snapshot() == before, "nothing is pushed that was not scanned");
    assert_eq!(say(&["scan", "minor", "--json"]).ok().json()["digest"].as_str(), Some(digest.as_str()));
    assert!(parts.snapshot() == before);
    say(&["tag", "minor"]).fails(6, "the image lacks its part");
    say(&["sign", "minor"]).fails(6, "the image lacks its part");
    say(&["chart", "minor"]).fails(2, "there is no image");
    say(&["push", "minor"]).ok();
    assert_eq!(parts.tags().keys().filter(|tag| tag.contains("1.1")).count(), 0, "no tag before `tag`");
    for early in [&["tag", "minor"][..], &["chart", "minor", "--digest", &digest]] {
        say(early).fails(5, "is not signed as the image of 1.1.0");
    }
    say(&["sign", "minor", "--second", &before_digest]).fails(5, "two builds of one commit made two images");
    say(&["sign", "minor"]).ok();
    say(&["chart", "minor", "--digest", &digest]).fails(8, "cannot be pulled");
    say(&["tag", "minor"]).ok();
    assert_eq!(parts.versions(), ["1.0.0"], "the image is out before the chart");
    say(&["chart", "minor"]).ok();
    assert_ne!(parts.tags()["latest"], digest, "the floating tags move last");
    say(&["promote", "minor"]).ok();
    assert!(unsigned(parts.snapshot()) == unsigned(whole.snapshot()));
    for stretch in ["sign", "tag", "chart", "promote"] {
        assert!(say(&[stretch, "minor"]).ok().stderr.contains("it was done before"), "{stretch}");
    }
    assert_eq!(say(&["build", "minor", "--json"]).ok().json()["digest"].as_str(), Some(digest.as_str()));
    assert!(unsigned(parts.snapshot()) == unsigned(whole.snapshot()));
}

#[test]
fn i11_no_stretch_takes_the_image_of_another_revision_or_version() {
    let demo = Demo::new();
    let old = demo.xtask(&["release", "--json"]).ok().json()["digest"].as_str().unwrap().to_owned();
    demo.edit("chart/values.yaml", "An image", "Perhaps an image");
    demo.commit("other sources");
    let before = demo.snapshot();
    let refused = |arguments: &[&str]| {
        demo.xtask(arguments).fails(5, "is not the image of");
        assert!(demo.snapshot() == before, "{arguments:?}");
    };
    refused(&["release", "tag", "--digest", &old]);
    refused(&["release", "tag", "minor", "--digest", &old]);
    refused(&["release", "push"]);
    refused(&["release", "chart", "--digest", &old]);
    refused(&["release", "chart"]);
}

#[test]
fn x6_verify_names_what_is_not_as_it_was_published() {
    let demo = Demo::new();
    let first = demo.xtask(&["release", "--json"]).ok().json()["digest"].as_str().unwrap().to_owned();
    let second = demo.xtask(&["release", "minor", "--json"]).ok().json()["digest"].as_str().unwrap().to_owned();
    demo.xtask(&["verify", "1.1.0"]).ok();
    demo.xtask(&["verify", "1.0.0"]).ok();
    let good = demo.keep();
    let layer = {
        let image = xtask::oci::Layout::read(&demo.root().join("target/xtask/image")).unwrap();
        image.platforms().unwrap()[0].manifest.layers[0].digest.clone()
    };
    let blob = |hex: &str| format!("target/published/image/blobs/sha256/{hex}");
    let index_json = "target/published/image/index.json";
    let tag_to = |tag: &str, digest: &str| {
        let mut index: Value = serde_json::from_str(&demo.read(index_json)).unwrap();
        for manifest in index["manifests"].as_array_mut().unwrap() {
            if manifest["annotations"]["org.opencontainers.image.ref.name"] == tag {
                manifest["digest"] = digest.into();
            }
        }
        demo.write(index_json, index.to_string());
    };
    let remove = |path: &str| std::fs::remove_file(demo.root().join(path)).unwrap();
    let [archive, record] = ["tgz", "json"].map(|kind| format!("target/published/demo-1.1.0.{kind}"));
    let (archive, record) = (&*archive, &*record);
    let damages: [(&str, &dyn Fn(), String); 11] = [
        ("a changed archive", &|| demo.write(archive, "changed"), "demo-1.1.0.tgz has sha256".into()),
        ("no archive", &|| remove(archive), "demo-1.1.0.tgz is answered with 404".into()),
        ("no record", &|| remove(record), "demo-1.1.0.json is answered with 404".into()),
        (
            "another record",
            &|| demo.write(record, demo.record("1.0.0").to_string()),
            "demo-1.1.0.json does not say what archive and image are".into(),
        ),
        ("a changed layer", &|| demo.write(&blob(layer.hex()), "changed"), format!("{layer} is answered with 500")),
        ("no layer", &|| remove(&blob(layer.hex())), format!("{layer} is answered with 404")),
        ("a moved floating tag", &|| tag_to("latest", &first), "tag latest should lead to 1.1.0".into()),
        ("a moved version tag", &|| tag_to("v1.1.0", &first), "tag v1.1.0 leads to another image".into()),
        ("the other version tag", &|| tag_to("1.1.0", &first), format!("tag 1.1.0 does not lead to {second}")),
        (
            "no entry",
            &|| {
                let mut index = demo.index();
                index["entries"]["demo"].as_array_mut().unwrap().remove(0);
                demo.write("target/published/index.yaml", index.to_string());
            },
            "index.yaml does not list demo 1.1.0".into(),
        ),
        ("no index", &|| remove("target/published/index.yaml"), "index.yaml is answered with 404".into()),
    ];
    for (what, damage, named) in damages {
        demo.restore(&good);
        damage();
        let damaged = demo.snapshot();
        let run = demo.xtask(&["verify", "1.1.0"]).fails(8, &named);
        assert!(run.stderr.contains("run the same release again"), "{what}: {}", run.stderr);
        assert!(demo.snapshot() == damaged, "{what}: verify only looks");
    }
    // What the message says to do does it, where a release can know what belongs there.
    let whole = {
        demo.restore(&good);
        demo.snapshot()
    };
    let healed: [&dyn Fn(); 5] = [
        &|| tag_to("latest", &first),
        &|| tag_to("v1.1.0", &first),
        &|| tag_to("1.1.0", &first),
        &|| remove(archive),
        &|| remove(record),
    ];
    for damage in healed {
        demo.restore(&good);
        damage();
        demo.xtask(&["release", "minor"]).ok();
        assert!(demo.snapshot() == whole);
    }
}

fn position(step: &str) -> usize {
    STEPS.iter().position(|name| *name == step).unwrap()
}

/// Everything in a folder, with kinds, modes, sizes and times.
fn listing(folder: &Path) -> Vec<String> {
    let mut command = Command::new("find");
    command.arg(folder).args(["-printf", "%P %y %m %s %T@ %l\n"]);
    let mut lines: Vec<String> = Run::of(command).ok().stdout.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn with_programs(demo: &Demo, arguments: &[&str], programs: &TempDir) -> Command {
    let mut command = demo.command(arguments);
    command.env("PATH", programs.path()).env("CARGO", env!("CARGO"));
    command
}

fn released(demo: &Demo, programs: &TempDir) -> Run {
    Run::of(with_programs(demo, &["release", "--json"], programs)).ok()
}

/// The programs of a build, with a compiler that says it has no library for arm64.
fn without_arm_library(rustc: &Path) -> TempDir {
    let folder = programs(&["aarch64-linux-gnu-gcc", "as", "cc", "gcc", "git", "ld", "sh"]);
    let mut ask = Command::new(rustc);
    ask.args(["--print", "target-libdir"]);
    let library = Run::of(ask).ok().stdout;
    let host = Path::new(library.trim()).parent().unwrap();
    let known = folder.path().join("sysroot/lib/rustlib");
    std::fs::create_dir_all(&known).unwrap();
    std::os::unix::fs::symlink(host, known.join(host.file_name().unwrap())).unwrap();
    let text = format!(
        "if [ \"$*\" = '--print sysroot' ]; then echo '{}'; else exec '{}' \"$@\"; fi\n",
        folder.path().join("sysroot").display(),
        rustc.display()
    );
    script(&folder.path().join("rustc"), &text);
    folder
}
