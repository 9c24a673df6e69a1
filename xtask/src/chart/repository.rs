//! The chart repository in a store: archives that are written once, and the index that changes by compare-and-swap.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::chart::hub;
use crate::chart::index::{Added, Entry, FILE, Index};
use crate::chart::store::{Object, Store, Write, Written};
use crate::error::{Error, Exit, Result};
use crate::sys::retry::{Failure, retry};

/// How often a change of the index is tried while others keep changing it.
const ATTEMPTS: usize = 50;

/// The `Content-Type` and `Cache-Control` of a repository's file, the same wherever it is served from. Archives and records never change,
/// so that caches may keep them; the index, and what people read of it, are looked at again soon.
pub fn headers(name: &str) -> Option<(&'static str, &'static str)> {
    const CHANGES: &str = "public, max-age=300";
    const STAYS: &str = "public, max-age=31536000, immutable";
    match name.rsplit_once('.')? {
        // It is JSON, as every release writes it, and CloudFront compresses that for whoever asks for it; `text/yaml` it does not.
        _ if name == FILE => Some(("application/json", CHANGES)),
        _ if name == hub::REPOSITORY => Some(("text/yaml", CHANGES)),
        (_, "tgz") => Some(("application/gzip", STAYS)),
        (_, "json") => Some(("application/json", STAYS)),
        (_, "html") => Some(("text/html; charset=utf-8", CHANGES)),
        (_, "css") => Some(("text/css; charset=utf-8", CHANGES)),
        (_, "svg") => Some(("image/svg+xml", CHANGES)),
        (_, "png") => Some(("image/png", CHANGES)),
        _ => None,
    }
}

/// What the repository holds, read once.
#[derive(Debug)]
pub struct Snapshot {
    object: Option<Object>,
    index: OnceCell<Index>,
}

impl Snapshot {
    /// Whether the repository has an index at all.
    pub fn is_there(&self) -> bool {
        self.object.is_some()
    }

    /// The index. An empty one where the repository has none yet. It may be large, so it is parsed once.
    ///
    /// # Errors
    /// It is no text, or malformed.
    pub fn index(&self) -> Result<&Index> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let parsed = match &self.object {
            Some(object) => Index::from_bytes(&object.bytes)?,
            None => Index::empty(),
        };
        Ok(self.index.get_or_init(|| parsed))
    }

    /// The index's file; nothing where there is none yet.
    pub fn bytes(&self) -> &[u8] {
        self.object.as_ref().map_or(&[], |object| &object.bytes)
    }

    /// Whether it was read of, or written as, these bytes.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        self.object.as_ref().is_some_and(|object| object.bytes == bytes)
    }

    /// A name for this writing of the index; nothing where there is none yet.
    pub fn version(&self) -> &str {
        self.object.as_ref().map_or("", |object| &object.version)
    }
}

/// Reads the index. Whether it is well-formed, `Snapshot::index` says.
///
/// # Errors
/// It cannot be read; it is missing although archives are there.
pub fn read(store: &dyn Store) -> Result<Snapshot> {
    let Some(object) = store.get(FILE)? else {
        let archives = store.list(".tgz")?;
        if archives.is_empty() && store.starts_empty() {
            return Ok(Snapshot { object: None, index: OnceCell::new() });
        }
        return Err(missing_index(store, &archives));
    };
    Ok(Snapshot { object: Some(object), index: OnceCell::new() })
}

fn missing_index(store: &dyn Store, archives: &BTreeMap<String, u64>) -> Error {
    let missing = Error::new(Exit::Repository, format!("the repository has no {FILE}"));
    let missing = match archives.keys().next() {
        None => missing.because("an empty answer is never taken for an empty repository"),
        Some(first) => missing.because(format!(
            "it holds {} archives, such as {first}: without their index they are lost to users",
            archives.len()
        )),
    };
    if store.starts_empty() {
        return missing.remedy(format!("restore {FILE} from a copy; a rehearsal's whole folder may simply be removed"));
    }
    missing
        .remedy("cargo xtask deploy-infra puts the first, empty one")
        .remedy("or, where nothing was ever listed: the same command with --init")
        .remedy(format!("or restore the last version of {FILE} that the bucket kept: docs/runbook.md"))
}

/// Puts the first, empty index where there is none, whatever else the repository holds.
///
/// # Errors
/// The store cannot be written to.
pub fn put_first(store: &dyn Store) -> Result<()> {
    // Refused means that there is one.
    let _: Write = store.put_new(FILE, Index::empty().write().as_bytes())?;
    Ok(())
}

