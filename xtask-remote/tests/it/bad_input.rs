//! What is wrong is said once, clearly, with the documented exit code, and nothing is changed by it.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use xtask::oci::sha256_hex;

use crate::support::{Demo, Run, build_programs, files_below, pretended_programs, programs, skipped};

/// Sources that cannot be released.
const WORKSPACE: i32 = 3;
/// A machine that lacks something.
const ENVIRONMENT: i32 = 4;
/// A repository that cannot be read.
const REPOSITORY: i32 = 6;

/// A mistake: what it is, how it is made, what is then said to the tool, its exit code, and words of its error.
type Case<'c> = (&'c str, Spoil<'c>, &'c [&'c str], i32, &'c [&'c str]);
/// What makes a mistake in the good folder.
type Spoil<'c> = Box<dyn Fn(&Demo) + 'c>;

/// A demo that was released once, to make mistakes in again and again.
struct Table {
    demo: Demo,
    good: TempDir,
    programs: TempDir,
    cargo: PathBuf,
}

impl Table {
    /// With pretended compilers: mistakes are found before those, or have nothing to do with them.
    fn new() -> Self {
        let programs = pretended_programs();
        let cargo = programs.path().join("cargo");
        Self::with(programs, cargo)
    }

    fn with(programs: TempDir, cargo: PathBuf) -> Self {
        let table = Table { good: tempfile::tempdir().unwrap(), demo: Demo::in_memory(), programs, cargo };
        Run::of(table.command(&["release"])).ok();
        Table { good: table.demo.keep(), ..table }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.demo.command(words);
        command.env("PATH", self.programs.path()).env("CARGO", &self.cargo);
        command
    }

    /// Makes each mistake in the good folder.
    fn check(&self, cases: Vec<Case<'_>>) {
        for (what, spoil, words, code, says) in cases {
            self.demo.restore(&self.good);
            spoil(&self.demo);
            let before = self.everything();
            let run = Run::of(self.command(words));
            assert_eq!(run.code, Some(code), "{what}: {}", run.stderr);
            for part in says {
                assert!(run.stderr.contains(part), "{what}: `{part}` is not in:\n{}", run.stderr);
            }
            // A child that failed has said why in its own words.
            let errors = run.stderr.lines().filter(|line| line.starts_with("error:")).count();
            assert!(errors == 1 || code == 1, "{what}: one error, in\n{}", run.stderr);
            assert!(!run.stderr.contains("panicked"), "{what}: {}", run.stderr);
            assert!(self.everything() == before, "{what}: something was changed");
        }
    }

    /// The tree and what is published; not git's folder, and not what is made on the way.
    fn everything(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = files_below_with_links(self.demo.root());
        files.retain(|path, _| !path.starts_with(".git/") && !path.starts_with("target/xtask/"));
        files
    }
}

/// A mistake that is one edit of one file.
fn edited<'c>(path: &'c str, from: &'c str, to: &'c str) -> Spoil<'c> {
    Box::new(move |demo| demo.edit(path, from, to))
}

fn written<'c>(path: &'c str, content: &'c str) -> Spoil<'c> {
    Box::new(move |demo| demo.write(path, content))
}

fn removed(path: &str) -> Spoil<'_> {
    Box::new(move |demo| std::fs::remove_file(demo.root().join(path)).unwrap())
}

fn linked<'c>(target: &'c str, path: &'c str) -> Spoil<'c> {
    Box::new(move |demo| {
        let path = demo.root().join(path);
        std::fs::remove_file(&path).ok();
        symlink(target, path).unwrap();
    })
}

fn nothing(_: &Demo) {}

