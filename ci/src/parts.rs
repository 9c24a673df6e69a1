//! What there is to check, as data: the name of each part, what it runs, and when.

use xtask::commands::ci::Ci;
use xtask::error::{Error, Exit, Result};

/// One thing that is checked.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) runs: Runs,
    pub(crate) stage: Stage,
}

/// What a part runs.
#[derive(Clone, Debug)]
pub(crate) enum Runs {
    /// Cargo, with these arguments.
    Cargo(&'static str),
    /// Cargo, with Clippy in the compiler's place, which compiles all tests.
    Compile,
    /// The same, with these arguments.
    Lint(&'static str),
    /// A script of the infrastructure's package.
    Npm(&'static str),
    /// A pinned tool, with these arguments.
    Tool(&'static str, &'static str),
    /// Tests that were compiled before.
    Tests(Tests),
    /// What is known to be wrong with crates, where the list of that can be had.
    Advisories,
    /// Nothing: its tools are installed.
    Nothing,
}

/// Some of the compiled tests.
#[derive(Clone, Debug)]
pub(crate) struct Tests {
    pub(crate) programs: Programs,
    /// Tests whose path contains one of these, or is one; all of them where there is none.
    pub(crate) only: Vec<String>,
    /// Whether `only` has whole paths.
    pub(crate) exact: bool,
    /// No tests whose path contains one of these.
    pub(crate) skip: Vec<String>,
    /// How many run at once. Most of them wait for a server, or for time to pass, far longer than they compute.
    pub(crate) threads: usize,
    /// How far they leave the processor to those beside them, as POSIX's `nice` counts it: from 0 to 19.
    pub(crate) niceness: u8,
}

/// Which test programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Programs {
    /// Those within libraries and programs.
    Unit,
    /// The integration tests of the package in that folder, and of those beside it that are called so and more: `xtask-remote`.
    Integration(&'static str),
}

/// When a part runs: stage after stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// One after the other, beginning at once: what shows a mistake soonest.
    Front,
    /// Side by side, as soon as all tests are compiled: those that need no tool.
    Compiled,
    /// One after the other, beside all others, as soon as the tools are installed.
    Beside,
    /// One after the other, at the end, while nothing else runs.
    Alone,
    /// One after the other in each lane; the lanes run at the same time.
    Lane(Lane),
}

/// What runs beside the other lanes, since each leaves cores idle now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// A release and what comes of it: by far the most tests.
    Releases,
    /// The longest test of these, which would otherwise be the last to end, alone.
    Kills,
    /// What measures time and needs little of it; then the operator at an API server.
    Operators,
    /// The operator on a node: one step waits for another, so it begins at once.
    Nodes,
}

impl Part {
    /// Whether it has this name, or one that begins with these words.
    fn is_of(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(" "))
    }

    /// Whether it runs with pinned tools.
    pub(crate) fn needs_tools(&self) -> bool {
        !matches!(self.stage, Stage::Front | Stage::Compiled)
    }

    /// Whether it runs with what the infrastructure's lock names.
    pub(crate) fn needs_packages(&self) -> bool {
        matches!(self.runs, Runs::Npm(_)) || self.name == TEMPLATE_LINT
    }
}

/// The modules of tests that measure time or memory.
const TIMED: &str = "timed::";
/// The modules of tests that only guard against rot, and take long.
const NIGHTLY: &str = "nightly::";
/// The module whose one test takes longest.
const KILLS: &str = "kill_in_production::";
/// The modules of xtask's tests that release the real operator.
const REAL: [&str; 2] = ["node::", "product::"];
/// The part that only installs what all others need.
pub(crate) const TOOLS: &str = "tools";
const TEMPLATE_LINT: &str = "infrastructure template lint";
/// zizmor would ask GitHub which tags a pinned commit has.
const ZIZMOR: &str = "--offline --persona pedantic --quiet .github";
/// The tool that holds the dependency graph against `deny.toml`.
pub(crate) const DENY: &str = "cargo-deny";
const DENIED: &str = "--locked check bans licenses sources";
/// Compiles every benchmark: nobody waits for them but those who measure.
const BENCHMARKS: &str = "test --workspace --benches --locked --no-run";
/// Where the infrastructure's `synth` leaves it.
const TEMPLATES: &str = "infrastructure/cdk.out/*.template.json";

/// Every part of what the command line asks for.
pub(crate) fn known(ci: &Ci) -> Vec<Part> {
    let mut parts = if ci.quick { quick() } else { thorough() };
    if ci.all || !ci.test.is_empty() {
        parts.extend(nightly());
    }
    parts
}

