//! What a release signs, and who is believed: the real cosign and Helm look at what was rehearsed, and strangers get nowhere.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use xtask::local;
use xtask::oci::artifact::Artifact;
use xtask::oci::registry::Registry;
use xtask::oci::{self, Annotations, Descriptor, Digest, Layout};
use xtask::trust::key::SigningKey;
use xtask::trust::signer::{OWN_KEY, Signer};
use xtask::trust::statement::{Statement, predicate};
use xtask::trust::{attachments, bundle};

use crate::servers::{Production, SIGNING_KEY};
use crate::support::{Demo, Helm, Run, git, http_status, scrubbed, tool, unsigned};
use crate::trust::bundles::certificate;
use crate::trust::{Cosign, changed};

/// What is said of which part of a release, by kinds of subjects and of statements.
fn said(demo: &Demo) -> BTreeSet<String> {
    let names = unsigned(demo.snapshot()).into_keys();
    names.filter(|name| name.contains("/said/")).collect()
}

fn image(demo: &Demo, tag: &str) -> Digest {
    demo.tags()[tag].parse().unwrap()
}

/// Makes the list of what refers to images or charts another one.
fn relist(demo: &Demo, part: &str, keep: impl Fn(&Value) -> bool) {
    let path = format!("target/published/{part}/index.json");
    let mut list: Value = serde_json::from_str(&demo.read(&path)).unwrap();
    list["manifests"].as_array_mut().unwrap().retain(keep);
    demo.write(&path, list.to_string());
}

fn is_tagged(one: &Value) -> bool {
    one["annotations"]["org.opencontainers.image.ref.name"].is_string()
}

#[test]
fn i16_x7_image_platforms_and_chart_are_signed_once_and_the_key_is_nobodys_business() {
    let demo = Demo::new().that_signs();
    let run = demo.xtask(&["release", "--json"]).ok();
    let proof = run.json()["proof"].clone();
    assert!(proof["signers"][0].as_str().unwrap().contains("this folder's own key"), "{proof}");
    let digest = image(&demo, "v1.0.0");
    let parts = local::registry(&demo.published()).platforms(&digest).unwrap();
    let chart = proof["registry_chart"].as_str().unwrap().rsplit_once('@').unwrap().1.to_owned();
    let mut expected = BTreeSet::new();
    let mut expect = |part: &str, subject: String, kinds: [&str; 2]| {
        expected.extend(kinds.map(|kind| format!("{part}/said/{subject}/{kind}")));
    };
    expect("image", digest.to_string(), [predicate::SIGNATURE, predicate::PROVENANCE]);
    for part in &parts {
        expect("image", part.descriptor.digest.to_string(), [predicate::SIGNATURE, predicate::SBOM]);
    }
    expect("chart", chart, [predicate::SIGNATURE, predicate::PROVENANCE]);
    assert_eq!(said(&demo), expected);
    let before = demo.snapshot();
    demo.xtask(&["release"]).ok();
    assert!(demo.snapshot() == before, "a second signature would be another one");
    let key = demo.published().join(OWN_KEY);
    assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    let _served = demo.serve();
    for place in [OWN_KEY.to_owned(), format!("v2/team/demo/blobs/{OWN_KEY}"), format!("%2e{}", &OWN_KEY[1..])] {
        assert_eq!(http_status(&format!("{}/{place}", demo.url())), Some(404), "{place}");
    }
}

