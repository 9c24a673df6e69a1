//! The road a release travels, for a folder target: bump, compile, build, scan, push, package, publish, promote, verify.
//!
//! There is no state file. Every step asks the world first and does only what is missing, so the same words finish what a killed run
//! began, and a finished release is a no-op. Pointers that users follow (the index, then the floating tags) move last.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use semver::Version;
use serde::Serialize;

use crate::chart::index::{Entry, FILE, Index};
use crate::chart::manifest::ChartManifest;
use crate::chart::package::{self, ChartFiles, RELEASED_IMAGE};
use crate::chart::repository;
use crate::config::{Scan, Target, Workspace};
use crate::disk::{self, Lock};
use crate::error::{Error, Exit, Result};
use crate::image::compile::{self, Toolchains};
use crate::image::embedded::{self, BuildContext, Stamp};
use crate::image::layout::{Annotations, Digest, Layout, Platform, sha256_hex};
use crate::image::recipe::Recipe;
use crate::image::registry::{LayoutFolder, Registry};
use crate::image::scan::{Scanner, Verdict};
use crate::moment::rfc3339;
use crate::serve::Outside;
use crate::source::Source;
use crate::store::directory::Directory;
use crate::store::{Store, Write};
use crate::tools;
use crate::ui;

pub mod bump;
pub mod place;
pub mod plan;
pub mod promote;
pub mod verify;
pub mod version;

use plan::{ImageFacts, ImagePlan, Judgement, State, Step, Wanted};
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

/// A release, and everything it is made of and published to.
pub struct Road {
    /// The release.
    pub release: Release,
    workspace: Workspace,
    source: Source,
    chart: ChartManifest,
    files: ChartFiles,
    registry: LayoutFolder,
    store: Directory,
    strict: bool,
    toolchains: OnceCell<Toolchains>,
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

/// Runs the whole road.
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
    road.summarise(&proof, changed, &missing);
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

/// What the world holds of a release.
struct Found {
    image: ImagePlan,
    /// The archive that is there, and its SHA-256.
    archive: Option<Vec<u8>>,
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
        let tree_files = chart_files(&workspace, &source)?;
        bump::check_agreement(&workspace, &package::manifest(&tree_files)?)?;
        let current = &workspace.package.version;
        let version = order.word.as_ref().map_or_else(|| current.clone(), |word| version::next(current, word));
        version::check(&version, &workspace.first_version)?;
        let edits = bump::edits(&workspace, &source, &version)?;
        let release = Release { version, revision: source.revision(), time: source.commit_time, target };
        let source = source.with_edits(edits);
        let files = chart_files(&workspace, &source)?;
        let folder = workspace.directory(&release.target);
        Ok(Road {
            chart: package::manifest(&files)?,
            registry: place::registry(&folder),
            store: place::store(&folder),
            strict: order.strict,
            toolchains: OnceCell::new(),
            release,
            workspace,
            source,
            files,
        })
    }

