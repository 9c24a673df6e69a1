//! What is wrong with all that is published, why, and how it is mended without losing anything.
//!
//! `look.rs` sees index, archives, tags, signatures, page and caches; `diagnose` decides, pure, what of it is not as it should be;
//! `mend.rs` does what can be done by the steps that releases take. Only what accepted signers vouch for is listed again, and only where
//! its chart's tag says that users could have it before: yanking takes that tag away. What cannot be read is unknown, and is left alone.
//! Nothing is ever deleted.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde::Serialize;

use crate::error::{Error, Exit, Result};
use crate::oci::Digest;
use crate::release::promote::{self, Listed};
use crate::release::version::{floating_tags, is_floating, version_tags};
use crate::ui;

pub mod image;
pub mod look;
pub mod mend;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Of what.
    pub what: String,
    /// What is wrong with it.
    pub why: String,
    /// What can be done.
    #[serde(flatten)]
    pub cure: Cure,
}

/// What can be done about something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum Cure {
    /// It is mended without losing anything.
    Mendable {
        /// How.
        mend: Mend,
    },
    /// A person has to decide.
    Explained {
        /// What is there to do.
        remedy: String,
    },
    /// It could not be seen, so nothing is done about it.
    Unknown,
}

/// What is done to mend something. Their order is that of a release: what users follow moves last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mend {
    /// Point a version's own tag at the image that its chart names.
    VersionTag(String, Digest),
    /// Record what is known of a version.
    Record(Version),
    /// List an archive that is there.
    Entry(Version),
    /// Make the entries short whose whole form is recorded.
    Entries,
    /// Write the index again, with its headers.
    Index,
    /// Write the page again.
    Page,
    /// Have caches drop the copies of which that is the digest.
    Caches(String),
    /// Point a chart's tag in the registry at the chart.
    ChartTag(String, Digest),
    /// Point the floating tags at the highest listed versions.
    FloatingTags,
}

/// What was seen of everything that is published.
#[derive(Debug)]
pub struct Seen {
    /// The first version that is of this product.
    pub first: Version,
    /// Whether an image is released with the chart.
    pub has_image: bool,
    /// Every version of which there is an entry, an archive or a mark that it was yanked.
    pub versions: BTreeMap<Version, Sight>,
    /// The image's floating tags and those of these versions, with what they lead to.
    pub tags: Result<BTreeMap<String, Digest>>,
    /// The names of the pages that are not as they should be.
    pub pages: Result<Vec<String>>,
    /// The versions that the page shows as yanked.
    pub yanked_on_page: Result<BTreeSet<String>>,
    /// What users get of what changes.
    pub outside: Result<Outside>,
}

/// What is there of a version.
#[derive(Debug)]
pub struct Sight {
    /// The entries of exactly this version: one, or none.
    pub entries: Vec<Listing>,
    /// Whether it was yanked.
    pub is_yanked: bool,
    /// The archive, where there is one.
    pub archive: Result<Option<Archive>>,
    /// What the chart's tag in the registry leads to.
    pub chart_tag: Result<Option<Digest>>,
    /// Whether the target asks for signatures of it.
    pub is_signed: bool,
}

/// What an entry says.
#[derive(Debug)]
pub struct Listing {
    /// The archive's SHA-256.
    pub sha256: String,
    /// Whether it leads into the repository that it is in.
    pub leads_here: bool,
    /// What the archive was made of.
    pub origin: Option<String>,
    /// Whether it says more than has to be in the index, and nothing that a record would not say.
    pub is_long: bool,
}

/// How the record of a version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It says what the archive is.
    Right,
    /// There is none.
    Missing,
    /// It is of something else, or none at all.
    Wrong,
}

/// An archive in the store.
#[derive(Debug)]
pub struct Archive {
    /// Its SHA-256.
    pub sha256: String,
    /// What is in it, or why that is not this version's chart.
    pub chart: Result<Chart, String>,
}

/// What an archive holds, and what there is to say against that.
#[derive(Debug)]
pub struct Chart {
    /// What it was made of, as its manifest says: the image that it installs, or the source state of a chart alone.
    pub origin: String,
    /// The image's digest, where there is one.
    pub image: Option<Digest>,
    /// The chart as it lies in the registry, where it is signed.
    pub artifact: Option<Digest>,
    /// How what is recorded beside it stands to it.
    pub record: Result<Recorded>,
    /// What an anonymous user has to say against archive, image and signatures.
    pub doubts: Result<Vec<String>>,
}

