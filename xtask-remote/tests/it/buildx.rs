//! The builder that hands the image to BuildKit, with a real buildx and a real buildkitd, beside the embedded one.
//!
//! What is put into the image is pretended (see `pretended_programs`): how binaries are compiled is no part of this.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::oci::{Annotations, ImageIndex, Layout};

use crate::servers::Buildkit;
use crate::support::{Demo, Run, pretended_programs, tool};

/// Everything that the embedded builder understands: two files in one folder, one in a folder that only its owner may enter.
const DOCKERFILE: &str = "\
# comment
FROM scratch
ARG TARGETPLATFORM
COPY --chmod=0755 ${TARGETPLATFORM}/demo /usr/local/bin/demo
COPY $TARGETPLATFORM/demo /usr/local/bin/same
COPY --chmod=0700 ${TARGETPLATFORM}/demo /var/lib/demo/owner
ENV PATH=/usr/local/bin
ENV GREETING=\"hello, world\"
ENV EMPTY=
WORKDIR /
USER 1000:1000
EXPOSE 8080
EXPOSE 53/udp
ENTRYPOINT [\"/usr/local/bin/demo\", \"--flag\"]
CMD [\"serve\"]
";

/// A workspace with a target `kit` for buildx beside `local`, both of one commit.
pub struct Kitchen {
    demo: Demo,
    programs: TempDir,
    /// buildx keeps what it knows of builders here.
    home: TempDir,
}

impl Kitchen {
    /// Nothing where a tool is missing.
    pub fn new() -> Option<Self> {
        let (buildx, _) = (tool("buildx")?, tool("buildkitd")?);
        if !Buildkit::can_run() {
            return None;
        }
        let programs = pretended_programs();
        symlink(buildx, programs.path().join("buildx")).unwrap();
        let demo = Demo::new();
        let table = "[workspace.metadata.release.targets.local]";
        let manifest = demo.read("Cargo.toml");
        let kit = manifest.split_once(table).unwrap().1.replace("embedded", "buildx").replace("/published", "/kit");
        demo.write("Cargo.toml", format!("{manifest}\n[workspace.metadata.release.targets.kit]{kit}"));
        demo.commit("a target for buildx");
        Some(Kitchen { demo, programs, home: tempfile::tempdir().unwrap() })
    }

    /// A buildkitd that has never built anything, known to buildx by a name.
    pub fn oven(&self, name: &str) -> Buildkit {
        Buildkit::start(name, &self.programs.path().join("buildx"), self.home.path())
    }

    /// A call of buildx itself, which makes a builder or a part of one.
    pub fn create(&self, name: &str, driver: &str, words: &[&str]) -> Command {
        let mut create = Command::new(self.programs.path().join("buildx"));
        create.args(["create", "--name", name, "--driver", driver]).args(words).env("HOME", self.home.path());
        create
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.demo.command(arguments);
        command.env_remove("CARGO").env("PATH", self.programs.path()).env("HOME", self.home.path());
        for (name, _) in std::env::vars() {
            if name.starts_with("BUILDX_") || name.starts_with("DOCKER_") || name.starts_with("ACTIONS_") {
                command.env_remove(name);
            }
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments))
    }

    fn made(&self) -> PathBuf {
        self.demo.root().join("target/xtask/image")
    }

    fn layout(&self) -> Layout {
        Layout::read(&self.made()).unwrap()
    }
}

/// What a container sees of an image's layers: path, type, permissions, owner, time and bytes of each entry.
fn entries(layout: &Layout) -> Vec<(String, Vec<String>)> {
    let images = layout.platforms().unwrap();
    let layers = images.iter().flat_map(|image| image.manifest.layers.iter().map(move |layer| (image, layer)));
    let shown = layers.map(|(image, layer)| {
        let bytes = layout.blobs[&layer.digest].as_slice();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            let path = entry.path().unwrap().display().to_string();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let (kind, mode) = (header.entry_type(), header.mode().unwrap());
            let (user, group, time) = (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap());
            format!("{path} {kind:?} {mode:o} {user}:{group} {time} {content}")
        });
        (image.platform.to_string(), entries.collect())
    });
    shown.collect()
}

/// Every configuration as it is written, without the record of how it came to be.
fn configs(layout: &Layout) -> Vec<Value> {
    let configs = layout.platforms().unwrap().into_iter().map(|image| {
        let mut config: Value = serde_json::from_slice(&layout.blobs[&image.manifest.config.digest]).unwrap();
        config.as_object_mut().unwrap().remove("history");
        // Layers of two compressors and two ways of writing a header differ in their bytes, not in what they hold.
        let layers = config["rootfs"].as_object_mut().unwrap().remove("diff_ids").unwrap();
        config["layers"] = json!(layers.as_array().unwrap().len());
        config
    });
    configs.collect()
}

