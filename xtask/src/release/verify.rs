//! Proof from outside: what was published is fetched as an anonymous user would fetch it, and digests are compared.
//!
//! Nothing here looks at a folder, a store or a registry's inside; only at URLs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use semver::Version;
use serde::Serialize;

use crate::chart;
use crate::chart::archive::{self, RELEASED_IMAGE, RELEASED_REVISION};
use crate::chart::index::{self, FILE, Index};
use crate::chart::record::{self, Record};
use crate::chart::repository;
use crate::config::Target;
use crate::error::{Error, Exit, Result};
use crate::image::labels::ImageFacts;
use crate::oci::artifact::Artifact;
use crate::oci::pull::Puller;
use crate::oci::{self, Digest, Layout, Part, PlatformImage, sha256_hex};
use crate::release::attestations::{OF_CHART, OF_IMAGE, OF_PLATFORM, names};
use crate::release::destination::Destination;
use crate::release::{publish, version};
use crate::sys::http::{Anonymous, Answer};
use crate::trust::attachments;
use crate::trust::statement::predicate;
use crate::trust::verify::Findings;
use crate::ui;

/// What an anonymous user gets.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    /// The URL of the archive, from the index, where there is a chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<String>,
    /// The archive's SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The image that the chart installs, where one is released with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The platforms that a node can pull.
    pub platforms: Vec<String>,
    /// Every tag that leads to this image.
    pub tags: Vec<String>,
    /// Where the same chart is in the registry, by its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_chart: Option<String>,
    /// Who signed it, what it was made of, and what is in it; nobody where it was published before anything was signed.
    pub signers: Vec<String>,
}

/// Fetches one version of a chart and all it leads to, again and again until it is right or `patience` is over: caches and tags
/// follow a little later.
///
/// # Errors
/// Something is not there, or not what it should be; every complaint is listed.
pub fn run(destination: &Destination, wanted: &Version, patience: Duration) -> Result<Proof> {
    let chart = &destination.chart;
    patiently(patience, || {
        let mut visit = Visit::new(destination);
        let proof = visit.all(wanted)?;
        match proof {
            Some(proof) if visit.complaints.is_empty() => Ok(proof),
            _ => Err(Error::new(
                Exit::Verify,
                format!("{chart} {wanted} is not what users get from {}", destination.place()),
            )
            .because(visit.complaints.join("\n"))
            .remedy("run the same release again: it does what is missing")),
        }
    })
}

/// A visit to the archive of a version through the public URL, before the index leads to it. It can be made by another thread.
pub struct ArchiveVisit {
    user: Anonymous,
    repository: String,
    name: String,
    sha256: String,
    patience: Duration,
}

impl ArchiveVisit {
    /// Of an archive of that name.
    pub fn new(destination: &Destination, name: &str, sha256: &str) -> Self {
        ArchiveVisit {
            user: destination.user.another(),
            repository: destination.target.repository.clone(),
            name: name.into(),
            sha256: sha256.into(),
            patience: destination.patience(),
        }
    }

    /// Makes it.
    ///
    /// # Errors
    /// The archive is not there, or is not what was published.
    pub fn make(&self) -> Result<()> {
        let ArchiveVisit { user, repository, name, sha256, patience } = self;
        patiently(*patience, || {
            let mut complaints = Vec::new();
            archive(user, &format!("{repository}/{name}"), sha256, &mut complaints)?;
            end(&format!("{name} cannot be fetched from {repository}"), &complaints)
        })
    }
}

/// Fetches the index through the public URL until it lists these versions.
///
/// # Errors
/// It does not in time.
pub fn index(destination: &Destination, wanted: &BTreeSet<Version>, patience: Duration) -> Result<()> {
    let Destination { target, chart, .. } = destination;
    patiently(patience, || {
        let listed = public_index(destination, |index| Some(index.versions(chart)))?.unwrap_or_default();
        let Some(missing) = wanted.iter().find(|version| !listed.contains(version)) else { return Ok(()) };
        Err(Error::new(Exit::Verify, format!("{} does not list {chart} {missing} yet", target.repository))
            .remedy("retry the command: caches follow within minutes, and the floating tags after them"))
    })
}

