//! The real product: this very workspace is released as its README says, and what comes out is looked at.
//!
//! Every day for the platform of this machine; every night for all of them, and from nothing.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::real::Rehearsal;
use crate::support::{Run, files_below, tool};

/// The event store brings SQLite along; without it, 3 MB would do.
const IMAGE_BYTES_MAX: u64 = 4_000_000;

/// For the platform of this machine.
static RELEASED: LazyLock<Released> = LazyLock::new(|| Released::new(Rehearsal::new()));

#[test]
fn x7_i2_the_first_command_of_the_readme_releases_the_real_operator() {
    RELEASED.is_for(&[this_platform()]);
}

#[test]
fn x3_releasing_the_real_workspace_again_changes_no_byte() {
    let released = &*RELEASED;
    let before = files_below(&released.rehearsal.folder);
    assert_eq!(released.rehearsal.release(&[])["changed"], false);
    assert!(before == files_below(&released.rehearsal.folder), "a published file changed");
}

#[test]
fn i8_the_real_image_carries_every_label() {
    RELEASED.carries_every_label();
}

#[test]
fn i10_the_real_image_is_one_small_layer() {
    RELEASED.is_small();
}

#[test]
fn i14_the_real_operator_says_its_version() {
    RELEASED.says_its_version();
}

pub mod nightly {
    use super::*;
    use crate::real::{commit_all, copy_sources, manifest_for_this_machine, tool_in};

    /// For every platform.
    pub static RELEASED_FOR_ALL: LazyLock<Released> = LazyLock::new(|| Released::new(Rehearsal::for_all_platforms()));

    #[test]
    fn x7_i2_the_first_command_of_the_readme_releases_both_platforms_of_the_real_operator() {
        RELEASED_FOR_ALL.is_for(&["linux/amd64", "linux/arm64"]);
    }

    #[test]
    fn i8_i10_the_real_image_of_both_platforms_has_every_label_and_a_small_layer_for_each() {
        RELEASED_FOR_ALL.carries_every_label();
        RELEASED_FOR_ALL.is_small();
    }

    #[test]
    fn i14_the_real_operator_of_both_platforms_says_its_version() {
        RELEASED_FOR_ALL.says_its_version();
    }

    #[test]
    fn i15_the_real_binary_is_the_same_from_another_folder_and_home() {
        let elsewhere = tempfile::tempdir().unwrap();
        let (copy, home) = (elsewhere.path().join("some/where/else"), elsewhere.path().join("home"));
        copy_sources(&copy);
        std::fs::write(copy.join("Cargo.toml"), manifest_for_this_machine()).unwrap();
        commit_all(&copy);
        let usual = |variable: &str, name: &str| {
            let set = std::env::var_os(variable).map(PathBuf::from);
            set.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(name))
        };
        std::fs::create_dir_all(home.join("cargo")).unwrap();
        // The same downloads under another path, so that nothing is fetched again.
        std::os::unix::fs::symlink(usual("CARGO_HOME", ".cargo").join("registry"), home.join("cargo/registry"))
            .unwrap();
        let mut command = tool_in(&copy, &["release", "build"]);
        command.env("HOME", &home).env("CARGO_HOME", home.join("cargo"));
        // Where rustup is, it must find the same compilers.
        command.env("RUSTUP_HOME", usual("RUSTUP_HOME", ".rustup"));
        Run::of(command).ok();
        let (platform, _, layers) = RELEASED.parts().remove(0);
        let ours = unpacked(&layers[0], &RELEASED.image());
        let image = copy.join("target/xtask/image");
        let files = files_below(&image);
        let blobs = files.iter().filter(|(name, _)| name.starts_with("blobs/"));
        let largest = blobs.max_by_key(|(_, bytes)| bytes.len()).unwrap().0;
        let theirs = unpacked(&format!("sha256:{}", largest.rsplit('/').next().unwrap()), &image);
        assert!(ours == theirs, "{platform}: another folder or home made another binary");
    }
}

/// What a release made.
pub struct Released {
    report: Value,
    rehearsal: Rehearsal,
}

impl Released {
    fn new(rehearsal: Rehearsal) -> Self {
        Released { report: rehearsal.release(&[]), rehearsal }
    }

    /// The chart's archive.
    #[cfg(target_os = "linux")]
    pub fn chart(&self) -> PathBuf {
        self.rehearsal.folder.join(format!("kube9-operator-{}.tgz", self.word("version")))
    }

