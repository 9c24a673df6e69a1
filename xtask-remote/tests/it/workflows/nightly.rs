//! What signs, in earnest: a release that the workflow signs with nothing but its identity, at a private Sigstore, and the cosign that is built
//! for that.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::path::Path;
use std::process::Command;

use super::file::{Workflow, steps};
use super::runner::{Event, REPOSITORY, Runner};
use super::{copy_tree, order, public, told, world};
use crate::servers::{SIGNING_KEY, Sigstore, Whole};
use crate::support::{Run, root, tool};

/// From now on the workflow that pushes the image is the signer of production, as in this workspace's own manifest.
fn signed_by_the_workflow(whole: &Whole, sigstore: &Sigstore) {
    let demo = &whole.production.demo;
    let manifest = demo.read("Cargo.toml");
    let named = manifest.find("signers = [{ key =").unwrap();
    let end = manifest[named..].find("\nsigning = ").unwrap() + named + 1;
    let end = manifest[end..].find('\n').unwrap() + end + 1;
    assert!(manifest[named..end].contains(SIGNING_KEY), "{}", &manifest[named..end]);
    let identity =
        format!("https://github.com/{REPOSITORY}/.github/workflows/release-image.yml@refs/tags/v{{version}}");
    let keyless = format!(
        "signers = [{{ issuer = \"{}\", identity = \"{identity}\" }}]\nsigning = {{ keyless = true, services = \"{}\" }}\n\
         trusted-root = \"{}\"\n",
        sigstore.issuer,
        sigstore.services.display(),
        sigstore.trusted_root.display(),
    );
    demo.write("Cargo.toml", format!("{}{keyless}{}", &manifest[..named], &manifest[end..]));
    demo.commit("let the workflow sign");
    demo.git(&["push", "--quiet"]);
}

#[test]
fn i16_x3_x6_the_workflow_signs_by_its_identity_alone_and_a_second_run_and_the_daily_look_judge_that() {
    let (Some(sigstore), Some(whole)) = (Sigstore::shared(), world()) else { return };
    signed_by_the_workflow(&whole, sigstore);
    let mut runner = Runner::new(&whole);
    runner.sigstore = Some(sigstore);
    order(&whole, "v1.0.0");
    runner.run("release.yml", &Event::tag("v1.0.0")).well("release.yml");
    let built = |told: &[String]| {
        let builds = told.iter().filter_map(|line| line.split_once(": go build ")).map(|(job, _)| job.to_owned());
        builds.collect::<Vec<_>>()
    };
    assert_eq!(built(&told(&runner)), ["compile", "compile"], "there was nothing to judge");
    let before = public(&whole);

    // Whoever builds has to judge what is there, and says by whom it is.
    runner.run("release.yml", &Event::tag("v1.0.0")).well("release.yml");
    assert_eq!(built(&told(&runner)), ["compile", "build", "rebuild", "compile"]);
    assert!(public(&whole) == before, "the second adopts");
    runner.run("verify.yml", &Event::schedule()).well("verify.yml");

    // Where another workflow is the accepted one, what this one signed counts for nothing.
    let demo = &whole.production.demo;
    demo.write("Cargo.toml", demo.read("Cargo.toml").replace("release-image.yml@refs/tags/", "other.yml@refs/tags/"));
    demo.commit("accept another workflow");
    demo.git(&["push", "--quiet"]);
    let outcome = runner.run("verify.yml", &Event::schedule());
    outcome.badly("verify", "Verify", "no matching CertificateIdentity found", &[]);
}

/// A copy of the lock, and what the job's own step says when it builds from it, by the Go of this machine; with it, what it built.
fn build(change: impl FnOnce(&Path)) -> (tempfile::TempDir, Run) {
    let work = tempfile::tempdir().unwrap();
    let lock = work.path().join(".github/cosign");
    std::fs::create_dir_all(&lock).unwrap();
    copy_tree(&root().join(".github/cosign"), &lock);
    change(&lock);
    let job = &Workflow::read("cosign.yml").value["jobs"]["compile"];
    let step = steps(job).iter().find(|step| step["id"] == "compile").unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-e", "-o", "pipefail", "-c", step["run"].as_str().unwrap()]).current_dir(work.path());
    bash.env("GITHUB_OUTPUT", work.path().join("output"));
    let run = Run::of(bash);
    (work, run)
}

#[test]
fn i16_the_cosign_of_the_workflows_is_built_by_their_own_command_and_knows_its_version() {
    let Some(tested) = tool("cosign") else { return };
    let (work, run) = build(|_| ());
    run.ok();
    let built = work.path().join("target/xtask/bin/cosign");
    let version = |program: &Path| {
        let mut ask = Command::new(program);
        ask.args(["version", "--json"]);
        Run::of(ask).ok().json()["gitVersion"].clone()
    };
    assert_eq!(version(&built), version(&tested), "the tests run the same");
    let output = std::fs::read_to_string(work.path().join("output")).unwrap();
    let digest = xtask::oci::sha256_hex(&std::fs::read(&built).unwrap());
    assert_eq!(output, format!("sha256={digest}\n"));
}

#[test]
fn i16_no_module_is_built_that_is_not_the_one_of_the_lock() {
    let change = |to: &'static str| {
        move |lock: &Path| {
            let path = lock.join("go.sum");
            let sums = std::fs::read_to_string(&path).unwrap();
            let is_cosigns =
                |line: &&str| line.starts_with("github.com/sigstore/cosign/v3 ") && !line.contains("/go.mod ");
            let line = sums.lines().find(is_cosigns).unwrap();
            let (module, hash) = line.split_once(" h1:").unwrap();
            let other = to.replace("MODULE", module).replace("HASH", hash);
            std::fs::write(path, sums.replace(line, &other)).unwrap();
        }
    };
    build(change("MODULE h1:AAAAHASH")).1.fails(1, "checksum mismatch");
    build(change("example.com/other v1.0.0 h1:HASH")).1.fails(1, "missing go.sum entry");
}
