//! A release: what it is made of, and where it goes. Decided once, when it is opened, from the tree, the options and the index.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chart_text::changes::{self, Changes};
use semver::Version;

use crate::chart::archive::{self, ChartFiles};
use crate::chart::manifest::ChartManifest;
use crate::config::{self, Package, Product, Target, Workspace};
use crate::error::{Error, Exit, Result};
use crate::git::{Publishable, Purpose, Repository, Tag, Tagged, Worktree};
use crate::image::buildx::Buildx;
use crate::image::compile::{self, Toolchains};
use crate::image::labels::ImageFacts;
use crate::image::scan::Scanner;
use crate::local::turn::Turn;
use crate::oci::Platform;
use crate::release::decision::{self, Decision};
use crate::release::destination::Destination;
use crate::release::plan::{self, Compilers, Trust, Wanted};
use crate::release::{Options, Release, bump, github, version};
use crate::sys::threads::side_by_side;
use crate::sys::tools;
use crate::ui;

/// A release, and everything it is made of and published to.
pub struct Pipeline {
    /// The release.
    pub release: Release,
    /// Where it goes.
    pub destination: Destination,
    pub(super) options: Options,
    pub(super) product: Product,
    pub(super) worktree: Worktree,
    repository: Repository,
    pub(super) chart: ChartManifest,
    files: ChartFiles,
    /// What changed in the version, as Markdown.
    pub(super) changes: Option<String>,
    /// The version that the tree says.
    tree: Version,
    /// What the version changes in the tree.
    edits: BTreeMap<String, Vec<u8>>,
    /// Where the commit stands, once it is known to be where others can have it.
    pub(super) standing: Option<Publishable>,
    toolchains: OnceCell<Toolchains>,
    pub(super) scanner: OnceCell<Scanner>,
    pub(super) buildx: OnceCell<Buildx>,
}

impl Pipeline {
    /// Reads the sources and decides what the release is. Changes nothing.
    ///
    /// # Errors
    /// A file of the workspace is malformed, files disagree, or the version can never be released.
    pub fn open(root: &Path, options: &Options) -> Result<Self> {
        let product = Workspace::find(root)?.product(options.product.as_deref())?.clone();
        let target = product.target(&options.target)?;
        let repository = Repository::at(&product.root)?;
        let worktree = Worktree::read(&repository)?;
        check_ignored(&worktree, &target)?;
        let chart = manifest(&product, &chart_files(&product, &worktree)?)?;
        bump::check_agreement(&product, &chart)?;
        let connector =
            options.connector.map(|connector| if options.public { connector.as_everybody() } else { connector });
        let destination = Destination::open(&product, target, chart.name.clone(), connector.as_ref())?;
        let current = &bump::version_in(&product, &chart)?;
        let version = match &options.bump {
            bump if destination.target.is_remote() => {
                let listed = |version: &Version| Ok(destination.listed(version));
                match decision::decide(bump.as_ref(), current, &listed, &worktree.revision())? {
                    Decision::AsIs | Decision::Unknown(None) => current.clone(),
                    Decision::Bump(version) | Decision::Unknown(Some(version)) => version,
                }
            }
            Some(bump) => version::next(current, bump),
            None => current.clone(),
        };
        version::check(&version, &product.first_version)?;
        let tree = current.clone();
        let edits = bump::edits(&product, &worktree, &tree, &version)?;
        let tag = Tag::of(product.name.as_deref(), &version);
        let release = Release { version, tag, revision: worktree.revision(), time: worktree.commit_time };
        let worktree = worktree.with_edits(edits.clone());
        let files = chart_files(&product, &worktree)?;
        let changelog = worktree.text(&product.changelog())?.unwrap_or_default();
        Ok(Pipeline {
            chart: manifest(&product, &files)?,
            changes: changes::section(&changelog, &release.version.to_string()),
            destination,
            tree,
            edits,
            options: options.clone(),
            standing: None,
            toolchains: OnceCell::new(),
            scanner: OnceCell::new(),
            buildx: OnceCell::new(),
            release,
            product,
            worktree,
            repository,
            files,
        })
    }

    /// In a workflow of GitHub, for a target beyond this machine: makes sure that what was ordered is the tree's version.
    ///
    /// # Errors
    /// The tag, or the tick of GitHub's release, says something else; GitHub cannot be asked.
    pub fn check_order(&self) -> Result<()> {
        if !self.target().is_remote() {
            return Ok(());
        }
        let tag = Tag::of(self.product.name.as_deref(), &self.tree);
        github::check(&tag, &self.destination.user, &|name| std::env::var(name).ok())
    }

