//! The work tree as what is released: which commit, which files, and whether they differ from the commit.
//!
//! Git is asked; nothing in its folder is changed but times of objects (the tree hash of an uncommitted state is computed in a scratch
//! object store).

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use xshell::cmd;

use super::{Repository, asked, begun, said};
use crate::error::{Context, Error, Exit, Result};
use crate::sys::children::Begun;
use crate::sys::files;

/// One state of the sources. Paths are relative to the workspace's root, with `/`, in sorted order.
#[derive(Clone, Debug)]
pub struct Worktree {
    /// The folder of the workspace's Cargo.toml.
    pub root: PathBuf,
    /// The commit that is checked out, 40 or 64 hex digits.
    pub commit: String,
    /// Its committer time, in seconds since 1970. Everything a release stamps with a time uses this one.
    pub commit_time: i64,
    /// The hash of the tree, where it differs from the commit's.
    pub dirty_tree: Option<String>,
    files: Vec<String>,
    edits: BTreeMap<String, Vec<u8>>,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A file and whether it is executable.
    File(Vec<u8>, bool),
    /// A symbolic link and what it points to.
    Link(PathBuf),
}

impl Worktree {
    /// Reads the state of a repository's work tree.
    ///
    /// # Errors
    /// There is no git, no repository or no commit; a file's name is not UTF-8; build output is not ignored.
    pub fn read(git: &Repository) -> Result<Self> {
        let root = &git.folder;
        let head = begun(cmd!(git, "git log -1 --format=%H%n%ct"))?;
        let files = begun(cmd!(git, "git ls-files -z --cached --others --exclude-standard --deduplicate"))?;
        let changed = begun(cmd!(git, "git status --porcelain=v1 -z --untracked-files=all -- ."))?;
        let head = read_head(git, head)?;
        let (commit, commit_time) = head
            .split_once('\n')
            .and_then(|(commit, time)| Some((commit.to_owned(), time.parse().ok()?)))
            .ok_or_else(|| Error::new(Exit::Failure, "git did not say which commit is checked out").because(&head))?;
        let files = read_files(git, files)?;
        let dirty_tree = if changed.read()?.is_empty() { None } else { Some(tree_hash(git)?) };
        Ok(Worktree { root: root.to_owned(), commit, commit_time, dirty_tree, files, edits: BTreeMap::new() })
    }

    /// What a release calls this state: the commit, or the commit and the tree that was made of it.
    pub fn revision(&self) -> String {
        self.dirty_tree.as_ref().map_or_else(|| self.commit.clone(), |tree| format!("{}-dirty-{tree}", self.commit))
    }

    /// Whether git leaves a path of the work tree out of account. A path elsewhere is none of git's business.
    ///
    /// # Errors
    /// Git cannot be asked.
    pub fn ignores(&self, path: &Path) -> Result<bool> {
        if !self.root.join(path).starts_with(&self.root) {
            return Ok(true);
        }
        // A slash at the end: the folder may not be there yet, and a rule may be for folders only.
        let folder = format!("{}/", path.display());
        let git = Repository::at(&self.root)?;
        Ok(asked(cmd!(git, "git check-ignore --quiet -- {folder}"))?.code == Some(0))
    }

