//! Copies of folders, and folders that are made again what they were.
//!
//! Tests that begin again some thousand times would otherwise spend most of their time here: files that are still what they were stay
//! where they are, and no process is started. Links between files are kept, too: a tool that wrote into one of two names would be seen.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Makes a folder hold what another one holds, and nothing else: contents, modes, times of files, extended attributes and links.
/// The folder itself stays: servers run in it.
pub fn refill(folder: &Path, from: &Path) {
    Copying { clears: true, linked: BTreeMap::new() }.fill(folder, from);
}

/// Copies all that is in a folder into another one, beside what that holds.
pub fn copy_tree(from: &Path, to: &Path) {
    Copying { clears: false, linked: BTreeMap::new() }.fill(to, from);
}

/// A copy of a folder, to come back to: beside it, on a file system that knows its attributes.
pub fn kept(folder: &Path) -> TempDir {
    let kept = tempfile::tempdir_in(folder.parent().unwrap()).unwrap();
    copy_tree(folder, kept.path());
    kept
}

struct Copying {
    /// Whether what is not in the one folder is removed from the other.
    clears: bool,
    /// Of the files that have several names, by device and number: where the first of them was copied to.
    linked: BTreeMap<(u64, u64), PathBuf>,
}

impl Copying {
    fn fill(&mut self, folder: &Path, from: &Path) {
        let wanted = names(from);
        if self.clears {
            names(folder).difference(&wanted).for_each(|name| remove(&folder.join(name)));
        }
        for name in wanted {
            self.put(&folder.join(&name), &from.join(&name));
        }
    }

    fn put(&mut self, to: &Path, from: &Path) {
        let (wanted, there) = (fs::symlink_metadata(from).unwrap(), fs::symlink_metadata(to).ok());
        if wanted.is_dir() {
            self.put_folder(to, from, &wanted, there.as_ref());
        } else if wanted.is_symlink() {
            let target = fs::read_link(from).unwrap();
            if there.is_none_or(|there| !there.is_symlink() || fs::read_link(to).unwrap() != target) {
                remove(to);
                symlink(target, to).unwrap();
            }
        } else if wanted.nlink() > 1 {
            remove(to);
            let first = self.linked.entry((wanted.dev(), wanted.ino())).or_insert_with(|| to.to_owned());
            if first == to { copy_file(from, to, &wanted) } else { fs::hard_link(first, to).unwrap() }
        } else if !there.is_some_and(|there| is_same_file((from, &wanted), (to, &there))) {
            remove(to);
            copy_file(from, to, &wanted);
        }
    }

    fn put_folder(&mut self, to: &Path, from: &Path, wanted: &Metadata, there: Option<&Metadata>) {
        if !there.is_some_and(Metadata::is_dir) {
            remove(to);
            fs::create_dir(to).unwrap();
        }
        self.fill(to, from);
        if there.is_none_or(|there| there.mode() != wanted.mode()) {
            fs::set_permissions(to, wanted.permissions()).unwrap();
        }
        copy_attributes(from, to);
    }
}

fn names(folder: &Path) -> BTreeSet<OsString> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

fn is_same_file((from, wanted): (&Path, &Metadata), (to, there): (&Path, &Metadata)) -> bool {
    let facts = |of: &Metadata| (of.mode(), of.nlink(), of.len(), of.mtime(), of.mtime_nsec());
    facts(wanted) == facts(there)
        && fs::read(from).unwrap() == fs::read(to).unwrap()
        && attributes(from) == attributes(to)
}

fn copy_file(from: &Path, to: &Path, wanted: &Metadata) {
    fs::copy(from, to).unwrap();
    copy_attributes(from, to);
    File::open(to).unwrap().set_modified(wanted.modified().unwrap()).unwrap();
}

fn copy_attributes(from: &Path, to: &Path) {
    let (wanted, there) = (attributes(from), attributes(to));
    for name in there.keys().filter(|name| !wanted.contains_key(*name)) {
        xattr::remove(to, name).unwrap();
    }
    for (name, value) in wanted.iter().filter(|(name, value)| there.get(*name) != Some(value)) {
        xattr::set(to, name, value).unwrap();
    }
}

/// None where the file system has none.
fn attributes(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    match xattr::list(path) {
        Ok(names) => names.map(|name| (name.clone(), xattr::get(path, &name).unwrap().unwrap_or_default())).collect(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{}: {error}", path.display());
            BTreeMap::new()
        }
    }
}

/// Whatever is there, if anything is.
fn remove(path: &Path) {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.unwrap();
}

#[test]
fn a_folder_that_is_made_again_what_it_was_differs_in_nothing() {
    let (folder, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("a/b")).unwrap();
    for name in ["a/kept", "a/b/edited", "a/touched", "a/moded", "a/gone", "a/marked"] {
        fs::write(at(name), "was").unwrap();
    }
    xattr::set(at("a/marked"), "user.mark", b"was").unwrap();
    fs::hard_link(at("a/kept"), at("a/twin")).unwrap();
    symlink("kept", at("a/link")).unwrap();
    let facts = || {
        let files = ["a/kept", "a/twin", "a/b/edited", "a/touched", "a/moded", "a/gone", "a/marked"].map(|name| {
            let metadata = fs::metadata(at(name)).unwrap();
            let content = fs::read_to_string(at(name)).unwrap();
            (content, metadata.mode(), metadata.nlink(), metadata.modified().unwrap(), attributes(&at(name)))
        });
        (files, fs::read_link(at("a/link")).unwrap(), names(folder.path()), names(&at("a")), names(&at("a/b")))
    };
    let (was, number) = (facts(), fs::metadata(at("a/touched")).unwrap().ino());
    copy_tree(folder.path(), kept.path());

    let edited = fs::metadata(at("a/b/edited")).unwrap().modified().unwrap();
    fs::write(at("a/b/edited"), "is!").unwrap();
    File::options().write(true).open(at("a/b/edited")).unwrap().set_modified(edited).unwrap();
    fs::set_permissions(at("a/moded"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    xattr::set(at("a/marked"), "user.mark", b"is").unwrap();
    remove(&at("a/gone"));
    fs::create_dir(at("a/gone")).unwrap();
    remove(&at("a/link"));
    symlink("gone", at("a/link")).unwrap();
    remove(&at("a/twin"));
    fs::write(at("a/twin"), "was").unwrap();
    fs::create_dir_all(at("new/folder")).unwrap();
    refill(folder.path(), kept.path());

    assert_eq!(facts(), was);
    assert_eq!(fs::metadata(at("a/touched")).unwrap().ino(), number, "what did not change stays where it is");
}
