//! The workflows, run: each job's commands as they are written, with the environment of a tag, of a published release, of a
//! pre-release, by hand and by the clock, against the servers of this machine; and what the files themselves must say.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

mod actions;
mod artifacts;
mod caches;
mod expression;
mod file;
mod glob;
mod nightly;
mod poisonings;
mod programs;
mod runner;
mod scanning;
mod used;

use artifacts::Artifacts;
use caches::{Caches, Places, Scopes};
use file::{Workflow, steps};
pub use runner::processor_time;
use runner::{Ended, Event, Runner};
use scanning::CodeScanning;

use crate::folders::copy_tree;
use crate::products;
use crate::servers::{Account, Fault, STACK, When, Whole};
use crate::support::{documented, git, root, tool, wait_until};

/// The issue that the daily look opens.
const ISSUE: &str = "What users get is not what was released, or is not safe any more";
const STABLE: [&str; 5] = ["1", "1.0", "1.0.0", "latest", "v1.0.0"];

/// Production with a scanner that knows nothing bad, and a workspace that has the lock of what signs.
fn world() -> Option<Whole> {
    tool("cosign")?;
    let whole = Whole::new()?;
    whole.laboratory.know(&[], 1);
    let demo = &whole.production.demo;
    std::fs::create_dir_all(demo.root().join(".github/cosign")).unwrap();
    copy_tree(&root().join(".github/cosign"), &demo.root().join(".github/cosign"));
    demo.commit("build what signs");
    demo.git(&["push", "--quiet"]);
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
    whole.production.demo.show_page();
    whole.production.demo.git(&["push", "--quiet"]);
    let runner = Runner::new(&whole);
    order(&whole, "v1.0.0");
    runner.run("release.yml", &Event::tag("v1.0.0")).well("release.yml");
    assert_eq!(tags(&whole), STABLE);
    assert_eq!(whole.production.versions(0), ["1.0.0"]);
    let page = String::from_utf8(whole.production.edge.get(0, "/index.html").is(200).body).unwrap();
    assert!(page.contains("id=\"1.0.0\""), "the chart's job writes the page once the index lists it: {page}");
    let digest = &whole.production.tags()["latest"];
    assert_eq!(*runner.attested.lock().unwrap(), std::slice::from_ref(digest), "what was pushed is what is attested");
    let categories: Vec<String> = runner.scanning.runs().iter().map(scanning::category).collect();
    assert_eq!(categories, ["image/linux-amd64", "image/linux-arm64"], "a report for each platform");
    let told = runner.told.lock().unwrap().clone();
    for line in
        ["sudo apt-get update\n", "rustup target add aarch64-unknown-linux-gnu ", "cargo install cargo-auditable"]
    {
        assert!(told.contains(line), "{told}");
    }
    let builds: Vec<&str> = told.lines().filter(|line| line.contains(": go build ")).collect();
    assert_eq!(builds.len(), 2, "one cosign each for image and chart: {builds:?}");
    let made = runner.github.release("v1.0.0").unwrap();
    assert_eq!((&made["draft"], &made["prerelease"], &made["name"]), (&false.into(), &false.into(), &"v1.0.0".into()));
    assert_eq!(made["body"], "### Added\n\n- The demo.");
    let archive = &whole.production.objects()["demo-1.0.0.tgz"];
    let asset = |name: &str| made["assets"].as_array().unwrap().iter().find(|asset| asset["name"] == name).cloned();
    assert_eq!(asset("demo-1.0.0.tgz").unwrap()["digest"], format!("sha256:{}", xtask::oci::sha256_hex(archive)));
    let record: serde_json::Value =
        serde_json::from_str(asset("release.json").unwrap()["text"].as_str().unwrap()).unwrap();
    assert!(record["scan"]["scanner"].as_str().unwrap().contains("Trivy"), "{record}");
    let (before, written) = (public(&whole), whole.production.store.versions("index.yaml"));
    // Somebody writes the page by hand: what is said there stays, and what is missing beside it comes.
    runner.github.publish("v1.0.0", false);
    runner.github.describe("v1.0.0", "By hand.");
    runner.run("release.yml", &Event::release("v1.0.0", false)).well("release.yml");
    assert!(public(&whole) == before, "the second adopts");
    assert_eq!(whole.production.store.versions("index.yaml"), written);
    let filled = runner.github.release("v1.0.0").unwrap();
    assert_eq!(
        (&filled["body"], filled["assets"].as_array().unwrap().len()),
        (&"By hand.".into(), 4),
        "a bill of materials for each platform, too"
    );
    assert_eq!(git(whole.production.origin.path(), &["tag"]), "v1.0.0");
    runner.used.lock().unwrap().assert_whole("publish", |_| true);
}

/// What ended well of a run, without the look for a proof, and what was skipped.
fn ended(outcome: &runner::Outcome) -> (Vec<&str>, Vec<&str>) {
    let of = |wanted: Ended| {
        let jobs = outcome.jobs.iter().filter(move |(job, ended)| **ended == wanted && !job.starts_with("prove/"));
        jobs.map(|(job, _)| job.as_str()).collect()
    };
    (of(Ended::Well), of(Ended::Skipped))
}

const CHART_ALONE: [&str; 5] =
    ["chart-alone/chart", "chart-alone/cosign/compile", "chart-alone/page", "chart-alone/xtask/compile", "product"];

#[test]
fn x1_h2_the_tag_of_a_chart_without_an_image_releases_it_and_builds_nothing() {
    let Some(whole) = world() else { return };
    let (production, runner) = (&whole.production, Runner::new(&whole));
    products::split(&production.demo, &["web"], &["db"]);
    production.demo.git(&["push", "--quiet"]);
    order(&whole, "db/v1.0.0");
    let outcome = runner.run("release.yml", &Event::tag("db/v1.0.0"));
    assert_eq!(ended(&outcome), (CHART_ALONE.to_vec(), vec!["chart", "image"]), "{:?}", outcome.jobs);
    let index = production.index(0);
    assert_eq!(index["entries"]["db"][0]["version"], "1.0.0");
    let record: serde_json::Value = serde_json::from_slice(&production.objects()["db-1.0.0.json"]).unwrap();
    assert_eq!(record["signers"].as_array().unwrap().len(), 1, "the chart's own job signs it");
    let made = runner.github.release("db/v1.0.0").unwrap();
    let assets = made["assets"].as_array().unwrap().iter().map(|asset| asset["name"].as_str().unwrap());
    assert_eq!(assets.collect::<Vec<_>>(), ["db-1.0.0.tgz", "release.json"]);
    order(&whole, "nobody/v1.0.0");
    let outcome = runner.run("release.yml", &Event::tag("nobody/v1.0.0"));
    outcome.badly("product", "Look", "no product is called", &["image", "chart", "chart-alone"]);
}

