//! Where the checked-out commit stands: whether others have it, too, so that what is published can be found again by anybody.
//!
//! `look` asks git and the remote and changes nothing (at most it fetches commits, which no branch of this clone follows);
//! `judge` decides, pure, and lists all that is wrong at once; `publishable` is both, and the push.

use std::collections::BTreeMap;

use xshell::cmd;

use super::tag::commit_of_tag;
use super::{Repository, Tag, asked, begun, said, short, unclean};
use crate::error::{Error, Exit, Result};
use crate::sys::children::Begun;

/// What is about to be done with the checked-out commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The version's bump is committed on top of it.
    Bump,
    /// The version is published from it.
    Publish,
}

/// How the checked-out commit stands to a branch of the remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is the branch's last commit.
    Same,
    /// The branch has it, and newer ones.
    Older,
    /// It follows the branch's last commit.
    Newer,
    /// Each has commits that the other lacks.
    Diverged,
}

/// All that decides where the checked-out commit stands.
#[derive(Debug)]
pub struct Facts {
    /// The checked-out commit.
    pub head: String,
    /// The branch that is checked out; nothing where the head is detached, as it is in CI.
    pub branch: Option<String>,
    /// The files that differ from the commit.
    pub changed: Vec<String>,
    /// Whether this clone lacks the commits before some of its own.
    pub shallow: bool,
    /// The commit of the version's tag in this clone.
    pub tag: Option<String>,
    /// The remote, or why there is none to ask.
    pub remote: Result<RemoteRefs>,
}

/// What a remote holds.
#[derive(Clone, Debug)]
pub struct RemoteRefs {
    /// Its name.
    pub name: String,
    /// Its default branch, where it has one.
    pub default: Option<String>,
    /// The branches that versions are released from: the default one and `release/*`. Empty in a shallow clone, which cannot tell.
    pub branches: BTreeMap<String, Relation>,
    /// The branch there that the one checked out here belongs to.
    pub counterpart: Option<String>,
    /// The commit of the version's tag there.
    pub tag: Option<String>,
}

/// A commit that a version can be published from: now, or once it is pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publishable {
    /// The commit.
    pub commit: String,
    /// The remote's name.
    pub remote: String,
    /// The remote's branch that has the commit, or that it can be pushed to.
    pub branch: String,
    /// Whether that branch has it.
    pub pushed: bool,
    /// Whether the version's tag names it, there and in this clone.
    pub tagged: bool,
}

impl Repository {
    /// Asks whether the checked-out commit can be published from as the version of `tag`, or bumped to it. A commit that only waits to be
    /// pushed is no error. Changes nothing.
    ///
    /// # Errors
    /// Everything that is in the way, at once.
    pub fn preflight(&self, tag: &Tag, purpose: Purpose) -> Result<Publishable> {
        judge(self.look(tag)?, tag, purpose)
    }

    /// Checks that the checked-out commit is on the remote before anything of its version becomes public; with `push`, pushes it where
    /// that is a fast-forward.
    ///
    /// # Errors
    /// Everything that is in the way, at once; `Exit::Unpushed` where only the push is left to do, or was refused.
    pub fn publishable(&self, tag: &Tag, push: bool) -> Result<Publishable> {
        let standing = self.preflight(tag, Purpose::Publish)?;
        if standing.pushed {
            return Ok(standing);
        }
        if !push {
            return Err(standing.not_pushed(tag));
        }
        let Publishable { commit, remote, branch, .. } = &standing;
        let pushed = asked(cmd!(self, "git push --quiet --no-follow-tags {remote} {commit}:refs/heads/{branch}"))?;
        if pushed.code != Some(0) {
            // Another run of the same release may have pushed the same commit a moment before.
            return match self.preflight(tag, Purpose::Publish) {
                Ok(standing) if standing.pushed => Ok(standing),
                _ => Err(unpushed(&standing, tag, pushed.stderr.trim())),
            };
        }
        Ok(Publishable { pushed: true, ..standing })
    }

    /// Asks git and the remote.
    ///
    /// # Errors
    /// Git itself fails. What is only missing is among the facts.
    pub fn look(&self, tag: &Tag) -> Result<Facts> {
        let name = tag.name();
        let (changed, tag, upstream) = (self.ask_for_changes()?, self.ask_for_tag(&name)?, self.ask_for_upstream()?);
        // One call for three questions: git's start takes longer than its answers.
        let said = said(cmd!(self, "git rev-parse --is-shallow-repository 'HEAD^{commit}' --symbolic-full-name HEAD"))?;
        let mut lines = said.lines();
        let shallow = lines.next() == Some("true");
        let head = lines.next().unwrap_or_default().to_owned();
        let branch = lines.next().and_then(|name| name.strip_prefix("refs/heads/")).map(str::to_owned);
        Ok(Facts {
            remote: self.look_at_remote(&head, branch.as_deref(), upstream, shallow, &name),
            changed: self.changed_files(changed)?,
            tag: commit_of_tag(tag)?,
            head,
            branch,
            shallow,
        })
    }

