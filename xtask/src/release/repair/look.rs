//! What is there of everything that is published, seen from inside and, as far as users get it, from outside. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use super::{Archive, Chart, Finding, Listing, Outside, Recorded, Seen, Sight, diagnose, image};
use crate::chart;
use crate::chart::archive::{self, RELEASED_IMAGE, RELEASED_REVISION};
use crate::chart::index::{self, Entry, FILE, Index};
use crate::chart::manifest::ChartManifest;
use crate::chart::page;
use crate::chart::record::{self, Record};
use crate::chart::repository::Snapshot;
use crate::error::{Error, Exit, Result};
use crate::oci::{Digest, sha256_hex};
use crate::release::destination::Destination;
use crate::release::{promote, publish, verify, version};

impl Destination {
    /// Looks at all that is published, and says what of it is not as it should be.
    pub fn diagnosis(&self) -> Vec<Finding> {
        if self.has_chart { diagnose(&self.examine()) } else { image::diagnose(&self.examine_image()) }
    }

    /// Looks at all of it. What cannot be seen is an error at its place.
    ///
    /// # Errors
    /// The index cannot be read or is damaged: nothing is known without it.
    pub fn examine(&self) -> Result<Seen> {
        let snapshot = self.look()?;
        let index = snapshot.index()?;
        let mut versions = BTreeMap::new();
        for version in self.known(index)? {
            let sight = self.sight(index, &version)?;
            versions.insert(version, sight);
        }
        let known: Vec<Version> = versions.keys().cloned().collect();
        let of_versions: Vec<String> = known.iter().flat_map(version::version_tags).collect();
        let tags = match self.has_image {
            true => promote::pointers(&*self.registry, &known, &self.first, &of_versions),
            false => Ok(BTreeMap::new()),
        };
        let pages = if self.target.page { self.lost_pages() } else { Ok(Vec::new()) };
        let on_page = if self.target.page { self.yanked_on_page() } else { Ok(BTreeSet::new()) };
        let outside = if self.cdn.is_some() { self.outside(&snapshot) } else { Ok(Outside::default()) };
        let (first, has_image) = (self.first.clone(), self.has_image);
        Ok(Seen { first, has_image, versions, tags, pages, yanked_on_page: on_page, outside })
    }

    /// Every version of this product that is listed, was yanked, or has an archive.
    fn known(&self, index: &Index) -> Result<Vec<Version>> {
        let archives = self.store.list(".tgz")?;
        let prefix = format!("{}-", self.chart);
        let archived = archives.keys().filter_map(|name| name.strip_prefix(&*prefix)?.strip_suffix(".tgz"));
        let archived = archived.filter_map(|text| Version::parse(text).ok());
        let mut known: Vec<Version> = index.versions(&self.chart).into_iter().chain(archived).collect();
        known.retain(|version| version::check(version, &self.first).is_ok());
        known.sort();
        known.dedup();
        Ok(known)
    }

    fn sight(&self, index: &Index, version: &Version) -> Result<Sight> {
        let text = version.to_string();
        let entries = index.entries(&self.chart).iter().filter(|entry| *entry.version == *text);
        let entries: Vec<Listing> = entries.map(|entry| self.listed_as(entry)).collect();
        let (is_yanked, is_signed) = (index.yanked(&self.chart, &text)?.is_some(), self.target.signs(version));
        if is_yanked && entries.is_empty() {
            // Its files stay as they are.
            return Ok(Sight { entries, is_yanked, archive: Ok(None), chart_tag: Ok(None), is_signed });
        }
        let chart_tag = if is_signed { self.charts.resolve(&chart::oci::tag(&text)) } else { Ok(None) };
        Ok(Sight { entries, is_yanked, archive: self.archive(version), chart_tag, is_signed })
    }

    fn listed_as(&self, entry: &Entry) -> Listing {
        let fields: serde_json::Value = serde_json::from_str(entry.json()).unwrap_or_default();
        let url = fields["urls"][0].as_str().unwrap_or_default();
        // One that says what no record does stays as it is.
        let is_held = || {
            let record = record::read(&*self.store, &self.chart, &entry.version);
            record.is_ok_and(|record| record.is_none_or(|record| record.holds(entry)))
        };
        Listing {
            sha256: entry.sha256().unwrap_or_default().to_owned(),
            leads_here: url.starts_with(&format!("{}/", self.target.repository)),
            origin: fields["annotations"][self.origin_name()].as_str().map(str::to_owned),
            is_long: !index::is_short(entry) && is_held(),
        }
    }