#[test]
fn i16_h14_helm_takes_what_a_release_signed_and_cosign_by_the_commands_that_the_page_offers() {
    let demo = Demo::new().that_signs();
    demo.show_page();
    let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let public = |key: &str| SigningKey::from_pem(key, &"a test").unwrap().public().to_pem();
    demo.write("ann.pub", public(&key));
    let named = format!("signers = [{{ key = \"ann.pub\" }}]\nsigning = {{ variable = \"{SIGNING_KEY}\" }}\n");
    demo.write("Cargo.toml", demo.read("Cargo.toml") + &named);
    demo.commit("name who signs");
    let mut release = demo.command(&["release"]);
    release.env(SIGNING_KEY, &key);
    Run::of(release).ok();
    let page = demo.read("target/published/index.html");
    let _served = demo.serve();
    if let Some(helm) = Helm::find("helm-3") {
        let chart = format!("oci://localhost:{}/team/charts/demo", demo.port);
        helm.run(&[
            "pull",
            &chart,
            "--version",
            "1.0.0",
            "--plain-http",
            "--destination",
            helm.home().to_str().unwrap(),
        ])
        .ok();
        let pulled = std::fs::read(helm.home().join("demo-1.0.0.tgz")).unwrap();
        assert_eq!(pulled, std::fs::read(demo.published().join("demo-1.0.0.tgz")).unwrap(), "the very archive");
        demo.xtask(&["release", "yank", "1.0.0", "--reason", "wrong"]).ok();
        assert!(!demo.read("target/published/index.html").contains("cosign"), "no version is recommended");
        helm.run(&["pull", &chart, "--version", "1.0.0", "--plain-http"]).fails(1, "not found");
        demo.xtask(&["release", "unyank", "1.0.0"]).ok();
        helm.run(&["show", "chart", &chart, "--version", "1.0.0", "--plain-http"]).ok();
        assert!(demo.read("target/published/index.html") == page, "as it was");
    }
    let (Some(cosign), Some(buildx)) = (Cosign::new(), tool("buildx")) else { return };
    let shell = |text: &str| {
        let (cosign, buildx) = (cosign.path().display(), buildx.display());
        let programs = format!("cosign() {{ {cosign} \"$@\"; }}\ndocker() {{ shift; {buildx} \"$@\"; }}\n");
        let mut shell = scrubbed("sh");
        shell.current_dir(demo.root()).env("HOME", demo.root().join("target"));
        shell.args(["-c", &format!("set -e\n{programs}{text}")]);
        Run::of(shell)
    };
    let offered = commands(&page);
    let [signatures, provenance, sbom] = &offered[..] else { panic!("{offered:#?}") };
    shell(signatures).ok();
    assert_eq!(stated(&shell(provenance).ok().stdout)["predicateType"], predicate::PROVENANCE);
    assert_eq!(stated(&shell(sbom).ok().stdout)["predicate"]["bomFormat"], "CycloneDX");
    demo.write("ann.pub", public(&other));
    assert_ne!(shell(signatures).code, Some(0), "somebody else's key");
}

/// The commands on a page that run cosign, but for what jq makes of their output: not every machine has it.
fn commands(page: &str) -> Vec<String> {
    let texts = page.split("<pre><code>").filter_map(|part| Some(part.split_once("</code>")?.0));
    let texts = texts.filter(|text| text.contains("cosign")).map(|text| text.split(" |\n").next().unwrap());
    texts.map(|text| text.replace("&#39;", "'").replace("&quot;", "\"")).collect()
}

/// The statement in what cosign prints.
fn stated(printed: &str) -> Value {
    let envelope: Value = serde_json::from_str(printed.trim()).unwrap_or_else(|error| panic!("{error}: {printed}"));
    serde_json::from_slice(&BASE64.decode(envelope["payload"].as_str().unwrap()).unwrap()).unwrap()
}

