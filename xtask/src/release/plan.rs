//! What is done, what is to do, and what must not be done: decided from what the world holds, with no state kept. Pure.

use semver::Version;
use serde::Serialize;

use crate::error::{Error, Exit};
use crate::image::layout::{Digest, Platform, PlatformImage};
use crate::release::version::{self, Word};

/// The label that holds the version.
pub const VERSION_LABEL: &str = "org.opencontainers.image.version";
/// The label that holds the commit.
pub const REVISION_LABEL: &str = "org.opencontainers.image.revision";
/// The label of an image whose binaries carry their dependency list.
pub const AUDITABLE_LABEL: &str = "cargo-auditable";

/// How a step stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "detail", rename_all = "kebab-case")]
pub enum State {
    /// Nothing is left to do.
    Done(String),
    /// It will be done.
    ToDo(String),
    /// It must not be done, and why.
    Conflict(String),
    /// It could not be seen, and why.
    Unknown(String),
}

/// One line of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// The step's name.
    pub step: &'static str,
    /// How it stands.
    #[serde(flatten)]
    pub state: State,
}

/// What a published image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its digest.
    pub digest: Digest,
    /// Its platforms, in their order.
    pub platforms: Vec<Platform>,
    /// The version that every platform's labels give; nothing where they differ.
    pub version: Option<String>,
    /// The commit that every platform's labels give; nothing where they differ.
    pub revision: Option<String>,
    /// Whether the binaries carry their dependency list.
    pub auditable: bool,
}

impl ImageFacts {
    /// Reads the labels of an image's platforms.
    pub fn of(digest: Digest, parts: &[PlatformImage]) -> Self {
        let agreed = |name: &str| {
            let mut values = parts.iter().map(|part| part.config.config.labels.get(name));
            let first = values.next()??;
            values.all(|value| value == Some(first)).then(|| first.clone())
        };
        ImageFacts {
            digest,
            platforms: parts.iter().map(|part| part.platform.clone()).collect(),
            version: agreed(VERSION_LABEL),
            revision: agreed(REVISION_LABEL),
            auditable: agreed(AUDITABLE_LABEL).is_some(),
        }
    }
}

/// What the image of a release must be.
pub struct Wanted<'a> {
    /// The version.
    pub version: &'a str,
    /// The source state.
    pub revision: &'a str,
    /// The platforms that it is to have.
    pub platforms: &'a [Platform],
    /// Whether a published version may never be made again.
    pub strict: bool,
    /// The platforms that this machine can build. Asked only where it matters: finding out takes a moment.
    pub buildable: &'a dyn Fn() -> Result<Vec<Platform>, Error>,
    /// Whether binaries built now would carry their dependency list.
    pub auditable: bool,
}

/// What a published image is to a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is the image of this release.
    Ours,
    /// It is, but this machine can make a better one, and the target allows that.
    Outdated(String),
    /// It is of something else.
    Foreign(String),
}

/// What is to be done about the image.
#[derive(Debug)]
pub enum ImagePlan {
    /// There is none.
    Build,
    /// This one is it.
    Adopt(ImageFacts),
    /// There is one, and it will be made again; why.
    Replace(String),
    /// There is one of something else.
    Conflict(Error),
}

/// Judges a published image. Its digest does not matter: another compiler makes another digest of the same sources.
///
/// # Errors
/// It cannot be found out what this machine can build.
pub fn judge(facts: &ImageFacts, wanted: &Wanted<'_>) -> Result<Judgement, Error> {
    let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "not said".into());
    if facts.version.as_deref() != Some(wanted.version) {
        return Ok(Judgement::Foreign(format!("its version is {}", said(&facts.version))));
    }
    if facts.revision.as_deref() != Some(wanted.revision) {
        return Ok(Judgement::Foreign(format!("it was made of {}", said(&facts.revision))));
    }
    if facts.platforms != wanted.platforms {
        let known = facts.platforms.iter().all(|platform| wanted.platforms.contains(platform));
        if wanted.strict || !known {
            return Ok(Judgement::Foreign(format!("its platforms are {}", list(&facts.platforms))));
        }
        let buildable = (wanted.buildable)()?;
        let gained: Vec<Platform> =
            buildable.into_iter().filter(|platform| !facts.platforms.contains(platform)).collect();
        if !gained.is_empty() {
            return Ok(Judgement::Outdated(format!("{} can be built now", list(&gained))));
        }
    }
    if wanted.auditable && !facts.auditable && !wanted.strict {
        return Ok(Judgement::Outdated("its binaries carry no dependency list, and could now".into()));
    }
    Ok(Judgement::Ours)
}

