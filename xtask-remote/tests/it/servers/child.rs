//! A server in a process of its own that cannot outlive the test.

#![expect(clippy::disallowed_methods, reason = "tests start processes of their own")]

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::folders::copy_tree;
use crate::support::{folder_in_memory, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// A running program and its folder.
///
/// A shell waits until this value, or the whole test process, is gone, however that ends; then it ends the program and removes the
/// folder.
pub struct Served {
    guard: Child,
    folder: PathBuf,
    input: Option<ChildStdin>,
}

/// What systems keep over a restart, and so not in memory (Filesystem Hierarchy Standard, `/var/tmp`).
pub const DISK: &str = "/var/tmp";

/// An empty folder for a server's files, to be handed to `Served::start`.
pub fn folder() -> PathBuf {
    folder_in_memory().keep()
}

/// The same on a disk, for servers that need what a file system in memory lacks.
pub fn folder_on_disk() -> PathBuf {
    tempfile::tempdir_in(DISK).unwrap().keep()
}

impl Served {
    /// Starts a program and waits until `ready`. It writes its log into the folder, which from now on belongs to it.
    #[track_caller]
    pub fn start(folder: PathBuf, command: &Command, ready: impl FnMut() -> bool) -> Self {
        const GUARD: &str = r#"trap '' INT
            folder=$1; shift
            "$@" >"$folder/log" 2>&1 & read _
            kill -9 $!; wait; cd /; rm -rf "$folder""#;
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh"]).arg(&folder).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            guard.env(name, value.unwrap());
        }
        guard.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut guard = guard.spawn().unwrap();
        let input = guard.stdin.take();
        let served = Served { guard, folder, input };
        assert!(wait_until(LIMIT, ready), "{} is not ready:\n{}", command.get_program().display(), served.log());
        served
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A copy of some of its folders.
    pub fn keep(&self, names: &[&str]) -> TempDir {
        let kept = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::create_dir(kept.path().join(name)).unwrap();
            copy_tree(&self.folder.join(name), &kept.path().join(name));
        }
        kept
    }

    /// Makes these folders what they were when the copy was taken. The program may run on: it keeps nothing in memory.
    pub fn restore(&self, names: &[&str], kept: &TempDir) {
        for name in names {
            let folder = self.folder.join(name);
            for entry in std::fs::read_dir(&folder).unwrap() {
                std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
            }
            copy_tree(&kept.path().join(name), &folder);
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.input.take());
        self.guard.wait().ok();
    }
}
