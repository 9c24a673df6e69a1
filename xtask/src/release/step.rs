//! The steps of a release, in the order in which they happen, and how each of them stands.

use std::fmt;

use serde::Serialize;

use crate::error::Error;

/// A step of a release. Those that only targets beyond this machine have are left out elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The tree gets the version, and others can have its commit.
    Bump,
    /// A static binary for each platform.
    Compile,
    /// An image of them, as an OCI layout on disk.
    Build,
    /// The scanner's verdict on each platform of the image.
    Scan,
    /// The image in the registry, found by its digest alone.
    Push,
    /// What is signed of image and chart, beside them in the registry.
    Sign,
    /// The version's tags.
    Tag,
    /// The chart's archive, which names the image.
    Package,
    /// The archive's entry in the index.
    Publish,
    /// What people read of the index, at the repository's address.
    Page,
    /// The caches before the repository drop what they have of it.
    Invalidate,
    /// The floating tags follow the index.
    Promote,
    /// Everything is fetched as an anonymous user would.
    Verify,
    /// The git tag of the version names its commit.
    GitTag,
}

impl Step {
    /// The name that plans, groups of a job's log, and messages use.
    pub fn name(self) -> &'static str {
        match self {
            Step::Bump => "bump",
            Step::Compile => "compile",
            Step::Build => "build",
            Step::Scan => "scan",
            Step::Push => "push",
            Step::Sign => "sign",
            Step::Tag => "tag",
            Step::Package => "package",
            Step::Publish => "publish",
            Step::Page => "page",
            Step::Invalidate => "invalidate",
            Step::Promote => "promote",
            Step::Verify => "verify",
            Step::GitTag => "git-tag",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

/// How a step stands.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "state", content = "detail", rename_all = "kebab-case")]
pub enum State {
    /// Nothing is left to do.
    Done(String),
    /// It will be done.
    ToDo(String),
    /// It must not or cannot be done, and why.
    Conflict(Error),
    /// What it depends on could not be seen, and why.
    Unknown(Error),
}

/// One line of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Planned {
    /// The step.
    pub step: Step,
    /// How it stands.
    #[serde(flatten)]
    pub state: State,
}
