//! The CDK app in `infrastructure/`: what it needs on this machine, the template it makes, and the CDK CLI that deploys that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::{Version, VersionReq};
use serde::Deserialize;
use serde_json::Value;

use xtask::config::Remote;
use xtask::error::{Context, Error, Exit, Result};
use xtask::sys::children::{Call, Running, is_secret};
use xtask::sys::files;
use xtask::sys::tools;
use xtask::ui;

/// Reading a thousand files and making one: more than a minute is a machine in trouble.
const SYNTH_LIMIT: Duration = Duration::from_secs(180);
/// What a slow network may take.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);
/// A distribution takes minutes to reach every edge location, and a failed one as long to go again.
const DEPLOY_LIMIT: Duration = Duration::from_secs(3600);

/// The app, in its folder.
#[derive(Clone, Debug)]
pub struct App {
    folder: PathBuf,
    /// What the app's environment says beside our own.
    said: Vec<(String, String)>,
}

/// What the app made.
#[derive(Clone, Debug)]
pub struct Assembly {
    folder: PathBuf,
    /// The stack's template.
    pub template: Value,
}

impl App {
    /// The app of the workspace in `root`.
    pub fn new(root: &Path) -> Self {
        App { folder: root.join("infrastructure"), said: Vec::new() }
    }

    /// The same with one more variable.
    #[must_use]
    pub fn told(mut self, name: &str, value: &str) -> Self {
        self.said.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes sure that the app can be run: node, npm, and the very packages of `package-lock.json`.
    ///
    /// # Errors
    /// Everything that is missing.
    pub fn prepare(&self) -> Result<(), Vec<Error>> {
        let package = self.manifest("package.json")?;
        let needed = package["engines"]["node"].as_str().unwrap_or("*");
        let tools = [check_node(needed), version_of("npm", needed).map(drop)];
        let missing: Vec<Error> = tools.into_iter().filter_map(Result::err).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        if !self.has_packages()? {
            self.install()?;
        }
        Ok(())
    }

    /// Whether the very packages of `package-lock.json` are installed.
    ///
    /// # Errors
    /// The lock cannot be read, or what says what is installed.
    pub fn has_packages(&self) -> Result<bool> {
        let wanted = self.manifest("package-lock.json")?;
        let installed = files::read(&self.folder.join("node_modules/.package-lock.json"))?;
        let installed = installed.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or(Value::Null);
        Ok(matches_lock(&wanted, &installed))
    }

    /// Starts to make the template.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, out: &Path) -> Result<Synthesis> {
        let words = self.manifest("cdk.json")?;
        let words: Vec<&str> = words["app"].as_str().unwrap_or_default().split_whitespace().collect();
        let [program, arguments @ ..] = &words[..] else {
            return Err(Error::new(Exit::Workspace, "infrastructure/cdk.json names no `app`"));
        };
        files::remove(out)?;
        // As the CDK CLI runs it, without a second start of node and a question to AWS that nobody here needs answered.
        let call = Call::new(program).args(arguments).current_dir(&self.folder).env("CDK_OUTDIR", out);
        let call = self.said.iter().fold(call, |call, (name, value)| call.env(name, value));
        // The app's packages are strangers' programs; what they make of its inputs needs no credentials.
        let call = call.env_retain(|variable| !is_secret(variable));
        Ok(Synthesis { running: call.start_silently()?, out: out.to_owned() })
    }

    /// Deploys what was made. Everything that the CDK CLI says goes to standard error as it comes.
    ///
    /// # Errors
    /// The deployment fails, or takes more than an hour.
    pub fn deploy(&self, assembly: &Assembly, remote: &Remote) -> Result<()> {
        // One request with the template in it: there is no change set that could be left behind.
        let words =
            ["deploy", &remote.stack, "--method", "direct", "--require-approval", "never", "--progress", "events"];
        let call = Call::new(self.folder.join("node_modules/.bin/cdk"))
            .args(words)
            .args(["--no-notices", "--app"])
            .args([&assembly.folder])
            .current_dir(&self.folder)
            .env("CDK_DISABLE_CLI_TELEMETRY", "true")
            .env("AWS_REGION", &remote.region);
        let call = match std::env::var_os("NO_COLOR") {
            Some(_) => call.args(["--no-color"]),
            None => call,
        };
        let endpoints =
            [("CLOUDFORMATION", &remote.endpoints.cloudformation), ("S3", &remote.endpoints.s3)].into_iter();
        let endpoints = endpoints.filter_map(|(service, endpoint)| Some((service, endpoint.as_ref()?)));
        endpoints
            .fold(call, |call, (service, url)| call.env(&format!("AWS_ENDPOINT_URL_{service}"), url))
            .watch(DEPLOY_LIMIT)
    }

    fn manifest(&self, name: &str) -> Result<Value> {
        let path = self.folder.join(name);
        let Some(bytes) = files::read(&path)? else {
            return Err(Error::new(Exit::Workspace, format!("infrastructure/{name} is not there"))
                .because("the infrastructure is a CDK app in that folder"));
        };
        serde_json::from_slice(&bytes).context(Exit::Workspace, || format!("infrastructure/{name} is malformed"))
    }

