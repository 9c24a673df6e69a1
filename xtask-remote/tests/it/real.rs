//! The real product: a copy of this very workspace, released as its README says, into folders of the tests' own.
//!
//! What is compiled in one folder is of no use in another, since the compiler's settings name it (it is mapped away, I15). So the copy
//! always stands at one place, below the folder that cargo gives to tests, and keeps what was compiled: nothing of the real product
//! compiles twice, not even in the next run. It is for one command at a time, which finds the sources as it needs them: committed, with
//! a manifest of its own. The developer's own `target/xtask` and `target/release-local` are never touched.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::support::{Run, free_port, git, root, xtask};

/// Where the copy stands.
static PLACE: LazyLock<PathBuf> = LazyLock::new(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("real"));

/// The folder of the compiler's output, and the sources that it is of.
const COMPILED: [&str; 2] = ["target/xtask/build", "target/xtask/source"];

/// The copy of the workspace.
pub struct Real {
    commit: String,
    /// Held until this process ends: another one waits.
    _lock: File,
}

impl Real {
    /// The only one, for one command at a time.
    pub fn take() -> MutexGuard<'static, Self> {
        static REAL: LazyLock<Mutex<Real>> = LazyLock::new(|| Mutex::new(Real::new()));
        REAL.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new() -> Self {
        std::fs::create_dir_all(&*PLACE).unwrap();
        let lock = File::create(PLACE.with_extension("lock")).unwrap();
        if lock.try_lock().is_err() {
            let mut past_the_capture = std::io::stderr();
            writeln!(past_the_capture, "waiting for the end of other tests of this workspace").unwrap();
            lock.lock().unwrap();
        }
        remove_all_but(&PLACE, &COMPILED.map(|folder| PLACE.join(folder)));
        copy_sources(&PLACE);
        let commit = commit_all(&PLACE);
        // Some tests are where nothing can be downloaded.
        let mut fetch = Command::new(env!("CARGO"));
        fetch.current_dir(&*PLACE).args(["fetch", "--locked", "--quiet"]);
        Run::of(fetch).ok();
        Real { commit, _lock: lock }
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(&PLACE, arguments)
    }

    /// Makes the sources those of a commit with this manifest; the same commit whenever it is the same manifest.
    pub fn check_out(&self, manifest: &str) {
        self.git(&["checkout", "--quiet", "--force", "--detach", &self.commit]);
        std::fs::write(PLACE.join("Cargo.toml"), manifest).unwrap();
        self.git(&["commit", "--quiet", "--all", "--message", "for a test"]);
    }

    /// The tool in the copy.
    pub fn command(&self, arguments: &[&str]) -> Command {
        tool_in(&PLACE, arguments)
    }
}

/// The tool in a folder. What it compiles tells which crates are in it, wherever that is required, so it always does.
pub fn tool_in(folder: &Path, arguments: &[&str]) -> Command {
    let pinned = std::env::var_os("TEST_TOOLS").map(|tools| Path::new(&tools).join("cargo-auditable"));
    let programs = folder.join("target/programs");
    if let Some(pinned) = pinned.filter(|pinned| pinned.exists() && !programs.exists()) {
        std::fs::create_dir_all(&programs).unwrap();
        std::os::unix::fs::symlink(pinned, programs.join("cargo-auditable")).unwrap();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&path))).unwrap();
    let mut command = xtask();
    command.current_dir(folder).args(arguments).env("PATH", path);
    command
}

/// A target of a test's own: this machine's place for releases, in a folder and on a port that nobody else has.
pub struct Rehearsal {
    /// Where its releases are published.
    pub folder: PathBuf,
    /// The chart repository.
    pub url: String,
    /// The image, without a tag.
    pub image: String,
    manifest: String,
}

impl Rehearsal {
    /// For the platform of this machine alone: compiling for others takes long, and nothing here could run them as they are.
    pub fn new() -> Self {
        Self::with(&manifest_for_this_machine())
    }

    /// For every platform.
    pub fn for_all_platforms() -> Self {
        Self::with(&manifest())
    }

    fn with(manifest: &str) -> Self {
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let (place, folder) = ("localhost:8879", "target/release-local");
        let (port, own) = (free_port(), format!("target/rehearsal-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let host = format!("localhost:{port}");
        assert_eq!((manifest.matches(place).count(), manifest.matches(folder).count()), (2, 1), "{manifest}");
        Rehearsal {
            folder: PLACE.join(&own),
            url: format!("http://{host}"),
            image: format!("{host}/kube9-operator"),
            manifest: manifest.replace(place, &host).replace(folder, &own),
        }
    }

    /// Releases, and gives the report.
    #[track_caller]
    pub fn release(&self, words: &[&str]) -> Value {
        let real = Real::take();
        real.check_out(&self.manifest);
        Run::of(real.command(&[&["release", "--json"], words].concat())).ok().json()
    }

    /// What serves it, to be started before the copy is given back.
    pub fn serve(&self, real: &Real) -> Command {
        real.check_out(&self.manifest);
        real.command(&["serve"])
    }
}

/// This workspace's manifest.
pub fn manifest() -> String {
    std::fs::read_to_string(root().join("Cargo.toml")).unwrap()
}

/// The same with one platform only.
pub fn manifest_for_this_machine() -> String {
    let ours = format!("\"{}-", std::env::consts::ARCH);
    let is_of_others = |line: &&str| line.starts_with("\"linux/") && !line.contains(&ours);
    manifest().lines().filter(|line| !is_of_others(line)).map(|line| format!("{line}\n")).collect()
}

/// This workspace as it is now, committed or not.
pub fn copy_sources(to: &Path) {
    let listed = git(&root(), &["ls-files", "--cached", "--others", "--exclude-standard"]);
    for name in listed.lines().filter(|name| root().join(name).is_file()) {
        let place = to.join(name);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(root().join(name), place).unwrap();
    }
}

/// Makes a folder a repository of its own, with one commit of everything.
pub fn commit_all(folder: &Path) -> String {
    git(folder, &["init", "--quiet", "--initial-branch=main"]);
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "--message", "all of it"]);
    git(folder, &["rev-parse", "HEAD"])
}

fn remove_all_but(folder: &Path, kept: &[PathBuf]) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if kept.contains(&path) {
            continue;
        }
        if kept.iter().any(|kept| kept.starts_with(&path)) {
            remove_all_but(&path, kept);
        } else if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
}
