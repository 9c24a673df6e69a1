//! The image's steps: compile, assemble, scan, push, and tag by version.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::{Builder, Scan};
use crate::error::{Error, Exit, Result};
use crate::image::agreement;
use crate::image::buildx::{self, Buildx};
use crate::image::compile::{self, Toolchains};
use crate::image::dockerfile::Dockerfile;
use crate::image::embedded::{self, BuildContext, Stamp};
use crate::image::labels::{self, ImageFacts};
use crate::image::scan::{self, Scanner, Verdict};
use crate::image::waivers::Waivers;
use crate::oci::{self, Annotations, Digest, Layout, Platform};
use crate::release::bills::Bills;
use crate::release::parts::Part;
use crate::release::pipeline::{Pipeline, auditable};
use crate::release::plan::{self, ImagePlan};
use crate::release::version;
use crate::sys::files;
use crate::sys::threads::side_by_side;
use crate::sys::time::rfc3339;
use crate::sys::tools;
use crate::ui;

/// What was compiled for an image, here or on other machines.
#[derive(Default)]
pub(super) struct Binaries {
    pub(super) context: BuildContext,
    /// What compiled for each platform.
    pub(super) compilers: BTreeMap<Platform, String>,
    /// Whether they carry their dependency list.
    pub(super) auditable: bool,
    /// The bills that came with them.
    pub(super) bills: Option<Bills>,
}

impl Pipeline {
    /// Makes the image's layout, without publishing it: the one that is published already, or a new one, of parts that other machines compiled
    /// where there are any. Gives its digest.
    ///
    /// # Errors
    /// The image cannot be built, or the version's tag belongs to something else.
    pub fn build(&self, parts: &[Part]) -> Result<Digest> {
        self.refuse_yanked()?;
        let binaries = || if parts.is_empty() { self.compile() } else { self.read_parts(parts) };
        let layout = match self.image_plan(&self.images()) {
            ImagePlan::Without => return Err(self.product.without_image()),
            ImagePlan::Conflict(error) | ImagePlan::Unknown(error) => return Err(error),
            ImagePlan::Adopt(facts) => {
                ui::note("Adopted", format_args!("image {}", facts.digest));
                let layout = self.fetch(&facts.digest)?;
                layout.write(&self.work("image"))?;
                layout
            }
            ImagePlan::Build | ImagePlan::Replace(_) => self.assemble(binaries()?)?,
            ImagePlan::Unsigned(facts, why) => self.assemble_again(&facts, &why, binaries()?)?,
        };
        Ok(layout.digest)
    }

    /// Scans the layout that `build` made, and keeps the verdict for its digest.
    ///
    /// # Errors
    /// There is no layout, or it is another than the one that is `wanted`; the scanner finds something or fails.
    pub fn scan(&self, wanted: Option<&Digest>) -> Result<Verdict> {
        self.scan_layout(&self.built(wanted)?, &self.read_waivers()?)
    }

    /// The layout that `build` left here. Where another machine built it, only its digest says that this is still it.
    fn built(&self, wanted: Option<&Digest>) -> Result<Layout> {
        let folder = self.work("image");
        let layout = Layout::read(&folder)?;
        match wanted.filter(|wanted| **wanted != layout.digest) {
            None => Ok(layout),
            Some(wanted) => {
                Err(Error::new(Exit::Conflict, format!("{} is not the image that was built", folder.display()))
                    .because(format!("built: {wanted}\nfound: {}", layout.digest))
                    .remedy("nobody but the build may write there: look who did, then run the build again"))
            }
        }
    }

    /// The digest of the layout that `build` left here.
    ///
    /// # Errors
    /// There is none.
    pub fn built_digest(&self) -> Result<Digest> {
        Ok(self.built(None)?.digest)
    }

    /// Stores the blobs of the layout that `build` made: exactly the bytes that have a verdict.
    ///
    /// # Errors
    /// There is no layout, no verdict for its digest, or it is of another release, or another than the one that is `wanted`; or a second
    /// build made another.
    pub fn push(&self, wanted: Option<&Digest>, second: Option<&Digest>) -> Result<Digest> {
        let layout = self.built(wanted)?;
        check_second(&layout.digest, second)?;
        self.push_layout(&layout)?;
        Ok(layout.digest)
    }

