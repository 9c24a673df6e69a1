//! `index.yaml` as data: what a chart repository lists. Pure; this is where nothing may get lost.
//!
//! The file is written as JSON, which is YAML, with one version a line: every Helm reads it, a text can never turn into a number,
//! and a diff shows what a release changed. Each entry is kept as the text it was read as, so that fields which nobody here
//! knows survive; only what decisions need (version, digest, created) is looked at. Identity is the exact pair of chart and
//! version. Adding is idempotent and commutes: whoever comes first, the file ends up the same.
//!
//! Shape: Helm's `IndexFile` (`pkg/repo`): `apiVersion`, `entries` (chart name to a list of versions), `generated`, `annotations`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::chart::yaml;
use crate::error::{Error, Exit, Result};
use crate::moment;

mod json;

/// The name of the file in a repository.
pub const FILE: &str = "index.yaml";

/// The prefix of a top-level annotation that keeps a yanked entry.
const YANKED: &str = "yanked/";

/// A chart repository's index. Borrows the text that it was read from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index<'a> {
    /// Every top-level field but `entries`, `generated` and `annotations`, as it was written.
    fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    charts: Vec<(Cow<'a, str>, Vec<Entry<'a>>)>,
    generated: Option<Cow<'a, str>>,
    annotations: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

/// One version of one chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'a> {
    /// The whole entry, as one line of JSON.
    json: Cow<'a, str>,
    /// Its version, exactly as it is written.
    pub version: Cow<'a, str>,
    /// The SHA-256 of the archive as it is written, with or without `sha256:`.
    pub digest: Option<Cow<'a, str>>,
    /// When it was made, RFC 3339.
    pub created: Option<Cow<'a, str>>,
}

/// An entry that was taken out, and why. Kept as one JSON text in the index's annotations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Yanked {
    /// What its publisher said.
    pub reason: String,
    /// The entry, as it was.
    pub entry: String,
}

/// What Helms refuse an index for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaints {
    /// Fields that Helm 3.12 does not know, and refuses; newer ones forgive them in JSON.
    pub unknown: Vec<String>,
    /// Fields of versions that every Helm wants to be texts, and are not.
    pub not_text: Vec<String>,
}

/// What adding an entry did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is there now.
    New,
    /// It was there before, with this digest.
    Already,
}

/// The text of an index file as JSON: itself where it is JSON, converted where it is YAML.
///
/// # Errors
/// It is empty, not UTF-8, or neither; a key stands twice; it ends early.
pub fn as_json(bytes: &[u8]) -> Result<Cow<'_, str>> {
    let text = std::str::from_utf8(bytes).map_err(|error| unreadable(&error.to_string()))?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(unreadable("the file is empty"));
    }
    if !text.trim_start().starts_with('{') {
        return whole_yaml(text).map(Cow::Owned).map_err(|why| unreadable(&why));
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Ok(Cow::Borrowed(text)),
        // YAML, too, may begin with a brace.
        Err(error) => whole_yaml(text).map(Cow::Owned).map_err(|_| unreadable(&error.to_string())),
    }
}

/// YAML that was cut at the end of a line is still YAML. Every tool writes `generated` last, so its presence shows the end.
fn whole_yaml(text: &str) -> Result<String, String> {
    let json = yaml::to_json(text)?;
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(&json).map_err(|error| error.to_string())?;
    let generated = fields.get("generated").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    if generated.is_none_or(|time| time.parse::<jiff::Timestamp>().is_err()) {
        return Err("it has no `generated` time, which stands at its end: it may have been cut off".into());
    }
    Ok(json)
}

impl<'a> Index<'a> {
    /// An index that lists nothing yet.
    pub fn empty() -> Self {
        Index { fields: vec![("apiVersion".into(), "\"v1\"".into())], ..Index::default() }
    }