/// Pulls an image by its digest before a chart names it: manifests and configurations, and every layer. Gives its platforms. The tag
/// has to be there; it may lead to the same release of another compiler for a moment.
///
/// # Errors
/// A part of it cannot be pulled by an anonymous user.
pub fn image(destination: &Destination, tag: &str, digest: &Digest) -> Result<Vec<PlatformImage>> {
    let Destination { target, user, .. } = destination;
    let pulled = patiently(destination.patience(), || {
        let puller = Puller::new(&target.registry, &target.image, user);
        let pulled = puller.image(digest).and_then(|image| match puller.manifest(tag)?.status {
            200 => image.platforms(),
            status => Err(Error::new(Exit::Verify, format!("tag {tag} is answered with {status}"))),
        });
        // Whoever may not pull now may not in a minute, either.
        if puller.was_refused() { Ok(pulled) } else { pulled.map(Ok) }
    });
    pulled.and_then(|settled| settled).map_err(|error| {
        let error = Error { what: format!("{}@{digest} cannot be pulled: {}", target.image, error.what), ..error };
        if error.remedies.is_empty() { error.remedy("retry the command") } else { error }
    })
}

/// Pulls the whole image that a version's chart installs, by its digest, to look into it; where there is no chart, the one that the
/// version's tag leads to.
///
/// # Errors
/// The version is not listed, or its archive or a part of its image is not there for an anonymous user, or is something else.
pub fn pull(destination: &Destination, wanted: &Version) -> Result<Layout> {
    let mut visit = Visit::new(destination);
    let digest = if destination.has_chart {
        visit.listing(wanted)?.and_then(|listing| listing.image).map(|(_, digest)| digest)
    } else {
        visit.tagged(wanted)?
    };
    match digest {
        Some(digest) => visit.puller.image(&digest),
        None => Err(visit.complaint(&format!("nobody can tell which image is {} {wanted}", destination.chart))),
    }
}

/// The SHA-256 of a version's archive, as the public index lists it; nothing where it lists no such version, or is not there.
///
/// # Errors
/// The index cannot be fetched, or is damaged.
pub fn listed(destination: &Destination, version: &str) -> Result<Option<String>> {
    let chart = &destination.chart;
    public_index(destination, |index| index.find(chart, version).and_then(|entry| entry.sha256()).map(str::to_owned))
}

/// Every version that the public index lists and that is of this product, oldest first.
///
/// # Errors
/// As `listed`.
pub fn all(destination: &Destination) -> Result<Vec<Version>> {
    if !destination.has_chart {
        return destination.tagged_versions().map(|listed| listed.versions);
    }
    let Destination { chart, first, .. } = destination;
    let mut versions = public_index(destination, |index| Some(index.versions(chart)))?.unwrap_or_default();
    versions.retain(|version| version::check(version, first).is_ok());
    versions.sort();
    Ok(versions)
}

/// What an anonymous user reads in the index; nothing where it is not there.
fn public_index<T>(destination: &Destination, read: impl FnOnce(&Index) -> Option<T>) -> Result<Option<T>> {
    let Destination { target, user, .. } = destination;
    let answer = user.another().get(&format!("{}/{FILE}", target.repository), &[])?;
    match answer.status {
        200 => {}
        404 => return Ok(None),
        status => {
            return Err(Error::new(Exit::Verify, format!("{}/{FILE} is answered with {status}", target.repository))
                .remedy("retry the command: nothing was lost, and nothing is done twice"));
        }
    }
    destination.read_fetched(&answer.body, read)
}

