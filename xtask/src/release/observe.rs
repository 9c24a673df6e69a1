//! Asks the world once what it holds of a release. Nothing is changed, and what cannot be seen is no error: it is unknown, and says why.

use std::collections::{BTreeMap, BTreeSet};

use crate::chart::{archive, record};
use crate::error::{Exit, Result};
use crate::image::labels::ImageFacts;
use crate::oci::Digest;
use crate::release::decision;
use crate::release::pipeline::Pipeline;
use crate::release::plan::{self, Archive, ImagePlan, Images, Listing, Plan, World};
use crate::release::promote::{self, Listed};
use crate::release::{verify, version};
use crate::ui;

impl Pipeline {
    /// What every step would do. Changes nothing.
    pub fn plan(&self) -> Plan {
        let world = self.observe();
        self.with_wanted(|wanted| plan::plan(&world, wanted))
    }

    /// Asks for everything that a plan rests on. A store that just failed is not asked again.
    fn observe(&self) -> World {
        let listing = self.listing();
        let images = self.images_and(listing.as_ref().err().cloned().map_or_else(|| self.archive(), Err));
        let tags = match (&listing, &images.tagged) {
            (Ok(listing), Ok(_)) => self.tags(listing),
            (Err(error), _) | (_, Err(error)) => Err(error.clone()),
        };
        let (shown, page) = match &listing {
            // What the index does not list yet, no page shows.
            Ok(listing) => (self.shown(listing), listing.entry.as_ref().map_or(Ok(false), |_| self.is_page_shown())),
            Err(error) => (Err(error.clone()), Err(error.clone())),
        };
        let (unsaid, chart_tagged) = match self.image_plan(&images) {
            ImagePlan::Adopt(facts) => (self.unsaid(Some(&facts)), self.is_chart_tagged(Some(&facts))),
            ImagePlan::Without => (self.unsaid(None), self.is_chart_tagged(None)),
            _ => (Ok(Vec::new()), Ok(!self.is_signed() || !self.destination.has_chart)),
        };
        World {
            scanned: self.scanned(&images),
            commit: self.standing(),
            images,
            listing,
            tags,
            page,
            shown,
            unsaid,
            chart_tagged,
        }
    }

    /// Asks for what decides which image is the release's, and for nothing else.
    pub(super) fn images(&self) -> Images {
        self.images_and(self.archive())
    }

    /// Which image is the release's.
    pub(super) fn image_plan(&self, images: &Images) -> ImagePlan {
        self.with_wanted(|wanted| plan::image(images, wanted))
    }

    fn images_and(&self, archive: Result<Option<Archive>>) -> Images {
        let tagged = match &self.product.package {
            Some(_) => self.destination.tagged(&self.release.version),
            None => Ok(None),
        };
        let tagged = if self.options.public { seen(tagged) } else { tagged };
        let named = archive.as_ref().ok().and_then(|archive| archive.as_ref()?.image.as_ref());
        let candidates: BTreeSet<&Digest> =
            named.into_iter().chain(tagged.as_ref().ok().and_then(Option::as_ref)).map(|facts| &facts.digest).collect();
        let candidates = candidates.into_iter().filter(|_| self.is_signed());
        let attested = candidates.map(|digest| (digest.clone(), self.attested(digest))).collect();
        Images { archive, tagged, attested }
    }

    fn scanned(&self, images: &Images) -> BTreeSet<Digest> {
        let named = images.archive.as_ref().ok().and_then(|archive| archive.as_ref()?.image.as_ref());
        let tagged = images.tagged.as_ref().ok().and_then(Option::as_ref);
        let has_verdict = |facts: &&ImageFacts| self.has_verdict(&facts.digest).unwrap_or_default();
        named.into_iter().chain(tagged).filter(has_verdict).map(|facts| facts.digest.clone()).collect()
    }

    fn archive(&self) -> Result<Option<Archive>> {
        if !self.destination.has_chart {
            return Ok(None);
        }
        // Caches remember what was not there.
        if self.options.public && matches!(self.destination.listed(&self.release.version), decision::Listed::Not) {
            return Ok(None);
        }
        let object = self.destination.store.get(&self.chart.archive_name())?;
        Ok(object.map(|object| self.read_archive(object.bytes)))
    }

    /// An archive with the image that it names, where the registry has it.
    pub(super) fn read_archive(&self, bytes: Vec<u8>) -> Archive {
        Archive { image: self.named_image(&bytes), bytes }
    }

    fn named_image(&self, archive: &[u8]) -> Option<ImageFacts> {
        let digest = archive::image_of(&archive::manifest_of(archive).ok()?)?;
        self.destination.facts(&digest).ok()
    }

    fn listing(&self) -> Result<Listing> {
        if !self.destination.has_chart {
            return Ok(Listing { listed: self.destination.tagged_versions()?, recorded: true, ..Listing::default() });
        }
        let snapshot = self.destination.look()?;
        let (index, version) = (snapshot.index()?, self.release.version.to_string());
        let entry = index.find(&self.chart.name, &version);
        let is_recorded = || self.destination.store.version(&record::name(&self.chart.name, &version));
        Ok(Listing {
            recorded: entry.is_none() || is_recorded()?.is_some(),
            entry: entry.map(|entry| entry.sha256().map(str::to_owned)),
            yanked: index.yanked(&self.chart.name, &version)?.map(|yanked| yanked.reason),
            listed: Listed::of(index, &self.chart.name, &self.product.first_version),
        })
    }

    fn tags(&self, listing: &Listing) -> Result<BTreeMap<String, Digest>> {
        if self.product.package.is_none() {
            return Ok(BTreeMap::new());
        }
        let registry = &*self.destination.registry;
        let version = &self.release.version;
        let listed: Vec<_> = listing.listed.versions.iter().chain([version]).cloned().collect();
        let own = version::version_tags(version);
        promote::pointers(registry, &listed, &self.product.first_version, &own)
    }

    /// A version that the index does not list yet is not looked for in what caches have of it.
    fn shown(&self, listing: &Listing) -> Result<Option<String>> {
        if self.destination.cdn.is_none() || listing.entry.is_none() {
            return Ok(None);
        }
        verify::listed(&self.destination, &self.release.version.to_string())
    }
}

/// A package that is not there yet, or not public, is denied to everybody without credentials. Whoever pushes looks again.
fn seen(tagged: Result<Option<ImageFacts>>) -> Result<Option<ImageFacts>> {
    match tagged {
        Err(error) if error.exit == Exit::Environment => {
            ui::note("Unseen", format_args!("the image, if there is one: {}", error.why.unwrap_or(error.what)));
            Ok(None)
        }
        tagged => tagged,
    }
}
