//! The chart's part of the road: package, publish, list, promote; and taking a version out of the list again.

use std::collections::BTreeSet;
use std::time::Duration;

use semver::Version;
use serde::Serialize;

use crate::cdn::STALE_FOR;
use crate::chart::index::{Entry, FILE};
use crate::chart::manifest::ChartManifest;
use crate::chart::repository::{self, Snapshot};
use crate::error::{Context, Error, Exit, Result};
use crate::image::layout::{Digest, sha256_hex};
use crate::moment::rfc3339;
use crate::release::Release;
use crate::release::plan::ImageFacts;
use crate::release::road::Road;
use crate::release::verify::{self, Proof};
use crate::release::{promote, version};
use crate::store::Write;
use crate::ui;

/// How publishing the chart went.
#[derive(Debug)]
pub enum Published {
    /// The chart is out and listed; true where anything was changed.
    Ours(bool),
    /// The same release, made with another compiler, was faster: its archive names this image, and an archive never changes.
    Met(Digest),
}

impl Road {
    /// Packages the chart for an image, puts the archive, and lists it.
    ///
    /// # Errors
    /// The image is of another release, or cannot be pulled; the version is published with other content, or was yanked.
    pub fn publish(&self, digest: &Digest) -> Result<Published> {
        let target = &self.release.target;
        let store = &*self.place.store;
        let tag = &version::version_tags(&self.release.version)[0];
        let image = ImageFacts::of(digest.clone(), &verify::image(target, tag, digest, self.patience())?);
        self.check_ours(&image)?;
        let (manifest, bytes) = self.pack(&image)?;
        let name = manifest.archive_name();
        let sha256 = sha256_hex(&bytes);
        let entry = entry(&manifest, &sha256, &self.release)?;
        // One look at the index, before the archive is put, serves for all that follows: what others change meanwhile, the
        // compare-and-swap sees.
        let mut seen = self.place.look()?;
        self.refuse_yanked()?;
        if !seen.is_there() {
            repository::put_first(store)?;
            seen = self.place.look()?;
        }
        let mut changed = match self.put_archive(&name, &bytes)? {
            Archive::There => false,
            Archive::Put => true,
            Archive::Other(digest) => return Ok(Published::Met(digest)),
        };
        verify::archive(target, &name, &sha256, self.patience())?;
        if !self.strict {
            // Making the archive again took its entry out.
            seen = self.place.look()?;
            if self.listed_otherwise(&seen, &sha256)? {
                self.withdraw()?;
                seen = self.place.look()?;
            }
        }
        if repository::add(&seen, store, &manifest.name, &entry)? {
            ui::status("Listed", format_args!("{} {} in {FILE}", manifest.name, manifest.version));
            changed = true;
        }
        Ok(Published::Ours(changed))
    }

    /// The chart alone, for an image that was chosen before. It is done when users see it listed.
    ///
    /// # Errors
    /// As `publish`; the same release was published for another image; users do not see it in time.
    pub fn publish_only(&self, digest: &Digest) -> Result<bool> {
        match self.publish(digest)? {
            Published::Ours(changed) => {
                let patience = self.refresh()?;
                self.wait_until_listed(&[self.release.version.clone()].into(), patience)?;
                Ok(changed)
            }
            Published::Met(other) => Err(Error::new(Exit::Conflict, "the chart is published for another image")
                .because(format!("it names {other}, the same release of another compiler"))
                .remedy(format!("cargo xtask release tag --digest {other}, then the same words with that digest"))),
        }
    }

    /// Makes every cache drop the index and the archive. Gives how long the outside may go on showing old copies.
    ///
    /// # Errors
    /// The index cannot be read. A cache that cannot be told is a warning: old copies end by themselves.
    pub fn refresh(&self) -> Result<Duration> {
        if self.place.cdn.is_none() {
            return Ok(Duration::ZERO);
        }
        let index = self.place.store.version(FILE)?.unwrap_or_default();
        Ok(self.refresh_to(&index))
    }

    /// The same for one writing of the index.
    fn refresh_to(&self, index: &str) -> Duration {
        let Some(cdn) = &self.place.cdn else { return Duration::ZERO };
        self.announced.replace(Some(index.to_owned()));
        let paths = [FILE.to_owned(), self.chart.archive_name()].map(|name| format!("/{name}"));
        // One and the same request for one state of the index, whoever makes it and however often.
        let reference = &sha256_hex(format!("{index} {}", paths.join(" ")).as_bytes())[..40];
        match cdn.invalidate(&paths, reference) {
            Ok(()) => {
                ui::status("Invalidated", paths.join(" "));
                self.patience()
            }
            Err(error) => {
                let meanwhile = format!("users may see the old {FILE} for up to {} s more", STALE_FOR.as_secs());
                ui::warn(format_args!("{error}\n  {meanwhile}; this run waits for as long"));
                ui::summary(&format!("> [!WARNING]\n> The caches could not be told of the new {FILE}: {meanwhile}.\n"));
                STALE_FOR
            }
        }
    }

    /// Waits until users see these versions listed. Floating tags follow what they see, and not what the bucket holds: where no
    /// cache could be told, that is later.
    ///
    /// # Errors
    /// They do not see them in time.
    pub fn wait_until_listed(&self, versions: &BTreeSet<Version>, patience: Duration) -> Result<()> {
        if self.place.cdn.is_none() {
            return Ok(());
        }
        verify::index(&self.release.target, &self.chart.name, versions, patience)
    }

