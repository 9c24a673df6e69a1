//! Proof from outside: what was published is fetched as an anonymous user would fetch it, and digests are compared.
//!
//! Nothing here looks at a folder, a store or a registry's inside; only at URLs.

use semver::Version;
use serde::Serialize;

use crate::chart::index::{self, FILE, Index};
use crate::chart::package::{self, RELEASED_IMAGE};
use crate::config::Target;
use crate::error::{Error, Exit, Result};
use crate::http::{self, Answer};
use crate::image::layout::{self, Digest, Part, sha256_hex};
use crate::release::plan;
use crate::release::version;

/// What an anonymous user gets.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    /// The URL of the archive, from the index.
    pub chart: String,
    /// The archive's SHA-256.
    pub sha256: String,
    /// The image that the chart installs.
    pub image: String,
    /// The platforms that a node can pull.
    pub platforms: Vec<String>,
    /// Every tag that leads to this image.
    pub tags: Vec<String>,
}

/// Fetches one version of a chart and all it leads to.
///
/// # Errors
/// Something is not there, or not what it should be; every complaint is listed.
pub fn run(target: &Target, chart: &str, wanted: &Version, first: &Version) -> Result<Proof> {
    let mut visit = Visit { target, complaints: Vec::new() };
    let proof = visit.all(chart, wanted, first)?;
    match proof {
        Some(proof) if visit.complaints.is_empty() => Ok(proof),
        _ => {
            Err(Error::new(Exit::Verify, format!("{chart} {wanted} is not what users get from {}", target.repository))
                .because(visit.complaints.join("\n"))
                .remedy("run the same release again: it does what is missing"))
        }
    }
}

/// Fetches the archive of a version through the public URL before the index leads to it.
///
/// # Errors
/// It is not there, or is not what was published.
pub fn archive(target: &Target, name: &str, sha256: &str) -> Result<()> {
    let mut visit = Visit { target, complaints: Vec::new() };
    visit.archive(&format!("{}/{name}", target.repository), sha256)?;
    visit.end(&format!("{name} cannot be fetched from {}", target.repository))
}

/// Pulls an image by tag and digest before a chart names it.
///
/// # Errors
/// A part of it cannot be pulled by an anonymous user.
pub fn image(target: &Target, tag: &str, digest: &Digest) -> Result<()> {
    let mut visit = Visit { target, complaints: Vec::new() };
    visit.pull(tag, digest)?;
    visit.end(&format!("{}:{tag} cannot be pulled", target.image))
}

struct Visit<'t> {
    target: &'t Target,
    complaints: Vec<String>,
}

