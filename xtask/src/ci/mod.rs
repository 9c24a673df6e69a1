//! Everything that CI checks, in the order in which a mistake shows soonest. CI itself runs nothing else.
//!
//! A part is a named child process. The test tools, and the packages of the infrastructure, are installed before the first part that
//! needs them; parts after a failed one do not run. The integration tests run module by module, read from the test binary's own list
//! of modules, so that the slowest ones can be named.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::Workspace;
use crate::disk;
use crate::error::{Error, Exit, Result};
use crate::process::Call;
use crate::tools;
use crate::ui;

mod toolbox;

use toolbox::Toolbox;

/// No part may hang for longer than this.
const LIMIT: Duration = Duration::from_secs(45 * 60);
const INFRASTRUCTURE: &str = "infrastructure";
/// Where the infrastructure's `synth` leaves them.
const TEMPLATES: &str = "infrastructure/cdk.out/*.template.json";
/// An account for a template that nobody deploys, with everything on that can be.
const ACCOUNT: [(&str, &str); 9] = [
    ("AWS_ACCOUNT_ID", "123456789012"),
    ("CHARTS_CERTIFICATE_ARN", "arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"),
    ("CHARTS_HOSTED_ZONE_ID", "Z0123456789ABC"),
    ("CHARTS_BREAK_GLASS", "arn:aws:iam::123456789012:role/Admin"),
    ("GITHUB_REPOSITORY_ID", "987654321"),
    ("CHARTS_ACCESS_LOGS", "on"),
    ("CHARTS_DETAILED_METRICS", "on"),
    ("CHARTS_ALARM_EMAIL", "ann@example.com"),
    ("CHARTS_ALARM_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:pager"),
];

struct Part {
    name: String,
    program: Program,
    arguments: Vec<String>,
    needs: Needs,
}

/// What a part runs.
enum Program {
    Cargo,
    Npm,
    /// One of the pinned tools.
    Tool(&'static str),
}

/// What must be there before a part runs. Each needs what stands before it, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    Nothing,
    Tools,
    /// What the infrastructure's lock names.
    Packages,
}

/// Runs all parts, or those of these names.
///
/// # Errors
/// A part fails; an unknown name is asked for.
pub fn run(here: &Path, only: &[String], cache: Option<&Path>) -> Result<()> {
    let root = Workspace::find(here)?.root;
    let parts = wanted(parts(&root)?, only)?;
    let mut ready = Ready { root: &root, cache, tools: None, packages: false, times: Vec::new() };
    let result = ready.check(&parts, only.iter().any(|name| name == "tools"));
    summarise(&mut ready.times);
    result
}

/// What was made ready, and how long everything took.
struct Ready<'r> {
    root: &'r Path,
    cache: Option<&'r Path>,
    tools: Option<Toolbox>,
    packages: bool,
    times: Vec<(String, Duration)>,
}

impl Ready<'_> {
    fn check(&mut self, parts: &[Part], asked_for_tools: bool) -> Result<()> {
        if asked_for_tools {
            self.install_tools()?;
        }
        for part in parts {
            if part.needs >= Needs::Tools && self.tools.is_none() {
                self.install_tools()?;
            }
            if part.needs >= Needs::Packages && !self.packages {
                self.watch("npm ci", &self.call(&Program::Npm, ["ci", "--ignore-scripts"])?)?;
                self.packages = true;
            }
            self.watch(&part.name, &self.call(&part.program, &part.arguments)?)?;
        }
        Ok(())
    }

    fn install_tools(&mut self) -> Result<()> {
        let started = Instant::now();
        let times = &mut self.times;
        let took = &mut |name: &str, time| times.push((format!("tool {name}"), time));
        let tools = Toolbox::install(self.root, self.cache, took)?;
        let seconds = started.elapsed().as_secs_f64();
        ui::status("Tools", format_args!("are in {} ({seconds:.1} s)", tools.folder.display()));
        self.tools = Some(tools);
        Ok(())
    }

    fn watch(&mut self, name: &str, call: &Call) -> Result<()> {
        let started = Instant::now();
        ui::status("Checking", name);
        call.watch(LIMIT)?;
        self.times.push((name.into(), started.elapsed()));
        Ok(())
    }

    fn call<A: AsRef<OsStr>>(&self, program: &Program, arguments: impl IntoIterator<Item = A>) -> Result<Call> {
        // What the caller's own session sets must not change what is checked.
        const STRAY: [&str; 5] = ["RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "NO_COLOR", "XTASK_EFFECTS"];
        let pinned = |name: &str| self.tools.as_ref().map_or_else(|| name.into(), |tools| tools.program(name));
        let call = match program {
            Program::Cargo => Call::new(tools::cargo()).within(self.root),
            Program::Npm => Call::new(pinned("npm")).within(&self.root.join(INFRASTRUCTURE)).envs(ACCOUNT),
            Program::Tool(name) => Call::new(pinned(name)).within(self.root),
        };
        let call = call.args(arguments).env("INSTA_UPDATE", "no").env("TEST_TOOLS_REQUIRED", "1");
        let call = STRAY.iter().fold(call, |call, name| call.without_env(name));
        match &self.tools {
            Some(tools) => Ok(call.env("TEST_TOOLS", &tools.folder).env("PATH", tools.path_with_node()?)),
            None => Ok(call),
        }
    }
}