    fn install(&self) -> Result<()> {
        ui::status("Installing", "the packages of infrastructure/package-lock.json");
        // Whatever NODE_ENV says: the CDK CLI is among those for development.
        let words = ["ci", "--ignore-scripts", "--include=dev", "--no-audit", "--no-fund"];
        ui::step("npm ci", || Call::new("npm").args(words).current_dir(&self.folder).run_silently(INSTALL_LIMIT))
            .map_err(|error| Error { exit: Exit::Environment, ..error })
    }
}

/// A template on its way.
pub struct Synthesis {
    running: Running,
    out: PathBuf,
}

impl Synthesis {
    /// Waits for the template of that stack.
    ///
    /// # Errors
    /// Everything that the app found wrong with its inputs.
    pub fn finish(self, stack: &str) -> Result<Assembly, Vec<Error>> {
        self.running.finish(SYNTH_LIMIT).map_err(complaints)?;
        let bytes = files::read(&self.out.join(format!("{stack}.template.json")))?;
        let template = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(|| {
            Error::new(Exit::Workspace, format!("the infrastructure made no template of stack {stack}"))
        })?;
        Ok(Assembly { folder: self.out, template })
    }
}

/// What the app says of its inputs, each for itself: they are listed with the marks that it makes before them.
fn complaints(error: Error) -> Vec<Error> {
    let said = error.why.clone().unwrap_or_default();
    let listed = said.lines().filter_map(|line| line.strip_prefix("  - "));
    let listed: Vec<Error> = listed.map(|line| Error::new(Exit::Environment, line)).collect();
    if listed.is_empty() { vec![error] } else { listed }
}

fn check_node(needed: &str) -> Result<()> {
    let text = version_of("node", needed)?;
    match (Version::parse(text.trim_start_matches('v')), VersionReq::parse(needed)) {
        (Ok(version), Ok(wanted)) if !wanted.matches(&version) => {
            Err(Error::new(Exit::Environment, format!("node {text} is too old: the infrastructure needs {needed}"))
                .remedy(get_node(needed)))
        }
        _ => Ok(()),
    }
}

fn version_of(program: &str, needed: &str) -> Result<String> {
    let missing = || {
        Error::new(Exit::Environment, format!("`{program}` is not installed"))
            .because("the infrastructure is a CDK app, which node runs")
            .remedy(get_node(needed))
    };
    let program = tools::on_path(program).ok_or_else(missing)?;
    Call::new(program).args(["--version"]).read()
}

fn get_node(needed: &str) -> String {
    format!("install Node.js {needed}, which brings npm (https://nodejs.org)")
}

/// Whether what is installed is what the lock file says. npm writes the list of it last, when all is in place.
fn matches_lock(wanted: &Value, installed: &Value) -> bool {
    let (Some(wanted), Some(installed)) = (packages(wanted), packages(installed)) else { return false };
    let needed = |(path, package): (&String, &Package)| package.optional || installed.contains_key(path);
    wanted.iter().all(needed) && installed.iter().all(|(path, package)| wanted.get(path) == Some(package))
}

/// By path, without the folder itself.
fn packages(lock: &Value) -> Option<BTreeMap<String, Package>> {
    let mut packages: BTreeMap<String, Package> = serde_json::from_value(lock["packages"].clone()).ok()?;
    packages.remove("");
    Some(packages)
}

#[derive(Deserialize, PartialEq)]
struct Package {
    version: Option<String>,
    integrity: Option<String>,
    /// For other machines, perhaps.
    #[serde(default)]
    optional: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lock(version: &str) -> Value {
        json!({"packages": {
            "": {"name": "infrastructure"},
            "node_modules/a": {"version": version, "integrity": "sha512-a"},
            "node_modules/windows": {"version": "1.0.0", "integrity": "sha512-w", "optional": true},
        }})
    }

    fn installed(version: &str) -> Value {
        json!({"packages": {"node_modules/a": {"version": version, "integrity": "sha512-a"}}})
    }

    #[test]
    fn what_is_installed_is_kept_where_it_is_what_the_lock_says() {
        assert!(matches_lock(&lock("1.0.0"), &installed("1.0.0")));
        assert!(!matches_lock(&lock("1.0.1"), &installed("1.0.0")));
        assert!(!matches_lock(&lock("1.0.0"), &json!({"packages": {}})));
        assert!(!matches_lock(&lock("1.0.0"), &Value::Null));
    }

    #[test]
    fn a_package_that_the_lock_does_not_know_is_installed_anew() {
        let mut stray = installed("1.0.0");
        stray["packages"]["node_modules/stray"] = json!({"version": "1.0.0"});
        assert!(!matches_lock(&lock("1.0.0"), &stray));
    }

    #[test]
    fn each_complaint_about_the_inputs_is_a_problem_of_its_own() {
        let said = "The infrastructure's inputs are not right:\n  - A is not set\n  - B is \"x\"; it must be y";
        let problems = complaints(Error::new(Exit::Failure, "`node` exited with code 1").because(said));
        assert_eq!(
            problems.iter().map(|problem| problem.what.as_str()).collect::<Vec<_>>(),
            ["A is not set", "B is \"x\"; it must be y"]
        );
        let crash = Error::new(Exit::Failure, "`node` exited with code 1").because("TypeError");
        assert_eq!(complaints(crash).len(), 1);
    }
}