    /// The same for a layout at hand.
    pub(super) fn push_layout(&self, layout: &Layout) -> Result<()> {
        self.check_scanned(&layout.digest)?;
        self.check_ours(&ImageFacts::of(layout.digest.clone(), &layout.platforms()?))?;
        self.destination.registry.push(layout)?;
        ui::status("Pushed", format_args!("{}@{}", self.target().image, layout.digest));
        Ok(())
    }

    fn check_scanned(&self, digest: &Digest) -> Result<()> {
        match self.verdict(digest)? {
            Some(_) => Ok(()),
            None => Err(Error::new(Exit::Scanner, format!("{digest} has no verdict"))
                .because("only what went through the scan is pushed and signed")
                .remedy("cargo xtask release scan")),
        }
    }

    /// Signs a pushed image and the chart for it: the layout that `build` made, or the one of that digest. `second` is the digest that an
    /// independent build of the same commit gave.
    ///
    /// # Errors
    /// The image is not there, has no verdict, or is of another release; the second build gave another digest; nothing here can sign.
    pub fn sign(&self, wanted: Option<&Digest>, second: Option<&Digest>) -> Result<bool> {
        if self.product.package.is_none() {
            return self.attest(None, None);
        }
        let digest = self.built(wanted)?.digest;
        check_second(&digest, second)?;
        self.check_scanned(&digest)?;
        let facts = self.destination.facts(&digest)?;
        self.check_ours(&facts)?;
        self.attest(Some(&facts), second)
    }

    /// Points the version's tags at a pushed image. True where one moved.
    ///
    /// # Errors
    /// The image is not there, is not signed, or is of another release; a tag belongs to something else and may not move.
    pub fn tag(&self, digest: &Digest) -> Result<bool> {
        self.check_ours(&self.destination.facts(digest)?)?;
        self.check_signed(digest)?;
        self.set_tags(digest)
    }

    /// The same for an image that is known to be there, and to be of this release.
    pub(super) fn set_tags(&self, digest: &Digest) -> Result<bool> {
        let registry = &*self.destination.registry;
        let (mut moving, mut taken) = (Vec::new(), false);
        for name in version::version_tags(&self.release.version) {
            let there = registry.resolve(&name)?;
            if there.as_ref() != Some(digest) {
                taken |= there.is_some();
                moving.push((name, digest.clone()));
            }
        }
        if moving.is_empty() {
            return Ok(false);
        }
        if taken {
            let images = self.images();
            match self.image_plan(&images) {
                ImagePlan::Conflict(error) | ImagePlan::Unknown(error) => return Err(error),
                ImagePlan::Unsigned(there, why) if self.is_strict() && there.digest != *digest => {
                    return Err(plan::came_out_otherwise(&self.release.version, &there, digest, &why));
                }
                _ => {}
            }
            let named = images.archive?.and_then(|archive| archive.image);
            if named.is_some_and(|facts| facts.digest != *digest) {
                self.withdraw()?;
            }
        }
        registry.tag(&moving)?;
        ui::status("Tagged", moving.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "));
        Ok(true)
    }

    /// The digest that the version's tag points at.
    ///
    /// # Errors
    /// There is no such tag.
    pub fn tagged(&self) -> Result<Digest> {
        let tag = &version::version_tags(&self.release.version)[0];
        self.destination.registry.resolve(tag)?.ok_or_else(|| {
            Error::new(Exit::Usage, format!("there is no image {}:{tag}", self.target().image))
                .remedy("cargo xtask release build, scan, push and tag come first")
        })
    }

    /// Makes the staging copy of the sources, at the release's version, and gives its folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn stage(&self) -> Result<PathBuf> {
        let folder = self.work("source");
        self.worktree.copy_to(&folder)?;
        Ok(folder)
    }

    /// Compiles a static binary for each platform that this machine can compile for.
    pub(super) fn compile(&self) -> Result<Binaries> {
        let toolchains = self.usable_toolchains()?;
        compile::tell_missing(toolchains);
        self.compile_for(toolchains)
    }

    pub(super) fn compile_for(&self, toolchains: &Toolchains) -> Result<Binaries> {
        let source = self.stage()?;
        // What several products are made of is compiled once; cargo lets one of its calls at a time into that folder.
        let build = self.product.root.join("target/xtask/build");
        let name = &self.product.package()?.name;
        let auditable = auditable();
        let binaries = compile::compile(&self.product, &source, &build, toolchains, auditable)?;
        let context = binaries.into_iter().map(|(platform, binary)| (format!("{platform}/{name}"), binary)).collect();
        let found = toolchains.found.iter();
        let compilers = found.map(|(platform, toolchain)| (platform.clone(), toolchain.version.clone())).collect();
        Ok(Binaries { context, compilers, auditable, bills: None })
    }

