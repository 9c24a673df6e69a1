//! The workflows, run: each job's commands as they are written, with the environment of a tag, of a published release, of a
//! pre-release, by hand and by the clock, against the servers of this machine; and what the files themselves must say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod file;
mod runner;

use file::{Workflow, steps};
use runner::{Ended, Event, Runner};

use crate::servers::{Account, STACK, Whole};
use crate::support::{git, root};

const RELEASED: [&str; 5] = ["chart/chart", "image/build", "image/findings", "image/push", "image/scan"];
const STABLE: [&str; 5] = ["1", "1.0", "1.0.0", "latest", "v1.0.0"];

/// Production with a scanner that knows nothing bad.
fn world() -> Option<Whole> {
    let whole = Whole::new()?;
    whole.laboratory.know(&[], 1);
    Some(whole)
}

/// Sets a tag at the commit that is checked out, and pushes it.
fn order(whole: &Whole, tag: &str) {
    let demo = &whole.production.demo;
    demo.git(&["tag", tag]);
    demo.git(&["push", "--quiet", "origin", tag]);
}

/// Commits a version, and pushes it.
fn bump(whole: &Whole, version: &str) {
    let run = whole.production.xtask(&["release", "bump", version, "--to", "production"]);
    run.fails(13, "is not on `main` of `origin` yet");
    whole.production.demo.git(&["push", "--quiet"]);
}

/// Everything that users could see.
fn public(whole: &Whole) -> (BTreeMap<String, Vec<u8>>, BTreeMap<String, String>) {
    (whole.production.objects(), whole.production.tags())
}

fn tags(whole: &Whole) -> Vec<String> {
    whole.production.tags().into_keys().collect()
}

#[test]
fn x1_i1_x3_a_tag_releases_and_a_published_release_of_it_then_changes_nothing() {
    let Some(whole) = world() else { return };
    let runner = Runner::new(&whole);
    order(&whole, "v1.0.0");
    runner.run("release.yml", &Event::tag("v1.0.0")).well(&RELEASED);
    assert_eq!(tags(&whole), STABLE);
    assert_eq!(whole.production.versions(0), ["1.0.0"]);
    let digest = &whole.production.tags()["latest"];
    assert_eq!(*runner.attested.lock().unwrap(), std::slice::from_ref(digest), "what was pushed is what is attested");
    assert_eq!(runner.findings.lock().unwrap().len(), 2, "a report for each platform");
    let installed = runner.installed.lock().unwrap().clone();
    for line in
        ["sudo apt-get update\n", "rustup target add aarch64-unknown-linux-gnu\n", "cargo install cargo-auditable"]
    {
        assert!(installed.contains(line), "{installed}");
    }
    let (before, written) = (public(&whole), whole.production.store.versions("index.yaml"));
    runner.github.publish("v1.0.0", false);
    runner.run("release.yml", &Event::release("v1.0.0", false)).well(&RELEASED);
    assert!(public(&whole) == before, "the second adopts");
    assert_eq!(whole.production.store.versions("index.yaml"), written);
    assert_eq!(git(whole.production.origin.path(), &["tag"]), "v1.0.0");
}

#[test]
fn i13_a_prerelease_with_the_tick_gets_its_own_tags_and_no_others() {
    let Some(whole) = world() else { return };
    bump(&whole, "1.1.0-rc.1");
    order(&whole, "v1.1.0-rc.1");
    let runner = Runner::new(&whole);
    runner.github.publish("v1.1.0-rc.1", true);
    runner.run("release.yml", &Event::release("v1.1.0-rc.1", true)).well(&RELEASED);
    assert_eq!(tags(&whole), ["1.1.0-rc.1", "v1.1.0-rc.1"]);
    let entry = &whole.production.index(0)["entries"]["demo"][0];
    assert_eq!(entry["annotations"]["artifacthub.io/prerelease"], "true");
}