#[test]
fn a_workspace_that_cannot_be_used() {
    let file = "Cargo.toml";
    let cases: Vec<Case<'_>> = vec![
        ("not TOML", written(file, "[workspace"), &["release"], WORKSPACE, &["Cargo.toml cannot be used"]),
        (
            "no table",
            written(file, "[workspace]\nmembers = [\"operator\"]\n"),
            &["release"],
            WORKSPACE,
            &["no table [workspace.metadata.release]", "README"],
        ),
        ("unknown key", edited(file, "chart = ", "chrat = "), &["release"], WORKSPACE, &["unknown field `chrat`"]),
        (
            "unknown key of a target",
            edited(file, "builder = ", "bilder = "),
            &["release"],
            WORKSPACE,
            &["unknown field `bilder`"],
        ),
        (
            "missing key",
            edited(file, "first-version = \"1.0.0\"\n", ""),
            &["release"],
            WORKSPACE,
            &["missing field `first-version`"],
        ),
        (
            "number for a version",
            edited(file, "first-version = \"1.0.0\"", "first-version = 1"),
            &["release"],
            WORKSPACE,
            &["Cargo.toml cannot be used", "invalid type: integer"],
        ),
        (
            "list for a text",
            edited(file, "chart = \"chart\"", "chart = [\"chart\"]"),
            &["release"],
            WORKSPACE,
            &["invalid type", "expected a string"],
        ),
        (
            "first version that is none",
            edited(file, "first-version = \"1.0.0\"", "first-version = \"one\""),
            &["release"],
            WORKSPACE,
            &["first-version"],
        ),
        ("unknown builder", edited(file, "\"embedded\"", "\"magic\""), &["release"], WORKSPACE, &["magic", "embedded"]),
        (
            "unknown scan",
            edited(file, "\"if-installed\"", "\"maybe\""),
            &["release"],
            WORKSPACE,
            &["maybe", "required"],
        ),
        (
            "unknown package",
            edited(file, "package = \"demo\"", "package = \"gone\""),
            &["release"],
            WORKSPACE,
            &["no package `gone`", "name one of: demo"],
        ),
        (
            "unknown platform",
            edited(file, "\"linux/arm64\" =", "\"arm64\" ="),
            &["release"],
            WORKSPACE,
            &["`arm64` is not a platform"],
        ),
        (
            "no platform",
            Box::new(|demo: &Demo| {
                demo.edit(file, "\"linux/amd64\" = \"x86_64-unknown-linux-gnu\"\n", "");
                demo.edit(file, "\"linux/arm64\" = \"aarch64-unknown-linux-gnu\"\n", "");
            }),
            &["release"],
            WORKSPACE,
            &["platforms] is empty"],
        ),
        (
            "image name",
            edited(file, "/team/demo", "/Team/demo"),
            &["release"],
            WORKSPACE,
            &["`image` cannot be used", "lower case"],
        ),
        (
            "image elsewhere",
            edited(file, "image = \"localhost:", "image = \"ghcr.io:"),
            &["release"],
            WORKSPACE,
            &["`image` cannot be used"],
        ),
        (
            "repository scheme",
            edited(file, "\"http://", "\"https://"),
            &["release"],
            WORKSPACE,
            &["`repository` cannot be used"],
        ),
        (
            "chart that is not there",
            edited(file, "chart = \"chart\"", "chart = \"gone\""),
            &["release"],
            WORKSPACE,
            &["there is no chart in gone"],
        ),
        (
            "chart outside",
            edited(file, "chart = \"chart\"", "chart = \"../chart\""),
            &["release"],
            WORKSPACE,
            &["there is no chart in ../chart"],
        ),
        (
            "unknown target",
            Box::new(nothing),
            &["release", "--to", "gone"],
            2,
            &["no target `gone`", "name one of: local"],
        ),
        ("unknown word", Box::new(nothing), &["release", "bigger"], 2, &["not semver", "patch, minor, major or X.Y.Z"]),
        ("half a version", Box::new(nothing), &["release", "1.2"], 2, &["`1.2` is not semver"]),
        ("unknown flag", Box::new(nothing), &["release", "--fast"], 2, &["--fast"]),
    ];
    Table::new().check(cases);
}