    /// Makes the image's layout of those binaries, and keeps it on disk.
    pub(super) fn assemble(&self, binaries: Binaries) -> Result<Layout> {
        let Binaries { context, compilers, auditable, bills } = &binaries;
        let dockerfile = format!("{}/Dockerfile", self.product.package()?.folder);
        let dockerfile = self.worktree.text(&dockerfile)?.ok_or_else(|| {
            Error::new(Exit::Workspace, format!("{dockerfile} is missing")).because("it says what is in the image")
        })?;
        let platforms: Vec<Platform> = compilers.keys().cloned().collect();
        let stamp = Stamp { labels: self.labels(compilers, *auditable)?, time: self.release.time };
        let parsed = Dockerfile::parse(&dockerfile);
        let asked_for_bills = match bills {
            None if self.is_signed() => Some(self.ask_for_bills(self.toolchains()?)?),
            _ => None,
        };
        let layout = match self.buildx()? {
            None => embedded::assemble(&parsed?, &platforms, context, &stamp)?,
            Some(buildx) => {
                let (made, expected) = side_by_side(
                    || buildx::assemble(&dockerfile, &platforms, context, &stamp, &buildx),
                    || embedded::assemble_to_compare(&parsed?, &platforms, context, &stamp),
                );
                let made = made?;
                agreement::check(&made, &expected?)?;
                made
            }
        };
        layout.write(&self.work("image"))?;
        match (asked_for_bills, binaries.bills) {
            (Some(asked), _) => self.keep_bills(&layout.digest, self.bills_of(&binaries.context, asked)?)?,
            (None, Some(bills)) => self.keep_bills(&layout.digest, bills)?,
            (None, None) => {}
        }
        ui::status("Built", format_args!("image {} for {}", layout.digest, oci::platform_names(&platforms)));
        Ok(layout)
    }

    /// The same for an image that is there, and that nobody who is accepted has signed: only what comes out the same is signed.
    pub(super) fn assemble_again(&self, there: &ImageFacts, why: &str, binaries: Binaries) -> Result<Layout> {
        let layout = self.assemble(binaries)?;
        if layout.digest == there.digest {
            ui::note("The same", format_args!("image came out as is there, unsigned: {}", there.digest));
        } else if self.is_strict() {
            return Err(plan::came_out_otherwise(&self.release.version, there, &layout.digest, why));
        } else {
            ui::note("Replacing", format_args!("{} was rehearsed before, unsigned: {why}", self.release.version));
        }
        Ok(layout)
    }

    /// The builder of the target, where that is not the embedded one.
    pub(super) fn buildx(&self) -> Result<Option<Buildx>> {
        let named = &self.options.builder;
        match self.target().builder {
            Builder::Embedded if named.is_some() => Err(Error::new(Exit::Usage, "--builder names a builder of buildx")
                .because(format!("the target `{}` does not build with buildx", self.target().name))),
            Builder::Embedded => Ok(None),
            Builder::Buildx => known(&self.buildx, || Buildx::find(named.clone(), self.work("buildx"))).map(Some),
        }
    }

    fn fetch(&self, digest: &Digest) -> Result<Layout> {
        oci::collect(digest, &|part, digest| self.destination.registry.fetch(part, digest))
    }

    /// The labels of I8, and what else can be read from the image: the compilers, and whether it can be scanned.
    fn labels(&self, compilers: &BTreeMap<Platform, String>, auditable: bool) -> Result<Annotations> {
        let package = self.product.package()?;
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
        let compilers = compilers.iter().map(|(platform, version)| format!("{platform}: {version}"));
        labels.insert("rustc".into(), compilers.collect::<Vec<_>>().join(", "));
        if auditable {
            labels.insert(labels::AUDITABLE.into(), "true".into());
        }
        Ok(labels)
    }

    /// The waivers that hold for this release: an option may name those of a later commit.
    pub(super) fn read_waivers(&self) -> Result<Waivers> {
        Waivers::read(&self.product.root, self.options.waivers.as_deref())
    }