/// The annotations of the index, and of each platform's manifest.
fn annotations(layout: &Layout) -> Vec<Annotations> {
    let index: ImageIndex = serde_json::from_slice(&layout.blobs[&layout.digest]).unwrap();
    let manifests = layout.platforms().unwrap().into_iter().map(|image| image.manifest.annotations);
    std::iter::once(index.annotations).chain(manifests).collect()
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    crate::support::files_below(folder)
}

#[test]
fn i2_i8_i10_buildx_and_the_embedded_builder_make_the_same_image() {
    let Some(kitchen) = Kitchen::new() else { return };
    let _oven = kitchen.oven("one");
    kitchen.demo.write("operator/Dockerfile", DOCKERFILE);
    kitchen.demo.commit("everything that is understood");
    kitchen.run(&["release", "build"]).ok();
    let embedded = kitchen.layout();
    kitchen.run(&["release", "build", "--to", "kit", "--builder", "one"]).ok();
    let buildx = kitchen.layout();
    assert_eq!(entries(&buildx), entries(&embedded));
    assert_eq!(entries(&buildx).len(), 6, "three layers on two platforms");
    assert_eq!(configs(&buildx), configs(&embedded));
    assert_eq!(annotations(&buildx), annotations(&embedded));
    assert!(annotations(&buildx).iter().all(|all| all["org.opencontainers.image.version"] == "1.0.0"));
    assert_ne!(buildx.digest, embedded.digest, "or one builder was never asked");
}