/// Those of these names. A name stands for all parts whose names begin with it, so that `infrastructure` names five.
///
/// # Errors
/// There is no such part.
pub(crate) fn named(parts: Vec<Part>, names: &[String]) -> Result<Vec<Part>> {
    if let Some(unknown) = names.iter().find(|name| !parts.iter().any(|part| part.is_of(name))) {
        let known: Vec<&str> = parts.iter().map(|part| part.name).collect();
        return Err(Error::new(Exit::Usage, format!("there is no part `{unknown}`"))
            .remedy(format!("name some of: {}", known.join(", "))));
    }
    Ok(parts.into_iter().filter(|part| names.is_empty() || names.iter().any(|name| part.is_of(name))).collect())
}

/// What needs nothing beyond Rust and git.
fn quick() -> Vec<Part> {
    let skip = [&REAL[..], &[TIMED, NIGHTLY]].concat();
    let mut parts = front();
    parts.push(tests("quick tests", Programs::Integration("xtask"), &[], &skip, 8, Stage::Compiled));
    parts
}

fn thorough() -> Vec<Part> {
    use Stage::Beside;
    let (operator, xtask) = (Programs::Integration("operator"), Programs::Integration("xtask"));
    let elsewhere = [&REAL[..], &[KILLS, TIMED, NIGHTLY]].concat();
    let mut parts = front();
    parts.extend([
        part(TOOLS, Runs::Nothing, Beside),
        part("workflow syntax", Runs::Tool("actionlint", ""), Beside),
        part("workflow audit", Runs::Tool("zizmor", ZIZMOR), Beside),
        part("dependencies", Runs::Tool(DENY, DENIED), Beside),
        part("dependencies advisories", Runs::Advisories, Beside),
        part("infrastructure types", Runs::Npm("check"), Beside),
        part("infrastructure lint", Runs::Npm("lint"), Beside),
        part("infrastructure tests", Runs::Npm("test"), Beside),
        part("infrastructure template", Runs::Npm("synth"), Beside),
        part(TEMPLATE_LINT, Runs::Tool("cfn-lint", TEMPLATES), Beside),
        tests("operator timed", operator, &[TIMED], &[NIGHTLY], 1, Stage::Lane(Lane::Operators)),
        tests("xtask timed", xtask, &[TIMED], &[NIGHTLY], 1, Stage::Lane(Lane::Operators)),
        tests("operator", operator, &[], &[TIMED, NIGHTLY], 4, Stage::Lane(Lane::Operators)),
        tests("xtask", xtask, &[], &elsewhere, 7, Stage::Lane(Lane::Releases)),
        tests("xtask kills", xtask, &[KILLS], &[], 1, Stage::Lane(Lane::Kills)),
        tests("node", xtask, &REAL, &[TIMED, NIGHTLY], 2, Stage::Lane(Lane::Nodes)),
    ]);
    parts
}

fn nightly() -> Vec<Part> {
    let operator = Programs::Integration("operator");
    vec![
        part("benchmarks", Runs::Lint(BENCHMARKS), Stage::Alone),
        tests("operator nightly", operator, &[NIGHTLY], &[], 2, Stage::Alone),
        tests("xtask nightly", Programs::Integration("xtask"), &[NIGHTLY], &[], 2, Stage::Alone),
    ]
}

fn front() -> Vec<Part> {
    vec![
        part("format", Runs::Cargo("fmt --all -- --check"), Stage::Front),
        part("lint", Runs::Compile, Stage::Front),
        tests("unit tests", Programs::Unit, &[], &[], 4, Stage::Compiled),
    ]
}

fn part(name: &'static str, runs: Runs, stage: Stage) -> Part {
    Part { name, runs, stage }
}

fn tests(name: &'static str, programs: Programs, only: &[&str], skip: &[&str], threads: usize, stage: Stage) -> Part {
    let [only, skip] = [only, skip].map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let niceness = match stage {
        Stage::Lane(_) if only == [TIMED] => 0,
        // What it does is late where it has to wait, and its tests say how late it may be. It computes little.
        Stage::Lane(Lane::Operators) => 12,
        // Whoever waits longest for others is not to be the last to end, with a core idle.
        Stage::Lane(Lane::Nodes) => 15,
        Stage::Lane(_) | Stage::Compiled => 19,
        _ => 0,
    };
    part(name, Runs::Tests(Tests { programs, only, exact: false, skip, threads, niceness }), stage)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn what_is_quick_waits_for_no_tool() {
        assert!(quick().iter().all(|part| !part.needs_tools()));
        assert!(thorough().iter().any(Part::needs_tools));
    }
}