/// What an anonymous user gets of what changes.
#[derive(Debug, Default)]
pub struct Outside {
    /// The files that are not as the store has them: old copies.
    pub stale: Vec<String>,
    /// A digest of these copies.
    pub digest: String,
    /// What is wrong with the headers of the index.
    pub headers: Vec<String>,
}

const AGAIN: &str = "run its release again, at its commit: it does what is missing, and signs what comes out the same";
const RESTORE: &str = "restore the last version of index.yaml that was right: docs/runbook.md";
const OLD_COPY: &str = "a bucket keeps what was there before: put that back, or yank the version";

/// What is not as it should be. Pure.
pub fn diagnose(seen: &Result<Seen>) -> Vec<Finding> {
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => return vec![unknown("index.yaml", error)],
    };
    let of_versions = seen.versions.iter().flat_map(|(version, sight)| of_version(version, sight, seen));
    let mut found: Vec<Finding> = of_versions.collect();
    let forgotten = forgotten(seen);
    withhold(&forgotten, &mut found);
    if seen.has_image {
        found.extend(seen.floating(&found));
    }
    found.extend(long(seen, &found));
    match &seen.pages {
        Ok(names) if names.is_empty() => {}
        Ok(names) => found.push(mendable("page", format!("not as it should be: {}", names.join(", ")), Mend::Page)),
        Err(error) => found.push(unknown("page", error)),
    }
    found.extend(caches(seen));
    withhold(&forgotten, &mut found);
    found.extend(forgotten);
    found
}

/// What the page shows as yanked, and the index does not.
fn forgotten(seen: &Seen) -> Vec<Finding> {
    let shown = match &seen.yanked_on_page {
        Ok(shown) => shown,
        Err(error) => return vec![unknown("yanked versions", error)],
    };
    let versions =
        seen.versions.iter().filter(|(version, sight)| !sight.is_yanked && shown.contains(&version.to_string()));
    let finding = |(version, sight): (&Version, &Sight)| {
        let why = "the page shows it as yanked, and the index does not know that";
        let remedy = if sight.entries.is_empty() {
            RESTORE.to_owned()
        } else {
            format!("{RESTORE}; or yank it again; or, where it is to be listed: cargo xtask release unyank {version}")
        };
        explained(&version.to_string(), why.into(), &remedy)
    };
    versions.map(finding).collect()
}

/// What an index lost beside a mark that the page alone still has, nobody knows: so nothing is listed again, and the page is kept.
fn withhold(forgotten: &[Finding], found: &mut [Finding]) {
    let Some(first) = forgotten.first() else { return };
    let remedy = format!("first what is said of {}: only the page knows what was yanked", first.what);
    for finding in found {
        if matches!(finding.mend(), Some(Mend::Entry(_) | Mend::Entries | Mend::Index | Mend::Page)) {
            finding.cure = Cure::Explained { remedy: remedy.clone() };
        }
    }
}

