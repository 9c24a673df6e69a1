//! Runs workflows on this machine as GitHub does: every `run:` as it is written, by the shell that GitHub takes, in a fresh clone and
//! an environment that holds what the job is given and nothing else.
//!
//! What is not run is an action (`uses:`): `action` says what each leaves behind for the steps after it. Not real either are GitHub's API
//! (`GitHub`: a fake that knows releases), `sudo` and `rustup` (which say that all is done), `cargo` (which has `xtask` compiled already
//! and takes cargo-auditable from the test tools), and the archive that Trivy comes in, whose URL and hash are this runner's.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::file::{Names, Workflow, scalars, steps};
use crate::servers::{Account, Answer, Credentials, Dialect, Proxy, Way, Whole};
use crate::support::{Run, build_programs, copy_tree, free_port, git, programs, script, tool};

const REPOSITORY: &str = "alto9/kube9-operator";
/// The workflow's own token. No step may have it that does not name it.
const TOKEN: &str = "canary-workflow-token";
const ACCOUNT: &str = "123456789012";

/// GitHub's API, as far as it tells the releases of tags: a fake.
pub struct GitHub {
    pub api: Proxy,
    releases: Arc<Mutex<BTreeMap<String, bool>>>,
}

impl GitHub {
    pub fn start() -> Self {
        let releases = Arc::new(Mutex::new(BTreeMap::<String, bool>::new()));
        let known = Arc::clone(&releases);
        let answer = move |path: &str| {
            let tag = path.strip_prefix(&format!("/repos/{REPOSITORY}/releases/tags/"));
            let found = tag.and_then(|tag| Some((tag, *known.lock().unwrap().get(tag)?)));
            match found {
                Some((tag, prerelease)) => {
                    let release = json!({"tag_name": tag, "draft": false, "prerelease": prerelease});
                    Answer::new(200, "application/json", release.to_string())
                }
                None => Answer::new(404, "application/json", r#"{"message":"Not Found"}"#),
            }
        };
        let route = move |asked: &mut crate::servers::Asked| Way::Here(answer(&asked.path));
        GitHub { api: Proxy::with(free_port(), Dialect::Registry, route, |_, answer| answer), releases }
    }

    /// Somebody publishes a release of a tag, with or without the tick.
    pub fn publish(&self, tag: &str, prerelease: bool) {
        self.releases.lock().unwrap().insert(tag.into(), prerelease);
    }
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

    pub fn schedule() -> Self {
        let reference = "refs/heads/main".into();
        Event { name: "schedule", reference, payload: json!({}), inputs: Vec::new() }
    }

    pub fn push() -> Self {
        Event { name: "push", ..Self::schedule() }
    }

    pub fn pull_request() -> Self {
        Event { name: "pull_request", ..Self::schedule() }
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Well,
    /// With the name of the step, and what it said.
    Badly(String, String),
    Skipped,
}

/// What a run of a workflow did: its jobs by their ids, those of a called workflow after the caller's and a slash.
#[derive(Debug, Default)]
pub struct Outcome {
    pub jobs: BTreeMap<String, Ended>,
    outputs: BTreeMap<String, String>,
}

impl Outcome {
    /// Asserts that these jobs ended well, and no others were there.
    #[track_caller]
    pub fn well(&self, jobs: &[&str]) -> &Self {
        let expected = jobs.iter().map(|job| ((*job).to_owned(), Ended::Well)).collect::<BTreeMap<_, _>>();
        assert_eq!(self.jobs, expected);
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

    /// Whether a job, or every job of a called workflow, ended well.
    fn ended_well(&self, id: &str) -> bool {
        let of_it = |job: &str| job == id || job.strip_prefix(id).is_some_and(|rest| rest.starts_with('/'));
        self.jobs.iter().filter(|(job, _)| of_it(job)).all(|(_, ended)| *ended == Ended::Well)
    }

    /// Whether a job runs after what the others did.
    fn calls_for(&self, job: &Value, event: &Event) -> bool {
        match job["if"].as_str() {
            None => match &job["needs"] {
                Value::String(one) => self.ended_well(one),
                several => several.as_array().into_iter().flatten().all(|one| self.ended_well(one.as_str().unwrap())),
            },
            Some("${{ !cancelled() && needs.build.result == 'success' }}") => self.ended_well("build"),
            Some("github.event_name == 'pull_request'") => event.name == "pull_request",
            Some("github.event_name != 'pull_request'") => event.name != "pull_request",
            Some(other) => panic!("the tests do not know the condition `{other}`"),
        }
    }
}

/// What jobs meet: the repository, AWS, and whatever else the machine reaches.
struct Site<'w> {
    origin: PathBuf,
    credentials: &'w Credentials,
    /// The role that jobs take.
    role: &'static str,
    /// The secrets and variables of the repository.
    settings: Vec<(&'static str, String)>,
    /// What the machine's environment says of the servers that stand in for AWS's.
    servers: Vec<(&'static str, String)>,
    /// What a release needs; a deployment does not.
    whole: Option<&'w Whole>,
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
    /// Reports that reached the Security tab.
    pub findings: Mutex<Vec<Value>>,
    /// Attested digests.
    pub attested: Mutex<Vec<String>>,
    /// What was said to sudo and rustup.
    pub installed: Mutex<String>,
    times: Mutex<BTreeMap<String, Duration>>,
}

impl<'w> Runner<'w> {
    /// Where versions are released.
    pub fn new(whole: &'w Whole) -> Self {
        let production = &whole.production;
        let (trivy, trivy_sha256) = trivy_archive(whole);
        let site = Site {
            origin: production.origin.path().into(),
            credentials: &production.store.credentials,
            role: "publish",
            settings: Vec::new(),
            // The machine trusts the edge.
            servers: vec![("SSL_CERT_FILE", production.edge.authority().display().to_string())],
            whole: Some(whole),
        };
        Runner { trivy: Some(trivy), trivy_sha256, ..Self::at(site) }
    }

    /// Where the infrastructure is deployed, from a remote that has it.
    pub fn in_account(account: &'w Account, origin: &Path) -> Self {
        Self::at(Site {
            origin: origin.into(),
            credentials: &account.store.credentials,
            role: "deploy",
            settings: account.settings(),
            servers: account.servers(),
            whole: None,
        })
    }

    fn at(site: Site<'w>) -> Self {
        const SYSTEM: [&str; 16] = [
            "bash",
            "cat",
            "cp",
            "curl",
            "env",
            "git",
            "gzip",
            "id",
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
            builders: build_programs(),
            trivy: None,
            trivy_sha256: String::new(),
            findings: Mutex::default(),
            attested: Mutex::default(),
            installed: Mutex::default(),
            times: Mutex::default(),
        }
    }

    /// What a release meets; jobs that deploy need no registry and no scanner.
    fn whole(&self) -> &Whole {
        self.site.whole.unwrap()
    }

    /// How long a step took.
    pub fn took(&self, step: &str) -> Duration {
        self.times.lock().unwrap()[step]
    }

    /// Runs a workflow to its end.
    pub fn run(&self, workflow: &str, event: &Event) -> Outcome {
        let mut names = Names::default();
        let inputs = event.inputs.iter().map(|(name, value)| (format!("inputs.{name}"), value.as_str()));
        let declared = Workflow::read(workflow).value["on"]["workflow_dispatch"]["inputs"].clone();
        for (name, input) in declared.as_object().into_iter().flatten() {
            names.set(&format!("inputs.{name}"), input["default"].as_str().unwrap_or_default());
        }
        inputs.for_each(|(name, value)| names.set(&name, value));
        names.set("secrets.AWS_ACCOUNT_ID", ACCOUNT);
        self.site.settings.iter().for_each(|(name, value)| names.set(name, value));
        self.run_workflow(workflow, event, names, None, &tempfile::tempdir().unwrap())
    }

    fn run_workflow(
        &self,
        workflow: &str,
        event: &Event,
        mut names: Names,
        granted: Option<&Value>,
        artifacts: &TempDir,
    ) -> Outcome {
        let workflow = Workflow::read(workflow);
        names.set("github.token", TOKEN);
        names.set("github.ref_name", event.reference.rsplit('/').next().unwrap());
        let mut outcome = Outcome::default();
        for (id, job) in workflow.jobs() {
            let wanted = outcome.calls_for(job, event);
            if !wanted {
                outcome.jobs.insert(id.into(), Ended::Skipped);
                continue;
            }
            if let Some(granted) = granted {
                assert_granted(&job["permissions"], granted, &format!("{} of {}", id, workflow.name));
            }
            let outputs = match job["uses"].as_str() {
                Some(called) => {
                    let mut inner = Names::default();
                    job_inputs(&names, job).iter().for_each(|(name, value)| inner.set(name, value));
                    let called = called.strip_prefix("./.github/workflows/").unwrap();
                    let done = self.run_workflow(called, event, inner, Some(&job["permissions"]), artifacts);
                    outcome.jobs.extend(done.jobs.into_iter().map(|(inner, ended)| (format!("{id}/{inner}"), ended)));
                    done.outputs
                }
                None => {
                    let mut machine = Machine::new(self, &workflow, job, event, names.clone(), artifacts);
                    let ended = machine.run();
                    outcome.jobs.insert(id.into(), ended);
                    machine.names.render_all(&job["outputs"])
                }
            };
            for (name, value) in outputs {
                names.set(&format!("needs.{id}.outputs.{name}"), &value);
                names.set(&format!("jobs.{id}.outputs.{name}"), &value);
            }
        }
        let declared = workflow.value["on"]["workflow_call"]["outputs"].as_object().into_iter().flatten();
        let is_well = outcome.is_well();
        for (name, output) in declared.filter(|_| is_well) {
            outcome.outputs.insert(name.clone(), names.render(output["value"].as_str().unwrap()));
        }
        outcome
    }
}

/// What a called workflow is told: inputs, and the secrets that it is handed one by one.
fn job_inputs(names: &Names, job: &Value) -> BTreeMap<String, String> {
    let inputs = names.render_all(&job["with"]).into_iter().map(|(name, value)| (format!("inputs.{name}"), value));
    let secrets = names.render_all(&job["secrets"]).into_iter().map(|(name, value)| (format!("secrets.{name}"), value));
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
struct Machine<'r> {
    runner: &'r Runner<'r>,
    workflow: &'r Workflow,
    job: &'r Value,
    event: &'r Event,
    names: Names,
    artifacts: &'r TempDir,
    home: TempDir,
    path: Vec<PathBuf>,
    environment: BTreeMap<String, String>,
    failed: Option<(String, String)>,
}

impl<'r> Machine<'r> {
    fn new(
        runner: &'r Runner<'r>,
        workflow: &'r Workflow,
        job: &'r Value,
        event: &'r Event,
        names: Names,
        artifacts: &'r TempDir,
    ) -> Self {
        let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for folder in ["bin", "temp", "work"] {
            std::fs::create_dir(home.path().join(folder)).unwrap();
        }
        stand_ins(home.path());
        std::fs::write(home.path().join("event.json"), event.payload.to_string()).unwrap();
        let path = vec![home.path().join("bin"), runner.builders.path().into(), runner.programs.path().into()];
        let mut machine = Machine {
            runner,
            workflow,
            job,
            event,
            names,
            artifacts,
            home,
            path,
            environment: BTreeMap::new(),
            failed: None,
        };
        machine.environment = machine.names.render_all(&workflow.value["env"]);
        machine.environment.extend(machine.names.render_all(&job["env"]));
        if let Some(trivy) = runner.trivy.as_ref().filter(|_| machine.environment.contains_key("TRIVY")) {
            let archive = format!("file://{}", trivy.path().join("trivy.tar.gz").display());
            machine.environment.insert("TRIVY".into(), archive);
            machine.environment.insert("TRIVY_SHA256".into(), runner.trivy_sha256.clone());
        }
        machine
    }

    fn work(&self) -> PathBuf {
        self.home.path().join("work")
    }

    fn run(&mut self) -> Ended {
        for step in steps(self.job) {
            let wanted = match step["if"].as_str() {
                None => self.failed.is_none(),
                Some("${{ !cancelled() }}") => true,
                Some(other) => panic!("the tests do not know the condition `{other}`"),
            };
            if wanted {
                self.step(step);
            }
        }
        let installed = std::fs::read_to_string(self.home.path().join("installed")).unwrap_or_default();
        self.runner.installed.lock().unwrap().push_str(&installed);
        self.failed.take().map_or(Ended::Well, |(step, said)| Ended::Badly(step, said))
    }

    fn step(&mut self, step: &Value) {
        let name = step["name"].as_str().or(step["uses"].as_str()).or(step["run"].as_str()).unwrap().to_owned();
        let started = Instant::now();
        let result = match step["uses"].as_str() {
            Some(uses) => self.action(uses.split('@').next().unwrap(), &self.names.render_all(&step["with"])),
            None => self.command(step),
        };
        self.runner.times.lock().unwrap().insert(name.clone(), started.elapsed());
        if let Err(said) = result
            && self.failed.is_none()
        {
            self.failed = Some((name, said));
        }
    }

    /// What an action leaves behind for the steps after it.
    fn action(&mut self, action: &str, with: &BTreeMap<String, String>) -> Result<(), String> {
        let named = |name: &str| with.get(name).map(String::as_str).unwrap_or_default();
        match action {
            // The commit of the event, detached, with every branch and tag where it is told so; else that commit alone.
            "actions/checkout" => self.check_out(named("fetch-depth") == "0"),
            // The files are kept under the artifact's name, from the folder that all of them are in.
            "actions/upload-artifact" => return self.keep(named("name"), named("path"), named("if-no-files-found")),
            "actions/download-artifact" => {
                let kept = self.artifacts.path().join(named("name"));
                if !kept.exists() {
                    return Err(format!("there is no artifact {}", named("name")));
                }
                let place = self.work().join(named("path"));
                std::fs::create_dir_all(&place).unwrap();
                copy_tree(&kept, &place);
            }
            // The later steps of the job have the credentials of the role.
            "aws-actions/configure-aws-credentials" => {
                self.must_have("id-token", "write");
                let role = format!("arn:aws:iam::{ACCOUNT}:role/kube9-operator-charts-{}", self.runner.site.role);
                assert_eq!(named("role-to-assume"), role);
                let who = self.runner.site.credentials;
                let region = named("aws-region").to_owned();
                self.environment.extend([
                    ("AWS_ACCESS_KEY_ID".into(), who.access_key.clone()),
                    ("AWS_SECRET_ACCESS_KEY".into(), who.secret_key.clone()),
                    ("AWS_REGION".into(), region),
                ]);
            }
            // A builder that is used by whoever names none.
            "docker/setup-buildx-action" => {
                let programs = self.runner.whole().programs.path();
                self.path.insert(0, programs.into());
                let config = programs.join(".docker/buildx").display().to_string();
                self.environment.insert("BUILDX_CONFIG".into(), config);
                self.environment.insert("BUILDX_BUILDER".into(), "kit".into());
            }
            // The digest is signed: it must be there for everybody.
            "actions/attest" => {
                self.must_have("attestations", "write");
                self.must_have("id-token", "write");
                let digest = named("subject-digest");
                assert!(self.runner.whole().production.part(digest).is_some(), "`{digest}` is not in the registry");
                self.runner.attested.lock().unwrap().push(digest.into());
            }
            "github/codeql-action/upload-sarif" => {
                self.must_have("security-events", "write");
                for file in std::fs::read_dir(self.work().join(named("sarif_file"))).unwrap() {
                    let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
                    self.runner.findings.lock().unwrap().push(serde_json::from_str(&text).unwrap());
                }
            }
            // They save time, and leave nothing that a step relies on.
            "Swatinem/rust-cache" | "crazy-max/ghaction-github-runtime" | "actions/cache" => {}
            // This machine has it already.
            "actions/setup-node" => {
                let node = std::fs::read_link(tool("node").unwrap()).unwrap();
                self.path.insert(0, node.parent().unwrap().into());
            }
            other => panic!("the tests do not know what {other} leaves behind"),
        }
        Ok(())
    }

    fn must_have(&self, right: &str, level: &str) {
        assert_eq!(self.job["permissions"][right], level, "{right} in {}", self.workflow.name);
    }

    fn check_out(&self, whole: bool) {
        let origin = format!("file://{}", self.runner.site.origin.display());
        let branch = self.event.reference.rsplit('/').next().unwrap();
        let depth: &[&str] = if whole { &[] } else { &["--depth", "1"] };
        git(&self.work(), &[&["clone", "--quiet", "--branch", branch], depth, &[&origin, "."]].concat());
        git(&self.work(), &["checkout", "--quiet", "--detach"]);
    }

    fn keep(&self, name: &str, path: &str, if_none: &str) -> Result<(), String> {
        let place = self.artifacts.path().join(name);
        let (folder, end) = path.split_once("/*").unwrap_or((path, ""));
        let Ok(files) = std::fs::read_dir(self.work().join(folder)) else {
            return if if_none == "error" { Err(format!("there is nothing at {path}")) } else { Ok(()) };
        };
        std::fs::create_dir_all(&place).unwrap();
        if end.is_empty() {
            copy_tree(&self.work().join(folder), &place);
        } else {
            for file in files.map(|file| file.unwrap().path()).filter(|file| file.to_string_lossy().ends_with(end)) {
                std::fs::copy(&file, place.join(file.file_name().unwrap())).unwrap();
            }
        }
        Ok(())
    }

    fn command(&mut self, step: &Value) -> Result<(), String> {
        let file = |name: &str| self.home.path().join(name);
        let scripts = file("script.sh");
        std::fs::write(&scripts, self.names.render(step["run"].as_str().unwrap())).unwrap();
        let folder = self.job["defaults"]["run"]["working-directory"].as_str().unwrap_or_default();
        let mut command = Command::new(file("bin/bash"));
        // GitHub's own words for a shell that was named, and for one that was not.
        let shell = step["shell"].as_str().or(self.workflow.value["defaults"]["run"]["shell"].as_str());
        match shell {
            Some("bash") => command.args(["--noprofile", "--norc", "-e", "-o", "pipefail"]),
            None => command.arg("-e"),
            Some(other) => panic!("the tests do not know the shell {other}"),
        };
        let own = self.names.render_all(&step["env"]);
        command.arg(&scripts).current_dir(self.work().join(folder)).env_clear();
        command.env("PATH", std::env::join_paths(&self.path).unwrap()).env("HOME", self.home.path());
        command.envs(network()).envs(self.machines()).envs(&self.environment).envs(&own);
        // What GitHub's registry takes the token for, this registry takes a docker configuration for.
        if own.get("GITHUB_TOKEN").is_some_and(|token| token == TOKEN) && self.job["permissions"]["packages"] == "write"
        {
            let config = self.runner.whole().production.registry.docker_config();
            std::fs::write(file("config.json"), config).unwrap();
            command.env("DOCKER_CONFIG", self.home.path());
        }
        let run = Run::of(command);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(!said.contains(TOKEN), "the token is shown:\n{said}");
        self.take_over(step["id"].as_str());
        if run.code == Some(0) { Ok(()) } else { Err(format!("exit code {:?}\n{said}", run.code)) }
    }

    /// What GitHub and the machine itself put into the environment of every step.
    fn machines(&self) -> Vec<(&'static str, String)> {
        let file = |name: &str| self.home.path().join(name).display().to_string();
        let home = std::env::var("HOME").unwrap();
        let real = |name: &str, folder: &str| std::env::var(name).unwrap_or_else(|_| format!("{home}/{folder}"));
        let own = vec![
            ("CARGO_HOME", real("CARGO_HOME", ".cargo")),
            ("RUSTUP_HOME", real("RUSTUP_HOME", ".rustup")),
            ("CI", "true".into()),
            ("GITHUB_ACTIONS", "true".into()),
            ("GITHUB_API_URL", self.runner.github.api.url()),
            ("GITHUB_EVENT_NAME", self.event.name.into()),
            ("GITHUB_EVENT_PATH", file("event.json")),
            ("GITHUB_OUTPUT", file("output")),
            ("GITHUB_PATH", file("path")),
            ("GITHUB_REF", self.event.reference.clone()),
            ("GITHUB_REPOSITORY", REPOSITORY.into()),
            ("GITHUB_STEP_SUMMARY", file("summary.md")),
            ("GITHUB_REPOSITORY_ID", "987654321".into()),
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
        let (outputs, paths) = (take("output"), take("path"));
        for line in paths.lines() {
            self.path.insert(0, line.into());
        }
        for (name, value) in outputs.lines().filter_map(|line| line.split_once('=')) {
            self.names.set(&format!("steps.{}.outputs.{name}", id.unwrap()), value);
        }
    }
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

/// The programs that are not what they are called.
fn stand_ins(home: &Path) {
    let note = home.join("installed");
    for name in ["sudo", "rustup"] {
        script(&home.join("bin").join(name), &format!("echo {name} \"$@\" >>'{}'\n", note.display()));
    }
    let (xtask, cargo) = (env!("CARGO_BIN_EXE_xtask"), env!("CARGO"));
    let auditable = tool("cargo-auditable").unwrap();
    let text = format!(
        "case $1 in\nxtask) shift; exec '{xtask}' \"$@\";;\ninstall) echo cargo \"$@\" >>'{}'; ln -s '{}' '{}';;\n\
         *) exec '{cargo}' \"$@\";;\nesac\n",
        note.display(),
        auditable.display(),
        home.join("bin/cargo-auditable").display()
    );
    script(&home.join("bin/cargo"), &text);
    symlink(crate::support::on_path("bash").unwrap(), home.join("bin/bash")).unwrap();
}

/// An archive like the official one, whose program has a database of the test's own to download.
fn trivy_archive(whole: &Whole) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let (cache, trivy) = (whole.laboratory.cache(), whole.laboratory.programs.join("trivy"));
    let text = format!(
        "case \"$*\" in\n'image --download-db-only') mkdir -p \"$HOME/.cache\"; cp -r '{}/trivy' \"$HOME/.cache/\";;\n\
         *) exec '{}' \"$@\";;\nesac\n",
        cache.display(),
        trivy.display()
    );
    script(&folder.path().join("trivy"), &text);
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--file", "trivy.tar.gz", "trivy"]).current_dir(folder.path());
    Run::of(tar).ok();
    let digest = xtask::image::layout::sha256_hex(&std::fs::read(folder.path().join("trivy.tar.gz")).unwrap());
    (folder, digest)
}
