//! The chart's part of the road: package, publish, list, promote; and taking a version out of the list again.

use semver::Version;
use serde::Serialize;

use crate::chart::index::{Entry, FILE};
use crate::chart::manifest::ChartManifest;
use crate::chart::repository;
use crate::error::{Context, Error, Exit, Result};
use crate::image::layout::{Digest, sha256_hex};
use crate::image::registry::Registry;
use crate::moment::rfc3339;
use crate::release::Release;
use crate::release::plan::ImageFacts;
use crate::release::road::Road;
use crate::release::verify::{self, Proof};
use crate::release::{promote, version};
use crate::store::{Store, Write};
use crate::ui;

impl Road {
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

    pub(super) fn refuse_yanked(&self) -> Result<()> {
        let version = self.release.version.to_string();
        repository::read(&self.store)?.index()?.refuse_yanked(&self.chart.name, &version)
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
    pub(super) fn withdraw(&self) -> Result<()> {
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
        let index = snapshot.index()?;
        let entry = index.find(&self.chart.name, &self.release.version.to_string());
        Ok(entry.is_some_and(|entry| entry.sha256() != Some(sha256)))
    }
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