fn parts(root: &Path) -> Result<Vec<Part>> {
    let part = |name: &str, program, arguments: &str, needs| Part {
        name: name.into(),
        program,
        arguments: arguments.split_whitespace().map(str::to_owned).collect(),
        needs,
    };
    let cargo = |name: &str, arguments: &str, needs| part(name, Program::Cargo, arguments, needs);
    let npm = |name: &str, script: &str| part(name, Program::Npm, &format!("run {script}"), Needs::Packages);
    let mut parts = vec![
        cargo("format", "fmt --all -- --check", Needs::Nothing),
        // What a newcomer compiles, and then everything: targets beyond this machine are a feature of xtask.
        cargo("lint rehearsals", "clippy --package xtask --lib --bins --locked -- --deny warnings", Needs::Nothing),
        cargo(
            "lint",
            "clippy --workspace --all-targets --features xtask/remote --locked -- --deny warnings",
            Needs::Nothing,
        ),
        cargo("unit tests", "test --workspace --lib --bins --features xtask/remote --locked --quiet", Needs::Nothing),
        part("workflow syntax", Program::Tool("actionlint"), "-color", Needs::Tools),
        // It would ask GitHub which tags a pinned commit has.
        part("workflow audit", Program::Tool("zizmor"), "--offline --persona pedantic --quiet .github", Needs::Tools),
        npm("infrastructure types", "check"),
        npm("infrastructure lint", "lint"),
        npm("infrastructure tests", "test"),
        npm("infrastructure template", "synth"),
        part("infrastructure template lint", Program::Tool("cfn-lint"), TEMPLATES, Needs::Packages),
        cargo("operator", "test --package kube9-operator --test it --locked --quiet", Needs::Tools),
    ];
    let modules = modules(root)?;
    for module in &modules {
        let call = "test --package xtask --features remote --test it --locked --quiet --";
        parts.push(cargo(module, &format!("{call} {}", filter(module, &modules)), Needs::Tools));
    }
    Ok(parts)
}

/// The words that make a test binary run one module: names are matched anywhere, so `kill::` would run `skill::`, too.
fn filter(module: &str, modules: &[String]) -> String {
    let others = modules.iter().filter(|other| *other != module && other.ends_with(module));
    let skipped: String = others.map(|other| format!(" --skip {other}::")).collect();
    format!("{module}::{skipped}")
}

/// The modules of the integration tests that hold tests.
fn modules(root: &Path) -> Result<Vec<String>> {
    let path = root.join("xtask/tests/it");
    let main = disk::read(&path.join("main.rs"))?.unwrap_or_default();
    let main = String::from_utf8_lossy(&main);
    let declared = main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let with_tests = declared.filter_map(|name| {
        let source = disk::read(&path.join(format!("{name}.rs"))).transpose()?;
        Some(source.map(|bytes| String::from_utf8_lossy(&bytes).contains("#[test]").then(|| name.to_owned())))
    });
    Ok(with_tests.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn wanted(parts: Vec<Part>, only: &[String]) -> Result<Vec<Part>> {
    let names: Vec<String> = parts.iter().map(|part| part.name.clone()).collect();
    if let Some(unknown) = only.iter().find(|name| *name != "tools" && !names.contains(name)) {
        return Err(Error::new(Exit::Usage, format!("there is no part `{unknown}`"))
            .remedy(format!("name some of: tools, {}", names.join(", "))));
    }
    Ok(parts.into_iter().filter(|part| only.is_empty() || only.contains(&part.name)).collect())
}

fn summarise(times: &mut [(String, Duration)]) {
    const SHOWN: usize = 10;
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    times.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    ui::status("Slowest", format_args!("parts of {:.1} s:", total.as_secs_f64()));
    for (name, time) in times.iter().take(SHOWN) {
        ui::note(&format!("{:.1} s", time.as_secs_f64()), name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_runs_once_even_where_its_name_ends_anothers() {
        let modules = ["kill".to_owned(), "kill_in_production".to_owned(), "production".to_owned()];
        assert_eq!(filter("kill", &modules), "kill::");
        assert_eq!(filter("production", &modules), "production:: --skip kill_in_production::");
    }
}
