//! Where a target keeps things, behind the seams: a registry for images, a store for charts, and a CDN before the store.
//!
//! A folder has charts and index at the top and the image as an OCI layout beside them. A target beyond this machine has a
//! bucket, a distribution and a registry. Whoever only looks at what is published, or moves what users follow, needs no more than this,
//! and no tree that is in order.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use semver::Version;

use crate::chart::archive::RELEASED_REVISION;
use crate::chart::cdn::Cdn;
use crate::chart::index::{FILE, Index};
use crate::chart::manifest;
use crate::chart::page::Shown;
use crate::chart::repository::{self, Change, Snapshot};
use crate::chart::store::Store;
use crate::config::{self, Product, Target};
use crate::connector::{Connector, Seams};
use crate::error::{Error, Exit, Result};
use crate::image::labels::ImageFacts;
use crate::local;
use crate::local::server::LocalServer;
use crate::oci::Digest;
use crate::oci::registry::Registry;
use crate::release::attestations::OF_IMAGE;
use crate::release::decision::Listed;
use crate::release::{promote, version};
use crate::sys::http::Anonymous;
use crate::trust::cosign::Cosign;

/// Everything that a target publishes into, for one chart.
pub struct Destination {
    /// The target.
    pub target: Target,
    /// The chart's name; the crate's, where there is no chart.
    pub chart: String,
    /// Whether there is a chart; what is published is then what the index lists, and otherwise what the image's tags say.
    pub has_chart: bool,
    /// Whether the chart installs an image that is released with it.
    pub has_image: bool,
    /// The first version that floating tags may lead to.
    pub first: Version,
    /// The image's repository.
    pub registry: Box<dyn Registry>,
    /// The chart's repository in the same registry.
    pub charts: Box<dyn Registry>,
    /// The chart repository's files.
    pub store: Box<dyn Store>,
    /// The caches before them, where there are any.
    pub cdn: Option<Box<dyn Cdn>>,
    /// An anonymous user of it.
    pub user: Anonymous,
    root: PathBuf,
    /// The chart's folder, relative to the root.
    pub(super) folder: String,
    /// The charts of all products, where there are several.
    pub(super) all_charts: Vec<String>,
    /// The product's changelog, relative to the root.
    pub(super) changelog: String,
    pub(super) cosign: OnceCell<Cosign>,
    seen: RefCell<Option<Rc<Snapshot>>>,
    /// The writing of the index that users are known to see, or to see soon.
    pub(super) announced: RefCell<Option<String>>,
    /// The page as this run wrote it: caches may keep old copies.
    pub(super) page: RefCell<Shown>,
}

impl Destination {
    /// The target of that name, for the product's chart, whatever else is wrong with the tree. Nothing is asked of it yet.
    ///
    /// # Errors
    /// There is no such target, or no chart; the machine cannot start what is needed to ask.
    pub fn named(product: &Product, target: &str, connector: Option<&Connector>) -> Result<Self> {
        let (target, chart) = (product.target(target)?, product.chart.as_ref());
        let name = match chart {
            Some(chart) => manifest::name_in(&product.root.join(chart))?,
            None => product.package()?.name.clone(),
        };
        Self::open(product, target, name, connector)
    }

    /// A target, for the chart of that name.
    ///
    /// # Errors
    /// The machine cannot start what is needed to ask; one of several products does not have its chart's name.
    pub fn open(product: &Product, target: Target, chart: String, connector: Option<&Connector>) -> Result<Self> {
        check_name(product, &chart)?;
        let Seams { registry, charts, store, cdn, user } = match (&target.location, connector) {
            (config::Location::Folder(folder), _) => {
                let folder = product.root.join(folder);
                let (own, user) = (local::of_product(&folder, &target), Anonymous::new(target.timeout()));
                Seams {
                    registry: Box::new(local::registry(&own)),
                    charts: Box::new(local::chart_registry(&own)),
                    store: Box::new(local::store(&folder)),
                    cdn: None,
                    user,
                }
            }
            (config::Location::Remote(remote), Some(connector)) => (connector.open)(&target, remote, &chart)?,
            (config::Location::Remote(_), None) => return Err(out_of_reach(&target)),
        };
        Ok(Destination {
            target,
            chart,
            has_chart: product.chart.is_some(),
            has_image: product.package.is_some(),
            first: product.first_version.clone(),
            registry,
            charts,
            store,
            cdn,
            user,
            root: product.root.clone(),
            folder: product.chart.clone().unwrap_or_default(),
            all_charts: product.all_charts.to_vec(),
            changelog: product.changelog(),
            cosign: OnceCell::new(),
            seen: RefCell::default(),
            announced: RefCell::default(),
            page: RefCell::default(),
        })
    }

    /// Makes what is published reachable from outside for as long as the value lives: a folder has to be served.
    ///
    /// # Errors
    /// The folder's port is in use by something else.
    pub fn serve(&self) -> Result<Option<LocalServer>> {
        let config::Location::Folder(folder) = &self.target.location else { return Ok(None) };
        LocalServer::reach(&self.root.join(folder), std::slice::from_ref(&self.target)).map(Some)
    }

    /// A version as people read it: after the product's name, where that is one of several.
    pub fn called(&self, version: &str) -> String {
        version::called(self.target.product.as_deref(), version)
    }

    /// Where users find what is published: the chart repository, or the image where that is all.
    pub fn place(&self) -> &str {
        if self.has_chart { &self.target.repository } else { &self.target.image }
    }

