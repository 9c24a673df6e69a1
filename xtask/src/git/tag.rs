//! The tag `vX.Y.Z`, which names the commit of a version once that is public.
//!
//! It is a lightweight one: just the commit's name. Two machines that finish one release then make the very same tag, and the second
//! push is a no-op, where two annotated tags (each with its own maker and time) would refuse each other. Who released it
//! and when is in the commit and in what was published. Tags that others made, annotated or not, count by the commit they lead to.

use std::path::Path;

use semver::Version;

use super::git;
use super::standing::{elsewhere, listing};
use crate::error::{Error, Exit, Result};
use crate::release::github;
use crate::release::version::version_tags;

/// What was done about the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagged {
    /// The remote had it.
    Before,
    /// It was pushed.
    Now,
    /// The run was ordered by it: it is not ours to make.
    Ordered,
}

/// Makes the tag of a published version on the remote, and here, where it is missing.
///
/// # Errors
/// It names another commit; the remote cannot be asked, or refuses it.
pub fn tag(root: &Path, version: &Version, commit: &str, remote: &str) -> Result<Tagged> {
    if is_ordered_by_tag(&|name| std::env::var(name).ok(), version) {
        return Ok(Tagged::Ordered);
    }
    let name = name(version);
    let there = remote_tag(root, remote, &name)?;
    let here = local_tag(root, &name)?;
    if let Some(error) = elsewhere(&name, Some(commit), here.as_deref(), there.as_deref().map(|at| (remote, at))) {
        return Err(error);
    }
    // The remote first: where it refuses, nothing stays here that would be in the way later.
    let tagged = if there.is_some() { Tagged::Before } else { push(root, &name, commit, remote)? };
    if here.is_none() {
        git(root).args(["tag", "--no-sign", &name, commit]).read()?;
    }
    Ok(tagged)
}

/// Whether a CI run was started by the version's own tag, or by the release of that tag.
pub fn is_ordered_by_tag(variable: &dyn Fn(&str) -> Option<String>, version: &Version) -> bool {
    github::ordered_tag(variable) == Some(name(version))
}

/// The git tag of a version.
pub(super) fn name(version: &Version) -> String {
    let [name, _] = version_tags(version);
    name
}

/// The commit that a tag of this clone leads to.
pub(super) fn local_tag(root: &Path, name: &str) -> Result<Option<String>> {
    let asked = git(root).args(["rev-parse", "--verify", "--quiet", &format!("refs/tags/{name}^{{}}")]).output()?;
    let text = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    Ok((asked.code == Some(0)).then_some(text))
}

fn remote_tag(root: &Path, remote: &str, name: &str) -> Result<Option<String>> {
    let patterns = [format!("refs/tags/{name}"), format!("refs/tags/{name}^{{}}")];
    Ok(listing(root, remote, &patterns)?.tag(name))
}

fn push(root: &Path, name: &str, commit: &str, remote: &str) -> Result<Tagged> {
    let reference = format!("{commit}:refs/tags/{name}");
    let pushed = git(root).args(["push", "--quiet", "--no-follow-tags", remote, &reference]).output()?;
    if pushed.code == Some(0) {
        return Ok(Tagged::Now);
    }
    // Somebody else may have made it just now, as an annotated one.
    if remote_tag(root, remote, name)?.as_deref() == Some(commit) {
        return Ok(Tagged::Before);
    }
    Err(Error::new(Exit::Unpushed, format!("the tag {name} cannot be pushed to `{remote}`"))
        .because(pushed.stderr.trim())
        .remedy(format!("all else is done; with the rights to push tags: git push {remote} {reference}"))
        .remedy("or retry the command"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x1_a_run_is_ordered_by_its_tag_only_in_ci_and_only_by_its_own() {
        let ordered = |actions: &'static str, reference: &'static str| {
            let variable = move |name: &str| match name {
                "GITHUB_ACTIONS" => Some(actions.to_owned()),
                "GITHUB_REF" => Some(reference.to_owned()),
                _ => None,
            };
            is_ordered_by_tag(&variable, &Version::new(3, 1, 0))
        };
        assert!(ordered("true", "refs/tags/v3.1.0"));
        assert!(!ordered("true", "refs/tags/v3.1.0-rc.1"));
        assert!(!ordered("true", "refs/heads/v3.1.0"));
        assert!(!ordered("", "refs/tags/v3.1.0"));
        assert!(!is_ordered_by_tag(&|_| None, &Version::new(3, 1, 0)));
    }
}
