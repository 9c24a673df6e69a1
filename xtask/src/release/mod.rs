//! The road a release travels: bump, compile, build, scan, push, package, publish, invalidate, promote, verify.
//!
//! There is no state file. Every step asks the world first and does only what is missing, so the same words finish what a killed run
//! began, and a finished release is a no-op. Pointers that users follow (the index, then the floating tags) move last.

use std::path::{Path, PathBuf};

use semver::Version;
use serde::Serialize;

use crate::chart::repository;
use crate::config::{Target, Workspace};
use crate::disk::Lock;
use crate::error::Result;
use crate::image::layout::{Digest, Platform};
use crate::ui;

pub mod build;
pub mod bump;
pub mod github;
pub mod history;
pub mod place;
pub mod plan;
pub mod preview;
pub mod promote;
pub mod publish;
pub mod road;
pub mod verify;
pub mod version;

use place::Place;
use plan::ImagePlan;
use publish::Published;
use road::Road;
use verify::Proof;
use version::Word;

/// What a run is asked for.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The version, relative to the tree's; the tree's own where nothing is said.
    pub word: Option<Word>,
    /// The target's name.
    pub target: String,
    /// Treat what is published as production does: it never changes.
    pub strict: bool,
    /// The version is only looked at: nothing is made under it.
    pub looking: bool,
    /// Put a first, empty index where there is none.
    pub init: bool,
    /// Push the commit of the release where the remote lacks it.
    pub push: bool,
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
    if order.init {
        let workspace = Workspace::find(root)?;
        repository::put_first(&*Place::open(root, &workspace.target(&order.target)?)?.store)?;
    }
    let road = Road::open(root, order)?.settle(order)?;
    let target = &road.release.target;
    let _outside = road.outside()?;
    ui::status("Releasing", format_args!("{} {} to `{}`", road.chart.name, road.release.version, target.name));
    road.refuse_yanked()?;
    let (digest, built) = ui::step("the image", || image(&road))?;
    let (digest, published) = ui::step("the chart", || chart(&road, digest))?;
    let patience = ui::step("the caches", || road.refresh())?;
    let version = &road.release.version;
    ui::step("the public index", || road.wait_until_listed(&[version.clone()].into(), patience))?;
    let promoted = road.promote()?;
    let proof = ui::step("the proof from outside", || road.verify(version, patience))?;
    let tagged = road.tag_commit()?;
    let changed = built || published || promoted || tagged;
    let missing = road.missing_platforms(&digest)?;
    summarise(&road, &proof, changed, &missing);
    Ok(Report {
        version: version.to_string(),
        revision: road.release.revision.clone(),
        target: target.name.clone(),
        digest,
        changed,
        missing_platforms: missing.iter().map(Platform::to_string).collect(),
        proof,
    })
}

/// The image of this release: the one that is there, or a new one. True where it is new.
fn image(road: &Road) -> Result<(Digest, bool)> {
    match road.look()?.image {
        ImagePlan::Conflict(error) => Err(error),
        ImagePlan::Adopt(facts) => {
            ui::note("Adopted", format_args!("image {} ({})", facts.digest, plan::list(&facts.platforms)));
            road.scan_adopted(&facts.digest)?;
            Ok((facts.digest, false))
        }
        ImagePlan::Build => {
            let built = road.make_image()?;
            // Building takes minutes: the same release, made with another compiler, may have been faster.
            match road.look()?.image {
                ImagePlan::Adopt(facts) if facts.digest != built => {
                    met(road, &facts.digest)?;
                    Ok((facts.digest, true))
                }
                ImagePlan::Conflict(error) => Err(error),
                _ => Ok((built, true)),
            }
        }
        ImagePlan::Replace(why) => {
            ui::note("Replacing", format_args!("{} was rehearsed before: {why}", road.release.version));
            Ok((road.make_image()?, true))
        }
    }
}

/// Tags the image and publishes the chart that names it. True where anything changed; the image is another one where the same
/// release, made with another compiler, was faster.
fn chart(road: &Road, mut digest: Digest) -> Result<(Digest, bool)> {
    let mut changed = false;
    loop {
        changed |= road.tag(&digest)?;
        match road.publish(&digest)? {
            Published::Ours(listed) => {
                // A slower run of the same release may have moved the tags meanwhile: whoever comes last puts them right.
                changed |= listed | road.tag(&digest)?;
                return Ok((digest, changed));
            }
            Published::Met(other) => {
                met(road, &other)?;
                digest = other;
            }
        }
    }
}

/// Goes on with the image of another compiler, which is somebody else's and may not have been scanned.
fn met(road: &Road, digest: &Digest) -> Result<()> {
    ui::note("Met", format_args!("the same release of another compiler: image {digest} is the published one"));
    road.scan_adopted(digest)
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
    let Release { version, target, .. } = &road.release;
    ui::summary(&summary_page(road, proof, changed));
    if changed {
        let try_it = match target.is_remote() {
            true => format!("helm repo add {} {}", road.chart.name, target.repository),
            false => "cargo xtask serve".into(),
        };
        ui::status("Released", format_args!("{} {version}; try it: {try_it}", road.chart.name));
    } else {
        ui::note("Unchanged", format_args!("{} {version} was released before; no byte was changed", road.chart.name));
    }
}

/// What a maintainer wants to see on the page of a CI job.
fn summary_page(road: &Road, proof: &Proof, changed: bool) -> String {
    let Release { version, revision, target, .. } = &road.release;
    let rows = [
        ("outcome", if changed { "released".into() } else { "was released before, nothing changed".into() }),
        ("target", format!("`{}`", target.name)),
        ("commit", format!("`{revision}`")),
    ];
    verify::page(&format!("{} {version}", road.chart.name), &rows, proof)
}