fn patiently<T>(patience: Duration, attempt: impl Fn() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(250);
    loop {
        let left = patience.saturating_sub(started.elapsed());
        match attempt() {
            Err(error) if !left.is_zero() => {
                if pause > Duration::from_secs(3) {
                    let reason = error.why.as_deref().and_then(|why| why.lines().next()).unwrap_or(&error.what);
                    ui::note("Waiting", format_args!("up to {} s more: {reason}", left.as_secs()));
                }
                std::thread::sleep(pause.min(left));
                pause = (pause * 2).min(Duration::from_secs(10));
            }
            settled => return settled,
        }
    }
}

struct Visit<'d> {
    destination: &'d Destination,
    target: &'d Target,
    user: Anonymous,
    puller: Puller<'d>,
    complaints: Vec<String>,
    signers: BTreeSet<String>,
}

/// What leads users to a version's image.
struct Listing {
    index: Index,
    url: String,
    sha256: String,
    archive: Vec<u8>,
    /// The image, as the chart names it, and its digest; nothing where the chart is all.
    image: Option<(String, Digest)>,
    /// The source state that a chart without an image names.
    revision: String,
    /// Whether the rest of the entry is in the version's record.
    is_short: bool,
}

/// What an image has to be of.
struct Origin<'o> {
    version: &'o Version,
    revision: &'o str,
}

impl<'d> Visit<'d> {
    fn new(destination: &'d Destination) -> Self {
        let Destination { target, user, .. } = destination;
        let puller = Puller::new(&target.registry, &target.image, user);
        Visit { destination, target, user: user.another(), puller, complaints: Vec::new(), signers: BTreeSet::new() }
    }
}

