//! Runs workflows on this machine as GitHub does: every `run:` as it is written, by the shell that GitHub takes, in a fresh clone and
//! an environment that holds what the job is given and nothing else.
//!
//! What is not run is an action (`uses:`): `actions.rs` says what each leaves behind for the steps after it, and refuses what it refuses.
//! Not real either are GitHub's API (`GitHub`: a fake that knows releases), its artifacts, caches and code scanning, the programs in
//! `programs.rs`, and the archive that Trivy comes in, whose URL and hash are this runner's.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::artifacts::Artifacts;
use super::caches::{Caches, Places, Scopes};
use super::expression::{self, Context};
use super::file::{Names, Workflow, is_wanted, render, render_all, scalars, steps};
use super::glob::{below, matches};
use super::programs::{Tools, stand_ins, trivy_archive};
use super::scanning::CodeScanning;
use super::used::Used;
use crate::servers::{
    Account, Answer, Asked, Credentials, Dialect, Packages, Proxy, SIGNING_KEY, STACK, Sigstore, Way, Whole, packages,
    rights::Need,
};
use crate::support::{Run, build_programs, folder_in_memory, free_port, git, pretended_programs, programs};

pub const REPOSITORY: &str = "alto9/kube9-operator";
pub const REPOSITORY_ID: &str = "987654321";
/// The workflow's own token. No step may have it that does not name it.
const TOKEN: &str = "canary-workflow-token";
const DEFAULT_BRANCH: &str = "refs/heads/main";

/// GitHub's API, as far as it tells the releases of tags and the checks of commits: a fake.
pub struct GitHub {
    pub api: Proxy,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// The releases of tags, as the API tells of them.
    releases: Vec<Value>,
    /// Whether a published one takes no more assets.
    are_immutable: bool,
    may_write_contents: bool,
    wrote_contents: bool,
    /// Checks that ended well, by their names, of whichever commit.
    checks: Vec<String>,
    /// Whether the workflow's token may read checks, and whether it was needed for that.
    may_read_checks: bool,
    read_checks: bool,
    /// The same for writing issues.
    may_write_issues: bool,
    wrote_issues: bool,
    /// Issues, with the comments on each.
    issues: Vec<(Value, Vec<String>)>,
}

impl GitHub {
    pub fn start() -> Self {
        let known = Arc::new(Mutex::new(Known::default()));
        let shared = Arc::clone(&known);
        let route = move |asked: &mut Asked| Way::Here(shared.lock().unwrap().answer(asked));
        GitHub { api: Proxy::with(free_port(), Dialect::Registry, route, |_, answer| answer), known }
    }

    /// Somebody publishes a release of a tag, with or without the tick.
    pub fn publish(&self, tag: &str, prerelease: bool) {
        let mut known = self.known.lock().unwrap();
        known.releases.retain(|release| release["tag_name"] != tag);
        known.publish(json!({"tag_name": tag, "draft": false, "prerelease": prerelease, "body": ""}));
    }

    /// The release of a tag, as the API tells of it.
    pub fn release(&self, tag: &str) -> Option<Value> {
        self.known.lock().unwrap().releases.iter().find(|release| release["tag_name"] == tag).cloned()
    }

    /// From now on a published release takes no more assets, as its owner chose in the repository's settings.
    pub fn make_immutable(&self) {
        self.known.lock().unwrap().are_immutable = true;
    }

    /// Somebody changes what a release says.
    pub fn describe(&self, tag: &str, body: &str) {
        let mut known = self.known.lock().unwrap();
        known.releases.iter_mut().find(|release| release["tag_name"] == tag).unwrap()["body"] = body.into();
    }

    /// Somebody opens an issue.
    pub fn open_issue(&self, title: &str, who: &str) {
        self.known.lock().unwrap().add_issue(&json!({"title": title}), who);
    }

    /// Somebody closes an issue, or calls it otherwise.
    pub fn change_issue(&self, number: usize, change: &Value) {
        self.known.lock().unwrap().change_issue(number, change);
    }

    /// The titles and texts of all issues, each with the comments on it.
    pub fn issues(&self) -> Vec<(String, String, Vec<String>)> {
        let text = |issue: &Value, name: &str| issue[name].as_str().unwrap_or_default().to_owned();
        let known = self.known.lock().unwrap();
        let shown = known.issues.iter().map(|(issue, said)| (text(issue, "title"), text(issue, "body"), said.clone()));
        shown.collect()
    }

    /// The titles of all issues that are open.
    pub fn open_issues(&self) -> Vec<String> {
        let known = self.known.lock().unwrap();
        let open = known.issues.iter().filter(|(issue, _)| issue["state"] == "open");
        open.map(|(issue, _)| issue["title"].as_str().unwrap().to_owned()).collect()
    }

    /// A job of that name ended well.
    pub fn check(&self, name: &str) {
        self.known.lock().unwrap().checks.push(name.into());
    }
}