    /// Points the floating tags at the highest listed versions. True where one moved.
    ///
    /// # Errors
    /// The index or the registry cannot be read or written to; users do not see the index in time.
    pub fn promote(&self) -> Result<bool> {
        promote::run(&*self.place.registry, &|| self.shown(), &self.workspace.first_version)
    }

    /// The listed versions, once users see those that tags will lead to: another run may have listed one a moment ago, and no tag may
    /// lead to a version before users find it in the index.
    fn shown(&self) -> Result<Vec<Version>> {
        let snapshot = self.place.look()?;
        let listed = snapshot.index()?.versions(&self.chart.name);
        if self.announced.borrow().as_deref() != Some(snapshot.version()) {
            let patience = self.refresh_to(snapshot.version());
            let leaders = version::floating_tags(&listed, &self.workspace.first_version).into_values().collect();
            self.wait_until_listed(&leaders, patience)?;
        }
        Ok(listed)
    }

    /// Fetches a version as an anonymous user would.
    ///
    /// # Errors
    /// Something is not there, or not what was published.
    pub fn verify(&self, version: &Version, patience: Duration) -> Result<Proof> {
        verify::run(&self.release.target, &self.chart.name, version, &self.workspace.first_version, patience)
    }

    /// The highest stable version that users see listed.
    ///
    /// # Errors
    /// The public index cannot be read.
    pub fn newest(&self) -> Result<Option<Version>> {
        verify::newest(&self.release.target, &self.chart.name)
    }

    /// Takes a version out of the index, for a reason that is kept, and moves the floating tags. False where it was out before.
    ///
    /// # Errors
    /// The version is not listed.
    pub fn yank(&self, version: &Version, reason: &str) -> Result<bool> {
        let (chart, text) = (&self.chart.name, version.to_string());
        let changed = repository::update(&*self.place.store, &|index| index.yank(chart, &text, reason))?;
        self.refresh()?;
        self.promote()?;
        Ok(changed)
    }

    /// Puts a yanked version back as it was, and moves the floating tags. False where it was listed.
    ///
    /// # Errors
    /// The version was never yanked.
    pub fn unyank(&self, version: &Version) -> Result<bool> {
        let (chart, text) = (&self.chart.name, version.to_string());
        let changed = repository::update(&*self.place.store, &|index| index.unyank(chart, &text))?;
        let patience = self.refresh()?;
        self.wait_until_listed(&[version.clone()].into(), patience)?;
        self.promote()?;
        Ok(changed)
    }

    /// Refuses at the start of a run what publishing would refuse after a long build.
    pub(super) fn refuse_yanked(&self) -> Result<()> {
        self.place.seen()?.index()?.refuse_yanked(&self.chart.name, &self.release.version.to_string())
    }

    fn put_archive(&self, name: &str, bytes: &[u8]) -> Result<Archive> {
        let store = &*self.place.store;
        if store.put_new(name, bytes)? == Write::Done {
            ui::status("Published", format_args!("{}/{name}", self.release.target.repository));
            return Ok(Archive::Put);
        }
        let changed_just_now = || {
            Error::new(Exit::Busy, format!("{name} was changed by another run just now"))
                .remedy("run the same words again")
        };
        let there = store.get(name)?.ok_or_else(changed_just_now)?;
        if there.bytes == bytes {
            return Ok(Archive::There);
        }
        // It differs from ours in nothing but the image that it names.
        if let Some(facts) = self.same_release(&there.bytes)? {
            return Ok(Archive::Other(facts.digest));
        }
        if self.strict {
            let (published, ours) = (sha256_hex(&there.bytes), sha256_hex(bytes));
            return Err(Error::new(Exit::Conflict, format!("{name} is already published with other content"))
                .because(format!("published: sha256 {published}\nours:      sha256 {ours}"))
                .remedy("take the next version: a published one never changes"));
        }
        // The entry leaves first: at no moment does the index lead to bytes that it does not name.
        self.withdraw()?;
        match store.replace(name, &there.revision, bytes)? {
            Write::Done => {
                let repository = &self.release.target.repository;
                let why = "its sources changed since it was rehearsed";
                ui::status("Replaced", format_args!("{repository}/{name}: {why}"));
                Ok(Archive::Put)
            }
            Write::Refused => Err(changed_just_now()),
        }
    }

    /// Takes our version out of the index because it is made again: rehearsals only.
    pub(super) fn withdraw(&self) -> Result<()> {
        if self.strict {
            return Ok(());
        }
        let version = self.release.version.to_string();
        let withdrawn =
            repository::update(&*self.place.store, &|index| Ok(index.withdraw(&self.chart.name, &version).is_some()))?;
        if withdrawn {
            ui::note("Withdrawn", format_args!("{version} from {FILE}, until it is published again"));
        }
        Ok(())
    }

    fn listed_otherwise(&self, seen: &Snapshot, sha256: &str) -> Result<bool> {
        let index = seen.index()?;
        let entry = index.find(&self.chart.name, &self.release.version.to_string());
        Ok(entry.is_some_and(|entry| entry.sha256() != Some(sha256)))
    }
}

/// How an archive's name stands after an attempt to put it.
enum Archive {
    /// It was there, with our bytes.
    There,
    /// It is there now.
    Put,
    /// It is there with the image of another compiler.
    Other(Digest),
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
    let entry = Entry::of(&ChartVersion {
        manifest,
        urls: [format!("{}/{}", release.target.repository, manifest.archive_name())],
        created: rfc3339(release.time)?,
        digest: sha256,
    });
    entry.context(Exit::Failure, || format!("cannot list {} {}", manifest.name, manifest.version))
}