fn of_version(version: &Version, sight: &Sight, seen: &Seen) -> Vec<Finding> {
    let what = version.to_string();
    let explained = |why: String, remedy: &str| vec![explained(&what, why, remedy)];
    let archive = match &sight.archive {
        Ok(archive) => archive.as_ref(),
        Err(error) => return vec![unknown(&what, error)],
    };
    let (entry, archive) = match (&sight.entries[..], archive) {
        ([], _) if sight.is_yanked => return Vec::new(),
        ([], None) => return Vec::new(),
        (_, _) if sight.is_yanked => return explained("it is listed, and was yanked".into(), RESTORE),
        ([_, _, ..], _) => return explained(format!("it is listed {} times", sight.entries.len()), RESTORE),
        ([_], None) => return explained("it is listed, and its archive is not there".into(), OLD_COPY),
        (entries, Some(archive)) => (entries.first(), archive),
    };
    let chart = match &archive.chart {
        Ok(chart) => chart,
        Err(why) => return explained(format!("its archive is not what it should be: {why}"), OLD_COPY),
    };
    if let Some((why, remedy)) = entry.and_then(|entry| contradiction(entry, archive, chart)) {
        return explained(why, remedy);
    }
    match &chart.doubts {
        Err(error) => return vec![unknown(&what, error)],
        Ok(_) if entry.is_none() && !sight.is_signed => {
            let why = "its archive is not listed, and nobody signs there: nothing says where it is from";
            return explained(why.into(), AGAIN);
        }
        Ok(doubts) if doubts.is_empty() => {}
        // Where the registry cannot be read, nobody knows what lies there.
        Ok(doubts) if seen.tags.is_err() => return vec![Finding { what, why: doubts.join("; "), cure: Cure::Unknown }],
        Ok(doubts) => {
            let listed = if entry.is_some() { "" } else { "its archive is not listed, and is not to be: " };
            return explained(format!("{listed}{}", doubts.join("; ")), AGAIN);
        }
    }
    let mut found = unlisted_or_untagged(&what, version, entry.is_some(), chart, sight);
    if entry.is_some() {
        found.extend(record_of(&what, version, chart));
    }
    // Tags of what is not listed, and is not to be, are nobody's business.
    if entry.is_some() || found.iter().any(|finding| finding.mend().is_some()) {
        found.extend(version_tags_of(&what, version, chart, seen));
    }
    found
}

/// Why an entry and an archive cannot both be right, and what to do.
fn contradiction(entry: &Listing, archive: &Archive, chart: &Chart) -> Option<(String, &'static str)> {
    if entry.sha256 != archive.sha256 {
        let why = format!("its archive has sha256 {}, and its entry names {}", archive.sha256, entry.sha256);
        return Some((why, OLD_COPY));
    }
    if entry.origin.as_ref() != Some(&chart.origin) {
        let named = entry.origin.as_deref().unwrap_or("none");
        let kind = if chart.image.is_some() { "image" } else { "commit" };
        return Some((format!("its entry names the {kind} {named}, and its archive {}", chart.origin), RESTORE));
    }
    (!entry.leads_here).then(|| ("its entry leads to another repository".into(), RESTORE))
}

/// A sound version whose entry or chart's tag is missing.
fn unlisted_or_untagged(what: &str, version: &Version, is_listed: bool, chart: &Chart, sight: &Sight) -> Vec<Finding> {
    let Some(artifact) = &chart.artifact else { return Vec::new() };
    match (&sight.chart_tag, is_listed) {
        (Err(error), _) => vec![unknown(what, error)],
        (Ok(Some(there)), true) if there == artifact => Vec::new(),
        (Ok(Some(there)), false) if there == artifact => {
            let why =
                "it is not listed, and accepted signers say where its archive, which was published before, is from";
            vec![mendable(what, why.into(), Mend::Entry(version.clone()))]
        }
        (Ok(there), true) => {
            let tag = crate::chart::oci::tag(what);
            vec![mendable(
                what,
                leads("its chart's tag", there.as_ref(), artifact),
                Mend::ChartTag(tag, artifact.clone()),
            )]
        }
        (Ok(_), false) => {
            let why = "its archive is not listed, and no chart's tag says that it ever was: its release did not come to its end, \
                       or it was yanked";
            vec![explained(
                what,
                why.into(),
                "run its release again, at its commit; nothing is to do where it was yanked",
            )]
        }
    }
}

/// A listed version whose record is missing, or not its own.
fn record_of(what: &str, version: &Version, chart: &Chart) -> Option<Finding> {
    match &chart.record {
        Err(error) => Some(unknown(what, error)),
        Ok(Recorded::Right) => None,
        Ok(Recorded::Missing) => {
            let why = "what is known of it is not recorded beside its archive";
            Some(mendable(what, why.into(), Mend::Record(version.clone())))
        }
        Ok(Recorded::Wrong) => {
            let why = "what is recorded beside its archive is not of it";
            Some(explained(what, why.into(), "a bucket keeps what was there before: put that back"))
        }
    }
}

