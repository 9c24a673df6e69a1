//! The image as a node gets it: pulled with skopeo from `serve`, looked into, and run.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::support::{Demo, Run, World, can_compile, tool};

/// Four versions, released while `serve` runs, and the tags that a client saw after each.
struct Image {
    world: World,
    history: Vec<(&'static str, BTreeMap<String, String>)>,
}

static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let demo = Demo::new();
    demo.xtask(&["release", "1.0.0"]).ok();
    let world = World::new(demo);
    let mut history = vec![("1.0.0", seen_tags(&world.demo))];
    for version in ["1.1.0", "1.0.1", "2.0.0-rc.1"] {
        world.demo.xtask(&["release", version]).ok();
        history.push((version, seen_tags(&world.demo)));
    }
    Image { world, history }
});

fn demo() -> &'static Demo {
    &IMAGE.world.demo
}

/// skopeo with a home of its own, which asks no policy file.
fn skopeo(arguments: &[&str]) -> Run {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(tool("skopeo").unwrap());
    command.env_clear().env("HOME", home.path()).env("REGISTRY_AUTH_FILE", home.path().join("none"));
    Run::of({
        command.arg("--insecure-policy").args(arguments);
        command
    })
}

fn name(demo: &Demo, reference: &str) -> String {
    format!("docker://localhost:{}/team/demo{reference}", demo.port)
}

fn raw(demo: &Demo, reference: &str) -> String {
    skopeo(&["inspect", "--raw", "--tls-verify=false", &name(demo, reference)]).ok().stdout
}

fn digest(bytes: &[u8]) -> String {
    xtask::oci::Digest::of(bytes).to_string()
}