impl Visit<'_> {
    fn all(&mut self, chart: &str, wanted: &Version, first: &Version) -> Result<Option<Proof>> {
        let answer = http::get(&format!("{}/{FILE}", self.target.repository))?;
        if !self.expect(&answer, FILE, "text/yaml", "public, max-age=300") {
            return Ok(None);
        }
        let json = index::as_json(&answer.body)?;
        let index = Index::parse(&json)?;
        let Some(entry) = index.find(chart, &wanted.to_string()) else {
            self.complaints.push(format!("{FILE} does not list {chart} {wanted}"));
            return Ok(None);
        };
        let fields: serde_json::Value = serde_json::from_str(entry.json()).unwrap_or_default();
        let url = fields["urls"][0].as_str().unwrap_or_default().to_owned();
        if !url.starts_with(&format!("{}/", self.target.repository)) {
            self.complaints.push(format!("the index leads to `{url}`, which is not in {}", self.target.repository));
        }
        let sha256 = entry.sha256().unwrap_or_default().to_owned();
        let Some(archive) = self.archive(&url, &sha256)? else { return Ok(None) };
        let manifest = package::manifest(&package::unpack(&archive)?)?;
        let Some(reference) = manifest.annotations.get(RELEASED_IMAGE).cloned() else {
            self.complaints.push(format!("the chart names no image ({RELEASED_IMAGE})"));
            return Ok(None);
        };
        let Some(digest) = self.reference_digest(&reference, wanted) else { return Ok(None) };
        let platforms = self.pull(&version::version_tags(wanted)[0], &digest)?;
        let tags = self.tags(&digest, wanted, &index.versions(chart), first)?;
        Ok(Some(Proof { chart: url, sha256, image: reference, platforms, tags }))
    }

    fn archive(&mut self, url: &str, sha256: &str) -> Result<Option<Vec<u8>>> {
        let answer = http::get(url)?;
        if !self.expect(&answer, url, "application/gzip", "public, max-age=31536000, immutable") {
            return Ok(None);
        }
        let real = sha256_hex(&answer.body);
        if real != sha256 {
            self.complaints.push(format!("{url} has sha256 {real}, and {sha256} was published"));
            return Ok(None);
        }
        Ok(Some(answer.body))
    }

    /// The digest in `image:version@digest`, where the reference is of this target and version.
    fn reference_digest(&mut self, reference: &str, wanted: &Version) -> Option<Digest> {
        let prefix = format!("{}:{wanted}@", self.target.image);
        let digest = reference.strip_prefix(&prefix).and_then(|digest| digest.parse().ok());
        if digest.is_none() {
            self.complaints.push(format!("the chart installs `{reference}`, and not {prefix}sha256:…"));
        }
        digest
    }

    /// Pulls what a node would: the index by tag and by digest, and for each platform manifest, configuration and layers.
    fn pull(&mut self, tag: &str, digest: &Digest) -> Result<Vec<String>> {
        let by_tag = self.part("manifests", tag)?;
        if by_tag.as_ref().is_some_and(|bytes| Digest::of(bytes) != *digest) {
            self.complaints.push(format!("tag {tag} leads to another image than {digest}"));
        }
        let fetch = |part: Part, digest: &Digest| -> Result<Vec<u8>> {
            let kind = if part == Part::Manifest { "manifests" } else { "blobs" };
            let answer = http::get(&self.url(kind, &digest.to_string()))?;
            match answer.status {
                200 if Digest::of(&answer.body) == *digest => Ok(answer.body),
                200 => Err(Error::new(Exit::Verify, format!("{digest} is served with other bytes"))),
                status => Err(Error::new(Exit::Verify, format!("{digest} is answered with {status}"))),
            }
        };
        let image = layout::collect(digest, &fetch).and_then(|image| image.platforms());
        match image {
            Ok(parts) => Ok(parts.iter().map(|part| part.platform.to_string()).collect()),
            Err(error) => {
                self.complaints.push(format!("the image cannot be pulled: {}", error.what));
                Ok(Vec::new())
            }
        }
    }

    /// The tags that lead to the image; a complaint for each floating one that leads elsewhere than the index asks for.
    fn tags(&mut self, digest: &Digest, wanted: &Version, listed: &[Version], first: &Version) -> Result<Vec<String>> {
        let mut tags = Vec::new();
        for tag in version::version_tags(wanted) {
            if self.tag_is(&tag, digest)? {
                tags.push(tag);
            } else {
                self.complaints.push(format!("tag {tag} does not lead to {digest}"));
            }
        }
        for (tag, leader) in version::floating_tags(listed, first) {
            let ours = leader == *wanted;
            if ours != self.tag_is(&tag, digest)? {
                self.complaints.push(format!("tag {tag} should lead to {leader}"));
            } else if ours {
                tags.push(tag);
            }
        }
        Ok(tags)
    }

    fn tag_is(&self, tag: &str, digest: &Digest) -> Result<bool> {
        let answer = http::get(&self.url("manifests", tag))?;
        Ok(answer.status == 200 && Digest::of(&answer.body) == *digest)
    }

    fn part(&mut self, kind: &str, reference: &str) -> Result<Option<Vec<u8>>> {
        let answer = http::get(&self.url(kind, reference))?;
        if answer.status != 200 {
            self.complaints.push(format!("{}:{reference} is answered with {}", self.target.image, answer.status));
        }
        Ok((answer.status == 200).then_some(answer.body))
    }

    fn expect(&mut self, answer: &Answer, what: &str, content_type: &str, cache_control: &str) -> bool {
        if answer.status != 200 {
            self.complaints.push(format!("{what} is answered with {}", answer.status));
            return false;
        }
        for (name, expected) in [("content-type", content_type), ("cache-control", cache_control)] {
            let sent = answer.header(name).unwrap_or("(none)");
            if sent != expected {
                self.complaints.push(format!("{what} is sent with {name}: {sent}, and not {expected}"));
            }
        }
        true
    }

    fn url(&self, kind: &str, reference: &str) -> String {
        format!("{}/v2/{}/{kind}/{reference}", self.target.repository, self.target.image_path())
    }

    fn end(self, what: &str) -> Result<()> {
        if self.complaints.is_empty() {
            return Ok(());
        }
        Err(Error::new(Exit::Verify, what).because(self.complaints.join("\n")))
    }
}

/// A proof as people read it.
pub fn shown(proof: &Proof) -> String {
    let platforms: Vec<_> = proof.platforms.iter().filter_map(|text| text.clone().try_into().ok()).collect();
    format!(
        "{} (sha256 {}), {} for {}, tags {}",
        proof.chart,
        &proof.sha256[..12],
        proof.image,
        plan::list(&platforms),
        proof.tags.join(" ")
    )
}