#[test]
fn versions_that_cannot_be_released() {
    let cases: Vec<Case<'_>> = vec![
        (
            "below the first",
            Box::new(nothing),
            &["release", "0.9.0"],
            WORKSPACE,
            &["0.9.0 is below the first version, 1.0.0"],
        ),
        (
            "build metadata",
            Box::new(nothing),
            &["release", "1.0.1+x"],
            WORKSPACE,
            &["1.0.1+x cannot be released", "build metadata"],
        ),
        (
            "crate's is no version",
            edited("operator/Cargo.toml", "\"1.0.0\"", "\"one\""),
            &["release"],
            WORKSPACE,
            &["operator/Cargo.toml: the version `one` is not semver"],
        ),
        (
            "crate differs",
            edited("operator/Cargo.toml", "\"1.0.0\"", "\"1.1.0\""),
            &["release"],
            WORKSPACE,
            &["does not agree on a version: the package says 1.1.0", "version is 1.0.0", "appVersion is 1.0.0"],
        ),
        (
            "chart differs",
            edited("chart/Chart.yaml", "version: 1.0.0", "version: 1.1.0"),
            &["release"],
            WORKSPACE,
            &["does not agree", "chart/Chart.yaml: version is 1.1.0"],
        ),
        (
            "no appVersion",
            edited("chart/Chart.yaml", "appVersion: \"1.0.0\"\n", ""),
            &["release"],
            WORKSPACE,
            &["does not agree", "appVersion is missing"],
        ),
        (
            "no changelog heading",
            edited("CHANGELOG.md", "## [Unreleased]", "## Next"),
            &["release", "minor"],
            WORKSPACE,
            &["CHANGELOG.md has no line `## [Unreleased]`"],
        ),
        (
            "no lock",
            removed("Cargo.lock"),
            &["release", "minor"],
            WORKSPACE,
            &["Cargo.lock is missing", "git checkout -- Cargo.lock"],
        ),
        (
            "other content",
            edited("chart/values.yaml", "An image", "The image"),
            &["release", "--strict"],
            5,
            &["v1.0.0 belongs to another image", "release 1.0.1"],
        ),
        (
            "yank of nothing",
            Box::new(nothing),
            &["release", "yank", "3.0.0", "--reason", "x"],
            2,
            &["demo 3.0.0 is not listed", "1.0.0"],
        ),
        ("yank without a reason", Box::new(nothing), &["release", "yank", "1.0.0"], 2, &["--reason"]),
    ];
    Table::new().check(cases);
}

#[test]
fn a_chart_that_cannot_be_packaged() {
    let file = "chart/Chart.yaml";
    let cases: Vec<Case<'_>> = vec![
        ("no Chart.yaml", removed(file), &["release"], WORKSPACE, &["the chart has no Chart.yaml"]),
        ("not YAML", written(file, "{"), &["release"], WORKSPACE, &["Chart.yaml cannot be used"]),
        ("empty", written(file, ""), &["release"], WORKSPACE, &["Chart.yaml cannot be used"]),
        (
            "key twice",
            written(file, "name: a\nname: b\n"),
            &["release"],
            WORKSPACE,
            &["Chart.yaml cannot be used", "twice"],
        ),
        (
            "old kind",
            edited(file, "apiVersion: v2", "apiVersion: v1"),
            &["release"],
            WORKSPACE,
            &["only v2 is packaged"],
        ),
        (
            "number for a version",
            edited(file, "\nversion: 1.0.0", "\nversion: 1.0"),
            &["release"],
            WORKSPACE,
            &["Chart.yaml cannot be used", "quotes"],
        ),
        (
            "no version",
            edited(file, "\nversion: 1.0.0", "\nversion: one"),
            &["release"],
            WORKSPACE,
            &["`one` is not semver"],
        ),
        (
            "a path for a name",
            edited(file, "name: demo", "name: ../demo"),
            &["release"],
            WORKSPACE,
            &["the name is `../demo`"],
        ),
        (
            "not UTF-8",
            Box::new(|demo: &Demo| demo.write(file, b"name: \xff\n")),
            &["release"],
            WORKSPACE,
            &["Chart.yaml is not UTF-8"],
        ),
        (
            "values are not YAML",
            written("chart/values.yaml", "a: [\n"),
            &["release"],
            WORKSPACE,
            &["the chart's values.yaml cannot be used"],
        ),
        (
            "values are a list",
            written("chart/values.yaml", "- a\n"),
            &["release"],
            WORKSPACE,
            &["values.yaml", "not a map"],
        ),
        (
            "schema is not JSON",
            written("chart/values.schema.json", "{"),
            &["release"],
            WORKSPACE,
            &["values.schema.json"],
        ),
        (
            "subchart missing",
            edited(file, "type: application", "dependencies: [{name: redis, version: 1.0.0, repository: x}]"),
            &["release"],
            WORKSPACE,
            &["redis", "helm dependency build"],
        ),
        (
            "link out by ..",
            linked("../operator/Cargo.toml", "chart/out"),
            &["release"],
            WORKSPACE,
            &["link out -> ../operator/Cargo.toml", "leads out of the chart"],
        ),
        (
            "link out by /",
            linked("/etc/hostname", "chart/out"),
            &["release"],
            WORKSPACE,
            &["link out -> /etc/hostname", "leads out of the chart"],
        ),
        (
            "link to nothing",
            linked("gone", "chart/out"),
            &["release"],
            WORKSPACE,
            &["link out -> gone", "there is nothing"],
        ),
        (
            "link to itself",
            linked("out", "chart/out"),
            &["release"],
            WORKSPACE,
            &["link out -> out", "leads to itself"],
        ),
        ("link for Chart.yaml", linked("../Cargo.toml", file), &["release"], WORKSPACE, &["leads out of the chart"]),
        (
            "the chart is a link",
            Box::new(|demo: &Demo| {
                std::fs::rename(demo.root().join("chart"), demo.root().join("other")).unwrap();
                symlink("other", demo.root().join("chart")).unwrap();
            }),
            &["release"],
            WORKSPACE,
            &["there is no chart in chart"],
        ),
    ];
    Table::new().check(cases);
}