/// Entries that could be short. Those of which something else is left to a person stay as they are.
fn long(seen: &Seen, found: &[Finding]) -> Option<Finding> {
    let doubtful: BTreeSet<&str> =
        found.iter().filter(|one| one.mend().is_none()).map(|one| one.what.as_str()).collect();
    let is_long = |(version, sight): &(&Version, &Sight)| {
        matches!(&sight.entries[..], [entry] if entry.is_long) && !doubtful.contains(version.to_string().as_str())
    };
    let count = seen.versions.iter().filter(is_long).count();
    let why = format!("{count} of its entries say what is, or can be, recorded beside their archives");
    (count > 0).then(|| mendable("index.yaml", why, Mend::Entries))
}

fn version_tags_of(what: &str, version: &Version, chart: &Chart, seen: &Seen) -> Vec<Finding> {
    let (Ok(tags), Some(image)) = (&seen.tags, &chart.image) else { return Vec::new() };
    mistagged(what, version, image, tags)
}

/// Those of a version's own tags that do not lead to its image.
fn mistagged(what: &str, version: &Version, image: &Digest, tags: &BTreeMap<String, Digest>) -> Vec<Finding> {
    let wrong = version_tags(version).into_iter().filter(|tag| tags.get(tag) != Some(image));
    let finding = |tag: String| {
        let why = leads(&format!("its tag {tag}"), tags.get(&tag), image);
        mendable(what, why, Mend::VersionTag(tag, image.clone()))
    };
    wrong.map(finding).collect()
}

/// The floating tags of versions, the highest of which lead to these images, as they will be once all else is mended. Nobody moves them
/// while one that leads is in doubt.
fn floating(
    mut tags: BTreeMap<String, Digest>,
    versions: Vec<Version>,
    image: impl Fn(&Version) -> Option<Digest>,
    first: &Version,
    found: &[Finding],
) -> Vec<Finding> {
    for mend in found.iter().filter_map(Finding::mend) {
        if let Mend::VersionTag(tag, digest) = mend {
            tags.insert(tag.clone(), digest.clone());
        }
    }
    let left: BTreeSet<&str> = found.iter().filter(|one| one.mend().is_none()).map(|one| one.what.as_str()).collect();
    let leaders: BTreeSet<Version> = floating_tags(&versions, first).into_values().collect();
    let doubtful = leaders.iter().find(|leader| left.contains(leader.to_string().as_str()));
    let images = leaders.iter().filter_map(|leader| Some((leader.clone(), image(leader)?))).collect();
    let mut listed = Listed { versions, images };
    if let Some(doubtful) = doubtful {
        listed.images.retain(|leader, _| !left.contains(leader.to_string().as_str()));
        let moves = promote::moves(&tags, &listed, first).set;
        let why = |(tag, digest): (String, Digest)| leads("it", tags.get(&tag), &digest);
        let remedy = format!("first what is said of {doubtful}: all floating tags move together");
        return moves.into_iter().map(|lead| explained(&lead.0.clone(), why(lead), &remedy)).collect();
    }
    let moves = promote::moves(&tags, &listed, first);
    let wrong = moves
        .set
        .into_iter()
        .map(|(tag, digest)| mendable(&tag.clone(), leads("it", tags.get(&tag), &digest), Mend::FloatingTags));
    let remedy = "release a version of that line, or take the tag away by the registry's own means";
    wrong.chain(moves.warnings.into_iter().map(|why| explained("tags", why, remedy))).collect()
}

fn caches(seen: &Seen) -> Vec<Finding> {
    let outside = match &seen.outside {
        Ok(outside) => outside,
        Err(error) => return vec![unknown("caches", error)],
    };
    let mut found = Vec::new();
    if !outside.headers.is_empty() {
        found.push(mendable("index.yaml", outside.headers.join("; "), Mend::Index));
    }
    if !outside.stale.is_empty() {
        let why = format!("users do not get what the store holds: {}", outside.stale.join(", "));
        found.push(mendable("caches", why, Mend::Caches(outside.digest.clone())));
    }
    found
}