    /// The paths below `folder`, and what stands there.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn below(&self, folder: &str) -> Result<Vec<(String, Item)>> {
        let prefix = format!("{folder}/");
        let inside = self.files.iter().filter_map(|path| Some((path, path.strip_prefix(&prefix)?)));
        inside
            .filter_map(|(path, name)| Some(self.item(path).transpose()?.map(|item| (name.to_owned(), item))))
            .collect()
    }

    /// The text of a file, or nothing where it does not exist.
    ///
    /// # Errors
    /// The file cannot be read, or is not UTF-8.
    pub fn text(&self, path: &str) -> Result<Option<String>> {
        let text = self.bytes(path)?.map(String::from_utf8).transpose();
        text.context(Exit::Workspace, || format!("{path} is not UTF-8"))
    }

    /// What a file holds, or nothing where it does not exist.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn bytes(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.edits.get(path).map_or_else(|| files::read(&self.root.join(path)), |bytes| Ok(Some(bytes.clone())))
    }

    /// The same state with some files changed; the work tree stays as it is.
    #[must_use]
    pub fn with_edits(mut self, edits: BTreeMap<String, Vec<u8>>) -> Self {
        self.edits = edits;
        self
    }

    /// The same state, of which that folder holds a copy: the work tree may change from now on.
    #[must_use]
    pub fn at(self, folder: PathBuf) -> Self {
        Worktree { root: folder, ..self }
    }

    /// Makes `folder` hold exactly this state. Files that are right already are left alone, so that cargo does not build
    /// what has not changed.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn copy_to(&self, folder: &Path) -> Result<()> {
        for stale in folder_entries(folder)? {
            if !self.files.contains(&stale) {
                files::remove(&folder.join(&stale))?;
            }
        }
        for path in &self.files {
            let place = folder.join(path);
            let wanted = self.item(path)?;
            if wanted == item_at(&place)? {
                continue;
            }
            match wanted {
                None => files::remove(&place)?,
                Some(Item::Link(target)) => files::symlink(&target, &place)?,
                Some(Item::File(bytes, executable)) => {
                    if place.is_dir() {
                        // A folder, or a link to one, until now.
                        files::remove(&place)?;
                    }
                    files::replace(&place, &bytes)?;
                    files::set_executable(&place, executable)?;
                }
            }
        }
        Ok(())
    }

    fn item(&self, path: &str) -> Result<Option<Item>> {
        let item = item_at(&self.root.join(path))?;
        Ok(match (item, self.edits.get(path)) {
            (Some(Item::File(_, executable)), Some(bytes)) => Some(Item::File(bytes.clone(), executable)),
            (item, _) => item,
        })
    }
}

fn read_head(git: &Repository, asked: Begun) -> Result<String> {
    asked.read().map_err(|error| match error.exit {
        Exit::Environment => error,
        _ => Error::new(Exit::Environment, format!("{} has no git commit to release", git.folder.display()))
            .because(error.why.unwrap_or(error.what))
            .remedy("work in a git clone, or: git init && git add -A && git commit"),
    })
}

fn read_files(git: &Repository, asked: Begun) -> Result<Vec<String>> {
    let listed = asked.answer()?;
    if listed.code != Some(0) {
        return Err(Error::new(Exit::Failure, "git cannot list the files of the work tree").because(listed.stderr));
    }
    let names = listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut files = names.map(utf8_name).collect::<Result<Vec<_>>>()?;
    if let Some(output) = files.iter().find(|path| path.starts_with("target/")) {
        return Err(Error::new(Exit::Workspace, format!("build output is part of the sources: {output}"))
            .remedy("add a line `/target/` to .gitignore, and git rm -r --cached what is tracked of it"));
    }
    files.retain(|path| is_there(&git.folder, path));
    files.sort();
    Ok(files)
}

/// Whether something stands at a path. What is only reached through a link to a folder stands elsewhere, as git sees it.
fn is_there(root: &Path, path: &str) -> bool {
    let is_link = |folder: &Path| std::fs::symlink_metadata(root.join(folder)).is_ok_and(|at| at.is_symlink());
    std::fs::symlink_metadata(root.join(path)).is_ok() && !Path::new(path).ancestors().skip(1).any(is_link)
}

fn utf8_name(name: &[u8]) -> Result<String> {
    String::from_utf8(name.to_vec()).map_err(|error| {
        let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
        Error::new(Exit::Workspace, format!("a file's name is not UTF-8: {shown}")).remedy("rename the file")
    })
}

/// The hash of the tree that a commit of everything (tracked, and untracked where not ignored) would have.
fn tree_hash(git: &Repository) -> Result<String> {
    let git_path = |name: &str| said(cmd!(git, "git rev-parse --path-format=absolute --git-path {name}"));
    let scratch = files::scratch("objects");
    let index = scratch.join("index");
    files::create_folder(&scratch)?;
    if let Some(bytes) = files::read(Path::new(&git_path("index")?))? {
        files::replace(&index, &bytes)?;
    }
    let beside = git.clone();
    beside.shell.set_var("GIT_INDEX_FILE", &index);
    beside.shell.set_var("GIT_OBJECT_DIRECTORY", &scratch);
    beside.shell.set_var("GIT_ALTERNATE_OBJECT_DIRECTORIES", git_path("objects")?);
    said(cmd!(beside, "git add --all ."))?;
    let tree = said(cmd!(beside, "git write-tree"))?;
    files::remove(&scratch)?;
    Ok(tree)
}

