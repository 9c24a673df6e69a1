//! The same for an image alone, of which nothing but its tags says what is published.
//!
//! `vX.Y.Z` decides, as it does for releases; where it is gone, `X.Y.Z` does once accepted signers say that its image is of that version.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use super::{AGAIN, Finding, explained, floating, mistagged, unknown};
use crate::error::Result;
use crate::oci::Digest;
use crate::release::destination::Destination;
use crate::release::version::{self, version_tags};
use crate::release::{promote, verify};

/// What was seen of an image's tags.
#[derive(Debug)]
pub struct Tagged {
    /// The first version that is of this product.
    pub first: Version,
    /// Every tag of a version, and the floating ones, with what they lead to.
    pub tags: BTreeMap<String, Digest>,
    /// What there is to say against each image that a version's tag leads to.
    pub versions: BTreeMap<Version, BTreeMap<Digest, Vec<String>>>,
    /// The versions that the target asks signatures of.
    pub signed: BTreeSet<Version>,
}

/// What is not as it should be. Pure.
pub fn diagnose(seen: &Result<Tagged>) -> Vec<Finding> {
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => return vec![unknown("tags", error)],
    };
    let mut found: Vec<Finding> = seen.versions.keys().flat_map(|version| seen.of_version(version)).collect();
    let versions = seen.versions.keys().cloned().collect();
    found.extend(floating(seen.tags.clone(), versions, |version| seen.decisive(version).cloned(), &seen.first, &found));
    found
}

impl Tagged {
    fn of_version(&self, version: &Version) -> Vec<Finding> {
        let what = version.to_string();
        if let Some(image) = self.decisive(version) {
            return mistagged(&what, version, image, &self.tags);
        }
        let doubts: Vec<&str> = self.versions[version].values().flatten().map(String::as_str).collect();
        let why =
            if doubts.is_empty() { "its tag v… is gone, and nobody signs there".into() } else { doubts.join("; ") };
        vec![explained(&what, why, AGAIN)]
    }

    /// The image that is the version's.
    fn decisive(&self, version: &Version) -> Option<&Digest> {
        let [main, other] = version_tags(version);
        let is_sound = |image: &&Digest| self.versions[version].get(image).is_some_and(Vec::is_empty);
        let other = self.tags.get(&other).filter(|_| self.signed.contains(version));
        self.tags.get(&main).filter(is_sound).or(other.filter(is_sound))
    }
}

impl Destination {
    /// Looks at all tags, and at the images that those of versions lead to.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub(super) fn examine_image(&self) -> Result<Tagged> {
        let names = self.registry.tags()?;
        let known: BTreeSet<Version> = names.iter().filter_map(|name| self.version_of(name)).collect();
        let of_versions: Vec<String> = known.iter().flat_map(version_tags).collect();
        let listed: Vec<Version> = known.iter().cloned().collect();
        let tags = promote::pointers(&*self.registry, &listed, &self.first, &of_versions)?;
        let versions = known.into_iter().map(|version| {
            let images: BTreeSet<&Digest> = version_tags(&version).iter().filter_map(|tag| tags.get(tag)).collect();
            let doubts =
                images.into_iter().map(|image| (image.clone(), verify::doubts_of_image(self, &version, image)));
            let doubts = doubts.collect();
            (version, doubts)
        });
        let versions: BTreeMap<Version, _> = versions.collect();
        let signed = versions.keys().filter(|version| self.target.signs(version)).cloned().collect();
        Ok(Tagged { first: self.first.clone(), tags, versions, signed })
    }

    /// The version of this product that a tag is of.
    fn version_of(&self, tag: &str) -> Option<Version> {
        let version = Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()?;
        version::check(&version, &self.first).is_ok().then_some(version)
    }
}
