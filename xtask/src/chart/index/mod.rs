//! `index.yaml` as data: what a chart repository lists. Pure; this is where nothing may get lost.
//!
//! The file is written as JSON, which is YAML, with one version a line: every Helm reads it, a text can never turn into a number,
//! and a diff shows what a release changed. Each entry is kept as the text it was read as, so that fields which nobody here
//! knows survive; only what decisions need (version, digest, created) is looked at. Identity is the exact pair of chart and
//! version. Adding is idempotent and commutes: whoever comes first, the file ends up the same.
//!
//! Shape: Helm's `IndexFile` (`pkg/repo`): `apiVersion`, `entries` (chart name to a list of versions), `generated`, `annotations`.

use std::borrow::Cow;

use chart_text::index::{self, Listing};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chart::archive::RELEASED;
use crate::chart::{json, yaml};
use crate::error::{Error, Exit, Result};
use crate::sys::time;

pub use chart_text::index::{Complaints, Entry};

/// The name of the file in a repository.
pub const FILE: &str = "index.yaml";

/// How many bytes a short entry has at the most, unless what it cannot leave out has more.
pub const SHORT: usize = 480;

/// What Helm, Flux, Argo CD, Renovate and Artifact Hub ask of every entry: to find a version, its archive and its age. All else they read
/// in the archive.
const ASKED: [&str; 8] = ["apiVersion", "appVersion", "created", "deprecated", "digest", "name", "urls", "version"];

/// What `helm search` shows, and Renovate's and other tools' links: as much of it as there is room for, in this order.
const TOLD: [&str; 4] = ["description", "home", "kubeVersion", "icon"];

/// The prefix of a top-level annotation that keeps a yanked entry.
const YANKED: &str = "yanked/";

/// A chart repository's index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index(Listing);

/// An entry that was taken out, and why. Kept as one JSON text in the index's annotations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Yanked {
    /// What its publisher said.
    pub reason: String,
    /// The entry, as it was.
    pub entry: String,
}

/// What adding an entry did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is there now.
    New,
    /// It was there before, with this digest.
    Already,
}

/// What of an entry has to be in the index; `chart::record` has the rest. Each fetch of the index costs what all entries have in it.
pub fn short(entry: &Entry) -> Entry {
    let fields = fields(entry);
    let of = |names: &[&str]| -> Map<String, Value> {
        let kept = names.iter().filter_map(|name| Some(((*name).to_owned(), fields.get(*name)?.clone())));
        kept.collect()
    };
    let mut kept = of(&ASKED);
    // What the chart was made of.
    let origin = RELEASED.into_iter().find_map(|name| {
        let value = fields.get("annotations")?.get(name)?;
        Some(serde_json::json!({ name: value }))
    });
    kept.extend(origin.map(|origin| ("annotations".to_owned(), origin)));
    let made = |fields: &Map<String, Value>| Entry::of(fields).unwrap_or_else(|_| entry.clone());
    for name in TOLD {
        let more: Map<String, Value> = kept.clone().into_iter().chain(of(&[name])).collect();
        if made(&more).json().len() <= SHORT {
            kept = more;
        }
    }
    made(&kept)
}

/// Whether an entry leaves out what need not be in the index.
pub fn is_short(entry: &Entry) -> bool {
    fields(entry) == fields(&short(entry))
}

fn fields(entry: &Entry) -> Map<String, Value> {
    serde_json::from_str(entry.json()).unwrap_or_default()
}

/// The text of an index file as JSON: itself where it is JSON, converted where it is YAML.
fn as_json(bytes: &[u8]) -> Result<Cow<'_, str>> {
    let text = std::str::from_utf8(bytes).map_err(|error| unreadable(&error.to_string()))?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(unreadable("the file is empty"));
    }
    if !text.trim_start().starts_with('{') {
        return whole_yaml(text).map(Cow::Owned).map_err(|why| unreadable(&why));
    }
    match json::check(text) {
        Ok(()) => Ok(Cow::Borrowed(text)),
        // YAML, too, may begin with a brace.
        Err(why) => whole_yaml(text).map(Cow::Owned).map_err(|_| unreadable(&why)),
    }
}

/// YAML that was cut at the end of a line is still YAML. Every tool writes `generated` last, so its presence shows the end.
fn whole_yaml(text: &str) -> Result<String, String> {
    let json = yaml::to_json(text)?;
    let generated = json::text_member(&json, "generated")?;
    if generated.is_none_or(|time| time::seconds(&time).is_none()) {
        return Err("it has no `generated` time, which stands at its end: it may have been cut off".into());
    }
    Ok(json)
}

impl Index {
    /// An index that lists nothing yet.
    pub fn empty() -> Self {
        Index(Listing { fields: vec![("apiVersion".into(), "\"v1\"".into())], ..Listing::default() })
    }

