//! How long a newcomer, a contributor and CI wait for the README's two commands on a machine that has only compilers and the crates.
//! `cargo bench --package xtask --bench fresh -- --slow`; it takes two hours, of which the named rows (`release`, `host`, `quick`, `ci`,
//! `equipped`) are shares.
//!
//! What is measured is a clone in an empty folder. Nothing is cached but the crates' sources, which `cargo fetch` gets first; only
//! `equipped` finds the test tools of this machine's own cache.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark's own files and words"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

mod measure;
mod table;

use measure::{Figures, cargo, run};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let wanted = |name: &str| words.iter().any(|word| word == name || word == "--slow");
    let measure = |name: &str, rows: &dyn Fn(&mut Figures, &Path)| {
        if wanted(name) {
            // Each is kept as soon as it is known.
            let mut figures = Figures::of(measure::root(), "fresh.json");
            rows(&mut figures, measure::root());
            figures.write(measure::root());
        }
    };
    measure("release", &release_rows);
    measure("host", &host_row);
    measure("quick", &quick_rows);
    measure("ci", &ci_row);
    measure("equipped", &equipped_row);
}

/// A newcomer's first command, and the first one after it for a target beyond this machine: that compiles the AWS SDK and a registry's
/// client, whatever comes of it.
fn release_rows(figures: &mut Figures, root: &Path) {
    let clone = Clone::of(root);
    let both = "`cargo xtask release` in a fresh clone, crates fetched, both platforms";
    figures.add(both, clone.seconds(&["xtask", "release"]), "s", Some(150.0), None);
    let built = clone.seconds(&["build", "--package", "xtask-remote", "--locked"]);
    figures.add("what the first command for a remote target compiles after that", built, "s", Some(120.0), None);
}

/// The first command where nothing else can be compiled for: on PATH are rustup's compiler and what it needs, and no other one.
fn host_row(figures: &mut Figures, root: &Path) {
    let clone = Clone::of(root);
    let programs = tempfile::tempdir().unwrap();
    for name in ["ar", "as", "cargo", "cc", "gcc", "git", "ld", "rustc", "rustup", "sh"] {
        std::os::unix::fs::symlink(on_path(name), programs.path().join(name)).unwrap();
    }
    let mut release = clone.cargo(&["xtask", "release"]);
    release.env("PATH", programs.path());
    let what = "the same for this machine's platform only, where no other can be compiled for";
    figures.add(what, seconds(&mut release), "s", Some(90.0), None);
}

fn quick_rows(figures: &mut Figures, root: &Path) {
    let clone = Clone::of(root);
    let command = ["xtask", "ci", "--quick"];
    figures.add("`cargo xtask ci --quick` in a fresh clone", clone.seconds(&command), "s", Some(360.0), None);
    figures.add("the same again", clone.seconds(&command), "s", Some(90.0), None);
}

/// From an empty home: of what the machine's own has, only compilers, crates and the settings that say where packages come from.
fn ci_row(figures: &mut Figures, root: &Path) {
    let home = tempfile::tempdir().unwrap();
    let own = PathBuf::from(std::env::var_os("HOME").unwrap());
    let kept = [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup"), ("GOENV", ".config/go/env")];
    let kept = kept.map(|(name, path)| (name, std::env::var_os(name).unwrap_or_else(|| own.join(path).into())));
    let clone = Clone::of(root);
    let mut ci = clone.cargo(&["xtask", "ci"]);
    let minutes = seconds(ci.env("HOME", home.path()).env_remove("XDG_CACHE_HOME").envs(kept)) / 60.0;
    figures.add("`cargo xtask ci` in a fresh clone", minutes, "min", Some(40.0), None);
}

fn equipped_row(figures: &mut Figures, root: &Path) {
    run(&mut Clone::of(root).cargo(&["xtask", "ci", "--only", "tools"]));
    let minutes = Clone::of(root).seconds(&["xtask", "ci"]) / 60.0;
    figures.add("the same in another one, where the test tools are installed", minutes, "min", Some(15.0), None);
}

/// A clone with the crates' sources, and nothing that was compiled.
struct Clone {
    folder: TempDir,
}

impl Clone {
    fn of(root: &Path) -> Self {
        let clone = Clone { folder: tempfile::tempdir().unwrap() };
        let git = Command::new("git").args(["clone", "--quiet"]).arg(root).arg(clone.folder.path()).status();
        assert!(git.unwrap().success());
        assert!(clone.cargo(&["fetch", "--locked"]).status().unwrap().success());
        clone
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(self.folder.path());
        command.args(arguments);
        command
    }

    fn seconds(&self, arguments: &[&str]) -> f64 {
        seconds(&mut self.cargo(arguments))
    }
}

fn seconds(command: &mut Command) -> f64 {
    let started = Instant::now();
    assert!(command.status().unwrap().success(), "{command:?}");
    started.elapsed().as_secs_f64()
}

fn on_path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not on PATH"))
}