    fn look_at_remote(
        &self,
        head: &str,
        branch: Option<&str>,
        upstream: Begun,
        shallow: bool,
        tag: &str,
    ) -> Result<RemoteRefs> {
        let upstream = upstream_of_head(&upstream.read()?);
        let name = match &upstream {
            Some((remote, _)) => remote.clone(),
            None => choose(&said(cmd!(self, "git remote"))?.lines().collect::<Vec<_>>())?,
        };
        let patterns =
            ["HEAD".into(), "refs/heads/*".into(), format!("refs/tags/{tag}"), format!("refs/tags/{tag}^{{}}")];
        let listing = self.listing(&name, &patterns)?;
        let tips = listing.released_from();
        let branches = if shallow { BTreeMap::new() } else { self.relations(&name, head, &tips)? };
        let counterpart = match upstream {
            Some((remote, branch)) if remote == name => Some(branch),
            _ => branch.map(str::to_owned),
        };
        Ok(RemoteRefs { tag: listing.tag(tag), default: listing.default, name, branches, counterpart })
    }

    fn ask_for_upstream(&self) -> Result<Begun> {
        let format = "%(HEAD)%09%(upstream:remotename)%09%(upstream:remoteref)";
        begun(cmd!(self, "git for-each-ref --format={format} refs/heads"))
    }

    /// Asks a remote for what it has under some names.
    pub(super) fn listing(&self, remote: &str, patterns: &[String]) -> Result<Listing> {
        let asked = asked(cmd!(self, "git ls-remote --quiet --symref {remote} {patterns...}"))?;
        if asked.code != Some(0) {
            return Err(Error::new(Exit::Environment, format!("the remote `{remote}` cannot be asked"))
                .because(asked.stderr.trim())
                .remedy(format!("see to it that this works: git ls-remote {remote}")));
        }
        let mut listing = Listing::default();
        for (value, name) in String::from_utf8_lossy(&asked.stdout).lines().filter_map(|line| line.split_once('\t')) {
            match value.strip_prefix("ref: ") {
                // A pattern matches the end of a name, too: `refs/remotes/origin/HEAD` is none of ours.
                Some(target) if name == "HEAD" => {
                    listing.default = target.strip_prefix("refs/heads/").map(str::to_owned);
                }
                Some(_) => {}
                None => drop(listing.references.insert(name.to_owned(), value.to_owned())),
            }
        }
        Ok(listing)
    }