#[test]
fn i16_what_was_signed_is_gathered_for_whoever_wants_to_keep_it_beside_the_release() {
    let demo = Demo::new().that_signs();
    demo.xtask(&["release"]).ok();
    let gathered = demo.xtask(&["release", "assets", "--json"]).ok().json();
    let platforms = local::registry(&demo.published()).platforms(&image(&demo, "v1.0.0")).unwrap();
    let bill = |platform: &str| format!("sbom-{}.cdx.json", platform.replace('/', "-"));
    let bills = platforms.iter().map(|part| bill(&part.platform.to_string()));
    let expected: BTreeSet<String> = bills.chain(["demo-1.0.0.tgz".to_owned(), "release.json".to_owned()]).collect();
    let files = gathered["files"].as_array().unwrap();
    assert_eq!(files.iter().map(|name| name.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(), expected);
    let asset = |name: &str| std::fs::read(demo.root().join("target/xtask/assets").join(name)).unwrap();
    assert_eq!(asset("demo-1.0.0.tgz"), std::fs::read(demo.published().join("demo-1.0.0.tgz")).unwrap());
    let json = |name: &str| serde_json::from_slice::<Value>(&asset(name)).unwrap();
    let record = json("release.json");
    for part in &platforms {
        let platform = part.platform.to_string();
        assert_eq!(record["image"]["platforms"][&platform], part.descriptor.digest.to_string());
        assert_eq!(json(&bill(&platform))["bomFormat"], "CycloneDX");
    }
    assert_eq!(record["commit"], demo.git(&["rev-parse", "HEAD"]).trim());
    let parameters = &record["provenance"][0]["buildDefinition"]["externalParameters"];
    assert_eq!(parameters["version"], "1.0.0", "{record}");

    // Nothing is gathered of what users do not get.
    std::fs::write(demo.published().join("demo-1.0.0.tgz"), "other").unwrap();
    demo.xtask(&["release", "assets"]).fails(8, "sha256");
}

#[test]
fn notes_are_what_the_changelog_says_of_a_version() {
    let demo = Demo::new();
    assert_eq!(demo.xtask(&["release", "notes"]).ok().stdout.trim(), "### Added\n\n- The demo.");
    assert_eq!(demo.xtask(&["release", "notes", "v1.0.0"]).ok().stdout.trim(), "### Added\n\n- The demo.");
    let run = demo.xtask(&["release", "notes", "2.0.0"]);
    run.fails(3, "CHANGELOG.md says nothing of 2.0.0").fails(3, "it has sections of 1.0.0");
}

#[test]
fn i16_an_image_that_nobody_signed_is_made_again_and_only_what_comes_out_the_same_is_signed() {
    let demo = Demo::new().that_signs();
    demo.xtask(&["release", "--strict"]).ok();
    let (whole, good) = (unsigned(demo.snapshot()), demo.keep());
    // As a run leaves it that died between push and signature, or a stranger who knows the digest.
    for part in ["image", "chart"] {
        relist(&demo, part, is_tagged);
    }
    demo.xtask(&["verify"]).fails(8, "lacks a signature and provenance of an accepted signer; there is: nothing");
    let plan = demo.xtask(&["release", "--strict", "--plan"]).ok().stdout;
    assert!(plan.contains("must come out: no accepted signer says where it is from"), "{plan}");
    let again = demo.xtask(&["release", "--strict"]).ok();
    assert!(again.stderr.contains("came out as is there, unsigned"), "{}", again.stderr);
    assert!(unsigned(demo.snapshot()) == whole);
    // Where only a part is missing, that part is said again, and nothing is built.
    relist(&demo, "chart", is_tagged);
    let again = demo.xtask(&["release", "--strict"]).ok();
    assert!(again.stderr.contains("Signed") && !again.stderr.contains("Compiling"), "{}", again.stderr);
    assert!(unsigned(demo.snapshot()) == whole);
    // As a run leaves it that died between two statements, in a registry that takes one after the other.
    let is_first = Cell::new(true);
    relist(&demo, "image", |one| is_tagged(one) || is_first.replace(false));
    let again = demo.xtask(&["release", "--strict"]).ok();
    assert!(again.stderr.contains("Signed"), "{}", again.stderr);
    assert!(unsigned(demo.snapshot()) == whole);
    // A stranger's image with all the right labels.
    demo.restore(&good);
    let forged = forge(&demo, &image(&demo, "v1.0.0"));
    let before = demo.snapshot();
    let refused =
        demo.xtask(&["release", "--strict"]).fails(5, "leads to an image that this source state does not make");
    for part in [&forged.to_string(), "no accepted signer says where it is from"] {
        assert!(refused.stderr.contains(part), "{part} is not in {}", refused.stderr);
    }
    let after = demo.snapshot();
    assert!(before.iter().all(|(name, bytes)| after.get(name) == Some(bytes)), "nothing moved");
    demo.write("target/published/demo-1.0.0.tgz", &whole["demo-1.0.0.tgz"]);
    demo.xtask(&["verify"]).fails(8, "leads to another image");
    demo.xtask(&["release", "tag", "--digest", &forged.to_string()]).fails(5, "is not signed as the image of 1.0.0");
}

/// Puts an image into the registry that says to be the release's, and is another; takes the tags and the chart with it.
fn forge(demo: &Demo, digest: &Digest) -> Digest {
    let registry = local::registry(&demo.published());
    let whole = oci::collect(digest, &|part, digest| registry.fetch(part, digest)).unwrap();
    let index = String::from_utf8(whole.blobs[digest].clone()).unwrap();
    let forged = index.replacen("\"schemaVersion\":2", "\"schemaVersion\": 2", 1).into_bytes();
    assert_ne!(forged, whole.blobs[digest]);
    let digest = Digest::of(&forged);
    let mut blobs = whole.blobs;
    blobs.insert(digest.clone(), forged);
    registry.push(&Layout { digest: digest.clone(), blobs }).unwrap();
    registry.tag(&["v1.0.0", "1.0.0"].map(|tag| (tag.to_owned(), digest.clone()))).unwrap();
    std::fs::remove_file(demo.published().join("demo-1.0.0.tgz")).unwrap();
    digest
}

#[test]
fn i16_a_build_says_that_it_lacks_what_judges_certificates_before_it_compiles() {
    let demo = Demo::new().that_signs();
    let (key, identity) = (SigningKey::generate().unwrap(), "https://workflow.example@refs/tags/v{version}");
    let ann = SigningKey::from_pem(&key, &"a test").unwrap();
    demo.write("ann.pub", ann.public().to_pem());
    let signers = format!(
        "signers = [{{ key = \"ann.pub\" }}, {{ issuer = \"https://issuer.example\", identity = \"{identity}\" }}]\n\
         signing = {{ variable = \"{SIGNING_KEY}\" }}\n"
    );
    demo.write("Cargo.toml", demo.read("Cargo.toml") + &signers);
    demo.commit("name who signs");
    let run = |words: &[&str]| {
        let mut command = demo.command(words);
        command.env(SIGNING_KEY, &key);
        Run::of(command)
    };
    run(&["release"]).ok();
    let digest = image(&demo, "v1.0.0");

    // Who else signed can be told by a certificate alone.
    let registry = local::registry(&demo.published());
    let subject = Descriptor::of(oci::INDEX, &registry.fetch(oci::Part::Manifest, &digest).unwrap());
    let statement = Statement::new("demo", &digest, predicate::PROVENANCE, serde_json::json!({}));
    let bundle = Signer::Key(ann).sign(&[statement]).unwrap().remove(0);
    let bundle = changed(&bundle, |it| {
        it["verificationMaterial"] = serde_json::json!({"certificate": {"rawBytes": certificate()}});
    });
    let referrer = attachments::referrer(&subject, &bundle, predicate::PROVENANCE, "2026-01-01T00:00:00Z").unwrap();
    registry.attach(&[referrer]).unwrap();
    let refused = run(&["release", "build"]).fails(4, "cosign 3.1 or later is needed").fails(4, "it is not on PATH");
    assert!(!refused.stderr.contains("Compiling"), "{}", refused.stderr);
}

#[test]
fn i16_what_strangers_put_beside_an_image_counts_for_nothing_and_keeps_nobody_from_finishing() {
    let demo = Demo::new().that_signs();
    demo.xtask(&["release"]).ok();
    let digest = image(&demo, "v1.0.0");
    let registry = local::registry(&demo.published());
    let subject = Descriptor::of(oci::INDEX, &registry.fetch(oci::Part::Manifest, &digest).unwrap());
    relist(&demo, "image", is_tagged);
    let eve = Signer::Key(SigningKey::from_pem(&SigningKey::generate().unwrap(), &"a test").unwrap());
    let provenance = |digest: &Digest| Statement::new("demo", digest, predicate::PROVENANCE, serde_json::json!({}));
    let theirs = eve.sign(&[provenance(&digest), provenance(&Digest::of(b"other"))]).unwrap();
    let put = |bytes: &[u8]| {
        let referrer = attachments::referrer(&subject, bytes, predicate::PROVENANCE, "2026-01-01T00:00:00Z").unwrap();
        registry.attach(&[referrer]).unwrap();
    };
    put(&theirs[0]);
    put(&theirs[1]);
    put(&theirs[0][..40]);
    let other = Artifact::referring_to(subject.clone(), bundle::MEDIA_TYPE, b"{}", Annotations::new()).unwrap();
    registry.attach(&[other]).unwrap();
    let told = demo.xtask(&["verify"]).fails(8, "is signed by another key").stderr;
    for reason in ["it is about sha256:", "cut off"] {
        assert!(told.contains(reason), "{told}");
    }
    demo.xtask(&["release", "--strict"]).ok();
    demo.xtask(&["verify"]).ok();
    let before = demo.snapshot();
    demo.xtask(&["release"]).ok();
    assert!(demo.snapshot() == before, "ours is there: it is not said again");
    // An accepted signer's bill of materials, and of another version.
    let part = registry.platforms(&digest).unwrap().remove(0).descriptor;
    let bill = serde_json::json!({"bomFormat": "CycloneDX", "metadata": {"component": {"version": "0.9.0"}}});
    let own = Signer::of_rehearsal(&demo.published()).unwrap();
    let bundle = own.sign(&[Statement::new("demo", &part.digest, predicate::SBOM, bill)]).unwrap().remove(0);
    let referrer = attachments::referrer(&part, &bundle, predicate::SBOM, "2026-01-01T00:00:00Z").unwrap();
    registry.attach(&[referrer]).unwrap();
    demo.xtask(&["verify"]).fails(8, "signed a bill of materials that is none of 1.0.0");
}

#[test]
fn x6_i16_all_versions_are_verified_and_each_that_changed_is_named() {
    let demo = Demo::new().that_signs();
    demo.xtask(&["release"]).ok();
    demo.xtask(&["release", "minor"]).ok();
    let proofs = demo.xtask(&["verify", "--all", "--json"]).ok().json();
    assert_eq!(proofs.as_array().unwrap().len(), 2);
    let charts = local::chart_registry(&demo.published());
    let [first, second] = ["1.0.0", "1.1.0"].map(|tag| charts.resolve(tag).unwrap().unwrap());
    charts.tag(&[("1.0.0".to_owned(), second)]).unwrap();
    demo.xtask(&["verify", "1.0.0"]).fails(8, "leads to another chart than");
    charts.tag(&[("1.0.0".to_owned(), first)]).unwrap();
    let first = image(&demo, "v1.0.0");
    let of_first = format!("target/published/image/blobs/sha256/{}", first.hex());
    demo.write(&of_first, demo.read(&of_first) + " ");
    let run = demo.xtask(&["verify", "--all", "--json"]).fails(8, "demo 1.0.0 is not what users get");
    assert_eq!(run.json().as_array().unwrap().len(), 1, "the other one is as it was");
}

#[test]
fn i16_a_version_from_before_anything_was_signed_is_taken_as_it_is() {
    let demo = Demo::new();
    demo.sign_since("1.1.0");
    let report = demo.xtask(&["release", "--json"]).ok().json();
    assert_eq!(report["proof"]["signers"].as_array().unwrap().len(), 0);
    assert!(said(&demo).is_empty() && !demo.published().join(OWN_KEY).exists());
    let report = demo.xtask(&["release", "minor", "--json"]).ok().json();
    assert_eq!(report["proof"]["signers"].as_array().unwrap().len(), 1);
    demo.xtask(&["verify", "--all"]).ok();
}

#[test]
fn i16_whom_a_target_does_not_accept_signs_nothing_there() {
    let Some(production) = Production::new() else { return };
    production.demo.sign_since("1.0.0");
    production.demo.git(&["push", "--quiet"]);
    let mut nobody = production.command(&["release", "--to", "production"]);
    nobody.env_remove(SIGNING_KEY);
    let refused = Run::of(nobody).fails(4, "nothing on this machine can sign for target `production`");
    assert!(!refused.stderr.contains("Compiling"), "nobody waits for a build to be told that:\n{}", refused.stderr);
    let mut nobody = production.command(&["doctor", "--to", "production", "--json"]);
    nobody.env_remove(SIGNING_KEY);
    let found = Run::of(nobody).json();
    let signer = found.as_array().unwrap().iter().find(|one| one["what"] == "signer").unwrap();
    assert_eq!(signer["standing"], "missing", "{signer}");
    let mut stranger = production.command(&["release", "--to", "production"]);
    stranger.env(SIGNING_KEY, SigningKey::generate().unwrap());
    let refused = Run::of(stranger).fails(4, "does not accept what key ");
    assert!(refused.stderr.contains("is signed by another key"), "{}", refused.stderr);
    assert!(production.tags().is_empty() && production.versions(0).is_empty());
    production.release(&[]).ok();
    let known = production.xtask(&["verify", "--to", "production", "--json"]).ok().json();
    assert_eq!(known["signers"].as_array().unwrap().len(), 1, "{known}");
    production.demo.write("README.md", "more");
    production.demo.commit("say more");
    production.demo.git(&["push", "--quiet"]);
    let (commit, pushed) =
        (production.demo.git(&["rev-parse", "HEAD"]), git(production.origin.path(), &["rev-parse", "main"]));
    let mut nobody = production.command(&["release", "minor", "--to", "production", "--push"]);
    nobody.env_remove(SIGNING_KEY);
    Run::of(nobody).fails(4, "nothing on this machine can sign for target `production`");
    assert_eq!(production.demo.git(&["rev-parse", "HEAD"]), commit, "the version is not committed");
    assert_eq!(git(production.origin.path(), &["rev-parse", "main"]), pushed);

    // Who accepts an identity needs what judges certificates, whoever signs.
    let demo = &production.demo;
    let identity =
        "[{ issuer = \"https://issuer.example\", identity = \"https://workflow.example@refs/tags/v{version}\" }, {";
    demo.write("Cargo.toml", demo.read("Cargo.toml").replace("signers = [{", &format!("signers = {identity}")));
    let finding = |what: &str, path: &str| {
        let mut doctor = production.command(&["doctor", "--to", "production", "--json"]);
        doctor.env("PATH", path);
        let found = Run::of(doctor).json();
        let one = found.as_array().unwrap().iter().find(|one| one["what"] == what).unwrap().clone();
        (one["standing"].as_str().unwrap().to_owned(), one["detail"].as_str().unwrap().to_owned())
    };
    let judging = |path: &str| finding("cosign", path);
    let path = std::env::var("PATH").unwrap();
    let (standing, detail) = judging(&path);
    assert!(standing == "missing" && detail.contains("cosign 3.1 or later is needed"), "{standing}: {detail}");
    if let Some(cosign) = tool("cosign") {
        let (standing, detail) = judging(&format!("{path}:{}", cosign.parent().unwrap().display()));
        assert!(standing == "found" && detail.ends_with("/cosign"), "{standing}: {detail}");
    }
    let with_key = format!("signing = {{ variable = \"{SIGNING_KEY}\" }}");
    demo.write("Cargo.toml", demo.read("Cargo.toml").replace(&with_key, "signing = { keyless = true }"));
    let (standing, detail) = finding("signer", &path);
    assert!(standing == "optional" && detail.contains("nothing on this machine can sign"), "{standing}: {detail}");
}