impl Visit<'_> {
    fn all(&mut self, wanted: &Version) -> Result<Option<Proof>> {
        let Destination { chart, first, .. } = self.destination;
        if !self.destination.has_chart {
            return self.image_alone(wanted);
        }
        let Some(listing) = self.listing(wanted)? else { return Ok(None) };
        let (mut parts, mut facts) = (Vec::new(), None);
        if let Some((_, digest)) = &listing.image {
            parts = self.pull(&version::version_tags(wanted)[0], digest)?;
            facts = Some(ImageFacts::of(digest.clone(), &parts));
        }
        self.record(&listing, wanted, facts.as_ref())?;
        let Listing { index, url, sha256, archive, image, mut revision, .. } = listing;
        if let Some(facts) = facts {
            revision = facts.revision.unwrap_or_default();
        }
        let platforms = parts.iter().map(|part| part.platform.to_string()).collect();
        let registry_chart = if self.target.signs(wanted) {
            let of = Origin { version: wanted, revision: &revision };
            if let Some((_, digest)) = &image {
                self.image_signatures(digest, &parts, &of);
            }
            let time = index.find(chart, &wanted.to_string()).and_then(chart::oci::time);
            let artifact = time.map(|time| chart::oci::artifact(&archive, time)).transpose()?;
            artifact.map(|artifact| self.chart_signatures(&artifact, &of))
        } else {
            None
        };
        let tags = match &image {
            Some((_, digest)) => self.tags(digest, wanted, &index.versions(chart), first)?,
            None => Vec::new(),
        };
        let image = image.map(|(reference, _)| reference);
        let signers = std::mem::take(&mut self.signers).into_iter().collect();
        let (chart, sha256) = (Some(url), Some(sha256));
        Ok(Some(Proof { chart, sha256, image, platforms, tags, registry_chart, signers }))
    }

    /// The digest that a version's tag leads to; nothing, and a complaint, where it leads nowhere.
    fn tagged(&mut self, wanted: &Version) -> Result<Option<Digest>> {
        let [tag, _] = version::version_tags(wanted);
        let answer = self.puller.manifest(&tag)?;
        if answer.status != 200 {
            self.complaints.push(format!("{}:{tag} is answered with {}", self.target.image, answer.status));
            return Ok(None);
        }
        Ok(Some(Digest::of(&answer.body)))
    }

    /// The image that a version's tag leads to, where no chart names one.
    fn image_alone(&mut self, wanted: &Version) -> Result<Option<Proof>> {
        let Some(digest) = self.tagged(wanted)? else { return Ok(None) };
        let parts = self.pull_parts(&digest);
        let facts = ImageFacts::of(digest.clone(), &parts);
        if facts.version.as_deref() != Some(&*wanted.to_string()) {
            let [tag, _] = version::version_tags(wanted);
            self.complaints.push(format!("{}:{tag} leads to an image of another version", self.target.image));
        }
        if self.target.signs(wanted) {
            let revision = facts.revision.unwrap_or_default();
            self.image_signatures(&digest, &parts, &Origin { version: wanted, revision: &revision });
        }
        let tagged = self.destination.tagged_versions()?.versions;
        let tags = self.tags(&digest, wanted, &tagged, &self.destination.first)?;
        Ok(Some(Proof {
            chart: None,
            sha256: None,
            image: Some(format!("{}:{wanted}@{digest}", self.target.image)),
            platforms: parts.iter().map(|part| part.platform.to_string()).collect(),
            tags,
            registry_chart: None,
            signers: std::mem::take(&mut self.signers).into_iter().collect(),
        }))
    }

    /// What leads to a version's image; nothing, and a complaint, where something on the way does not.
    fn listing(&mut self, wanted: &Version) -> Result<Option<Listing>> {
        let chart = &self.destination.chart;
        let answer = self.user.get(&format!("{}/{FILE}", self.target.repository), &[])?;
        if !self.expect(&answer, FILE) {
            return Ok(None);
        }
        let index = Index::from_bytes(&answer.body)?;
        let Some(entry) = index.find(chart, &wanted.to_string()) else {
            self.complaints.push(format!("{FILE} does not list {chart} {wanted}"));
            return Ok(None);
        };
        let fields: serde_json::Value = serde_json::from_str(entry.json()).unwrap_or_default();
        let url = fields["urls"][0].as_str().unwrap_or_default().to_owned();
        if !url.starts_with(&format!("{}/", self.target.repository)) {
            self.complaints.push(format!("the index leads to `{url}`, which is not in {}", self.target.repository));
        }
        let (sha256, is_short) = (entry.sha256().unwrap_or_default().to_owned(), index::is_short(entry));
        let Some(archive) = self.archive(&url, &sha256)? else { return Ok(None) };
        let manifest = archive::manifest_of(&archive)?;
        let listing = Listing { index, url, sha256, archive, image: None, revision: String::new(), is_short };
        if !self.destination.has_image {
            let Some(revision) = manifest.annotations.get(RELEASED_REVISION).cloned() else {
                self.complaints.push(format!("the chart does not say what it was made of ({RELEASED_REVISION})"));
                return Ok(None);
            };
            return Ok(Some(Listing { revision, ..listing }));
        }
        let Some(reference) = manifest.annotations.get(RELEASED_IMAGE).cloned() else {
            self.complaints.push(format!("the chart names no image ({RELEASED_IMAGE})"));
            return Ok(None);
        };
        let digest = self.reference_digest(&reference, wanted);
        Ok(digest.map(|digest| Listing { image: Some((reference, digest)), ..listing }))
    }

    fn archive(&mut self, url: &str, sha256: &str) -> Result<Option<Vec<u8>>> {
        archive(&self.user, url, sha256, &mut self.complaints)
    }

    /// Whether what is said of a version beside its archive is of that archive. Versions that were listed before there were records may have
    /// none.
    fn record(&mut self, listing: &Listing, wanted: &Version, image: Option<&ImageFacts>) -> Result<()> {
        let Destination { chart, target, .. } = self.destination;
        let name = record::name(chart, &wanted.to_string());
        let url = format!("{}/{name}", target.repository);
        let answer = self.user.get(&url, &[])?;
        if answer.status == 404 && !listing.is_short {
            return Ok(());
        }
        if !self.expect(&answer, &url) {
            return Ok(());
        }
        let manifest = archive::manifest_of(&listing.archive)?;
        let entry = publish::entry(target, &manifest, &listing.sha256, archive::time(&listing.archive)?)?;
        let platforms = image.map(|image| image.parts.clone()).unwrap_or_default();
        match Record::parse(&url, &answer.body) {
            Err(error) => self.complaints.push(error.to_string()),
            Ok(record) if record.is_of(&entry, listing.archive.len()) && record.platforms == platforms => {}
            Ok(_) => self.complaints.push(format!("{url} does not say what archive and image are")),
        }
        Ok(())
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
    fn pull(&mut self, tag: &str, digest: &Digest) -> Result<Vec<PlatformImage>> {
        let by_tag = self.puller.manifest(tag)?;
        if by_tag.status != 200 {
            self.complaints.push(format!("{}:{tag} is answered with {}", self.target.image, by_tag.status));
        } else if Digest::of(&by_tag.body) != *digest {
            self.complaints.push(format!("tag {tag} leads to another image than {digest}"));
        }
        Ok(self.pull_parts(digest))
    }

    fn pull_parts(&mut self, digest: &Digest) -> Vec<PlatformImage> {
        self.puller.image(digest).and_then(|image| image.platforms()).unwrap_or_else(|error| {
            self.complaints.push(format!("the image cannot be pulled: {}", error.what));
            Vec::new()
        })
    }

    /// Pulls an image, and looks whether it is of a version, and signed as that where the target signs. Gives its source state.
    fn signed_image(&mut self, digest: &Digest, version: &Version) -> String {
        let parts = self.pull_parts(digest);
        let facts = ImageFacts::of(digest.clone(), &parts);
        let revision = facts.revision.unwrap_or_default();
        if !parts.is_empty() && facts.version.as_deref() != Some(&*version.to_string()) {
            self.complaints.push(format!("the image {digest} is of another version"));
        }
        if self.target.signs(version) {
            self.image_signatures(digest, &parts, &Origin { version, revision: &revision });
        }
        revision
    }

    /// Whether accepted signers say all that is to be said of an image and its platforms, of this version and commit.
    fn image_signatures(&mut self, digest: &Digest, parts: &[PlatformImage], of: &Origin<'_>) {
        let puller = Puller::new(&self.target.registry, &self.target.image, &self.destination.user);
        let of_image = (format!("the image {digest}"), digest, OF_IMAGE);
        let of_platforms = parts.iter().map(|part| {
            let what = format!("the image for {}, {}", part.platform, part.descriptor.digest);
            (what, &part.descriptor.digest, OF_PLATFORM)
        });
        for (what, subject, types) in std::iter::once(of_image).chain(of_platforms) {
            self.signatures(&puller, &what, subject, &types, of);
        }
    }

    /// Whether the chart is in the registry under its tag, the very archive, and is signed. Gives where.
    fn chart_signatures(&mut self, artifact: &Artifact, of: &Origin<'_>) -> String {
        let Destination { target, chart, user, .. } = self.destination;
        let (place, digest) = (target.of_chart(chart).image, &artifact.descriptor.digest);
        let puller = Puller::new(&target.registry, &place, user);
        let tag = chart::oci::tag(&of.version.to_string());
        match puller.manifest(&tag) {
            Ok(answer) if answer.status == 200 && answer.body == artifact.manifest => {}
            Ok(answer) if answer.status == 200 => {
                self.complaints.push(format!("{place}:{tag} leads to another chart than {digest}"));
            }
            Ok(answer) => self.complaints.push(format!("{place}:{tag} is answered with {}", answer.status)),
            Err(error) => self.complaints.push(format!("{place}:{tag}: {error}")),
        }
        self.chart_parts(&puller, artifact, of);
        format!("{place}:{tag}@{digest}")
    }

    fn chart_parts(&mut self, puller: &Puller<'_>, artifact: &Artifact, of: &Origin<'_>) {
        let digest = &artifact.descriptor.digest;
        for (blob, _) in artifact.parts() {
            if let Err(error) = puller.part(Part::Blob, blob) {
                self.complaints.push(format!(
                    "{}: {}",
                    self.target.of_chart(&self.destination.chart).image,
                    error.what
                ));
            }
        }
        self.signatures(puller, &format!("the chart {digest}"), digest, &OF_CHART, of);
    }

    fn signatures(&mut self, puller: &Puller<'_>, what: &str, subject: &Digest, types: &[&str], of: &Origin<'_>) {
        let wanted = of.version;
        let findings = match stated(self.destination, puller, subject, wanted, types) {
            Ok(findings) => findings,
            Err(error) => return self.complaints.push(format!("what is signed of {what} cannot be seen: {error}")),
        };
        let lacking = findings.lacking(types);
        if !lacking.is_empty() {
            let said = findings.lines();
            let said = if said.is_empty() { "nothing".to_owned() } else { said.join("; ") };
            self.complaints.push(format!("{what} lacks a {} of an accepted signer; there is: {said}", names(&lacking)));
        } else if types.contains(&predicate::PROVENANCE)
            && let Err(why) = findings.origin(&wanted.to_string(), of.revision)
        {
            self.complaints.push(format!("{what} is not signed as of {wanted} and its commit: {why}"));
        }
        for bill in findings.of_type(predicate::SBOM).filter(|bill| !is_bill_of(&bill.statement.predicate, wanted)) {
            self.complaints
                .push(format!("{what}: {} signed a bill of materials that is none of {wanted}", bill.signer));
        }
        self.signers.extend(findings.accepted.into_iter().map(|attested| attested.signer));
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
        let answer = self.puller.manifest(tag)?;
        Ok(answer.status == 200 && Digest::of(&answer.body) == *digest)
    }

    fn expect(&mut self, answer: &Answer, what: &str) -> bool {
        expect(answer, what, &mut self.complaints)
    }

    fn complaint(&self, what: &str) -> Error {
        complaint(what, &self.complaints)
    }
}