#[test]
fn i13_x4_a_tick_or_a_tag_that_disagrees_with_the_version_stops_the_run_before_anything() {
    let Some(whole) = world() else { return };
    let before = public(&whole);
    let runner = Runner::new(&whole);
    let refused = |event: &Event, words: &str| {
        let skipped = ["image/scan", "image/findings", "image/push", "chart"];
        runner.run("release.yml", event).badly("image/build", "Build", words, &skipped);
        assert!(public(&whole) == before);
    };
    order(&whole, "v1.0.0");
    runner.github.publish("v1.0.0", true);
    let hidden = "1.0.0 is not a pre-release, and GitHub's release of v1.0.0 has the tick";
    refused(&Event::release("v1.0.0", true), hidden);
    refused(&Event::tag("v1.0.0"), hidden);
    order(&whole, "v1.0.1");
    refused(&Event::tag("v1.0.1"), "the tag is v1.0.1, and the tree's version 1.0.0");
    bump(&whole, "1.1.0-rc.1");
    order(&whole, "v1.1.0-rc.1");
    runner.github.publish("v1.1.0-rc.1", false);
    refused(
        &Event::release("v1.1.0-rc.1", false),
        "1.1.0-rc.1 is a pre-release, and GitHub's release of v1.1.0-rc.1 lacks",
    );
    // A run that is started again has the event of the first time, and the release as it is now.
    runner.github.publish("v1.1.0-rc.1", true);
    runner.run("release.yml", &Event::release("v1.1.0-rc.1", false)).well(&RELEASED);
}

#[test]
fn x3_i12_by_hand_the_image_and_then_the_chart_are_released_from_main() {
    let Some(whole) = world() else { return };
    let runner = Runner::new(&whole);
    let version = [("version", "1.0.0")];
    runner.run("release-image.yml", &Event::by_hand(&version)).well(&["build", "findings", "push", "scan"]);
    assert_eq!(tags(&whole), ["1.0.0", "v1.0.0"], "what follows the index waits for it");
    assert!(whole.production.versions(0).is_empty());
    runner.run("release-chart.yml", &Event::by_hand(&version)).well(&["chart"]);
    assert_eq!(tags(&whole), STABLE);
    assert_eq!(whole.production.versions(1), ["1.0.0"]);
}

#[test]
fn i7_i9_x4_a_critical_finding_stops_the_run_and_reaches_the_security_tab() {
    let Some(whole) = world() else { return };
    whole.laboratory.know(&["demo=CVE-2026-0003=CRITICAL"], 1);
    let before = public(&whole);
    let runner = Runner::new(&whole);
    order(&whole, "v1.0.0");
    let outcome = runner.run("release.yml", &Event::tag("v1.0.0"));
    outcome.badly("image/scan", "Scan", "CVE-2026-0003 in demo 1.0.0", &["image/push", "chart"]);
    assert_eq!(outcome.jobs["image/findings"], Ended::Well);
    let findings = runner.findings.lock().unwrap();
    assert!(findings.iter().all(|report| report.to_string().contains("CVE-2026-0003")) && findings.len() == 2);
    assert!(public(&whole) == before);
}

#[test]
fn x6_every_day_verify_looks_as_a_user_without_credentials() {
    let Some(whole) = world() else { return };
    let runner = Runner::new(&whole);
    // Nobody is woken because nothing was released yet, or because a version is on its way.
    runner.run("verify.yml", &Event::schedule()).well(&["verify"]);
    order(&whole, "v1.0.0");
    runner.run("release.yml", &Event::tag("v1.0.0")).well(&RELEASED);
    bump(&whole, "1.1.0");
    runner.run("verify.yml", &Event::schedule()).well(&["verify"]);
    whole.production.registry.make_private(true);
    runner.run("verify.yml", &Event::schedule()).badly("verify", "Verify", "exit code Some(8)", &[]);
    whole.production.registry.make_private(false);
    runner.run("verify.yml", &Event::by_hand(&[("version", "v1.0.0")])).well(&["verify"]);
}

#[test]
fn i9_a_trivy_of_other_bytes_is_not_run() {
    let Some(whole) = world() else { return };
    let mut runner = Runner::new(&whole);
    let job = &Workflow::read("release-image.yml").value["jobs"]["scan"]["env"]["TRIVY_SHA256"];
    runner.trivy_sha256 = job.as_str().unwrap().into();
    order(&whole, "v1.0.0");
    let outcome = runner.run("release.yml", &Event::tag("v1.0.0"));
    let skipped = ["image/push", "chart"];
    outcome.badly("image/scan", "Get Trivy and its database", "computed checksum did NOT match", &skipped);
    assert!(tags(&whole).is_empty());
}

