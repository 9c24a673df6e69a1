//! Everything that CI checks, in the order in which a mistake shows soonest. CI itself runs nothing else.
//!
//! A part is a named child process (or the installation of the test tools). Parts after a failed one do not run. The integration
//! tests run module by module, read from the test binary's own list of modules, so that the slowest ones can be named.

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

struct Part {
    name: String,
    arguments: Vec<String>,
    needs_tools: bool,
}

/// Runs all parts, or those of these names.
///
/// # Errors
/// A part fails; an unknown name is asked for.
pub fn run(here: &Path, only: &[String], cache: Option<&Path>) -> Result<()> {
    let root = Workspace::find(here)?.root;
    let parts = wanted(parts(&root)?, only)?;
    let mut times = Vec::new();
    let asked = only.iter().any(|name| name == "tools");
    let mut tools = asked.then(|| install(&root, cache, &mut times)).transpose()?;
    let result = parts.iter().try_for_each(|part| {
        if part.needs_tools && tools.is_none() {
            tools = Some(install(&root, cache, &mut times)?);
        }
        let started = Instant::now();
        ui::status("Checking", &part.name);
        call(&root, part, tools.as_ref()).watch(LIMIT)?;
        times.push((part.name.clone(), started.elapsed()));
        Ok(())
    });
    summarise(&mut times);
    result
}

fn parts(root: &Path) -> Result<Vec<Part>> {
    let part = |name: &str, arguments: &str, needs_tools| Part {
        name: name.into(),
        arguments: arguments.split_whitespace().map(str::to_owned).collect(),
        needs_tools,
    };
    let mut parts = vec![
        part("format", "fmt --all -- --check", false),
        // What a newcomer compiles, and then everything: targets beyond this machine are a feature of xtask.
        part("lint rehearsals", "clippy --package xtask --lib --bins --locked -- --deny warnings", false),
        part("lint", "clippy --workspace --all-targets --features xtask/remote --locked -- --deny warnings", false),
        part("unit tests", "test --workspace --lib --bins --features xtask/remote --locked --quiet", false),
        part("operator", "test --package kube9-operator --test it --locked --quiet", true),
    ];
    let modules = modules(root)?;
    for module in &modules {
        let call = "test --package xtask --features remote --test it --locked --quiet --";
        parts.push(part(module, &format!("{call} {}", filter(module, &modules)), true));
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

fn install(root: &Path, cache: Option<&Path>, times: &mut Vec<(String, Duration)>) -> Result<Toolbox> {
    let started = Instant::now();
    let tools = Toolbox::install(root, cache, &mut |name, time| times.push((format!("tool {name}"), time)))?;
    ui::status("Tools", format_args!("are in {} ({:.1} s)", tools.folder.display(), started.elapsed().as_secs_f64()));
    Ok(tools)
}

fn call(root: &Path, part: &Part, tools: Option<&Toolbox>) -> Call {
    // What the caller's own session sets must not change what is checked.
    const STRAY: [&str; 5] = ["RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "NO_COLOR", "XTASK_EFFECTS"];
    let mut call = Call::new(tools::cargo())
        .args(&part.arguments)
        .within(root)
        .env("INSTA_UPDATE", "no")
        .env("TEST_TOOLS_REQUIRED", "1");
    for name in STRAY {
        call = call.without_env(name);
    }
    match tools {
        Some(tools) => call.env("TEST_TOOLS", &tools.folder),
        None => call,
    }
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
