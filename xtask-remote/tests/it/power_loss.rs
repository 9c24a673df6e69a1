//! What a loss of power may leave of what a run did to files.
//!
//! Until it was synced, a change may be lost while a later one survives, and a file may hold a part of what was written: POSIX
//! promises no order (T. S. Pillai and others, "All File Systems Are Not Created Equal", OSDI 2014). The record of a run
//! (`xtask::sys::failpoints`) says what was changed and what was synced. What stood at the changed places before is kept here, and put
//! back for the changes that are lost.

#![expect(clippy::disallowed_methods, reason = "tests make states of a disk that no program leaves")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Above this many changes that may be lost, not every combination of them is.
const ALL_COMBINATIONS_MAX: usize = 4;

/// A change of names, as a record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub number: usize,
    kind: String,
    pub path: PathBuf,
}

/// What is lost: names that were changed, by the number of the change, and the second half of what files hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    pub changes: BTreeSet<usize>,
    pub halves: BTreeSet<PathBuf>,
}

/// What is left after a loss of power.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    surviving: Vec<usize>,
    halves: BTreeSet<PathBuf>,
    others: usize,
}

/// What stood, before each change, at the places that it is about to change.
pub struct Journal {
    root: PathBuf,
    before: BTreeMap<usize, Vec<(PathBuf, Option<Node>)>>,
}

enum Node {
    File(Vec<u8>, u32),
    Link(PathBuf),
    Folder(Vec<(PathBuf, Node)>),
}

impl Journal {
    /// Of what is changed below a folder.
    pub fn below(root: &Path) -> Self {
        Journal { root: root.to_owned(), before: BTreeMap::new() }
    }

    /// The changes of a record.
    pub fn changes(&self, record: &str) -> Vec<Change> {
        record.lines().filter_map(Change::parse).filter(|change| change.path.starts_with(&self.root)).collect()
    }

    /// Keeps what stands where the last change of a record is about to be made.
    pub fn keep(&mut self, record: &str) {
        let about = record.lines().rfind(|line| is_effect(line)).and_then(Change::parse);
        if let Some(change) = about {
            let places = change.touched().into_iter().map(|path| (path.clone(), Node::at(&path)));
            self.before.insert(change.number, places.collect());
        }
    }

    /// What may be lost where power goes right after the last effect of a record, before anything of that one is synced.
    pub fn losses(&self, record: &str) -> Vec<Loss> {
        let last = record.lines().count() - record.lines().rev().take_while(|line| !is_effect(line)).count();
        let mut pending: Vec<Change> = Vec::new();
        let mut unwritten: BTreeSet<PathBuf> = BTreeSet::new();
        for line in record.lines().take(last) {
            if let Some(path) = line.strip_prefix("- synced file ").map(Path::new) {
                unwritten.remove(path);
                pending.retain(|change| change.kind != "chmod" || change.path != path);
            } else if let Some(folder) = line.strip_prefix("- synced folder ").map(Path::new) {
                pending.retain(|change| change.kind == "chmod" || change.path.parent() != Some(folder));
            } else if let Some(change) = Change::parse(line).filter(|change| change.path.starts_with(&self.root)) {
                change.carry(&mut unwritten);
                pending.push(change);
            }
        }
        let numbers: Vec<usize> = pending.iter().map(|change| change.number).collect();
        let names = combinations(&numbers).into_iter().map(|changes| Loss { changes, ..Loss::default() });
        let halves = unwritten.iter().map(|path| Loss { halves: [path.clone()].into(), ..Loss::default() });
        names.chain(halves).collect()
    }

    /// What is left where that is lost of what a record says: the changes that survive, halves of files, and how many children have done what
    /// they do. Where two moments leave the same, one need be looked at.
    pub fn left(&self, record: &str, loss: &Loss) -> Left {
        let changes = self.changes(record);
        let surviving =
            changes.iter().map(|change| change.number).filter(|number| !loss.changes.contains(number)).collect();
        let others = record.lines().filter(|line| is_effect(line)).count() - changes.len();
        Left { surviving, halves: loss.halves.clone(), others }
    }

