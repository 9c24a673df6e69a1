//! The real product: this very workspace is released as its README says, and what comes out is looked at.
//!
//! It is published where the README's first command publishes it, so a second run of the tests compiles nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::support::{Run, files_below, tool, xtask};

const IMAGE_BYTES_MAX: u64 = 3_000_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

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
        let layer = blob(layers[0]["digest"].as_str().unwrap());
        let mut unpack = Command::new("tar");
        Run::of({
            unpack.arg("-xzf").arg(layer).arg("-C").arg(folder.path());
            unpack
        })
        .ok();
        let binary = folder.path().join("usr/local/bin/kube9-operator");
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

/// The paths of this machine that a careless build leaves in a binary. Another folder, user or home would change the digest.
#[test]
fn i15_the_real_binaries_hold_no_path_of_this_machine() {
    let home = std::env::var("HOME").unwrap();
    let cargo_home = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    for (platform, triple) in [("amd64", "x86_64-unknown-linux-gnu"), ("arm64", "aarch64-unknown-linux-gnu")] {
        LazyLock::force(&RELEASED);
        let binary = root().join("target/xtask/build").join(triple).join("release/kube9-operator");
        let bytes = std::fs::read(&binary).unwrap();
        for path in [root().display().to_string(), cargo_home.clone()] {
            let found = bytes.windows(path.len()).any(|window| window == path.as_bytes());
            assert!(!found, "{platform}: `{path}` is in the binary");
        }
    }
}