    /// Reads the content of an index file, JSON or YAML.
    ///
    /// # Errors
    /// It is empty, not UTF-8, neither of both, or not of an index's shape; a key stands twice; it ends early.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        index::read(&as_json(bytes)?).map(Index).map_err(|why| unreadable(&why))
    }

    /// The file's new content: exact JSON, one version a line.
    pub fn write(&self) -> String {
        index::write(&self.0)
    }

    /// Every chart's name and entries, as they stand.
    pub fn charts(&self) -> impl Iterator<Item = (&str, &[Entry])> {
        self.0.charts.iter().map(|(name, entries)| (&**name, &**entries))
    }

    /// The entries of a chart, as they stand.
    pub fn entries(&self, chart: &str) -> &[Entry] {
        self.0.charts.iter().find(|(name, _)| **name == *chart).map_or(&[], |(_, entries)| entries)
    }

    /// How many versions of how many charts it lists.
    pub fn size(&self) -> (usize, usize) {
        (self.0.charts.iter().map(|(_, entries)| entries.len()).sum(), self.0.charts.len())
    }

    /// The entry of exactly this version.
    pub fn find(&self, chart: &str, version: &str) -> Option<&Entry> {
        self.entries(chart).iter().find(|entry| *entry.version == *version)
    }

    /// Every version of a chart that is semver.
    pub fn versions(&self, chart: &str) -> Vec<Version> {
        self.entries(chart).iter().filter_map(|entry| Version::parse(&entry.version).ok()).collect()
    }

    /// Lists a version, newest first among its chart's.
    ///
    /// # Errors
    /// The version is listed with another digest, or was yanked; nothing changes then.
    pub fn add(&mut self, chart: &str, entry: Entry) -> Result<Added> {
        self.refuse_yanked(chart, &entry.version)?;
        if let Some(listed) = self.find(chart, &entry.version) {
            if listed.sha256() == entry.sha256() {
                return Ok(Added::Already);
            }
            return Err(Error::new(
                Exit::Conflict,
                format!("{chart} {} is already published with other content", entry.version),
            )
            .because(format!("listed: sha256 {}\nours:   sha256 {}", shown_digest(listed), shown_digest(&entry)))
            .remedy("take the next version: a published one never changes"));
        }
        self.insert(chart, entry);
        Ok(Added::New)
    }

    /// Makes those of a chart's entries short of which somebody else holds the whole. True where there were such.
    pub fn shorten(&mut self, chart: &str, is_held: &dyn Fn(&Entry) -> bool) -> bool {
        let entries = self.0.charts.iter_mut().filter(|(name, _)| **name == *chart).flat_map(|(_, entries)| entries);
        let mut changed = false;
        for entry in entries.filter(|entry| is_held(entry) && !is_short(entry)) {
            *entry = short(entry);
            changed = true;
        }
        changed
    }

    /// Takes an entry out because it is about to be made again (local rehearsals only).
    pub fn withdraw(&mut self, chart: &str, version: &str) -> Option<Entry> {
        let (_, entries) = self.0.charts.iter_mut().find(|(name, _)| **name == *chart)?;
        let at = entries.iter().position(|entry| *entry.version == *version)?;
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
        let kept = Yanked { reason: reason.into(), entry: entry.json().to_owned() };
        let text = serde_json::to_string(&kept).map_err(|error| unreadable(&error.to_string()))?;
        self.0.annotations.insert(yanked_key(chart, version).into(), text.into());
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
        let entry = Entry::read(&yanked.entry).map_err(|why| unreadable(&why))?;
        self.0.annotations.remove(yanked_key(chart, version).as_str());
        self.insert(chart, entry);
        Ok(true)
    }

    /// What is kept of a yanked version.
    ///
    /// # Errors
    /// It is damaged.
    pub fn yanked(&self, chart: &str, version: &str) -> Result<Option<Yanked>> {
        let kept = self.0.annotations.get(yanked_key(chart, version).as_str());
        let damaged = |error: serde_json::Error| unreadable(&format!("what is kept of yanked {version}: {error}"));
        kept.map(|text| serde_json::from_str(text).map_err(damaged)).transpose()
    }

    /// Every yanked version of a chart, as it was, and why. What is damaged is left out.
    pub fn all_yanked(&self, chart: &str) -> impl Iterator<Item = (Entry, String)> {
        let kept = self.0.annotations.iter().filter(|(name, _)| name.starts_with(YANKED));
        kept.filter_map(move |(name, text)| {
            let kept: Yanked = serde_json::from_str(text).ok()?;
            let entry = Entry::read(&kept.entry).ok()?;
            (**name == yanked_key(chart, &entry.version)).then_some((entry, kept.reason))
        })
    }

    /// Refuses a version that was yanked, with what its publisher said.
    ///
    /// # Errors
    /// It was yanked, or what is kept of it is damaged.
    pub fn refuse_yanked(&self, chart: &str, version: &str) -> Result<()> {
        match self.yanked(chart, version)? {
            None => Ok(()),
            Some(yanked) => Err(was_yanked(version, &yanked.reason)),
        }
    }

    /// What Helms refuse the whole file for, and a release keeps nevertheless.
    pub fn complaints(&self) -> Complaints {
        index::complaints(&self.0)
    }

    fn insert(&mut self, chart: &str, entry: Entry) {
        if let Some(created) = &entry.created {
            let newest = self.0.generated.as_deref().map_or(created.as_ref(), |old| time::later(old, created));
            self.0.generated = Some(newest.to_owned().into());
        }
        let at = self.0.charts.iter().position(|(name, _)| **name == *chart);
        let at = at.unwrap_or_else(|| {
            // Charts are in the order of their names, unless somebody else ordered them.
            let at = self.0.charts.iter().position(|(name, _)| name.as_ref() > chart).unwrap_or(self.0.charts.len());
            self.0.charts.insert(at, (chart.to_owned().into(), Vec::new()));
            at
        });
        let entries = &mut self.0.charts[at].1;
        let newer = Version::parse(&entry.version).ok();
        let older = |other: &Entry| Version::parse(&other.version).is_ok_and(|other| newer.as_ref() > Some(&other));
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

/// The error for a version that was taken out of the index.
pub fn was_yanked(version: &str, reason: &str) -> Error {
    Error::new(Exit::Conflict, format!("{version} was yanked: {reason}"))
        .remedy(format!("put it back: cargo xtask release unyank {version}"))
        .remedy("or take the next version: cargo xtask release patch")
}

fn shown_digest(entry: &Entry) -> &str {
    entry.sha256().unwrap_or("(none)")
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