    /// Makes the folder what it is where that is lost of the changes.
    pub fn lose(&self, loss: &Loss, changes: &[Change]) {
        for path in &loss.halves {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }
        for change in changes.iter().rev().filter(|change| loss.changes.contains(&change.number)) {
            for (path, node) in &self.before[&change.number] {
                let later = |other: &&Change| other.number > change.number && !loss.changes.contains(&other.number);
                let is_made_again = changes.iter().filter(later).any(|other| other.touched().contains(path));
                if !is_made_again && path.parent().is_some_and(Path::is_dir) {
                    remove(path);
                    node.iter().for_each(|node| node.put(path));
                }
            }
        }
    }
}

impl Change {
    /// Nothing, where a line is no change of a name.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let (number, kind, path) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
        let known = ["chmod", "link", "mkdir", "remove", "rename", "symlink", "write"];
        known.contains(&kind).then(|| Change { number, kind: kind.into(), path: path.into() })
    }

    fn touched(&self) -> Vec<PathBuf> {
        match self.kind.as_str() {
            "rename" => vec![self.temporary(), self.path.clone()],
            _ => vec![self.path.clone()],
        }
    }

    /// The name that a file has until it is in place (`xtask::sys::files`).
    fn temporary(&self) -> PathBuf {
        self.path.with_file_name(format!(".{}.new", self.path.file_name().unwrap().display()))
    }

    /// Which files hold what is not synced, after this change.
    fn carry(&self, unwritten: &mut BTreeSet<PathBuf>) {
        match self.kind.as_str() {
            "write" => {
                unwritten.insert(self.path.clone());
            }
            "link" if unwritten.contains(&self.temporary()) => {
                unwritten.insert(self.path.clone());
            }
            "rename" => {
                unwritten.remove(&self.path);
                if unwritten.remove(&self.temporary()) {
                    unwritten.insert(self.path.clone());
                }
            }
            "remove" => unwritten.retain(|path| !path.starts_with(&self.path)),
            _ => {}
        }
    }
}

impl Node {
    fn at(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some(if metadata.is_symlink() {
            Node::Link(fs::read_link(path).unwrap())
        } else if metadata.is_dir() {
            let paths = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
            Node::Folder(paths.map(|path| (path.clone(), Node::at(&path).unwrap())).collect())
        } else {
            Node::File(fs::read(path).unwrap(), metadata.permissions().mode())
        })
    }

    fn put(&self, path: &Path) {
        match self {
            Node::File(bytes, mode) => {
                fs::write(path, bytes).unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
            }
            Node::Link(target) => symlink(target, path).unwrap(),
            Node::Folder(entries) => {
                fs::create_dir(path).unwrap();
                entries.iter().for_each(|(path, node)| node.put(path));
            }
        }
    }
}

/// Whether a line announces an effect, of whichever kind.
pub fn is_effect(line: &str) -> bool {
    line.starts_with(|first: char| first.is_ascii_digit())
}

fn remove(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).ok();
    }
}

/// All combinations of a few; of many: all of them, each alone, and all but each.
fn combinations(numbers: &[usize]) -> Vec<BTreeSet<usize>> {
    let all: BTreeSet<usize> = numbers.iter().copied().collect();
    if numbers.len() <= ALL_COMBINATIONS_MAX {
        let chosen = |bits: usize| numbers.iter().enumerate().filter(move |(place, _)| bits >> place & 1 == 1);
        return (1..1 << numbers.len()).map(|bits| chosen(bits).map(|(_, number)| *number).collect()).collect();
    }
    let each = numbers.iter().map(|number| BTreeSet::from([*number]));
    let others = numbers.iter().map(|number| all.iter().copied().filter(|other| other != number).collect());
    let mut combinations: Vec<BTreeSet<usize>> = each.chain(others).collect();
    combinations.push(all);
    combinations
}

