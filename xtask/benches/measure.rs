//! What all benchmarks share: figures that are kept, and commands.

#![expect(clippy::disallowed_methods, reason = "a benchmark's own files")]

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::sys::tools::tells_the_package;

use crate::table::{self, Figure, READMES};

/// The workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A command of cargo, that builds where people's builds are, and is told no more than a shell tells it.
pub(crate) fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(folder).env_remove("CARGO_TARGET_DIR");
    let told = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in told.filter(|name| tells_the_package(name)) {
        command.env_remove(name);
    }
    command
}

/// The figures of one file.
pub(crate) struct Figures {
    path: PathBuf,
    rows: Vec<Figure>,
}

impl Figures {
    /// Those of `name` in the folder of figures below `root`, as they were measured before.
    pub(crate) fn of(root: &Path, name: &str) -> Self {
        let path = root.join("figures").join(name);
        Figures { rows: table::read(&path), path }
    }

    /// Keeps them, and makes the READMEs' tables from all figures.
    pub(crate) fn write(&self, root: &Path) {
        let json = serde_json::to_string_pretty(&self.rows).unwrap();
        std::fs::write(&self.path, format!("{json}\n")).unwrap();
        write_tables(root);
    }

    /// Puts a figure in place of the earlier one. What others take is kept where it was not measured again.
    pub(crate) fn add(&mut self, what: &str, measured: f64, unit: &str, reach: Option<f64>, others: Option<String>) {
        println!("{what}: {measured:.3} {unit}{}", reach.map(|reach| format!(" (goal {reach})")).unwrap_or_default());
        let figure = |others| Figure { what: what.into(), measured, unit: unit.into(), reach, others };
        match self.rows.iter_mut().find(|row| row.what == what) {
            Some(row) => *row = figure(others.or(row.others.take())),
            None => self.rows.push(figure(others)),
        }
    }
}

/// Runs a command that has to succeed; what it says is shown where it does not.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes the READMEs' tables from the figures as they are.
pub(crate) fn write_tables(root: &Path) {
    for readme in READMES {
        let path = root.join(readme.path);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, readme.with_table(&text, root).unwrap()).unwrap();
    }
}