#[test]
fn sources_that_cannot_be_built_or_copied() {
    let Some(programs) = build_programs() else { return };
    let main = "operator/src/main.rs";
    let cases: Vec<Case<'_>> = vec![
        ("no Dockerfile", removed("operator/Dockerfile"), &["release"], WORKSPACE, &["operator/Dockerfile is missing"]),
        (
            "RUN in it",
            edited("operator/Dockerfile", "USER 1000:1000", "RUN id"),
            &["release"],
            WORKSPACE,
            &["Dockerfile, line 5: `RUN id`", "build binaries before"],
        ),
        (
            "COPY of nothing",
            edited("operator/Dockerfile", "${TARGETPLATFORM}/demo", "gone"),
            &["release"],
            WORKSPACE,
            &["the Dockerfile copies `gone`"],
        ),
        (
            "compile error",
            written(main, "fn main() { let x: u8 = \"\"; }\n"),
            &["release"],
            1,
            &["mismatched types", "cargo build --release", "exited with code 101", "the sources that were built"],
        ),
        (
            "no main",
            Box::new(|demo: &Demo| {
                std::fs::rename(demo.root().join(main), demo.root().join("operator/src/lib.rs")).unwrap();
            }),
            &["release"],
            1,
            &["no bin target named `demo`"],
        ),
        ("no lock", removed("Cargo.lock"), &["release"], 1, &["--locked"]),
        (
            "a name that is not UTF-8",
            Box::new(|demo: &Demo| {
                std::fs::write(demo.root().join("chart").join(OsStr::from_bytes(b"\xff.txt")), "").unwrap();
            }),
            &["release"],
            WORKSPACE,
            &["a file's name is not UTF-8", "rename the file"],
        ),
        (
            "build output is not ignored",
            written(".gitignore", ""),
            &["release"],
            WORKSPACE,
            &["build output is part of the sources: target/", "/target/", ".gitignore"],
        ),
        (
            "what is published is not ignored",
            edited("Cargo.toml", "directory = \"target/published\"", "directory = \"out\""),
            &["release"],
            WORKSPACE,
            &["would be part of the sources: out", "/out/", ".gitignore"],
        ),
        (
            "no workspace",
            removed("Cargo.toml"),
            &["release"],
            WORKSPACE,
            &["is not in a Cargo workspace", "change to the folder of your clone"],
        ),
    ];
    Table::with(programs, env!("CARGO").into()).check(cases);
}