impl Known {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let path = asked.path.strip_prefix(&format!("/repos/{REPOSITORY}/")).unwrap_or_default();
        if let Some(tag) = path.strip_prefix("releases/tags/") {
            // A draft is shown by its number alone.
            let is_of = |release: &&Value| release["tag_name"] == tag && release["draft"] == false;
            return match self.releases.iter().find(is_of) {
                Some(release) => answered(200, release),
                None => answered(404, &json!({"message": "Not Found"})),
            };
        }
        if path.starts_with("releases") || asked.path.starts_with("/uploads/") {
            return self.answer_of_releases(asked);
        }
        if path.starts_with("commits/") && path.contains("/check-runs?") {
            self.read_checks = true;
            if !self.may_read_checks || asked.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
                return answered(403, &json!({"message": "Resource not accessible by integration"}));
            }
            let run = |name: &String| json!({"name": name, "conclusion": "success", "app": {"slug": "github-actions"}, "html_url": "https://run"});
            return answered(200, &json!({"check_runs": self.checks.iter().map(run).collect::<Vec<_>>()}));
        }
        if path.starts_with("issues") {
            return self.answer_of_issues(asked, path);
        }
        answered(404, &json!({"message": "Not Found"}))
    }

    fn publish(&mut self, mut release: Value) -> Value {
        release["id"] = (self.releases.len() + 1).into();
        release["assets"] = json!([]);
        self.releases.push(release.clone());
        release
    }

    /// As "REST API endpoints for releases" and "for release assets" tell: a name and a tag are taken once.
    fn answer_of_releases(&mut self, asked: &Asked) -> Answer {
        let refused = |why: &str| answered(422, &json!({"message": "Validation Failed", "errors": [{"code": why}]}));
        if !self.may_write_contents || asked.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return answered(403, &json!({"message": "Resource not accessible by integration"}));
        }
        self.wrote_contents = true;
        let said: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let Some((_, rest)) = asked.path.split_once(&format!("/repos/{REPOSITORY}/releases")) else {
            return answered(404, &json!({"message": "Not Found"}));
        };
        if rest.is_empty() {
            let is_taken = self.releases.iter().any(|release| release["tag_name"] == said["tag_name"]);
            return if is_taken { refused("already_exists") } else { answered(201, &self.publish(said)) };
        }
        let (number, upload) = rest[1..].split_once("/assets?name=").unzip();
        let number: usize = number.unwrap_or(&rest[1..]).parse().unwrap();
        let are_immutable = self.are_immutable;
        let Some(release) = self.releases.get_mut(number - 1) else {
            return answered(404, &json!({"message": "Not Found"}));
        };
        let Some(name) = upload else {
            release.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
            return answered(200, release);
        };
        if are_immutable && release["draft"] == false {
            return refused("Cannot upload assets to an immutable release.");
        }
        let assets = release["assets"].as_array_mut().unwrap();
        if assets.iter().any(|asset| asset["name"] == name) {
            return refused("already_exists");
        }
        let digest = format!("sha256:{}", xtask::oci::sha256_hex(&asked.body));
        assets.push(json!({"name": name, "digest": digest, "text": String::from_utf8_lossy(&asked.body)}));
        answered(201, assets.last().unwrap())
    }

    fn answer_of_issues(&mut self, asked: &Asked, path: &str) -> Answer {
        if !self.may_write_issues || asked.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return answered(403, &json!({"message": "Resource not accessible by integration"}));
        }
        self.wrote_issues = true;
        let said: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let rest = path.strip_prefix("issues/").unwrap_or_default();
        let (number, is_comment) = rest.strip_suffix("/comments").map_or((rest, false), |number| (number, true));
        let number = number.parse().ok().filter(|number| (1..=self.issues.len()).contains(number));
        match (asked.method.as_str(), number, is_comment) {
            ("GET", None, _) if path == "issues" => {
                let wanted = query.split('&').find_map(|pair| pair.strip_prefix("state=")).unwrap_or("open");
                let is_wanted = |issue: &&Value| wanted == "all" || issue["state"] == wanted;
                // The newest first.
                answered(200, &self.issues.iter().rev().map(|(issue, _)| issue).filter(is_wanted).cloned().collect())
            }
            ("POST", None, _) if path == "issues" && said["title"].is_string() && is_taken(&said) => {
                answered(201, &self.add_issue(&said, "github-actions[bot]"))
            }
            ("POST", Some(number), true) if said["body"].is_string() && is_taken(&said) => {
                self.issues[number - 1].1.push(said["body"].as_str().unwrap().to_owned());
                answered(201, &said)
            }
            ("PATCH", Some(number), false) if is_taken(&said) => answered(200, &self.change_issue(number, &said)),
            ("POST", None, _) if path == "issues" => answered(422, &json!({"message": "Validation Failed"})),
            ("POST" | "PATCH", Some(_), _) => answered(422, &json!({"message": "Validation Failed"})),
            _ => answered(404, &json!({"message": "Not Found"})),
        }
    }

    fn add_issue(&mut self, said: &Value, who: &str) -> Value {
        // It is open, whatever is said; a text that is not there is null.
        let issue = json!({
            "number": self.issues.len() + 1, "state": "open", "title": said["title"], "body": said["body"], "user": {"login": who},
        });
        self.issues.push((issue.clone(), Vec::new()));
        issue
    }

    fn change_issue(&mut self, number: usize, said: &Value) -> Value {
        let issue = &mut self.issues[number - 1].0;
        for (name, value) in said.as_object().unwrap() {
            issue[name] = value.clone();
        }
        issue.clone()
    }
}

/// Whether GitHub takes what is said of an issue (its documentation, "REST API endpoints for issues").
pub fn is_taken(said: &Value) -> bool {
    let within = |name: &str, most: usize| {
        said.get(name).is_none_or(|value| value.as_str().is_some_and(|text| (1..=most).contains(&text.chars().count())))
    };
    let one_of =
        |name: &str, known: &[&str]| said.get(name).is_none_or(|value| known.iter().any(|known| value == known));
    within("title", 256)
        && within("body", 65_536)
        && one_of("state", &["open", "closed"])
        && one_of("state_reason", &["completed", "not_planned", "reopened"])
}

fn answered(status: u16, value: &Value) -> Answer {
    Answer::new(status, "application/json", value.to_string())
}

/// Why a workflow runs.
#[derive(Clone, Debug)]
pub struct Event {
    name: &'static str,
    reference: String,
    payload: Value,
    inputs: Vec<(&'static str, String)>,
}

impl Event {
    pub fn tag(tag: &str) -> Self {
        Event { name: "push", reference: format!("refs/tags/{tag}"), payload: json!({}), inputs: Vec::new() }
    }

    pub fn release(tag: &str, prerelease: bool) -> Self {
        let payload = json!({"action": "published", "release": {"tag_name": tag, "prerelease": prerelease}});
        Event { name: "release", payload, ..Self::tag(tag) }
    }

