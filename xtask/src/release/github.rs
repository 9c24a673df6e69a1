//! What GitHub ordered, where a run is one of its workflows: the tag must be the version's, and the tick "pre-release" of the
//! version's GitHub release must say what the version says.
//!
//! A wrong tick would show `3.1.0-rc.1` as the latest release on GitHub, or hide 3.1.0, while Helm and the image's tags say the opposite.
//! Whether there is a release is asked of GitHub at every run and not read from the run's event: that is still the old one where a
//! run is started again after the tick was put right. `facts` asks and changes nothing, `judge` decides, pure.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Context, Error, Exit, Result};
use crate::git::Tag;
use crate::sys::files;
use crate::sys::http::{Anonymous, Answer};
use crate::sys::retry::{Failure, retry};

/// The environment's variables.
pub type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;

/// All that decides whether a workflow may release a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The tag that the run is for; nothing where it is for a branch.
    pub tag: Option<String>,
    /// The tick of the version's GitHub release; nothing where there is none.
    pub prerelease: Option<bool>,
}

/// Refuses a version that GitHub's order is not for. Outside of GitHub Actions everything is right.
///
/// # Errors
/// Everything that does not agree, at once; GitHub cannot be asked.
pub fn check(tag: &Tag, user: &Anonymous, variables: Variables) -> Result<()> {
    facts(tag, user, variables)?.map_or(Ok(()), |facts| judge(tag, &facts))
}

/// Decides.
///
/// # Errors
/// Everything that does not agree, at once.
pub fn judge(tag: &Tag, facts: &Facts) -> Result<()> {
    let (version, title, tag) = (tag.version(), tag.title(), tag.name());
    let mut problems = Vec::new();
    if let Some(other) = facts.tag.as_ref().filter(|ordered| **ordered != tag) {
        problems.push((
            format!("the tag is {other}, and the tree's version {version}"),
            format!("tag the commit whose files say {}, or set {tag} there", said_by(other)),
        ));
    }
    let is_prerelease = !version.pre.is_empty();
    if facts.prerelease.is_some_and(|ticked| ticked != is_prerelease) {
        let (is, does) = if is_prerelease { ("is", "lacks") } else { ("is not", "has") };
        let set = if is_prerelease { "set" } else { "remove" };
        problems.push((
            format!("{version} {is} a pre-release, and GitHub's release of {tag} {does} the tick"),
            format!("{set} the tick \"pre-release\" of the release, and run the workflow's failed jobs again"),
        ));
    }
    let (whys, remedies): (Vec<_>, Vec<_>) = problems.into_iter().unzip();
    if whys.is_empty() {
        return Ok(());
    }
    let error = Error::new(Exit::Workspace, format!("{title} is not what GitHub ordered")).because(whys.join("\n"));
    Err(remedies.into_iter().fold(error, Error::remedy))
}

/// The version that a tag names.
fn said_by(tag: &str) -> &str {
    tag.rsplit('/').next().unwrap_or(tag).trim_start_matches('v')
}

/// Asks the environment, and GitHub. Nothing outside of GitHub Actions.
///
/// # Errors
/// GitHub does not answer, or not as documented.
pub fn facts(tag: &Tag, user: &Anonymous, variables: Variables) -> Result<Option<Facts>> {
    let set = |name: &str| variables(name).filter(|value| !value.is_empty());
    let (Some("true"), Some(repository)) = (set("GITHUB_ACTIONS").as_deref(), set("GITHUB_REPOSITORY")) else {
        return Ok(None);
    };
    let (name, tag) = (tag.name(), ordered_tag(variables));
    let api = set("GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".into());
    let url = format!("{api}/repos/{repository}/releases/tags/{name}");
    let prerelease = match ask(user, &url, set("GITHUB_TOKEN").as_deref())? {
        Some(tick) => Some(tick),
        None => ticked_in_event(set("GITHUB_EVENT_PATH").as_deref())?,
    };
    Ok(Some(Facts { tag, prerelease }))
}

/// The tag that a run of a workflow is for: its own push, or the release of it, ordered the run.
pub fn ordered_tag(variables: Variables) -> Option<String> {
    let is_workflow = variables("GITHUB_ACTIONS").as_deref() == Some("true");
    let reference = variables("GITHUB_REF").filter(|_| is_workflow)?;
    Some(reference.strip_prefix("refs/tags/")?.to_owned())
}

/// Whether a run was started by the version's own tag, or by the release of that tag.
pub fn is_ordered_by_tag(variables: Variables, tag: &Tag) -> bool {
    ordered_tag(variables) == Some(tag.name())
}

#[derive(Deserialize)]
struct GithubRelease {
    prerelease: bool,
}

