//! The commit of a bump, which appears whole or not at all.
//!
//! It is prepared beside the work tree (a scratch folder and a scratch index) and then taken over by one fast-forward, which changes
//! files, index and branch together. A run that is killed before that has changed nothing: what it leaves is a commit that
//! no branch knows, which git clears away some day. Writing the files into the tree first would leave a tree whose files disagree on
//! their version, from which no later run could tell which version was meant.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use xshell::cmd;

use super::{Repository, Tag, said, unclean};
use crate::error::{Context, Error, Exit, Result};
use crate::sys::files;

impl Repository {
    /// Commits `edits` (paths relative to the folder, and contents) as `Release X.Y.Z` (with the name of the product, where it has one), by the person git knows and at the time
    /// that git takes. Gives the commit, which is then checked out; where the edits change nothing, the one that was.
    ///
    /// A tree that differs by nothing but these edits, whoever wrote them, counts as clean.
    ///
    /// # Errors
    /// Git knows no name or e-mail address; the tree is not clean; git refuses.
    pub fn commit_bump(&self, edits: &BTreeMap<String, Vec<u8>>, tag: &Tag) -> Result<String> {
        self.check_identity()?;
        self.take_back(edits)?;
        let scratch = files::scratch("bump");
        let commit = self.prepare(edits, tag, &scratch);
        files::remove(&scratch)?;
        let commit = commit?;
        if commit != self.head()? {
            // Refuses by itself where the branch or a file was changed meanwhile.
            said(cmd!(self, "git merge --ff-only --no-verify-signatures --quiet --no-stat {commit}"))?;
        }
        Ok(commit)
    }

    fn check_identity(&self) -> Result<()> {
        for variable in ["GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"] {
            said(cmd!(self, "git var {variable}")).map_err(|error| {
                Error::new(Exit::Environment, "git does not know who commits the release")
                    .because(error.why.unwrap_or(error.what))
                    .remedy(
                        "git config --global user.name 'Your Name' && git config --global user.email you@example.com",
                    )
            })?;
        }
        Ok(())
    }

    /// Takes back edits that stand in the tree without a commit. Nothing is lost: they are what is committed next.
    fn take_back(&self, edits: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        let changed = self.changed()?;
        if changed.is_empty() {
            return Ok(());
        }
        for path in &changed {
            let there = files::read(&self.folder.join(path)).unwrap_or_default();
            if there.is_none() || there.as_ref() != edits.get(path) {
                return Err(unclean(&changed));
            }
        }
        let restore = cmd!(self, "git checkout --quiet HEAD -- {changed...}");
        said(restore.env("GIT_LITERAL_PATHSPECS", "1")).map(drop)
    }

    /// Makes the commit without checking it out.
    fn prepare(&self, edits: &BTreeMap<String, Vec<u8>>, tag: &Tag, scratch: &Path) -> Result<String> {
        let parent = self.head()?;
        let tree = self.edited_tree(edits, &parent, scratch)?;
        if tree == said(cmd!(self, "git rev-parse {parent}'^{tree}'"))? {
            return Ok(parent);
        }
        // `commit-tree` leaves this setting to its caller.
        let sign: &[&str] = if self.is_set("commit.gpgSign")? { &["-S"] } else { &[] };
        let (title, message) = (tag.title(), format!("Release {}", tag.title()));
        let commit = said(cmd!(self, "git commit-tree {sign...} -p {parent} -m {message} {tree}"));
        commit.context(Exit::Failure, || format!("git cannot commit the bump to {title}"))
    }

    /// The tree of `parent` with the edits. Git adds the files itself, so that attributes and line endings count as always.
    fn edited_tree(&self, edits: &BTreeMap<String, Vec<u8>>, parent: &str, scratch: &Path) -> Result<String> {
        let directory = said(cmd!(self, "git rev-parse --absolute-git-dir"))?;
        let top = scratch.join("tree");
        let here = top.join(said(cmd!(self, "git rev-parse --show-prefix"))?);
        for (path, bytes) in edits {
            files::replace(&here.join(path), bytes)?;
            let metadata = std::fs::metadata(self.folder.join(path))
                .map_err(|error| files::unreadable(&self.folder.join(path), &error))?;
            files::set_executable(&here.join(path), metadata.permissions().mode() & 0o111 != 0)?;
        }
        let (beside, paths) = (Repository::at(&here)?, edits.keys());
        beside.shell.set_var("GIT_DIR", directory);
        beside.shell.set_var("GIT_WORK_TREE", &top);
        beside.shell.set_var("GIT_INDEX_FILE", scratch.join("index"));
        beside.shell.set_var("GIT_LITERAL_PATHSPECS", "1");
        said(cmd!(beside, "git read-tree {parent}"))?;
        said(cmd!(beside, "git add -- {paths...}"))?;
        said(cmd!(beside, "git write-tree"))
    }
}