    pub fn by_hand(inputs: &[(&'static str, &str)]) -> Self {
        let inputs = inputs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Event { name: "workflow_dispatch", inputs, ..Self::schedule() }
    }

    /// The same at a tag.
    pub fn by_hand_at(tag: &str, inputs: &[(&'static str, &str)]) -> Self {
        Event { reference: format!("refs/tags/{tag}"), ..Self::by_hand(inputs) }
    }

    pub fn schedule() -> Self {
        let reference = "refs/heads/main".into();
        Event { name: "schedule", reference, payload: json!({}), inputs: Vec::new() }
    }

    pub fn push() -> Self {
        Event { name: "push", ..Self::schedule() }
    }

    pub fn pull_request() -> Self {
        Event { name: "pull_request", reference: "refs/pull/7/merge".into(), ..Self::schedule() }
    }

    /// Where a run of it keeps caches, and where else it looks for some.
    fn scopes(&self) -> Scopes {
        let own = std::iter::once(self.reference.clone());
        Scopes(own.chain((self.reference != DEFAULT_BRANCH).then(|| DEFAULT_BRANCH.to_owned())).collect())
    }

    /// The ref that there is of it. What GitHub makes of a pull request is here what it is to be merged into.
    fn is_at(&self) -> &str {
        if self.reference.starts_with("refs/pull/") { DEFAULT_BRANCH } else { &self.reference }
    }

    /// A ref's short name.
    fn ref_name(&self) -> &str {
        ["refs/heads/", "refs/tags/", "refs/pull/"].iter().find_map(|start| self.reference.strip_prefix(start)).unwrap()
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Well,
    /// With the name of the step, and what it said.
    Badly(String, String),
    /// The same in a job whose failure is no one else's: `continue-on-error`.
    Forgiven(String, String),
    Skipped,
}

impl Ended {
    /// GitHub's word for it, as jobs after it and a caller are told.
    fn result(&self) -> &'static str {
        match self {
            Ended::Well | Ended::Forgiven(..) => "success",
            Ended::Badly(..) => "failure",
            Ended::Skipped => "skipped",
        }
    }
}

/// What a run of a workflow did: its jobs by their ids, those of a called workflow after the caller's and a slash.
#[derive(Debug, Default)]
pub struct Outcome {
    pub jobs: BTreeMap<String, Ended>,
    outputs: BTreeMap<String, String>,
}

impl Outcome {
    /// Asserts that every job of a workflow, and of those that it calls, ended well, and that those were skipped that are for failures.
    #[track_caller]
    pub fn well(&self, workflow: &str) -> &Self {
        assert_eq!(self.jobs, all_well(workflow));
        self
    }

    /// Asserts that a job ended at a step, with words in what it said, and that these did not run.
    #[track_caller]
    pub fn badly(&self, job: &str, step: &str, words: &str, skipped: &[&str]) -> &Self {
        match &self.jobs[job] {
            Ended::Badly(at, said) => {
                assert!(at == step && said.contains(words), "at {at}, without `{words}`:\n{said}");
            }
            ended => panic!("{job} ended otherwise: {ended:?}"),
        }
        for job in skipped {
            assert_eq!(self.jobs[*job], Ended::Skipped, "{job}");
        }
        self
    }

    fn is_well(&self) -> bool {
        self.jobs.values().all(|ended| !matches!(ended, Ended::Badly(..)))
    }

    /// The result of a job, or of a called workflow as a whole.
    fn result(&self, id: &str) -> &'static str {
        let of_it = |job: &str| job == id || job.strip_prefix(id).is_some_and(|rest| rest.starts_with('/'));
        let results: Vec<&str> =
            self.jobs.iter().filter(|(job, _)| of_it(job)).map(|(_, ended)| ended.result()).collect();
        let all = |wanted: &str| results.iter().all(|result| *result == wanted);
        match (results.contains(&"failure"), all("skipped")) {
            (true, _) => "failure",
            (_, true) => "skipped",
            _ => "success",
        }
    }
}

/// The jobs of a workflow by their ids, those of a called one after the caller's and a slash, as they end where nothing fails.
fn all_well(workflow: &str) -> BTreeMap<String, Ended> {
    let workflow = Workflow::read(workflow);
    let jobs = workflow.jobs().flat_map(|(id, job)| {
        let called = job["uses"].as_str().map(|called| called.trim_start_matches("./.github/workflows/").to_owned());
        // What is for failures, or for a chart alone.
        let is_for_others = job["if"]
            .as_str()
            .is_some_and(|condition| condition.contains("failure()") || condition.contains("'false'"));
        let ended = if is_for_others { Ended::Skipped } else { Ended::Well };
        called.filter(|_| !is_for_others).map_or_else(
            || combinations(job).iter().map(|it| (titled(id, it), ended.clone())).collect::<Vec<_>>(),
            |called| all_well(&called).into_iter().map(|(inner, ended)| (format!("{id}/{inner}"), ended)).collect(),
        )
    });
    jobs.collect()
}

/// What a job's condition may ask for.
struct BeforeJob<'o> {
    names: &'o Names,
    outcome: &'o Outcome,
    needs: Vec<&'o str>,
}

impl Context for BeforeJob<'_> {
    fn named(&self, name: &str) -> expression::Value {
        match name.strip_prefix("needs.").and_then(|rest| rest.strip_suffix(".result")) {
            Some(job) => expression::Value::Text(self.outcome.result(job).into()),
            None => self.names.get(name),
        }
    }

    fn call(&self, function: &str, given: &[expression::Value]) -> expression::Value {
        let results: Vec<&str> = self.needs.iter().map(|job| self.outcome.result(job)).collect();
        expression::Value::Bool(match (function, given) {
            ("success", []) => results.iter().all(|result| *result == "success"),
            ("failure", []) => results.contains(&"failure"),
            ("always", []) => true,
            ("cancelled", []) => false,
            _ => panic!("the tests do not know the function {function} before a job"),
        })
    }
}

fn needs(job: &Value) -> Vec<&str> {
    match &job["needs"] {
        Value::String(one) => vec![one],
        several => several.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    }
}

/// What jobs meet: the repository, AWS, and whatever else the machine reaches.
#[derive(Default)]
struct Site<'w> {
    origin: PathBuf,
    /// The account, the credentials that its role gives, and the role that jobs take.
    aws: Option<Aws<'w>>,
    /// The secrets and variables of the repository.
    settings: Vec<(&'static str, String)>,
    /// What the machine's environment says of the servers that stand in for AWS's.
    servers: Vec<(&'static str, String)>,
    /// What a release needs; a deployment does not.
    whole: Option<&'w Whole>,
}

/// AWS as a job meets it.
struct Aws<'w> {
    credentials: &'w Credentials,
    role: &'static str,
    account: String,
    /// What was asked so far, in lists that only grow.
    asked: Box<dyn Fn() -> Vec<Vec<Need>> + 'w>,
    /// Names here, and those that the policies in the guide are about.
    named: Vec<(String, &'static str)>,
}

/// GitHub, and machines that run its jobs.
pub struct Runner<'w> {
    site: Site<'w>,
    pub github: GitHub,
    /// What is on every machine.
    programs: TempDir,
    builders: TempDir,
    /// The archive that Trivy comes in.
    trivy: Option<TempDir>,
    pub trivy_sha256: String,
    /// What reached the Security tab.
    pub scanning: CodeScanning,
    pub caches: Caches,
    /// Attested digests.
    pub attested: Mutex<Vec<String>>,
    /// What the programs were told that stand in for others.
    pub told: Mutex<String>,
    /// What the pages of all jobs show.
    pub summary: Mutex<String>,
    /// What was asked of AWS, and by which jobs.
    pub used: Mutex<Used>,
    /// The job before which runs end, and what it would be told.
    pause: Mutex<Option<(&'static str, Names)>>,
    /// Programs that somebody put before all others.
    evil: Mutex<Option<PathBuf>>,
    /// What `cargo xtask ci` ends with, where it is not run.
    pub ci_ends_with: i32,
    /// Where jobs get certificates for their identities; without one they have a key.
    pub sigstore: Option<&'static Sigstore>,
    /// Workflows that are run in place of those of their names, or beside them.
    pub instead: Vec<Workflow>,
    times: Mutex<BTreeMap<String, Duration>>,
}

impl<'w> Runner<'w> {
    /// Where versions are released.
    pub fn new(whole: &'w Whole) -> Self {
        let production = &whole.production;
        let (trivy, trivy_sha256) = trivy_archive(whole);
        let (bucket, account) = (&production.store.bucket, &production.moto.account);
        let aws = Aws {
            credentials: &production.store.credentials,
            role: "publish",
            account: account.clone(),
            asked: Box::new(|| production.asked()),
            named: vec![
                (format!("arn:aws:s3:::{bucket}"), BUCKET),
                (format!("distribution/{}", production.moto.distribution), "distribution/E0000000000000"),
                (format!("stack/{bucket}/"), "stack/kube9-operator-charts/"),
                (account.clone(), ACCOUNT),
            ],
        };
        let site = Site {
            origin: production.origin.path().into(),
            aws: Some(aws),
            // The machine trusts the edge.
            servers: vec![("SSL_CERT_FILE", production.edge.authority().display().to_string())],
            whole: Some(whole),
            ..Site::default()
        };
        Runner { trivy: Some(trivy), trivy_sha256, ..Self::at(site) }
    }

    /// Where the infrastructure is deployed, from a remote that has it.
    pub fn in_account(account: &'w Account, origin: &Path) -> Self {
        let number = account.number().to_owned();
        account.cloudformation.allow_only(STACK);
        let aws = Aws {
            credentials: &account.store.credentials,
            role: "deploy",
            account: number.clone(),
            asked: Box::new(|| account.asked()),
            named: vec![
                (format!("arn:aws:s3:::{}", account.store.bucket), BUCKET),
                ("stack/demo-charts/".into(), "stack/kube9-operator-charts/"),
                (format!("hostedzone/{}", account.zone), "hostedzone/Z0123456789ABC"),
                (account.certificate.clone(), CERTIFICATE),
                (number, ACCOUNT),
            ],
        };
        // What npm has fetched once, and no network: it is not the network that is measured.
        let fetched = packages().unwrap().fetched.display().to_string();
        let servers = account
            .servers()
            .into_iter()
            .chain([("NPM_CONFIG_CACHE", fetched), ("NPM_CONFIG_PREFER_OFFLINE", "true".into())]);
        Self::at(Site {
            origin: origin.into(),
            aws: Some(aws),
            settings: account.settings(),
            servers: servers.collect(),
            whole: None,
        })
    }

    /// Where nothing is but the repository.
    pub fn alone(origin: &Path) -> Self {
        Self::at(Site { origin: origin.into(), ..Site::default() })
    }

    fn at(site: Site<'w>) -> Self {
        const SYSTEM: [&str; 20] = [
            "bash",
            "cat",
            "chmod",
            "cp",
            "curl",
            "date",
            "env",
            "git",
            "grep",
            "gzip",
            "id",
            "install",
            "jq",
            "ln",
            "mkdir",
            "rm",
            "sh",
            "sha256sum",
            "tar",
            "uname",
        ];
        Runner {
            site,
            github: GitHub::start(),
            programs: programs(&SYSTEM),
            builders: build_programs().unwrap_or_else(pretended_programs),
            trivy: None,
            trivy_sha256: String::new(),
            scanning: CodeScanning::default(),
            caches: Caches::new(),
            attested: Mutex::default(),
            told: Mutex::default(),
            summary: Mutex::default(),
            used: Mutex::default(),
            pause: Mutex::default(),
            evil: Mutex::default(),
            ci_ends_with: 0,
            sigstore: None,
            instead: Vec::new(),
            times: Mutex::default(),
        }
    }

    /// What a release meets; jobs that deploy need no registry and no scanner.
    pub fn whole(&self) -> &Whole {
        self.site.whole.unwrap()
    }

    /// How long a processor worked for a step. Other tests run beside this one: on a machine of its own it took no longer.
    pub fn took(&self, step: &str) -> Duration {
        self.times.lock().unwrap()[step]
    }

    /// Runs a workflow to its end. It asks nothing of AWS that the guide does not list.
    pub fn run(&self, workflow: &str, event: &Event) -> Outcome {
        self.run_with(workflow, event, &Artifacts::new())
    }

    /// Runs a workflow to the beginning of one of its own jobs.
    pub fn pause_before(&'w self, job: &'static str, workflow: &str, event: &Event) -> Paused<'w> {
        let artifacts = Artifacts::new();
        *self.pause.lock().unwrap() = Some((job, Names::default()));
        let outcome = self.run_with(workflow, event, &artifacts);
        assert!(outcome.is_well(), "{:?}", outcome.jobs);
        let names = self.pause.lock().unwrap().take().unwrap().1;
        Paused { runner: self, workflow: self.workflow(workflow), job, event: event.clone(), names, artifacts }
    }

    fn workflow(&self, name: &str) -> Workflow {
        let other = self.instead.iter().find(|other| other.name == name);
        other.cloned().unwrap_or_else(|| Workflow::read(name))
    }

    fn run_with(&self, workflow: &str, event: &Event, artifacts: &Artifacts) -> Outcome {
        let mut names = Names::default();
        let inputs = event.inputs.iter().map(|(name, value)| (format!("inputs.{name}"), value.as_str()));
        let declared = self.workflow(workflow).value["on"]["workflow_dispatch"]["inputs"].clone();
        for (name, input) in declared.as_object().into_iter().flatten() {
            names.set(&format!("inputs.{name}"), input["default"].as_str().unwrap_or_default());
        }
        inputs.for_each(|(name, value)| names.set(&name, value));
        if let Some(aws) = &self.site.aws {
            names.set("secrets.AWS_ACCOUNT_ID", &aws.account);
        }
        self.site.settings.iter().for_each(|(name, value)| names.set(name, value));
        let outcome = self.run_workflow(workflow, event, names, None, artifacts);
        if let Some(aws) = &self.site.aws {
            self.used.lock().unwrap().assert_listed(aws.role);
        }
        outcome
    }

    fn run_workflow(
        &self,
        workflow: &str,
        event: &Event,
        mut names: Names,
        granted: Option<&Value>,
        artifacts: &Artifacts,
    ) -> Outcome {
        let workflow = self.workflow(workflow);
        for (name, value) in [
            ("github.token", TOKEN),
            ("github.event_name", event.name),
            ("github.ref", &event.reference),
            ("github.ref_name", event.ref_name()),
            ("github.repository", REPOSITORY),
        ] {
            names.set(name, value);
        }
        // What only a caller gives is nothing where nobody calls.
        let inputs = workflow.value["on"]["workflow_call"]["inputs"].as_object().into_iter().flatten();
        inputs.for_each(|(name, _)| names.set_unless_known(&format!("inputs.{name}"), ""));
        let mut outcome = Outcome::default();
        for (id, job) in workflow.jobs() {
            for needed in needs(job) {
                names.set(&format!("needs.{needed}.result"), outcome.result(needed));
            }
            let wanted = is_wanted(&job["if"], &BeforeJob { names: &names, outcome: &outcome, needs: needs(job) });
            if !wanted || self.pauses_before(id, &names) {
                outcome.jobs.insert(id.into(), Ended::Skipped);
                continue;
            }
            if let Some(granted) = granted {
                assert_granted(&job["permissions"], granted, &format!("{} of {}", id, workflow.name));
            }
            let outputs = match job["uses"].as_str() {
                Some(called) => {
                    assert!(
                        job["continue-on-error"].is_null(),
                        "GitHub does not know that of a job that calls a workflow"
                    );
                    let mut inner = Names::default();
                    job_inputs(&names, job).iter().for_each(|(name, value)| inner.set(name, value));
                    let called = called.strip_prefix("./.github/workflows/").unwrap();
                    let done = self.run_workflow(called, event, inner, Some(&job["permissions"]), artifacts);
                    outcome.jobs.extend(done.jobs.into_iter().map(|(inner, ended)| (format!("{id}/{inner}"), ended)));
                    done.outputs
                }
                None => self.run_job(&workflow, id, job, event, &names, artifacts, &mut outcome),
            };
            for (name, value) in outputs {
                names.set(&format!("needs.{id}.outputs.{name}"), &value);
                names.set(&format!("jobs.{id}.outputs.{name}"), &value);
            }
        }
        let declared = workflow.value["on"]["workflow_call"]["outputs"].as_object().into_iter().flatten();
        let is_well = outcome.is_well();
        let done = BeforeJob { names: &names, outcome: &outcome, needs: Vec::new() };
        let declared = declared.filter(|_| is_well);
        let outputs = declared.map(|(name, output)| (name.clone(), render(output["value"].as_str().unwrap(), &done)));
        let outputs = outputs.collect();
        Outcome { outputs, ..outcome }
    }
}

/// A run that stands before one of its jobs. It can be gone on with again and again, each time from there.
pub struct Paused<'r> {
    runner: &'r Runner<'r>,
    workflow: Workflow,
    job: &'static str,
    event: Event,
    names: Names,
    artifacts: Artifacts,
}

impl Paused<'_> {
    /// Runs the job after something was done to what it is told, and to what was handed on.
    pub fn go_on(&self, meanwhile: impl FnOnce(&mut Names, &Artifacts)) -> Ended {
        let (mut names, artifacts) = (self.names.clone(), self.artifacts.another());
        meanwhile(&mut names, &artifacts);
        self.run(self.job, &names, &artifacts).0
    }