#[test]
fn h6_a_repository_that_cannot_be_read_is_never_taken_for_an_empty_one() {
    let file = "target/published/index.yaml";
    let tags = "target/published/image/index.json";
    let folder_at = |path: &'static str| -> Spoil<'static> {
        Box::new(move |demo| {
            std::fs::remove_file(demo.root().join(path)).unwrap();
            std::fs::create_dir(demo.root().join(path)).unwrap();
        })
    };
    let cut = |part: usize| -> Spoil<'static> {
        Box::new(move |demo| {
            let text = demo.read(file);
            demo.write(file, &text[..text.len() * part / 10]);
        })
    };
    let says: &[&str] = &["index.yaml"];
    let entry = "entries:\n  demo:\n  - version: 1.0.0\n    digest: a\n";
    let twice = format!("apiVersion: v1\n{entry}generated: \"2026-01-01T00:00:00Z\"\n{entry}");
    let faults: Vec<(&str, Spoil<'_>, &[&str])> = vec![
        ("cut at a tenth", cut(1), says),
        ("cut in the middle", cut(5), says),
        ("cut near the end", cut(9), says),
        (
            "YAML cut at a line",
            written(file, "apiVersion: v1\nentries:\n  demo:\n  - version: 1.0.0\n"),
            &["index.yaml", "cut off"],
        ),
        ("not YAML", written(file, "<html>\n<p>\t: Bad Gateway: [\n"), says),
        ("a list", written(file, "[]\n"), says),
        ("entries are a list", written(file, "{\"apiVersion\":\"v1\",\"entries\":[]}"), says),
        (
            "an entry without version",
            written(file, "{\"apiVersion\":\"v1\",\"entries\":{\"demo\":[{}]}}"),
            &["index.yaml", "version"],
        ),
        ("JSON key twice", written(file, "{\"entries\":{},\"entries\":{}}"), &["index.yaml", "twice"]),
        ("YAML key twice", written(file, &twice), &["index.yaml", "twice"]),
        ("no byte", written(file, ""), &["index.yaml", "empty"]),
        ("only space", written(file, " \n"), &["index.yaml", "empty"]),
        ("not UTF-8", Box::new(|demo: &Demo| demo.write(file, b"\xff\xfe{}")), says),
        ("a folder", folder_at(file), says),
        ("a link to itself", linked("index.yaml", file), says),
        ("a link to nothing", linked("gone.yaml", file), says),
        ("none", removed(file), &["has no index.yaml", "it holds 1 archives", "demo-1.0.0.tgz", "restore index.yaml"]),
        ("no tags", written(tags, ""), &["image/index.json"]),
        ("damaged tags", written(tags, "{\"schemaVersion\":2,"), &["image/index.json"]),
        ("tags are a folder", folder_at(tags), &["image/index.json"]),
        (
            "a damaged manifest",
            Box::new(|demo: &Demo| {
                let digest = demo.tags()["latest"].replace("sha256:", "");
                demo.write(&format!("target/published/image/blobs/sha256/{digest}"), "{}");
            }),
            &["is damaged", "its digest is"],
        ),
        (
            "no manifest",
            Box::new(|demo: &Demo| {
                let digest = demo.tags()["latest"].replace("sha256:", "");
                std::fs::remove_file(demo.published().join("image/blobs/sha256").join(digest)).unwrap();
            }),
            &["the image lacks its part sha256:"],
        ),
    ];
    let cases = faults.into_iter().map(|(what, spoil, says)| (what, spoil, &["release"][..], REPOSITORY, says));
    Table::new().check(cases.collect());
}

#[test]
fn an_index_that_is_a_link_to_nothing_is_no_empty_repository_even_where_no_archive_is() {
    let demo = Demo::new();
    std::fs::create_dir_all(demo.published()).unwrap();
    symlink("gone.yaml", demo.published().join("index.yaml")).unwrap();
    demo.xtask(&["release"]).fails(REPOSITORY, "index.yaml");
    assert!(std::fs::read_dir(demo.published()).unwrap().flatten().all(|entry| entry.file_name() != "demo-1.0.0.tgz"));
}