    /// Reads the JSON of an index.
    ///
    /// # Errors
    /// It is not JSON, not of an index's shape, or a key stands twice.
    pub fn parse(text: &'a str) -> Result<Self> {
        json::read(text).map_err(|why| unreadable(&why))
    }

    /// The file's new content: exact JSON, one version a line.
    pub fn write(&self) -> String {
        json::write(self)
    }

    /// The entries of a chart, as they stand.
    pub fn entries(&self, chart: &str) -> &[Entry<'a>] {
        self.charts.iter().find(|(name, _)| name == chart).map_or(&[], |(_, entries)| entries)
    }

    /// How many versions of how many charts it lists.
    pub fn size(&self) -> (usize, usize) {
        (self.charts.iter().map(|(_, entries)| entries.len()).sum(), self.charts.len())
    }

    /// The entry of exactly this version.
    pub fn find(&self, chart: &str, version: &str) -> Option<&Entry<'a>> {
        self.entries(chart).iter().find(|entry| entry.version == version)
    }

    /// Every version of a chart that is semver.
    pub fn versions(&self, chart: &str) -> Vec<Version> {
        self.entries(chart).iter().filter_map(|entry| Version::parse(&entry.version).ok()).collect()
    }

    /// Lists a version, newest first among its chart's.
    ///
    /// # Errors
    /// The version is listed with another digest, or was yanked; nothing changes then.
    pub fn add(&mut self, chart: &str, entry: Entry<'a>) -> Result<Added> {
        if let Some(yanked) = self.yanked(chart, &entry.version)? {
            return Err(Error::new(Exit::Conflict, format!("{chart} {} was yanked", entry.version))
                .because(yanked.reason)
                .remedy(format!("cargo xtask release unyank {}, or take another version", entry.version)));
        }
        if let Some(listed) = self.find(chart, &entry.version) {
            if listed.sha256() == entry.sha256() {
                return Ok(Added::Already);
            }
            return Err(Error::new(
                Exit::Conflict,
                format!("{chart} {} is already published with other content", entry.version),
            )
            .because(format!("listed: sha256 {}\nours:   sha256 {}", listed.shown_digest(), entry.shown_digest()))
            .remedy("take the next version: a published one never changes"));
        }
        self.insert(chart, entry);
        Ok(Added::New)
    }

    /// Takes an entry out because it is about to be made again (local rehearsals only).
    pub fn withdraw(&mut self, chart: &str, version: &str) -> Option<Entry<'a>> {
        let (_, entries) = self.charts.iter_mut().find(|(name, _)| name == chart)?;
        let at = entries.iter().position(|entry| entry.version == version)?;
        Some(entries.remove(at))
    }

    /// Takes an entry out of the list and keeps it, with the reason, in the annotations. False where it was yanked before.
    ///
    /// # Errors
    /// The version is not listed.
    pub fn yank(&mut self, chart: &str, version: &str, reason: &str) -> Result<bool> {
        if self.yanked(chart, version)?.is_some() {
            return Ok(false);
        }
        let Some(entry) = self.withdraw(chart, version) else { return Err(self.not_listed(chart, version)) };
        let kept = Yanked { reason: reason.into(), entry: entry.json.into_owned() };
        let text = serde_json::to_string(&kept).map_err(|error| unreadable(&error.to_string()))?;
        self.annotations.insert(yanked_key(chart, version).into(), text.into());
        Ok(true)
    }

    /// Puts a yanked entry back as it was. False where it is listed.
    ///
    /// # Errors
    /// The version was not yanked, or what was kept of it is damaged.
    pub fn unyank(&mut self, chart: &str, version: &str) -> Result<bool> {
        let Some(yanked) = self.yanked(chart, version)? else {
            return if self.find(chart, version).is_some() { Ok(false) } else { Err(self.not_listed(chart, version)) };
        };
        let entry = Entry::read(&yanked.entry).map_err(|why| unreadable(&why))?.into_owned();
        self.annotations.remove(yanked_key(chart, version).as_str());
        self.insert(chart, entry);
        Ok(true)
    }

    /// What is kept of a yanked version.
    ///
    /// # Errors
    /// It is damaged.
    pub fn yanked(&self, chart: &str, version: &str) -> Result<Option<Yanked>> {
        let kept = self.annotations.get(yanked_key(chart, version).as_str());
        let damaged = |error: serde_json::Error| unreadable(&format!("what is kept of yanked {version}: {error}"));
        kept.map(|text| serde_json::from_str(text).map_err(damaged)).transpose()
    }

    /// The versions of a chart that were yanked.
    pub fn yanked_versions(&self, chart: &str) -> Vec<String> {
        let prefix = yanked_key(chart, "");
        self.annotations.keys().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    /// What Helms refuse the whole file for, and a release keeps nevertheless.
    pub fn complaints(&self) -> Complaints {
        json::complaints(self)
    }

    fn insert(&mut self, chart: &str, entry: Entry<'a>) {
        if let Some(created) = &entry.created {
            let newest = self.generated.as_deref().map_or(created.as_ref(), |old| moment::later(old, created));
            self.generated = Some(newest.to_owned().into());
        }
        let at = self.charts.iter().position(|(name, _)| name == chart);
        let at = at.unwrap_or_else(|| {
            // Charts are in the order of their names, unless somebody else ordered them.
            let at = self.charts.iter().position(|(name, _)| name.as_ref() > chart).unwrap_or(self.charts.len());
            self.charts.insert(at, (chart.to_owned().into(), Vec::new()));
            at
        });
        let entries = &mut self.charts[at].1;
        let newer = Version::parse(&entry.version).ok();
        let older = |other: &Entry<'_>| Version::parse(&other.version).is_ok_and(|other| newer.as_ref() > Some(&other));
        let at = entries.iter().position(older).unwrap_or(entries.len());
        entries.insert(at, entry);
    }

    fn not_listed(&self, chart: &str, version: &str) -> Error {
        let listed: Vec<&str> = self.entries(chart).iter().take(5).map(|entry| entry.version.as_ref()).collect();
        Error::new(Exit::Usage, format!("{chart} {version} is not listed")).remedy(format!(
            "newest listed versions: {}",
            if listed.is_empty() { "none".into() } else { listed.join(", ") }
        ))
    }
}

