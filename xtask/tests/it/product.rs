//! The real product: this very workspace is released as its README says, and what comes out is looked at.
//!
//! It is published where the README's first command publishes it, so a second run of the tests compiles nothing.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::support::{Run, files_below, git, root, tool, xtask};

/// The event store brings SQLite along; without it, 3 MB would do.
const IMAGE_BYTES_MAX: u64 = 4_000_000;

fn release() -> Run {
    let mut command = xtask();
    command.current_dir(root()).args(["release", "--json"]);
    Run::of(command).ok()
}

/// What the first release of this test run reported.
static RELEASED: LazyLock<serde_json::Value> = LazyLock::new(|| release().json());

fn published() -> PathBuf {
    root().join("target/release-local")
}

fn blob(digest: &str) -> PathBuf {
    published().join("image/blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
}

fn blob_json(digest: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(blob(digest)).unwrap()).unwrap()
}

/// Platform, configuration and layers of each part of the released image.
fn parts() -> Vec<(String, serde_json::Value, Vec<serde_json::Value>)> {
    let index = blob_json(RELEASED["digest"].as_str().unwrap());
    let manifests = index["manifests"].as_array().unwrap();
    let part = |descriptor: &serde_json::Value| {
        let manifest = blob_json(descriptor["digest"].as_str().unwrap());
        let config = blob_json(manifest["config"]["digest"].as_str().unwrap());
        let platform = format!("{}/{}", config["os"].as_str().unwrap(), config["architecture"].as_str().unwrap());
        (platform, config, manifest["layers"].as_array().unwrap().clone())
    };
    manifests.iter().map(part).collect()
}

#[test]
fn x7_i2_the_first_command_of_the_readme_releases_both_platforms_of_the_real_operator() {
    let proof = &RELEASED["proof"];
    assert_eq!(proof["platforms"], serde_json::json!(["linux/amd64", "linux/arm64"]));
    assert_eq!(RELEASED["missing_platforms"], serde_json::json!([]));
    assert_eq!(proof["tags"][0].as_str().unwrap(), format!("v{}", RELEASED["version"].as_str().unwrap()));
}

#[test]
fn x3_releasing_the_real_workspace_again_changes_no_byte() {
    LazyLock::force(&RELEASED);
    let before = files_below(&published());
    assert_eq!(release().json()["changed"], false);
    assert!(before == files_below(&published()), "a published file changed");
}

#[test]
fn i8_the_real_image_carries_every_label() {
    let labels = parts().remove(0).1["config"]["Labels"].clone();
    for name in
        ["created", "description", "documentation", "licenses", "revision", "source", "title", "vendor", "version"]
    {
        let value = labels[format!("org.opencontainers.image.{name}")].as_str();
        assert!(value.is_some_and(|value| !value.is_empty()), "{name}: {labels}");
    }
    assert_eq!(labels["org.opencontainers.image.revision"], RELEASED["revision"]);
    assert!(labels["rustc"].as_str().unwrap().contains("linux/arm64: rustc 1."), "{labels}");
}

#[test]
fn i10_the_real_image_is_one_small_layer_for_each_platform() {
    for (platform, _, layers) in parts() {
        let size: u64 = layers.iter().map(|layer| layer["size"].as_u64().unwrap()).sum();
        assert!(layers.len() == 1 && size < IMAGE_BYTES_MAX, "{platform}: {size} bytes");
    }
}

#[test]
fn i14_the_real_operator_of_both_platforms_says_its_version() {
    for (platform, _, layers) in parts() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("kube9-operator");
        std::fs::write(&binary, unpacked(layers[0]["digest"].as_str().unwrap(), &published().join("image"))).unwrap();
        std::fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let command = match (platform.as_str(), std::env::consts::ARCH) {
            ("linux/amd64", "x86_64") | ("linux/arm64", "aarch64") => Command::new(&binary),
            ("linux/arm64", _) => {
                let Some(qemu) = tool("qemu-aarch64-static") else { return };
                let mut command = Command::new(qemu);
                command.arg(&binary);
                command
            }
            other => panic!("nothing here runs {other:?}"),
        };
        let said = Run::of({
            let mut command = command;
            command.arg("--version");
            command
        })
        .ok();
        assert_eq!(
            said.stdout.trim(),
            format!("kube9-operator {}", RELEASED["version"].as_str().unwrap()),
            "{platform}"
        );
    }
}

#[test]
fn i15_the_real_binary_is_the_same_from_another_folder_and_home() {
    let elsewhere = tempfile::tempdir().unwrap();
    let (copy, home) = (elsewhere.path().join("some/where/else"), elsewhere.path().join("home"));
    copy_sources(&copy);
    let usual = |variable: &str, name: &str| {
        let set = std::env::var_os(variable).map(PathBuf::from);
        set.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(name))
    };
    std::fs::create_dir_all(home.join("cargo")).unwrap();
    // The same downloads under another path, so that nothing is fetched again.
    std::os::unix::fs::symlink(usual("CARGO_HOME", ".cargo").join("registry"), home.join("cargo/registry")).unwrap();
    let mut command = xtask();
    command.current_dir(&copy).args(["release", "build"]).env("HOME", &home).env("CARGO_HOME", home.join("cargo"));
    // Where rustup is, it must find the same compilers.
    command.env("RUSTUP_HOME", usual("RUSTUP_HOME", ".rustup"));
    Run::of(command).ok();
    let (platform, _, layers) = parts().remove(0);
    let ours = unpacked(layers[0]["digest"].as_str().unwrap(), &published().join("image"));
    let index = files_below(&copy.join("target/xtask/image"));
    let theirs =
        index.iter().filter(|(name, _)| name.starts_with("blobs/")).max_by_key(|(_, bytes)| bytes.len()).unwrap().0;
    let theirs = format!("sha256:{}", theirs.rsplit('/').next().unwrap());
    let theirs = unpacked(&theirs, &copy.join("target/xtask/image"));
    assert!(ours == theirs, "{platform}: another folder or home made another binary");
}

/// This workspace as it is now, with one platform only, committed in a repository of its own.
fn copy_sources(to: &Path) {
    let listed = git(&root(), &["ls-files", "--cached", "--others", "--exclude-standard"]);
    for name in listed.lines().filter(|name| root().join(name).is_file()) {
        let place = to.join(name);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(root().join(name), place).unwrap();
    }
    let manifest = std::fs::read_to_string(to.join("Cargo.toml")).unwrap();
    let one: Vec<&str> = manifest.lines().filter(|line| !line.starts_with("\"linux/arm64\"")).collect();
    std::fs::write(to.join("Cargo.toml"), one.join("\n")).unwrap();
    git(to, &["init", "--quiet"]);
    git(to, &["add", "--all"]);
    git(to, &["commit", "--quiet", "--message", "elsewhere"]);
}

/// The one file of a layer.
fn unpacked(digest: &str, image: &Path) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let mut unpack = Command::new("tar");
    unpack
        .arg("-xzf")
        .arg(image.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap()))
        .arg("-C")
        .arg(folder.path());
    Run::of(unpack).ok();
    std::fs::read(folder.path().join("usr/local/bin/kube9-operator")).unwrap()
}
