//! Mends by the steps that releases take, each of which looks once more and writes only in place of what it saw.

use std::collections::BTreeSet;

use semver::Version;

use super::{Finding, Mend};
use crate::chart::archive;
use crate::chart::repository;
use crate::error::{Error, Exit, Result};
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
            Mend::Entry(version) => self.list_again(version)?,
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

    /// Lists an archive as its release did: once its image can be pulled and it can be fetched.
    fn list_again(&self, version: &Version) -> Result<()> {
        let name = self.archive_name(version);
        let gone = || Error::new(Exit::Busy, format!("{name} was changed by somebody just now"));
        let bytes = self.store.get(&name)?.ok_or_else(gone)?.bytes;
        let (manifest, sha256) = (archive::manifest_of(&bytes)?, sha256_hex(&bytes));
        let image = archive::image_of(&manifest).ok_or_else(gone)?;
        verify::image(self, &version::version_tags(version)[0], &image)?;
        verify::archive(self, &name, &sha256)?;
        let entry = publish::entry(&self.target, &manifest, &sha256, archive::time(&bytes)?)?;
        let change = repository::add(&*self.look()?, &*self.store, &self.chart, &entry)?;
        self.remember(change);
        Ok(())
    }

    /// The page of the index as it is now, and no old copies of both.
    fn show_again(&self) -> Result<()> {
        self.mend_page();
        self.refresh("")
    }
}
