//! A folder in memory for what tests keep for a moment: they make and delete files by the thousand, which a disk's file system takes far
//! longer for.

use std::path::Path;

use tempfile::TempDir;
use xtask::sys::children::Call;
use xtask::sys::files;

/// Where Linux has one.
const SHARED: &str = "/dev/shm";
const NAME: &str = "xtask-ci-";
/// Several times what all tests need.
const ROOM: u64 = 4 << 30;

/// A new one; nothing where there is no such place, where it is small, or where no program can be run from it, as in a container.
pub(crate) fn folder() -> Option<TempDir> {
    let words = ["--noheadings", "--bytes", "--output", "AVAIL,OPTIONS", "--mountpoint", SHARED];
    let found = Call::new("findmnt").args(words).read().ok()?;
    if !is_fit(found.lines().last()?) {
        return None;
    }
    remove_left();
    let name = format!("{NAME}{}-", std::process::id());
    tempfile::Builder::new().prefix(&name).tempdir_in(SHARED).ok()
}

/// By findmnt's line about it: the free bytes, and the options of its mount.
fn is_fit(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let room = words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
    room >= ROOM && words.next().is_some_and(|options| !options.split(',').any(|option| option == "noexec"))
}

/// Takes away what runs left that were killed: memory is dearer than a disk.
fn remove_left() {
    for entry in Path::new(SHARED).read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process =
            name.to_str().and_then(|name| name.strip_prefix(NAME)?.split_once('-')).map(|(process, _)| process);
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            drop(files::remove(&entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_where_it_is_large_and_programs_run_there() {
        assert!(is_fit("25186668544 rw,relatime,size=24683652k"));
        assert!(!is_fit("67108864 rw,nosuid,nodev"), "a container's 64 MiB");
        assert!(!is_fit("25186668544 rw,nosuid,nodev,noexec"), "a container that was given more");
        assert!(!is_fit(""));
    }
}