#[test]
fn h8_a_pull_request_is_planned_without_a_role_and_from_cold_packages_in_less_than_a_minute() {
    const LIMIT: Duration = Duration::from_secs(60);
    let Some(account) = Account::new() else { return };
    account.forget_packages();
    let origin = tempfile::tempdir().unwrap();
    account.push_to(origin.path());
    let runner = Runner::in_account(&account, origin.path());
    let outcome = runner.run("deploy-infrastructure.yml", &Event::pull_request());
    assert_eq!(outcome.jobs["plan"], Ended::Well);
    assert_eq!(outcome.jobs["deploy"], Ended::Skipped, "a pull request gets no role");
    assert_eq!(account.status(), None);
    let took = runner.took("Plan");
    println!("cold npm ci and synth: {:.1} s", took.as_secs_f64());
    assert!(took < LIMIT, "{took:?}");
}

#[test]
fn h9_h10_a_change_on_main_is_deployed_and_the_same_commit_again_changes_nothing() {
    let Some(account) = Account::new() else { return };
    let origin = tempfile::tempdir().unwrap();
    account.push_to(origin.path());
    // The very first deployment comes from a laptop: there is no role yet that a workflow could take.
    account.deploy(&[]).ok();
    let trusts_the_repository = || account.cloudformation.template(STACK).to_string().contains("987654321");
    assert!(!trusts_the_repository());
    let runner = Runner::in_account(&account, origin.path());
    let workflow = "deploy-infrastructure.yml";
    let deployed = [("deploy", Ended::Well), ("plan", Ended::Skipped)].map(|(job, ended)| (job.to_owned(), ended));
    assert_eq!(runner.run(workflow, &Event::push()).jobs, BTreeMap::from(deployed.clone()));
    assert!(trusts_the_repository(), "a workflow knows the repository's number");
    let writes = account.cloudformation.writes();
    assert_eq!(runner.run(workflow, &Event::by_hand(&[])).jobs, BTreeMap::from(deployed));
    assert_eq!(account.cloudformation.writes(), writes);
}

/// The jobs that the tests above run.
const RUN: [&str; 10] = [
    "deploy-infrastructure.yml deploy",
    "deploy-infrastructure.yml plan",
    "release-chart.yml chart",
    "release-image.yml build",
    "release-image.yml findings",
    "release-image.yml push",
    "release-image.yml scan",
    "release.yml chart",
    "release.yml image",
    "verify.yml verify",
];
/// CI's own is what runs this very test.
const NOT_RUN: [(&str, &str, &str); 1] = [("ci.yml", "check", "cargo xtask ci")];

#[test]
fn every_job_is_run_by_a_test_or_says_just_one_command_that_another_test_runs() {
    let all = Workflow::all();
    let jobs = all.iter().flat_map(|workflow| workflow.jobs().map(|(id, _)| format!("{} {id}", workflow.name)));
    let jobs: BTreeSet<String> = jobs.collect();
    let others = NOT_RUN.map(|(workflow, job, _)| format!("{workflow} {job}"));
    let known: BTreeSet<String> = RUN.map(str::to_owned).into_iter().chain(others).collect();
    assert_eq!(jobs, known);
    for (workflow, job, command) in NOT_RUN {
        let workflow = Workflow::read(workflow);
        let mut commands = steps(&workflow.value["jobs"][job]).iter().filter_map(|step| step["run"].as_str());
        assert!(commands.any(|said| said.ends_with(command)), "{command}");
    }
}

/// Each action, the tag that people know it by, and the commit that the tag was at when it was read. An update by Dependabot
/// changes both lines: whoever reviews it looks the new commit up.
const PINS: [(&str, &str, &str); 13] = [
    ("Swatinem/rust-cache", "v2.9.2", "6323deb102c322ba6fcbdcafc7e3dddab59af2b6"),
    ("actions/attest", "v4.2.2", "1e69f48acb82d1966a394da916b4c1698aa569d6"),
    ("actions/cache", "v5.0.5", "27d5ce7f107fe9357f9df03efb73ab90386fccae"),
    ("actions/checkout", "v7.0.1", "3d3c42e5aac5ba805825da76410c181273ba90b1"),
    ("actions/download-artifact", "v8.0.1", "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c"),
    ("actions/setup-go", "v7.0.0", "b7ad1dad31e06c5925ef5d2fc7ad053ef454303e"),
    ("actions/setup-node", "v7.0.0", "820762786026740c76f36085b0efc47a31fe5020"),
    ("actions/setup-python", "v7.0.0", "5fda3b95a4ea91299a34e894583c3862153e4b97"),
    ("actions/upload-artifact", "v7.0.0", "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f"),
    ("aws-actions/configure-aws-credentials", "v6.2.3", "e6de054238d6b7531b4efff3b6587d9aade6a06c"),
    ("crazy-max/ghaction-github-runtime", "v4.0.0", "04d248b84655b509d8c44dc1d6f990c879747487"),
    ("docker/setup-buildx-action", "v4.3.0", "37fe631027851001ddb9b187196cc803df7f5f0e"),
    ("github/codeql-action/upload-sarif", "v4.36.2", "8aad20d150bbac5944a9f9d289da16a4b0d87c1e"),
];

