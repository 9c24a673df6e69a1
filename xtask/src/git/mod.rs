//! What git has to do with a production release: whether the word still counts, the commit of a bump, where that commit must be
//! before anything becomes public, and the tag that is set after it.
//!
//! A published version must be found again from its commit by everybody, for ever. So nothing is published from a state that
//! only this machine has, nothing here is ever forced, and no answer rests on what an earlier run remembered.

use std::path::Path;

use crate::error::{Context, Error, Exit, Result};
use crate::process::Call;

mod commit;
mod decision;
mod standing;
mod tag;

pub use commit::commit_bump;
pub use decision::{Decision, Listed, decide};
pub use standing::{Facts, Purpose, Relation, Remote, Standing, judge, look, preflight, publishable};
pub use tag::{Tagged, is_ordered_by_tag, tag};

/// Git at a folder. It never asks a person for anything (a run has no standard input, and in CI nobody would answer), and starts no
/// housekeeping that would outlive the call.
fn git(folder: &Path) -> Call {
    const QUIET: [&str; 5] = ["--no-optional-locks", "-c", "gc.auto=0", "-c", "maintenance.auto=false"];
    Call::new("git").args(QUIET).env("GIT_TERMINAL_PROMPT", "0").within(folder)
}

/// The commit that is checked out.
fn head(root: &Path) -> Result<String> {
    git(root).args(["rev-parse", "--verify", "HEAD^{commit}"]).read()
}

/// What differs from the commit that is checked out, files that git does not know included, relative to `root`.
fn changed(root: &Path) -> Result<Vec<String>> {
    let words = ["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--", "."];
    let asked = git(root).args(words).output()?;
    if asked.code != Some(0) {
        return Err(Error::new(Exit::Failure, "git cannot say what was changed").because(asked.stderr));
    }
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let prefix = git(root).args(["rev-parse", "--show-prefix"]).read()?;
    // Two letters and a space, then the path from the top of the repository.
    let paths = text.split('\0').filter_map(|line| line.get(3..));
    Ok(paths.map(|path| path.strip_prefix(&prefix).unwrap_or(path).to_owned()).collect())
}

/// The error for a work tree that is not what its commit says.
fn unclean(changed: &[String]) -> Error {
    const SHOWN: usize = 10;
    let mut lines: Vec<String> = changed.iter().take(SHOWN).cloned().collect();
    if changed.len() > SHOWN {
        lines.push(format!("and {} more", changed.len() - SHOWN));
    }
    Error::new(Exit::Workspace, "the work tree differs from the commit that is checked out")
        .because(lines.join("\n"))
        .remedy("commit it, put it aside with `git stash --include-untracked`, or list it in .gitignore")
}

/// Whether `older` is `newer`, or one of the commits that it was made of.
fn is_ancestor(root: &Path, older: &str, newer: &str) -> Result<bool> {
    let asked = git(root).args(["merge-base", "--is-ancestor", older, newer]).output()?;
    match asked.code {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(Error::new(Exit::Failure, format!("git cannot compare the commits {older} and {newer}"))
            .because(asked.stderr.trim())),
    }
}

/// A setting that is on or off.
fn is_set(root: &Path, name: &str) -> Result<bool> {
    let said = git(root).args(["config", "--type=bool", "--default=false", "--get", name]).read();
    let said = said.context(Exit::Environment, || format!("git's setting {name} cannot be read"))?;
    Ok(said == "true")
}

/// A commit as people read it.
fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
