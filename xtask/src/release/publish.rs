//! The chart's steps: package, publish, record, list.

use std::time::Duration;

use semver::Version;
use serde::Serialize;

use crate::chart;
use crate::chart::hub;
use crate::chart::index::{self, Entry, FILE};
use crate::chart::manifest::ChartManifest;
use crate::chart::record::{self, Record};
use crate::chart::repository::{self, Snapshot};
use crate::chart::store::{Object, Write};
use crate::config::Target;
use crate::error::{Context, Error, Exit, Result};
use crate::image::labels::ImageFacts;
use crate::oci::{Digest, sha256_hex};
use crate::release::attestations::{OF_CHART, OF_IMAGE};
use crate::release::destination::Destination;
use crate::release::pipeline::Pipeline;
use crate::release::{plan, verify, version};
use crate::sys::threads::side_by_side;
use crate::sys::time::rfc3339;
use crate::ui;

/// How an archive's name stands after an attempt to put it.
#[derive(Debug)]
pub(super) enum Put {
    /// It was there, with our bytes.
    Before,
    /// It is there now.
    Now,
    /// The same release, made with another compiler, was faster: its archive names this image, and an archive never changes.
    Met(Digest),
}

impl Pipeline {
    /// The chart's steps, for an image that was chosen and signed with it before, where there is one: of that digest, or what the version's
    /// tag points at. They are done when users see the version listed; an image without a chart has none. True where something was left to do.
    ///
    /// # Errors
    /// The image is of another release, or cannot be pulled; the version is published with other content, or was yanked; users do not
    /// see it in time.
    pub fn publish_only(&self, digest: Option<Digest>) -> Result<bool> {
        if digest.is_some() {
            self.product.package()?;
        }
        if !self.destination.has_chart {
            return Ok(false);
        }
        let image = self.product.package.as_ref().map(|_| {
            let digest = digest.map_or_else(|| self.tagged(), Ok)?;
            self.check_signed(&digest)?;
            self.pulled(&digest)
        });
        let image = image.transpose()?;
        let image = image.as_ref();
        let signed = image.is_none() && self.attest(None, None)?;
        self.check_said(image)?;
        let put = match self.pack_and_put(image)? {
            Put::Met(other) => {
                return Err(Error::new(Exit::Conflict, "the chart is published for another image")
                    .because(format!("it names {other}, the same release of another compiler"))
                    .remedy(format!(
                        "cargo xtask release tag --digest {other}, then the same command with that digest"
                    )));
            }
            Put::Before => false,
            Put::Now => true,
        };
        let listed = self.list(image)?;
        let shown = self.show_page();
        self.announce()?;
        Ok(signed | put | listed | shown | self.tag_chart(image)?)
    }

    /// Tells caches, and waits until users see the version listed. Gives how long the outside may go on showing old copies.
    pub(super) fn announce(&self) -> Result<Duration> {
        let archive = self.chart.archive_name();
        self.destination.announce(Some(&archive), &[self.release.version.clone()].into())
    }

    /// Packages the chart, for an image that anybody can pull where there is one, and puts the archive.
    pub(super) fn put(&self, image: Option<&ImageFacts>) -> Result<Put> {
        image.map(|image| self.pulled(&image.digest)).transpose()?;
        self.pack_and_put(image)
    }

    /// What an image that anybody can pull says of itself, where it is of this release.
    fn pulled(&self, digest: &Digest) -> Result<ImageFacts> {
        let tag = &version::version_tags(&self.release.version)[0];
        let image = ImageFacts::of(digest.clone(), &verify::image(&self.destination, tag, digest)?);
        self.check_ours(&image)?;
        Ok(image)
    }

    fn pack_and_put(&self, image: Option<&ImageFacts>) -> Result<Put> {
        let seen = self.destination.look()?;
        self.refuse_yanked()?;
        if !seen.is_there() {
            repository::put_first(&*self.destination.store)?;
        }
        let (manifest, bytes) = self.pack(image)?;
        self.put_archive(&manifest.archive_name(), &bytes)
    }

    /// Lists the archive, which names an image where there is one, once it is seen from outside and there is a record of it. True where
    /// that was left to do.
    pub(super) fn list(&self, image: Option<&ImageFacts>) -> Result<bool> {
        let destination = &self.destination;
        let (manifest, bytes) = self.pack(image)?;
        let sha256 = sha256_hex(&bytes);
        let entry = entry(self.target(), &manifest, &sha256, self.release.time)?;
        let visit = verify::ArchiveVisit::new(destination, &manifest.archive_name(), &sha256);
        // Which archive the name has is decided: both only need that.
        let (recorded, fetched) = side_by_side(|| self.record(image, &entry, &bytes), || visit.make());
        fetched?;
        let recorded = recorded?;
        let mut seen = destination.seen()?;
        if !self.is_strict() || !seen.is_there() {
            // Making the archive again took its entry out.
            seen = destination.look()?;
            if self.listed_otherwise(&seen, &sha256)? {
                self.withdraw()?;
                seen = destination.look()?;
            }
        }
        let change = repository::add(&seen, &*destination.store, &manifest.name, &index::short(&entry))?;
        let listed = change.changed;
        destination.remember(change);
        if listed {
            ui::status("Listed", format_args!("{} {} in {FILE}", manifest.name, manifest.version));
        }
        Ok(recorded | listed)
    }

