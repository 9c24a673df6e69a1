//! The one error type: what failed, on what, why, and what to do about it.
//!
//! Every error that a user can cause or cure has an exit code of its own kind (the README lists them), so that a script can
//! tell "somebody else published this version" from "the disk is full" without reading prose.

use std::fmt;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a process exit code of `xtask` means. The numbers are a public contract: they are documented in the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something failed that has no code of its own: a full disk, a child process, a bug.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A file of the workspace is missing, malformed, or disagrees with another one.
    Workspace = 3,
    /// This machine lacks something: a tool, a compiler target, a free port, a git commit.
    Environment = 4,
    /// The version is already published with other content, or was yanked.
    Conflict = 5,
    /// The chart repository or the image registry cannot be read, or holds something that is not valid.
    Repository = 6,
    /// Others kept changing the same file; a retry will do.
    Busy = 7,
    /// What was published is not what an anonymous user gets.
    Verify = 8,
    /// Something that is published is not whole, and is left to mend or to decide.
    Damage = 9,
    /// The scanner found something that stops a release.
    Findings = 10,
    /// The scanner itself failed, or must not be used.
    Scanner = 11,
    /// The scanner's vulnerability database is missing or too old.
    Database = 12,
    /// The commit of a release, or its tag, is not on the remote yet.
    Unpushed = 13,
}

impl Exit {
    /// All of them, in the order of their numbers.
    pub const ALL: [Exit; 13] = [
        Exit::Failure,
        Exit::Usage,
        Exit::Workspace,
        Exit::Environment,
        Exit::Conflict,
        Exit::Repository,
        Exit::Busy,
        Exit::Verify,
        Exit::Damage,
        Exit::Findings,
        Exit::Scanner,
        Exit::Database,
        Exit::Unpushed,
    ];
}

/// An error for people: one sentence on what failed, the reason below it, and the ways out.
#[derive(Clone, Debug)]
pub struct Error {
    /// The kind, as a process exit code.
    pub exit: Exit,
    /// What failed, on what.
    pub what: String,
    /// Why, where something else said so (an operating system error, a parser, a child process).
    pub why: Option<String>,
    /// What to do; several lines are alternatives or a list of problems to cure.
    pub remedies: Vec<String>,
}

impl Error {
    /// An error of a kind, with what failed.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Error { exit, what: what.into(), why: None, remedies: Vec::new() }
    }

    /// Adds the reason that something else gave.
    #[must_use]
    pub fn because(mut self, why: impl fmt::Display) -> Self {
        self.why = Some(why.to_string());
        self
    }

    /// Adds one way out.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedies.push(remedy.into());
        self
    }
}

impl Error {
    /// One error of many, each told once. What only a person can decide comes first, and gives the exit code.
    pub fn all(what: &str, problems: Vec<Error>) -> Self {
        let mut distinct: Vec<Error> = Vec::new();
        for problem in problems {
            if !distinct.iter().any(|known| (&known.what, &known.why) == (&problem.what, &problem.why)) {
                distinct.push(problem);
            }
        }
        distinct.sort_by_key(|problem| problem.exit != Exit::Conflict);
        if distinct.len() == 1 {
            return distinct.remove(0);
        }
        let exit = distinct.first().map_or(Exit::Failure, |problem| problem.exit);
        let line = |Error { what, why, .. }: &Error| match why {
            Some(why) => format!("- {what}:\n  {}", why.trim_end().replace('\n', "\n  ")),
            None => format!("- {what}"),
        };
        let lines: Vec<String> = distinct.iter().map(line).collect();
        let error = Error::new(exit, what).because(lines.join("\n"));
        let mut remedies: Vec<String> = Vec::new();
        for remedy in distinct.into_iter().flat_map(|problem| problem.remedies) {
            if !remedies.contains(&remedy) {
                remedies.push(remedy);
            }
        }
        Error { remedies, ..error }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.what)?;
        if let Some(why) = &self.why {
            write!(out, "\n  because: {}", why.trim_end().replace('\n', "\n           "))?;
        }
        for remedy in &self.remedies {
            write!(out, "\n  to do:   {}", remedy.replace('\n', "\n           "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// One problem, where several may be found.
impl From<Error> for Vec<Error> {
    fn from(error: Error) -> Self {
        vec![error]
    }
}

/// As the text that people read.
impl serde::Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Turns somebody else's error into ours, at the place that knows what was being done.
pub trait Context<T> {
    /// Names what failed; the original error becomes the reason.
    ///
    /// # Errors
    /// The original one, wrapped.
    fn context(self, exit: Exit, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn context(self, exit: Exit, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::new(exit, what()).because(error))
    }
}

/// What an error says, and what its sources say, from the outermost to the one that knows why.
pub fn reasons(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}
