//! The READMEs' tables of figures: the files in `figures/`, as Markdown. Used by the benchmark, which writes them, and by the test that
//! holds the READMEs to it.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Where the table begins in the README.
pub(crate) const BEGIN: &str = "<!-- figures -->\n";
/// Where it ends.
pub(crate) const END: &str = "<!-- /figures -->";

/// One measured thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) what: String,
    /// How much it is.
    pub(crate) measured: f64,
    /// Of what.
    pub(crate) unit: String,
    /// How much it may be; nothing where it is only told.
    pub(crate) reach: Option<f64>,
    /// What others take for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) others: Option<String>,
}

/// The figures of one file, in its order; none where there is no such file.
pub(crate) fn read(path: &Path) -> Vec<Figure> {
    std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// A README of the workspace, and the files whose figures it shows.
pub(crate) struct Readme {
    /// Where it is, from the workspace's folder.
    pub(crate) path: &'static str,
    files: &'static [&'static str],
}

/// All that have a table.
pub(crate) const READMES: [Readme; 2] = [
    Readme { path: "README.md", files: &["xtask.json", "fresh.json", "publishing.json"] },
    Readme { path: "operator/README.md", files: &["operator.json"] },
];

impl Readme {
    /// Its text, with the table that the figures below `root` make.
    pub(crate) fn with_table(&self, text: &str, root: &Path) -> Option<String> {
        let (before, rest) = text.split_once(BEGIN)?;
        let (_, after) = rest.split_once(END)?;
        Some(format!("{before}{BEGIN}{}{END}{after}", self.table(root)))
    }

    fn table(&self, root: &Path) -> String {
        let rows = self.files.iter().flat_map(|name| read(&root.join("figures").join(name))).map(|figure| {
            let reach = figure.reach.map_or_else(String::new, |reach| format!("{} {}", shown(reach), figure.unit));
            let others = figure.others.unwrap_or_default();
            format!("| {} | {} {} | {reach} | {others} |\n", figure.what, shown(figure.measured), figure.unit)
        });
        let head = "| what (2 cores) | measured | goal | others |\n|---|---|---|---|\n";
        format!("{head}{}", rows.collect::<String>())
    }
}

/// Three digits say enough.
fn shown(number: f64) -> String {
    match number {
        _ if number == 0.0 => "0".into(),
        _ if number >= 100.0 => format!("{number:.0}"),
        _ if number >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
    .trim_end_matches(".0")
    .to_owned()
}
