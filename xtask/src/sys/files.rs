//! The one door to files that a run changes.
//!
//! A file appears whole or not at all: it is written under a temporary name beside its place, synced, and then linked (new files)
//! or renamed (replaced ones). Each of these is announced as an effect of its own, so that tests can stop a run between them.
//! What is done here survives a loss of power when it returns: file systems keep no order that nobody asked for, and an index that
//! outlives what it leads to would be worse than none.

#![expect(clippy::disallowed_methods, reason = "this is the door that the methods are kept behind")]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Context, Error, Exit, Result};
use crate::sys::failpoints::{announce, synced};

/// The mode of a new file, of which the user's umask takes something away.
const PUBLIC: u32 = 0o666;
/// The mode of a secret.
const PRIVATE: u32 = 0o600;

/// Replaces `path` with `bytes` at once: a reader sees the old file or the new one. Makes the folders above it.
///
/// # Errors
/// The disk is full, the folder cannot be written to.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = write_temporary(path, bytes, PUBLIC)?;
    announce("rename", &path.display());
    let renamed = fs::rename(&temporary, path).and_then(|()| sync_folder(path));
    cleaned_up(renamed, &temporary).context(Exit::Failure, || format!("cannot put {} in place", path.display()))
}

/// Puts `bytes` at `path` if nothing is there yet, and says whether it did: false means that the file exists.
///
/// # Errors
/// The disk is full, the folder cannot be written to.
pub fn create_new(path: &Path, bytes: &[u8]) -> Result<bool> {
    create_with(path, bytes, PUBLIC)
}

/// The same for a secret: nobody but its owner may ever read it.
///
/// # Errors
/// The disk is full, the folder cannot be written to.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<bool> {
    create_with(path, bytes, PRIVATE)
}

fn create_with(path: &Path, bytes: &[u8], mode: u32) -> Result<bool> {
    if path.exists() {
        // What a run that was killed between the link and the removal left.
        remove(&temporary_beside(path))?;
        return Ok(false);
    }
    let temporary = write_temporary(path, bytes, mode)?;
    announce("link", &path.display());
    let linked = match fs::hard_link(&temporary, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    };
    announce("remove", &temporary.display());
    fs::remove_file(&temporary).ok();
    let linked = linked.and_then(|linked| sync_folder(path).map(|()| linked));
    linked.context(Exit::Failure, || format!("cannot put {} in place", path.display()))
}

/// Moves a finished file to its place.
///
/// # Errors
/// It is not there, or the place cannot be written to.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    announce("rename", &to.display());
    fs::rename(from, to)
        .and_then(|()| sync_folder(to))
        .context(Exit::Failure, || format!("cannot move {} to {}", from.display(), to.display()))
}

/// The contents of a file, or nothing where it does not exist.
///
/// # Errors
/// The file is there and cannot be read; it is a link that leads nowhere.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// Makes a folder and the ones above it.
///
/// # Errors
/// The folder cannot be made.
pub fn create_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    create_folder(parent(path))?;
    announce("mkdir", &path.display());
    let made = match fs::create_dir(path) {
        // Another run was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.and_then(|()| sync_folder(path)),
    };
    made.context(Exit::Failure, || format!("cannot make the folder {}", path.display()))
}

/// Removes a file or a whole folder; one that is not there is fine.
///
/// # Errors
/// It is there and cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    announce("remove", &path.display());
    let removed = if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.and_then(|()| sync_folder(path)).context(Exit::Failure, || format!("cannot remove {}", path.display()))
}

/// Makes a symbolic link at `path`, in place of whatever was there.
///
/// # Errors
/// The link cannot be made.
pub fn symlink(target: &Path, path: &Path) -> Result<()> {
    remove(path)?;
    create_folder(parent(path))?;
    announce("symlink", &path.display());
    let linked = std::os::unix::fs::symlink(target, path).and_then(|()| sync_folder(path));
    linked.context(Exit::Failure, || format!("cannot link {}", path.display()))
}

