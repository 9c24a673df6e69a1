//! Figures that are kept: `figures/operator.json`, of which each benchmark writes its own rows.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One measured thing. The README's table has these columns.
#[derive(Serialize, Deserialize)]
struct Figure {
    what: String,
    measured: f64,
    unit: String,
    /// How much it should be; nothing where it is only told.
    reach: Option<f64>,
}

pub(crate) struct Figures {
    path: PathBuf,
    rows: Vec<Figure>,
}

impl Figures {
    /// Those that were measured before.
    pub(crate) fn read() -> Self {
        let path = folder().join("operator.json");
        let rows = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { path, rows }
    }

    /// Puts a figure in place of the earlier one.
    pub(crate) fn add(&mut self, what: &str, measured: f64, unit: &str, reach: Option<f64>) {
        println!("{what}: {measured:.1} {unit}{}", reach.map(|reach| format!(" (goal {reach})")).unwrap_or_default());
        let figure = Figure { what: what.to_owned(), measured: rounded(measured), unit: unit.to_owned(), reach };
        match self.rows.iter_mut().find(|row| row.what == what) {
            Some(row) => *row = figure,
            None => self.rows.push(figure),
        }
    }

    pub(crate) fn write(&self) {
        fs::create_dir_all(folder()).expect("the workspace is writable");
        let text = serde_json::to_string_pretty(&self.rows).expect("figures are plain");
        fs::write(&self.path, format!("{text}\n")).expect("the folder is writable");
    }
}

/// Where figures are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../figures")
}

fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
