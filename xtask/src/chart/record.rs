//! What is known of a version that was released, in a file of its own beside its archive: `NAME-VERSION.json`.
//!
//! It is written once, before the index lists the version, and never changes. So an entry of the index may leave out what only people and
//! tools that look at one version want to know, without anything being lost.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::chart::index::Entry;
use crate::chart::store::{Store, Write};
use crate::error::{Context, Error, Exit, Result};
use crate::oci::{self, Digest};

/// What is known of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its whole entry: all that Helm would list of it.
    pub entry: Value,
    /// How many bytes its archive has.
    pub size: u64,
    /// The digest of the image for each platform.
    pub platforms: BTreeMap<String, Digest>,
    /// What the changelog said of it when it was released, as Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<String>,
    /// Who had signed it then.
    pub signers: BTreeSet<String>,
}

/// The name of a version's record in a repository.
pub fn name(chart: &str, version: &str) -> String {
    format!("{chart}-{version}.json")
}

impl Record {
    /// Reads one.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).context(Exit::Repository, || format!("{name} is no record of a version"))
    }

    /// The whole entry.
    ///
    /// # Errors
    /// It is none.
    pub fn entry(&self) -> Result<Entry> {
        Entry::of(&self.entry).context(Exit::Repository, || "a version's record has no entry".into())
    }

    /// Whether both are of the same archive, whatever was known of changes and signers.
    pub fn agrees(&self, other: &Self) -> bool {
        (&self.entry, self.size, &self.platforms) == (&other.entry, other.size, &other.platforms)
    }

    /// Whether it is of an archive of that size, whose whole entry this is.
    pub fn is_of(&self, entry: &Entry, size: usize) -> bool {
        self.holds(entry) && u64::try_from(size) == Ok(self.size)
    }

    /// Whether nothing of an entry would be lost without it.
    pub fn holds(&self, entry: &Entry) -> bool {
        serde_json::from_str::<Value>(entry.json()).is_ok_and(|entry| entry == self.entry)
    }
}

/// A version's record; nothing where there is none.
///
/// # Errors
/// The store cannot be read; what is there is no record.
pub fn read(store: &dyn Store, chart: &str, version: &str) -> Result<Option<Record>> {
    let name = name(chart, version);
    store.get(&name)?.map(|object| Record::parse(&name, &object.bytes)).transpose()
}

/// Puts a version's record where there is none. True where that was left to do. A rehearsal, which is not `strict`, replaces that of an
/// archive that it made again.
///
/// # Errors
/// The record that is there is of another archive; the store cannot be read or written to.
pub fn put(store: &dyn Store, chart: &str, version: &str, record: &Record, strict: bool) -> Result<bool> {
    let name = name(chart, version);
    let bytes = oci::json(record)?;
    if store.put_new(&name, &bytes)?.is_done() {
        return Ok(true);
    }
    let changed_just_now =
        || Error::new(Exit::Busy, format!("{name} was changed by another run just now")).remedy("retry the command");
    let there = store.get(&name)?.ok_or_else(changed_just_now)?;
    match Record::parse(&name, &there.bytes) {
        Ok(known) if known.agrees(record) => Ok(false),
        _ if !strict => match store.replace(&name, &there.revision, &bytes)? {
            Write::Done(_) => Ok(true),
            Write::Refused => Err(changed_just_now()),
        },
        _ => Err(Error::new(Exit::Conflict, format!("{name} is not of the archive beside it"))
            .because("it is written once, after the archive, and by releases alone")
            .remedy("put back what was there before, which the bucket keeps; docs/runbook.md says how")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::store::Directory;
    use serde_json::json;

    fn record(digest: &str, signer: &str) -> Record {
        let entry = json!({"version": "1.0.0", "digest": digest, "description": "a demo"});
        Record { entry, size: 7, platforms: BTreeMap::new(), changes: None, signers: [signer.to_owned()].into() }
    }

    #[test]
    fn x3_a_record_is_written_once_and_only_of_the_archive_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Directory::new(folder.path().join("charts"), folder.path().join(".lock"));
        let put = |record: &Record, strict| put(&store, "demo", "1.0.0", record, strict);
        assert!(put(&record("a", "ann"), true).unwrap());
        assert!(!put(&record("a", "bob"), true).unwrap(), "another machine may have signed, too");
        assert_eq!(put(&record("b", "ann"), true).unwrap_err().exit, Exit::Conflict);
        assert_eq!(read(&store, "demo", "1.0.0").unwrap(), Some(record("a", "ann")));
        assert!(put(&record("b", "ann"), false).unwrap(), "a rehearsal makes its archive again");
        assert_eq!(read(&store, "demo", "1.0.0").unwrap(), Some(record("b", "ann")));
        assert_eq!(read(&store, "demo", "1.0.1").unwrap(), None);
    }
}