    /// Runs a job before it once more, on a machine that has somebody's programs before all others; its outputs, too.
    pub fn again(&self, job: &str, evil: &Path) -> (Ended, BTreeMap<String, String>) {
        *self.runner.evil.lock().unwrap() = Some(evil.into());
        let done = self.run(job, &self.names, &self.artifacts.another());
        *self.runner.evil.lock().unwrap() = None;
        done
    }

    /// The folder of the artifact whose number is an output of a job before it.
    pub fn handed_on(&self, job: &str, output: &str) -> PathBuf {
        self.artifacts.folder(&self.names.get(&format!("needs.{job}.outputs.{output}")).text())
    }

    fn run(&self, id: &str, names: &Names, artifacts: &Artifacts) -> (Ended, BTreeMap<String, String>) {
        let (job, mut outcome) = (&self.workflow.value["jobs"][id], Outcome::default());
        let outputs = self.runner.run_job(&self.workflow, id, job, &self.event, names, artifacts, &mut outcome);
        (outcome.jobs.remove(id).unwrap(), outputs)
    }
}

impl Runner<'_> {
    fn pauses_before(&self, id: &str, names: &Names) -> bool {
        let mut pause = self.pause.lock().unwrap();
        let Some((_, kept)) = pause.as_mut().filter(|(job, _)| *job == id) else { return false };
        *kept = names.clone();
        true
    }

    /// Runs a job on a machine of its own, or on one for each combination of its matrix; its outputs.
    #[expect(clippy::too_many_arguments, reason = "all that a job is told")]
    fn run_job(
        &self,
        workflow: &Workflow,
        id: &str,
        job: &Value,
        event: &Event,
        names: &Names,
        artifacts: &Artifacts,
        outcome: &mut Outcome,
    ) -> BTreeMap<String, String> {
        let mut outputs = BTreeMap::new();
        for combination in combinations(job) {
            let mut names = names.clone();
            combination.iter().for_each(|(name, value)| names.set(&format!("matrix.{name}"), value));
            let title = titled(id, &combination);
            let mut machine = Machine::new(self, workflow, id, job, event, names, artifacts);
            let ended = match machine.run(&title) {
                Ended::Badly(step, said) if job["continue-on-error"] == true => Ended::Forgiven(step, said),
                ended => ended,
            };
            outcome.jobs.insert(title, ended);
            outputs = render_all(&job["outputs"], &machine);
        }
        outputs
    }
}

