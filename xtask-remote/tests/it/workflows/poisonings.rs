//! What somebody may do to a release that is under way, from within one of its jobs or from outside: each of these is seeded, and each must
//! be stopped before anything of it is public.
//!
//! The run is real up to the job that is attacked, and goes on from there once for each poisoning. Whoever may push to the registry needs no
//! job: what they put there, with every label as it should be, is told from ours by its signatures alone.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use xtask::image::dockerfile::Dockerfile;
use xtask::image::embedded::{self, BuildContext, Stamp};
use xtask::oci::{Annotations, Digest, ImageIndex, Layout, Platform};

use super::artifacts::Artifacts;
use super::file::Names;
use super::runner::{Ended, Event, Paused, Runner};
use super::{order, public, tags, world};
use crate::servers::{IMAGE, Whole};
use crate::support::{cross_rustc, on_path, script, tool};

/// What somebody does, and the step and the words that stop it.
struct Poisoning {
    name: &'static str,
    does: fn(&mut Seed<'_>),
    step: &'static str,
    words: &'static str,
}

const DOWNLOAD: &str = "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c";
const CHECK: &str = "Check what was handed on";
const GONE: &str = "None of the provided artifact IDs were found";

/// What is done to the job that pushes.
const PUSH: [Poisoning; 22] = [
    Poisoning {
        name: "another image takes the artifact's name",
        does: |seed| seed.take("image"),
        step: DOWNLOAD,
        words: GONE,
    },
    Poisoning {
        name: "other verdicts take their name",
        does: |seed| seed.take("verdicts"),
        step: DOWNLOAD,
        words: GONE,
    },
    Poisoning {
        name: "another xtask takes its name",
        does: |seed| seed.take("xtask-image"),
        step: DOWNLOAD,
        words: GONE,
    },
    Poisoning {
        name: "another cosign takes its name",
        does: |seed| seed.take("cosign-image"),
        step: DOWNLOAD,
        words: GONE,
    },
    Poisoning {
        name: "the number of another cosign",
        does: |seed| {
            seed.swap("cosign", "artifact", &[("cosign", b"#!/bin/sh\necho evil\n")]);
        },
        step: CHECK,
        words: "target/xtask/bin/cosign: FAILED",
    },
    Poisoning {
        name: "a cosign beside the xtask that was handed on",
        does: |seed| {
            let whole = seed.folder("xtask", "artifact");
            let xtask = std::fs::read(whole.join("xtask")).unwrap();
            seed.swap("xtask", "artifact", &[("cosign", b"#!/bin/sh\necho evil\n"), ("xtask", &xtask)]);
        },
        step: CHECK,
        words: "target/xtask/bin/cosign: FAILED",
    },
    Poisoning {
        name: "the number of another xtask",
        does: |seed| {
            seed.swap("xtask", "artifact", &[("xtask", b"#!/bin/sh\necho evil\n")]);
        },
        step: CHECK,
        words: "1 computed checksum did NOT match",
    },
    Poisoning {
        name: "no digest of the xtask",
        does: |seed| seed.tell("xtask", "sha256", ""),
        step: CHECK,
        words: "no properly formatted checksum lines found",
    },
    Poisoning {
        name: "the number of a stranger's image",
        does: |seed| {
            let stranger = seed.image(&[], &seed.platforms());
            seed.hand_on(&stranger);
        },
        step: "Push",
        words: "is not the image that was built",
    },
    Poisoning {
        name: "the number of something that is no image",
        does: |seed| {
            let verdicts = seed.told("scan", "verdicts");
            seed.tell("build", "image", &verdicts);
        },
        step: "Push",
        words: "does not hold an image",
    },
    Poisoning {
        name: "one more image in the layout",
        does: |seed| {
            let stranger = seed.image(&[], &seed.platforms());
            seed.edit("build", "image", "index.json", |index| {
                let mut other = index["manifests"][0].clone();
                other["digest"] = json!(stranger.digest);
                index["manifests"].as_array_mut().unwrap().insert(0, other);
            });
        },
        step: "Push",
        words: "index.json must hold exactly one descriptor",
    },
    Poisoning {
        name: "other bytes in a layer",
        does: |seed| {
            let layer = &seed.honest.platforms().unwrap()[0].manifest.layers[0].digest;
            std::fs::write(seed.folder("build", "image").join("blobs/sha256").join(layer.hex()), "evil").unwrap();
        },
        step: "Push",
        words: "is damaged",
    },
    Poisoning {
        name: "the build's digest",
        does: |seed| seed.tell("build", "digest", &Digest::of(b"evil").to_string()),
        step: "Push",
        words: "is not the image that was built",
    },
    Poisoning {
        name: "the build's digest, the number of its image, and the verdict",
        does: |seed| {
            let stranger = seed.image(&[], &seed.platforms());
            seed.hand_on(&stranger);
            seed.tell("build", "digest", &stranger.digest.to_string());
            seed.judge(&stranger.digest);
        },
        step: "Push",
        words: "two builds of one commit made two images",
    },
    Poisoning {
        name: "the second build's digest",
        does: |seed| seed.tell("rebuild", "digest", &Digest::of(b"evil").to_string()),
        step: "Push",
        words: "two builds of one commit made two images",
    },
    Poisoning {
        name: "no second build",
        does: |seed| seed.tell("rebuild", "digest", ""),
        step: "Push",
        words: "invalid value '' for '--second",
    },
    Poisoning {
        name: "a verdict on another image",
        does: |seed| {
            seed.swap("scan", "verdicts", &[("other.json", br#"{"digest":"sha256:0","scanner":"Trivy"}"#)]);
        },
        step: "Push",
        words: "has no verdict",
    },
    Poisoning {
        name: "a verdict of nobody",
        does: |seed| {
            let file = format!("{}.json", seed.honest.digest.hex());
            seed.edit("scan", "verdicts", &file, |verdict| verdict["scanner"] = Value::Null);
        },
        step: "Push",
        words: "has no verdict",
    },
    Poisoning {
        name: "a verdict that rests on a waiver which is over",
        does: |seed| {
            let file = format!("{}.json", seed.honest.digest.hex());
            let waiver = json!({"id": "CVE-1", "reason": "r", "owner": "o", "expires": "2020-01-01"});
            seed.edit("scan", "verdicts", &file, |verdict| verdict["waived"] = json!([waiver]));
        },
        step: "Push",
        words: "has no verdict",
    },
    Poisoning {
        name: "both builds, of another commit",
        does: |seed| {
            let stranger = seed.image(&[("revision", "0123456789abcdef0123456789abcdef01234567")], &seed.platforms());
            seed.own(&stranger);
        },
        step: "Push",
        words: "is not the image of 1.0.0",
    },
    Poisoning {
        name: "both builds, of another version",
        does: |seed| {
            let stranger = seed.image(&[("version", "0.9.0")], &seed.platforms());
            seed.own(&stranger);
        },
        step: "Push",
        words: "is not the image of 1.0.0",
    },
    Poisoning {
        name: "both builds, without a platform",
        does: |seed| {
            let stranger = seed.image(&[], &seed.platforms()[..1]);
            seed.own(&stranger);
        },
        step: "Push",
        words: "is not the image of 1.0.0",
    },
];

/// Puts programs into a folder that a machine looks into before all others.
type Poison = fn(&Path);

/// What is on the machine of the second build, and the words that stop it there; where there are none, its digest does.
const REBUILD: [(&str, Poison, Option<&str>); 4] = [
    (
        "a linker that adds something",
        |folder| {
            let out = "for word; do [ \"$out\" != next ] || out=$word; [ \"$word\" != -o ] || out=next; done";
            let text =
                format!("{out}\n'{}' \"$@\" || exit\nprintf evil >>\"$out\"\n", on_path("cc").unwrap().display());
            script(&folder.join("cc"), &text);
        },
        None,
    ),
    (
        "a compiler that adds something",
        |folder| {
            let evil = "case \"$*\" in *--crate-name*) set -- \"$@\" -Clink-arg=-Wl,--build-id=0xbad;; esac";
            script(&folder.join("rustc"), &format!("{evil}\nexec '{}' \"$@\"\n", cross_rustc().unwrap().display()));
        },
        None,
    ),
    (
        "an object that is not of these sources",
        |folder| {
            let evil = "for file in \"$CARGO_TARGET_DIR\"/*/release/demo; do [ ! -f \"$file\" ] || printf evil >>\"$file\"; done";
            script(&folder.join("cargo"), &format!("\"$HOME/bin/cargo\" \"$@\" || exit\n{evil}\n"));
        },
        None,
    ),
    (
        "a builder that adds something",
        |folder| {
            let evil = "for file in context/linux/*/demo; do [ ! -f \"$file\" ] || printf evil >>\"$file\"; done";
            let text = format!("{evil}\nexec '{}' \"$@\"\n", tool("buildx").unwrap().display());
            script(&folder.join("buildx"), &text);
        },
        Some("BuildKit made another image than it was handed the parts of"),
    ),
];

/// What a job is told and handed, before it starts.
struct Seed<'s> {
    names: &'s mut Names,
    artifacts: &'s Artifacts,
    /// The image that was built.
    honest: &'s Layout,
}

impl Seed<'_> {
    fn told(&self, job: &str, output: &str) -> String {
        self.names.get(&format!("needs.{job}.outputs.{output}")).text()
    }

    fn tell(&mut self, job: &str, output: &str, value: &str) {
        self.names.set(&format!("needs.{job}.outputs.{output}"), value);
    }

    /// The files of an artifact whose number is an output.
    fn folder(&self, job: &str, output: &str) -> std::path::PathBuf {
        self.artifacts.folder(&self.told(job, output))
    }

    fn edit(&self, job: &str, output: &str, file: &str, change: impl FnOnce(&mut Value)) {
        let path = self.folder(job, output).join(file);
        let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        std::fs::write(path, value.to_string()).unwrap();
    }

    fn upload(&self, name: &str, files: &[(&str, &[u8])]) -> String {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(file, bytes)| std::fs::write(folder.path().join(file), bytes).unwrap());
        upload(self.artifacts, folder.path(), name)
    }

    /// Tells the number of another artifact, with these files.
    fn swap(&mut self, job: &str, output: &str, files: &[(&str, &[u8])]) {
        let number = self.upload("evil", files);
        self.tell(job, output, &number);
    }

    fn take(&self, name: &str) {
        self.upload(name, &[("index.json", b"{}"), ("xtask", b"evil")]);
    }

    fn platforms(&self) -> Vec<Platform> {
        platforms(self.honest)
    }

    fn image(&self, labels: &[(&str, &str)], platforms: &[Platform]) -> Layout {
        strangers(self.honest, labels, platforms)
    }

    /// The number of an image in the place of that of the one that was built.
    fn hand_on(&mut self, image: &Layout) {
        let folder = tempfile::tempdir().unwrap();
        image.write(folder.path()).unwrap();
        let number = upload(self.artifacts, folder.path(), "stranger");
        self.tell("build", "image", &number);
    }

    /// A verdict that lets an image pass.
    fn judge(&mut self, digest: &Digest) {
        let verdict = json!({"digest": digest, "scanner": "Trivy", "skipped": null}).to_string();
        let number = self.upload("judged", &[(&format!("{}.json", digest.hex()), verdict.as_bytes())]);
        self.tell("scan", "verdicts", &number);
    }

    /// All that the jobs without rights say is an image's.
    fn own(&mut self, image: &Layout) {
        self.hand_on(image);
        self.judge(&image.digest);
        self.tell("build", "digest", &image.digest.to_string());
        self.tell("rebuild", "digest", &image.digest.to_string());
    }
}

fn platforms(image: &Layout) -> Vec<Platform> {
    image.platforms().unwrap().into_iter().map(|image| image.platform).collect()
}

/// A stranger's image, with the labels of the one that was built but for some.
fn strangers(honest: &Layout, labels: &[(&str, &str)], platforms: &[Platform]) -> Layout {
    let index: ImageIndex = serde_json::from_slice(&honest.blobs[&honest.digest]).unwrap();
    let forged = labels.iter().map(|(name, value)| (format!("org.opencontainers.image.{name}"), (*value).to_owned()));
    let labels: Annotations = index.annotations.into_iter().chain(forged).collect();
    let dockerfile = Dockerfile::parse("FROM scratch\nCOPY evil /demo\nENTRYPOINT [\"/demo\"]\n").unwrap();
    let context = BuildContext::from([("evil".into(), b"evil".to_vec())]);
    embedded::assemble(&dockerfile, platforms, &context, &Stamp { labels, time: 0 }).unwrap()
}

fn upload(artifacts: &Artifacts, folder: &Path, name: &str) -> String {
    let with = [("name", name), ("path", "."), ("overwrite", "true")];
    let with: BTreeMap<_, _> = with.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    artifacts.upload(folder, &with).unwrap().remove(0).1
}

#[track_caller]
fn stopped(name: &str, ended: &Ended, step: &str, words: &str) {
    let Ended::Badly(at, said) = ended else { panic!("{name}: {ended:?}") };
    assert!(at == step && said.contains(words), "{name}: at {at}, without `{words}`:\n{said}");
}

#[test]
fn x4_i7_i9_i16_whatever_is_swapped_forged_or_poisoned_while_a_release_is_under_way_is_stopped_before_it_is_public() {
    let Some(whole) = world() else { return };
    let runner = Runner::new(&whole);
    order(&whole, "v1.0.0");
    let by_hand = Event::by_hand_at("v1.0.0", &[("version", "1.0.0")]);
    let before = public(&whole);
    let paused = runner.pause_before("push", "release-image.yml", &by_hand);
    let honest = Layout::read(&paused.handed_on("build", "image")).unwrap();
    let push = |does: &dyn Fn(&mut Seed<'_>)| {
        let ended = paused.go_on(|names, artifacts| does(&mut Seed { names, artifacts, honest: &honest }));
        assert!(ended == Ended::Well || public(&whole) == before, "something became public");
        ended
    };
    for Poisoning { name, does, step, words } in PUSH {
        stopped(name, &push(&does), step, words);
    }
    for (name, poison, words) in REBUILD {
        let folder = tempfile::tempdir().unwrap();
        poison(folder.path());
        let (ended, outputs) = paused.again("rebuild", folder.path());
        match words {
            Some(words) => stopped(name, &ended, "Build", words),
            None => {
                assert_eq!(ended, Ended::Well, "{name}");
                let ended = push(&|seed| seed.tell("rebuild", "digest", &outputs["digest"]));
                stopped(name, &ended, "Push", "two builds of one commit made two images");
            }
        }
    }
    assert!(!whole.production.is_pushed(IMAGE, &honest.digest.to_string()));
    a_stranger_is_first(&whole, &paused, &honest);
    // Without any of that, the very same run goes on to its end: it was nothing else that stopped it.
    assert_eq!(push(&|_| ()), Ended::Well);
    assert_eq!(tags(&whole), ["1.0.0", "v1.0.0"]);
    a_stranger_comes_between(&whole, &by_hand, &honest);
}

/// Before anything is pushed, somebody pushes an image that says to be of this version and commit, and sets the version's tag.
fn a_stranger_is_first(whole: &Whole, paused: &Paused<'_>, honest: &Layout) {
    let registry = &whole.production.registry;
    let empty = registry.keep();
    registry.push(IMAGE, &strangers(honest, &[], &platforms(honest)), "v1.0.0");
    let before = public(whole);
    let (ended, _) = paused.again("build", tempfile::tempdir().unwrap().path());
    let words = "leads to an image that this source state does not make";
    stopped("an image with all our labels, before it is built", &ended, "Build", words);
    let ended = paused.go_on(|_, _| ());
    stopped("a tag, set after it was built", &ended, "Tag", words);
    assert!(public(whole) == before, "something became public");
    registry.restore(&empty);
}

/// Between image and chart, somebody points the version's tag at another image.
fn a_stranger_comes_between(whole: &Whole, by_hand: &Event, honest: &Layout) {
    whole.production.registry.push(IMAGE, &strangers(honest, &[], &platforms(honest)), "v1.0.0");
    let before = public(whole);
    // Another runner: the guide lists what is asked of AWS where nobody attacks.
    let outcome = Runner::new(whole).run("release-chart.yml", by_hand);
    outcome.badly("chart", "Publish the chart", "is not signed as the image of 1.0.0", &[]);
    assert!(public(whole) == before, "something became public");
}