    fn relations(
        &self,
        remote: &str,
        head: &str,
        tips: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, Relation>> {
        self.fetch_missing(remote, head, tips)?;
        let relation = |tip: &String| -> Result<Relation> {
            if tip == head {
                return Ok(Relation::Same);
            }
            Ok(match (self.is_ancestor(head, tip)?, self.is_ancestor(tip, head)?) {
                (true, true) => Relation::Same,
                (true, false) => Relation::Older,
                (false, true) => Relation::Newer,
                (false, false) => Relation::Diverged,
            })
        };
        tips.iter().map(|(branch, tip)| Ok((branch.clone(), relation(tip)?))).collect()
    }

    /// Fetches the commits that are to be compared, and moves no reference of this clone.
    fn fetch_missing(&self, remote: &str, head: &str, tips: &BTreeMap<String, String>) -> Result<()> {
        let mut missing = Vec::new();
        for (branch, tip) in tips.iter().filter(|(_, tip)| *tip != head) {
            if asked(cmd!(self, "git cat-file -e {tip}'^{commit}'"))?.code != Some(0) {
                missing.push(format!("refs/heads/{branch}"));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let fetch = cmd!(self, "git fetch --quiet --no-tags --no-write-fetch-head --no-recurse-submodules --refmap=");
        said(fetch.arg(remote).args(missing)).map(drop)
    }
}

impl Publishable {
    /// The error where only the push is left to do, and was not asked for.
    pub fn not_pushed(&self, tag: &Tag) -> Error {
        let Publishable { commit, remote, branch, .. } = self;
        unpushed(self, tag, "pushing is left to you unless --push is said")
            .remedy(format!("git push {remote} {commit}:refs/heads/{branch}, or say --push"))
    }
}

fn unpushed(standing: &Publishable, tag: &Tag, why: &str) -> Error {
    let Publishable { commit, remote, branch, .. } = standing;
    // Not under `release/`: what is there counts as reviewed.
    let topic = format!("bump-{}", tag.title().replace(' ', "-"));
    let what = format!("the commit {} of {} is not on `{branch}` of `{remote}` yet", short(commit), tag.title());
    Error::new(Exit::Unpushed, what).because(why).remedy(format!(
        "where pull requests are wanted: git push {remote} {commit}:refs/heads/{topic}, merge it,\n\
         check `{branch}` out as it is then, and run the same command again: it goes on from there"
    ))
}

/// The remote and the branch there that the checked-out branch follows, of a line for each local branch.
fn upstream_of_head(said: &str) -> Option<(String, String)> {
    let (remote, reference) = said.lines().find_map(|line| line.strip_prefix("*\t"))?.split_once('\t')?;
    let is_one = !remote.is_empty() && remote != ".";
    is_one.then_some((remote.to_owned(), reference.strip_prefix("refs/heads/")?.to_owned()))
}

/// The remote of a branch that follows none.
fn choose(remotes: &[&str]) -> Result<String> {
    let error = |what: &str| Error::new(Exit::Environment, what);
    match remotes {
        remotes if remotes.contains(&"origin") => Ok("origin".into()),
        [only] => Ok((*only).to_owned()),
        [] => Err(error("this repository has no remote")
            .because("nobody else could find what a release was made of")
            .remedy("git remote add origin URL")),
        several => Err(error("it is not clear which remote versions are released from")
            .because(several.join(", "))
            .remedy("name it `origin`, or let this branch follow it: git branch --set-upstream-to REMOTE/BRANCH")),
    }
}

/// What a remote says that it has.
#[derive(Debug, Default)]
pub(super) struct Listing {
    default: Option<String>,
    references: BTreeMap<String, String>,
}

impl Listing {
    /// The commit of a tag: an annotated one is listed a second time, with what it leads to.
    pub(super) fn tag(&self, name: &str) -> Option<String> {
        let reference = |end: &str| self.references.get(&format!("refs/tags/{name}{end}")).cloned();
        reference("^{}").or_else(|| reference(""))
    }

    fn released_from(&self) -> BTreeMap<String, String> {
        let named =
            self.references.iter().filter_map(|(name, commit)| Some((name.strip_prefix("refs/heads/")?, commit)));
        let ours = named.filter(|(name, _)| is_released_from(name, self.default.as_deref()));
        ours.map(|(name, commit)| (name.to_owned(), commit.clone())).collect()
    }
}

fn is_released_from(branch: &str, default: Option<&str>) -> bool {
    Some(branch) == default || branch.starts_with("release/")
}

/// Decides where the commit stands for a version.
///
/// # Errors
/// Everything that is in the way, at once.
pub fn judge(facts: Facts, tag: &Tag, purpose: Purpose) -> Result<Publishable> {
    let mut problems = Vec::new();
    if !facts.changed.is_empty() {
        problems.push(unclean(&facts.changed));
    }
    if facts.shallow {
        problems.push(
            Error::new(Exit::Environment, "this clone is shallow: it cannot tell which branches have its commit")
                .remedy("git fetch --unshallow (in a workflow: fetch-depth: 0)"),
        );
    }
    let remote = facts.remote.map_err(|error| problems.push(error)).ok();
    let names_head = |tag: Option<&String>| tag == Some(&facts.head);
    let tagged = names_head(facts.tag.as_ref()) && names_head(remote.as_ref().and_then(|remote| remote.tag.as_ref()));
    let there = remote.as_ref().and_then(|remote| Some((remote.name.as_str(), remote.tag.as_deref()?)));
    // A commit that is still to be made has no tag yet.
    let wanted = (purpose == Purpose::Publish).then_some(facts.head.as_str());
    problems.extend(elsewhere(&tag.name(), wanted, facts.tag.as_deref(), there));
    let place = remote.filter(|_| !facts.shallow).map(|remote| {
        let place = place(&remote, facts.branch.as_deref(), purpose);
        place.map(|(branch, pushed)| (remote.name, branch, pushed))
    });
    match place {
        Some(Ok((remote, branch, pushed))) if problems.is_empty() => {
            Ok(Publishable { commit: facts.head, remote, branch, pushed, tagged })
        }
        Some(Err(error)) => Err(all(problems.into_iter().chain([error]).collect(), tag)),
        _ => Err(all(problems, tag)),
    }
}

fn all(problems: Vec<Error>, tag: &Tag) -> Error {
    Error::all(&format!("{} cannot be released from this state", tag.title()), problems)
}

/// The branch of the remote that has the commit, or that it can be pushed to, and which of the two.
fn place(remote: &RemoteRefs, branch: Option<&str>, purpose: Purpose) -> Result<(String, bool)> {
    let target = target(remote, branch);
    let relation = |branch: &String| remote.branches.get(branch).copied();
    let has = |branch: &String| matches!(relation(branch), Some(Relation::Same | Relation::Older));
    if purpose == Purpose::Publish {
        let first = target.iter().chain(&remote.default).chain(remote.branches.keys()).find(|branch| has(branch));
        if let Some(branch) = first {
            return Ok((branch.clone(), true));
        }
    }
    match target.as_ref().map(|branch| (branch, relation(branch))) {
        Some((branch, Some(Relation::Same))) => Ok((branch.clone(), true)),
        // A line of releases that begins here is new to the remote.
        Some((branch, Some(Relation::Newer) | None)) => Ok((branch.clone(), false)),
        Some((branch, Some(Relation::Older))) => {
            Err(misplaced(format!("`{branch}` of `{}` has newer commits than this one", remote.name))
                .because("the version would be committed beside them")
                .remedy(format!("git pull --ff-only {} {branch}", remote.name)))
        }
        Some((branch, Some(Relation::Diverged))) => {
            Err(misplaced(format!("this commit and `{branch}` of `{}` have diverged", remote.name))
                .remedy(format!("git pull --rebase {} {branch}, and retry the command", remote.name)))
        }
        None => Err(nowhere(remote, branch)),
    }
}

fn misplaced(what: String) -> Error {
    Error::new(Exit::Workspace, what)
}

fn nowhere(remote: &RemoteRefs, branch: Option<&str>) -> Error {
    let name = &remote.name;
    let Some(default) = &remote.default else {
        return misplaced(format!("`{name}` does not say which of its branches is the default one"))
            .because("versions are released from that one, and from release/*")
            .remedy(format!("push the first commit: git push {name} HEAD:refs/heads/main"));
    };
    let Some(branch) = branch else {
        return misplaced(format!("the checked-out commit belongs to no single branch of `{name}`"))
            .because(format!("versions are released from `{default}` and release/*; the head is detached"))
            .remedy(format!("check out the branch that it is for: git switch {default}"));
    };
    misplaced(format!("the branch `{branch}` is not part of `{default}`, nor of a release/* branch, of `{name}`"))
        .because("versions are released from those only, so that they can be found again")
        .remedy(format!("merge it (a pull request), then check out `{default}` as it is then"))
}

/// The branch of the remote that a commit made here belongs to.
fn target(remote: &RemoteRefs, branch: Option<&str>) -> Option<String> {
    let default = remote.default.as_deref();
    if branch.is_some() {
        return remote.counterpart.clone().filter(|branch| is_released_from(branch, default));
    }
    // With a detached head only the commit itself can tell, and only where it goes on from one branch alone: a line of releases
    // may have begun where the default branch is now.
    let goes_on = |relation: &Relation| matches!(relation, Relation::Same | Relation::Newer);
    let mut possible = remote.branches.iter().filter(|(_, relation)| goes_on(relation)).map(|(branch, _)| branch);
    possible.next().filter(|_| possible.next().is_none()).cloned()
}

/// The error for a tag that names another commit than `wanted` (any, where the commit is still to be made).
pub(super) fn elsewhere(
    name: &str,
    wanted: Option<&str>,
    here: Option<&str>,
    there: Option<(&str, &str)>,
) -> Option<Error> {
    let wrong = |at: &&str| Some(*at) != wanted;
    let here = here.filter(wrong).map(|at| format!("here: {at}"));
    let there = there.filter(|(_, at)| wrong(at)).map(|(remote, at)| format!("on `{remote}`: {at}"));
    let error = Error::new(Exit::Conflict, format!("the tag {name} is taken by another commit"));
    let remove = match (&here, &there) {
        (None, None) => return None,
        (Some(_), None) => format!("if it was never pushed and is a mistake: git tag --delete {name}"),
        (_, Some(_)) => "if that commit was not released, remove the tag by hand: nothing here ever moves one".into(),
    };
    let lines: Vec<String> = here.into_iter().chain(there).collect();
    Some(error.because(lines.join("\n")).remedy("take the next version, or check that commit out").remedy(remove))
}