/// Every combination of a job's matrix; an empty one where it has none.
fn combinations(job: &Value) -> Vec<Vec<(String, String)>> {
    let mut all = vec![Vec::new()];
    for (name, values) in job["strategy"]["matrix"].as_object().into_iter().flatten() {
        let values = values.as_array().unwrap();
        assert!(!["include", "exclude"].contains(&name.as_str()), "the tests do not know {name} in a matrix");
        all = all
            .into_iter()
            .flat_map(|before| {
                values
                    .iter()
                    .map(move |value| [&before[..], &[(name.clone(), value.as_str().unwrap().to_owned())]].concat())
            })
            .collect();
    }
    all
}

/// A job's id, with the values of its combination after a slash.
fn titled(id: &str, combination: &[(String, String)]) -> String {
    let values: Vec<&str> = combination.iter().map(|(_, value)| value.as_str()).collect();
    if values.is_empty() { id.to_owned() } else { format!("{id}/{}", values.join(", ")) }
}

/// The names that the policies in the guide are about.
const ACCOUNT: &str = "123456789012";
const BUCKET: &str = "arn:aws:s3:::kube9-charts-123456789012";
const CERTIFICATE: &str = "arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef";

/// What a called workflow is told: inputs, and the secrets that it is handed one by one.
fn job_inputs(names: &Names, job: &Value) -> BTreeMap<String, String> {
    let outcome = Outcome::default();
    let context = BeforeJob { names, outcome: &outcome, needs: Vec::new() };
    let inputs = render_all(&job["with"], &context).into_iter().map(|(name, value)| (format!("inputs.{name}"), value));
    let secrets =
        render_all(&job["secrets"], &context).into_iter().map(|(name, value)| (format!("secrets.{name}"), value));
    inputs.chain(secrets).collect()
}