#[test]
fn i7_a_machine_that_lacks_something() {
    let table = Table::new();
    let cases: Vec<Case<'_>> = vec![
        (
            "no repository",
            Box::new(|demo: &Demo| std::fs::remove_dir_all(demo.root().join(".git")).unwrap()),
            &["release"],
            ENVIRONMENT,
            &["has no git commit to release", "git init && git add -A && git commit"],
        ),
        (
            "no commit",
            Box::new(|demo: &Demo| {
                std::fs::remove_dir_all(demo.root().join(".git")).unwrap();
                demo.git(&["init", "--quiet"]);
            }),
            &["release"],
            ENVIRONMENT,
            &["has no git commit to release"],
        ),
    ];
    table.check(cases);
    table.demo.restore(&table.good);
    let demo = &table.demo;
    let before = table.everything();
    let with = |programs: &TempDir, cargo: &str, words: &[&str]| {
        let mut command = table.command(words);
        command.env("PATH", programs.path()).env("CARGO", cargo);
        Run::of(command)
    };
    with(&programs(&["cc", "rustc"]), env!("CARGO"), &["release"]).fails(ENVIRONMENT, "cannot start `git`");
    with(&table.programs, "/no/cargo", &["release", "minor"]).fails(ENVIRONMENT, "cannot start `/no/cargo`");
    let no_compiler = with(&programs(&["git"]), env!("CARGO"), &["release", "minor"]);
    assert!(
        no_compiler.fails(ENVIRONMENT, "no platform of the image can be built").stderr.contains("rustup target add")
    );
    let no_linker = with(&programs(&["git", "rustc"]), env!("CARGO"), &["release", "minor"]);
    assert!(no_linker.fails(ENVIRONMENT, "no platform of the image can be built").stderr.contains("_LINKER"));
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, demo.port)).unwrap();
    let run = demo.xtask(&["release", "minor"]).fails(ENVIRONMENT, &format!("cannot open port {}", demo.port));
    assert!(run.stderr.contains("ss -ltnp") && run.stderr.contains("change the port"), "{}", run.stderr);
    drop(held);
    assert!(table.everything() == before);
}

#[test]
fn x3_a_full_disk_leaves_nothing_half_done_and_the_next_run_finishes() {
    let table = Table::new();
    let Some(unshare) = mounting() else { return };
    let (demo, before) = (&table.demo, table.demo.snapshot());
    Run::of(table.command(&["release", "minor"])).ok();
    let whole = demo.snapshot();
    let pages =
        |files: &BTreeMap<String, Vec<u8>>| -> usize { files.values().map(|bytes| bytes.len().div_ceil(4096)).sum() };
    // From no space at all to all but a page of what a release takes: the disk is full at another place each time.
    let needed = pages(&whole) - pages(&before);
    let mut failed = 0;
    for spare in
        [0, 1, 2, 4, needed / 4, needed / 2, needed - 6, needed - 4, needed - 3, needed - 2, needed - 1, needed]
    {
        demo.restore(&table.good);
        let (full, later) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // Folders of a tmpfs take no page, so its size says what files may take.
        let script = format!(
            "set -eu\nmount -t tmpfs -o size=64m none target/published\ncp -a {good}/target/published/. target/published\n\
             used=$(df --output=used -B1 target/published | tail -n 1)\n\
             mount -o remount,size=$((used + {spare} * 4096)) target/published\n\
             \"$@\" 2>{full}.said && echo done || echo failed $?\ncp -a target/published/. {full}\n\
             mount -o remount,size=64m target/published\n\"$@\" >&2\ncp -a target/published/. {later}\n",
            good = table.good.path().display(),
            full = full.path().display(),
            later = later.path().display(),
        );
        let run = in_namespace(&table, &unshare, &script, &["release", "minor"]).ok();
        let said = std::fs::read_to_string(format!("{}.said", full.path().display())).unwrap();
        std::fs::remove_file(format!("{}.said", full.path().display())).unwrap();
        if run.stdout.trim() != "done" {
            failed += 1;
            assert_eq!(run.stdout.trim(), "failed 1", "{spare}: {said}");
            assert!(said.contains("No space left on device") && said.contains("published"), "{spare}: {said}");
            check_whole(&before, &files_below(full.path()), &format!("{spare} pages"));
        }
        assert!(files_below(later.path()) == whole, "{spare}: after there was space: {}", run.stderr);
    }
    assert!(failed >= 8, "the disk was full only {failed} times");
}