fn expect(answer: &Answer, what: &str, complaints: &mut Vec<String>) -> bool {
    if answer.status != 200 {
        complaints.push(format!("{what} is answered with {}", answer.status));
        return false;
    }
    complaints.extend(wrong_headers(answer, what));
    true
}

/// An archive that is what was published; nothing, and a complaint, where it is not.
fn archive(user: &Anonymous, url: &str, sha256: &str, complaints: &mut Vec<String>) -> Result<Option<Vec<u8>>> {
    let answer = user.get(url, &[])?;
    if !expect(&answer, url, complaints) {
        return Ok(None);
    }
    let real = sha256_hex(&answer.body);
    if real != sha256 {
        complaints.push(format!("{url} has sha256 {real}, and {sha256} was published"));
        return Ok(None);
    }
    Ok(Some(answer.body))
}

fn end(what: &str, complaints: &[String]) -> Result<()> {
    if complaints.is_empty() { Ok(()) } else { Err(complaint(what, complaints)) }
}

fn complaint(what: &str, complaints: &[String]) -> Error {
    Error::new(Exit::Verify, what)
        .because(complaints.join("\n"))
        .remedy("retry the command: nothing was lost, and nothing is done twice")
}

/// What is wrong with the headers of a repository's file.
pub(super) fn wrong_headers(answer: &Answer, name: &str) -> Vec<String> {
    let (content_type, cache_control) = repository::headers(name).unwrap_or_default();
    let wrong = [("content-type", content_type), ("cache-control", cache_control)].into_iter().filter_map(
        |(header, expected)| {
            let sent = answer.header(header).unwrap_or("(none)");
            (sent != expected).then(|| format!("{name} is sent with {header}: {sent}, and not {expected}"))
        },
    );
    wrong.collect()
}

