//! Mends by the steps that releases take, each of which looks once more and writes only in place of what it saw.

use std::collections::BTreeSet;

use chart_text::changes;
use semver::Version;

use super::{Finding, Mend};
use crate::chart::archive;
use crate::chart::index::{self, Entry};
use crate::chart::record;
use crate::chart::repository;
use crate::error::{Error, Exit, Result};
use crate::image::labels::ImageFacts;
use crate::oci::sha256_hex;
use crate::release::destination::Destination;
use crate::release::{publish, verify, version};
use crate::ui;

impl Destination {
    /// Does what can be done about what was found. What fails is a warning: whoever looks again finds it.
    pub fn mend(&self, found: &[Finding]) {
        let mends: BTreeSet<Mend> = found.iter().filter_map(Finding::mend).cloned().collect();
        let (first, last): (Vec<&Mend>, Vec<&Mend>) = mends.iter().partition(|mend| **mend <= Mend::Page);
        let apply = |mend: &&Mend| {
            if let Err(error) = self.apply(mend) {
                ui::warn(format_args!("cannot {mend}: {error}"));
            }
        };
        first.iter().for_each(apply);
        // Users see what the rest leads to before it moves.
        if first.iter().any(|mend| !matches!(mend, Mend::VersionTag(..)))
            && let Err(error) = self.show_again()
        {
            ui::warn(error);
        }
        last.iter().for_each(apply);
    }

    fn apply(&self, mend: &Mend) -> Result<()> {
        match mend {
            Mend::VersionTag(tag, digest) => self.registry.tag(&[(tag.clone(), digest.clone())])?,
            Mend::Record(version) => drop(self.record_again(version)?),
            Mend::Entry(version) => self.list_again(version)?,
            Mend::Entries => self.shorten()?,
            Mend::Index => repository::write_again(&*self.look()?, &*self.store)?,
            // With whatever else the index's page shows anew.
            Mend::Page => return Ok(()),
            Mend::Caches(stale) => self.refresh(stale)?,
            Mend::ChartTag(tag, digest) => self.charts.tag(&[(tag.clone(), digest.clone())])?,
            Mend::FloatingTags => drop(self.promote()?),
        }
        ui::status("Mended", mend);
        Ok(())
    }

    /// Lists an archive as its release did: once its image can be pulled, it can be fetched, and there is a record of it.
    fn list_again(&self, version: &Version) -> Result<()> {
        let entry = self.record_again(version)?;
        let change = repository::add(&*self.look()?, &*self.store, &self.chart, &index::short(&entry))?;
        self.remember(change);
        Ok(())
    }

    /// Makes the entries short whose whole form is recorded, all by one writing.
    fn shorten(&self) -> Result<()> {
        let mut held = BTreeSet::new();
        for entry in self.look()?.index()?.entries(&self.chart).iter().filter(|entry| !index::is_short(entry)) {
            if record::read(&*self.store, &self.chart, &entry.version)?.is_some_and(|record| record.holds(entry)) {
                held.insert(entry.json().to_owned());
            }
        }
        let is_held = |entry: &Entry| held.contains(entry.json());
        repository::update(&*self.store, &|index| Ok(index.shorten(&self.chart, &is_held)))?;
        Ok(())
    }

    /// Records what is known of a version now, where there is no record. Gives its whole entry.
    fn record_again(&self, version: &Version) -> Result<Entry> {
        let name = self.archive_name(version);
        let gone = || Error::new(Exit::Busy, format!("{name} was changed by somebody just now"));
        let bytes = self.store.get(&name)?.ok_or_else(gone)?.bytes;
        let (manifest, sha256) = (archive::manifest_of(&bytes)?, sha256_hex(&bytes));
        let image = if self.has_image {
            let digest = archive::image_of(&manifest).ok_or_else(gone)?;
            let parts = verify::image(self, &version::version_tags(version)[0], &digest)?;
            Some(ImageFacts::of(digest, &parts))
        } else {
            None
        };
        verify::ArchiveVisit::new(self, &name, &sha256).make()?;
        let entry = publish::entry(&self.target, &manifest, &sha256, archive::time(&bytes)?)?;
        let changelog = self.tree()(&self.changelog)?.unwrap_or_default();
        let changes = changes::section(&String::from_utf8_lossy(&changelog), &version.to_string());
        let record = self.record(version, image.as_ref(), &entry, &bytes, changes)?;
        record::put(&*self.store, &self.chart, &version.to_string(), &record, true)?;
        Ok(entry)
    }

    /// The page of the index as it is now, and no old copies of both.
    fn show_again(&self) -> Result<()> {
        self.mend_page();
        self.refresh("")
    }
}
