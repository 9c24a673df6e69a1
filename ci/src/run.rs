//! Runs the parts, stage after stage, and says at the end what was not proven and what took long.
//!
//! What is being compiled leaves cores idle now and then, and tests wait more than they compute; so tools are installed while lints
//! and unit tests run, what is not Rust is checked whenever nothing else computes, and test programs run side by side. Those that
//! measure time have the processor whenever they want it: all beside them run with low priorities. Lines of parts that share the
//! terminal begin with their part's name. The first failure ends all others.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xtask::commands::ci::Ci;
use xtask::config::Workspace;
use xtask::error::{Context, Error, Exit, Result};
use xtask::sys::children::Call;
use xtask::sys::tools;
use xtask::ui;

use crate::advisories::not_looked;
use crate::memory;
use crate::parts::{self, Lane, Part, Runs, Stage, Tests};
use crate::tests::{self, Program};
use crate::toolbox::{Installation, Packages, Toolbox};

/// No part may hang for longer than this.
const LIMIT: Duration = Duration::from_secs(60 * 60);
const INFRASTRUCTURE: &str = "infrastructure";
/// How many tools are installed at once. Each keeps all cores busy most of the time, but not while it loads or links.
const INSTALLERS: usize = 2;
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

/// Runs what the command line asks for.
///
/// # Errors
/// A part fails, or a tool cannot be installed; an unknown part is named.
pub(crate) fn run(ci: &Ci) -> Result<()> {
    let here = std::env::current_dir().context(Exit::Environment, || "there is no current folder".into())?;
    let run = Run {
        root: Workspace::find(&here)?.root,
        ci,
        is_root: Call::new("id").args(["-u"]).read()? == "0",
        memory: OnceLock::new(),
        tools: OnceLock::new(),
        programs: OnceLock::new(),
        stop: AtomicBool::new(false),
        summary: Mutex::default(),
    };
    let started = Instant::now();
    let known = parts::known(ci);
    let parts = if ci.test.is_empty() { parts::named(known, &ci.only)? } else { run.narrowed(known, &ci.test)? };
    run.all(&parts);
    run.summary.into_inner().unwrap_or_else(PoisonError::into_inner).conclude(started.elapsed())
}

struct Run<'r> {
    root: PathBuf,
    ci: &'r Ci,
    is_root: bool,
    /// Where tests keep what they need for a moment.
    memory: OnceLock<Option<TempDir>>,
    tools: OnceLock<Toolbox>,
    programs: OnceLock<Vec<Program>>,
    /// Set by the first failure.
    stop: AtomicBool,
    summary: Mutex<Summary>,
}

/// What is told at the end.
#[derive(Default)]
struct Summary {
    times: Vec<(String, Duration)>,
    /// What tests said of what they did not prove.
    skipped: BTreeSet<String>,
    failure: Option<Error>,
}

