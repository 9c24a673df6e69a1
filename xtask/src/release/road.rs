//! A release with everything it is made of and published to, and what the world holds of it.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::Version;

use crate::chart::manifest::ChartManifest;
use crate::chart::package::{self, ChartFiles, RELEASED_IMAGE};
use crate::config::{self, Target, Workspace};
use crate::error::{Error, Exit, Result};
use crate::image::compile::{self, Toolchains};
use crate::image::layout::{Digest, Platform};
use crate::release::history::{self, Decision, Purpose, Tagged};
use crate::release::place::Place;
use crate::release::plan::{self, ImageFacts, ImagePlan, Judgement, Wanted};
use crate::release::{Order, Release, bump, github, version};
use crate::serve::Outside;
use crate::source::Source;
use crate::tools;
use crate::ui;

/// A release, and everything it is made of and published to.
pub struct Road {
    /// The release.
    pub release: Release,
    pub(super) workspace: Workspace,
    pub(super) source: Source,
    pub(super) chart: ChartManifest,
    files: ChartFiles,
    pub(super) place: Place,
    /// What the version changes in the tree.
    pub(super) edits: BTreeMap<String, Vec<u8>>,
    pub(super) strict: bool,
    /// The git remote that has the commit, once that is known.
    remote: Option<String>,
    /// The builder instance that buildx is told to use.
    pub(super) builder: Option<String>,
    /// The file of waivers that was named.
    pub(super) waivers: Option<PathBuf>,
    toolchains: OnceCell<Toolchains>,
    /// The writing of the index that caches were last told of.
    pub(super) announced: RefCell<Option<String>>,
}

/// What the world holds of a release.
pub(super) struct Found {
    pub(super) image: ImagePlan,
    /// The archive that is there.
    pub(super) archive: Option<Vec<u8>>,
}

impl Road {
    /// Reads the sources and decides what the release is. Changes nothing.
    ///
    /// # Errors
    /// A file of the workspace is malformed, files disagree, or the version can never be released.
    pub fn open(root: &Path, order: &Order) -> Result<Self> {
        let workspace = Workspace::find(root)?;
        let target = workspace.target(&order.target)?;
        let source = Source::read(&workspace.root)?;
        check_ignored(&source, &target)?;
        let tree_files = chart_files(&workspace, &source)?;
        bump::check_agreement(&workspace, &package::manifest(&tree_files)?)?;
        let current = &workspace.package.version;
        let place = Place::open(&workspace.root, &target)?;
        let version = match &order.word {
            word if target.is_remote() && !order.looking => {
                let chart = package::manifest(&tree_files)?.name;
                let listed = |version: &Version| Ok(place.listed(&chart, version));
                match history::decide(word.as_ref(), current, &listed, &source.revision())? {
                    Decision::AsIs | Decision::Unknown(None) => current.clone(),
                    Decision::Bump(version) | Decision::Unknown(Some(version)) => version,
                }
            }
            Some(word) => version::next(current, word),
            None => current.clone(),
        };
        version::check(&version, &workspace.first_version)?;
        let edits = bump::edits(&workspace, &source, &version)?;
        let release = Release { version, revision: source.revision(), time: source.commit_time, target };
        let source = source.with_edits(edits.clone());
        let files = chart_files(&workspace, &source)?;
        Ok(Road {
            chart: package::manifest(&files)?,
            place,
            edits,
            strict: order.strict || release.target.is_remote(),
            builder: order.builder.clone(),
            waivers: order.waivers.clone(),
            remote: None,
            toolchains: OnceCell::new(),
            announced: RefCell::default(),
            release,
            workspace,
            source,
            files,
        })
    }

    /// Makes what is published reachable from outside for as long as the value lives: a folder has to be served.
    ///
    /// # Errors
    /// The folder's port is in use by something else.
    pub fn outside(&self) -> Result<Option<Outside>> {
        let target = &self.release.target;
        self.workspace.directory(target).map(|folder| Outside::reach(&folder, target)).transpose()
    }