    /// One thing that was said of it.
    pub fn word(&self, name: &str) -> &str {
        self.report[name].as_str().unwrap()
    }

    /// The image's layout.
    fn image(&self) -> PathBuf {
        self.rehearsal.folder.join("image")
    }

    fn blob(&self, digest: &str) -> Value {
        serde_json::from_slice(&std::fs::read(blob(&self.image(), digest)).unwrap()).unwrap()
    }

    /// Platform, configuration and layers of each part of the image.
    fn parts(&self) -> Vec<(String, Value, Vec<String>)> {
        let index = self.blob(self.word("digest"));
        let part = |descriptor: &Value| {
            let manifest = self.blob(descriptor["digest"].as_str().unwrap());
            let config = self.blob(manifest["config"]["digest"].as_str().unwrap());
            let platform = format!("{}/{}", config["os"].as_str().unwrap(), config["architecture"].as_str().unwrap());
            let layers = manifest["layers"].as_array().unwrap().iter();
            (platform, config, layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect())
        };
        index["manifests"].as_array().unwrap().iter().map(part).collect()
    }

    #[track_caller]
    fn is_for(&self, platforms: &[&str]) {
        assert_eq!(self.report["proof"]["platforms"], serde_json::json!(platforms));
        assert_eq!(self.report["missing_platforms"], serde_json::json!([]));
        assert_eq!(self.report["proof"]["tags"][0], format!("v{}", self.word("version")));
        let parts: Vec<String> = self.parts().into_iter().map(|(platform, ..)| platform).collect();
        assert_eq!(parts, platforms);
    }

    #[track_caller]
    fn carries_every_label(&self) {
        for (platform, config, _) in self.parts() {
            let labels = &config["config"]["Labels"];
            for name in [
                "created",
                "description",
                "documentation",
                "licenses",
                "revision",
                "source",
                "title",
                "vendor",
                "version",
            ] {
                let value = labels[format!("org.opencontainers.image.{name}")].as_str();
                assert!(value.is_some_and(|value| !value.is_empty()), "{name}: {labels}");
            }
            assert_eq!(labels["org.opencontainers.image.revision"], self.report["revision"]);
            assert!(labels["rustc"].as_str().unwrap().contains(&format!("{platform}: rustc 1.")), "{labels}");
        }
    }

    #[track_caller]
    fn is_small(&self) {
        for (platform, _, layers) in self.parts() {
            let size: u64 = layers.iter().map(|layer| blob(&self.image(), layer).metadata().unwrap().len()).sum();
            assert!(layers.len() == 1 && size < IMAGE_BYTES_MAX, "{platform}: {size} bytes");
        }
    }

    #[track_caller]
    fn says_its_version(&self) {
        for (platform, ..) in self.parts() {
            let Some(program) = self.program(&platform) else { return };
            let said = Run::of(program.command(&["--version"])).ok().stdout;
            assert_eq!(said.trim(), format!("kube9-operator {}", self.word("version")), "{platform}");
        }
    }

    /// The operator of a platform, as it is in the image; nothing where this machine has no emulator for it.
    pub fn program(&self, platform: &str) -> Option<Program> {
        let emulator = match platform {
            platform if platform == this_platform() => None,
            "linux/arm64" => Some(tool("qemu-aarch64-static")?),
            other => panic!("nothing here runs {other}"),
        };
        let (.., layers) = self.parts().into_iter().find(|(of, ..)| of == platform).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("kube9-operator");
        std::fs::write(&binary, unpacked(&layers[0], &self.image())).unwrap();
        std::fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Some(Program { emulator, binary, _folder: folder })
    }
}

/// An operator out of an image.
pub struct Program {
    emulator: Option<PathBuf>,
    binary: PathBuf,
    _folder: TempDir,
}

impl Program {
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.emulator {
            None => Command::new(&self.binary),
            Some(emulator) => {
                let mut command = Command::new(emulator);
                command.arg(&self.binary);
                command
            }
        };
        command.args(arguments);
        command
    }
}

/// As images call it.
fn this_platform() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" }
}

fn blob(image: &Path, digest: &str) -> PathBuf {
    image.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
}

/// The one file of a layer.
fn unpacked(digest: &str, image: &Path) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(blob(image, digest)).arg("-C").arg(folder.path());
    Run::of(unpack).ok();
    std::fs::read(folder.path().join("usr/local/bin/kube9-operator")).unwrap()
}