/// GitHub refuses a called job that wants more than its caller has.
fn assert_granted(wanted: &Value, granted: &Value, who: &str) {
    for (name, level) in scalars(wanted) {
        let given = granted[&name].as_str();
        assert!(given == Some("write") || given == Some(&level), "{who} wants {name}: {level}, and is given {given:?}");
    }
}

/// One machine for one job.
pub struct Machine<'r> {
    pub runner: &'r Runner<'r>,
    pub workflow: &'r Workflow,
    pub id: &'r str,
    pub job: &'r Value,
    pub event: &'r Event,
    names: Names,
    pub artifacts: &'r Artifacts,
    home: TempDir,
    /// Folders of programs, the first that is looked into first.
    pub path: Vec<PathBuf>,
    pub environment: BTreeMap<String, String>,
    /// What is done when all steps are: the newest first.
    after: Vec<After>,
    /// The rights of the token that were needed.
    rights: BTreeSet<&'static str>,
    has_role: bool,
    /// What uploads of reports left for those after them.
    pub uploads: BTreeSet<String>,
    failed: Option<(String, String)>,
    /// The commit of the event.
    commit: String,
}

/// What an action does then.
pub enum After {
    /// Keeps a cache, where all went well.
    Save { key: String, paths: Vec<String> },
}

impl Context for Machine<'_> {
    fn named(&self, name: &str) -> expression::Value {
        match name.strip_prefix("env.") {
            Some(variable) => expression::Value::Text(self.environment.get(variable).cloned().unwrap_or_default()),
            None => self.names.get(name),
        }
    }

    fn call(&self, function: &str, given: &[expression::Value]) -> expression::Value {
        let truth = match function {
            "success" => self.failed.is_none(),
            "failure" => self.failed.is_some(),
            "always" => true,
            "cancelled" => false,
            "hashFiles" => return expression::Value::Text(hash_files(&self.work(), given)),
            _ => panic!("the tests do not know the function {function}"),
        };
        expression::Value::Bool(truth)
    }
}

impl<'r> Machine<'r> {
    fn new(
        runner: &'r Runner<'r>,
        workflow: &'r Workflow,
        id: &'r str,
        job: &'r Value,
        event: &'r Event,
        names: Names,
        artifacts: &'r Artifacts,
    ) -> Self {
        let home = folder_in_memory();
        for folder in ["bin", "needed", "root", "temp", "work"] {
            std::fs::create_dir(home.path().join(folder)).unwrap();
        }
        let tools = if runner.site.aws.is_some() { Tools::OfThisMachine } else { Tools::Pretended };
        stand_ins(home.path(), &tools, runner.ci_ends_with);
        std::fs::write(home.path().join("event.json"), event.payload.to_string()).unwrap();
        let path = vec![home.path().join("bin"), runner.builders.path().into(), runner.programs.path().into()];
        let mut machine = Machine {
            runner,
            workflow,
            id,
            job,
            event,
            names,
            artifacts,
            home,
            path,
            environment: BTreeMap::new(),
            after: Vec::new(),
            rights: BTreeSet::new(),
            has_role: false,
            uploads: BTreeSet::new(),
            failed: None,
            commit: git(&runner.site.origin, &["rev-parse", &format!("{}^{{commit}}", event.is_at())]),
        };
        let runs_on = render(job["runs-on"].as_str().unwrap(), &machine);
        machine.names.set("runner.os", if runs_on.starts_with("macos") { "macOS" } else { "Linux" });
        machine.environment = render_all(&workflow.value["env"], &machine);
        let own = render_all(&job["env"], &machine);
        machine.environment.extend(own);
        if let Some(trivy) = runner.trivy.as_ref().filter(|_| machine.environment.contains_key("TRIVY")) {
            let archive = format!("file://{}", trivy.path().join("trivy.tar.gz").display());
            machine.environment.insert("TRIVY".into(), archive);
            machine.environment.insert("TRIVY_SHA256".into(), runner.trivy_sha256.clone());
        }
        machine
    }