/// Every tag and the digest it leads to, as a client sees them; nothing where there is no client.
fn seen_tags(demo: &Demo) -> BTreeMap<String, String> {
    if tool("skopeo").is_none() {
        return BTreeMap::new();
    }
    let list = skopeo(&["list-tags", "--tls-verify=false", &name(demo, "")]).ok().json();
    let tags = list["Tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned());
    tags.map(|tag| (tag.clone(), digest(raw(demo, &format!(":{tag}")).as_bytes()))).collect()
}

fn config(reference: &str, architecture: &str) -> Value {
    let reference = name(demo(), reference);
    skopeo(&["--override-arch", architecture, "inspect", "--config", "--tls-verify=false", &reference]).ok().json()
}

/// An image that was copied into a layout.
struct Pulled(PathBuf);

impl Pulled {
    fn blob(&self, digest: &str) -> Vec<u8> {
        let bytes = std::fs::read(self.0.join("blobs/sha256").join(&digest["sha256:".len()..])).unwrap();
        assert_eq!(self::digest(&bytes), digest);
        bytes
    }

    fn top(&self) -> String {
        let index: Value = serde_json::from_slice(&std::fs::read(self.0.join("index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
        index["manifests"][0]["digest"].as_str().unwrap().to_owned()
    }

    fn json(&self, digest: &str) -> Value {
        serde_json::from_slice(&self.blob(digest)).unwrap()
    }
}

fn pull(reference: &str, options: &[&str], folder: &Path) -> Pulled {
    let place = folder.join("layout");
    let to = format!("oci:{}", place.display());
    let mut arguments = options.to_vec();
    let from = name(demo(), reference);
    arguments.extend(["copy", "--quiet", "--preserve-digests", "--src-tls-verify=false"]);
    if options == ["--all"] {
        arguments.remove(0);
        arguments.push("--all");
    }
    arguments.extend([from.as_str(), to.as_str()]);
    skopeo(&arguments).ok();
    Pulled(place)
}

#[test]
fn i2_and_i14_both_platforms_come_with_the_published_digests_by_tag_and_by_digest() {
    if tool("skopeo").is_none() {
        return;
    }
    let published = demo().tags()["1.1.0"].clone();
    for reference in [":latest".to_owned(), ":v1.1.0".into(), format!("@{published}")] {
        let folder = tempfile::tempdir().unwrap();
        let image = pull(&reference, &["--all"], folder.path());
        assert_eq!(image.top(), published, "{reference}");
        let index = image.json(&published);
        let platforms = index["manifests"].as_array().unwrap();
        let names: Vec<String> = platforms
            .iter()
            .map(|part| format!("{}/{}", part["platform"]["os"], part["platform"]["architecture"]).replace('"', ""))
            .collect();
        assert_eq!(names, ["linux/amd64", "linux/arm64"]);
        for (part, architecture) in platforms.iter().zip(["amd64", "arm64"]) {
            let folder = tempfile::tempdir().unwrap();
            let one = pull(&reference, &["--override-arch", architecture], folder.path());
            assert_eq!(one.top(), part["digest"].as_str().unwrap(), "{reference} {architecture}");
            let manifest = one.json(&one.top());
            assert_eq!(one.json(manifest["config"]["digest"].as_str().unwrap())["architecture"], json!(architecture));
        }
    }
}

#[test]
fn i8_every_label_is_there_and_right() {
    if tool("skopeo").is_none() {
        return;
    }
    let revision = demo().git(&["rev-parse", "HEAD"]);
    let expected = [
        ("created", "2026-01-02T03:04:05Z"),
        ("description", "An operator that only says its version"),
        ("documentation", "https://example.com/demo/docs"),
        ("licenses", "MIT"),
        ("revision", &revision),
        ("source", "https://example.com/demo"),
        ("title", "demo"),
        ("vendor", "Example Ltd"),
        ("version", "1.0.1"),
    ];
    let check = |labels: &Value, what: &str| {
        for (name, value) in expected {
            assert_eq!(labels[format!("org.opencontainers.image.{name}")], json!(value), "{name} of {what}");
        }
        assert!(labels["rustc"].as_str().unwrap().contains("rustc 1."), "{what}");
    };
    for architecture in ["amd64", "arm64"] {
        let config = config(":1.0.1", architecture);
        assert_eq!((&config["architecture"], &config["os"]), (&json!(architecture), &json!("linux")));
        assert_eq!(config["created"], json!("2026-01-02T03:04:05Z"));
        check(&config["config"]["Labels"], architecture);
    }
    let index: Value = serde_json::from_str(&raw(demo(), ":1.0.1")).unwrap();
    check(&index["annotations"], "the index, where package pages look");
}

#[test]
fn i10_the_image_runs_as_its_dockerfile_says() {
    if tool("skopeo").is_none() {
        return;
    }
    for architecture in ["amd64", "arm64"] {
        let mut config = config(":1.0.0", architecture)["config"].clone();
        config.as_object_mut().unwrap().remove("Labels");
        let expected = json!({
            "User": "1000:1000",
            "ExposedPorts": {"8080/tcp": {}},
            "Env": ["PATH=/usr/local/bin"],
            "Entrypoint": ["/usr/local/bin/demo"],
            "Cmd": ["serve"],
            "WorkingDir": "/",
            "ArgsEscaped": true,
        });
        assert_eq!(config, expected, "{architecture}");
    }
}

#[test]
fn i10_and_i11_the_image_holds_the_binary_alone_and_it_runs_on_both_platforms() {
    if tool("skopeo").is_none() || !can_compile() {
        return;
    }
    for architecture in ["amd64", "arm64"] {
        let folder = tempfile::tempdir().unwrap();
        let image = pull(":1.1.0", &["--override-arch", architecture], folder.path());
        let manifest = image.json(&image.top());
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 1);
        let layer = image.blob(layers[0]["digest"].as_str().unwrap());
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(layer.as_slice()));
        let mut names = Vec::new();
        let mut binary = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let owner = (entry.header().uid().unwrap(), entry.header().gid().unwrap());
            assert_eq!((owner, entry.header().mode().unwrap()), ((0, 0), 0o755));
            names.push(entry.path().unwrap().display().to_string());
            if entry.header().entry_type().is_file() {
                entry.read_to_end(&mut binary).unwrap();
            }
        }
        assert_eq!(names, ["usr/", "usr/local/", "usr/local/bin/", "usr/local/bin/demo"]);
        runs(&binary, architecture, folder.path());
    }
}

fn runs(binary: &[u8], architecture: &str, folder: &Path) {
    let path = folder.join("demo");
    std::fs::write(&path, binary).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let native = matches!((architecture, std::env::consts::ARCH), ("amd64", "x86_64") | ("arm64", "aarch64"));
    let mut command = if native {
        Command::new(&path)
    } else {
        let emulator = if architecture == "arm64" { "qemu-aarch64-static" } else { "qemu-x86_64-static" };
        let Some(emulator) = tool(emulator) else { return };
        let mut command = Command::new(emulator);
        command.arg(&path);
        command
    };
    command.arg("--version").env_clear();
    assert_eq!(Run::of(command).ok().stdout, "demo 1.1.0\n", "{architecture}");
}

#[test]
fn i3_and_i13_tags_lead_where_the_highest_stable_version_of_their_line_is() {
    if tool("skopeo").is_none() {
        return;
    }
    // The versions that each tag leads to, after each release.
    let expected = [
        ("1.0.0", vec![("1", "1.0.0"), ("1.0", "1.0.0"), ("latest", "1.0.0")]),
        ("1.1.0", vec![("1", "1.1.0"), ("1.0", "1.0.0"), ("1.1", "1.1.0"), ("latest", "1.1.0")]),
        ("1.0.1", vec![("1", "1.1.0"), ("1.0", "1.0.1"), ("1.1", "1.1.0"), ("latest", "1.1.0")]),
        ("2.0.0-rc.1", vec![("1", "1.1.0"), ("1.0", "1.0.1"), ("1.1", "1.1.0"), ("latest", "1.1.0")]),
    ];
    let digests = &IMAGE.history.last().unwrap().1;
    let mut released = Vec::new();
    for ((version, seen), (expected_version, floating)) in IMAGE.history.iter().zip(expected) {
        assert_eq!(*version, expected_version);
        released.push(*version);
        let versions =
            released.iter().flat_map(|version| [(format!("v{version}"), version), ((*version).into(), version)]);
        let floating = floating.iter().map(|(tag, version)| ((*tag).to_owned(), version));
        let wanted: BTreeMap<String, String> =
            versions.chain(floating).map(|(tag, version)| (tag, digests[*version].clone())).collect();
        assert_eq!(*seen, wanted, "after {version}");
    }
    let different: std::collections::BTreeSet<_> = digests.values().collect();
    assert_eq!(different.len(), 4, "every version has an image of its own");
}
