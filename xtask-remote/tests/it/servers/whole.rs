//! Production with BuildKit and Trivy before it: what a release to the real target goes through.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::process::Command;

use tempfile::TempDir;

use super::{Buildkit, Laboratory, Production};
use crate::support::{Run, tool};

/// What releases to it.
pub const RELEASE: [&str; 6] = ["release", "--to", "production", "--builder", "kit", "--json"];

/// A release as the real target makes it: assembled by BuildKit, and scanned whatever happens.
pub struct Whole {
    pub production: Production,
    pub laboratory: Laboratory,
    /// Where buildx is, and what it knows of builders.
    pub programs: TempDir,
    _buildkit: Buildkit,
}

impl Whole {
    pub fn new() -> Option<Self> {
        let (mut production, laboratory, buildx) = (Production::new()?, Laboratory::new()?, tool("buildx")?);
        if !Buildkit::can_run() {
            return None;
        }
        // The scanner looks for crates in the binaries.
        production.demo.compile();
        let programs = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&buildx, programs.path().join("buildx")).unwrap();
        let _buildkit = Buildkit::start("kit", &buildx, programs.path());
        production.demo.sign_since("1.0.0");
        let manifest = production.demo.read("Cargo.toml");
        let (local, remote) = manifest.split_once("[workspace.metadata.release.targets.production]").unwrap();
        let remote = remote.replace("\"embedded\"", "\"buildx\"").replace("\"if-installed\"", "\"required\"");
        let table = "[workspace.metadata.release.targets.production]";
        production.demo.write("Cargo.toml", format!("{local}{table}{remote}"));
        production.demo.commit("as the real target");
        production.demo.git(&["push", "--quiet"]);
        Some(Whole { production, laboratory, programs, _buildkit })
    }

    pub fn release(&self, words: &[&str]) -> Run {
        Run::of(self.command(words))
    }

    /// The same, not yet begun.
    pub fn command(&self, words: &[&str]) -> Command {
        let arguments = [&RELEASE[..], words].concat();
        self.equip(self.production.demo.command(&arguments))
    }

    /// Gives a command in any workspace a publisher's credentials, the builder and the scanner.
    pub fn equip(&self, command: Command) -> Command {
        let mut command = self.laboratory.equip(self.production.equip(command));
        let path = std::env::var("PATH").unwrap();
        let programs = self.laboratory.programs.display();
        command.env("PATH", format!("{programs}:{}:{path}", self.programs.path().display()));
        command.env("BUILDX_CONFIG", self.programs.path().join(".docker/buildx"));
        command
    }
}
