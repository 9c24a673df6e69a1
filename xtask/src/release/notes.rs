//! What a version's page on GitHub says and carries: its notes from the changelog, and files for whoever wants to check it later.
//!
//! The files are made of what anonymous users get and of what accepted signers state, never of what this machine has just built: they can
//! be made again for any version.

use std::collections::BTreeMap;
use std::time::Duration;

use chart_text::changes;
use semver::Version;
use serde_json::{Value, json};

use crate::chart::archive;
use crate::config::Product;
use crate::error::{Error, Exit, Result};
use crate::image::labels::ImageFacts;
use crate::image::scan::Verdict;
use crate::oci::pull::Puller;
use crate::oci::{self, Digest, Layout, PlatformImage};
use crate::release::attestations::{OF_IMAGE, OF_PLATFORM};
use crate::release::destination::Destination;
use crate::release::verify::{self, Proof};
use crate::sys::{files, time};
use crate::trust::statement::predicate;
use crate::trust::verify::Findings;

/// The name of the release record among the assets.
pub const RECORD: &str = "release.json";

/// What the changelog says of a version, as Markdown.
///
/// # Errors
/// There is no changelog, or it says nothing of that version.
pub fn notes(product: &Product, version: &Version) -> Result<String> {
    let changelog = product.changelog();
    let text = files::read(&product.root.join(&changelog))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    changes::section(&text, &version.to_string()).ok_or_else(|| {
        let mut known: Vec<Version> =
            changes::of_changelog(&text).keys().filter_map(|name| Version::parse(name).ok()).collect();
        known.sort();
        let known = known.iter().rev().map(Version::to_string).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "no version".to_owned() } else { known };
        Error::new(Exit::Workspace, format!("{changelog} says nothing of {version}"))
            .because(format!("it has sections of {known}"))
            .remedy(format!("add a section `## [{version}] - YYYY-MM-DD`; a release that bumps the version makes it of `## [Unreleased]`"))
    })
}

/// The files that belong beside the notes of a published version, by their names: the chart's archive, where there is one, each platform's
/// bill of materials, and the release record. `verdict` gives what a scan on this machine found in an image, where there was one.
///
/// # Errors
/// Users do not get the version as it was published; what is signed of it cannot be read.
pub fn assets(
    destination: &Destination,
    version: &Version,
    verdict: &dyn Fn(&Digest) -> Result<Option<Verdict>>,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let proof = destination.verify(version, Duration::ZERO)?;
    let archive = proof.chart.as_ref().map(|url| fetch(destination, url, &proof)).transpose()?;
    let image = destination.has_image.then(|| verify::pull(destination, version)).transpose()?;
    let parts = image.as_ref().map_or(Ok(Vec::new()), Layout::platforms)?;
    let mut assets = BTreeMap::new();
    let mut provenance = Vec::new();
    let digest = image.map(|image| image.digest);
    if let Some(digest) = digest.as_ref().filter(|_| destination.target.signs(version)) {
        provenance = predicates(&stated(destination, digest, version, &OF_IMAGE)?, predicate::PROVENANCE);
        for part in &parts {
            let stated = stated(destination, &part.descriptor.digest, version, &OF_PLATFORM)?;
            if let Some(bill) = predicates(&stated, predicate::SBOM).pop() {
                let name = format!("sbom-{}.cdx.json", part.platform.to_string().replace('/', "-"));
                assets.insert(name, oci::json(&bill)?);
            }
        }
    }
    let verdict = digest.as_ref().map_or(Ok(None), verdict)?;
    let commit = match (digest, &archive) {
        (Some(digest), _) => ImageFacts::of(digest, &parts).revision,
        (None, Some(archive)) => archive::manifest_of(archive)?.annotations.remove(archive::RELEASED_REVISION),
        (None, None) => None,
    };
    let size = archive.as_ref().map(Vec::len);
    let facts = Facts { proof: &proof, size, parts: &parts, commit, provenance, verdict };
    assets.insert(RECORD.into(), oci::json(&record(destination, version, &facts))?);
    let name = proof.chart.as_ref().and_then(|url| url.rsplit('/').next());
    assets.extend(name.map(str::to_owned).zip(archive));
    Ok(assets)
}

/// What a record is made of.
struct Facts<'f> {
    proof: &'f Proof,
    /// The archive's, where there is a chart.
    size: Option<usize>,
    parts: &'f [PlatformImage],
    commit: Option<String>,
    provenance: Vec<Value>,
    verdict: Option<Verdict>,
}

fn record(destination: &Destination, version: &Version, facts: &Facts<'_>) -> Value {
    let Facts { proof, size, parts, commit, provenance, verdict } = facts;
    let digest = |part: &PlatformImage| (part.platform.to_string(), json!(part.descriptor.digest));
    let chart = size.map(
        |size| json!({"url": proof.chart, "sha256": proof.sha256, "size": size, "registry": proof.registry_chart}),
    );
    json!({
        "name": destination.chart,
        "version": version,
        "commit": commit,
        "chart": chart,
        "image": {"reference": proof.image, "platforms": parts.iter().map(digest).collect::<serde_json::Map<_, _>>()},
        "signers": proof.signers,
        "provenance": provenance,
        "scan": verdict,
        "repository": destination.target.repository,
        "recorded": time::now(),
    })
}

fn fetch(destination: &Destination, url: &str, proof: &Proof) -> Result<Vec<u8>> {
    let answer = destination.user.get(url, &[])?;
    if answer.status == 200 && Some(oci::sha256_hex(&answer.body)) == proof.sha256 {
        return Ok(answer.body);
    }
    Err(Error::new(Exit::Verify, format!("{url} was changed by somebody just now")).remedy("retry the command"))
}

fn stated(destination: &Destination, subject: &Digest, version: &Version, types: &[&str]) -> Result<Findings> {
    let target = &destination.target;
    let puller = Puller::new(&target.registry, &target.image, &destination.user);
    verify::stated(destination, &puller, subject, version, types)
}

fn predicates(findings: &Findings, predicate_type: &str) -> Vec<Value> {
    findings.of_type(predicate_type).map(|attested| attested.statement.predicate.clone()).collect()
}