#[test]
fn what_was_synced_is_never_lost_and_what_was_not_may_be_lost_in_any_order() {
    let journal = Journal::below(Path::new("/d"));
    let lost = |record: &str| -> Vec<Vec<usize>> {
        journal.losses(record).iter().map(|loss| loss.changes.iter().copied().collect()).collect()
    };
    let archive = "1 write /d/.a.new\n- synced file /d/.a.new\n2 link /d/a\n3 remove /d/.a.new\n";
    assert_eq!(lost(archive).len(), 7, "each combination of three changes");
    let index = "4 write /d/.i.new\n- synced file /d/.i.new\n5 rename /d/i\n";
    assert_eq!(lost(&format!("{archive}- synced folder /d\n{index}")), [vec![4], vec![5], vec![4, 5]]);
    let all = lost(&format!("{archive}{index}"));
    assert!(all.contains(&vec![2]), "the archive is lost, and the index that leads to it survives: {all:?}");
    assert_eq!(all.len(), 11);
    let done = format!("{archive}- synced folder /d\n4 run git\n- synced folder /d\n");
    assert_eq!(lost(&done), Vec::<Vec<usize>>::new());
    assert_eq!(lost("1 mkdir /elsewhere/f\n2 lock /d/.lock\n"), Vec::<Vec<usize>>::new());
    // An fsync of a file says nothing of its name, nor one of a folder of what files in it hold.
    let halves = journal.losses("1 write /d/.i.new\n2 rename /d/i\n- synced folder /d\n3 run git\n");
    assert_eq!(halves, [Loss { halves: ["/d/i".into()].into(), ..Loss::default() }]);
    assert_eq!(lost("1 chmod /d/x\n- synced file /d/x\n2 run git\n"), Vec::<Vec<usize>>::new());
}

#[test]
fn a_lost_change_leaves_what_stood_there_before() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut journal = Journal::below(folder.path());
    let mut record = String::new();
    let mut change = |kind: &str, name: &str, make: &dyn Fn()| {
        record += &format!("{} {kind} {}\n", record.lines().count() + 1, at(name).display());
        journal.keep(&record);
        make();
    };
    fs::write(at("i"), "old").unwrap();
    fs::create_dir(at("f")).unwrap();
    fs::write(at("f/old"), "old").unwrap();
    change("write", ".i.new", &|| fs::write(at(".i.new"), "new, and longer").unwrap());
    change("rename", "i", &|| fs::rename(at(".i.new"), at("i")).unwrap());
    change("remove", "f", &|| fs::remove_dir_all(at("f")).unwrap());
    change("mkdir", "f", &|| fs::create_dir(at("f")).unwrap());
    change("write", "f/new", &|| fs::write(at("f/new"), "new").unwrap());
    let (changes, kept) = (journal.changes(&record), Node::at(folder.path()).unwrap());
    let state = |lost: &[usize], halves: &[&str]| {
        remove(folder.path());
        kept.put(folder.path());
        let halves = halves.iter().map(|name| at(name)).collect();
        journal.lose(&Loss { changes: lost.iter().copied().collect(), halves }, &changes);
        let files = crate::support::files_below(folder.path()).into_iter();
        files.map(|(name, bytes)| format!("{name}: {}", String::from_utf8(bytes).unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(state(&[], &[]), ["f/new: new", "i: new, and longer"]);
    assert_eq!(state(&[2], &[]), [".i.new: new, and longer", "f/new: new", "i: old"]);
    assert_eq!(state(&[1, 2], &[]), ["f/new: new", "i: old"]);
    assert_eq!(state(&[4], &[]), ["i: new, and longer"], "all that is in a folder goes with its name");
    assert_eq!(state(&[3, 4], &[]), ["f/old: old", "i: new, and longer"]);
    assert_eq!(state(&[3], &[]), ["f/new: new", "i: new, and longer"], "the folder was made again");
    assert_eq!(state(&[5], &["i"]), ["i: new, an"]);
}