    /// The folder of the workspace.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// How long the outside may need to show what was just written.
    pub(super) fn patience(&self) -> Duration {
        if self.target.is_remote() { 2 * self.target.timeout() } else { Duration::ZERO }
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

    /// Reads in an index that was fetched from outside. It may be large: the one that this run knows is not parsed again.
    ///
    /// # Errors
    /// It is malformed.
    pub(super) fn read_fetched<T>(&self, bytes: &[u8], read: impl FnOnce(&Index) -> T) -> Result<T> {
        match self.seen.borrow().as_ref().filter(|seen| seen.is_of(bytes)) {
            Some(seen) => seen.index().map(read),
            None => Index::from_bytes(bytes).map(|index| read(&index)),
        }
    }

    /// Keeps what this run wrote itself, so that it need not be fetched.
    pub(super) fn remember(&self, change: Change) {
        if let Some(now) = change.now {
            self.seen.replace(Some(Rc::new(now)));
        }
    }

    /// What the index says of a version. An index that cannot be read is told from one without it.
    pub fn listed(&self, version: &Version) -> Listed {
        if !self.has_chart {
            return match self.tagged(version) {
                Err(_) => Listed::Unknown,
                Ok(None) => Listed::Not,
                Ok(Some(facts)) => Listed::From(facts.revision),
            };
        }
        let text = version.to_string();
        let read = self.seen().and_then(|snapshot| {
            let index = snapshot.index()?;
            Ok((index.find(&self.chart, &text).is_some(), index.yanked(&self.chart, &text)?))
        });
        match read {
            Err(_) => Listed::Unknown,
            Ok((_, Some(yanked))) => Listed::Yanked(yanked.reason),
            Ok((false, None)) => Listed::Not,
            Ok((true, None)) if !self.has_image => Listed::From(self.listed_revision(&text)),
            Ok((true, None)) => self
                .tagged(version)
                .map_or(Listed::Unknown, |facts| Listed::From(facts.and_then(|facts| facts.revision))),
        }
    }

    /// The versions that the image's tags say are there, and what those that lead lead to. Anybody who may push can make a tag: where versions
    /// are signed, one that accepted signers do not vouch for leads nothing.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub(super) fn tagged_versions(&self) -> Result<promote::Listed> {
        let names = self.registry.tags()?;
        let named = names.iter().filter_map(|name| Version::parse(name.strip_prefix('v')?).ok());
        let mut versions: Vec<Version> = named.filter(|version| version::check(version, &self.first).is_ok()).collect();
        loop {
            let leaders: BTreeSet<Version> = version::floating_tags(&versions, &self.first).into_values().collect();
            let known = leaders.iter().map(|leader| Ok((leader.clone(), self.vouched(leader)?)));
            let known = known.collect::<Result<BTreeMap<_, _>>>()?;
            if known.values().all(Option::is_some) {
                let images = known.into_iter().filter_map(|(leader, digest)| Some((leader, digest?))).collect();
                return Ok(promote::Listed { versions, images });
            }
            versions.retain(|version| !matches!(known.get(version), Some(None)));
        }
    }

    /// The image that a version's tag leads to, where it counts.
    fn vouched(&self, version: &Version) -> Result<Option<Digest>> {
        let Some(facts) = self.tagged(version)? else { return Ok(None) };
        if self.target.signs(version) {
            let findings = self.findings(&*self.registry, &facts.digest, version, &OF_IMAGE)?;
            let revision = facts.revision.unwrap_or_default();
            return Ok(findings.origin(&version.to_string(), &revision).is_ok().then_some(facts.digest));
        }
        Ok(Some(facts.digest))
    }

    /// The source state that the entry of a chart without an image names.
    fn listed_revision(&self, version: &str) -> Option<String> {
        let snapshot = self.seen().ok()?;
        let entry = snapshot.index().ok()?.find(&self.chart, version)?;
        let fields: serde_json::Value = serde_json::from_str(entry.json()).ok()?;
        fields["annotations"][RELEASED_REVISION].as_str().map(str::to_owned)
    }

    /// The image that a version's tag points at.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub fn tagged(&self, version: &Version) -> Result<Option<ImageFacts>> {
        let Some(digest) = self.registry.resolve(&version::version_tags(version)[0])? else { return Ok(None) };
        self.facts(&digest).map(Some)
    }

    /// What a pushed image says of itself.
    ///
    /// # Errors
    /// The registry cannot be read, or does not have it.
    pub fn facts(&self, digest: &Digest) -> Result<ImageFacts> {
        Ok(ImageFacts::of(digest.clone(), &self.registry.platforms(digest)?))
    }
}

/// One name leads to a product's git tags, its chart and its image.
fn check_name(product: &Product, chart: &str) -> Result<()> {
    let named = product.name.as_deref().filter(|name| *name != chart);
    match named.zip(product.chart.as_ref()) {
        None => Ok(()),
        Some((name, folder)) => {
            Err(Error::new(Exit::Workspace, format!("the product `{name}` has a chart called `{chart}`"))
                .because(format!("{folder}/Chart.yaml says so, and one name leads to git tags, chart and image"))
                .remedy(format!("[workspace.metadata.release.products.{chart}], or another name in Chart.yaml")))
        }
    }
}

fn out_of_reach(target: &Target) -> Error {
    Error::new(
        Exit::Failure,
        format!("target `{}` is beyond this machine, where this program reaches nothing", target.name),
    )
    .remedy("cargo run --package xtask-remote -- followed by the same arguments")
}
