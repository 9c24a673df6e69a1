//! What the jobs of one run hand on: a fake of GitHub's artifacts behind `actions/upload-artifact` v7 and `actions/download-artifact` v8,
//! which takes and refuses what these do (their sources, and `@actions/artifact`'s).

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::glob::{below, matches};

/// What no artifact's name and no file's path may hold; names may hold neither slash.
const FORBIDDEN: [char; 9] = ['"', ':', '<', '>', '|', '*', '?', '\r', '\n'];

/// The artifacts of one run, by their names.
pub struct Artifacts(TempDir);

impl Artifacts {
    pub fn new() -> Self {
        Artifacts(tempfile::tempdir().unwrap())
    }

    /// Keeps files of a workspace: no hidden ones, nothing of their modes, and no empty folders.
    pub fn upload(&self, workspace: &Path, with: &BTreeMap<String, String>) -> Result<(), String> {
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
                "warn" | "ignore" => Ok(()),
                other => Err(format!("Unrecognized if-no-files-found input. Provided: {other}")),
            };
        }
        if name.is_empty() || name.contains(FORBIDDEN) || name.contains(['/', '\\']) {
            return Err(format!("The artifact name is not valid: {name}"));
        }
        if let Some(bad) = files.iter().find(|file| file.to_string_lossy().contains(FORBIDDEN)) {
            return Err(format!("The path for one of the files in artifact is not valid: {}", bad.display()));
        }
        let place = self.0.path().join(&name);
        if place.exists() && !truth("overwrite") {
            return Err(
                "Failed to CreateArtifact: Received non-retryable error: Failed request: (409) Conflict: an artifact \
                        with this name already exists on the workflow run"
                    .into(),
            );
        }
        std::fs::remove_dir_all(&place).ok();
        files.iter().for_each(|file| copy(&root.join(file), &place.join(file)));
        Ok(())
    }

    /// Gives them to another job.
    pub fn download(&self, workspace: &Path, with: &BTreeMap<String, String>) -> Result<(), String> {
        let known = ["name", "path"];
        assert!(with.keys().all(|key| known.contains(&key.as_str())), "the tests do not know all of {with:?}");
        let name = with.get("name").unwrap();
        let kept = self.0.path().join(name);
        if !kept.exists() {
            return Err(format!("Unable to download artifact(s): Artifact not found for name: {name}"));
        }
        let place = workspace.join(with.get("path").map_or(".", String::as_str));
        below(&kept, true).iter().for_each(|file| copy(&kept.join(file), &place.join(file)));
        Ok(())
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