    pub(super) fn scan_layout(&self, layout: &Layout, waivers: &Waivers) -> Result<Verdict> {
        // It may have been built on another machine, with other tools than this one has.
        let auditable = auditable() || ImageFacts::of(layout.digest.clone(), &layout.platforms()?).auditable;
        let verdict = match self.scanner(auditable)? {
            Ok(scanner) => {
                ui::status("Scanning", format_args!("{} with {}", layout.digest, scanner.label));
                let category = scan::category(self.product.name.as_deref());
                scanner.scan(layout, &self.product.package()?.name, waivers, &self.work("scan"), &category)?
            }
            Err(reason) => {
                ui::note("Not scanned", &reason);
                Verdict::skipped(layout.digest.clone(), reason)
            }
        };
        files::replace(&verdict_file(&self.product.root, &layout.digest), &oci::json(&verdict)?)?;
        Ok(verdict)
    }

    /// Scans an adopted image, which was pushed by somebody else, perhaps unscanned.
    pub(super) fn scan_adopted(&self, digest: &Digest, waivers: &Waivers) -> Result<()> {
        self.scan_layout(&self.fetch(digest)?, waivers).map(drop)
    }

    /// Whether an image has a verdict that still holds.
    pub(super) fn has_verdict(&self, digest: &Digest) -> Result<bool> {
        let Some(verdict) = self.verdict(digest)? else { return Ok(false) };
        Ok(match verdict.scanner {
            // What other waivers let pass may be what these do not.
            Some(_) => verdict.waived.is_empty() || verdict.waivers == self.read_waivers()?.digest,
            None => tools::on_path("trivy").is_none(),
        })
    }

    /// What was found out about an image, where that is enough for the target: one that insists on a scan takes no excuse.
    pub(super) fn verdict(&self, digest: &Digest) -> Result<Option<Verdict>> {
        let verdict = kept_verdict(&self.product.root, digest)?;
        let excuse_allowed = self.target().scan == Scan::IfInstalled;
        let enough = |verdict: &Verdict| verdict.scanner.is_some() || excuse_allowed;
        Ok(verdict.filter(|verdict| verdict.digest == *digest && enough(verdict) && !verdict.is_over()))
    }

    /// The scanner for an image whose binaries carry their dependency list or do not, or why it is not scanned where the target does
    /// not insist.
    pub(super) fn scanner(&self, auditable: bool) -> Result<Result<Scanner, String>> {
        let reason = match known(&self.scanner, Scanner::find) {
            Ok(scanner) if auditable => return Ok(Ok(scanner)),
            Ok(_) => Error::new(Exit::Environment, "cargo-auditable is not installed")
                .because("binaries that are built without it do not say which crates are in them")
                .remedy("cargo install cargo-auditable --locked"),
            // Never ignored: a malicious scanner may have run on this machine.
            Err(error) if error.exit == Exit::Scanner => return Err(error),
            Err(error) => error,
        };
        match self.target().scan {
            Scan::Required => Err(reason),
            Scan::IfInstalled => Ok(Err(match reason.why {
                Some(why) => format!("{} ({why})", reason.what),
                None => reason.what,
            })),
        }
    }
}

/// What a scan on this machine found in an image, where there was one.
///
/// # Errors
/// It cannot be read.
pub fn kept_verdict(root: &Path, digest: &Digest) -> Result<Option<Verdict>> {
    Ok(files::read(&verdict_file(root, digest))?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

fn verdict_file(root: &Path, digest: &Digest) -> PathBuf {
    root.join("target/xtask/verdicts").join(format!("{}.json", digest.hex()))
}

/// A program of this machine, looked for once: it takes longer to start than to answer.
fn known<T: Clone>(cell: &OnceCell<T>, find: impl FnOnce() -> Result<T>) -> Result<T> {
    match cell.get() {
        Some(known) => Ok(known.clone()),
        None => find().map(|found| cell.get_or_init(|| found).clone()),
    }
}

/// Refuses an image that a second build, where there was one, did not make as well: one of the two machines does what nobody asked it for.
fn check_second(built: &Digest, second: Option<&Digest>) -> Result<()> {
    match second.filter(|second| *second != built) {
        None => Ok(()),
        Some(second) => Err(Error::new(Exit::Conflict, "two builds of one commit made two images")
            .because(format!("built:       {built}\nbuilt again: {second}"))
            .remedy("run both builds again: where only their compilers or packages differed, they agree then")
            .remedy("where they do not, one machine does something else: compare the two images, and publish neither")),
    }
}