impl Seen {
    /// The floating tags of the versions that are listed, or will be.
    fn floating(&self, found: &[Finding]) -> Vec<Finding> {
        let mut tags = match &self.tags {
            Ok(tags) => tags.clone(),
            Err(error) => return vec![unknown("tags", error)],
        };
        let listed = self.versions.iter().filter(|(_, sight)| !sight.entries.is_empty());
        let again = found.iter().filter_map(|finding| match finding.mend() {
            Some(Mend::Entry(version)) => Some(version),
            _ => None,
        });
        let versions: Vec<Version> = listed.map(|(version, _)| version).chain(again).cloned().collect();
        let (wanted, left) = (floating_tags(&versions, &self.first), self.left_by_yanking(&tags));
        tags.retain(|tag, digest| !is_floating(tag) || wanted.contains_key(tag) || !left.contains(digest));
        floating(tags, versions, |version| self.image(version).cloned(), &self.first, found)
    }

    /// The images of yanked versions: the tags of a line that has no other version stay at them.
    fn left_by_yanking(&self, tags: &BTreeMap<String, Digest>) -> BTreeSet<Digest> {
        let yanked = self.versions.iter().filter(|(_, sight)| sight.is_yanked);
        yanked.filter_map(|(version, _)| tags.get(&version_tags(version)[0]).cloned()).collect()
    }

    fn image(&self, version: &Version) -> Option<&Digest> {
        let archive = self.versions.get(version)?.archive.as_ref().ok()?.as_ref()?;
        archive.chart.as_ref().ok()?.image.as_ref()
    }
}

impl Finding {
    /// How it can be mended, where it can.
    pub fn mend(&self) -> Option<&Mend> {
        match &self.cure {
            Cure::Mendable { mend } => Some(mend),
            _ => None,
        }
    }

    /// Shows it to people.
    pub fn show(&self) {
        let Finding { what, why, cure } = self;
        match cure {
            Cure::Mendable { mend } => {
                ui::warn(format_args!("{what}: {why}"));
                ui::note("to mend", mend);
            }
            Cure::Explained { remedy } => {
                ui::warn(format_args!("{what}: {why}"));
                ui::note("to do", remedy);
            }
            Cure::Unknown => ui::note("Unknown", format_args!("{what}: {why}")),
        }
    }
}

impl std::fmt::Display for Mend {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mend::VersionTag(tag, digest) => write!(out, "point the image's tag {tag} at {digest}"),
            Mend::Record(version) => write!(out, "record what is known of {version}"),
            Mend::Entry(version) => write!(out, "list {version}"),
            Mend::Entries => out.write_str("leave out of the index what is recorded beside the archives"),
            Mend::Index => out.write_str("write index.yaml again, as it is, with the right headers"),
            Mend::Page => out.write_str("write the page again"),
            Mend::Caches(_) => out.write_str("have every cache drop its copies"),
            Mend::ChartTag(tag, digest) => write!(out, "point the chart's tag {tag} at {digest}"),
            Mend::FloatingTags => out.write_str("point the floating tags at the highest listed versions"),
        }
    }
}

/// Says in one error what is left.
///
/// # Errors
/// Something is.
pub fn conclude(left: &[Finding], target: &str) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    let names: BTreeSet<&str> = left.iter().map(|finding| finding.what.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let what = format!("what is published to `{target}` is not whole: {}", names.join(", "));
    let error = Error::new(Exit::Damage, what).because("see above what is wrong with each, and what to do");
    let again = format!("cargo xtask doctor --to {target} --repair --yes");
    Err(if left.iter().any(|finding| finding.mend().is_some()) { error.remedy(again) } else { error })
}

fn leads(tag: &str, there: Option<&Digest>, wanted: &Digest) -> String {
    match there {
        Some(there) => format!("{tag} leads to {there}, and not to {wanted}"),
        None => format!("{tag}, which should lead to {wanted}, is not there"),
    }
}

fn mendable(what: &str, why: String, mend: Mend) -> Finding {
    Finding { what: what.into(), why, cure: Cure::Mendable { mend } }
}

fn explained(what: &str, why: String, remedy: &str) -> Finding {
    Finding { what: what.into(), why, cure: Cure::Explained { remedy: remedy.into() } }
}

fn unknown(what: &str, error: &Error) -> Finding {
    let lines = std::iter::once(&error.what).chain(&error.why).chain(&error.remedies);
    Finding {
        what: what.into(),
        why: lines.map(|line| line.trim()).collect::<Vec<_>>().join("; "),
        cure: Cure::Unknown,
    }
}

#[cfg(test)]
mod tests;