    /// In a workflow of GitHub, for a target beyond this machine: makes sure that what was ordered is the tree's version.
    ///
    /// # Errors
    /// The tag, or the tick of GitHub's release, says something else; GitHub cannot be asked.
    pub fn check_order(&self) -> Result<()> {
        if !self.release.target.is_remote() {
            return Ok(());
        }
        github::check(&self.workspace.package.version, &|name| std::env::var(name).ok())
    }

    /// For a target beyond this machine: commits the version where the tree does not say it yet, and makes sure that others can have
    /// the commit before anything of it is public. Elsewhere the tree is left alone.
    ///
    /// # Errors
    /// The index cannot be read; git refuses; the commit is not on the remote.
    pub fn settle(self, order: &Order) -> Result<Road> {
        if !self.release.target.is_remote() {
            return Ok(self);
        }
        self.check_order()?;
        // The decision which version this is rests on it.
        self.place.seen()?.index()?;
        let (root, version) = (&self.workspace.root, &self.release.version);
        let road = if self.edits.is_empty() {
            self
        } else {
            history::preflight(root, version, Purpose::Bump)?;
            let commit = history::commit_bump(root, &self.edits, version)?;
            ui::status("Committed", format_args!("{version} as {}", &commit[..12]));
            Road::open(root, order)?
        };
        let standing = history::publishable(&road.workspace.root, &road.release.version, order.push)?;
        ui::note("Publishing", format_args!("{} of {}/{}", &standing.commit[..12], standing.remote, standing.branch));
        Ok(Road { remote: Some(standing.remote), ..road })
    }

    /// Names the commit of what is published by the tag of its version. True where that was left to do.
    ///
    /// # Errors
    /// The tag names another commit, or the remote refuses it.
    pub fn tag_commit(&self) -> Result<bool> {
        let Some(remote) = &self.remote else { return Ok(false) };
        let Release { version, revision, .. } = &self.release;
        let tagged = history::tag(&self.workspace.root, version, revision, remote)? == Tagged::Now;
        if tagged {
            ui::status("Tagged", format_args!("{} as v{version} on {remote}", &revision[..12]));
        }
        Ok(tagged)
    }

    /// How long the outside may need to show what was just written.
    pub(super) fn patience(&self) -> Duration {
        if self.release.target.is_remote() { 2 * self.release.target.timeout() } else { Duration::ZERO }
    }

    /// Looks at what is published of this version. An archive that is there decides which image is ours: two machines with
    /// two compilers may have met, and the chart that users get names one of their images.
    pub(super) fn look(&self) -> Result<Found> {
        let archive = self.place.store.get(&self.chart.archive_name())?.map(|object| object.bytes);
        if let Some(bytes) = &archive
            && let Some(facts) = self.same_release(bytes)?
        {
            return Ok(Found { image: ImagePlan::Adopt(facts), archive });
        }
        let tag = &version::version_tags(&self.release.version)[0];
        let tagged = self.place.registry.resolve(tag)?;
        let facts = tagged.map(|digest| Ok(ImageFacts::of(digest.clone(), &self.place.registry.platforms(&digest)?)));
        let image = self.with_wanted(|wanted| plan::image(facts.transpose()?, wanted))?;
        Ok(Found { image, archive })
    }

    /// The image that an archive names, where the registry has it.
    pub(super) fn named_image(&self, archive: &[u8]) -> Option<ImageFacts> {
        let manifest = package::manifest(&package::unpack(archive).ok()?).ok()?;
        let digest: Digest = manifest.annotations.get(RELEASED_IMAGE)?.rsplit_once('@')?.1.parse().ok()?;
        let parts = self.place.registry.platforms(&digest).ok()?;
        Some(ImageFacts::of(digest, &parts))
    }