#[test]
fn every_action_is_at_the_commit_that_was_pinned_and_names_its_tag() {
    let all = Workflow::all();
    let lines = all.iter().flat_map(|workflow| workflow.text.lines().filter_map(|line| line.split_once("uses: ")));
    let used: BTreeSet<&str> = lines.map(|(_, used)| used).filter(|used| !used.starts_with("./")).collect();
    let pinned = PINS.map(|(action, tag, commit)| format!("{action}@{commit} # {tag}"));
    assert_eq!(used, pinned.iter().map(String::as_str).collect());
}

#[test]
fn i4_each_job_has_the_rights_that_the_guide_lists_and_nothing_has_any_by_default() {
    let mut expected = Vec::new();
    for workflow in Workflow::all() {
        assert_eq!(workflow.value["permissions"], serde_json::json!({}), "{}", workflow.name);
        for (id, job) in workflow.jobs() {
            let rights = file::scalars(&job["permissions"]).into_iter().map(|(name, level)| format!("{name}: {level}"));
            let rights = rights.collect::<Vec<_>>().join(", ");
            let environment = job["environment"].as_str().unwrap_or_default();
            expected.push(format!("| `{}` | `{id}` | {environment} | {rights} |", workflow.name));
        }
    }
    let guide = std::fs::read_to_string(root().join("docs/workflows.md")).unwrap();
    let listed: Vec<&str> =
        guide.lines().filter(|line| line.starts_with("| `") && line.matches("| `").count() == 2).collect();
    assert_eq!(listed, expected);
}

#[test]
fn i9_the_scans_job_has_no_right_no_secret_no_environment_and_no_token() {
    let image = Workflow::read("release-image.yml");
    let scan = &image.value["jobs"]["scan"];
    assert_eq!((&scan["permissions"], &scan["environment"]), (&serde_json::json!({}), &serde_json::Value::Null));
    for word in ["secrets.", "github.token", "GITHUB_TOKEN", "configure-aws-credentials", "cache"] {
        assert!(!scan.to_string().contains(word), "{word}");
    }
}

#[test]
fn every_checkout_keeps_no_credentials_and_every_release_sees_the_whole_history() {
    for workflow in Workflow::all() {
        for (id, job) in workflow.jobs() {
            let is_checkout = |step: &&serde_json::Value| {
                step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/checkout@"))
            };
            let releases = job.to_string().contains("cargo xtask release");
            for checkout in steps(job).iter().filter(is_checkout) {
                assert_eq!(checkout["with"]["persist-credentials"], false, "{id} of {}", workflow.name);
                assert!(!releases || checkout["with"]["fetch-depth"] == 0, "{id} of {}", workflow.name);
            }
        }
    }
}

#[test]
fn i6_a_build_takes_over_what_the_compiler_and_buildx_kept_of_earlier_ones() {
    let image = Workflow::read("release-image.yml");
    let uses =
        |step: &serde_json::Value| step["uses"].as_str().unwrap_or_default().split('@').next().unwrap().to_owned();
    let steps = steps(&image.value["jobs"]["build"]);
    let build = steps.iter().position(|step| step["name"] == "Build").unwrap();
    let before: Vec<String> = steps[..build].iter().map(uses).collect();
    // The second one hands buildx what GitHub's cache wants; that buildx is then told to use it, `image/buildx.rs` tests.
    for action in ["Swatinem/rust-cache", "crazy-max/ghaction-github-runtime", "docker/setup-buildx-action"] {
        assert!(before.contains(&action.to_owned()), "{action}: {before:?}");
    }
}

#[test]
fn x5_releases_of_one_version_wait_for_each_other_and_are_never_cancelled() {
    let group = &Workflow::read("release.yml").value["concurrency"];
    assert_eq!(group["group"], "release-${{ github.ref_name }}");
    assert_eq!(group["cancel-in-progress"], false);
    for called in ["release-image.yml", "release-chart.yml"] {
        assert!(Workflow::read(called).value["concurrency"].is_null(), "{called} would wait for its caller");
    }
}
