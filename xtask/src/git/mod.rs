//! Git, asked in one way: never for anything that a person would have to answer, never without a deadline, and with no housekeeping that
//! would outlive the call.
//!
//! A published version must be found again from its commit by everybody, for ever. So nothing is published from a state that
//! only this machine has, nothing here is ever forced, and no answer rests on what an earlier run remembered.

use std::path::{Path, PathBuf};

use xshell::{Cmd, Shell, cmd};

use crate::error::{Context, Error, Exit, Result};
use crate::sys::children::{Begun, Call, Output};

mod commit;
mod preflight;
mod tag;
mod worktree;

pub use preflight::{Facts, Publishable, Purpose, Relation, RemoteRefs, judge};
pub use tag::{Tag, Tagged};
pub use worktree::{Item, Worktree};

/// A repository, seen from a folder of its work tree.
#[derive(Clone, Debug)]
pub struct Repository {
    folder: PathBuf,
    shell: Shell,
}

impl Repository {
    /// The repository that `folder` is in. Nothing is asked yet.
    ///
    /// # Errors
    /// This process has no current folder.
    pub fn at(folder: &Path) -> Result<Self> {
        let shell = Shell::new().context(Exit::Environment, || "there is no current folder".into())?;
        shell.change_dir(folder);
        Ok(Repository { folder: folder.to_owned(), shell })
    }

    /// What `cmd!(repository, "git …")` begins with.
    fn cmd(&self, program: &str) -> Cmd<'_> {
        // Without locks of its own: `status` would write what it learned about files into the index.
        const QUIET: [&str; 5] = ["--no-optional-locks", "-c", "gc.auto=0", "-c", "maintenance.auto=false"];
        self.shell.cmd(program).args(QUIET).env("GIT_TERMINAL_PROMPT", "0")
    }

    /// The commit that is checked out.
    fn head(&self) -> Result<String> {
        said(cmd!(self, "git rev-parse --verify 'HEAD^{commit}'"))
    }

    /// What differs from the commit that is checked out, files that git does not know included, relative to the folder.
    fn changed(&self) -> Result<Vec<String>> {
        self.changed_files(self.ask_for_changes()?)
    }

    fn ask_for_changes(&self) -> Result<Begun> {
        begun(cmd!(self, "git status --porcelain=v1 -z --no-renames --untracked-files=all -- ."))
    }

    fn changed_files(&self, asked: Begun) -> Result<Vec<String>> {
        let asked = asked.answer()?;
        if asked.code != Some(0) {
            return Err(Error::new(Exit::Failure, "git cannot say what was changed").because(asked.stderr));
        }
        let text = String::from_utf8_lossy(&asked.stdout).into_owned();
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let prefix = said(cmd!(self, "git rev-parse --show-prefix"))?;
        // Two letters and a space, then the path from the top of the repository.
        let paths = text.split('\0').filter_map(|line| line.get(3..));
        Ok(paths.map(|path| path.strip_prefix(&prefix).unwrap_or(path).to_owned()).collect())
    }

    /// Whether `older` is `newer`, or one of the commits that it was made of.
    fn is_ancestor(&self, older: &str, newer: &str) -> Result<bool> {
        let asked = asked(cmd!(self, "git merge-base --is-ancestor {older} {newer}"))?;
        match asked.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(Error::new(Exit::Failure, format!("git cannot compare the commits {older} and {newer}"))
                .because(asked.stderr.trim())),
        }
    }

    /// A setting that is on or off.
    fn is_set(&self, name: &str) -> Result<bool> {
        let said = said(cmd!(self, "git config --type=bool --default=false --get {name}"));
        let said = said.context(Exit::Environment, || format!("git's setting {name} cannot be read"))?;
        Ok(said == "true")
    }
}

/// What git says to a question.
fn said(question: Cmd<'_>) -> Result<String> {
    Call::from(question).read()
}

/// The same, where git may also have no answer, or refuse.
fn asked(question: Cmd<'_>) -> Result<Output> {
    Call::from(question).output()
}

/// A question that git answers while others are asked: its start takes longer than most of its answers.
fn begun(question: Cmd<'_>) -> Result<Begun> {
    Call::from(question).begin()
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

/// A commit as people read it.
pub fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
