//! The real Trivy, on a database of the test's own.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::path::PathBuf;
use std::process::Command;

use crate::support::{Demo, Run, tool};

/// A database, and the programs that a scan needs, on a PATH of their own.
pub struct Laboratory {
    pub folder: tempfile::TempDir,
    pub programs: PathBuf,
}

impl Laboratory {
    /// Nothing where a tool is missing.
    pub fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let programs = folder.path().join("programs");
        std::fs::create_dir_all(&programs).unwrap();
        for name in ["trivy", "cargo-auditable"] {
            std::os::unix::fs::symlink(tool(name)?, programs.join(name)).unwrap();
        }
        tool("trivy-database")?;
        Some(Laboratory { folder, programs })
    }

    /// Makes the database know these findings, each CRATE=CVE=SEVERITY, as of `age_hours` ago.
    pub fn know(&self, findings: &[&str], age_hours: i64) {
        let folder = self.cache().join("trivy/db");
        std::fs::remove_dir_all(&folder).ok();
        std::fs::create_dir_all(&folder).unwrap();
        let mut write = Command::new(tool("trivy-database").unwrap());
        write.arg(folder.join("trivy.db")).args(findings);
        Run::of(write).ok();
        let updated = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(age_hours);
        let metadata = serde_json::json!({
            "Version": 2, "UpdatedAt": updated.to_string(), "DownloadedAt": updated.to_string(), "NextUpdate": updated.to_string(),
        });
        std::fs::write(folder.join("metadata.json"), metadata.to_string()).unwrap();
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    pub fn command(&self, demo: &Demo, arguments: &[&str]) -> Command {
        self.equip(demo.command(arguments))
    }

    /// Gives a command the scanner, its database and cargo-auditable.
    pub fn equip(&self, mut command: Command) -> Command {
        let path = std::env::var_os("PATH").unwrap();
        let folders = std::iter::once(self.programs.clone()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders).unwrap()).env("XDG_CACHE_HOME", self.cache());
        command
    }

    /// A Trivy that does something of its own first, and then what a script says.
    pub fn replace_trivy(&self, script: &str) {
        let program = self.programs.join("trivy");
        std::fs::remove_file(&program).unwrap();
        crate::support::script(&program, script);
    }

    pub fn run(&self, demo: &Demo, arguments: &[&str]) -> Run {
        Run::of(self.command(demo, arguments))
    }

    pub fn release(&self, demo: &Demo) -> Run {
        Run::of(self.command(demo, &["release", "--json"]))
    }
}
