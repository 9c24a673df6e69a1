//! Whole runs that take long: a release that the workflow signs with nothing but its identity, at a private Sigstore; the cosign that is built
//! for that; several products, one after the other; and platforms that are compiled by jobs of their own.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::file::{Workflow, steps};
use super::runner::{Ended, Event, REPOSITORY, Runner};
use super::{STABLE, copy_tree, look, order, public, scanning, world};
use crate::products;
use crate::servers::{SIGNING_KEY, Sigstore, Whole};
use crate::support::{Run, blocks, root, tool, yaml_documents};

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
    let before = public(&whole);

    // Whoever builds has to judge what is there, and says by whom it is.
    runner.run("release.yml", &Event::tag("v1.0.0")).well("release.yml");
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

#[test]
fn x1_i1_i9_each_of_several_products_is_released_by_its_own_tag_and_all_are_looked_at_every_day() {
    let Some(whole) = world() else { return };
    let (production, runner) = (&whole.production, Runner::new(&whole));
    products::split(&production.demo, &["tool", "web"], &["db"]);
    products::without_chart(&production.demo, "tool");
    production.demo.git(&["push", "--quiet"]);
    for name in ["tool", "web"] {
        let tag = format!("{name}/v1.0.0");
        order(&whole, &tag);
        runner.run("release.yml", &Event::tag(&tag)).well("release.yml");
        let tags: Vec<String> = production.tags_of(&format!("team/{name}")).into_keys().collect();
        assert_eq!(tags, STABLE, "{name}");
    }
    let entries = &production.index(0)["entries"];
    assert_eq!(entries.as_object().unwrap().keys().collect::<Vec<_>>(), ["web"], "an image alone is not in the index");
    let assets = |tag: &str| {
        let made = runner.github.release(tag).unwrap();
        let names = made["assets"].as_array().unwrap().iter().map(|asset| asset["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let of_image = ["release.json", "sbom-linux-amd64.cdx.json", "sbom-linux-arm64.cdx.json"];
    assert_eq!(assets("tool/v1.0.0"), of_image);
    assert_eq!(assets("web/v1.0.0"), [&of_image[..], &["web-1.0.0.tgz"]].concat());
    order(&whole, "db/v1.0.0");
    let by_hand = Event::by_hand_at("db/v1.0.0", &[("version", "db/1.0.0")]);
    runner.run("release-chart.yml", &by_hand).well("release-chart.yml");

    let outcome = look(&runner, &["tool=CVE-2026-0013=CRITICAL"]);
    outcome.badly("scan", "Scan", "tool 1.0.0, linux/arm64: CVE-2026-0013 in tool 1.0.0", &["tell"]);
    assert_eq!((&outcome.jobs["verify"], &outcome.jobs["findings"]), (&Ended::Well, &Ended::Well));
    assert_eq!(runner.github.open_issues(), ["CVE-2026-0013 in tool of tool"]);
    let shown: BTreeSet<String> = runner.scanning.runs().iter().map(scanning::category).collect();
    let expected = ["tool/linux-amd64", "tool/linux-arm64", "web/linux-amd64", "web/linux-arm64"];
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), expected.map(|name| format!("image/{name}")));
}

/// The image's workflow, changed as the documentation says.
fn split_by_platform() -> Workflow {
    let mut image = Workflow::read("release-image.yml");
    let page = std::fs::read_to_string(root().join("docs/releasing.md")).unwrap();
    let section = page.split_once("## Where one machine is not enough\n").unwrap().1;
    let blocks: Vec<Value> = blocks(section, "yaml").flat_map(yaml_documents).take(2).collect();
    let (compiling, steps) = (blocks[0].as_object().unwrap(), blocks[1].as_array().unwrap());
    let mut build = image.value["jobs"]["build"].clone();
    build["needs"] = json!(["amd64", "arm64", "cosign"]);
    let old = build["steps"].as_array().unwrap().clone();
    let new = old.iter().flat_map(|step| match step["name"].as_str() {
        Some("Get what compiles for both platforms") => steps[..2].to_vec(),
        Some("Build") => steps[2..].to_vec(),
        _ => vec![step.clone()],
    });
    build["steps"] = new.collect();
    let jobs = image.value["jobs"].as_object_mut().unwrap();
    let (first, rest): (Vec<_>, Vec<_>) =
        std::mem::take(jobs).into_iter().partition(|(id, _)| ["xtask", "cosign"].contains(&id.as_str()));
    jobs.extend(first);
    jobs.extend(compiling.clone());
    jobs.extend(rest);
    jobs["build"] = build;
    image
}

#[test]
fn x1_i15_platforms_that_jobs_of_their_own_compile_make_the_image_that_one_job_makes() {
    let compiling = std::fs::read_to_string(root().join("docs/compile.yml")).unwrap();
    let kept = Workflow::read("release-image.yml").text;
    for line in compiling.lines().filter(|line| line.contains("uses: actions/") || line.contains("RUST: ")) {
        assert!(kept.contains(line), "the documentation lags behind the workflow: {line}");
    }
    let Some(whole) = world() else { return };
    order(&whole, "v1.0.0");
    let mut runner = Runner::new(&whole);
    let compiling =
        Workflow { name: "compile.yml".into(), value: serde_yaml::from_str(&compiling).unwrap(), text: compiling };
    runner.instead = vec![split_by_platform(), compiling];
    let split = runner.run("release.yml", &Event::tag("v1.0.0"));
    for job in
        ["image/amd64/compile", "image/arm64/compile", "image/build", "image/rebuild", "image/push", "chart/chart"]
    {
        assert_eq!(split.jobs[job], Ended::Well, "{job}: {:?}", split.jobs);
    }
    let before = public(&whole);
    let again = runner.run("release.yml", &Event::tag("v1.0.0"));
    assert_eq!(
        (&again.jobs["image/arm64/compile"], &again.jobs["image/build"]),
        (&Ended::Well, &Ended::Well),
        "{:?}",
        again.jobs
    );
    assert!(public(&whole) == before, "the second adopts");
}