/// What an anonymous user has to say against a version's archive, image and, where that is signed, chart in the registry, whatever index and
/// tags say of them: nothing where all can be had and accepted signers say where they are from. A chart alone names the source state that
/// it was made of.
pub(super) fn doubts(
    destination: &Destination,
    version: &Version,
    (archive, sha256): (&str, &str),
    (image, origin): (Option<&Digest>, &str),
    signed: Option<&Artifact>,
) -> Result<Vec<String>> {
    let Destination { target, chart, user, .. } = destination;
    let mut visit = Visit::new(destination);
    visit.archive(&format!("{}/{archive}", target.repository), sha256)?;
    let revision = image.map_or_else(|| origin.to_owned(), |image| visit.signed_image(image, version));
    if let Some(artifact) = signed {
        let of = Origin { version, revision: &revision };
        let place = target.of_chart(chart).image;
        let puller = Puller::new(&target.registry, &place, user);
        if let Err(error) = puller.part(Part::Manifest, &artifact.descriptor.digest) {
            visit.complaints.push(format!("{place}: {}", error.what));
        }
        visit.chart_parts(&puller, artifact, &of);
    }
    Ok(visit.complaints)
}

/// The same against an image that no chart names: that it is of another version, too.
pub(super) fn doubts_of_image(destination: &Destination, version: &Version, image: &Digest) -> Vec<String> {
    let mut visit = Visit::new(destination);
    visit.signed_image(image, version);
    visit.complaints
}