    /// Records what is known of the version. True where that was left to do.
    fn record(&self, image: Option<&ImageFacts>, entry: &Entry, archive: &[u8]) -> Result<bool> {
        let version = &self.release.version;
        let record = self.destination.record(version, image, entry, archive, self.changes.clone())?;
        let recorded =
            record::put(&*self.destination.store, &self.chart.name, &version.to_string(), &record, self.is_strict())?;
        if recorded && record.changes.is_none() && self.target().page {
            let missing = format!("{} has no section for {version}", self.destination.changelog);
            ui::note("Unexplained", format_args!("{missing}: the page does not say what changed"));
        }
        Ok(recorded)
    }

    /// Refuses at the start of a run what publishing would refuse after a long build.
    pub(super) fn refuse_yanked(&self) -> Result<()> {
        if !self.destination.has_chart {
            return Ok(());
        }
        self.destination.seen()?.index()?.refuse_yanked(&self.chart.name, &self.release.version.to_string())
    }

    fn put_archive(&self, name: &str, bytes: &[u8]) -> Result<Put> {
        let store = &*self.destination.store;
        if store.put_new(name, bytes)?.is_done() {
            ui::status("Published", format_args!("{}/{name}", self.target().repository));
            return Ok(Put::Now);
        }
        let changed_just_now = || {
            Error::new(Exit::Busy, format!("{name} was changed by another run just now")).remedy("retry the command")
        };
        let Object { bytes: there, revision, .. } = store.get(name)?.ok_or_else(changed_just_now)?;
        if there == bytes {
            return Ok(Put::Before);
        }
        let there = self.read_archive(there);
        // It differs from ours in nothing but the image that it names.
        if let Some(facts) = self.with_wanted(|wanted| plan::published(&there, wanted))? {
            return Ok(Put::Met(facts.digest.clone()));
        }
        if self.is_strict() {
            let (published, ours) = (sha256_hex(&there.bytes), sha256_hex(bytes));
            return Err(Error::new(Exit::Conflict, format!("{name} is already published with other content"))
                .because(format!("published: sha256 {published}\nours:      sha256 {ours}"))
                .remedy("take the next version: a published one never changes"));
        }
        // The entry leaves first: at no moment does the index lead to bytes that it does not name.
        self.withdraw()?;
        match store.replace(name, &revision, bytes)? {
            Write::Done(_) => {
                let repository = &self.target().repository;
                let why = "its sources changed since it was rehearsed";
                ui::status("Replaced", format_args!("{repository}/{name}: {why}"));
                Ok(Put::Now)
            }
            Write::Refused => Err(changed_just_now()),
        }
    }

    /// Takes our version out of the index because it is made again: rehearsals only.
    pub(super) fn withdraw(&self) -> Result<()> {
        if self.is_strict() || !self.destination.has_chart {
            return Ok(());
        }
        let version = self.release.version.to_string();
        let withdrawn = repository::update(&*self.destination.store, &|index| {
            Ok(index.withdraw(&self.chart.name, &version).is_some())
        })?;
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

impl Destination {
    /// What is known of a version now, whose signers are those of its image, or of its chart where that is all.
    pub(super) fn record(
        &self,
        version: &Version,
        image: Option<&ImageFacts>,
        entry: &Entry,
        archive: &[u8],
        changes: Option<String>,
    ) -> Result<Record> {
        let signers = match (image, chart::oci::time(entry)) {
            _ if !self.target.signs(version) => Vec::new(),
            (Some(image), _) => self.findings(&*self.registry, &image.digest, version, &OF_IMAGE)?.accepted,
            (None, Some(time)) => {
                let chart = chart::oci::artifact(archive, time)?.descriptor.digest;
                self.findings(&*self.charts, &chart, version, &OF_CHART)?.accepted
            }
            (None, None) => Vec::new(),
        };
        let unreadable = || format!("cannot record {version}");
        Ok(Record {
            entry: serde_json::from_str(entry.json()).context(Exit::Failure, unreadable)?,
            size: archive.len().try_into().context(Exit::Failure, unreadable)?,
            platforms: image.map(|image| image.parts.clone()).unwrap_or_default(),
            changes,
            signers: signers.into_iter().map(|attested| attested.signer).collect(),
        })
    }
}

/// The whole index entry of an archive: what Helm makes of the manifest, and where, when and what the archive is.
pub(super) fn entry(target: &Target, manifest: &ChartManifest, sha256: &str, time: i64) -> Result<Entry> {
    #[derive(Serialize)]
    struct ChartVersion<'a> {
        #[serde(flatten)]
        manifest: ChartManifest,
        urls: [String; 1],
        created: String,
        digest: &'a str,
    }
    let entry = Entry::of(&ChartVersion {
        manifest: hub::listed(manifest),
        urls: [format!("{}/{}", target.repository, manifest.archive_name())],
        created: rfc3339(time)?,
        digest: sha256,
    });
    entry.context(Exit::Failure, || format!("cannot list {} {}", manifest.name, manifest.version))
}
