//! What a file says, where others write it anew while we run: tokens, which the kubelet replaces before they expire, and
//! the certificates of authorities.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How old a reading may be.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) struct Reread<T> {
    path: PathBuf,
    read: fn(&Path) -> Result<T, String>,
    last: Mutex<Reading<T>>,
}

struct Reading<T> {
    value: T,
    good_until: Instant,
}

impl<T: Clone> Reread<T> {
    /// Fails when there is nothing to begin with.
    pub(super) fn new(path: PathBuf, read: fn(&Path) -> Result<T, String>) -> Result<Self, String> {
        let last = Mutex::new(Reading { value: read(&path)?, good_until: Instant::now() + LONGEST });
        Ok(Self { path, read, last })
    }

    pub(super) fn get(&self) -> T {
        self.get_at(Instant::now())
    }

    /// What was read last stays good when the file is gone: some take the token away once it was read
    /// (kubernetes/kubernetes#68164).
    fn get_at(&self, now: Instant) -> T {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= last.good_until {
            last.good_until = now + LONGEST;
            match (self.read)(&self.path) {
                Ok(value) => last.value = value,
                Err(reason) => tracing::warn!(reason, "going on with what was there before"),
            }
        }
        last.value.clone()
    }

    /// The next one who asks gets what the file says then.
    pub(super) fn doubt(&self) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).good_until = Instant::now();
    }
}

impl<T> fmt::Debug for Reread<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "what {} says", self.path.display())
    }
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(path: &Path) -> Result<String, String> {
        fs::read_to_string(path).map_err(|error| unreadable(path, &error))
    }

    #[test]
    fn a_file_that_changes_is_read_again_within_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(Reread::new(path.clone(), read).unwrap_err().contains("token"), "there has to be one to begin with");
        fs::write(&path, "old").unwrap();
        let file = Reread::new(path.clone(), read).unwrap();
        let start = Instant::now();

        fs::write(&path, "new").unwrap();

        assert_eq!(file.get_at(start), "old", "not at every request");
        assert_eq!(file.get_at(start + LONGEST), "new");
        fs::remove_file(&path).unwrap();
        assert_eq!(file.get_at(start + 3 * LONGEST), "new", "the last one that was there stays");
    }

    #[test]
    fn what_was_doubted_is_read_again_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "old").unwrap();
        let file = Reread::new(path.clone(), read).unwrap();
        fs::write(&path, "new").unwrap();
        assert_eq!(file.get(), "old");
        file.doubt();
        assert_eq!(file.get(), "new");
    }
}
