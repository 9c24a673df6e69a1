//! Where a target keeps things, behind the seams: a registry for images, a store for charts, and a CDN before the store.
//!
//! A folder has charts and index at the top and the image as an OCI layout beside them. A target beyond this machine has a
//! bucket, a distribution and a registry.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use semver::Version;

use crate::cdn::Cdn;
use crate::chart::index::FILE;
use crate::chart::repository::{self, Snapshot};
use crate::config::{self, Target};
use crate::error::Result;
use crate::image::registry::{LayoutFolder, Registry};
use crate::release::history::Listed;
use crate::release::plan::ImageFacts;
use crate::release::version;
use crate::store::Store;
use crate::store::directory::Directory;

/// Everything that a target publishes into.
pub struct Place {
    /// The image's repository.
    pub registry: Box<dyn Registry>,
    /// The chart repository's files.
    pub store: Box<dyn Store>,
    /// The caches before them, where there are any.
    pub cdn: Option<Box<dyn Cdn>>,
    seen: RefCell<Option<Rc<Snapshot>>>,
}

impl Place {
    /// The place of a target. Nothing is asked of it yet.
    ///
    /// # Errors
    /// The machine cannot start what is needed to ask.
    pub fn open(root: &Path, target: &Target) -> Result<Self> {
        match &target.place {
            config::Place::Folder(folder) => {
                let folder = root.join(folder);
                Ok(Place {
                    registry: Box::new(registry(&folder)),
                    store: Box::new(store(&folder)),
                    cdn: None,
                    seen: RefCell::default(),
                })
            }
            config::Place::Remote(remote) => open_remote(remote, target),
        }
    }

    /// The index as a run last saw it: what a run decides at its start rests on one look.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn seen(&self) -> Result<Rc<Snapshot>> {
        let seen = self.seen.borrow().clone();
        seen.map_or_else(|| self.look_again(), Ok)
    }

    /// The index as it is now. It may be large, so one that was not written since is not fetched again.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn look(&self) -> Result<Rc<Snapshot>> {
        let seen = self.seen.borrow().clone();
        match seen.filter(|seen| seen.is_there()) {
            Some(seen) if self.store.version(FILE)?.as_deref() == Some(seen.version()) => Ok(seen),
            _ => self.look_again(),
        }
    }

    fn look_again(&self) -> Result<Rc<Snapshot>> {
        let now = Rc::new(repository::read(&*self.store)?);
        self.seen.replace(Some(Rc::clone(&now)));
        Ok(now)
    }

    /// What the index says of a version. An index that cannot be read is told from one without it.
    pub fn listed(&self, chart: &str, version: &Version) -> Listed {
        let text = version.to_string();
        let read = self.seen().and_then(|snapshot| {
            let index = snapshot.index()?;
            Ok((index.find(chart, &text).is_some(), index.yanked(chart, &text)?))
        });
        match read {
            Err(_) => Listed::Unknown,
            Ok((_, Some(yanked))) => Listed::Yanked(yanked.reason),
            Ok((false, None)) => Listed::Not,
            Ok((true, None)) => self.revision(version).map_or(Listed::Unknown, Listed::From),
        }
    }

    /// The commit that the image of a version was made of, where it says so.
    fn revision(&self, version: &Version) -> Result<Option<String>> {
        let Some(digest) = self.registry.resolve(&version::version_tags(version)[0])? else { return Ok(None) };
        Ok(ImageFacts::of(digest.clone(), &self.registry.platforms(&digest)?).revision)
    }
}

#[cfg(feature = "remote")]
fn open_remote(remote: &config::Remote, target: &Target) -> Result<Place> {
    let aws = Rc::new(crate::aws::Aws::new(remote)?);
    Ok(Place {
        registry: Box::new(crate::image::remote::Remote::new(target)?),
        store: Box::new(crate::store::s3::Bucket::new(Rc::clone(&aws))),
        cdn: Some(Box::new(crate::cdn::cloudfront::Distribution::new(aws))),
        seen: RefCell::default(),
    })
}

#[cfg(not(feature = "remote"))]
fn open_remote(_: &config::Remote, target: &Target) -> Result<Place> {
    use crate::error::{Error, Exit};
    Err(Error::new(Exit::Failure, format!("this build of xtask cannot reach target `{}`", target.name))
        .because("it was compiled without the feature `remote`")
        .remedy("cargo run --package xtask --features remote -- followed by the same words"))
}

/// The image's layout within a published folder.
pub fn image_folder(folder: &Path) -> PathBuf {
    folder.join("image")
}

/// The lock by which writers of a published folder take turns.
pub fn lock_file(folder: &Path) -> PathBuf {
    folder.join(".lock")
}

/// The registry of a published folder.
pub fn registry(folder: &Path) -> LayoutFolder {
    LayoutFolder::new(image_folder(folder), lock_file(folder))
}

/// The chart store of a published folder.
pub fn store(folder: &Path) -> Directory {
    Directory::new(folder.to_owned(), lock_file(folder))
}