    /// Makes sure, before the version is committed and pushed, that what nobody here can sign is not begun here.
    ///
    /// # Errors
    /// Nothing on this machine can sign for the target.
    pub(super) fn check_bump_can_be_signed(&self) -> Result<()> {
        if self.edits.is_empty() || !self.is_signed() { Ok(()) } else { self.destination.who_signs().map(drop) }
    }

    /// For a target beyond this machine: commits the version where the tree does not say it yet, and makes sure that others can have
    /// the commit before anything of it is public. Elsewhere the tree is left alone.
    ///
    /// # Errors
    /// The index cannot be read; git refuses; the commit is not on the remote.
    pub fn bump(self) -> Result<Self> {
        if !self.target().is_remote() {
            return Ok(self);
        }
        self.check_order()?;
        // The decision which version this is rests on it.
        if self.destination.has_chart {
            self.destination.seen()?.index()?;
        } else {
            self.destination.registry.tags()?;
        }
        let pipeline = if self.edits.is_empty() {
            self
        } else {
            let tag = &self.release.tag;
            self.repository.preflight(tag, Purpose::Bump)?;
            let commit = self.repository.commit_bump(&self.edits, tag)?;
            ui::status("Committed", format_args!("{} as {}", tag.title(), &commit[..12]));
            Pipeline::open(&self.product.root, &self.options)?
        };
        let standing = pipeline.repository.publishable(&pipeline.release.tag, pipeline.options.push)?;
        ui::note("Publishing", format_args!("{} of {}/{}", &standing.commit[..12], standing.remote, standing.branch));
        Ok(Pipeline { standing: Some(standing), ..pipeline })
    }

    /// Goes on with a copy of the sources where other products' runs may work in the tree meanwhile.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn leave_tree(mut self, turn: &mut Turn) -> Result<Self> {
        if self.product.name.is_some() {
            let copy = self.stage()?;
            self.worktree = self.worktree.at(copy);
            turn.leave_tree();
        }
        Ok(self)
    }

    /// Where the checked-out commit stands; nothing for a folder, which anything may be released to. Changes nothing.
    ///
    /// # Errors
    /// Everything that is in the way, at once.
    pub(super) fn standing(&self) -> Result<Option<Publishable>> {
        if !self.target().is_remote() || self.standing.is_some() {
            return Ok(self.standing.clone());
        }
        self.check_order()?;
        let purpose = if self.edits.is_empty() { Purpose::Publish } else { Purpose::Bump };
        self.repository.preflight(&self.release.tag, purpose).map(Some)
    }

    /// Names the commit of what is published by the tag of its version. True where that was left to do.
    ///
    /// # Errors
    /// The tag names another commit, or the remote refuses it.
    pub(super) fn tag_commit(&self) -> Result<bool> {
        let Some(Publishable { remote, .. }) = &self.standing else { return Ok(false) };
        let Release { tag, revision, .. } = &self.release;
        // The tag that ordered the run is not ours to make.
        let tagged = !github::is_ordered_by_tag(&|name| std::env::var(name).ok(), tag)
            && self.repository.tag(tag, revision, remote)? == Tagged::Now;
        if tagged {
            ui::status("Tagged", format_args!("{} as {} on {remote}", &revision[..12], tag.name()));
        }
        Ok(tagged)
    }

    /// Whether a published version may never be made again.
    pub(super) fn is_strict(&self) -> bool {
        self.options.strict || self.target().is_remote()
    }

    /// Where the release goes.
    pub(super) fn target(&self) -> &Target {
        &self.destination.target
    }

    /// Asks a question of the plan, with all that it may want to know of this machine and of the release.
    pub(super) fn with_wanted<T>(&self, decide: impl FnOnce(&Wanted<'_>) -> T) -> T {
        let platforms: Vec<Platform> = self.product.platforms.keys().cloned().collect();
        let Release { version, tag, revision, .. } = &self.release;
        decide(&Wanted {
            version,
            tag,
            tree: &self.tree,
            first: &self.product.first_version,
            revision,
            has_chart: self.product.chart.is_some(),
            has_image: self.product.package.is_some(),
            platforms: &platforms,
            archive: &self.chart.archive_name(),
            repository: &self.target().repository,
            strict: self.is_strict(),
            page: self.target().page,
            signed: self.is_signed(),
            remote: self.target().is_remote(),
            push: self.options.push,
            ordered_by_tag: github::is_ordered_by_tag(&|name| std::env::var(name).ok(), tag),
            auditable: auditable(),
            compilers: &|| self.compilers(),
            scanner: &|auditable| Ok(self.scanner(auditable)?.map(|scanner| scanner.label)),
            signer: &|| self.destination.who_signs(),
            pack: &|facts| Ok(self.pack(facts)?.1),
        })
    }

    fn compilers(&self) -> Result<Compilers> {
        // Trivy takes as long as the compilers to say which it is, and the plan asks for it next.
        let (toolchains, scanner) = side_by_side(|| self.usable_toolchains(), Scanner::find);
        scanner.into_iter().for_each(|scanner| drop(self.scanner.set(scanner)));
        let toolchains = toolchains?;
        let found = toolchains.found.iter();
        let found: Vec<String> =
            found.map(|(platform, toolchain)| format!("{platform} with {}", toolchain.version)).collect();
        let missing = toolchains.missing.iter();
        let missing: String =
            missing.map(|(platform, missing)| format!("; {platform} is left out: {}", missing.why)).collect();
        let detail = format!("{}{missing}", found.join(", "));
        Ok(Compilers { platforms: toolchains.found.keys().cloned().collect(), detail })
    }

    /// Refuses an image that is not of this release.
    pub(super) fn check_ours(&self, facts: &ImageFacts) -> Result<()> {
        match self.with_wanted(|wanted| plan::trusted(facts, wanted)) {
            Trust::Foreign(why) => Err(Error::new(
                Exit::Conflict,
                format!("{} is not the image of {}", facts.digest, self.release.version),
            )
            .because(why)
            .remedy("cargo xtask release build makes the right one")),
            Trust::Ours | Trust::Outdated(_) => Ok(()),
        }
    }

    /// Where its sources are, as the crate or else the chart says.
    pub(super) fn home(&self) -> String {
        let said = self.product.package.as_ref().map(|package| &package.about.repository);
        said.or(self.chart.sources.first()).cloned().unwrap_or_default()
    }

    /// The chart as it is released, with its image where it has one: its manifest and its archive.
    pub(super) fn pack(&self, image: Option<&ImageFacts>) -> Result<(ChartManifest, Vec<u8>)> {
        let target = self.target();
        let of = match image {
            Some(image) => archive::Origin::Image {
                reference: format!("{}:{}@{}", target.image, self.release.version, image.digest),
                platforms: image.platforms.clone(),
            },
            None => archive::Origin::Revision(self.release.revision.clone()),
        };
        let changes = self.changes.as_deref().map(Changes::parse);
        let stamp = archive::Stamp { of, repository: target.repository.clone(), changes };
        let (files, manifest) = archive::stage(self.files.clone(), &stamp)?;
        Ok((manifest, archive::pack(&files, self.release.time)?))
    }

    /// What this machine can build, where that is enough for the target.
    pub(super) fn usable_toolchains(&self) -> Result<&Toolchains> {
        let toolchains = self.toolchains()?;
        toolchains.require_any()?;
        if self.is_strict() {
            toolchains.require_all()?;
        }
        self.buildx()?;
        Ok(toolchains)
    }

    /// What this machine can build: looked for once, and only where it matters.
    pub(super) fn toolchains(&self) -> Result<&Toolchains> {
        if let Some(known) = self.toolchains.get() {
            return Ok(known);
        }
        let found = compile::toolchains(&self.product)?;
        Ok(self.toolchains.get_or_init(|| found))
    }

    /// The platforms that an image lacks.
    pub(super) fn missing_platforms(&self, there: &[Platform]) -> Vec<Platform> {
        self.product.platforms.keys().filter(|platform| !there.contains(platform)).cloned().collect()
    }

    /// A folder for what is made on the way.
    pub(super) fn work(&self, name: &str) -> PathBuf {
        self.product.work(name)
    }
}