/// Decides what is to be done about the image that the version's tag points at.
///
/// # Errors
/// It cannot be found out what this machine can build.
pub fn image(facts: Option<ImageFacts>, wanted: &Wanted<'_>) -> Result<ImagePlan, Error> {
    let Some(facts) = facts else { return Ok(ImagePlan::Build) };
    Ok(match judge(&facts, wanted)? {
        Judgement::Ours => ImagePlan::Adopt(facts),
        Judgement::Outdated(why) => ImagePlan::Replace(why),
        Judgement::Foreign(why) if !wanted.strict => ImagePlan::Replace(why),
        Judgement::Foreign(why) => ImagePlan::Conflict(taken(wanted, &facts, &why)),
    })
}

fn taken(wanted: &Wanted<'_>, facts: &ImageFacts, why: &str) -> Error {
    let error =
        Error::new(Exit::Conflict, format!("the tag v{} belongs to another image", wanted.version)).because(why);
    let error = match &facts.revision {
        Some(revision) if !revision.contains("-dirty-") => {
            error.remedy(format!("finish that release: git checkout {revision}, then the same words"))
        }
        _ => error,
    };
    // Said exactly: a word would count from a version that the index does not list, and stay where it is.
    let next = Version::parse(wanted.version).map(|version| version::next(&version, &Word::Patch));
    let next = next.map_or_else(|_| "patch".into(), |version| version.to_string());
    error.remedy(format!("or take the next version: cargo xtask release {next}"))
}

/// Platforms as people read them.
pub fn list(platforms: &[Platform]) -> String {
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.to_owned().try_into().unwrap()
    }

    fn facts(platforms: &[&str]) -> ImageFacts {
        ImageFacts {
            digest: Digest::of(b""),
            platforms: platforms.iter().map(|text| platform(text)).collect(),
            version: Some("3.0.0".into()),
            revision: Some("commit".into()),
            auditable: false,
        }
    }

    const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

    fn judged(facts: &ImageFacts, strict: bool, auditable: bool, buildable: &[&str]) -> Judgement {
        let buildable: Vec<Platform> = buildable.iter().map(|text| platform(text)).collect();
        let wanted = Wanted {
            version: "3.0.0",
            revision: "commit",
            platforms: &BOTH.map(platform),
            strict,
            buildable: &|| Ok(buildable.clone()),
            auditable,
        };
        judge(facts, &wanted).unwrap()
    }

    #[test]
    fn x3_an_image_of_our_version_and_commit_is_ours_whatever_its_digest() {
        assert_eq!(judged(&facts(&BOTH), true, true, &BOTH), Judgement::Ours);
        assert_eq!(judged(&facts(&BOTH), false, false, &[]), Judgement::Ours);
    }

    #[test]
    fn an_image_of_another_commit_or_version_is_not_ours() {
        let other = ImageFacts { revision: Some("other".into()), ..facts(&BOTH) };
        assert!(matches!(judged(&other, false, false, &BOTH), Judgement::Foreign(_)));
        let other = ImageFacts { version: None, ..facts(&BOTH) };
        assert!(matches!(judged(&other, false, false, &BOTH), Judgement::Foreign(_)));
    }

    #[test]
    fn a_rehearsal_with_fewer_platforms_is_made_again_once_more_can_be_built() {
        let one = facts(&BOTH[..1]);
        assert_eq!(judged(&one, false, false, &BOTH[..1]), Judgement::Ours);
        assert_eq!(judged(&one, false, false, &BOTH), Judgement::Outdated("linux/arm64 can be built now".into()));
        assert!(matches!(judged(&one, true, false, &BOTH), Judgement::Foreign(_)), "what is public is whole");
    }

    #[test]
    fn a_rehearsal_without_dependency_list_is_made_again_once_it_can_have_one() {
        assert!(matches!(judged(&facts(&BOTH), false, true, &BOTH), Judgement::Outdated(_)));
        let listed = ImageFacts { auditable: true, ..facts(&BOTH) };
        assert_eq!(judged(&listed, false, true, &BOTH), Judgement::Ours);
    }

    #[test]
    fn a_taken_tag_names_both_ways_out() {
        let revision = "0123456789abcdef0123456789abcdef01234567";
        let other = ImageFacts { revision: Some(revision.into()), ..facts(&BOTH) };
        let wanted = Wanted {
            version: "3.0.0",
            revision: "commit",
            platforms: &BOTH.map(platform),
            strict: true,
            buildable: &|| Ok(Vec::new()),
            auditable: false,
        };
        let ImagePlan::Conflict(error) = image(Some(other), &wanted).unwrap() else { panic!("no conflict") };
        let text = error.to_string();
        assert!(text.contains(&format!("git checkout {revision}")) && text.contains("release 3.0.1"), "{text}");
    }
}
