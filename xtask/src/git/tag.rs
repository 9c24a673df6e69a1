//! The tag `vX.Y.Z`, or `NAME/vX.Y.Z` of one of several products, which names the commit of a version once that is public.
//!
//! It is a lightweight one: just the commit's name. Two machines that finish one release then make the very same tag, and the second
//! push is a no-op, where two annotated tags (each with its own maker and time) would refuse each other. Who released it
//! and when is in the commit and in what was published. Tags that others made, annotated or not, count by the commit they lead to.

use semver::Version;
use xshell::cmd;

use super::preflight::elsewhere;
use super::{Repository, asked, begun, said};
use crate::error::{Error, Exit, Result};
use crate::sys::children::Begun;

/// What was done about the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagged {
    /// The remote had it.
    Before,
    /// It was pushed.
    Now,
}

/// The git tag of a version: `vX.Y.Z`, or `NAME/vX.Y.Z` where its product is one of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    product: Option<String>,
    version: Version,
}

impl Tag {
    /// Of a product, which has a name where there are several, in a version.
    pub fn of(product: Option<&str>, version: &Version) -> Self {
        Tag { product: product.map(str::to_owned), version: version.clone() }
    }

    /// What git calls it.
    pub fn name(&self) -> String {
        match &self.product {
            None => format!("v{}", self.version),
            Some(product) => format!("{product}/v{}", self.version),
        }
    }

    /// The version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// What people call the version.
    pub fn title(&self) -> String {
        match &self.product {
            None => self.version.to_string(),
            Some(product) => format!("{product} {}", self.version),
        }
    }
}

/// The answer to `ask_for_tag`.
pub(super) fn commit_of_tag(asked: Begun) -> Result<Option<String>> {
    let asked = asked.answer()?;
    let text = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    Ok((asked.code == Some(0)).then_some(text))
}

impl Repository {
    /// Makes the tag of a published version on the remote, and here, where it is missing.
    ///
    /// # Errors
    /// It names another commit; the remote cannot be asked, or refuses it.
    pub fn tag(&self, tag: &Tag, commit: &str, remote: &str) -> Result<Tagged> {
        let name = tag.name();
        let there = self.remote_tag(remote, &name)?;
        let here = self.local_tag(&name)?;
        if let Some(error) = elsewhere(&name, Some(commit), here.as_deref(), there.as_deref().map(|at| (remote, at))) {
            return Err(error);
        }
        // The remote first: where it refuses, nothing stays here that would be in the way later.
        let tagged = if there.is_some() { Tagged::Before } else { self.push_tag(&name, commit, remote)? };
        if here.is_none() {
            said(cmd!(self, "git tag --no-sign {name} {commit}"))?;
        }
        Ok(tagged)
    }

    /// The commit that a tag of this clone leads to.
    pub(super) fn local_tag(&self, name: &str) -> Result<Option<String>> {
        commit_of_tag(self.ask_for_tag(name)?)
    }

    pub(super) fn ask_for_tag(&self, name: &str) -> Result<Begun> {
        begun(cmd!(self, "git rev-parse --verify --quiet refs/tags/{name}'^{}'"))
    }

    fn remote_tag(&self, remote: &str, name: &str) -> Result<Option<String>> {
        let patterns = [format!("refs/tags/{name}"), format!("refs/tags/{name}^{{}}")];
        Ok(self.listing(remote, &patterns)?.tag(name))
    }

    fn push_tag(&self, name: &str, commit: &str, remote: &str) -> Result<Tagged> {
        let reference = format!("{commit}:refs/tags/{name}");
        let pushed = asked(cmd!(self, "git push --quiet --no-follow-tags {remote} {reference}"))?;
        if pushed.code == Some(0) {
            return Ok(Tagged::Now);
        }
        // Somebody else may have made it just now, as an annotated one.
        if self.remote_tag(remote, name)?.as_deref() == Some(commit) {
            return Ok(Tagged::Before);
        }
        Err(Error::new(Exit::Unpushed, format!("the tag {name} cannot be pushed to `{remote}`"))
            .because(pushed.stderr.trim())
            .remedy(format!("all else is done; with the rights to push tags: git push {remote} {reference}"))
            .remedy("or retry the command"))
    }
}