#[test]
fn i13_a_prerelease_with_the_tick_gets_its_own_tags_and_no_others() {
    let Some(whole) = world() else { return };
    bump(&whole, "1.1.0-rc.1");
    order(&whole, "v1.1.0-rc.1");
    let runner = Runner::new(&whole);
    runner.github.publish("v1.1.0-rc.1", true);
    runner.run("release.yml", &Event::release("v1.1.0-rc.1", true)).well("release.yml");
    assert_eq!(tags(&whole), ["1.1.0-rc.1", "v1.1.0-rc.1"]);
    let record = &whole.production.objects()["demo-1.1.0-rc.1.json"];
    let record: serde_json::Value = serde_json::from_slice(record).unwrap();
    assert_eq!(record["entry"]["annotations"]["artifacthub.io/prerelease"], "true");
}

#[test]
fn i13_x4_a_tick_or_a_tag_that_disagrees_with_the_version_or_a_check_that_fails_stops_the_run_before_anything() {
    let Some(whole) = world() else { return };
    let before = public(&whole);
    let mut unproven = Runner::new(&whole);
    unproven.ci_ends_with = 1;
    order(&whole, "v1.0.0");
    let outcome = unproven.run("release.yml", &Event::tag("v1.0.0"));
    outcome.badly("prove/all", "cargo xtask ci --all", "exit code Some(1)", &["image", "chart"]);
    let runner = Runner::new(&whole);
    let refused = |event: &Event, words: &str| {
        let skipped = ["image/scan", "image/findings", "image/push", "chart"];
        let outcome = runner.run("release.yml", event);
        outcome.badly("image/build", "Build", words, &skipped).badly("image/rebuild", "Build", words, &[]);
        assert!(public(&whole) == before);
    };
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
    runner.run("release.yml", &Event::release("v1.1.0-rc.1", false)).well("release.yml");
}

#[test]
fn x3_i12_by_hand_the_image_and_then_the_chart_are_released_at_the_versions_tag() {
    let Some(whole) = world() else { return };
    let runner = Runner::new(&whole);
    order(&whole, "v1.0.0");
    let by_hand = Event::by_hand_at("v1.0.0", &[("version", "1.0.0")]);
    runner.run("release-image.yml", &by_hand).well("release-image.yml");
    assert_eq!(tags(&whole), ["1.0.0", "v1.0.0"], "what follows the index waits for it");
    assert!(whole.production.versions(0).is_empty());
    runner.github.publish("v1.0.0", false);
    runner.github.make_immutable();
    let outcome = runner.run("release-chart.yml", &by_hand);
    let Ended::Forgiven(step, said) = &outcome.jobs["page"] else { panic!("{outcome:?}") };
    assert!(step == "Write the page" && said.contains("immutable release"), "{step}: {said}");
    assert_eq!(outcome.jobs["chart"], Ended::Well, "users have the version all the same");
    assert_eq!(tags(&whole), STABLE);
    assert_eq!(whole.production.versions(1), ["1.0.0"]);
}

#[test]
fn x4_h7_i7_where_no_cache_can_be_told_every_tag_waits_for_what_users_see_and_the_page_says_so() {
    let Some(whole) = world() else { return };
    let production = &whole.production;
    let runner = Runner::new(&whole);
    order(&whole, "v1.0.0");
    assert!(production.versions(0).is_empty(), "the cache keeps the index that users have");
    let invalidations = When::asked("POST", "").test(|asked| asked.path.ends_with("/invalidation"));
    production.cloudfront.proxy.faults().inject(invalidations, Fault::Status(403));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let users = scope.spawn(|| {
            let in_bucket = || String::from_utf8_lossy(&production.objects()["index.yaml"]).contains("demo-1.0.0.tgz");
            // A run that failed lists nothing any more.
            wait_until(Duration::from_secs(240), || is_over.load(Ordering::SeqCst) || in_bucket());
            if is_over.load(Ordering::SeqCst) {
                return;
            }
            // Long enough for all that a run does which does not wait.
            std::thread::sleep(Duration::from_secs(5));
            assert_eq!(tags(&whole), ["1.0.0", "v1.0.0"], "no user finds the version yet");
            assert!(production.versions(0).is_empty());
            production.edge.advance(Duration::from_secs(301));
        });
        let outcome = runner.run("release.yml", &Event::tag("v1.0.0"));
        is_over.store(true, Ordering::SeqCst);
        outcome.well("release.yml");
        users.join().unwrap();
    });
    assert_eq!(tags(&whole), STABLE);
    let page = runner.summary.lock().unwrap().clone();
    for part in ["The caches could not be told of the new index.yaml", "### Users get 1.0.0 from", "| image | `"] {
        assert!(page.contains(part), "{part} is not on the page:\n{page}");
    }
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
    let findings = runner.scanning.runs();
    assert!(findings.iter().all(|report| report.to_string().contains("CVE-2026-0003")) && findings.len() == 2);
    assert!(public(&whole) == before);
}

#[test]
fn x6_every_day_verify_looks_as_a_user_without_credentials() {
    let Some(whole) = world() else { return };
    let runner = Runner::new(&whole);
    // Nobody is woken because nothing was released yet, or because a version is on its way.
    let nothing = runner.run("verify.yml", &Event::schedule()).jobs;
    assert_eq!((&nothing["verify"], &nothing["scan"]), (&Ended::Well, &Ended::Well));
    order(&whole, "v1.0.0");
    runner.run("release.yml", &Event::tag("v1.0.0")).well("release.yml");
    bump(&whole, "1.1.0");
    runner.run("verify.yml", &Event::schedule()).well("verify.yml");
    runner.github.open_issue(ISSUE, "a-stranger");
    assert_eq!(runner.github.issues().len(), 1, "all was well so far");
    whole.production.registry.make_private(true);
    for _ in 0..2 {
        let outcome = runner.run("verify.yml", &Event::schedule());
        outcome.badly("verify", "Verify", "exit code Some(8)", &["findings", "issues"]);
        assert_eq!(outcome.jobs["tell"], Ended::Well);
    }
    let [(_, _, strangers), (title, body, comments)] = &runner.github.issues()[..] else {
        panic!("there is one of ours")
    };
    assert_eq!((title.as_str(), strangers.len(), comments.as_slice()), (ISSUE, 0, std::slice::from_ref(body)));
    let run = "https://github.com/alto9/kube9-operator/actions/runs/77";
    assert!(body.starts_with("Verify: failure. Scan: ") && body.contains(run), "{body}");
    whole.production.registry.make_private(false);
    runner.run("verify.yml", &Event::by_hand(&[("version", "v1.0.0")])).well("verify.yml");
    assert_eq!(runner.github.issues().len(), 2);
}

