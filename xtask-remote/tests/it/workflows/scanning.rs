//! GitHub's code scanning: a fake that takes and refuses what `github/codeql-action/upload-sarif` v4 and the service behind it do (the
//! action's sources, and GitHub's documentation, "SARIF support for code scanning").

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::glob::below;

const RUNS_MAX: usize = 20;
const RESULTS_MAX: usize = 25_000;

/// What the Security tab shows.
#[derive(Default)]
pub struct CodeScanning {
    shown: Mutex<Vec<Value>>,
    refuses: bool,
}

impl CodeScanning {
    /// One of a repository with so many findings that it takes no more.
    pub fn refusing() -> Self {
        CodeScanning { refuses: true, ..Self::default() }
    }

    /// Takes the reports at a path; `said` is what the action's uploads of this job left in its environment.
    pub fn upload(&self, at: &Path, category: &str, said: &mut BTreeSet<String>) -> Result<(), String> {
        let files = files(at)?;
        let logs = files.iter().map(|file| read(&at.join(file))).collect::<Result<Vec<Value>, String>>()?;
        let mut runs: Vec<Value> = logs.iter().flat_map(|log| log["runs"].as_array().unwrap()).cloned().collect();
        if !are_distinct(runs.iter().map(key)) {
            return Err("The CodeQL Action does not support uploading multiple SARIF runs with the same category. Please update \
                        your workflow to upload a single run per category."
                .into());
        }
        for run in runs.iter_mut().filter(|run| run["automationDetails"].is_null()) {
            run["automationDetails"] = json!({"id": format!("{}/", category.trim_end_matches('/'))});
        }
        let mine: BTreeSet<String> = runs.iter().map(sentinel).collect();
        if mine.iter().any(|sentinel| said.contains(sentinel)) {
            return Err("Aborting upload: only one run of the codeql/analyze or codeql/upload-sarif actions is allowed per job \
                        per tool/category."
                .into());
        }
        said.extend(mine);
        self.process(runs)
    }

    /// What the service says after a while, for which the action waits.
    fn process(&self, runs: Vec<Value>) -> Result<(), String> {
        let failed = |why: &str| Err(format!("Code Scanning could not process the submitted SARIF file:\n{why}"));
        if self.refuses {
            return failed("rejecting delivery as the repository has too many logical alerts");
        }
        if runs.len() > RUNS_MAX {
            return failed("rejecting SARIF, as there are more runs than allowed");
        }
        if !are_distinct(runs.iter().map(|run| (tool(run), category(run)))) {
            return failed("A delivery cannot contain multiple runs with the same category");
        }
        for run in &runs {
            let results = run["results"].as_array().unwrap();
            if results.len() > RESULTS_MAX {
                return failed("rejecting SARIF, as there are more results per run than allowed");
            }
            let place =
                |result: &Value| result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].is_string();
            if !results.iter().all(place) {
                return failed("locationFromSarifResult: expected artifact location");
            }
        }
        self.shown.lock().unwrap().extend(runs);
        Ok(())
    }

    /// Every run that it took, the oldest first.
    pub fn runs(&self) -> Vec<Value> {
        self.shown.lock().unwrap().clone()
    }
}

/// A run's category: what stands before the last slash of its id.
pub fn category(run: &Value) -> String {
    let id = run["automationDetails"]["id"].as_str().unwrap_or_default();
    id.rsplit_once('/').map_or("", |(category, _)| category).to_owned()
}

fn files(at: &Path) -> Result<Vec<std::path::PathBuf>, String> {
    if !at.exists() {
        return Err(format!("Path does not exist: {}", at.display()));
    }
    if at.is_file() {
        return Ok(vec![std::path::PathBuf::new()]);
    }
    let files: Vec<_> = below(at, true).into_iter().filter(|file| file.extension() == Some("sarif".as_ref())).collect();
    if files.is_empty() { Err(format!("No SARIF files found to upload in \"{}\".", at.display())) } else { Ok(files) }
}

fn read(path: &Path) -> Result<Value, String> {
    let path = path.to_string_lossy();
    let path = path.trim_end_matches('/');
    let log: Value = serde_json::from_slice(&std::fs::read(path).unwrap())
        .map_err(|error| format!("Invalid SARIF. JSON syntax error: {error}"))?;
    let lacking = |what: &str| format!("Unable to upload \"{path}\" as it is not valid SARIF:\n- {what}");
    if log["version"] != "2.1.0" {
        return Err(lacking("instance.version is not one of enum values: 2.1.0"));
    }
    let Some(runs) = log["runs"].as_array() else { return Err(lacking("instance requires property \"runs\"")) };
    for run in runs {
        if tool(run).is_empty() {
            return Err(lacking("instance.runs[0].tool.driver requires property \"name\""));
        }
        let Some(results) = run["results"].as_array() else {
            return Err("Invalid SARIF. Missing 'results' array in run.".into());
        };
        if results.iter().any(|result| !result["message"].is_object()) {
            return Err(lacking("instance.runs[0].results[0] requires property \"message\""));
        }
    }
    Ok(log)
}

fn tool(run: &Value) -> String {
    run["tool"]["driver"]["name"].as_str().unwrap_or_default().to_owned()
}

/// What the action tells runs apart by, before it gives a category to those that have none.
fn key(run: &Value) -> String {
    let driver = &run["tool"]["driver"];
    let parts = ["name", "fullName", "version", "semanticVersion", "guid"].map(|part| driver[part].to_string());
    format!("{} {}", parts.join(" "), run["automationDetails"]["id"])
}

/// The variable by which an upload of a job knows that there was one like it.
fn sentinel(run: &Value) -> String {
    let id = run["automationDetails"]["id"].as_str().unwrap_or("_");
    let plain = |text: &str| text.replace(|character: char| !character.is_ascii_alphanumeric(), "_").to_uppercase();
    format!("{}_{}", plain(id), plain(&tool(run)))
}

fn are_distinct<T: Ord>(mut values: impl Iterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    values.all(|value| seen.insert(value))
}
