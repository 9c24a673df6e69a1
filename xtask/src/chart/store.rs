//! Where the chart repository's files are kept.
//!
//! Three verbs are all that a release needs, and each is safe against anybody else doing the same at the same time: `get`,
//! `put_new` (never over something), and `replace` (only over what was seen).

use std::collections::BTreeMap;

use crate::error::Result;

/// A file of the store, and a mark of this very content that `replace` compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What stands for them: an ETag, a digest.
    pub revision: Revision,
    /// A name for this writing of them: another one where the same bytes were written again later.
    pub version: String,
}

/// A mark of one content of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(pub String);

/// How a conditional write went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Write {
    /// It took effect.
    Done(Written),
    /// Somebody else was there first; nothing changed.
    Refused,
}

impl Write {
    /// Whether it took effect.
    pub fn is_done(&self) -> bool {
        matches!(self, Write::Done(_))
    }
}

/// What the store says of a file that it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// As `Object::revision`.
    pub revision: Revision,
    /// As `Object::version`, where that is known without asking again.
    pub version: Option<String>,
}

/// A place for files, by name.
pub trait Store {
    /// Whether a store that holds nothing at all is a new one. Where somebody sets it up first, it is a damaged or a wrong one.
    fn starts_empty(&self) -> bool;

    /// A file, or nothing where there is none. Anything but "there is none" is an error, so that a failed read is never taken
    /// for an empty repository.
    ///
    /// # Errors
    /// The store cannot be read.
    fn get(&self, name: &str) -> Result<Option<Object>>;

    /// The `version` of a file, which can be had without its bytes.
    ///
    /// # Errors
    /// The store cannot be read.
    fn version(&self, name: &str) -> Result<Option<String>> {
        Ok(self.get(name)?.map(|object| object.version))
    }

    /// The names of all files that end with `suffix`, and how many bytes each has.
    ///
    /// # Errors
    /// The store cannot be read.
    fn list(&self, suffix: &str) -> Result<BTreeMap<String, u64>>;

    /// Puts a file where there is none.
    ///
    /// # Errors
    /// The store cannot be written to.
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<Write>;

    /// Puts a file in place of one that is still as it was seen.
    ///
    /// # Errors
    /// The store cannot be written to.
    fn replace(&self, name: &str, seen: &Revision, bytes: &[u8]) -> Result<Write>;
}
