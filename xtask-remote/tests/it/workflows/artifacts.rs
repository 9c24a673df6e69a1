//! What the jobs of one run hand on: a fake of GitHub's artifacts behind `actions/upload-artifact` v7 and `actions/download-artifact` v8,
//! which takes and refuses what these do (their sources, and `@actions/artifact`'s).

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::TempDir;

use super::glob::{below, matches};
use crate::folders::copy_tree;

/// What no artifact's name and no file's path may hold; names may hold neither slash.
const FORBIDDEN: [char; 9] = ['"', ':', '<', '>', '|', '*', '?', '\r', '\n'];

/// The artifacts of one run, by their names. Each upload gets a number that nothing else has, also where it takes another's name.
pub struct Artifacts {
    folder: TempDir,
    numbers: Mutex<(u64, BTreeMap<String, u64>)>,
}

impl Artifacts {
    pub fn new() -> Self {
        Artifacts { folder: tempfile::tempdir().unwrap(), numbers: Mutex::new((4000, BTreeMap::new())) }
    }

    /// Keeps files of a workspace: no hidden ones, nothing of their modes, and no empty folders. Gives the outputs.
    pub fn upload(&self, workspace: &Path, with: &BTreeMap<String, String>) -> Result<Vec<(String, String)>, String> {
        let given = |name: &str, default: &str| with.get(name).map_or_else(|| default.to_owned(), Clone::clone);
        let (name, path, if_none) = (given("name", "artifact"), given("path", ""), given("if-no-files-found", "warn"));
        let truth = |name: &str| given(name, "false") == "true";
        if given("retention-days", "0").parse::<u32>().is_err() {
            return Err("Invalid retention-days".into());
        }
        let (root, files) = found(workspace, &path, truth("include-hidden-files"));
        if files.is_empty() {
            let said = format!("No files were found with the provided path: {path}. No artifacts will be uploaded.");
            return match if_none.as_str() {
                "error" => Err(said),
                "warn" | "ignore" => Ok(Vec::new()),
                other => Err(format!("Unrecognized if-no-files-found input. Provided: {other}")),
            };
        }
        if name.is_empty() || name.contains(FORBIDDEN) || name.contains(['/', '\\']) {
            return Err(format!("The artifact name is not valid: {name}"));
        }
        if let Some(bad) = files.iter().find(|file| file.to_string_lossy().contains(FORBIDDEN)) {
            return Err(format!("The path for one of the files in artifact is not valid: {}", bad.display()));
        }
        let place = self.folder.path().join(&name);
        if place.exists() && !truth("overwrite") {
            return Err(
                "Failed to CreateArtifact: Received non-retryable error: Failed request: (409) Conflict: an artifact \
                        with this name already exists on the workflow run"
                    .into(),
            );
        }
        std::fs::remove_dir_all(&place).ok();
        files.iter().for_each(|file| copy(&root.join(file), &place.join(file)));
        let mut numbers = self.numbers.lock().unwrap();
        numbers.0 += 1;
        let number = numbers.0;
        numbers.1.insert(name, number);
        Ok(vec![("artifact-id".into(), number.to_string())])
    }

    /// The same in another place: what is done to these is not done to those.
    pub fn another(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_tree(self.folder.path(), folder.path());
        Artifacts { folder, numbers: Mutex::new(self.numbers.lock().unwrap().clone()) }
    }

    /// The files of the artifact with a number.
    pub fn folder(&self, number: &str) -> PathBuf {
        self.folder.path().join(self.numbered(number).unwrap())
    }

    /// Gives them to another job.
    pub fn download(&self, workspace: &Path, with: &BTreeMap<String, String>) -> Result<(), String> {
        let known = ["artifact-ids", "name", "path"];
        assert!(with.keys().all(|key| known.contains(&key.as_str())), "the tests do not know all of {with:?}");
        let given = |name: &str| with.get(name).filter(|value| !value.is_empty());
        let name = match (given("name"), given("artifact-ids")) {
            (Some(_), Some(_)) => {
                return Err("Inputs 'name' and 'artifact-ids' cannot be used together. Please specify only one.".into());
            }
            (Some(name), None) => name.clone(),
            (None, Some(number)) => self.numbered(number)?,
            // Without either, all that there is comes: nobody means that.
            (None, None) => panic!("the tests do not know a download of everything: {with:?}"),
        };
        let kept = self.folder.path().join(&name);
        if !kept.exists() {
            return Err(format!("Unable to download artifact(s): Artifact not found for name: {name}"));
        }
        let place = workspace.join(with.get("path").map_or(".", String::as_str));
        below(&kept, true).iter().for_each(|file| copy(&kept.join(file), &place.join(file)));
        Ok(())
    }
}

impl Artifacts {
    /// The name of the artifact with a number; only the newest of a name is there.
    fn numbered(&self, text: &str) -> Result<String, String> {
        assert!(!text.contains(','), "the tests know one artifact a download");
        let number: u64 =
            text.trim().parse().map_err(|_| format!("Invalid artifact ID: '{text}'. Must be a number."))?;
        let numbers = self.numbers.lock().unwrap();
        let found = numbers.1.iter().find(|(_, known)| **known == number);
        found
            .map(|(name, _)| name.clone())
            .ok_or_else(|| "Unable to download artifact(s): None of the provided artifact IDs were found".to_owned())
    }
}

/// The folder that paths in an artifact begin at, and the files that a pattern finds, links followed.
fn found(workspace: &Path, pattern: &str, hidden: bool) -> (PathBuf, Vec<PathBuf>) {
    assert!(!pattern.trim().contains('\n'), "the tests know one path an artifact");
    let whole = workspace.join(pattern);
    if whole.is_file() {
        return (whole.parent().unwrap().into(), vec![whole.file_name().unwrap().into()]);
    }
    let folder = pattern.split('*').next().unwrap();
    let folder =
        if folder.len() == pattern.len() { folder } else { folder.rsplit_once('/').map_or("", |(folder, _)| folder) };
    let (root, rest) = (workspace.join(folder), pattern[folder.len()..].trim_start_matches('/').to_owned());
    let is_wanted = |file: &Path| rest.is_empty() || matches(&rest, &file.to_string_lossy());
    let files = below(&root, hidden).into_iter().filter(|file| is_wanted(file)).collect();
    (root, files)
}

/// Modes do not survive: a zip of this kind has none.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(from, to).unwrap();
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o644)).unwrap();
}
