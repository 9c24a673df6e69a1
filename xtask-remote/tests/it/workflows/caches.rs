//! GitHub's caches of one repository: a fake that finds, keeps and refuses as `@actions/cache` 5 and GitHub's documentation ("Dependency
//! caching reference") say. It neither evicts nor compresses.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::TempDir;

use crate::folders::copy_tree;

/// Where a run's caches are kept, and where else it looks for some: its own branch, tag or pull request first.
#[derive(Clone, Debug)]
pub struct Scopes(pub Vec<String>);

/// One machine's files: what `~` and a path without it are.
#[derive(Clone, Copy, Debug)]
pub struct Places<'m> {
    pub home: &'m Path,
    pub work: &'m Path,
}

/// The caches that there are, the oldest first.
pub struct Caches {
    folder: TempDir,
    entries: Mutex<Vec<Entry>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    scope: String,
    key: String,
    /// The very paths, in their order: others find another cache.
    version: String,
    number: usize,
}

impl Caches {
    pub fn new() -> Self {
        Caches { folder: tempfile::tempdir().unwrap(), entries: Mutex::default() }
    }

    /// Looks for a cache and puts its files where they were; the key that was found.
    pub fn restore(
        &self,
        scopes: &Scopes,
        key: &str,
        others: &[String],
        paths: &[String],
        places: Places<'_>,
    ) -> Result<Option<String>, String> {
        check(paths, std::iter::once(key).chain(others.iter().map(String::as_str)))?;
        let Some(entry) = self.find(scopes, key, others, &version(paths)) else { return Ok(None) };
        for (number, path) in paths.iter().enumerate() {
            let (kept, place) = (self.kept(entry.number, number), places.path(path));
            if kept.is_dir() {
                std::fs::create_dir_all(&place).unwrap();
                copy_tree(&kept, &place);
            } else if kept.exists() {
                std::fs::create_dir_all(place.parent().unwrap()).unwrap();
                std::fs::copy(&kept, &place).unwrap();
            }
        }
        Ok(Some(entry.key))
    }

    fn find(&self, scopes: &Scopes, key: &str, others: &[String], version: &str) -> Option<Entry> {
        let entries = self.entries.lock().unwrap();
        scopes.0.iter().find_map(|scope| {
            let here: Vec<&Entry> =
                entries.iter().rev().filter(|entry| entry.scope == *scope && entry.version == version).collect();
            let exact = here.iter().find(|entry| entry.key == key);
            let partial = || {
                let mut starts = std::iter::once(key).chain(others.iter().map(String::as_str));
                starts.find_map(|start| here.iter().find(|entry| entry.key.starts_with(start)))
            };
            exact.or_else(partial).map(|entry| (*entry).clone())
        })
    }

    /// Keeps files under a key that nothing has yet. What goes wrong costs the cache and not the job: it is only said.
    pub fn save(&self, scopes: &Scopes, key: &str, paths: &[String], places: Places<'_>) -> Result<(), String> {
        check(paths, std::iter::once(key))?;
        if paths.iter().all(|path| !places.path(path).exists()) {
            return Err(
                "Path Validation Error: Path(s) specified in the action for caching do(es) not exist, hence no cache \
                        is being saved."
                    .into(),
            );
        }
        let mut entries = self.entries.lock().unwrap();
        let (scope, version) = (scopes.0[0].clone(), version(paths));
        if entries.iter().any(|entry| (&entry.scope, entry.key.as_str(), &entry.version) == (&scope, key, &version)) {
            return Err(format!("Unable to reserve cache with key {key}, another job may be creating this cache."));
        }
        let entry = Entry { scope, key: key.into(), version, number: entries.len() };
        for (number, path) in paths.iter().enumerate() {
            let (kept, place) = (self.kept(entry.number, number), places.path(path));
            std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
            if place.is_dir() {
                std::fs::create_dir(&kept).unwrap();
                copy_tree(&place, &kept);
            } else if place.exists() {
                std::fs::copy(&place, &kept).unwrap();
            }
        }
        entries.push(entry);
        Ok(())
    }

    /// Scope and key of every cache, the oldest first.
    pub fn kept_keys(&self) -> Vec<(String, String)> {
        let entries = self.entries.lock().unwrap();
        entries.iter().map(|entry| (entry.scope.clone(), entry.key.clone())).collect()
    }

    fn kept(&self, entry: usize, path: usize) -> PathBuf {
        self.folder.path().join(entry.to_string()).join(path.to_string())
    }
}

impl Places<'_> {
    pub fn path(&self, path: &str) -> PathBuf {
        assert!(!path.contains(['*', '!', '?']), "the tests do not know the pattern {path} in a cache");
        path.strip_prefix("~/").map_or_else(|| self.work.join(path), |path| self.home.join(path))
    }
}

fn version(paths: &[String]) -> String {
    paths.join("|")
}

fn check<'k>(paths: &[String], keys: impl Iterator<Item = &'k str>) -> Result<(), String> {
    if paths.is_empty() {
        return Err("Path Validation Error: At least one directory or file path is required".into());
    }
    let keys: Vec<&str> = keys.collect();
    if keys.len() > 10 {
        return Err("Key Validation Error: Keys are limited to a maximum of 10.".into());
    }
    for key in keys {
        if key.len() > 512 {
            return Err(format!("Key Validation Error: {key} cannot be larger than 512 characters."));
        }
        if key.contains(',') {
            return Err(format!("Key Validation Error: {key} cannot contain commas."));
        }
    }
    Ok(())
}