    pub fn os(&self) -> String {
        self.names.get("runner.os").text()
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn work(&self) -> PathBuf {
        self.home.path().join("work")
    }

    fn places(&self) -> (PathBuf, PathBuf) {
        (self.home().to_owned(), self.work())
    }

    fn run(&mut self, title: &str) -> Ended {
        let before = self.asked();
        let mut all_run = true;
        for step in steps(self.job) {
            if is_wanted(&step["if"], self) {
                self.step(step);
            } else {
                all_run = false;
            }
        }
        while let Some(After::Save { key, paths }) = self.after.pop() {
            if self.failed.is_none() {
                self.save(&key, &paths);
            }
        }
        self.note_what_was_asked(&before);
        let told = std::fs::read_to_string(self.home.path().join("told")).unwrap_or_default();
        let told: String = told.lines().map(|line| format!("{title}: {line}\n")).collect();
        self.runner.told.lock().unwrap().push_str(&told);
        let Some((step, said)) = self.failed.take() else {
            if all_run {
                self.assert_no_right_is_idle();
            }
            return Ended::Well;
        };
        Ended::Badly(step, said)
    }

    fn asked(&self) -> Vec<Vec<Need>> {
        self.runner.site.aws.as_ref().map(|aws| (aws.asked)()).unwrap_or_default()
    }

    fn note_what_was_asked(&self, before: &[Vec<Need>]) {
        let Some(aws) = &self.runner.site.aws else { return };
        let after = self.asked();
        let new: Vec<Need> =
            after.iter().zip(before).flat_map(|(after, before)| after[before.len()..].to_vec()).collect();
        assert!(self.has_role || new.is_empty(), "{} of {} has no role, and asks {new:?}", self.id, self.workflow.name);
        self.runner.used.lock().unwrap().note(new, &aws.named);
    }

    /// A right that no step of a job needs is one too many.
    fn assert_no_right_is_idle(&self) {
        let given: BTreeSet<String> = scalars(&self.job["permissions"]).into_keys().collect();
        let used: BTreeSet<String> = self.rights.iter().map(|right| (*right).to_owned()).collect();
        let idle: Vec<&String> = given.difference(&used).collect();
        assert!(idle.is_empty(), "no step of {} in {} needs {idle:?}", self.id, self.workflow.name);
    }

    fn step(&mut self, step: &Value) {
        let name = step["name"].as_str().or(step["uses"].as_str()).or(step["run"].as_str()).unwrap().to_owned();
        let result = match step["uses"].as_str() {
            Some(uses) => {
                let with = render_all(&step["with"], self);
                let outputs = self.action(uses.split('@').next().unwrap(), &with);
                outputs.map(|outputs| self.note_outputs(step["id"].as_str(), outputs))
            }
            None => self.command(step, &name),
        };
        if let Err(said) = result
            && self.failed.is_none()
            && step["continue-on-error"] != true
        {
            self.failed = Some((name, said));
        }
    }

    fn note_outputs(&mut self, id: Option<&str>, outputs: Vec<(String, String)>) {
        for (name, value) in outputs.into_iter().filter(|_| id.is_some()) {
            self.names.set(&format!("steps.{}.outputs.{name}", id.unwrap()), &value);
        }
    }

    /// Whether the job's token has a right, which is then one that was needed.
    pub fn has_right(&mut self, right: &'static str, level: &str) -> bool {
        self.rights.insert(right);
        let given = self.job["permissions"][right].as_str();
        given == Some("write") || given == Some(level)
    }

    /// The workflow that the job is of, as tokens name it: a called one by its own place, at its caller's ref.
    fn job_workflow_ref(&self) -> String {
        format!("{REPOSITORY}/.github/workflows/{}@{}", self.workflow.name, self.event.reference)
    }

    /// The job takes a role, by a token that says which workflow it is of.
    pub fn take_role(&mut self, role: &str) -> Result<(), String> {
        let aws = self.runner.site.aws.as_ref().unwrap();
        if role != format!("arn:aws:iam::{}:role/kube9-operator-charts-{}", aws.account, aws.role) {
            return Err(
                "Could not assume role with OIDC: Not authorized to perform sts:AssumeRoleWithWebIdentity".into()
            );
        }
        let environment = self.job["environment"].as_str();
        let subject = environment.map_or_else(
            || format!("repo:{REPOSITORY}:ref:{}", self.event.reference),
            |environment| format!("repo:{REPOSITORY}:environment:{environment}"),
        );
        let claims = json!({
            "aud": "sts.amazonaws.com",
            "environment": environment,
            "job_workflow_ref": self.job_workflow_ref(),
            "ref": self.event.reference,
            "repository_id": REPOSITORY_ID,
            "sub": subject,
        });
        self.runner.used.lock().unwrap().take(&claims);
        self.has_role = true;
        self.environment.extend([
            ("AWS_ACCESS_KEY_ID".into(), aws.credentials.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY".into(), aws.credentials.secret_key.clone()),
        ]);
        Ok(())
    }

    pub fn whole(&self) -> &'r Whole {
        self.runner.whole()
    }

    /// Looks for a cache; the key that was found.
    pub fn restore(&self, key: &str, others: &[String], paths: &[String]) -> Result<Option<String>, String> {
        let (home, work) = self.places();
        self.runner.caches.restore(&self.event.scopes(), key, others, paths, Places { home: &home, work: &work })
    }

    /// Keeps a cache. Where that goes wrong, it is only said.
    pub fn save(&self, key: &str, paths: &[String]) {
        let (home, work) = self.places();
        let places = Places { home: &home, work: &work };
        let owned_by_root = std::fs::read_to_string(home.join("of-root")).unwrap_or_default();
        let is_roots = |path: &&String| owned_by_root.lines().any(|line| places.path(path).starts_with(line));
        let saved = match paths.iter().find(is_roots) {
            Some(path) => Err(format!("tar: {path}: Cannot open: Permission denied")),
            None => self.runner.caches.save(&self.event.scopes(), key, paths, places),
        };
        if let Err(said) = saved {
            self.runner.told.lock().unwrap().push_str(&format!("no cache {key}: {said}\n"));
        }
    }

    /// Has something done when all steps are done.
    pub fn afterwards(&mut self, after: After) {
        self.after.push(after);
    }

    /// The commit of the event: on its branch, or detached; with every branch and tag where it is told so, else alone.
    pub fn check_out(&self, whole: bool) {
        let (work, reference) = (self.work(), &self.event.reference);
        let origin = format!("file://{}", self.runner.site.origin.display());
        git(&work, &["init", "--quiet", "--initial-branch=main"]);
        git(&work, &["remote", "add", "origin", &origin]);
        let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        let one = format!("+{}:refs/remotes/origin/checked-out", self.event.is_at());
        let wanted: Vec<&str> = if whole { [&all[..], &[&one]].concat() } else { vec!["--depth=1", &one] };
        git(&work, &[&["fetch", "--quiet", "--no-tags", "origin"], wanted.as_slice()].concat());
        match reference.strip_prefix("refs/heads/") {
            Some(branch) => {
                git(&work, &["checkout", "--quiet", "--force", "-B", branch, "refs/remotes/origin/checked-out"])
            }
            None => git(&work, &["checkout", "--quiet", "--force", "--detach", "refs/remotes/origin/checked-out"]),
        };
        git(&work, &["update-ref", "-d", "refs/remotes/origin/checked-out"]);
    }

    fn command(&mut self, step: &Value, name: &str) -> Result<(), String> {
        // A shell knows what its children took of a processor: so the step's own shell is one.
        const TIMED: &str = "\"$@\"; code=$?; times >\"$0\"; exit $code";
        let file = |name: &str| self.home.path().join(name);
        let (script, times) = (file("script.sh"), file("times"));
        std::fs::write(&script, render(step["run"].as_str().unwrap(), self)).unwrap();
        let folder = step["working-directory"].as_str().or(self.job["defaults"]["run"]["working-directory"].as_str());
        let mut command = Command::new(file("bin/bash"));
        command.args(["-c", TIMED]).arg(&times).arg(file("bin/bash"));
        // GitHub's own words for a shell that was named, and for one that was not.
        let shell = step["shell"].as_str().or(self.workflow.value["defaults"]["run"]["shell"].as_str());
        match shell {
            Some("bash") => command.args(["--noprofile", "--norc", "-e", "-o", "pipefail"]),
            None => command.arg("-e"),
            Some(other) => panic!("the tests do not know the shell {other}"),
        };
        let own = render_all(&step["env"], self);
        command.arg(&script).current_dir(self.work().join(folder.unwrap_or_default())).env_clear();
        let evil = self.runner.evil.lock().unwrap().clone();
        let path = std::env::join_paths(evil.iter().chain(&self.path)).unwrap();
        command.env("PATH", path).env("HOME", self.home.path());
        command.envs(network()).envs(self.machines()).envs(&self.environment).envs(&own);
        if let Some(whole) = self.runner.site.whole {
            // The registry knows what each job's token is good for.
            let packages = match self.job["permissions"]["packages"].as_str() {
                Some("write") => Packages::Write,
                Some("read") => Packages::Read,
                _ => Packages::None,
            };
            whole.production.registry.knows_token(TOKEN, packages);
        }
        // A job that may ask for a token of its identity can sign.
        if let Some(whole) = self.runner.site.whole.filter(|_| self.job["permissions"]["id-token"] == "write") {
            match self.runner.sigstore {
                Some(sigstore) => command.envs(sigstore.job(&self.job_workflow_ref())),
                None => command.env(SIGNING_KEY, &whole.production.signing_key),
            };
        }
        if own.get("GITHUB_TOKEN").is_some_and(|token| token == TOKEN) {
            self.has_right("packages", "read");
        }
        let github = || self.runner.github.known.lock().unwrap();
        github().may_read_checks = self.job["permissions"]["checks"].is_string();
        github().may_write_issues = self.job["permissions"]["issues"] == "write";
        github().may_write_contents = self.job["permissions"]["contents"] == "write";
        let run = Run::of(command);
        let used = {
            let mut github = github();
            [
                ("checks", std::mem::take(&mut github.read_checks)),
                ("contents", std::mem::take(&mut github.wrote_contents)),
                ("issues", std::mem::take(&mut github.wrote_issues)),
            ]
        };
        self.rights.extend(used.iter().filter(|(_, used)| *used).map(|(right, _)| right));
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(!said.contains(TOKEN), "the token is shown:\n{said}");
        let times = std::fs::read_to_string(times).unwrap_or_default();
        self.runner.times.lock().unwrap().insert(name.to_owned(), processor_time(&times));
        self.take_over(step["id"].as_str());
        if run.code == Some(0) { Ok(()) } else { Err(format!("exit code {:?}\n{said}", run.code)) }
    }

    /// What GitHub and the machine itself put into the environment of every step.
    fn machines(&self) -> Vec<(&'static str, String)> {
        let file = |name: &str| self.home.path().join(name).display().to_string();
        let home = std::env::var("HOME").unwrap();
        let real = |name: &str, folder: &str| std::env::var(name).unwrap_or_else(|_| format!("{home}/{folder}"));
        let own = vec![
            ("CARGO_HOME", if self.runner.site.aws.is_some() { real("CARGO_HOME", ".cargo") } else { file(".cargo") }),
            ("RUSTUP_HOME", real("RUSTUP_HOME", ".rustup")),
            ("CI", "true".into()),
            ("GITHUB_ACTIONS", "true".into()),
            ("GITHUB_ACTOR", "octocat".into()),
            ("GITHUB_API_URL", self.runner.github.api.url()),
            ("GITHUB_ENV", file("env")),
            ("GITHUB_EVENT_NAME", self.event.name.into()),
            ("GITHUB_EVENT_PATH", file("event.json")),
            ("GITHUB_JOB", self.id.into()),
            ("GITHUB_OUTPUT", file("output")),
            ("GITHUB_PATH", file("path")),
            ("GITHUB_REF", self.event.reference.clone()),
            ("GITHUB_SHA", self.commit.clone()),
            ("GITHUB_REPOSITORY", REPOSITORY.into()),
            ("GITHUB_STEP_SUMMARY", file("summary.md")),
            ("GITHUB_REPOSITORY_ID", REPOSITORY_ID.into()),
            ("GITHUB_RUN_ID", "77".into()),
            ("GITHUB_SERVER_URL", "https://github.com".into()),
            ("GITHUB_WORKSPACE", file("work")),
            ("RUNNER_OS", self.os()),
            ("RUNNER_TEMP", file("temp")),
        ];
        own.into_iter().chain(self.runner.site.servers.iter().cloned()).collect()
    }

    /// What a step handed on in its files.
    fn take_over(&mut self, id: Option<&str>) {
        let take = |name: &str| {
            let path = self.home.path().join(name);
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            std::fs::remove_file(path).ok();
            text
        };
        let (outputs, paths, variables) = (take("output"), take("path"), take("env"));
        self.runner.summary.lock().unwrap().push_str(&take("summary.md"));
        let pairs = |text: &str| -> Vec<(String, String)> {
            assert!(!text.contains("<<"), "the tests know values of one line");
            text.lines()
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| (name.into(), value.into()))
                .collect()
        };
        for line in paths.lines() {
            self.path.insert(0, line.into());
        }
        self.environment.extend(pairs(&variables));
        self.note_outputs(id, pairs(&outputs));
    }
}