#[test]
fn x3_x7_a_folder_that_cannot_be_written_to_stays_as_it_is() {
    let table = Table::new();
    let Some(unshare) = mounting() else { return };
    let before = table.everything();
    let script = "set -eu\nmount --bind target/published target/published\n\
                  mount -o remount,ro,bind target/published\n\"$@\"\n";
    let plan = in_namespace(&table, &unshare, script, &["release", "minor", "--plan"]).ok();
    assert!(plan.stdout.contains("1.0.0 becomes 1.1.0"), "{plan:?}");
    in_namespace(&table, &unshare, script, &["verify"]).ok();
    for words in [&["release", "minor"][..], &["release", "yank", "1.0.0", "--reason", "x"]] {
        let run = in_namespace(&table, &unshare, script, words).fails(1, "Read-only file system");
        assert_eq!(run.stderr.matches("error:").count(), 1, "{}", run.stderr);
        assert!(table.everything() == before, "{words:?}");
    }
    Run::of(table.command(&["release", "minor"])).ok();
    assert_eq!(table.demo.versions(), ["1.1.0", "1.0.0"]);
}

/// All that was published before is as it was, and what is new are whole blobs that no tag leads to.
fn check_whole(before: &BTreeMap<String, Vec<u8>>, now: &BTreeMap<String, Vec<u8>>, moment: &str) {
    for (path, bytes) in
        before.iter().filter(|(path, _)| !path.ends_with("index.yaml") && !path.ends_with("index.json"))
    {
        assert!(now.get(path) == Some(bytes), "{moment}: {path} was changed");
    }
    for (path, bytes) in now.iter().filter(|(path, _)| !before.contains_key(*path)) {
        let blob = path.strip_prefix("image/blobs/sha256/").is_some_and(|name| name == sha256_hex(bytes));
        assert!(blob || ["demo-1.1.0.json", "demo-1.1.0.tgz"].contains(&&**path), "{moment}: {path} is litter");
    }
    let index: serde_json::Value = serde_json::from_slice(&now["index.yaml"]).unwrap();
    let entries = index["entries"]["demo"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["version"] == "1.0.0"), "{moment}");
    if entries.len() > 1 {
        for name in ["demo-1.1.0.json", "demo-1.1.0.tgz"] {
            assert!(now.contains_key(name), "{moment}: listed, and {name} is not there");
        }
    }
    serde_json::from_slice::<serde_json::Value>(&now["image/index.json"]).unwrap();
}

/// `unshare` with what lets it mount, where this machine allows that.
fn mounting() -> Option<Vec<&'static str>> {
    let unshare = vec!["unshare", "--map-root-user", "--mount"];
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(unshare[0]);
    command.args(&unshare[1..]).args(["mount", "-t", "tmpfs", "none"]).arg(folder.path());
    let refused = match command.output() {
        Ok(output) if output.status.success() => return Some(unshare),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    skipped(&format!("nothing can be mounted: {refused}"));
    None
}

/// Runs a shell script in the demo, with mounts of its own; the tool and its words are the script's arguments.
fn in_namespace(table: &Table, unshare: &[&str], script: &str, words: &[&str]) -> Run {
    let tool = table.command(words);
    let mut command = Command::new(unshare[0]);
    command.args(&unshare[1..]).args(["sh", "-c", script, "sh", "env"]);
    command.arg(format!("PATH={}", table.programs.path().display())).arg(format!("CARGO={}", table.cargo.display()));
    command.arg(tool.get_program()).args(tool.get_args()).current_dir(table.demo.root());
    for (name, value) in tool.get_envs().filter(|(name, value)| value.is_none() && *name != "PATH") {
        assert!(value.is_none());
        command.env_remove(name);
    }
    Run::of(command)
}

/// Every file below a folder; a link, or a folder where a file should be, as what it is.
fn files_below_with_links(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut command = Command::new("find");
    command.arg(folder).args(["(", "-type", "f", "-o", "-type", "l", "-o", "-empty", ")", "-printf", "%P\\0%y %l\\0"]);
    let listed = command.output().unwrap().stdout;
    let parts: Vec<&[u8]> = listed.split(|byte| *byte == 0).collect();
    let mut files = BTreeMap::new();
    for pair in parts.chunks_exact(2) {
        let content = if pair[1].starts_with(b"f") {
            std::fs::read(folder.join(OsStr::from_bytes(pair[0]))).unwrap()
        } else {
            pair[1].to_vec()
        };
        files.insert(pair[0].escape_ascii().to_string(), content);
    }
    files
}