    /// The image that an archive names, where it is of this release and the archive is what we would make for it.
    pub(super) fn same_release(&self, archive: &[u8]) -> Result<Option<ImageFacts>> {
        let Some(facts) = self.named_image(archive) else { return Ok(None) };
        let same = self.judge(&facts)? == Judgement::Ours && self.pack(&facts)?.1 == archive;
        Ok(same.then_some(facts))
    }

    fn judge(&self, facts: &ImageFacts) -> Result<Judgement> {
        self.with_wanted(|wanted| plan::judge(facts, wanted))
    }

    fn with_wanted<T>(&self, decide: impl FnOnce(&Wanted<'_>) -> Result<T>) -> Result<T> {
        let platforms: Vec<Platform> = self.workspace.platforms.keys().cloned().collect();
        decide(&Wanted {
            version: &self.release.version.to_string(),
            revision: &self.release.revision,
            platforms: &platforms,
            strict: self.strict,
            buildable: &|| Ok(self.toolchains()?.found.keys().cloned().collect()),
            auditable: auditable(),
        })
    }

    /// Refuses an image that is not of this release.
    pub(super) fn check_ours(&self, facts: &ImageFacts) -> Result<()> {
        match self.judge(facts)? {
            Judgement::Foreign(why) => Err(Error::new(
                Exit::Conflict,
                format!("{} is not the image of {}", facts.digest, self.release.version),
            )
            .because(why)
            .remedy("cargo xtask release build makes the right one")),
            Judgement::Ours | Judgement::Outdated(_) => Ok(()),
        }
    }

    /// The chart as it is released with an image: its manifest and its archive.
    pub(super) fn pack(&self, image: &ImageFacts) -> Result<(ChartManifest, Vec<u8>)> {
        let Release { target, version, .. } = &self.release;
        let stamp = package::Stamp {
            image: format!("{}:{version}@{}", target.image, image.digest),
            platforms: image.platforms.clone(),
            repository: self.release.target.repository.clone(),
        };
        let (files, manifest) = package::stage(self.files.clone(), &stamp)?;
        Ok((manifest, package::pack(&files, self.release.time)?))
    }

    /// What this machine can build: looked for once, and only where it matters.
    pub(super) fn toolchains(&self) -> Result<&Toolchains> {
        if let Some(known) = self.toolchains.get() {
            return Ok(known);
        }
        let found = compile::toolchains(&self.workspace)?;
        Ok(self.toolchains.get_or_init(|| found))
    }

    /// The platforms that the image lacks.
    pub(super) fn missing_platforms(&self, digest: &Digest) -> Result<Vec<Platform>> {
        let there: Vec<Platform> =
            self.place.registry.platforms(digest)?.into_iter().map(|part| part.platform).collect();
        Ok(self.workspace.platforms.keys().filter(|platform| !there.contains(platform)).cloned().collect())
    }

    /// A folder for what is made on the way.
    pub(super) fn work(&self, name: &str) -> PathBuf {
        self.workspace.root.join("target/xtask").join(name)
    }
}

/// What is published into must not be part of the sources.
fn check_ignored(source: &Source, target: &Target) -> Result<()> {
    let config::Place::Folder(folder) = &target.place else { return Ok(()) };
    if source.ignores(folder)? {
        return Ok(());
    }
    Err(Error::new(Exit::Workspace, format!("what is published would be part of the sources: {}", folder.display()))
        .because("every release would change them, and none would ever be finished")
        .remedy(format!("add a line `/{}/` to .gitignore", folder.display())))
}

fn chart_files(workspace: &Workspace, source: &Source) -> Result<ChartFiles> {
    let items = source.below(&workspace.chart)?;
    if items.is_empty() {
        return Err(Error::new(Exit::Workspace, format!("there is no chart in {}", workspace.chart))
            .because("[workspace.metadata.release] names that folder as `chart`"));
    }
    package::collect(&items)
}

/// Whether binaries built now would carry their dependency list.
pub(super) fn auditable() -> bool {
    tools::on_path("cargo-auditable").is_some()
}