/// What is published into must not be part of the sources.
fn check_ignored(worktree: &Worktree, target: &Target) -> Result<()> {
    let config::Location::Folder(folder) = &target.location else { return Ok(()) };
    if worktree.ignores(folder)? {
        return Ok(());
    }
    Err(Error::new(Exit::Workspace, format!("what is published would be part of the sources: {}", folder.display()))
        .because("every release would change them, and none would ever be finished")
        .remedy(format!("add a line `/{}/` to .gitignore", folder.display())))
}

/// The chart's description; where there is no chart, its name and version are the crate's.
fn manifest(product: &Product, files: &ChartFiles) -> Result<ChartManifest> {
    if product.chart.is_some() {
        return archive::manifest(files);
    }
    let Package { name, version, .. } = product.package()?;
    Ok(ChartManifest { name: name.clone(), version: version.to_string(), ..ChartManifest::default() })
}

fn chart_files(product: &Product, worktree: &Worktree) -> Result<ChartFiles> {
    let Some(chart) = &product.chart else { return Ok(ChartFiles::new()) };
    let items = worktree.below(chart)?;
    if items.is_empty() {
        return Err(Error::new(Exit::Workspace, format!("there is no chart in {chart}"))
            .because("[workspace.metadata.release] names that folder as `chart`"));
    }
    archive::collect(&items)
}

/// Whether binaries built now would carry their dependency list.
pub(super) fn auditable() -> bool {
    tools::on_path("cargo-auditable").is_some()
}
