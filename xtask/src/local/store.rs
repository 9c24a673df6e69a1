//! A folder as a store. Writers take turns by a lock that dies with its holder; readers need none, since files appear whole.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::chart::store::{Object, Revision, Store, Write, Written};
use crate::error::{Error, Exit, Result};
use crate::oci::sha256_hex;
use crate::sys::files::{self, Lock};

/// A store in a folder, which need not exist yet.
#[derive(Debug)]
pub struct Directory {
    folder: PathBuf,
    lock: PathBuf,
}

impl Directory {
    /// The store in `folder`, whose writers take turns by the lock file `lock`.
    pub fn new(folder: PathBuf, lock: PathBuf) -> Self {
        Directory { folder, lock }
    }

    /// Removes what writers that were killed left beside the files that they wrote. Nobody else writes meanwhile.
    fn sweep(&self) -> Result<()> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut left = entries.map(|entry| entry.path()).filter(|path| files::is_temporary(path));
        left.try_for_each(|path| files::remove(&path))
    }
}

/// What cannot be read here is the repository, whatever the reason.
fn of_the_repository(error: Error) -> Error {
    Error { exit: Exit::Repository, ..error }
}

impl Store for Directory {
    fn starts_empty(&self) -> bool {
        true
    }

    fn get(&self, name: &str) -> Result<Option<Object>> {
        let bytes = files::read(&self.folder.join(name)).map_err(of_the_repository)?;
        Ok(bytes.map(|bytes| {
            let digest = sha256_hex(&bytes);
            Object { bytes, revision: Revision(digest.clone()), version: digest }
        }))
    }

    fn list(&self, suffix: &str) -> Result<BTreeMap<String, u64>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries.map_err(|error| of_the_repository(files::unreadable(&self.folder, &error)))?,
        };
        let files = entries.flatten().map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry));
        let files = files.filter(|(name, _)| name.ends_with(suffix) && !name.starts_with('.'));
        Ok(files.map(|(name, entry)| (name, entry.metadata().map_or(0, |metadata| metadata.len()))).collect())
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<Write> {
        let _turn = Lock::wait(&self.lock)?;
        let created = files::create_new(&self.folder.join(name), bytes)?;
        Ok(if created { Write::Done(written(bytes)) } else { Write::Refused })
    }

    fn replace(&self, name: &str, seen: &Revision, bytes: &[u8]) -> Result<Write> {
        let _turn = Lock::wait(&self.lock)?;
        match self.get(name)? {
            Some(current) if current.revision == *seen => {
                files::replace(&self.folder.join(name), bytes)?;
                self.sweep()?;
                Ok(Write::Done(written(bytes)))
            }
            _ => Ok(Write::Refused),
        }
    }
}

fn written(bytes: &[u8]) -> Written {
    let digest = sha256_hex(bytes);
    Written { revision: Revision(digest.clone()), version: Some(digest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &tempfile::TempDir) -> Directory {
        Directory::new(folder.path().join("charts"), folder.path().join(".lock"))
    }

    #[test]
    fn a_file_is_put_once_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        assert_eq!(store.get("a.tgz").unwrap(), None);
        assert!(store.put_new("a.tgz", b"first").unwrap().is_done());
        assert_eq!(store.put_new("a.tgz", b"second").unwrap(), Write::Refused);
        assert_eq!(store.get("a.tgz").unwrap().unwrap().bytes, b"first");
        assert_eq!(store.list(".tgz").unwrap(), [("a.tgz".to_owned(), 5)].into(), "no litter");
    }

    #[test]
    fn a_file_is_replaced_only_where_it_is_still_what_was_seen() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        assert!(store.put_new("index.yaml", b"one").unwrap().is_done());
        let seen = store.get("index.yaml").unwrap().unwrap().revision;
        assert!(store.replace("index.yaml", &seen, b"two").unwrap().is_done());
        assert_eq!(store.replace("index.yaml", &seen, b"three").unwrap(), Write::Refused);
        assert_eq!(store.get("index.yaml").unwrap().unwrap().bytes, b"two");
        assert_eq!(store.replace("missing", &seen, b"x").unwrap(), Write::Refused);
    }

    #[test]
    fn x3_what_a_killed_writer_left_goes_with_the_next_change_of_the_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        assert!(store.put_new("index.yaml", b"one").unwrap().is_done());
        let left = folder.path().join("charts/.a.tgz.new");
        files::replace(&left, b"half").unwrap();
        let seen = store.get("index.yaml").unwrap().unwrap().revision;
        assert!(store.replace("index.yaml", &seen, b"two").unwrap().is_done());
        assert!(!left.exists());
    }

    #[test]
    fn x5_of_many_writers_at_once_none_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let first = store(&folder).put_new("list", b"").unwrap();
        assert!(first.is_done());
        std::thread::scope(|scope| {
            for writer in 0..8u8 {
                let store = store(&folder);
                scope.spawn(move || {
                    loop {
                        let mut seen = store.get("list").unwrap().unwrap();
                        seen.bytes.push(writer);
                        if store.replace("list", &seen.revision, &seen.bytes).unwrap().is_done() {
                            break;
                        }
                    }
                });
            }
        });
        let mut written = store(&folder).get("list").unwrap().unwrap().bytes;
        written.sort_unstable();
        assert_eq!(written, (0..8).collect::<Vec<u8>>());
    }
}