/// Sets or clears the executable bits of a file, where they differ.
///
/// # Errors
/// The file is not ours to change.
pub fn set_executable(path: &Path, executable: bool) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let wanted = if executable { 0o755 } else { 0o644 };
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if (metadata.permissions().mode() & 0o111 != 0) == executable {
        return Ok(());
    }
    announce("chmod", &path.display());
    let changed = fs::set_permissions(path, fs::Permissions::from_mode(wanted))
        .and_then(|()| sync_file(&File::open(path)?, path));
    changed.context(Exit::Failure, || format!("cannot change the mode of {}", path.display()))
}

/// An exclusive hold on a folder. It ends with this value, or with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until the lock at `path` is free, and takes it.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn wait(path: &Path) -> Result<Self> {
        let file = Self::open(path)?;
        file.lock().context(Exit::Failure, || format!("cannot lock {}", path.display()))?;
        Ok(Lock { _file: file })
    }

    /// Takes the lock if it is free now.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn attempt(path: &Path) -> Result<Option<Self>> {
        let file = Self::open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => {
                Err(Error::new(Exit::Failure, format!("cannot lock {}", path.display())).because(error))
            }
        }
    }

    fn open(path: &Path) -> Result<File> {
        create_folder(parent(path))?;
        if !path.exists() {
            announce("lock", &path.display());
        }
        let opened = File::options().create(true).truncate(false).write(true).open(path);
        opened.context(Exit::Failure, || format!("cannot open the lock {}", path.display()))
    }
}

/// A path outside the workspace for things that are needed for a moment, and removed by whoever asked; each call gives another.
pub fn scratch(name: &str) -> PathBuf {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    // Numbers of processes come again, and a killed one may have left something.
    let moment = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    std::env::temp_dir().join(format!("xtask-{}.{moment}-{call}-{name}", std::process::id()))
}

/// The error for something that is there and cannot be read.
pub fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::new(Exit::Failure, format!("cannot read {}", path.display())).because(error)
}

fn write_temporary(path: &Path, bytes: &[u8], mode: u32) -> Result<PathBuf> {
    create_folder(parent(path))?;
    let temporary = temporary_beside(path);
    let effect = announce("write", &temporary.display());
    // What a killed run left there may be a second name of a file that is in place: it must not be written into.
    fs::remove_file(&temporary).ok();
    let opened = File::options().write(true).create_new(true).mode(mode).open(&temporary);
    let written = opened.and_then(|mut file| {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        file.write_all(first)?;
        effect.halfway();
        file.write_all(second)?;
        sync_file(&file, &temporary)
    });
    cleaned_up(written, &temporary).context(Exit::Failure, || format!("cannot write {}", path.display()))?;
    Ok(temporary)
}

/// A name that no reader takes for a real file, the same for every run: a run that was killed leaves no litter that the next
/// one does not overwrite.
fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

/// Whether a file is one that `replace` or `create_new` writes before they put it in its place.
pub fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(".new")
}

fn cleaned_up<T>(result: io::Result<T>, temporary: &Path) -> io::Result<T> {
    result.inspect_err(|_| {
        fs::remove_file(temporary).ok();
    })
}

/// What the file holds survives a loss of power from now on.
fn sync_file(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    synced("file", &path.display());
    Ok(())
}

/// The names beside this one, and it itself, survive a loss of power from now on.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = parent(path);
    File::open(folder)?.sync_all()?;
    synced("folder", &folder.display());
    Ok(())
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x3_a_temporary_name_that_a_killed_run_left_linked_is_never_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.yaml");
        create_new(&path, b"old").unwrap();
        fs::hard_link(&path, temporary_beside(&path)).unwrap();
        let reader = File::open(&path).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(io::read_to_string(reader).unwrap(), "old", "who reads the old file reads all of it");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(!temporary_beside(&path).exists());
    }
}