#[test]
fn i9_every_day_what_is_supported_is_scanned_anew_and_each_finding_has_one_issue_until_it_is_over() {
    const RENAMED: &str = "we know of this";
    let Some(whole) = world() else { return };
    let (runner, production) = (Runner::new(&whole), &whole.production);
    whole.release(&[]).ok();
    bump(&whole, "1.1.0");
    whole.release(&[]).ok();
    let before = public(&whole);
    runner.github.open_issue("CVE-2026-0003 in demo", "a-stranger");
    for _ in 0..2 {
        let outcome = look(&runner, &["demo=CVE-2026-0003=CRITICAL"]);
        outcome.badly("scan", "Scan", "1.1.0, linux/arm64: CVE-2026-0003 in demo 1.1.0", &["tell"]);
        assert_eq!((&outcome.jobs["findings"], &outcome.jobs["verify"]), (&Ended::Well, &Ended::Well));
    }
    assert!(public(&whole) == before);
    shows_every_version(&runner.scanning.runs());
    let (title, body, comments) = ours(&runner);
    assert_eq!((title.as_str(), comments.len(), runner.github.issues().len()), ("CVE-2026-0003 in demo", 0, 2));
    for part in ["| 1.1.0 | linux/amd64, linux/arm64 | `1.1.0` |", "| 1.0.0 | linux/amd64, linux/arm64 | `1.0.0` |"] {
        assert!(body.contains(part), "{body}");
    }

    runner.github.change_issue(2, &serde_json::json!({"title": RENAMED}));
    look(&runner, &["demo=CVE-2026-0004=CRITICAL"]);
    assert_eq!(runner.github.open_issues()[1..], ["CVE-2026-0004 in demo"]);
    let over = "Nothing that is supported (1.1.0, 1.0.0) has it any more, or a waiver holds for it.";
    assert_eq!(ours(&runner).2[..], [over]);

    // Who cannot look into everything does not know that it is over.
    let image = production.tags()["1.0.0"].replace("sha256:", "");
    let blobs = production.registry.storage().join("docker/registry/v2/blobs/sha256");
    std::fs::remove_dir_all(blobs.join(&image[..2]).join(&image)).unwrap();
    assert_eq!(look(&runner, &[]).jobs["tell"], Ended::Well);
    assert_eq!(runner.github.open_issues()[1..], ["CVE-2026-0004 in demo", ISSUE]);

    production.xtask(&["release", "yank", "1.0.0", "--reason", "gone", "--to", "production"]).ok();
    production.edge.advance(Duration::from_secs(301));
    assert_eq!(look(&runner, &["demo=CVE-2026-0003=CRITICAL"]).jobs["tell"], Ended::Skipped);
    assert_eq!(runner.github.open_issues()[1..], [RENAMED, ISSUE], "a finding has one issue, whatever it is called");
    let (_, body, _) = ours(&runner);
    assert!(body.contains("| 1.1.0 |") && !body.contains("| 1.0.0 |"), "{body}");
}

/// The day on which these findings are known.
fn look(runner: &Runner<'_>, findings: &[&str]) -> runner::Outcome {
    runner.whole().laboratory.know(findings, 1);
    let outcome = runner.run("verify.yml", &Event::schedule());
    assert_eq!(outcome.jobs["issues"], Ended::Well, "{:?}", outcome.jobs);
    outcome
}

/// The first issue that is not a stranger's.
fn ours(runner: &Runner<'_>) -> (String, String, Vec<String>) {
    let issues = runner.github.issues();
    assert!(issues[0].1.is_empty() && issues[0].2.is_empty(), "the stranger's is left alone: {issues:?}");
    issues[1].clone()
}

/// Each version has categories of its own, as code scanning demands of one upload.
fn shows_every_version(reports: &[serde_json::Value]) {
    assert!(reports.iter().all(|report| report.to_string().contains("CVE-2026-0003")), "{reports:?}");
    let categories: BTreeSet<String> = reports.iter().map(scanning::category).collect();
    let expected =
        ["image/linux-amd64", "image/linux-arm64", "image/previous/linux-amd64", "image/previous/linux-arm64"];
    assert_eq!(categories.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn the_stand_in_of_issues_refuses_what_githubs_refuses() {
    let long = |length: usize| "x".repeat(length);
    for (said, is_taken) in [
        (serde_json::json!({"title": "a", "body": "b"}), true),
        (serde_json::json!({"title": ""}), false),
        (serde_json::json!({"title": long(257)}), false),
        (serde_json::json!({"body": long(65_537)}), false),
        (serde_json::json!({"state": "closed", "state_reason": "completed"}), true),
        (serde_json::json!({"state": "done"}), false),
        (serde_json::json!({"state": "closed", "state_reason": "mended"}), false),
    ] {
        assert_eq!(runner::is_taken(&said), is_taken, "{said}");
    }
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
fn i5_a_new_package_that_is_private_is_built_by_who_cannot_see_it_and_its_chart_waits_until_it_is_public() {
    let Some(whole) = world() else { return };
    let runner = Runner::new(&whole);
    order(&whole, "v1.0.0");
    whole.production.registry.make_private(true);
    let outcome = runner.run("release.yml", &Event::tag("v1.0.0"));
    outcome.badly("chart/chart", "Publish the chart", "to anonymous users", &[]);
    assert_eq!(outcome.jobs["image/push"], Ended::Well);
    assert!(whole.production.versions(0).is_empty());
    whole.production.registry.make_private(false);
    runner.run("release.yml", &Event::tag("v1.0.0")).well("release.yml");
}

#[test]
fn i7_x3_what_code_scanning_refuses_is_seen_and_keeps_no_chart_from_users() {
    let Some(whole) = world() else { return };
    // Everybody's upload of today is refused: there is one of the same category already.
    let mut runner = Runner::new(&whole);
    runner.scanning = CodeScanning::refusing();
    order(&whole, "v1.0.0");
    let outcome = runner.run("release.yml", &Event::tag("v1.0.0"));
    let Ended::Forgiven(step, said) = &outcome.jobs["image/findings"] else { panic!("{:?}", outcome.jobs) };
    assert!(
        step.starts_with("github/codeql-action/upload-sarif@") && said.contains("could not process"),
        "{step}: {said}"
    );
    assert_eq!(outcome.jobs["chart/chart"], Ended::Well);
    assert_eq!(whole.production.versions(0), ["1.0.0"]);
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
    for (job, ended) in &outcome.jobs {
        let expected = if job == "plan" { Ended::Well } else { Ended::Skipped };
        assert_eq!(*ended, expected, "{job}: a pull request gets no role");
    }
    assert_eq!(account.status(), None);
    // What npm has fetched is there, so that no network is measured, and what counts is the time of a processor.
    let took = runner.took("Plan");
    println!("cold npm ci and synth: {:.1} s of a processor", took.as_secs_f64());
    assert!(took > Duration::from_secs(1) && took < LIMIT, "{took:?}");
}

#[test]
fn h9_h10_a_change_on_main_is_deployed_and_the_same_commit_again_changes_nothing() {
    let Some(account) = Account::new() else { return };
    let origin = tempfile::tempdir().unwrap();
    account.push_to(origin.path());
    // The very first deployment comes from a laptop: there is no role yet that a workflow could take.
    account.deploy(&[]).ok();
    let trusts_the_repository = || account.cloudformation.template(STACK).to_string().contains(runner::REPOSITORY_ID);
    assert!(!trusts_the_repository());
    let runner = Runner::in_account(&account, origin.path());
    let deployed = |event: &Event| {
        for (job, ended) in &runner.run("deploy-infrastructure.yml", event).jobs {
            assert_eq!(*ended, if job == "plan" { Ended::Skipped } else { Ended::Well }, "{job}");
        }
    };
    deployed(&Event::push());
    assert!(trusts_the_repository(), "a workflow knows the repository's number");
    let writes = account.cloudformation.writes();
    deployed(&Event::by_hand(&[]));
    assert_eq!(account.cloudformation.writes(), writes);
    runner.used.lock().unwrap().assert_whole("deploy", |_| true);
}

/// A remote that has what CI's caches depend on.
fn checked() -> tempfile::TempDir {
    let origin = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("ci/test-tools")).unwrap();
    copy_tree(&root().join("ci/test-tools"), &folder.path().join("ci/test-tools"));
    std::fs::copy(root().join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    git(folder.path(), &["init", "--quiet", "--initial-branch=main"]);
    commit(folder.path());
    git(origin.path(), &["clone", "--quiet", "--bare", folder.path().to_str().unwrap(), "."]);
    // Every job's machine fetches it: what is packed once is handed on as it is.
    git(origin.path(), &["repack", "--quiet", "-a", "-d"]);
    origin
}

fn commit(folder: &std::path::Path) {
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "--message", "more"]);
}

/// Another commit on the default branch of a remote, with that file in it.
fn change(origin: &std::path::Path, file: &str, text: &str) {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["clone", "--quiet", origin.to_str().unwrap(), "."]);
    std::fs::write(folder.path().join(file), text).unwrap();
    commit(folder.path());
    git(folder.path(), &["push", "--quiet", "origin", "HEAD:main"]);
}

