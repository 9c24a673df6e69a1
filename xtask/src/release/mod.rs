//! The road a release travels, for a folder target: bump, compile, build, scan, push, package, publish, promote, verify.
//!
//! There is no state file. Every step asks the world first and does only what is missing, so the same words finish what a killed run
//! began, and a finished release is a no-op. Pointers that users follow (the index, then the floating tags) move last.

use std::path::{Path, PathBuf};

use semver::Version;
use serde::Serialize;

use crate::config::Target;
use crate::disk::Lock;
use crate::error::Result;
use crate::image::layout::{Digest, Platform};
use crate::serve::Outside;
use crate::ui;

pub mod build;
pub mod bump;
pub mod place;
pub mod plan;
pub mod preview;
pub mod promote;
pub mod publish;
pub mod road;
pub mod verify;
pub mod version;

use plan::ImagePlan;
use road::Road;
use verify::Proof;
use version::Word;

/// What a run is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// The version, relative to the tree's; the tree's own where nothing is said.
    pub word: Option<Word>,
    /// The target's name.
    pub target: String,
    /// Treat what is published as production does: it never changes.
    pub strict: bool,
    /// The builder instance that buildx is told to use; its own choice where nothing is said.
    pub builder: Option<String>,
    /// The file of waivers; the one in the workspace root where nothing is said.
    pub waivers: Option<PathBuf>,
}

/// What travels the road: computed once, never changed.
#[derive(Clone, Debug)]
pub struct Release {
    /// The version.
    pub version: Version,
    /// The source state: a commit, or a commit and the tree made of it.
    pub revision: String,
    /// The commit's time, in seconds since 1970.
    pub time: i64,
    /// Where it is published.
    pub target: Target,
}

/// What a run did, for people and for `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version.
    pub version: String,
    /// The source state.
    pub revision: String,
    /// The target's name.
    pub target: String,
    /// The image's digest.
    pub digest: Digest,
    /// Whether anything was changed; false where all was done before.
    pub changed: bool,
    /// Platforms that this machine cannot build.
    pub missing_platforms: Vec<String>,
    /// What an anonymous user gets.
    pub proof: Proof,
}

/// Runs the whole road for the workspace in `root`.
///
/// # Errors
/// Any step refuses or fails; the same words go on from there.
pub fn run(root: &Path, order: &Order) -> Result<Report> {
    let _turn = take_turn(root)?;
    let road = Road::open(root, order)?;
    let target = &road.release.target;
    let _outside = Outside::reach(&road.folder(), target)?;
    ui::status("Releasing", format_args!("{} {} to `{}`", road.chart.name, road.release.version, target.name));
    road.refuse_yanked()?;
    let found = road.look()?;
    let (digest, mut changed) = match found.image {
        ImagePlan::Conflict(error) => return Err(error),
        ImagePlan::Adopt(facts) => {
            ui::note("Adopted", format_args!("image {} ({})", facts.digest, plan::list(&facts.platforms)));
            road.scan_adopted(&facts.digest)?;
            (facts.digest, false)
        }
        ImagePlan::Build => (road.make_image()?, true),
        ImagePlan::Replace(why) => {
            ui::note("Replacing", format_args!("{} was rehearsed before: {why}", road.release.version));
            (road.make_image()?, true)
        }
    };
    changed |= road.tag(&digest)?;
    changed |= road.publish(&digest)?;
    changed |= road.promote()?;
    let proof = road.verify()?;
    let missing = road.missing_platforms(&digest)?;
    summarise(&road, &proof, changed, &missing);
    Ok(Report {
        version: road.release.version.to_string(),
        revision: road.release.revision.clone(),
        target: target.name.clone(),
        digest,
        changed,
        missing_platforms: missing.iter().map(Platform::to_string).collect(),
        proof,
    })
}

/// One run at a time in one folder: the staging copy and the build are shared.
///
/// # Errors
/// The lock file cannot be made.
pub fn take_turn(root: &Path) -> Result<Lock> {
    let path = root.join("target/xtask/run.lock");
    match Lock::attempt(&path)? {
        Some(lock) => Ok(lock),
        None => {
            ui::note("Waiting", "for another run in this folder to end");
            Lock::wait(&path)
        }
    }
}

fn summarise(road: &Road, proof: &Proof, changed: bool, missing: &[Platform]) {
    ui::status("Verified", verify::shown(proof));
    if !missing.is_empty() {
        ui::warn(format_args!(
            "the image lacks {}: this machine cannot build it (see above, or cargo xtask doctor)",
            plan::list(missing)
        ));
    }
    let version = &road.release.version;
    if changed {
        ui::status("Released", format_args!("{} {version}; try it: cargo xtask serve", road.chart.name));
    } else {
        ui::note("Unchanged", format_args!("{} {version} was released before; no byte was changed", road.chart.name));
    }
}