/// The tick of a release that there is.
fn ask(user: &Anonymous, url: &str, token: Option<&str>) -> Result<Option<bool>> {
    const ATTEMPTS: usize = 4;
    const FIRST_PAUSE: Duration = Duration::from_millis(400);
    let authorization = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("accept", "application/vnd.github+json"), ("user-agent", "xtask")];
    headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
    retry(ATTEMPTS, FIRST_PAUSE, || {
        let refused = |answer: &Answer| {
            let said = format!("status {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
            Error::new(Exit::Environment, unknown(url)).because(said).remedy(
                "give the job `permissions: contents: read` and GITHUB_TOKEN in its environment, or run it again",
            )
        };
        match user.get(url, &headers) {
            Ok(Answer { status: 200, body, .. }) => {
                let release: GithubRelease =
                    serde_json::from_slice(&body).context(Exit::Environment, || unknown(url))?;
                Ok(Some(release.prerelease))
            }
            Ok(Answer { status: 404, .. }) => Ok(None),
            Ok(answer) if answer.status >= 500 => Err(Failure::Passing(refused(&answer))),
            Ok(answer) => Err(Failure::Final(refused(&answer))),
            Err(error) => {
                let why = error.why.unwrap_or(error.what);
                let silent = Error::new(Exit::Environment, unknown(url)).because(why).remedy("run it again");
                Err(Failure::Passing(silent))
            }
        }
    })
}

fn unknown(url: &str) -> String {
    format!("GitHub does not say whether the version has a release: {url}")
}

/// What the release said that started the run: it may have been taken back since, but not its order.
fn ticked_in_event(path: Option<&str>) -> Result<Option<bool>> {
    #[derive(Deserialize)]
    struct Event {
        release: Option<GithubRelease>,
    }
    let Some(bytes) = path.map(|path| files::read(Path::new(path))).transpose()?.flatten() else { return Ok(None) };
    let event: Event =
        serde_json::from_slice(&bytes).context(Exit::Environment, || "GITHUB_EVENT_PATH cannot be used".into())?;
    Ok(event.release.map(|release| release.prerelease))
}

#[cfg(test)]
mod tests {
    use super::*;
    use semver::Version;

    fn judged(version: &str, tag: Option<&str>, prerelease: Option<bool>) -> Result<()> {
        judge(&Tag::of(None, &version.parse().unwrap()), &Facts { tag: tag.map(str::to_owned), prerelease })
    }

    #[test]
    fn what_agrees_is_released() {
        for (version, tag, prerelease) in [
            ("3.0.0", None, None),
            ("3.0.0", Some("v3.0.0"), None),
            ("3.0.0", Some("v3.0.0"), Some(false)),
            ("3.1.0-rc.1", Some("v3.1.0-rc.1"), Some(true)),
            ("3.1.0-rc.1", None, Some(true)),
        ] {
            judged(version, tag, prerelease).unwrap();
        }
    }

    #[test]
    fn another_tag_than_the_trees_version_is_refused() {
        for tag in ["v3.0.1", "3.0.0", "v3.0.0-rc.1", "v3", "V3.0.0"] {
            let error = judged("3.0.0", Some(tag), None).unwrap_err();
            assert_eq!((error.exit, error.remedies.len()), (Exit::Workspace, 1), "{tag}");
            assert_eq!(error.why.unwrap(), format!("the tag is {tag}, and the tree's version 3.0.0"));
        }
    }

    #[test]
    fn a_tick_against_the_version_is_refused_either_way() {
        let hidden = judged("3.0.0", Some("v3.0.0"), Some(true)).unwrap_err();
        assert!(hidden.to_string().contains("3.0.0 is not a pre-release, and GitHub's release of v3.0.0 has the tick"));
        let shown = judged("3.1.0-rc.1", None, Some(false)).unwrap_err();
        assert!(shown.to_string().contains("3.1.0-rc.1 is a pre-release, and GitHub's release of v3.1.0-rc.1 lacks"));
    }

    #[test]
    fn all_that_does_not_agree_is_said_at_once() {
        let error = judged("3.0.0", Some("v3.0.1"), Some(true)).unwrap_err();
        assert_eq!(error.remedies.len(), 2, "{error}");
    }

    #[test]
    fn outside_of_actions_nobody_is_asked() {
        let nothing = |name: &str| (name == "GITHUB_REPOSITORY").then(|| "a/b".to_owned());
        let user = Anonymous::new(Duration::from_secs(1));
        assert_eq!(facts(&Tag::of(None, &Version::new(3, 0, 0)), &user, &nothing).unwrap(), None);
    }

    #[test]
    fn x1_a_run_is_ordered_by_its_tag_only_in_ci_and_only_by_its_own() {
        let ordered = |actions: &'static str, reference: &'static str| {
            let variable = move |name: &str| match name {
                "GITHUB_ACTIONS" => Some(actions.to_owned()),
                "GITHUB_REF" => Some(reference.to_owned()),
                _ => None,
            };
            is_ordered_by_tag(&variable, &Tag::of(None, &Version::new(3, 1, 0)))
        };
        assert!(ordered("true", "refs/tags/v3.1.0"));
        assert!(!ordered("true", "refs/tags/v3.1.0-rc.1"));
        assert!(!ordered("true", "refs/heads/v3.1.0"));
        assert!(!ordered("", "refs/tags/v3.1.0"));
        assert!(!is_ordered_by_tag(&|_| None, &Tag::of(None, &Version::new(3, 1, 0))));
    }
}