/// A machine's home and workspace.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(files: &[(&str, &str)]) -> Self {
        let disk = Disk(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = disk.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        disk
    }

    fn save(&self, caches: &Caches, scope: &str, key: &str, paths: &[&str]) -> Result<(), String> {
        let (home, work) = (self.0.path().join("home"), self.0.path().join("work"));
        caches.save(&Scopes(vec![scope.into()]), key, &owned(paths), Places { home: &home, work: &work })
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// The key of the cache that is found, and what then is in its one file.
fn found(caches: &Caches, scopes: &[&str], key: &str, others: &[&str], paths: &[&str]) -> Option<(String, String)> {
    let disk = Disk::new(&[]);
    let (home, work) = (disk.0.path().join("home"), disk.0.path().join("work"));
    let places = Places { home: &home, work: &work };
    let key = caches.restore(&Scopes(owned(scopes)), key, &owned(others), &owned(paths), places).unwrap()?;
    Some((key, std::fs::read_to_string(places.path(paths[0]).join("file")).unwrap()))
}

#[test]
fn the_stand_in_of_caches_finds_keeps_and_refuses_as_githubs_does() {
    const MAIN: &str = "refs/heads/main";
    const PATHS: [&str; 1] = ["~/.cache/tools"];
    let caches = Caches::new();
    let disk = |text: &str| Disk::new(&[("home/.cache/tools/file", text)]);
    assert_eq!(found(&caches, &[MAIN], "tools-a", &["tools-"], &PATHS), None);
    disk("first").save(&caches, MAIN, "tools-a", &PATHS).unwrap();
    disk("second").save(&caches, MAIN, "tools-b", &PATHS).unwrap();
    let is = |key: &str, text: &str| Some((key.to_owned(), text.to_owned()));
    assert_eq!(found(&caches, &[MAIN], "tools-a", &["tools-"], &PATHS), is("tools-a", "first"), "the exact one");
    assert_eq!(
        found(&caches, &[MAIN], "tools-c", &["tools-"], &PATHS),
        is("tools-b", "second"),
        "the newest of that start"
    );
    assert_eq!(
        found(&caches, &[MAIN], "tools-c", &["crates-", "tools-a"], &PATHS),
        is("tools-a", "first"),
        "in their order"
    );
    assert_eq!(found(&caches, &[MAIN], "tools-c", &[], &PATHS), None, "there is no start but those that were given");
    assert_eq!(
        found(&caches, &[MAIN], "tools", &[], &PATHS),
        is("tools-b", "second"),
        "the key itself is a start, too"
    );
    // What is kept never changes.
    let taken = disk("third").save(&caches, MAIN, "tools-a", &PATHS).unwrap_err();
    assert!(taken.starts_with("Unable to reserve cache with key tools-a"), "{taken}");
    assert_eq!(found(&caches, &[MAIN], "tools-a", &[], &PATHS), is("tools-a", "first"));
    // Other paths are another cache.
    assert_eq!(found(&caches, &[MAIN], "tools-a", &["tools-"], &["~/.cache/tools", "target"]), None);
    // A pull request sees what is the default branch's, and nobody sees what is its own; its own comes first.
    let pull = ["refs/pull/7/merge", MAIN];
    assert_eq!(found(&caches, &pull, "tools-a", &[], &PATHS), is("tools-a", "first"));
    disk("mine").save(&caches, pull[0], "tools-c", &PATHS).unwrap();
    assert_eq!(
        found(&caches, &pull, "tools-a", &["tools-"], &PATHS),
        is("tools-c", "mine"),
        "a start of its own before another's key"
    );
    assert_eq!(found(&caches, &[MAIN], "tools-c", &[], &PATHS), None);
    assert_eq!(found(&caches, &["refs/pull/8/merge", MAIN], "tools-c", &[], &PATHS), None);
    // Nothing is kept of nothing, and some keys are none.
    assert!(Disk::new(&[]).save(&caches, MAIN, "empty", &PATHS).unwrap_err().contains("do(es) not exist"));
    assert!(disk("x").save(&caches, MAIN, "a,b", &PATHS).unwrap_err().contains("cannot contain commas"));
    assert!(disk("x").save(&caches, MAIN, &"k".repeat(513), &PATHS).unwrap_err().contains("larger than 512"));
}

#[test]
fn the_stand_in_of_artifacts_takes_and_refuses_as_githubs_does() {
    let with =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let run = Artifacts::new();
    let disk = Disk::new(&[
        ("out/a.txt", "a"),
        ("out/.hidden", "h"),
        ("out/.git/b", "b"),
        ("out/deep/c.txt", "c"),
        ("odd/x:y", ""),
    ]);
    let here = disk.0.path();
    run.upload(here, &with(&[("name", "all"), ("path", "out")])).unwrap();
    let there = tempfile::tempdir().unwrap();
    run.download(there.path(), &with(&[("name", "all"), ("path", "got")])).unwrap();
    let got = |folder: &str| {
        glob::below(&there.path().join(folder), true).iter().map(|file| file.display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(got("got"), ["a.txt", "deep/c.txt"], "nothing that is hidden");
    let again = run.upload(here, &with(&[("name", "all"), ("path", "out")])).unwrap_err();
    assert!(again.contains("(409) Conflict"), "{again}");
    run.upload(here, &with(&[("name", "all"), ("path", "out/*.txt"), ("overwrite", "true")])).unwrap();
    run.download(there.path(), &with(&[("name", "all"), ("path", "less")])).unwrap();
    assert_eq!(got("less"), ["a.txt"]);
    // By its number: the newest of a name is there, and none that was taken the place of.
    let number =
        |outputs: Vec<(String, String)>| outputs.into_iter().find(|(name, _)| name == "artifact-id").unwrap().1;
    let first = number(run.upload(here, &with(&[("name", "twice"), ("path", "out")])).unwrap());
    let by_number = |number: &str| run.download(there.path(), &with(&[("artifact-ids", number), ("path", "numbered")]));
    by_number(&first).unwrap();
    assert_eq!(got("numbered"), ["a.txt", "deep/c.txt"], "a single one is not in a folder of its own");
    run.upload(here, &with(&[("name", "twice"), ("path", "out/*.txt"), ("overwrite", "true")])).unwrap();
    assert!(by_number(&first).unwrap_err().contains("None of the provided artifact IDs were found"));
    assert!(by_number("twice").unwrap_err().contains("Must be a number"));
    let both = run.download(there.path(), &with(&[("artifact-ids", "1"), ("name", "all")])).unwrap_err();
    assert!(both.contains("cannot be used together"), "{both}");
    for (wrong, words) in [
        (with(&[("name", "a/b"), ("path", "out")]), "The artifact name is not valid"),
        (with(&[("name", "odd"), ("path", "odd")]), "The path for one of the files in artifact is not valid"),
        (with(&[("name", "none"), ("path", "nowhere"), ("if-no-files-found", "error")]), "No files were found"),
        (with(&[("name", "long"), ("path", "out"), ("retention-days", "ever")]), "Invalid retention-days"),
    ] {
        let said = run.upload(here, &wrong).unwrap_err();
        assert!(said.starts_with(words), "{said}");
    }
    run.upload(here, &with(&[("name", "none"), ("path", "nowhere")])).unwrap();
    let missing = run.download(there.path(), &with(&[("name", "none")])).unwrap_err();
    assert!(missing.contains("Artifact not found for name: none"), "{missing}");
}

/// A report as scanners write it, of one run.
fn report(id: Option<&str>) -> serde_json::Value {
    let mut run = serde_json::json!({"tool": {"driver": {"name": "Trivy", "version": "0.70.0"}}, "results": []});
    if let Some(id) = id {
        run["automationDetails"] = serde_json::json!({"id": id});
    }
    serde_json::json!({"version": "2.1.0", "runs": [run]})
}

#[test]
fn the_stand_in_of_code_scanning_refuses_what_githubs_refuses() {
    let upload = |reports: &[serde_json::Value]| {
        let folder = tempfile::tempdir().unwrap();
        for (number, report) in reports.iter().enumerate() {
            std::fs::write(folder.path().join(format!("{number}.sarif")), report.to_string()).unwrap();
        }
        let scanning = CodeScanning::default();
        let mut said = BTreeSet::new();
        let first = scanning.upload(folder.path(), "of the job", &mut said);
        let second = scanning.upload(folder.path(), "of the job", &mut said);
        (first, second, scanning.runs().len())
    };
    let refused = |reports: &[serde_json::Value], words: &str| {
        let (first, _, shown) = upload(reports);
        assert!(first.as_ref().is_err_and(|said| said.contains(words)) && shown == 0, "{first:?}");
    };
    let (first, second, shown) = upload(&[report(Some("image/linux-amd64/")), report(Some("image/linux-arm64/"))]);
    assert_eq!((first, shown), (Ok(()), 2));
    assert!(
        second.unwrap_err().contains("only one run of the codeql/analyze or codeql/upload-sarif actions is allowed")
    );
    assert_eq!(upload(&[report(None)]).0, Ok(()), "one run needs no category of its own");
    refused(&[report(None), report(None)], "does not support uploading multiple SARIF runs with the same category");
    refused(&[report(Some("amd64")), report(Some("arm64"))], "cannot contain multiple runs with the same category");
    refused(&[], "No SARIF files found to upload");
    refused(&[serde_json::json!({"version": "2.0.0", "runs": []})], "is not valid SARIF");
    refused(&[serde_json::json!({"version": "2.1.0"})], "requires property \"runs\"");
    let mut placeless = report(None);
    placeless["runs"][0]["results"] = serde_json::json!([{"message": {"text": "bad"}}]);
    refused(&[placeless], "expected artifact location");
    let many: Vec<_> = (0..21).map(|number| report(Some(&format!("image/{number}/")))).collect();
    refused(&many, "more runs than allowed");
}

#[test]
fn the_stand_in_of_expressions_says_what_github_says() {
    struct Some;
    impl expression::Context for Some {
        fn named(&self, name: &str) -> expression::Value {
            if name == "github.ref" {
                expression::Value::Text("refs/heads/main".into())
            } else {
                expression::Value::Null
            }
        }
        fn call(&self, function: &str, _: &[expression::Value]) -> expression::Value {
            expression::Value::Bool(function == "success")
        }
    }
    for (text, value) in [
        ("github.ref == 'refs/heads/MAIN'", "true"),
        ("github.ref != 'refs/heads/main' || steps.x.outputs.cache-hit != 'true'", "true"),
        ("!cancelled() && success()", "true"),
        ("github.ref && 'a''b' || 'c'", "a'b"),
        ("missing && 'a' || 'c'", "c"),
        ("(failure() || always()) == false", "true"),
        ("startsWith(github.ref, 'refs/heads/') && contains('abc', 'B')", "true"),
        ("0 == ''", "true"),
        ("null == false", "true"),
    ] {
        assert_eq!(expression::evaluate(text, &Some).text(), value, "{text}");
    }
    assert!(
        expression::looks_at_status("github.ref && !cancelled()")
            && !expression::looks_at_status("needs.success.result")
    );
}

/// What CI's jobs told their programs, and what these told back, since it was last asked.
fn told(runner: &Runner<'_>) -> Vec<String> {
    std::mem::take(&mut *runner.told.lock().unwrap()).lines().map(str::to_owned).collect()
}

/// How many jobs of a kind found something there.
fn finding(told: &[String], job: &str, what: &str) -> usize {
    told.iter().filter(|line| line.starts_with(job) && line.ends_with(&format!(": there: {what}"))).count()
}

#[test]
fn ci_installs_its_tools_once_and_pull_requests_have_those_of_main() {
    const MAIN: &str = "refs/heads/main";
    let origin = checked();
    let runner = Runner::alone(origin.path());
    let parts = Workflow::read("ci.yml").value["jobs"]["check"]["strategy"]["matrix"]["part"].as_array().unwrap().len();
    runner.run("ci.yml", &Event::push()).well("ci.yml");
    let first = told(&runner);
    assert!(first.contains(&"tools: cargo xtask ci --only tools".to_owned()), "{first:?}");
    assert_eq!((finding(&first, "tools", "tools"), finding(&first, "check/", "tools")), (0, parts), "{first:?}");
    let kept = runner.caches.kept_keys();
    assert_eq!(
        kept.iter().filter(|(scope, key)| scope == MAIN && key.starts_with("test-tools-Linux-")).count(),
        1,
        "{kept:?}"
    );
    runner.run("ci.yml", &Event::pull_request()).well("ci.yml");
    let second = told(&runner);
    assert!(!second.iter().any(|line| line.contains("--only tools")), "nothing is installed again: {second:?}");
    assert_eq!(
        (finding(&second, "check/", "tools"), finding(&second, "check/", "crates")),
        (parts, parts),
        "{second:?}"
    );
    assert_eq!(runner.caches.kept_keys(), kept, "what is the same is kept once");
    // Another lock: what is installed begins with what there was.
    change(origin.path(), "ci/test-tools/moto.txt", "# another\n");
    runner.run("ci.yml", &Event::push()).well("ci.yml");
    let third = told(&runner);
    assert_eq!((finding(&third, "tools", "tools"), finding(&third, "check/", "tools")), (1, parts), "{third:?}");
    assert_eq!(runner.caches.kept_keys().len(), kept.len() + 1, "{:?}", runner.caches.kept_keys());
}

#[test]
fn ci_keeps_its_tools_even_where_a_check_fails_and_nothing_that_says_it_was_well() {
    let origin = checked();
    let mut runner = Runner::alone(origin.path());
    runner.ci_ends_with = 1;
    let outcome = runner.run("ci.yml", &Event::push());
    for (job, ended) in &outcome.jobs {
        let as_it_should = match job.as_str() {
            "tools" => *ended == Ended::Well,
            "macos" => matches!(ended, Ended::Forgiven(..)),
            _ => matches!(ended, Ended::Badly(..)),
        };
        assert!(as_it_should, "{:?}", outcome.jobs);
    }
    let kept = runner.caches.kept_keys();
    assert!(kept.len() == 1 && kept[0].1.starts_with("test-tools-"), "{kept:?}");
}

#[test]
fn every_night_a_commit_is_proven_unless_it_was() {
    let origin = checked();
    let runner = Runner::alone(origin.path());
    runner.run("nightly.yml", &Event::schedule()).well("nightly.yml");
    assert!(told(&runner).iter().any(|line| line == "all: cargo xtask ci --all"));
    runner.github.check("Prove / cargo xtask ci --all");
    runner.run("nightly.yml", &Event::schedule());
    let second = told(&runner);
    assert!(!second.iter().any(|line| line.starts_with("all: cargo xtask")), "{second:?}");
    assert!(runner.caches.kept_keys().is_empty(), "a proof begins with nothing");
}

#[test]
fn every_workflow_is_run_by_a_test() {
    const TESTS: &str = include_str!("workflows.rs");
    let all = Workflow::all();
    let run =
        |name: &str| TESTS.contains(&format!(".run(\"{name}\"")) || TESTS.contains(&format!("run(\"{name}\", event)"));
    let calls = |caller: &Workflow, name: &str| caller.text.contains(&format!("uses: ./.github/workflows/{name}\n"));
    for Workflow { name, .. } in &all {
        let is_run = run(name) || all.iter().any(|caller| run(&caller.name) && calls(caller, name));
        assert!(is_run, "no test runs {name}");
    }
}

/// Each action, the tag that people know it by, and the commit that the tag was at when it was read. An update by Dependabot
/// changes both lines: whoever reviews it looks the new commit up.
const PINS: [(&str, &str, &str); 13] = [
    ("Swatinem/rust-cache", "v2.9.2", "6323deb102c322ba6fcbdcafc7e3dddab59af2b6"),
    ("actions/attest", "v4.2.2", "1e69f48acb82d1966a394da916b4c1698aa569d6"),
    ("actions/cache/restore", "v5.0.5", "27d5ce7f107fe9357f9df03efb73ab90386fccae"),
    ("actions/cache/save", "v5.0.5", "27d5ce7f107fe9357f9df03efb73ab90386fccae"),
    ("actions/checkout", "v7.0.1", "3d3c42e5aac5ba805825da76410c181273ba90b1"),
    ("actions/download-artifact", "v8.0.1", "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c"),
    ("actions/setup-go", "v7.0.0", "b7ad1dad31e06c5925ef5d2fc7ad053ef454303e"),
    ("actions/setup-node", "v7.0.0", "820762786026740c76f36085b0efc47a31fe5020"),
    ("actions/setup-python", "v7.0.0", "5fda3b95a4ea91299a34e894583c3862153e4b97"),
    ("actions/upload-artifact", "v7.0.0", "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f"),
    ("aws-actions/configure-aws-credentials", "v6.2.3", "e6de054238d6b7531b4efff3b6587d9aade6a06c"),
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
    let table = guide.lines().skip_while(|line| !line.starts_with("| workflow | job |")).skip(2);
    let listed: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
    assert_eq!(listed, expected);
}

#[test]
fn i4_whoever_calls_a_workflow_gives_it_what_its_jobs_need_and_no_more() {
    for workflow in Workflow::all() {
        for (id, job) in workflow.jobs() {
            let Some(called) = job["uses"].as_str().and_then(|uses| uses.strip_prefix("./.github/workflows/")) else {
                continue;
            };
            let mut needed = BTreeMap::new();
            for (_, job) in Workflow::read(called).jobs() {
                for (right, level) in file::scalars(&job["permissions"]) {
                    let known: &mut String = needed.entry(right).or_default();
                    *known = if level == "write" || known == "write" { "write".into() } else { level };
                }
            }
            assert_eq!(file::scalars(&job["permissions"]), needed, "{id} of {}", workflow.name);
        }
    }
}

#[test]
fn i9_the_scans_job_has_no_right_no_secret_no_environment_and_no_token() {
    for workflow in ["release-image.yml", "verify.yml"] {
        let scan = &Workflow::read(workflow).value["jobs"]["scan"];
        assert_eq!((&scan["permissions"], &scan["environment"]), (&serde_json::json!({}), &serde_json::Value::Null));
        let text = scan.to_string().replace("\"cache\":false", "");
        for word in ["secrets.", "github.token", "GITHUB_TOKEN", "configure-aws-credentials", "cache"] {
            assert!(!text.contains(word), "{word} in {workflow}");
        }
    }
}

#[test]
fn every_checkout_keeps_no_credentials_and_every_release_sees_the_whole_history() {
    for workflow in Workflow::all() {
        for (id, job) in workflow.jobs() {
            let is_checkout = |step: &&serde_json::Value| {
                step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/checkout@"))
            };
            let releases = job.to_string().contains("xtask release");
            for checkout in steps(job).iter().filter(is_checkout) {
                assert_eq!(checkout["with"]["persist-credentials"], false, "{id} of {}", workflow.name);
                assert!(!releases || checkout["with"]["fetch-depth"] == 0, "{id} of {}", workflow.name);
            }
        }
    }
}

#[test]
fn i6_checks_take_over_what_was_compiled_and_no_release_takes_anything_from_a_cache() {
    let uses_cache = |job: &serde_json::Value| {
        let uses = steps(job).iter().filter_map(|step| step["uses"].as_str().map(str::to_owned)).collect::<Vec<_>>();
        uses.iter().any(|used| used.contains("cache")) || job.to_string().contains("type=gha")
    };
    for workflow in Workflow::all() {
        for (id, job) in workflow.jobs().filter(|(_, job)| job["uses"].is_null()) {
            // Any branch fills the caches that a tag's run would find.
            let may = workflow.name.starts_with("ci.") || workflow.name.starts_with("verify.");
            assert!(may || !uses_cache(job), "{id} of {}", workflow.name);
        }
    }
    assert!(uses_cache(&Workflow::read("ci.yml").value["jobs"]["quick"]));
}

/// Whether a job can do more than read: by its token, by a role, or by what only its environment is given.
fn holds_rights(job: &serde_json::Value) -> bool {
    let writes = file::scalars(&job["permissions"]).values().any(|level| level == "write");
    writes || !job["environment"].is_null() || job.to_string().contains("secrets.")
}

#[test]
fn i4_a_job_that_compiles_what_strangers_wrote_has_no_right_and_no_secret() {
    let mut compiling = BTreeSet::new();
    for workflow in Workflow::all() {
        for (id, job) in workflow.jobs() {
            // Cargo's metadata are what it reads, without running anything of anybody.
            let builds = |run: &str| {
                run.replace("cargo metadata ", "").contains("cargo ") || run.contains(".github/cosign/build.sh ")
            };
            let compiles = steps(job).iter().any(|step| step["run"].as_str().is_some_and(builds));
            assert!(!(compiles && holds_rights(job)), "{id} of {}", workflow.name);
            if compiles && workflow.name.starts_with("release") {
                compiling.insert(format!("{id} of {}", workflow.name));
                assert!(job.to_string().contains(" --public "), "{id} of {}", workflow.name);
            }
        }
    }
    assert_eq!(
        compiling.into_iter().collect::<Vec<_>>(),
        ["build of release-image.yml", "rebuild of release-image.yml"]
    );
}

#[test]
fn i4_a_job_that_holds_a_role_or_publishes_runs_an_xtask_that_was_handed_on_by_its_digest() {
    let mut publishing = Vec::new();
    for workflow in Workflow::all() {
        for (id, job) in workflow.jobs().filter(|(_, job)| job.to_string().contains("configure-aws-credentials")) {
            let steps = steps(job);
            let at = |what: &str| steps.iter().position(|step| step.to_string().contains(what)).unwrap();
            let taken = &steps[at("needs.xtask.outputs.artifact")];
            assert!(taken["with"]["artifact-ids"].is_string(), "{id} of {}", workflow.name);
            let check = at("sha256sum --check --strict");
            assert_eq!(steps[check]["env"]["XTASK_SHA256"], "${{ needs.xtask.outputs.sha256 }}");
            assert!(
                check < at("configure-aws-credentials"),
                "{id} of {}: nothing unknown runs with a role",
                workflow.name
            );
            if workflow.name.starts_with("release") {
                assert!(at("needs.cosign.outputs.artifact") < check, "{id} of {} signs or judges", workflow.name);
            }
            assert_eq!(workflow.value["jobs"]["xtask"]["uses"], "./.github/workflows/xtask.yml");
            publishing.push(format!("{id} of {}", workflow.name));
        }
        for (id, job) in workflow.jobs().filter(|(_, job)| job.to_string().contains("needs.cosign.outputs.artifact")) {
            let check = steps(job).iter().find(|step| step["env"]["COSIGN_SHA256"].is_string()).unwrap();
            assert_eq!(check["env"]["COSIGN_SHA256"], "${{ needs.cosign.outputs.sha256 }}");
            let checked = "echo \"$COSIGN_SHA256  target/xtask/bin/cosign\" | sha256sum --check --strict\n";
            assert!(check["run"].as_str().unwrap().contains(checked), "{id} of {}", workflow.name);
        }
        // A token for AWS or for a signature is asked for by these, and by those that call them.
        let asks = |(_, job): &(&str, &serde_json::Value)| job["permissions"]["id-token"] == "write";
        for (id, job) in workflow.jobs().filter(asks).filter(|(_, job)| job["uses"].is_null()) {
            assert!(publishing.contains(&format!("{id} of {}", workflow.name)) && job["environment"].is_string());
            // What may be called may be called by strangers, and a token then names our file all the same.
            let is_called = workflow.value["on"].get("workflow_call").is_some();
            let only_here = format!("${{{{ github.repository == '{}' }}}}", runner::REPOSITORY);
            assert!(!is_called || job["if"] == only_here, "{id} of {} runs for anybody", workflow.name);
        }
    }
    let expected = ["deploy of deploy-infrastructure.yml", "chart of release-chart.yml", "push of release-image.yml"];
    assert_eq!(publishing, expected);
}

#[test]
fn i4_nothing_that_is_handed_on_beside_what_was_checked_is_found_on_path() {
    let mut paths = BTreeMap::new();
    for workflow in Workflow::all() {
        for line in workflow.text.lines().filter(|line| line.contains("GITHUB_PATH")) {
            paths.entry(line.trim().to_owned()).or_insert_with(Vec::new).push(workflow.name.clone());
        }
        let installs = workflow.text.lines().filter(|line| line.contains("install -D")).map(str::trim);
        for line in installs {
            let checked = line.split_whitespace().filter(|word| word.starts_with("target/"));
            let checks =
                |file: &str| workflow.text.contains(&format!("_SHA256  {file}\" | sha256sum --check --strict"));
            assert!(checked.clone().count() > 0 && checked.clone().all(checks), "{line} of {}", workflow.name);
        }
    }
    let own = ["bin", "cosign", "trivy"].map(|folder| format!("echo \"$RUNNER_TEMP/{folder}\" >> \"$GITHUB_PATH\""));
    assert_eq!(paths.keys().collect::<Vec<_>>(), own.iter().collect::<Vec<_>>(), "{paths:?}");
}

#[test]
fn i15_both_builds_take_the_same_steps_and_the_push_is_told_of_both() {
    let jobs = &Workflow::read("release-image.yml").value["jobs"];
    let (first, second) = (steps(&jobs["build"]), steps(&jobs["rebuild"]));
    assert_eq!(first[..second.len()], *second, "the first one hands its image on, too");
    assert_eq!(
        (&jobs["build"]["needs"], &jobs["rebuild"]["needs"]),
        (&"cosign".into(), &"cosign".into()),
        "side by side"
    );
    let push = steps(&jobs["push"]).iter().find(|step| step["id"] == "push").unwrap();
    assert_eq!(push["env"]["BUILT"], "${{ needs.build.outputs.digest }}");
    assert_eq!(push["env"]["REBUILT"], "${{ needs.rebuild.outputs.digest }}");
}

#[test]
fn x4_jobs_of_a_release_take_an_artifact_by_its_number_and_an_image_by_its_digest() {
    let image = Workflow::read("release-image.yml");
    for (id, job) in image.jobs() {
        for step in steps(job) {
            let is_download = step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/download-artifact@"));
            let with = &step["with"];
            assert!(!is_download || (with["artifact-ids"].is_string() && with["name"].is_null()), "{id}: {with}");
        }
    }
    for (job, command) in
        [("scan", "release scan"), ("push", "release push"), ("push", "release sign"), ("push", "release tag")]
    {
        let job = &image.value["jobs"][job];
        let run = steps(job).iter().filter_map(|step| step["run"].as_str()).find(|run| run.contains(command)).unwrap();
        assert!(run.contains("--digest \""), "{command}: {run}");
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

#[test]
fn i16_production_accepts_the_one_workflow_that_signs_at_the_versions_tag_and_the_texts_for_users_name_it() {
    let workspace = xtask::config::Workspace::find(&root()).unwrap();
    let product = workspace.product(None).unwrap();
    let target = product.target("production").unwrap();
    let [signer] = &target.signers[..] else { panic!("{:?}", target.signers) };
    let signs = |job: &serde_json::Value| job.to_string().contains("xtask release sign ");
    let signing = |workflow: &Workflow| workflow.jobs().filter(|(_, job)| signs(job)).count();
    let files: Vec<String> = Workflow::all().into_iter().filter(|it| signing(it) > 0).map(|it| it.name).collect();
    let [file] = &files[..] else { panic!("{files:?} sign") };
    let identity = format!("https://github.com/{}/.github/workflows/{file}@refs/tags/v", runner::REPOSITORY);
    assert_eq!(signer.identity.as_deref(), Some(&*format!("{identity}{{version}}")));
    assert_eq!(signer.issuer.as_deref(), Some("https://token.actions.githubusercontent.com"));
    assert!(target.signing.keyless && target.signed_since.is_some());
    for (version, is_signed) in [("2.4.0", false), ("3.0.0-rc.1", true), ("3.0.0", true), ("3.0.1-rc.1", true)] {
        assert_eq!(target.signs(&version.parse().unwrap()), is_signed, "{version}");
    }
    for text in ["README.md", "SECURITY.md", "docs/signatures.md", "charts/kube9-operator/templates/NOTES.txt"] {
        let text = std::fs::read_to_string(root().join(text)).unwrap();
        assert!(text.contains(&format!("--certificate-identity {identity}")), "{text}");
        assert!(text.contains(&format!("--certificate-github-workflow-repository {}", runner::REPOSITORY)), "{text}");
    }
    let policy = documented("docs/signatures.md", "ClusterImagePolicy");
    let accepted = &policy["spec"]["authorities"][0]["keyless"]["identities"][0];
    assert_eq!(accepted["issuer"].as_str(), signer.issuer.as_deref());
    assert_eq!(accepted["subjectRegExp"], format!("^{}[0-9a-z.-]+$", identity.replace('.', "\\.")));
}

#[test]
fn i16_whoever_builds_cosign_does_so_by_one_exact_go_that_is_not_older_than_the_lock_wants() {
    let mut building = BTreeSet::new();
    for workflow in Workflow::all() {
        for (id, job) in workflow.jobs() {
            let at = |what: &str| steps(job).iter().position(|step| step.to_string().contains(what));
            let Some(build) = at(".github/cosign/build.sh ") else { continue };
            let go = at("actions/setup-go@").filter(|go| *go < build).unwrap_or_else(|| panic!("{id} sets up no Go"));
            let expected = serde_json::json!({"go-version-file": ".github/cosign/go.mod", "cache": false});
            assert_eq!(steps(job)[go]["with"], expected, "{id} of {}", workflow.name);
            building.insert(workflow.name.clone());
        }
    }
    assert_eq!(building.into_iter().collect::<Vec<_>>(), ["cosign.yml", "verify.yml"]);
    let lock = std::fs::read_to_string(root().join(".github/cosign/go.mod")).unwrap();
    let said = |start: &str| lock.lines().find_map(|line| line.strip_prefix(start)).unwrap().parse().unwrap();
    let (version, wanted): (semver::Version, semver::Version) = (said("toolchain go"), said("go "));
    assert!(version >= wanted, "{version}, and the lock wants {wanted}");
}