/// What accepted signers state of a digest, in bundles that an anonymous user finds beside it.
///
/// # Errors
/// They cannot be fetched or judged.
pub(super) fn stated(
    destination: &Destination,
    puller: &Puller<'_>,
    subject: &Digest,
    version: &Version,
    types: &[&str],
) -> Result<Findings> {
    let referrers = puller.referrers(subject)?;
    let found = attachments::find_among(referrers, &|part, digest| puller.part(part, digest), subject);
    destination.judge_found(found, subject, version, types)
}

/// Whether a document is a bill of materials of that version.
fn is_bill_of(bill: &serde_json::Value, version: &Version) -> bool {
    bill["bomFormat"] == "CycloneDX" && bill["metadata"]["component"]["version"] == version.to_string()
}

/// A proof as people read it.
pub fn shown(proof: &Proof) -> String {
    let platforms: Vec<_> = proof.platforms.iter().filter_map(|text| text.clone().try_into().ok()).collect();
    let chart = proof.chart.as_ref().zip(proof.sha256.as_ref());
    let chart = chart.map(|(url, sha256)| format!("{url} (sha256 {})", &sha256[..12]));
    let image = proof
        .image
        .as_ref()
        .map(|image| format!("{image} for {}, tags {}", oci::platform_names(&platforms), proof.tags.join(" ")));
    format!(
        "{}{}",
        chart.into_iter().chain(image).collect::<Vec<_>>().join(", "),
        if proof.signers.is_empty() { String::new() } else { format!(", signed by {}", proof.signers.join(" and ")) }
    )
}

fn quoted(text: Option<&String>) -> String {
    text.map(|text| format!("`{text}`")).unwrap_or_default()
}

/// A proof, after rows of what else is to be said, as the page of a CI job shows it.
pub fn page(title: &str, rows: &[(&str, String)], proof: &Proof) -> String {
    let proven = [
        ("chart", quoted(proof.chart.as_ref())),
        ("sha256", quoted(proof.sha256.as_ref())),
        ("image", quoted(proof.image.as_ref())),
        ("platforms", proof.platforms.join(", ")),
        ("tags", proof.tags.join(", ")),
        ("signed by", proof.signers.join(", ")),
    ];
    let rows: String = rows
        .iter()
        .chain(proven.iter().filter(|(_, value)| !value.is_empty()))
        .map(|(name, value)| format!("| {name} | {value} |\n"))
        .collect();
    format!("### {title}\n\n| | |\n|---|---|\n{rows}")
}