/// Changes the index by compare-and-swap: `change` is applied to what is there now, again and again until nobody was faster.
/// False where it had nothing to change.
///
/// # Errors
/// `change` refuses; the store fails; others are faster every time.
pub fn update(store: &dyn Store, change: &dyn Fn(&mut Index) -> Result<bool>) -> Result<bool> {
    Ok(update_from(&read(store)?, store, change)?.changed)
}

/// What a change of the index came to.
#[derive(Debug)]
pub struct Change {
    /// Whether anything was left to change.
    pub changed: bool,
    /// The index as it was written, where the store says which writing that is.
    pub now: Option<Snapshot>,
}

/// The same, beginning with what was read a moment ago: where that is no longer what is there, it is read again.
fn update_from(seen: &Snapshot, store: &dyn Store, change: &dyn Fn(&mut Index) -> Result<bool>) -> Result<Change> {
    const FIRST_PAUSE: Duration = Duration::from_millis(1);
    let mut newer = None;
    retry(ATTEMPTS, FIRST_PAUSE, || {
        let snapshot = newer.as_ref().unwrap_or(seen);
        let mut index = snapshot.index()?.clone();
        if !change(&mut index)? {
            return Ok(Change { changed: false, now: None });
        }
        let bytes = index.write().into_bytes();
        let written = match &snapshot.object {
            Some(object) => store.replace(FILE, &object.revision, &bytes)?,
            None => store.put_new(FILE, &bytes)?,
        };
        if let Write::Done(Written { revision, version }) = written {
            let object = version.map(|version| Object { bytes, revision, version });
            let now = object.map(|object| Snapshot { object: Some(object), index: OnceCell::from(index) });
            return Ok(Change { changed: true, now });
        }
        newer = Some(read(store)?);
        let lost = format!("{FILE} was changed by others {ATTEMPTS} times while this run tried to");
        Err(Failure::Passing(Error::new(Exit::Busy, lost).remedy("retry the command")))
    })
}

/// Writes the index once more as it is: whoever wrote it by hand may have left out the headers that it needs. Where somebody else wrote
/// it meanwhile, that is left alone.
///
/// # Errors
/// The store cannot be written to.
pub fn write_again(seen: &Snapshot, store: &dyn Store) -> Result<()> {
    if let Some(object) = &seen.object {
        let _: Write = store.replace(FILE, &object.revision, &object.bytes)?;
    }
    Ok(())
}

/// Lists a version, unless it is listed already.
///
/// # Errors
/// As `update`; the version is listed with other content, or was yanked.
pub fn add(seen: &Snapshot, store: &dyn Store, chart: &str, entry: &Entry) -> Result<Change> {
    update_from(seen, store, &|index| Ok(index.add(chart, entry.clone())? == Added::New))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::store::Directory;

    fn store(folder: &tempfile::TempDir) -> Directory {
        Directory::new(folder.path().join("charts"), folder.path().join(".lock"))
    }

    fn entry(version: &str) -> Entry {
        Entry::of(&serde_json::json!({"version": version, "digest": "d", "created": "2026-01-01T00:00:00Z"})).unwrap()
    }

    fn add_now(store: &dyn Store, chart: &str, entry: &Entry) -> Result<bool> {
        Ok(add(&read(store)?, store, chart, entry)?.changed)
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_empty_repository() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&store(&folder)).unwrap().index().unwrap().size(), (0, 0));
    }

    #[test]
    fn archives_without_an_index_are_an_error_and_never_an_empty_repository() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        assert!(store.put_new("demo-1.0.0.tgz", b"x").unwrap().is_done());
        assert_eq!(read(&store).unwrap_err().exit, Exit::Repository);
        assert!(add_now(&store, "demo", &entry("1.0.0")).is_err() && read(&store).is_err());
    }

    #[test]
    fn x5_publishers_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        put_first(&store(&folder)).unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let store = store(&folder);
                scope.spawn(move || assert!(add_now(&store, "demo", &entry(&format!("1.0.{number}"))).unwrap()));
            }
        });
        assert_eq!(read(&store(&folder)).unwrap().index().unwrap().versions("demo").len(), 8);
    }

    #[test]
    fn x3_listing_a_version_twice_changes_no_byte() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        assert!(add_now(&store, "demo", &entry("1.0.0")).unwrap());
        let before = store.get(FILE).unwrap();
        assert!(!add_now(&store, "demo", &entry("1.0.0")).unwrap());
        assert_eq!(store.get(FILE).unwrap(), before);
    }
}