/// What bash's `times` says of the programs that it ran: `0m1.234s 0m0.567s`.
pub fn processor_time(times: &str) -> Duration {
    let seconds = |text: &str| {
        let (minutes, seconds) = text.trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    };
    Duration::from_secs_f64(times.lines().last().unwrap_or_default().split_whitespace().map(seconds).sum())
}

/// The hash of all files that patterns find, as GitHub makes it: of the hashes of each; nothing where there are none.
fn hash_files(work: &Path, patterns: &[expression::Value]) -> String {
    let patterns: Vec<String> = patterns.iter().map(expression::Value::text).collect();
    assert!(
        patterns.iter().all(|pattern| !pattern.starts_with('!')),
        "the tests do not know the patterns {patterns:?}"
    );
    let files = below(work, true);
    let is_meant = |file: &&PathBuf| patterns.iter().any(|pattern| matches(pattern, &file.to_string_lossy()));
    let hashes: Vec<_> =
        files.iter().filter(is_meant).map(|file| Sha256::digest(std::fs::read(work.join(file)).unwrap())).collect();
    if hashes.is_empty() {
        return String::new();
    }
    xtask::oci::sha256_hex(&hashes.concat())
}

/// How this machine reaches package registries, where that is not as everywhere.
fn network() -> Vec<(String, String)> {
    let names =
        ["HTTPS_PROXY", "HTTP_PROXY", "NODE_EXTRA_CA_CERTS", "NO_PROXY", "NPM_CONFIG_REGISTRY", "NPM_CONFIG_CAFILE"];
    let is_one = |name: &str| names.contains(&name.to_uppercase().as_str());
    let mut set: Vec<_> = std::env::vars().filter(|(name, _)| is_one(name)).collect();
    let own = Path::new(&std::env::var("HOME").unwrap()).join(".npmrc");
    if own.exists() {
        set.push(("NPM_CONFIG_USERCONFIG".into(), own.display().to_string()));
    }
    set
}
