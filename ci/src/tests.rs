//! Test programs: compiled once, for the whole workspace, and started directly.
//!
//! Cargo would select features anew for each package that is named, and compile what they share once for each selection.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use xtask::error::{Context, Exit, Result};
use xtask::sys::children::Call;

use crate::parts::{Programs, Tests};

/// Cargo's arguments that compile every test, and print where.
pub(crate) const COMPILE: &str =
    "test --workspace --lib --bins --tests --locked --no-run --message-format json-render-diagnostics";

/// A compiled test program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    path: PathBuf,
    /// The folder of its package, where cargo starts it.
    folder: PathBuf,
    is_integration: bool,
}

impl Program {
    /// Whether it is one of these.
    pub(crate) fn is_of(&self, programs: Programs) -> bool {
        match programs {
            Programs::Unit => !self.is_integration,
            Programs::Integration(folder) => {
                let name = self.folder.file_name().unwrap_or_default().to_string_lossy();
                self.is_integration
                    && (name == folder || name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('-')))
            }
        }
    }

    /// The call that runs these tests.
    pub(crate) fn call(&self, tests: &Tests) -> Call {
        let skipped = tests.skip.iter().flat_map(|name| ["--skip", name]);
        let call = match tests.niceness {
            0 => Call::new(&self.path),
            niceness => Call::new("nice").args(["-n", &niceness.to_string()]).args([&self.path]),
        };
        call.current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .args(["--test-threads", &tests.threads.to_string()])
            .args(skipped)
            .args(tests.exact.then_some("--exact"))
            .args(&tests.only)
    }

    /// The names of those of these tests that it has.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn names(&self, tests: &Tests) -> Result<Vec<String>> {
        let listed = self.call(tests).args(["--list", "--format", "terse"]).read()?;
        Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }
}

/// The test programs that cargo told of, one message a line (the cargo book, "External tools").
///
/// # Errors
/// A line is no message.
pub(crate) fn programs(messages: &str) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for line in messages.lines() {
        let message: Message =
            serde_json::from_str(line).context(Exit::Failure, || format!("cargo's message cannot be read: {line}"))?;
        programs.extend(message.program());
    }
    Ok(programs)
}

#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Message {
    fn program(self) -> Option<Program> {
        let (path, target) = (self.executable?, self.target?);
        let folder = self.manifest_path?.parent().map(Path::to_owned)?;
        let is = |name: &str| target.kind.iter().any(|kind| kind == name);
        let is_test = self.profile?.test && !is("bench");
        is_test.then_some(Program { path, folder, is_integration: is("test") })
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn tests_are_told_from_benchmarks_and_from_the_programs_that_they_start() {
        let messages = [
            r#"{"reason":"compiler-artifact","manifest_path":"/w/xtask/Cargo.toml","target":{"kind":["bin"]},"profile":{"test":false},"executable":"/t/xtask"}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/w/xtask/Cargo.toml","target":{"kind":["lib"]},"profile":{"test":true},"executable":"/t/xtask-1"}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/w/xtask/Cargo.toml","target":{"kind":["test"]},"profile":{"test":true},"executable":"/t/it-1"}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/w/xtask/Cargo.toml","target":{"kind":["bench"]},"profile":{"test":true},"executable":"/t/figures-1"}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/w/xtask-remote/Cargo.toml","target":{"kind":["test"]},"profile":{"test":true},"executable":"/t/it-3"}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/w/operator/Cargo.toml","target":{"kind":["test"]},"profile":{"test":true},"executable":"/t/it-2"}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        let found = programs(&messages.join("\n")).unwrap();
        let of = |programs| -> Vec<&Path> {
            found.iter().filter(|program| program.is_of(programs)).map(|program| program.path.as_path()).collect()
        };
        assert_eq!(of(Programs::Unit), [Path::new("/t/xtask-1")]);
        assert_eq!(of(Programs::Integration("xtask")), [Path::new("/t/it-1"), Path::new("/t/it-3")]);
        assert_eq!(of(Programs::Integration("operator")), [Path::new("/t/it-2")]);
    }
}
