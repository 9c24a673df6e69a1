//! Asks the world once what it holds of a release. Nothing is changed, and what cannot be seen is no error: it is unknown, and says why.

use crate::chart::package::{self, RELEASED_IMAGE};
use crate::error::Result;
use crate::image::labels::ImageFacts;
use crate::image::layout::Digest;
use crate::release::pipeline::Pipeline;
use crate::release::plan::{self, Archive, ImagePlan, Listing, World};
use crate::release::step::Planned;
use crate::release::{promote, verify, version};

impl Pipeline {
    /// What every step would do. Changes nothing.
    pub fn plan(&self) -> Vec<Planned> {
        let world = self.observe();
        self.with_wanted(|wanted| plan::plan(&world, wanted))
    }

    /// Asks for everything that a plan rests on.
    pub(super) fn observe(&self) -> World {
        let listing = self.listing();
        let image = self.observe_image(listing.as_ref().err().cloned().map_or(Ok(()), Err));
        let tags = match (&listing, &image.tagged) {
            (Ok(listing), Ok(_)) => self.tags(listing),
            (Err(error), _) | (_, Err(error)) => Err(error.clone()),
        };
        let shown = listing.as_ref().map_err(Clone::clone).and_then(|listing| self.shown(listing));
        World { commit: self.standing(), listing, tags, shown, ..image }
    }

    /// Asks for what decides which image is the release's, and for nothing else.
    pub(super) fn image_plan(&self) -> ImagePlan {
        let world = self.observe_image(Ok(()));
        self.with_wanted(|wanted| plan::image(&world, wanted))
    }

    /// The part of the world that is about the image. A store that just failed is not asked again.
    fn observe_image(&self, store: Result<()>) -> World {
        let archive = store.and_then(|()| self.archive());
        let tagged = self.destination.tagged(&self.release.version);
        let named = archive.as_ref().ok().and_then(|archive| archive.as_ref()?.image.as_ref());
        let candidates = named.into_iter().chain(tagged.as_ref().ok().and_then(Option::as_ref));
        let has_verdict = |facts: &&ImageFacts| self.has_verdict(&facts.digest).unwrap_or_default();
        let scanned = candidates.filter(has_verdict).map(|facts| facts.digest.clone()).collect();
        World {
            commit: Ok(None),
            tagged,
            archive,
            listing: Ok(Listing::default()),
            tags: Ok([].into()),
            shown: Ok(None),
            scanned,
        }
    }

    fn archive(&self) -> Result<Option<Archive>> {
        let object = self.destination.store.get(&self.chart.archive_name())?;
        Ok(object.map(|object| Archive { image: self.named_image(&object.bytes), bytes: object.bytes }))
    }

    /// The image that an archive names, where the registry has it.
    pub(super) fn named_image(&self, archive: &[u8]) -> Option<ImageFacts> {
        let manifest = package::manifest(&package::unpack(archive).ok()?).ok()?;
        let digest: Digest = manifest.annotations.get(RELEASED_IMAGE)?.rsplit_once('@')?.1.parse().ok()?;
        let parts = self.destination.registry.platforms(&digest).ok()?;
        Some(ImageFacts::of(digest, &parts))
    }

    fn listing(&self) -> Result<Listing> {
        let snapshot = self.destination.look()?;
        let (index, version) = (snapshot.index()?, self.release.version.to_string());
        let entry = index.find(&self.chart.name, &version);
        Ok(Listing {
            entry: entry.map(|entry| entry.sha256().map(str::to_owned)),
            yanked: index.yanked(&self.chart.name, &version)?.map(|yanked| yanked.reason),
            versions: index.versions(&self.chart.name),
        })
    }

    fn tags(&self, listing: &Listing) -> Result<std::collections::BTreeMap<String, Digest>> {
        let registry = &*self.destination.registry;
        let version = &self.release.version;
        let listed: Vec<_> = listing.versions.iter().chain([version]).cloned().collect();
        let own = version::version_tags(version);
        promote::pointers(registry, &listed, &self.workspace.first_version, &own)
    }

    /// A version that the index does not list yet is not looked for in what caches have of it.
    fn shown(&self, listing: &Listing) -> Result<Option<String>> {
        if self.destination.cdn.is_none() || listing.entry.is_none() {
            return Ok(None);
        }
        verify::listed(self.target(), &self.chart.name, &self.release.version.to_string())
    }
}