impl<'a> Entry<'a> {
    /// Reads an entry from its JSON.
    ///
    /// # Errors
    /// It is not an object, or a key stands twice.
    pub fn read(text: &'a str) -> Result<Self, String> {
        json::entry(text)
    }

    /// Makes an entry of something that serialises to an object.
    ///
    /// # Errors
    /// It does not.
    pub fn of(value: &impl Serialize) -> Result<Entry<'static>> {
        let text = serde_json::to_string(value).map_err(|error| unreadable(&error.to_string()))?;
        Entry::read(&text).map(Entry::into_owned).map_err(|why| unreadable(&why))
    }

    /// The digest's 64 hex digits, however it is written.
    pub fn sha256(&self) -> Option<&str> {
        self.digest.as_deref().map(|digest| digest.strip_prefix("sha256:").unwrap_or(digest))
    }

    /// The whole entry as JSON.
    pub fn json(&self) -> &str {
        &self.json
    }

    fn shown_digest(&self) -> &str {
        self.sha256().unwrap_or("(none)")
    }

    fn into_owned(self) -> Entry<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Entry {
            json: owned(self.json),
            version: owned(self.version),
            digest: self.digest.map(owned),
            created: self.created.map(owned),
        }
    }
}

fn yanked_key(chart: &str, version: &str) -> String {
    format!("{YANKED}{chart}-{version}")
}

fn unreadable(why: &str) -> Error {
    Error::new(Exit::Repository, format!("{FILE} cannot be used"))
        .because(why)
        .remedy("restore it from a copy: it lists every version ever published, so it is never taken for empty")
}

#[cfg(test)]
mod tests;