fn item_at(path: &Path) -> Result<Option<Item>> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(None) };
    if metadata.is_symlink() {
        let target = std::fs::read_link(path).map_err(|error| files::unreadable(path, &error))?;
        return Ok(Some(Item::Link(target)));
    }
    if metadata.is_dir() {
        return Ok(None);
    }
    let executable = metadata.permissions().mode() & 0o111 != 0;
    Ok(files::read(path)?.map(|bytes| Item::File(bytes, executable)))
}

/// Every file and link below a folder, relative to it.
fn folder_entries(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        let here = folder.join(&relative);
        let Ok(entries) = std::fs::read_dir(&here) else { continue };
        for entry in entries {
            let entry = entry.map_err(|error| files::unreadable(&here, &error))?;
            let path = relative.join(entry.file_name());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => pending.push(path),
                _ => found.push(path.to_string_lossy().into_owned()),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(folder: &tempfile::TempDir) -> Repository {
        Repository::at(folder.path()).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own files")]
    fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.txt"), "a").unwrap();
        std::fs::write(folder.path().join(".gitignore"), "/target/\n").unwrap();
        let git = at(&folder);
        said(cmd!(git, "git init --quiet")).unwrap();
        said(cmd!(git, "git config user.email test@example.com")).unwrap();
        said(cmd!(git, "git config user.name Test")).unwrap();
        said(cmd!(git, "git add -A")).unwrap();
        said(cmd!(git, "git commit --quiet -m first")).unwrap();
        folder
    }

    #[test]
    fn a_clean_state_is_called_by_its_commit_and_a_changed_one_by_its_tree_too() {
        let folder = repository();
        let clean = Worktree::read(&at(&folder)).unwrap();
        assert_eq!(clean.revision(), clean.commit);
        files::replace(&folder.path().join("b.txt"), b"untracked").unwrap();
        let dirty = Worktree::read(&at(&folder)).unwrap();
        assert!(dirty.revision().starts_with(&format!("{}-dirty-", clean.commit)));
        assert_eq!(dirty.revision(), Worktree::read(&at(&folder)).unwrap().revision());
        let git = at(&folder);
        said(cmd!(git, "git add b.txt")).unwrap();
        assert_eq!(dirty.revision(), Worktree::read(&at(&folder)).unwrap().revision(), "staging changes nothing");
    }

    #[test]
    fn the_hash_of_a_changed_state_leaves_no_object_in_the_repository() {
        let folder = repository();
        files::replace(&folder.path().join("b.txt"), b"untracked").unwrap();
        let before = folder_entries(&folder.path().join(".git/objects")).unwrap();
        Worktree::read(&at(&folder)).unwrap();
        assert_eq!(folder_entries(&folder.path().join(".git/objects")).unwrap(), before);
    }

    #[test]
    fn a_copy_holds_exactly_the_sources_with_the_edits_and_nothing_stale() {
        let folder = repository();
        let copy = folder.path().join("target/copy");
        files::replace(&copy.join("old/stale.txt"), b"").unwrap();
        let edits = BTreeMap::from([("a.txt".to_owned(), b"edited".to_vec())]);
        let source = Worktree::read(&at(&folder)).unwrap().with_edits(edits);
        source.copy_to(&copy).unwrap();
        let mut entries = folder_entries(&copy).unwrap();
        entries.sort();
        assert_eq!(entries, [".gitignore", "a.txt"]);
        assert_eq!(files::read(&copy.join("a.txt")).unwrap().unwrap(), b"edited");
        assert_eq!(files::read(&folder.path().join("a.txt")).unwrap().unwrap(), b"a");
    }
}