impl Run<'_> {
    fn all(&self, parts: &[Part]) {
        let of = |stage| parts.iter().filter(move |part| part.stage == stage);
        std::thread::scope(|scope| {
            let installation = scope.spawn(|| {
                self.attempt(|| if parts.iter().any(Part::needs_tools) { self.install(parts) } else { Ok(()) });
                scope.spawn(|| of(Stage::Beside).for_each(|part| self.attempt(|| self.check(part))));
            });
            of(Stage::Front).for_each(|part| self.attempt(|| self.check(part)));
            if parts.iter().any(|part| matches!(part.runs, Runs::Tests(_))) {
                self.attempt(|| self.compiled().map(drop));
            }
            of(Stage::Compiled).for_each(|part| drop(scope.spawn(|| self.attempt(|| self.check(part)))));
            // What is beside goes on.
            drop(installation.join());
            for lane in [Lane::Nodes, Lane::Operators, Lane::Releases, Lane::Kills] {
                scope.spawn(move || of(Stage::Lane(lane)).for_each(|part| self.attempt(|| self.check(part))));
            }
        });
        of(Stage::Alone).for_each(|part| self.attempt(|| self.check(part)));
    }

    /// Works, unless something failed before; a failure is kept, and stops the rest.
    fn attempt(&self, work: impl FnOnce() -> Result<()>) {
        if self.stop.load(Ordering::SeqCst) {
            return;
        }
        if let Err(error) = work()
            && !self.stop.swap(true, Ordering::SeqCst)
        {
            self.summary().failure = Some(error);
        }
    }

    fn summary(&self) -> std::sync::MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timed<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let result = work()?;
        self.summary().times.push((name.to_owned(), started.elapsed()));
        Ok(result)
    }

    fn install(&self, parts: &[Part]) -> Result<()> {
        let known = parts::known(self.ci);
        let asks_for_tools = parts.iter().any(|part| part.name == parts::TOOLS);
        let names: Vec<&str> = if asks_for_tools { &known } else { parts }.iter().map(|part| part.name).collect();
        let started = Instant::now();
        let installation = Installation::new(&self.root, self.ci.cache.as_deref(), &names)?;
        if let Some(packages) = installation.packages() {
            self.install_packages(packages)?;
        }
        let recipes = Mutex::new(installation.missing().collect::<VecDeque<_>>());
        let next = || recipes.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        std::thread::scope(|scope| {
            for _ in 0..INSTALLERS {
                scope.spawn(|| {
                    while let Some(recipe) = next() {
                        let name = format!("tool {}", recipe.name);
                        self.attempt(|| self.timed(&name, || recipe.make(|call| self.follow(&name, call))));
                    }
                });
            }
        });
        if self.stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        let tools = installation.finish()?;
        ui::status("Tools", format_args!("are in {} ({})", tools.folder.display(), seconds(started.elapsed())));
        drop(self.tools.set(tools));
        if parts.iter().any(Part::needs_packages) {
            // Tests take over what is installed and what was fetched for that.
            let call = self.npm().args(["ci", "--ignore-scripts", "--cache"]).args([self.root.join("target/tmp/npm")]);
            self.timed("npm ci", || self.follow("npm ci", &call))?;
        }
        Ok(())
    }

    /// Only root on Debian or Ubuntu can install packages; elsewhere tests that need them say so.
    fn install_packages(&self, packages: &Packages) -> Result<()> {
        const NAME: &str = "Debian packages";
        if self.is_root && tools::on_path("apt-get").is_some() {
            return self.timed(NAME, || packages.calls().iter().try_for_each(|call| self.follow(NAME, call)));
        }
        let missing = "packages that tests need are not installed";
        if self.must_prove_all() {
            return Err(Error::new(Exit::Environment, missing)
                .because("only root on Debian or Ubuntu can install them from here")
                .remedy(packages.line()));
        }
        ui::warn(format_args!("{missing}: {}", packages.line()));
        Ok(())
    }

    /// Whether a test that cannot run here is a failure: where nobody looks, and where everything can be had. Elsewhere it says that it
    /// was skipped.
    fn must_prove_all(&self) -> bool {
        self.is_root || is_ci()
    }

    fn check(&self, part: &Part) -> Result<()> {
        let words = |arguments: &'static str| arguments.split_whitespace();
        match &part.runs {
            Runs::Nothing => Ok(()),
            Runs::Tests(tests) => self.test(part.name, tests),
            // What people wait for first has the terminal, with cargo's colours and its progress.
            Runs::Cargo(arguments) => self.watch(part.name, &self.cargo().args(words(arguments))),
            Runs::Compile => self.compiled().map(drop),
            Runs::Lint(arguments) => self.watch(part.name, &self.linting().args(words(arguments))),
            Runs::Advisories => self.look_for_advisories(part.name),
            Runs::Npm(script) => self.beside(part.name, &self.npm().args(["run", script])),
            Runs::Tool(name, arguments) => {
                let call = self.equipped(polite(&self.pinned(name))).current_dir(&self.root);
                self.beside(part.name, &call.args(words(arguments)))
            }
        }
    }

    /// RustSec's list is on GitHub and nowhere else. A machine that does not reach that has not looked, and says so; a workflow must.
    fn look_for_advisories(&self, name: &str) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(120);
        let deny = || self.equipped(Call::new(self.pinned(parts::DENY))).current_dir(&self.root).args(["--locked"]);
        let fetch = deny().args(["fetch", "db"]).env("GIT_TERMINAL_PROMPT", "0");
        ui::status("Checking", name);
        match self.timed(name, || fetch.run_silently(PATIENCE)) {
            Ok(()) => self.follow(name, &deny().args(["--offline", "check", "advisories"])),
            Err(error) if std::env::var_os("GITHUB_ACTIONS").is_some() => Err(error),
            Err(error) => {
                self.summary().skipped.insert(not_looked(&error));
                Ok(())
            }
        }
    }

    fn test(&self, name: &str, tests: &Tests) -> Result<()> {
        let programs = self.compiled()?.iter().filter(|program| program.is_of(tests.programs));
        self.timed(name, || {
            ui::status("Checking", name);
            for program in programs {
                if !program.names(tests)?.is_empty() {
                    let memory = self.memory.get_or_init(memory::folder).as_ref();
                    let folder = memory.map_or_else(std::env::temp_dir, |memory| memory.path().to_owned());
                    self.follow(name, &self.equipped(program.call(tests)).env("TMPDIR", folder))?;
                }
            }
            Ok(())
        })
    }

    /// Of the parts that run tests, what is left where only tests with one of these names are to run.
    fn narrowed(&self, parts: Vec<Part>, names: &[String]) -> Result<Vec<Part>> {
        let programs = self.compiled()?;
        let mut left = Vec::new();
        for part in parts {
            let Runs::Tests(tests) = &part.runs else { continue };
            let mut wanted = Vec::new();
            for program in programs.iter().filter(|program| program.is_of(tests.programs)) {
                let known = program.names(tests)?;
                wanted.extend(known.into_iter().filter(|known| names.iter().any(|name| known.contains(name))));
            }
            if !wanted.is_empty() {
                let tests = Tests { only: wanted, exact: true, ..tests.clone() };
                left.push(Part { runs: Runs::Tests(tests), ..part });
            }
        }
        if left.is_empty() {
            return Err(Error::new(Exit::Usage, format!("there is no test of that name: {}", names.join(", ")))
                .remedy("a test is named by any part of its path, such as kill:: or x3_"));
        }
        Ok(left)
    }

    /// The test programs, which the first part that needs them compiles.
    fn compiled(&self) -> Result<&[Program]> {
        if self.programs.get().is_none() {
            let messages = self.timed("lint", || {
                ui::status("Checking", "lint, which compiles all tests");
                self.linting().args(tests::COMPILE.split_whitespace()).watch_and_read(LIMIT, &self.stop)
            })?;
            drop(self.programs.set(tests::programs(&messages)?));
        }
        Ok(self.programs.get().map_or(&[], Vec::as_slice))
    }

    fn watch(&self, name: &str, call: &Call) -> Result<()> {
        ui::status("Checking", name);
        self.timed(name, || call.watch_unless(LIMIT, &self.stop))
    }

    fn beside(&self, name: &str, call: &Call) -> Result<()> {
        ui::status("Checking", name);
        self.timed(name, || self.follow(name, call))
    }

    /// Runs a call that shares the terminal with others.
    fn follow(&self, name: &str, call: &Call) -> Result<()> {
        call.follow(LIMIT, &self.stop, &mut |line| {
            if let Some((_, reason)) = line.split_once("skipped: ") {
                self.summary().skipped.insert(reason.to_owned());
            }
            ui::aside(format_args!("{name} | {line}"));
        })
    }

    fn cargo(&self) -> Call {
        self.equipped(tools::cargo()).current_dir(&self.root)
    }

    /// Cargo with Clippy's driver, which is the compiler and looks for more, in the compiler's place for the workspace's own crates:
    /// what is linted is what is tested, and no dependency is compiled a second time only to be checked.
    fn linting(&self) -> Call {
        let call = self
            .cargo()
            .env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
            .env("CLIPPY_ARGS", "--deny__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
        // Where nobody goes on working, what would make the next compilation shorter is not worth its time.
        if is_ci() { call.env("CARGO_INCREMENTAL", "0") } else { call }
    }

    fn npm(&self) -> Call {
        self.equipped(polite(&self.pinned("npm"))).current_dir(&self.root.join(INFRASTRUCTURE)).envs(ACCOUNT)
    }

    fn pinned(&self, name: &str) -> PathBuf {
        self.tools.get().map_or_else(|| name.into(), |tools| tools.folder.join(name))
    }

    /// Lets a call find the tools, and nothing that the caller's own session sets.
    fn equipped(&self, call: Call) -> Call {
        const STRAY: [&str; 5] = ["RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "NO_COLOR", "XTASK_EFFECTS"];
        let call = STRAY.iter().fold(call.env("INSTA_UPDATE", "no"), |call, name| call.env_remove(name));
        let Some(tools) = self.tools.get() else { return call };
        let call = call.env("TEST_TOOLS", &tools.folder).env("PATH", &tools.path);
        // Most of these tools are Go programs, which may take memory in place of the time that collecting garbage takes; what node
        // compiled once, it need not compile again.
        let call = call.env("GOGC", "800").env("NODE_COMPILE_CACHE", self.root.join("target/tmp/node-compiled"));
        if self.must_prove_all() { call.env("TEST_TOOLS_REQUIRED", "1") } else { call }
    }
}

/// Whether this runs where nobody looks, as every CI says in this way.
fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// A program that leaves the processor to what others wait for: to the compiler above all, whose last crates leave a core idle.
fn polite(program: &Path) -> Call {
    Call::new("nice").args(["-n", "19"]).args([program])
}

impl Summary {
    fn conclude(mut self, took: Duration) -> Result<()> {
        const SHOWN: usize = 12;
        self.times.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        ui::status("Slowest", format_args!("parts of {}:", seconds(took)));
        for (name, time) in self.times.iter().take(SHOWN) {
            ui::note(&seconds(*time).to_string(), name);
        }
        for reason in &self.skipped {
            ui::note("Not proven", reason);
        }
        self.failure.map_or(Ok(()), Err)
    }
}

fn seconds(time: Duration) -> impl Display {
    format!("{:.1} s", time.as_secs_f64())
}