    /// The annotation that says what a chart was made of.
    fn origin_name(&self) -> &'static str {
        if self.has_image { RELEASED_IMAGE } else { RELEASED_REVISION }
    }

    /// How what is recorded of a version stands to what its archive holds.
    fn recorded(&self, version: &Version, manifest: &ChartManifest, bytes: &[u8], sha256: &str) -> Result<Recorded> {
        let name = record::name(&self.chart, &version.to_string());
        let Some(object) = self.store.get(&name)? else { return Ok(Recorded::Missing) };
        let entry = publish::entry(&self.target, manifest, sha256, archive::time(bytes)?)?;
        let is_right = Record::parse(&name, &object.bytes).is_ok_and(|record| record.is_of(&entry, bytes.len()));
        Ok(if is_right { Recorded::Right } else { Recorded::Wrong })
    }

    pub(super) fn archive_name(&self, version: &Version) -> String {
        format!("{}-{version}.tgz", self.chart)
    }

    fn archive(&self, version: &Version) -> Result<Option<Archive>> {
        let name = self.archive_name(version);
        let Some(object) = self.store.get(&name)? else { return Ok(None) };
        let sha256 = sha256_hex(&object.bytes);
        let chart = self.chart_in(version, &name, &object.bytes, &sha256);
        Ok(Some(Archive { sha256, chart }))
    }

    fn chart_in(&self, version: &Version, name: &str, bytes: &[u8], sha256: &str) -> Result<Chart, String> {
        let manifest = archive::manifest_of(bytes).map_err(|error| error.what)?;
        if (&*manifest.name, &*manifest.version) != (&*self.chart, &*version.to_string()) {
            return Err(format!("it holds {} {}", manifest.name, manifest.version));
        }
        let origin = manifest.annotations.get(self.origin_name()).cloned().unwrap_or_default();
        if origin.is_empty() && !self.has_image {
            return Err(format!("it does not say what it was made of ({RELEASED_REVISION})"));
        }
        let prefix = format!("{}:{version}@", self.target.image);
        let digest = || {
            let digest = origin.strip_prefix(&prefix).and_then(|digest| digest.parse::<Digest>().ok());
            digest.ok_or_else(|| format!("it installs `{origin}`, and not {prefix}sha256:…"))
        };
        let image = self.has_image.then(digest).transpose()?;
        let artifact = self.target.signs(version).then(|| chart::oci::artifact(bytes, archive::time(bytes)?));
        let artifact = artifact.transpose().map_err(|error| error.what)?;
        let doubts = verify::doubts(self, version, (name, sha256), (image.as_ref(), &origin), artifact.as_ref());
        let record = self.recorded(version, &manifest, bytes, sha256);
        Ok(Chart { origin, image, artifact: artifact.map(|artifact| artifact.descriptor.digest), record, doubts })
    }

    fn yanked_on_page(&self) -> Result<BTreeSet<String>> {
        page::yanked(&*self.store, (!self.all_charts.is_empty()).then_some(&self.chart))
    }

    /// What an anonymous user gets of index and page.
    fn outside(&self, snapshot: &Snapshot) -> Result<Outside> {
        let mut outside = Outside::default();
        let repository = &self.target.repository;
        let mut fronts = Vec::new();
        for name in self.front_pages() {
            fronts.extend(self.store.get(&name)?.map(|front| (name, front)));
        }
        let pages = fronts.iter().map(|(name, front)| (name.as_str(), &*front.bytes));
        let mut copies = String::new();
        for (name, bytes) in std::iter::once((FILE, snapshot.bytes())).chain(pages) {
            let answer = self.user.another().get(&format!("{repository}/{name}"), &[])?;
            if answer.status != 200 && answer.status != 404 {
                let refused = format!("{repository}/{name} is answered with {}", answer.status);
                return Err(Error::new(Exit::Verify, refused));
            }
            if answer.status != 200 || answer.body != bytes {
                outside.stale.push(format!("/{name}"));
                copies += &sha256_hex(&answer.body);
            } else if name == FILE {
                outside.headers = verify::wrong_headers(&answer, FILE);
            }
        }
        outside.digest = sha256_hex(copies.as_bytes());
        Ok(outside)
    }
}