    /// What every step would do, decided without doing any.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn plan(&self) -> Result<Vec<Step>> {
        let found = self.look()?;
        let snapshot = repository::read(&self.store)?;
        let index = snapshot.index()?;
        let version = self.release.version.to_string();
        let adopted = match &found.image {
            ImagePlan::Adopt(facts) => Some(facts.digest.clone()),
            _ => None,
        };
        let name = self.chart.archive_name();
        let packed = adopted.as_ref().map(|digest| self.pack(digest)).transpose()?.map(|(_, bytes)| bytes);
        let archive = match (&found.archive, &packed) {
            (None, _) => State::ToDo(name.clone()),
            (Some(there), Some(packed)) if there == packed => State::Done(name.clone()),
            _ => self.other_content(&name),
        };
        let entry = match (index.yanked(&self.chart.name, &version)?, index.find(&self.chart.name, &version)) {
            (Some(yanked), _) => State::Conflict(format!("{version} was yanked: {}", yanked.reason)),
            (None, None) => State::ToDo(format!("list {version} in {FILE}")),
            (None, Some(entry)) if packed.as_ref().map(|bytes| sha256_hex(bytes)).as_deref() == entry.sha256() => {
                State::Done(format!("{version} is listed in {FILE}"))
            }
            _ => self.other_content(FILE),
        };
        let mut listed = index.versions(&self.chart.name);
        listed.push(self.release.version.clone());
        let floating = version::floating_tags(&listed, &self.workspace.first_version);
        let ours: Vec<String> =
            floating.into_iter().filter(|(_, leader)| *leader == self.release.version).map(|(tag, _)| tag).collect();
        let tags = self.registry.tags()?;
        let right = |tag: &String| adopted.is_some() && tags.get(tag) == adopted.as_ref();
        let tag_state = |tags: &[String]| {
            let text = if tags.is_empty() { "none".into() } else { tags.join(" ") };
            if tags.iter().all(right) { State::Done(text) } else { State::ToDo(text) }
        };
        let [compile, build, scan] = self.plan_image(&found.image)?;
        let states = [
            ("bump", self.plan_bump()),
            ("compile", compile),
            ("build", build),
            ("scan", scan),
            ("push", tag_state(&version::version_tags(&self.release.version))),
            ("package", archive),
            ("publish", entry),
            ("promote", tag_state(&ours)),
            ("verify", State::ToDo(format!("fetch all of it from {}", self.release.target.repository))),
        ];
        Ok(states.into_iter().map(|(step, state)| Step { step, state }).collect())
    }

    /// The folder that is published into.
    pub fn folder(&self) -> PathBuf {
        self.workspace.directory(&self.release.target)
    }

    /// Makes the image's layout, without publishing it: the one that is published already, or a new one. Gives its digest.
    ///
    /// # Errors
    /// The image cannot be built, or the version's tag belongs to something else.
    pub fn build(&self) -> Result<Digest> {
        self.refuse_yanked()?;
        let layout = match self.look()?.image {
            ImagePlan::Conflict(error) => return Err(error),
            ImagePlan::Adopt(facts) => {
                ui::note("Adopted", format_args!("image {}", facts.digest));
                crate::image::layout::collect(&facts.digest, &|_, digest| self.registry.blob(digest))?
            }
            ImagePlan::Build | ImagePlan::Replace(_) => return self.build_new().map(|layout| layout.digest),
        };
        layout.write(&self.work("image"))?;
        Ok(layout.digest)
    }

    /// Scans the layout that `build` made, and keeps the verdict for its digest.
    ///
    /// # Errors
    /// There is no layout; the scanner finds something or fails.
    pub fn scan(&self) -> Result<Verdict> {
        self.scan_layout(&Layout::read(&self.work("image"))?)
    }

    /// Stores the blobs of the layout that `build` made: exactly the bytes that have a verdict.
    ///
    /// # Errors
    /// There is no layout, no verdict for its digest, or it is of another release.
    pub fn push(&self) -> Result<Digest> {
        let layout = Layout::read(&self.work("image"))?;
        let verdict = disk::read(&self.verdict_file(&layout.digest))?;
        let verdict = verdict.and_then(|bytes| serde_json::from_slice::<Verdict>(&bytes).ok());
        if verdict.is_none_or(|verdict| verdict.digest != layout.digest) {
            return Err(Error::new(Exit::Scanner, format!("{} has no verdict", layout.digest))
                .because("only what went through the scan is pushed")
                .remedy("cargo xtask release scan"));
        }
        self.check_ours(&ImageFacts::of(layout.digest.clone(), &layout.platforms()?))?;
        self.registry.push(&layout)?;
        ui::status("Pushed", format_args!("{}@{}", self.release.target.image, layout.digest));
        Ok(layout.digest)
    }

    /// Points the version's tags at a pushed image. True where one moved.
    ///
    /// # Errors
    /// The image is not there, or is of another release; a tag belongs to something else and may not move.
    pub fn tag(&self, digest: &Digest) -> Result<bool> {
        self.check_ours(&ImageFacts::of(digest.clone(), &self.registry.platforms(digest)?))?;
        let tags = self.registry.tags()?;
        let names = version::version_tags(&self.release.version);
        let moving: Vec<(String, Digest)> = names
            .into_iter()
            .filter(|name| tags.get(name) != Some(digest))
            .map(|name| (name, digest.clone()))
            .collect();
        if moving.is_empty() {
            return Ok(false);
        }
        if moving.iter().any(|(name, _)| tags.contains_key(name)) {
            let found = self.look()?;
            if let ImagePlan::Conflict(error) = found.image {
                return Err(error);
            }
            let named = found.archive.and_then(|bytes| self.named_image(&bytes));
            if named.is_some_and(|facts| facts.digest != *digest) {
                self.withdraw()?;
            }
        }
        self.registry.tag(&moving)?;
        ui::status("Tagged", moving.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "));
        Ok(true)
    }

    /// Packages the chart for an image, puts the archive, and lists it. True where anything was changed.
    ///
    /// # Errors
    /// The image is of another release, or cannot be pulled; the version is published with other content, or was yanked.
    pub fn publish(&self, digest: &Digest) -> Result<bool> {
        let target = &self.release.target;
        self.check_ours(&ImageFacts::of(digest.clone(), &self.registry.platforms(digest)?))?;
        verify::image(target, &version::version_tags(&self.release.version)[0], digest)?;
        let (manifest, bytes) = self.pack(digest)?;
        let name = manifest.archive_name();
        let sha256 = sha256_hex(&bytes);
        let entry = entry(&manifest, &sha256, &self.release)?;
        self.refuse_yanked()?;
        repository::initialise(&self.store)?;
        let mut changed = self.put_archive(&name, &bytes)?;
        verify::archive(target, &name, &sha256)?;
        if self.listed_otherwise(&sha256)? {
            self.withdraw()?;
        }
        if repository::add(&self.store, &manifest.name, &entry)? {
            ui::status("Listed", format_args!("{} {} in {FILE}", manifest.name, manifest.version));
            changed = true;
        }
        Ok(changed)
    }

    /// Points the floating tags at the highest listed versions. True where one moved.
    ///
    /// # Errors
    /// The index or the registry cannot be read or written to.
    pub fn promote(&self) -> Result<bool> {
        let listed = || Ok(repository::read(&self.store)?.index()?.versions(&self.chart.name));
        promote::run(&self.registry, &listed, &self.workspace.first_version)
    }

    /// Fetches the release as an anonymous user would.
    ///
    /// # Errors
    /// Something is not there, or not what was published.
    pub fn verify(&self) -> Result<Proof> {
        verify::run(&self.release.target, &self.chart.name, &self.release.version, &self.workspace.first_version)
    }

    /// The digest that the version's tag points at.
    ///
    /// # Errors
    /// There is no such tag.
    pub fn tagged(&self) -> Result<Digest> {
        let tag = &version::version_tags(&self.release.version)[0];
        self.registry.tags()?.remove(tag).ok_or_else(|| {
            Error::new(Exit::Usage, format!("there is no image {}:{tag}", self.release.target.image))
                .remedy("cargo xtask release build, scan, push and tag come first")
        })
    }

    /// Makes the staging copy of the sources, at the release's version, and gives its folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn stage(&self) -> Result<PathBuf> {
        let folder = self.work("source");
        self.source.copy_to(&folder)?;
        Ok(folder)
    }

    /// Takes a version out of the index, for a reason that is kept, and moves the floating tags. False where it was out before.
    ///
    /// # Errors
    /// The version is not listed.
    pub fn yank(&self, version: &Version, reason: &str) -> Result<bool> {
        let (chart, text) = (&self.chart.name, version.to_string());
        let changed = repository::update(&self.store, &|index| index.yank(chart, &text, reason))?;
        self.promote()?;
        Ok(changed)
    }

    /// Puts a yanked version back as it was, and moves the floating tags. False where it was listed.
    ///
    /// # Errors
    /// The version was never yanked.
    pub fn unyank(&self, version: &Version) -> Result<bool> {
        let (chart, text) = (&self.chart.name, version.to_string());
        let changed = repository::update(&self.store, &|index| index.unyank(chart, &text))?;
        self.promote()?;
        Ok(changed)
    }

    /// Looks at what is published of this version. An archive that is there decides which image is ours: two machines with
    /// two compilers may have met, and the chart that users get names one of their images.
    fn look(&self) -> Result<Found> {
        let archive = self.store.get(&self.chart.archive_name())?.map(|object| object.bytes);
        if let Some(facts) = archive.as_ref().and_then(|bytes| self.named_image(bytes)) {
            let ours = self.judge(&facts)? == Judgement::Ours;
            if ours && Some(&self.pack(&facts.digest)?.1) == archive.as_ref() {
                return Ok(Found { image: ImagePlan::Adopt(facts), archive });
            }
        }
        let tag = &version::version_tags(&self.release.version)[0];
        let tagged = self.registry.tags()?.remove(tag);
        let facts = tagged.map(|digest| Ok(ImageFacts::of(digest.clone(), &self.registry.platforms(&digest)?)));
        let image = self.with_wanted(|wanted| plan::image(facts.transpose()?, wanted))?;
        Ok(Found { image, archive })
    }

    /// The image that an archive names, where the registry has it.
    fn named_image(&self, archive: &[u8]) -> Option<ImageFacts> {
        let manifest = package::manifest(&package::unpack(archive).ok()?).ok()?;
        let digest: Digest = manifest.annotations.get(RELEASED_IMAGE)?.rsplit_once('@')?.1.parse().ok()?;
        let parts = self.registry.platforms(&digest).ok()?;
        Some(ImageFacts::of(digest, &parts))
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

    fn check_ours(&self, facts: &ImageFacts) -> Result<()> {
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

    fn make_image(&self) -> Result<Digest> {
        let layout = self.build_new()?;
        self.scan_layout(&layout)?;
        self.push()
    }

    fn build_new(&self) -> Result<Layout> {
        let toolchains = self.toolchains()?;
        toolchains.require_any()?;
        if self.strict {
            toolchains.require_all()?;
        }
        compile::tell_missing(toolchains);
        let source = self.stage()?;
        let auditable = auditable();
        let mut context = BuildContext::new();
        for (platform, toolchain) in &toolchains.found {
            ui::status(
                "Compiling",
                format_args!("{} for {platform} with {}", self.workspace.package.name, toolchain.version),
            );
            let binary = compile::compile(&self.workspace, &source, &self.work("build"), toolchain, auditable)?;
            context.insert(format!("{platform}/{}", self.workspace.package.name), binary);
        }
        let dockerfile = format!("{}/Dockerfile", self.workspace.package.folder);
        let recipe = self.source.text(&dockerfile)?.ok_or_else(|| {
            Error::new(Exit::Workspace, format!("{dockerfile} is missing")).because("it says what is in the image")
        })?;
        let platforms: Vec<Platform> = toolchains.found.keys().cloned().collect();
        let stamp = Stamp { labels: self.labels(toolchains, auditable)?, time: self.release.time };
        let layout = embedded::assemble(&Recipe::parse(&recipe)?, &platforms, &context, &stamp)?;
        layout.write(&self.work("image"))?;
        ui::status("Built", format_args!("image {} for {}", layout.digest, plan::list(&platforms)));
        Ok(layout)
    }

    /// The labels of I8, and what else can be read from the image: the compilers, and whether it can be scanned.
    fn labels(&self, toolchains: &Toolchains, auditable: bool) -> Result<Annotations> {
        let package = &self.workspace.package;
        let about = &package.about;
        let mut labels = Annotations::new();
        let fields = [
            ("created", rfc3339(self.release.time)?),
            ("description", about.description.clone()),
            ("documentation", about.documentation.clone()),
            ("licenses", about.license.clone()),
            ("revision", self.release.revision.clone()),
            ("source", about.repository.clone()),
            ("title", package.name.clone()),
            ("vendor", about.vendor.clone()),
            ("version", self.release.version.to_string()),
        ];
        for (name, value) in fields {
            labels.insert(format!("org.opencontainers.image.{name}"), value);
        }
        labels.insert("rustc".into(), toolchains.label());
        if auditable {
            labels.insert(plan::AUDITABLE_LABEL.into(), "true".into());
        }
        Ok(labels)
    }

    fn scan_layout(&self, layout: &Layout) -> Result<Verdict> {
        let verdict = match self.scanner()? {
            Ok(scanner) => {
                ui::status("Scanning", format_args!("{} with {}", layout.digest, scanner.label));
                scanner.scan(layout, &self.workspace.package.name, &self.work("scan"))?
            }
            Err(reason) => {
                ui::note("Not scanned", &reason);
                Verdict { digest: layout.digest.clone(), scanner: None, skipped: Some(reason) }
            }
        };
        disk::replace(&self.verdict_file(&layout.digest), &crate::image::layout::json(&verdict)?)?;
        Ok(verdict)
    }

    /// An adopted image was pushed by somebody else, perhaps unscanned: it is scanned here unless it was.
    fn scan_adopted(&self, digest: &Digest) -> Result<()> {
        let known = disk::read(&self.verdict_file(digest))?;
        let known = known.and_then(|bytes| serde_json::from_slice::<Verdict>(&bytes).ok());
        let scanner_is_there = tools::on_path("trivy").is_some();
        if known.is_some_and(|verdict| verdict.digest == *digest && (verdict.scanner.is_some() || !scanner_is_there)) {
            return Ok(());
        }
        let layout = crate::image::layout::collect(digest, &|_, part| self.registry.blob(part))?;
        self.scan_layout(&layout).map(drop)
    }

    /// The scanner, or why there is none where the target does not insist.
    fn scanner(&self) -> Result<Result<Scanner, String>> {
        let reason = match Scanner::find() {
            Ok(scanner) if auditable() => return Ok(Ok(scanner)),
            Ok(_) => Error::new(Exit::Environment, "cargo-auditable is not installed")
                .remedy("cargo install cargo-auditable --locked"),
            // Never ignored: a malicious scanner may have run on this machine.
            Err(error) if error.exit == Exit::Scanner => return Err(error),
            Err(error) => error,
        };
        match self.release.target.scan {
            Scan::Required => Err(reason),
            Scan::IfInstalled => Ok(Err(match reason.why {
                Some(why) => format!("{} ({why})", reason.what),
                None => reason.what,
            })),
        }
    }

    fn pack(&self, digest: &Digest) -> Result<(ChartManifest, Vec<u8>)> {
        let platforms = self.registry.platforms(digest)?.into_iter().map(|part| part.platform).collect();
        let stamp = package::Stamp {
            image: format!("{}:{}@{digest}", self.release.target.image, self.release.version),
            platforms,
            repository: self.release.target.repository.clone(),
        };
        let (files, manifest) = package::stage(self.files.clone(), &stamp)?;
        Ok((manifest, package::pack(&files, self.release.time)?))
    }

    fn put_archive(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        if self.store.put_new(name, bytes)? == Write::Done {
            ui::status("Published", format_args!("{}/{name}", self.release.target.repository));
            return Ok(true);
        }
        let Some(there) = self.store.get(name)? else { return self.put_archive(name, bytes) };
        if there.bytes == bytes {
            return Ok(false);
        }
        if self.strict {
            return Err(Error::new(Exit::Conflict, format!("{name} is already published with other content"))
                .because(format!(
                    "published: sha256 {}\nours:      sha256 {}",
                    sha256_hex(&there.bytes),
                    sha256_hex(bytes)
                ))
                .remedy("take the next version: a published one never changes"));
        }
        // The entry leaves first: at no moment does the index lead to bytes that it does not name.
        self.withdraw()?;
        match self.store.replace(name, &there.revision, bytes)? {
            Write::Done => {
                ui::status(
                    "Replaced",
                    format_args!(
                        "{}/{name}: its sources changed since it was rehearsed",
                        self.release.target.repository
                    ),
                );
                Ok(true)
            }
            Write::Refused => Err(Error::new(Exit::Busy, format!("{name} was changed by another run just now"))
                .remedy("run the same words again")),
        }
    }

    /// Takes our version out of the index because it is made again: rehearsals only.
    fn withdraw(&self) -> Result<()> {
        if self.strict {
            return Ok(());
        }
        let version = self.release.version.to_string();
        let withdrawn =
            repository::update(&self.store, &|index| Ok(index.withdraw(&self.chart.name, &version).is_some()))?;
        if withdrawn {
            ui::note("Withdrawn", format_args!("{version} from {FILE}, until it is published again"));
        }
        Ok(())
    }

    fn listed_otherwise(&self, sha256: &str) -> Result<bool> {
        let snapshot = repository::read(&self.store)?;
        let index: Index<'_> = snapshot.index()?;
        let entry = index.find(&self.chart.name, &self.release.version.to_string());
        Ok(entry.is_some_and(|entry| entry.sha256() != Some(sha256)))
    }

    fn refuse_yanked(&self) -> Result<()> {
        let version = self.release.version.to_string();
        let snapshot = repository::read(&self.store)?;
        match snapshot.index()?.yanked(&self.chart.name, &version)? {
            None => Ok(()),
            Some(yanked) => Err(Error::new(Exit::Conflict, format!("{version} was yanked"))
                .because(yanked.reason)
                .remedy(format!("cargo xtask release unyank {version}"))
                .remedy("or take the next version: cargo xtask release patch")),
        }
    }

    fn toolchains(&self) -> Result<&Toolchains> {
        if self.toolchains.get().is_none() {
            // A second thread does not exist, so this is always the first.
            self.toolchains.set(compile::toolchains(&self.workspace)?).ok();
        }
        self.toolchains.get().ok_or_else(|| Error::new(Exit::Failure, "the compilers were looked for and forgotten"))
    }

    fn missing_platforms(&self, digest: &Digest) -> Result<Vec<Platform>> {
        let there: Vec<Platform> = self.registry.platforms(digest)?.into_iter().map(|part| part.platform).collect();
        Ok(self.workspace.platforms.keys().filter(|platform| !there.contains(platform)).cloned().collect())
    }

    fn summarise(&self, proof: &Proof, changed: bool, missing: &[Platform]) {
        ui::status("Verified", verify::shown(proof));
        if !missing.is_empty() {
            ui::warn(format_args!(
                "the image lacks {}: this machine cannot build it (see above, or cargo xtask doctor)",
                plan::list(missing)
            ));
        }
        let version = &self.release.version;
        if changed {
            ui::status("Released", format_args!("{} {version}; try it: cargo xtask serve", self.chart.name));
        } else {
            ui::note(
                "Unchanged",
                format_args!("{} {version} was released before; no byte was changed", self.chart.name),
            );
        }
    }

    fn plan_bump(&self) -> State {
        let version = &self.release.version;
        if *version == self.workspace.package.version {
            State::Done(format!("{version} is the tree's version"))
        } else {
            State::ToDo(format!("{} becomes {version}, in a staging copy", self.workspace.package.version))
        }
    }

    fn plan_image(&self, image: &ImagePlan) -> Result<[State; 3]> {
        let why = match image {
            ImagePlan::Adopt(facts) => {
                let done = State::Done(format!("image {} is of this source state", facts.digest));
                return Ok([done.clone(), done.clone(), done]);
            }
            ImagePlan::Conflict(error) => {
                let conflict = State::Conflict(error.to_string());
                return Ok([conflict.clone(), conflict.clone(), conflict]);
            }
            ImagePlan::Replace(why) => format!(" again: {why}"),
            ImagePlan::Build => String::new(),
        };
        let toolchains = self.toolchains()?;
        let found: Vec<String> = toolchains
            .found
            .iter()
            .map(|(platform, toolchain)| format!("{platform} with {}", toolchain.version))
            .collect();
        let missing: Vec<String> = toolchains
            .missing
            .iter()
            .map(|(platform, missing)| format!("; {platform} is left out: {}", missing.why))
            .collect();
        let scan = match self.scanner()? {
            Ok(scanner) => State::ToDo(scanner.label),
            Err(reason) => State::Done(format!("skipped: {reason}")),
        };
        Ok([
            State::ToDo(format!("{}{}", found.join(", "), missing.concat())),
            State::ToDo(format!("an image for {} platforms{why}", found.len())),
            scan,
        ])
    }

    fn other_content(&self, what: &str) -> State {
        if self.strict {
            State::Conflict(format!("{what} is already published with other content"))
        } else {
            State::ToDo(format!("{what}, again: its sources changed since it was rehearsed"))
        }
    }

    fn verdict_file(&self, digest: &Digest) -> PathBuf {
        self.work("verdicts").join(format!("{}.json", digest.hex()))
    }

    /// A folder for what is made on the way.
    fn work(&self, name: &str) -> PathBuf {
        self.workspace.root.join("target/xtask").join(name)
    }
}

fn chart_files(workspace: &Workspace, source: &Source) -> Result<ChartFiles> {
    let items = source.below(&workspace.chart)?;
    if items.is_empty() {
        return Err(Error::new(Exit::Workspace, format!("there is no chart in {}", workspace.chart))
            .because("[workspace.metadata.release] names that folder as `chart`"));
    }
    package::collect(&items)
}

/// The index entry of an archive: what Helm makes of the manifest, and where, when and what the archive is.
fn entry(manifest: &ChartManifest, sha256: &str, release: &Release) -> Result<Entry<'static>> {
    #[derive(Serialize)]
    struct ChartVersion<'a> {
        #[serde(flatten)]
        manifest: &'a ChartManifest,
        urls: [String; 1],
        created: String,
        digest: &'a str,
    }
    Entry::of(&ChartVersion {
        manifest,
        urls: [format!("{}/{}", release.target.repository, manifest.archive_name())],
        created: rfc3339(release.time)?,
        digest: sha256,
    })
}

fn auditable() -> bool {
    tools::on_path("cargo-auditable").is_some()
}