#[test]
fn i15_two_clean_builders_and_touched_files_give_one_digest_in_a_layout_of_one_descriptor() {
    let Some(kitchen) = Kitchen::new() else { return };
    let (_one, _two) = (kitchen.oven("one"), kitchen.oven("two"));
    let build = ["release", "build", "--to", "kit", "--json"];
    let first = kitchen.run(&[&build[..], &["--builder", "one"]].concat()).ok().json();
    let made = files(&kitchen.made());
    let touch = |path: &str| {
        let file = std::fs::File::options().write(true).open(kitchen.demo.root().join(path)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
    };
    touch("operator/src/main.rs");
    touch("operator/Dockerfile");
    // buildx's own ways to choose a builder still work; its way to tell the folder of the sources is closed.
    let mut again = kitchen.command(&build);
    again.env("BUILDX_BUILDER", "two").env("BUILDX_GIT_LABELS", "full").env("SOURCE_DATE_EPOCH", "1");
    assert_eq!(Run::of(again).ok().json(), first);
    assert_eq!(files(&kitchen.made()), made);
    let index: Value = serde_json::from_slice(&made["index.json"]).unwrap();
    let descriptors = index["manifests"].as_array().unwrap();
    assert_eq!(descriptors.len(), 1);
    assert_eq!(descriptors[0]["digest"], first["digest"]);
    assert_eq!(descriptors[0]["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert!(!kitchen.demo.root().join("target/xtask/buildx").exists(), "what went in and came out is gone");
}

#[test]
fn x1_a_whole_release_goes_through_buildx_and_changes_nothing_the_second_time() {
    let Some(kitchen) = Kitchen::new() else { return };
    let _oven = kitchen.oven("one");
    let release = ["release", "--to", "kit", "--builder", "one", "--json"];
    let first = kitchen.run(&release).ok().json();
    assert_eq!(first["changed"], true);
    assert_eq!(kitchen.layout().digest.to_string(), first["digest"].as_str().unwrap());
    let again = kitchen.run(&release).ok().json();
    assert_eq!((&again["changed"], &again["digest"]), (&json!(false), &first["digest"]));
}

#[test]
fn i2_a_machine_that_builds_for_one_platform_gets_an_index_of_one() {
    let Some(kitchen) = Kitchen::new() else { return };
    let _oven = kitchen.oven("one");
    let library = kitchen.programs.path().join("sysroot/lib/rustlib/aarch64-unknown-linux-gnu");
    std::fs::remove_dir_all(library).unwrap();
    kitchen.run(&["release", "build", "--to", "kit", "--builder", "one"]).ok();
    let platforms = kitchen.layout().platforms().unwrap();
    let names: Vec<String> = platforms.iter().map(|image| image.platform.to_string()).collect();
    assert_eq!(names, ["linux/amd64"]);
}

#[test]
fn i7_a_build_that_fails_says_why_and_leaves_no_image() {
    let Some(kitchen) = Kitchen::new() else { return };
    let _oven = kitchen.oven("one");
    let fails = |code: i32, text: &str, builder: &str| {
        let stopped = kitchen.run(&["release", "--to", "kit", "--builder", builder]).fails(code, text);
        let left = files(&kitchen.demo.root().join("target/xtask"));
        let results = ["image/", "buildx/layouts/", "verdicts/"];
        let results = left.keys().filter(|name| results.iter().any(|result| name.starts_with(result)));
        assert_eq!(results.collect::<Vec<_>>(), [""; 0]);
        assert!(!kitchen.demo.root().join("target/kit").exists());
        stopped
    };
    fails(1, "no builder \"absent\" found", "absent");
    kitchen.demo.edit("operator/Dockerfile", "${TARGETPLATFORM}/demo", "absent-file");
    kitchen.demo.commit("a file that nobody makes");
    let stopped = fails(1, "absent-file", "one");
    assert!(stopped.stderr.contains("not found") && stopped.stderr.contains("buildx build"), "{}", stopped.stderr);
}

#[test]
fn a_machine_without_buildx_is_told_before_anything_is_compiled_and_by_doctor() {
    let programs = pretended_programs();
    let demo = Demo::new();
    demo.edit("Cargo.toml", "builder = \"embedded\"", "builder = \"buildx\"");
    demo.commit("buildx");
    let run = |arguments: &[&str]| {
        let mut command = demo.command(arguments);
        command.env_remove("CARGO").env("PATH", programs.path());
        Run::of(command)
    };
    let stopped = run(&["release"]).fails(4, "buildx is not installed");
    assert!(!stopped.stderr.contains("Compiling"), "{}", stopped.stderr);
    assert!(run(&["doctor"]).fails(4, "buildx is not installed").stderr.contains("builder = \"embedded\""));
    // A docker client without the plugin is not enough; with it, it is called.
    crate::support::script(&programs.path().join("docker"), "[ \"$*\" = 'version' ]\n");
    run(&["release"]).fails(4, "buildx is not installed");
    let plugin = "[ \"$*\" = 'buildx version' ] || { echo \"asked: $1 $2\" >&2; exit 1; }\n";
    crate::support::script(&programs.path().join("docker"), plugin);
    run(&["release"]).fails(1, "asked: buildx inspect");
}

#[test]
fn a_builder_is_refused_by_a_target_that_has_none() {
    let programs = pretended_programs();
    let demo = Demo::new();
    let mut command = demo.command(&["release", "--builder", "one"]);
    command.env_remove("CARGO").env("PATH", programs.path());
    Run::of(command).fails(2, "--builder names a builder of buildx");
}

pub mod nightly {
    use super::*;

    /// As with a machine for each architecture: no one daemon makes all of the image.
    #[test]
    fn i2_i15_a_builder_of_two_daemons_makes_the_very_image_that_one_daemon_makes() {
        let Some(kitchen) = Kitchen::new() else { return };
        let (_one, amd, arm) = (kitchen.oven("one"), kitchen.oven("amd"), kitchen.oven("arm"));
        for (daemon, platform, append) in [(&amd, "linux/amd64", &[][..]), (&arm, "linux/arm64", &["--append"][..])] {
            let words = [&["--platform", platform], append, &[&daemon.address]].concat();
            Run::of(kitchen.create("pair", "remote", &words)).ok();
        }
        let build = ["release", "build", "--to", "kit", "--json", "--builder"];
        let one = kitchen.run(&[&build[..], &["one"]].concat()).ok().json();
        let pair = kitchen.run(&[&build[..], &["pair"]].concat()).ok().json();
        assert_eq!(pair, one);
        // The same of parts that two machines compiled.
        let parts =
            crate::parts::compiled(&|words| kitchen.run(&[words, &["--to", "kit"]].concat()), kitchen.demo.root());
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        assert_eq!(kitchen.run(&[&build[..], &["pair"], &parts].concat()).ok().json(), one);
        // Each daemon does the platform that it is there for: without one of them there is no image.
        drop(arm);
        kitchen.demo.write("operator/src/main.rs", "// another binary\nfn main() {}\n");
        kitchen.demo.commit("another binary");
        kitchen.run(&["release", "build", "--to", "kit", "--builder", "amd"]).ok();
        assert_ne!(kitchen.run(&[&build[..], &["pair"]].concat()).code, Some(0));
    }
}
