//! `deploy-infra`, driven for real through the CDK CLI, against an account of fakes.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use xtask::chart::page::POLICY;

use crate::servers::{Account, Fault, Registry, STACK, When, ask_aws, packages};
use crate::support::{Run, free_port, programs, script, wait_until};
use crate::workflows::processor_time;

const DISTRIBUTION: &str = "AWS::CloudFront::Distribution";
const RECORDS: &str = "AWS::Route53::RecordSet";
const INDEX: &str = "{\"apiVersion\":\"v1\",\"entries\":{}}";

/// One line for each change of a report: what becomes of it, and its type.
fn changes(run: &Run) -> Vec<String> {
    let report = run.json();
    let changes = report["changes"]["resources"].as_array().unwrap().clone();
    changes.iter().map(|change| format!("{} {}", text(&change["action"]), text(&change["type"]))).collect()
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap()
}

/// Nothing was made, or tried to be.
#[track_caller]
fn untouched(account: &Account) {
    assert_eq!((account.cloudformation.writes(), account.has_bucket()), (0, false));
}

#[test]
fn h1_x2_one_run_makes_the_place_and_a_release_publishes_through_it_h10_without_touching_it() {
    let (Some(account), Some(registry)) = (Account::new(), Registry::start()) else { return };
    // Here the template is checked by the CDK's own rules, too, as it is for everybody but the other tests.
    let first = account.deploy_with(&[], &[("CDK_VALIDATION", "")]).ok();
    let report = first.json();
    assert_eq!(
        (text(&report["status"]), &report["changed"], &report["first_index"]),
        ("CREATE_COMPLETE", &true.into(), &true.into())
    );
    for kind in ["AWS::S3::Bucket", DISTRIBUTION, "AWS::IAM::Role"] {
        assert!(changes(&first).contains(&format!("add {kind}")), "{kind}: {:?}", changes(&first));
    }
    assert_eq!(changes(&first).iter().filter(|change| **change == format!("add {RECORDS}")).count(), 2, "A and AAAA");
    let output = |name: &str| text(&report["outputs"][name]).to_owned();
    let bucket = format!("kube9-charts-{}", account.number());
    assert_eq!((output("BucketName"), output("BucketArn")), (bucket.clone(), format!("arn:aws:s3:::{bucket}")));
    assert_eq!(output("RepositoryUrl"), "https://charts.example.com");
    // The distribution is the one of the template.
    let distribution = account.distribution(&output("DistributionId"));
    assert!(distribution.elements("DomainName").contains(&output("DistributionDomain")));
    assert!(
        distribution.elements("DomainName").contains(&format!("{bucket}.s3.us-east-1.amazonaws.com")),
        "its origin"
    );
    assert_eq!(distribution.elements("CNAME"), ["charts.example.com"]);
    let index = account.store.get("index.yaml").unwrap();
    assert_eq!(index.header("content-type"), Some("application/json"));
    assert_eq!(index.header("cache-control"), Some("public, max-age=300"));

    account.edge.become_distribution(&account.cloudformation.template(STACK));
    let before = account.cloudformation.writes();
    let origin = tempfile::tempdir().unwrap();
    account.join(&registry, origin.path());
    Run::of(account.command(&["release", "--to", "production"])).ok();
    let public = account.edge.get(0, "/index.yaml").is(200).json();
    assert_eq!(public["entries"]["demo"][0]["version"], "1.0.0");
    assert_eq!(account.edge.get(1, "/demo-1.0.0.tgz").is(200).header("content-type"), Some("application/gzip"));
    assert_eq!(account.cloudformation.writes(), before, "a release touched the infrastructure");

    // What users meet is the distribution that was deployed.
    for (name, value) in [
        ("strict-transport-security", "max-age=31536000"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("content-security-policy", POLICY),
    ] {
        assert_eq!(account.edge.get(0, "/demo-1.0.0.tgz").header(name), Some(value));
    }
    let page = account.edge.get(0, "/").is(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.body, account.edge.get(0, "/index.html").is(200).body, "the page is the object at `/`");
    assert_eq!(account.edge.get(0, "/demo-9.9.9.tgz").status, 404);
    assert_eq!(account.edge.ask(0, "DELETE", "/index.yaml").send().unwrap().status, 403);

    let versions = account.store.versions("index.yaml");
    let again = account.deploy(&[]).ok();
    assert_eq!(again.json()["changed"], false);
    assert!(again.stderr.contains("no byte was changed"), "{}", again.stderr);
    assert_eq!(account.store.versions("index.yaml"), versions, "the index was written again");
    assert_eq!(account.cloudformation.writes(), before, "a deployment without changes changed something");
}

#[test]
fn h9_a_failed_creation_says_why_leaves_nothing_and_can_be_run_again() {
    let Some(account) = Account::new() else { return };
    account.cloudformation.fail(RECORDS, "The zone has as many records as it can");
    let failed = account.deploy(&[]).fails(1, "stack demo-charts could not be deployed");
    let error = failed.stderr.split("error: ").last().unwrap();
    assert!(error.contains(&format!("({RECORDS}): The zone has as many records as it can")), "{error}");
    assert!(error.contains("is in ROLLBACK_COMPLETE: what was made was removed again"), "{error}");
    let given_up =
        account.cloudformation.events(STACK).into_iter().filter(|event| event.reason == "Resource creation cancelled");
    assert!(given_up.count() > 0 && !error.contains("cancelled"), "what was only given up is named, too:\n{error}");
    assert!(account.cloudformation.is_protected(STACK), "and so nothing but this tool removes what is left of it");
    assert!(!account.has_bucket(), "the bucket stayed");
    assert_eq!(account.distributions(), Vec::<String>::new(), "the distribution stayed");
    account.cloudformation.heal();
    let again = account.deploy(&[]).ok();
    assert_eq!(again.json()["status"], "CREATE_COMPLETE");
    assert!(account.cloudformation.is_protected(STACK));
    assert!(account.has_bucket() && again.json()["first_index"] == true);
}

#[test]
fn h9_a_failed_update_leaves_all_as_it_was_and_what_is_left_out_later_is_taken_away() {
    let Some(account) = Account::new() else { return };
    let first = account.deploy(&[]).ok();
    assert!(
        first.stderr.contains("| CREATE_COMPLETE"),
        "the progress of the deployment is not shown:\n{}",
        first.stderr
    );
    assert!(
        ![first.stderr, first.stdout].concat().contains(&account.store.credentials.secret_key),
        "a secret is shown"
    );
    let fewer = [("CHARTS_PRICE_CLASS", "PriceClass_100")];
    let (before, versions) = (account.cloudformation.template(STACK), account.store.versions("index.yaml"));
    account.cloudformation.fail(DISTRIBUTION, "Rate exceeded");
    let failed = account.deploy_with(&[], &fewer).fails(1, "Rate exceeded");
    let error = failed.stderr.split("error: ").last().unwrap();
    assert!(error.contains(&format!("({DISTRIBUTION}): Rate exceeded")), "{error}");
    assert!(error.contains("is in UPDATE_ROLLBACK_COMPLETE: all is as it was before"), "{error}");
    assert_eq!(account.cloudformation.template(STACK), before);
    account.cloudformation.heal();
    account.store.put("index.yaml", b"somebody's", &[]);
    // An index that is there, whatever it holds, is nobody's to replace; one that cannot be read is said to be so.
    account.deploy_with(&[], &fewer).fails(6, "index.yaml");
    account.store.put("index.yaml", INDEX.as_bytes(), &[]);
    let again = account.deploy_with(&[], &fewer).ok();
    assert_eq!((&again.json()["status"], &again.json()["first_index"]), (&"UPDATE_COMPLETE".into(), &false.into()));
    assert_eq!(changes(&again), [format!("modify {DISTRIBUTION}")]);
    assert_eq!(account.store.versions("index.yaml").len(), versions.len() + 2);
    let left_out = account.plan(&[]).ok();
    let difference = left_out.json()["changes"]["resources"][0]["differences"][0].clone();
    assert_eq!(difference["path"], "Properties.DistributionConfig.PriceClass");
    assert_eq!((&difference["before"], &difference["after"]), (&"PriceClass_100".into(), &"PriceClass_All".into()));
}

#[test]
fn x3_killed_half_way_it_waits_for_what_aws_goes_on_with_and_finishes() {
    let Some(account) = Account::new() else { return };
    account.cloudformation.slow_down(Duration::from_secs(600));
    let mut command = account.command(&["deploy-infra", "--yes"]);
    // With the CDK CLI below it: this is a machine that loses its power.
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
    let begun = wait_until(Duration::from_secs(120), || account.status().as_deref() == Some("CREATE_IN_PROGRESS"));
    let mut kill = Command::new("kill");
    kill.args(["-KILL", "--", &format!("-{}", child.id())]);
    Run::of(kill).ok();
    child.wait().unwrap();
    assert!(begun && account.status().as_deref() == Some("CREATE_IN_PROGRESS"));
    account.plan(&[]).fails(7, "something is under way in stack demo-charts: CREATE_IN_PROGRESS");

    let said = account.home.path().join("said");
    let mut again = account.command(&["deploy-infra", "--yes"]);
    let mut again = again.stdin(Stdio::null()).stderr(File::create(&said).unwrap()).spawn().unwrap();
    let waits =
        || std::fs::read_to_string(&said).unwrap().contains("Waiting for what is under way in stack demo-charts");
    assert!(wait_until(Duration::from_secs(120), waits), "{}", std::fs::read_to_string(&said).unwrap());
    account.cloudformation.slow_down(Duration::ZERO);
    let ended = again.wait().unwrap();
    assert!(ended.success(), "{}", std::fs::read_to_string(&said).unwrap());
    assert_eq!(account.status().as_deref(), Some("CREATE_COMPLETE"));
    assert_eq!(account.store.get("index.yaml").unwrap().json()["entries"], serde_json::json!({}));
}

#[test]
fn x3_a_stack_that_nothing_can_be_deployed_over_is_put_right_first() {
    let Some(account) = Account::new() else { return };
    account.cloudformation.put_in(STACK, "DELETE_FAILED");
    account.deploy(&[]).fails(5, "stack demo-charts was deleted half way: DELETE_FAILED");
    assert!(!account.has_bucket());
    account.cloudformation.put_in(STACK, "REVIEW_IN_PROGRESS");
    account.deploy(&[]).ok();
    account.cloudformation.put_in(STACK, "UPDATE_ROLLBACK_FAILED");
    let resumed = account.deploy(&[]).ok();
    assert!(resumed.stderr.contains("Resuming the way back of an update that failed"), "{}", resumed.stderr);
    assert_eq!(account.status().as_deref(), Some("UPDATE_ROLLBACK_COMPLETE"));
    account.store.lose_bucket();
    let gone = format!("stack demo-charts has a bucket kube9-charts-{}, which is not there", account.number());
    account.plan(&[]).fails(5, &gone);
}

#[test]
fn h6_a_change_that_replaces_the_bucket_or_the_distribution_is_refused() {
    let Some(account) = Account::new() else { return };
    account.deploy(&[]).ok();
    let before = account.cloudformation.writes();
    account.demo.edit("infrastructure/lib/hosting.ts", "new Bucket(this, \"Bucket\"", "new Bucket(this, \"Moved\"");
    let refused =
        account.deploy(&[]).fails(5, "AWS::S3::Bucket HostingBucketDB108620 would be replaced, or leave the stack");
    assert!(refused.stderr.contains("--allow-replace"), "{}", refused.stderr);
    account.demo.edit("infrastructure/lib/hosting.ts", "new Bucket(this, \"Moved\"", "new Bucket(this, \"Bucket\"");
    account.demo.edit(
        "infrastructure/lib/stack.ts",
        "`kube9-charts-${inputs.account}`",
        "`other-charts-${inputs.account}`",
    );
    account.demo.edit(
        "infrastructure/lib/hosting.ts",
        "new Distribution(this, \"Distribution\"",
        "new Distribution(this, \"Moved\"",
    );
    let both = account.deploy(&[]).fails(5, "2 things are in the way");
    assert!(
        both.stderr.contains("1. AWS::S3::Bucket") && both.stderr.contains(&format!("2. {DISTRIBUTION}")),
        "{}",
        both.stderr
    );
    assert_eq!(account.cloudformation.writes(), before, "something was changed");
    assert!(account.cloudformation.change_sets(STACK).is_empty(), "a question was left behind");
    let allowed = Run::of(account.command(&["deploy-infra", "--plan", "--json", "--allow-replace"])).ok();
    assert!(changes(&allowed).contains(&"replace AWS::S3::Bucket".to_owned()), "{:?}", changes(&allowed));
}

#[test]
fn h1_one_variable_takes_no_record_away_unless_that_is_said() {
    let Some(account) = Account::new() else { return };
    account.deploy_with(&[], &[("CHARTS_ALARM_EMAIL", "ann@example.com")]).ok();
    let before = account.cloudformation.writes();
    let without = [("CHARTS_DNS", "off"), ("CHARTS_ALARM_EMAIL", "ann@example.com")];
    let refused = account.deploy_with(&[], &without).fails(5, "2 things are in the way");
    assert!(
        refused.stderr.contains(&format!("1. {RECORDS}")) && refused.stderr.contains("CHARTS_DNS"),
        "{}",
        refused.stderr
    );
    assert_eq!(account.cloudformation.writes(), before, "something was changed");
    let allowed = account.deploy_with(&["--allow-replace"], &without).ok();
    assert_eq!(changes(&allowed), vec![format!("delete {RECORDS}"); 2]);
}

#[test]
fn h6_h15_charts_that_are_served_already_are_adopted_before_users_are_sent_here() {
    let Some(account) = Account::new() else { return };
    let old = account.serve_old_charts(&[("demo", "2.4.0", b"an archive"), ("demo", "2.3.0", b"an older archive")]);
    let digest = xtask::oci::sha256_hex(b"a release");
    let short = format!(
        "  demo:\n  - {{name: demo, version: 2.5.0, digest: {digest}, annotations: {{release/image: i}}, urls: [demo-2.5.0.tgz]}}\n"
    );
    let index = account.store.ask("GET", "/old/index.yaml", "", b"").send().unwrap().is(200).text();
    let put = |name: &str, body: &str| {
        account.store.ask("PUT", &format!("/old/{name}"), "", body.as_bytes()).send().unwrap().is(200);
    };
    put("index.yaml", &index.replacen("  demo:\n", &short, 1));
    put("demo-2.5.0.tgz", "a release");
    let url = old.url();
    account.deploy(&["--adopt-from", "http://charts.example.com"]).fails(2, "say --adopt-from https://");
    let refused =
        account.deploy(&[]).fails(5, "lists 3 versions of 1 charts, and the bucket none: users would lose them");
    assert!(refused.stderr.contains(&format!("--adopt-from {url}")), "{}", refused.stderr);
    untouched(&account);

    // Whatever goes wrong on the way, no record has led anybody here before the charts are there.
    account.store.ask("PUT", "/old/demo-2.4.0.tgz", "", b"damaged").send().unwrap().is(200);
    let damaged = account.deploy(&["--adopt-from", &url]).fails(5, "demo-2.4.0.tgz is not what its index says");
    assert!(damaged.stderr.contains("nothing was listed here yet"), "{}", damaged.stderr);
    assert!(account.store.get("index.yaml").is_none());
    assert!(!account.cloudformation.template(STACK).to_string().contains(RECORDS));

    put("demo-2.4.0.tgz", "an archive");
    old.advance(Duration::from_secs(2 * 86_400));
    account.deploy(&["--adopt-from", &url]).fails(6, "/demo-2.5.0.json is not there");
    assert!(account.store.get("index.yaml").is_none(), "a short entry would have lost what it leaves out");
    let record = serde_json::json!({
        "entry": {"version": "2.5.0", "digest": digest, "urls": ["demo-2.5.0.tgz"], "keywords": ["k"]},
        "size": 9, "platforms": {}, "signers": [],
    });
    put("demo-2.5.0.json", &record.to_string());
    old.advance(Duration::from_secs(2 * 86_400));
    let adopted = account.deploy(&["--adopt-from", &url]).ok();
    assert_eq!((&adopted.json()["adopted"], &adopted.json()["first_index"]), (&3.into(), &false.into()));
    assert_eq!(account.store.get("demo-2.5.0.json").unwrap().json(), record);
    assert!(account.cloudformation.template(STACK).to_string().contains(RECORDS));
    let theirs = account.store.ask("GET", "/old/index.yaml", "", b"").send().unwrap().is(200);
    assert_eq!(account.store.get("index.yaml").unwrap().text(), theirs.text(), "a field was lost");
    assert_eq!(account.store.get("demo-2.3.0.tgz").unwrap().body, b"an older archive");
    let again = account.deploy(&["--adopt-from", &url]).ok();
    assert_eq!(again.json()["changed"], false);
}

#[test]
fn everything_that_is_in_the_way_is_told_at_once_and_nothing_is_changed() {
    let Some(account) = Account::new() else { return };
    account.store.make_bucket(&account.store.bucket);
    let (certificate, zone) = (account.make_certificate("other.example.com"), account.make_zone("example.net"));
    let somebody = format!("arn:aws:iam::{}:user/somebody", account.number());
    let taken = format!("kube9-charts-{} exists already, outside of the stack", account.number());
    let variables = [
        ("CHARTS_CERTIFICATE_ARN", certificate.as_str()),
        ("CHARTS_HOSTED_ZONE_ID", &zone),
        ("CHARTS_BREAK_GLASS", &somebody),
    ];
    let refused = account.deploy_with(&[], &variables).fails(4, "4 things are in the way, and nothing was changed");
    for part in [
        "does not cover charts.example.com",
        "it covers other.example.com",
        "it is the zone of example.net",
        &taken,
        "npx cdk import --resource-mapping import.json",
        "may not put the first index",
    ] {
        assert!(refused.stderr.contains(part), "`{part}` is not in:\n{}", refused.stderr);
    }
    assert_eq!(account.cloudformation.writes(), 0);
}

#[test]
fn wrong_inputs_and_credentials_are_told_and_nothing_is_changed() {
    let Some(account) = Account::new() else { return };
    let unset = account.deploy_with(
        &[],
        &[
            ("AWS_ACCOUNT_ID", ""),
            ("CHARTS_CERTIFICATE_ARN", ""),
            ("CHARTS_HOSTED_ZONE_ID", ""),
            ("CHARTS_BREAK_GLASS", ""),
            ("CHARTS_DNS", "perhaps"),
        ],
    );
    let unset = unset.fails(4, "5 things are in the way");
    for name in [
        "CHARTS_BREAK_GLASS is not set",
        "AWS_ACCOUNT_ID is not set",
        "CHARTS_CERTIFICATE_ARN is not set",
        "CHARTS_HOSTED_ZONE_ID is not set",
        "CHARTS_DNS is \"perhaps\"",
    ] {
        assert!(unset.stderr.contains(name), "`{name}` is not in:\n{}", unset.stderr);
    }
    let elsewhere = account.certificate.replace("us-east-1", "eu-west-1");
    account
        .deploy_with(&[], &[("CHARTS_CERTIFICATE_ARN", &elsewhere)])
        .fails(4, "must be the ARN of a certificate in us-east-1");
    let other = [
        ("AWS_ACCOUNT_ID", "999999999999"),
        ("CHARTS_CERTIFICATE_ARN", "arn:aws:acm:us-east-1:999999999999:certificate/0a"),
        ("CHARTS_BREAK_GLASS", "arn:aws:iam::999999999999:user/ann"),
    ];
    let theirs =
        format!("the credentials are those of account {}, and AWS_ACCOUNT_ID is 999999999999", account.number());
    account.deploy_with(&[], &other).fails(4, &theirs);
    let contradiction = [("CHARTS_STACK", "other-charts")];
    account.deploy_with(&[], &contradiction).fails(3, "CHARTS_STACK leads to other-charts");
    account
        .cloudformation
        .proxy
        .inject(When::asked("*", ""), Fault::Error { status: 403, code: "ExpiredToken", retry_after: None });
    let expired = account.deploy(&[]).fails(4, "the credentials have expired");
    assert!(!expired.stderr.contains("things are in the way"), "one problem is one message:\n{}", expired.stderr);
    account.cloudformation.proxy.heal();
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    account.deploy_with(&[], &[("AWS_ENDPOINT_URL", &nowhere)]).fails(4, "check the network, and AWS_ENDPOINT_URL");
    let mut without_credentials = account.command(&["deploy-infra", "--plan", "--json"]);
    without_credentials.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let blind = Run::of(without_credentials).ok();
    assert_eq!(text(&blind.json()["status"]), "UNKNOWN");
    assert!(changes(&blind).contains(&"add AWS::S3::Bucket".to_owned()), "{:?}", changes(&blind));
    assert!(blind.stderr.contains("there are no AWS credentials"), "{}", blind.stderr);
    untouched(&account);
}

#[test]
fn without_node_or_a_person_to_ask_nothing_is_changed() {
    let Some(account) = Account::new() else { return };
    let mut without_node = account.command(&["deploy-infra", "--yes"]);
    let few = programs(&["git"]);
    without_node.env("PATH", few.path());
    let lacking = Run::of(without_node).fails(4, "2 things are in the way");
    assert!(
        lacking.stderr.contains("`node` is not installed") && lacking.stderr.contains("`npm` is not installed"),
        "{}",
        lacking.stderr
    );
    Run::of(account.command(&["deploy-infra"])).fails(2, "nobody is there to ask");
    account
        .demo
        .xtask(&["deploy-infra", "--to", "local"])
        .fails(2, "target `local` is a folder: it has no infrastructure");
    untouched(&account);
}

#[test]
fn packages_are_installed_where_they_are_not_those_of_the_lock_file() {
    let (Some(account), Some(packages)) = (Account::new(), packages()) else { return };
    let modules = account.demo.root().join("infrastructure/node_modules");
    std::fs::remove_file(&modules).unwrap();
    let few = programs(&["git", "ln", "env"]);
    std::os::unix::fs::symlink(packages.programs.join("node"), few.path().join("node")).unwrap();
    let words = account.home.path().join("words");
    let npm = format!(
        "[ \"$1\" = --version ] || {{ echo \"$@\" >>{}; ln -s {} .; }}\n",
        words.display(),
        packages.node_modules.display()
    );
    script(&few.path().join("npm"), &npm);
    let plan = |arguments: &[&str]| {
        let mut command = account.command(arguments);
        command.env("PATH", few.path());
        Run::of(command)
    };
    let installed = plan(&["deploy-infra", "--plan"]).ok();
    assert!(
        installed.stderr.contains("Installing the packages of infrastructure/package-lock.json"),
        "{}",
        installed.stderr
    );
    assert!(installed.stdout.contains("+ add      AWS::S3::Bucket"), "{}", installed.stdout);
    plan(&["deploy-infra", "--plan"]).ok();
    let called = std::fs::read_to_string(words).unwrap();
    assert_eq!(called.lines().collect::<Vec<_>>(), ["ci --ignore-scripts --include=dev --no-audit --no-fund"]);
    untouched(&account);
}

#[test]
fn a_plan_without_changes_takes_less_than_15_seconds() {
    const GOAL: f64 = 15.0;
    let Some(account) = Account::new() else { return };
    account.deploy(&[]).ok();
    // Other tests run beside this one, so what counts is the time of a processor: on a machine of its own it takes no longer.
    let mut plan = account.command(&[]);
    let arguments = ["-c", "\"$0\" deploy-infra --plan --json && times >&2"];
    plan.env("CDK_VALIDATION", "");
    let once = || {
        let mut timed = Command::new("bash");
        timed.args(arguments).arg(plan.get_program()).current_dir(account.demo.root());
        for (name, value) in plan.get_envs() {
            match value {
                Some(value) => timed.env(name, value),
                None => timed.env_remove(name),
            };
        }
        let run = Run::of(timed).ok();
        assert_eq!(changes(&run), Vec::<String>::new());
        processor_time(&run.stderr).as_secs_f64()
    };
    // What others do with the machine only ever adds: the least of some is what is ours.
    let took = (0..3).map(|_| once()).find(|took| *took < GOAL);
    println!("deploy-infra --plan without changes: {took:?} s of a processor");
    assert!(took.is_some_and(|took| took > 0.5), "{took:?}");
}

/// One request to the account's CloudFormation, with these fields; the error's code and message, if it is refused.
fn asked(account: &Account, action: &str, stack: &str, fields: &[(&str, &str)]) -> Result<(), (String, String)> {
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let fields: String = fields.iter().map(|(name, value)| format!("&{name}={}", escaped(value))).collect();
    let form = format!("Action={action}&Version=2010-05-15&StackName={stack}{fields}");
    let reply = ask_aws(account.cloudformation.proxy.port, "cloudformation", "POST", "/", &form);
    if reply.status == 200 {
        return Ok(());
    }
    Err((reply.elements("Code").concat(), reply.elements("Message").concat()))
}

#[test]
fn the_stand_in_of_cloudformation_refuses_what_aws_refuses_and_makes_nothing_of_it() {
    let Some(account) = Account::new() else { return };
    let bucket = |name: &str| serde_json::json!({"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name}});
    let role = serde_json::json!({"Type": "AWS::IAM::Role"});
    let named = serde_json::json!({"Type": "AWS::IAM::Role", "Properties": {"RoleName": "ours"}});
    let create = |template: &serde_json::Value, capabilities: &[&str]| {
        let text = template.to_string();
        let names: Vec<String> =
            (1..=capabilities.len()).map(|number| format!("Capabilities.member.{number}")).collect();
        let given = names.iter().map(String::as_str).zip(capabilities.iter().copied());
        let fields: Vec<(&str, &str)> = given.chain([("TemplateBody", text.as_str())]).collect();
        asked(&account, "CreateStack", "tried", &fields)
    };
    let with = |resources: serde_json::Value| serde_json::json!({"Resources": resources});
    let refused = |template: &serde_json::Value, capabilities: &[&str], code: &str, message: &str| {
        let expected = Err((code.to_owned(), message.to_owned()));
        assert_eq!(create(template, capabilities), expected);
        assert_eq!(account.cloudformation.status("tried"), None);
    };
    let lacking = "InsufficientCapabilitiesException";
    refused(&with(serde_json::json!({"R": role})), &[], lacking, "Requires capabilities : [CAPABILITY_IAM]");
    refused(
        &with(serde_json::json!({"R": named})),
        &["CAPABILITY_IAM"],
        lacking,
        "Requires capabilities : [CAPABILITY_NAMED_IAM]",
    );
    let invalid = |template: serde_json::Value, message: &str| refused(&template, &[], "ValidationError", message);
    invalid(serde_json::json!({}), "Template format error: At least one Resources member must be defined.");
    invalid(
        with(
            serde_json::json!({"B": bucket("b"), "P": {"Type": "AWS::S3::BucketPolicy", "Properties": {"Bucket": {"Ref": "Gone"}}}}),
        ),
        "Template format error: Unresolved resource dependencies [Gone] in the Resources block of the template",
    );
    invalid(
        with(serde_json::json!({"B": {"Type": "AWS::S3::Bucket", "DependsOn": ["Gone"]}})),
        "Template format error: Unresolved resource dependencies [Gone] in the Resources block of the template",
    );
    invalid(
        serde_json::json!({"Resources": {"B": bucket("b")}, "Outputs": {"O": {"Value": {"Ref": "Gone"}}}}),
        "Unresolved resource dependencies [Gone] in the Outputs block of the template",
    );
    invalid(
        serde_json::json!({"Resources": {"B": bucket("b")}, "Outputs": {"O": {"Value": {"Fn::GetAtt": ["Gone", "Arn"]}}}}),
        "Template error: instance of Fn::GetAtt references undefined resource Gone",
    );
    invalid(
        serde_json::json!({"Resources": {"B": bucket("b")}, "Outputs": {"O": {"Value": {"Fn::GetAtt": ["B", "Colour"]}}}}),
        "Template error: resource B does not support attribute type Colour in Fn::GetAtt",
    );
    invalid(
        with(serde_json::json!({
            "A": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": {"Fn::Sub": "x${B}"}}},
            "B": {"Type": "AWS::S3::Bucket", "DependsOn": "A"},
            "C": {"Type": "AWS::S3::Bucket", "DependsOn": "A"},
        })),
        "Circular dependency between resources: [A, B]",
    );
    invalid(
        with(serde_json::json!({"Q": {"Type": "AWS::Q::Q"}})),
        "Template format error: Unrecognized resource types: [AWS::Q::Q]",
    );
    let (_, long) = create(&with(serde_json::json!({"B": bucket(&"b".repeat(51_200))})), &[]).unwrap_err();
    assert!(
        long.ends_with("failed to satisfy constraint: Member must have length less than or equal to 51200"),
        "{long}"
    );
    assert_eq!(account.cloudformation.writes(), 0);

    // What can be done follows from the state.
    let good = with(serde_json::json!({"B": bucket("first")}));
    let [text, changed] = [&good, &with(serde_json::json!({"B": bucket("second")}))].map(ToString::to_string);
    let tried = |action: &str, template: &str| asked(&account, action, "tried", &[("TemplateBody", template)]);
    let message = |refused: Result<(), (String, String)>| refused.unwrap_err().1;
    assert_eq!(message(tried("UpdateStack", &text)), "Stack [tried] does not exist");
    account.cloudformation.slow_down(Duration::from_secs(600));
    tried("CreateStack", &text).unwrap();
    let (code, exists) = tried("CreateStack", &text).unwrap_err();
    assert_eq!((code.as_str(), exists.as_str()), ("AlreadyExistsException", "Stack [tried] already exists"));
    let busy = message(tried("UpdateStack", &changed));
    assert!(busy.ends_with("is in CREATE_IN_PROGRESS state and can not be updated."), "{busy}");
    account.cloudformation.slow_down(Duration::ZERO);
    assert_eq!(account.cloudformation.status("tried").as_deref(), Some("CREATE_COMPLETE"));
    assert_eq!(message(tried("UpdateStack", &text)), "No updates are to be performed.");
    let settled = message(asked(&account, "ContinueUpdateRollback", "tried", &[]));
    assert!(settled.contains("is in CREATE_COMPLETE state"), "{settled}");
    let protect =
        |on: &str| asked(&account, "UpdateTerminationProtection", "tried", &[("EnableTerminationProtection", on)]);
    protect("true").unwrap();
    let protected = message(asked(&account, "DeleteStack", "tried", &[]));
    assert_eq!(protected, "Stack [tried] cannot be deleted while TerminationProtection is enabled");
    protect("false").unwrap();
    account.cloudformation.put_in("tried", "UPDATE_IN_PROGRESS");
    let under_way = message(asked(&account, "DeleteStack", "tried", &[]));
    assert!(under_way.ends_with("cannot be deleted while in status UPDATE_IN_PROGRESS"), "{under_way}");
}

#[test]
fn the_stand_in_of_cloudformation_makes_what_is_needed_first_and_deletes_it_last() {
    let Some(account) = Account::new() else { return };
    let topic = |rest: serde_json::Value| {
        let mut topic = serde_json::json!({"Type": "AWS::SNS::Topic"});
        topic.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        topic
    };
    let resources = serde_json::json!({
        "A": topic(serde_json::json!({"DependsOn": "B"})),
        "B": topic(serde_json::json!({"Properties": {"TopicName": {"Fn::Join": ["-", ["of", {"Fn::GetAtt": ["C", "TopicName"]}]]}}})),
        "C": topic(serde_json::json!({"Properties": {"DisplayName": {"Fn::Sub": "${AWS::Region} ${D.Arn}"}}})),
        "D": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "ordered"}},
        "Z": topic(serde_json::json!({})),
    });
    let template =
        serde_json::json!({"Resources": resources, "Outputs": {"Name": {"Value": {"Fn::GetAtt": ["B", "TopicName"]}}}});
    asked(&account, "CreateStack", "ordered", &[("TemplateBody", &template.to_string())]).unwrap();
    let done = |status: &str| {
        let events = account.cloudformation.events("ordered");
        let done = events.iter().filter(|event| event.status == status && event.resource.len() == 1);
        done.map(|event| event.resource.clone()).collect::<String>()
    };
    assert_eq!(done("CREATE_COMPLETE").replace('Z', ""), "DCBA");
    let form = "Action=DescribeStacks&Version=2010-05-15&StackName=ordered";
    let told = ask_aws(account.cloudformation.proxy.port, "cloudformation", "POST", "/", form).is(200);
    assert_eq!(
        (told.elements("OutputKey"), told.elements("OutputValue")),
        (vec!["Name".into()], vec!["of-ordered-C".into()])
    );
    // What cannot go stays, and so does the stack.
    account.store.ask("PUT", "/ordered/kept", "", b"somebody's").send().unwrap().is(200);
    asked(&account, "DeleteStack", "ordered", &[]).unwrap();
    assert_eq!(account.cloudformation.status("ordered").as_deref(), Some("DELETE_FAILED"));
    assert_eq!((done("DELETE_COMPLETE").replace('Z', ""), done("DELETE_FAILED")), ("ABC".into(), "D".into()));
    account.store.ask("DELETE", "/ordered/kept", "", b"").send().unwrap().is(204);
}

#[test]
fn the_stand_in_of_cloudformation_tells_what_a_change_would_replace_and_changes_nothing() {
    let Some(account) = Account::new() else { return };
    let named = |bucket: &str, topic: &str| {
        serde_json::json!({"Resources": {
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": bucket}},
            "Policy": {"Type": "AWS::S3::BucketPolicy", "Properties": {"Bucket": {"Ref": "Bucket"}, "PolicyDocument": {}}},
            "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": topic}},
        }})
        .to_string()
    };
    let ask = |action: &str, change_set: &str, template: Option<&str>| {
        let template = template.map(|template| ("TemplateBody", template));
        let fields: Vec<(&str, &str)> = [("ChangeSetName", change_set)].into_iter().chain(template).collect();
        asked(&account, action, "changing", &fields)
    };
    let refused = |answer: Result<(), (String, String)>, code: &str, words: &str| {
        let (found, message) = answer.unwrap_err();
        assert!(found == code && message.contains(words), "{found}: {message}");
    };
    refused(
        ask("CreateChangeSet", "early", Some(&named("first", "b"))),
        "ValidationError",
        "Stack [changing] does not exist",
    );
    asked(&account, "CreateStack", "changing", &[("TemplateBody", &named("first", "b"))]).unwrap();
    let before = account.cloudformation.writes();
    for (wrong, constraint) in [
        ("1st", "[a-zA-Z][-a-zA-Z0-9]*"),
        ("with_line", "[a-zA-Z][-a-zA-Z0-9]*"),
        ("", "[a-zA-Z][-a-zA-Z0-9]*"),
        (&"x".repeat(129), "length less than or equal to 128"),
    ] {
        refused(ask("CreateChangeSet", wrong, Some(&named("other", "b"))), "ValidationError", constraint);
    }
    refused(ask("DescribeChangeSet", "none", None), "ChangeSetNotFound", "[none]");
    let other = serde_json::json!({"Resources": {"Bucket": {"Type": "AWS::SNS::Topic"}}}).to_string();
    refused(
        asked(&account, "UpdateStack", "changing", &[("TemplateBody", &other)]),
        "ValidationError",
        "Update of resource type is not permitted",
    );
    let told = |change_set: &str| {
        let form = format!("Action=DescribeChangeSet&Version=2010-05-15&StackName=changing&ChangeSetName={change_set}");
        let once = || ask_aws(account.cloudformation.proxy.port, "cloudformation", "POST", "/", &form).is(200);
        assert_eq!(once().elements("Status"), ["CREATE_IN_PROGRESS"]);
        once()
    };
    ask("CreateChangeSet", "names", Some(&named("other", "d"))).unwrap();
    refused(ask("CreateChangeSet", "names", Some(&named("other", "d"))), "AlreadyExistsException", "names");
    let names = told("names");
    assert_eq!(names.elements("LogicalResourceId"), ["Bucket", "Policy", "Topic"]);
    assert_eq!(names.elements("Replacement"), ["True", "Conditional", "False"]);
    for (change_set, template, reason) in [
        ("same", named("first", "b"), "The submitted information didn't contain changes."),
        ("types", other, "Update of resource type is not permitted."),
    ] {
        ask("CreateChangeSet", change_set, Some(&template)).unwrap();
        let told = told(change_set);
        assert_eq!(told.elements("Status"), ["FAILED"]);
        assert!(told.elements("StatusReason").concat().starts_with(reason));
    }
    ask("DeleteChangeSet", "names", None).unwrap();
    refused(ask("DescribeChangeSet", "names", None), "ChangeSetNotFound", "[names]");
    assert_eq!(account.cloudformation.writes(), before);
    account.cloudformation.put_in("changing", "UPDATE_IN_PROGRESS");
    refused(ask("CreateChangeSet", "late", Some(&named("other", "d"))), "ValidationError", "can not be updated");
}
