//! What people read of a chart repository: its pages (`chart_text::page`, which is pure) in the store beside the index.
//!
//! They are made of the index and of the versions' records, so that any run can make them again, but for the picture, which is in the tree.
//! The front page is written last and notes what the others were made of: whoever reads it knows which of them are left to write. A record
//! never changes, so what a page says of a version is taken over from it while the index says the same: a release reads one or two records,
//! however many there are. Each page is written by compare-and-swap, and only while the index is the one that it was made of: no slow run
//! puts an old page over a new one.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use chart_text::changes::Changes;
use chart_text::page::{self, Chart, Known, Part, STYLE, STYLE_SHEET, Signer, Site, Version, WRITTEN_BY};

use crate::chart::archive::RELEASED;
use crate::chart::hub;
use crate::chart::index::{Entry, Index};
use crate::chart::manifest::ChartManifest;
use crate::chart::record::{self, Record};
use crate::chart::repository::Snapshot;
use crate::chart::store::{Object, Store, Write};
use crate::config::{Target, workflow_repository};
use crate::error::{Error, Exit, Result};
use crate::oci::sha256_hex;
use crate::sys::retry::{Failure, retry};

pub use chart_text::page::{FRONT, POLICY};

/// What pages say beside what the index and records hold.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The URL of the repository.
    pub repository: String,
    /// The chart's name.
    pub chart: String,
    /// The charts that have pages, where there are several: the front page leads to that of each.
    pub charts: Vec<String>,
    /// What says which versions are signed, by whom, and where their charts can be pulled from.
    pub target: Option<Target>,
    /// Its picture, where it has one.
    pub icon: Option<Icon>,
    /// What tells Artifact Hub whose the repository is (`hub::REPOSITORY`), where the tree has it.
    pub hub: Option<Vec<u8>>,
    /// Look at every part and every record, and do not believe what the front page notes of it: somebody may have changed one by hand.
    pub is_thorough: bool,
}

/// A picture that browsers show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icon {
    name: String,
    bytes: Vec<u8>,
}

/// Gives a file of the tree by its path.
pub type Read<'a> = dyn Fn(&str) -> Result<Option<Vec<u8>>> + 'a;

/// What writing the pages came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The names of those that were left to write.
    pub written: Vec<String>,
    /// A digest of the front page, which notes those of all others.
    pub digest: String,
}

impl About {
    /// The chart in that folder of the tree, one of several where `charts` are their names, at a target, from the tree's files, which
    /// `read` gives by their paths.
    ///
    /// # Errors
    /// A file cannot be read, `Chart.yaml` or what Artifact Hub reads is malformed, or the chart's picture is none.
    pub fn of(folder: &str, charts: &[String], target: &Target, read: &Read<'_>) -> Result<Self> {
        let manifest = read(&format!("{folder}/Chart.yaml"))?.unwrap_or_default();
        let manifest = ChartManifest::parse(&String::from_utf8_lossy(&manifest))?;
        let mut icon = Icon::of_chart(folder, &manifest, read)?;
        if !charts.is_empty() {
            icon = icon.map(|icon| Icon { name: format!("{}-{}", manifest.name, icon.name), ..icon });
        }
        let hub = hub_file(folder, read)?;
        Ok(About {
            repository: target.repository.clone(),
            chart: manifest.name,
            charts: charts.to_vec(),
            target: Some(target.clone()),
            icon,
            hub,
            is_thorough: false,
        })
    }

    /// The name of the chart's front page.
    fn front(&self) -> String {
        front_of(&self.chart, !self.charts.is_empty())
    }
}

/// The name of a chart's front page, which leads from the repository's where it is one of several.
pub fn front_of(chart: &str, is_one_of_several: bool) -> String {
    if is_one_of_several { page::front_of(chart) } else { FRONT.into() }
}

/// What Artifact Hub reads of the repository, beside the chart's folder.
fn hub_file(folder: &str, read: &Read<'_>) -> Result<Option<Vec<u8>>> {
    let path = Path::new(folder).with_file_name(hub::REPOSITORY).display().to_string();
    read(&path)?.map(|bytes| hub::check(&path, &bytes).map(|()| bytes)).transpose()
}

impl Icon {
    /// The picture that a chart's `icon` is the address of, where the chart's folder has it, too.
    fn of_chart(folder: &str, chart: &ChartManifest, read: &Read<'_>) -> Result<Option<Self>> {
        let Some(name) = chart.icon.as_deref().and_then(|url| url.rsplit('/').next()) else { return Ok(None) };
        let path = format!("{folder}/{name}");
        read(&path)?.map(|bytes| Icon::of(&path, bytes)).transpose()
    }

    fn of(path: &str, bytes: Vec<u8>) -> Result<Self> {
        let is_svg = |text: &str| {
            let text = text.trim_start_matches('\u{feff}').trim_start();
            text.starts_with("<svg") || (text.starts_with("<?xml") && text.contains("<svg"))
        };
        let name = match Path::new(path).extension().and_then(|extension| extension.to_str()) {
            Some("svg") if std::str::from_utf8(&bytes).is_ok_and(is_svg) => "icon.svg",
            Some("png") if bytes.starts_with(b"\x89PNG\r\n\x1a\n") => "icon.png",
            _ => {
                return Err(Error::new(
                    Exit::Workspace,
                    format!("{path} is not an image that the chart's page can show"),
                )
                .because("it is neither SVG nor PNG")
                .remedy("put one there, or leave `icon` out of Chart.yaml"));
            }
        };
        Ok(Icon { name: name.into(), bytes })
    }
}

/// Makes the store hold the pages of the index that `look` gives, and says which of them were left to write.
///
/// # Errors
/// The store cannot be read or written to; the index is damaged; others keep changing it.
pub fn publish(store: &dyn Store, about: &About, look: &dyn Fn() -> Result<Rc<Snapshot>>) -> Result<Shown> {
    const ATTEMPTS: usize = 20;
    const FIRST_PAUSE: Duration = Duration::from_millis(5);
    let mut shown = Shown::default();
    retry(ATTEMPTS, FIRST_PAUSE, || {
        // Before the index: a front page that is still this one afterwards was made of no newer index.
        let there = There::read(store, about)?;
        let seen = look()?;
        let Drafts { parts, fronts } = Drafts::of(store, about, seen.index()?, there)?;
        if !parts.is_empty() && look()?.version() != seen.version() {
            return Err(overtaken());
        }
        shown.digest = digest(&fronts.iter().flat_map(|front| &front.bytes).copied().collect::<Vec<u8>>());
        parts.into_iter().chain(fronts).try_for_each(|draft| draft.put(store, &mut shown.written))
    })?;
    Ok(shown)
}

/// The names of those pages of an index that the store does not hold as they should be.
///
/// # Errors
/// The store cannot be read; the index is damaged.
pub fn lacking(store: &dyn Store, about: &About, seen: &Snapshot) -> Result<Vec<String>> {
    let Drafts { parts, fronts } = Drafts::of(store, about, seen.index()?, There::read(store, about)?)?;
    Ok(parts.into_iter().chain(fronts).filter(|draft| !draft.is_there()).map(|draft| draft.name).collect())
}

/// The versions that the pages in the store show as yanked, whatever the index says of them: those of one chart, where it is one of several.
///
/// # Errors
/// The store cannot be read.
pub fn yanked(store: &dyn Store, one_of_several: Option<&str>) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let is_its = |name: &&String| one_of_several.is_none_or(|chart| is_page_of(chart, name));
    for name in store.list(".html")?.keys().filter(is_its) {
        let page = store.get(name)?;
        found.extend(page.iter().flat_map(|page| page::yanked(&text(page)).map(str::to_owned).collect::<Vec<_>>()));
    }
    Ok(found)
}

/// Whether a page is of a chart that is one of several: what follows its name is `newest`, or a number.
fn is_page_of(chart: &str, name: &str) -> bool {
    let rest = name.strip_prefix(chart).and_then(|rest| rest.strip_prefix("-versions-"));
    rest.is_some_and(|rest| !rest.contains('-'))
}

/// The front pages that are there: the chart's, and what leads to it where it is one of several.
struct There {
    front: Option<Object>,
    overview: Option<Object>,
}

impl There {
    fn read(store: &dyn Store, about: &About) -> Result<Self> {
        let overview = if about.charts.is_empty() { None } else { store.get(FRONT)? };
        Ok(There { front: store.get(&about.front())?, overview })
    }
}

/// What the pages should be.
struct Drafts {
    /// Those parts that the front page does not note as they are now.
    parts: Vec<Draft>,
    /// The chart's front page, and what leads to it where it is one of several.
    fronts: Vec<Draft>,
}

impl Drafts {
    fn of(store: &dyn Store, about: &About, index: &Index, there: There) -> Result<Self> {
        let mut maker = Maker { store, about, site: site(index, about), stand: Stand::default() };
        if let Some(front) = there.front.as_ref().filter(|_| !about.is_thorough) {
            maker.stand.take(&text(front));
        }
        let (noted, parts) = maker.parts(there.front.as_ref())?;
        let bytes = maker.front(&noted)?.into_bytes();
        let mut fronts = vec![Draft { name: about.front(), bytes, there: there.front }];
        if !about.charts.is_empty() {
            let bytes = overview(index, about).into_bytes();
            fronts.push(Draft { name: FRONT.into(), bytes, there: there.overview });
        }
        Ok(Drafts { parts, fronts })
    }
}

/// The page that leads to those of all charts.
fn overview(index: &Index, about: &About) -> String {
    let newest = |chart: &str| {
        let version = newest_stable(index, chart).or_else(|| index.versions(chart).into_iter().max())?;
        index.find(chart, &version.to_string())
    };
    let charts: Vec<Chart<'_>> = about.charts.iter().map(|name| Chart { name, newest: newest(name) }).collect();
    page::overview(&about.repository, &charts, &others(index, |name| about.charts.iter().any(|known| known == name)))
}

fn newest_stable(index: &Index, chart: &str) -> Option<semver::Version> {
    index.versions(chart).into_iter().filter(|version| version.pre.is_empty()).max()
}

/// Charts of others, each with the version that is listed first.
fn others(index: &Index, is_known: impl Fn(&str) -> bool) -> Vec<(&str, &str)> {
    let others = index.charts().filter(|(name, _)| !is_known(name));
    others.filter_map(|(name, entries)| Some((name, &*entries.first()?.version))).collect()
}

fn site<'a>(index: &'a Index, about: &'a About) -> Site<'a> {
    let version = |entry, yanked| Version { entry, yanked, mark: String::new(), article: None, known: None };
    let listed = index.entries(&about.chart).iter().rev().map(|entry| version(Cow::Borrowed(entry), None));
    let yanked = index.all_yanked(&about.chart).map(|(entry, reason)| version(Cow::Owned(entry), Some(reason)));
    let mut versions: Vec<Version<'_>> = listed.chain(yanked).collect();
    page::number(&mut versions);
    let newest = newest_stable(index, &about.chart);
    let signs = |target: &&Target| newest.as_ref().is_some_and(|newest| target.signs(newest));
    let signed = about.target.as_ref().filter(signs);
    let is_one_of_several = !about.charts.is_empty();
    Site {
        repository: &about.repository,
        chart: &about.chart,
        is_one_of_several,
        oci: signed.map(|target| target.chart_reference(&about.chart)),
        signers: signed.map(signers).unwrap_or_default(),
        icon: about.icon.as_ref().map(|icon| icon.name.as_str()),
        newest: newest.map(|version| version.to_string()),
        versions,
        // Where there are several, the page that leads to all of them says that.
        others: if is_one_of_several { Vec::new() } else { others(index, |name| name == about.chart) },
    }
}

/// The key that a rehearsal made for itself is not among them: nobody else has it.
fn signers(target: &Target) -> Vec<Signer> {
    let signers = target.signers.iter().filter_map(|table| match (&table.key, &table.issuer, &table.identity) {
        (Some(file), _, _) => Some(Signer::Key(file.display().to_string())),
        (None, Some(issuer), Some(subject)) => {
            let repository = workflow_repository(subject).map(str::to_owned);
            Some(Signer::Identity { issuer: issuer.clone(), subject: subject.clone(), repository })
        }
        _ => None,
    });
    signers.collect()
}

/// The articles that stand on pages, by their marks.
#[derive(Default)]
struct Stand(HashMap<String, String>);

impl Stand {
    fn take(&mut self, page: &str) {
        let articles = page::articles(page).into_iter();
        self.0.extend(articles.map(|(mark, article)| (mark.to_owned(), article.to_owned())));
    }
}

/// Makes pages, and reads no more for them than it has to.
struct Maker<'a> {
    store: &'a dyn Store,
    about: &'a About,
    site: Site<'a>,
    stand: Stand,
}

impl Maker<'_> {
    /// Every part of the site but the front page, and those of them which the front page that is there does not note as they are now.
    fn parts(&mut self, front: Option<&Object>) -> Result<(Vec<Part>, Vec<Draft>)> {
        let about = self.about;
        let front = front.map(text).unwrap_or_default();
        let noted = page::noted(&front);
        let picture = about.icon.iter().map(|icon| (icon.name.clone(), Content::Fixed(&icon.bytes)));
        let hub = about.hub.iter().map(|bytes| (hub::REPOSITORY.to_owned(), Content::Fixed(bytes)));
        let style = (STYLE.to_owned(), Content::Fixed(STYLE_SHEET.as_bytes()));
        let count = page::full_pages(&self.site);
        let pages = (1..=count).map(|number| (page::name(&self.site, number), Content::Page(number)));
        let (mut parts, mut drafts) = (Vec::new(), Vec::new());
        for (name, content) in picture.chain(hub).chain([style]).chain(pages).collect::<Vec<_>>() {
            let digest = match content {
                Content::Fixed(bytes) => digest(bytes),
                Content::Page(number) => self.made_of(number),
            };
            if about.is_thorough || noted.get(&*name) != Some(&&*digest) {
                let there = self.store.get(&name)?;
                let bytes = match content {
                    Content::Fixed(bytes) => bytes.to_vec(),
                    Content::Page(number) => self.page(number, there.as_ref())?.into_bytes(),
                };
                drafts.push(Draft { name: name.clone(), bytes, there });
            }
            parts.push(Part { name, digest });
        }
        Ok((parts, drafts))
    }

    /// A digest of all that a full page is made of.
    fn made_of(&self, number: usize) -> String {
        let site = &self.site;
        let mut all = format!("{} {number} {}", site.icon.unwrap_or_default(), number == page::full_pages(site));
        for version in &site.versions[page::on_page(site, Some(number))] {
            self.put_made_of(version, &mut all);
        }
        digest(all.as_bytes())
    }

    /// All that a version's article is made of: its record never changes, and goes with its archive.
    fn put_made_of(&self, version: &Version<'_>, all: &mut String) {
        let yanked = version.yanked.as_deref().map_or_else(String::new, |reason| format!("yanked {reason}"));
        for text in [&*WRITTEN, self.site.repository, self.site.chart, version.entry.json(), &yanked] {
            all.push_str(text);
            all.push('\n');
        }
    }

    fn page(&mut self, number: usize, there: Option<&Object>) -> Result<String> {
        if let Some(there) = there.filter(|_| !self.about.is_thorough) {
            self.stand.take(&text(there));
        }
        self.fill(page::on_page(&self.site, Some(number)))?;
        Ok(page::full(&self.site, number))
    }

    fn front(&mut self, noted: &[Part]) -> Result<String> {
        self.fill(page::on_page(&self.site, None))?;
        let newest = self.site.newest.as_deref();
        let newest = self.site.versions.iter().rposition(|version| newest == Some(&*version.entry.version));
        // What is said of the chart is what its newest version says.
        if let Some(newest) = newest.or(self.site.versions.len().checked_sub(1)) {
            self.learn(newest)?;
        }
        Ok(page::front(&self.site, noted))
    }

    /// Has the articles of these versions, or what they are made of.
    fn fill(&mut self, versions: std::ops::Range<usize>) -> Result<()> {
        for number in versions {
            let mut all = String::new();
            self.put_made_of(&self.site.versions[number], &mut all);
            let mark = digest(all.as_bytes());
            let article = self.stand.0.get(&mark).cloned();
            let version = &mut self.site.versions[number];
            (version.mark, version.article) = (mark, article);
            if version.article.is_none() {
                self.learn(number)?;
            }
        }
        Ok(())
    }

    /// Reads a version's record, where it may have one.
    fn learn(&mut self, number: usize) -> Result<()> {
        let version = &mut self.site.versions[number];
        if version.known.is_none() && may_be_recorded(&version.entry) {
            version.known = known(self.store, self.site.chart, &version.entry)?;
        }
        Ok(())
    }
}

/// Strangers' versions have none, and there may be many of them.
fn may_be_recorded(entry: &Entry) -> bool {
    RELEASED.iter().any(|name| entry.json().contains(&format!("\"{name}\"")))
}

/// What a version's record says; nothing of another archive than the one that is listed.
fn known(store: &dyn Store, chart: &str, listed: &Entry) -> Result<Option<Known>> {
    let name = record::name(chart, &listed.version);
    let Some(object) = store.get(&name)? else { return Ok(None) };
    // One that is damaged keeps no page from being written: `verify` and `doctor` tell of it.
    let record = Record::parse(&name, &object.bytes).and_then(|record| Ok((record.entry()?, record)));
    let same = record.ok().filter(|(entry, _)| entry.sha256() == listed.sha256());
    Ok(same.map(|(entry, Record { size, changes, signers, .. })| {
        let changes = changes.as_deref().map(Changes::parse);
        Known { entry, size, changes, signers: signers.into_iter().collect() }
    }))
}

/// What pages are written by.
static WRITTEN: LazyLock<String> = LazyLock::new(|| digest(WRITTEN_BY.concat().as_bytes()));

/// What is in a part.
#[derive(Clone, Copy)]
enum Content<'a> {
    Fixed(&'a [u8]),
    /// A page of that number.
    Page(usize),
}

fn digest(bytes: &[u8]) -> String {
    sha256_hex(bytes)[..16].to_owned()
}

/// A file as it should be, and as it is.
struct Draft {
    name: String,
    bytes: Vec<u8>,
    there: Option<Object>,
}

impl Draft {
    fn is_there(&self) -> bool {
        self.there.as_ref().is_some_and(|there| there.bytes == self.bytes)
    }

    /// Puts it in place of what is there, where that is another one.
    fn put(self, store: &dyn Store, written: &mut Vec<String>) -> Result<(), Failure> {
        let write = match &self.there {
            _ if self.is_there() => return Ok(()),
            Some(there) => store.replace(&self.name, &there.revision, &self.bytes)?,
            None => store.put_new(&self.name, &self.bytes)?,
        };
        if write == Write::Refused {
            return Err(overtaken());
        }
        written.push(self.name);
        Ok(())
    }
}

fn text(object: &Object) -> Cow<'_, str> {
    String::from_utf8_lossy(&object.bytes)
}

fn overtaken() -> Failure {
    let busy = Error::new(Exit::Busy, "the repository's page was being changed by others every time");
    Failure::Passing(busy.remedy("retry the command"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::index::{Entry, FILE};
    use crate::chart::repository;
    use crate::chart::store::{Revision, Written};
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    /// Files in memory: hundreds of repositories are made here, and a disk's syncs would take a minute.
    #[derive(Default)]
    struct Memory {
        files: Mutex<BTreeMap<String, Vec<u8>>>,
        /// The records that were read.
        records: Mutex<Vec<String>>,
    }

    impl Store for Memory {
        fn starts_empty(&self) -> bool {
            true
        }

        fn get(&self, name: &str) -> Result<Option<Object>> {
            let bytes = self.files.lock().unwrap().get(name).cloned();
            if name.ends_with(".json") {
                self.records.lock().unwrap().push(name.to_owned());
            }
            Ok(bytes.map(|bytes| {
                let digest = sha256_hex(&bytes);
                Object { bytes, revision: Revision(digest.clone()), version: digest }
            }))
        }

        fn list(&self, suffix: &str) -> Result<BTreeMap<String, u64>> {
            let files = self.files.lock().unwrap();
            let sizes = files.iter().map(|(name, bytes)| (name.clone(), u64::try_from(bytes.len()).unwrap()));
            Ok(sizes.filter(|(name, _)| name.ends_with(suffix)).collect())
        }

        fn put_new(&self, name: &str, bytes: &[u8]) -> Result<Write> {
            self.put(name, None, bytes)
        }

        fn replace(&self, name: &str, seen: &Revision, bytes: &[u8]) -> Result<Write> {
            self.put(name, Some(seen), bytes)
        }
    }

    impl Memory {
        fn put(&self, name: &str, seen: Option<&Revision>, bytes: &[u8]) -> Result<Write> {
            let mut files = self.files.lock().unwrap();
            if files.get(name).map(|bytes| sha256_hex(bytes)).as_ref() != seen.map(|seen| &seen.0) {
                return Ok(Write::Refused);
            }
            files.insert(name.to_owned(), bytes.to_vec());
            Ok(Write::Done(Written { revision: Revision(sha256_hex(bytes)), version: None }))
        }

        fn pages(&self) -> BTreeMap<String, Vec<u8>> {
            self.files.lock().unwrap().clone().into_iter().filter(|(name, _)| name != FILE).collect()
        }
    }

    fn about() -> About {
        let icon = Icon::of("chart/icon.svg", b"<svg/>".to_vec()).unwrap();
        About { repository: "https://c.example".into(), chart: "demo".into(), icon: Some(icon), ..About::default() }
    }

    fn version(number: usize) -> String {
        format!("1.{}.{}", number / 10, number % 10)
    }

    fn entry(number: usize) -> Entry {
        let fields = serde_json::json!({"version": version(number), "digest": "d", "created": format!("2026-01-01T{:02}:{:02}:00Z", number / 60, number % 60)});
        Entry::of(&fields).unwrap()
    }

    /// Lists versions, all by one writing.
    fn list(store: &dyn Store, numbers: std::ops::Range<usize>) {
        repository::put_first(store).unwrap();
        let add = |index: &mut Index| numbers.clone().try_for_each(|number| index.add("demo", entry(number)).map(drop));
        repository::update(store, &|index| add(index).map(|()| true)).unwrap();
    }

    fn publish_now(store: &dyn Store, about: &About) -> Vec<String> {
        publish(store, about, &|| repository::read(store).map(Rc::new)).unwrap().written
    }

    /// A store that another run changes, or that fails, when it is about to be written to.
    struct Meddled<'a> {
        store: &'a Memory,
        left: Cell<usize>,
        meddle: &'a dyn Fn() -> Result<()>,
    }

    impl<'a> Meddled<'a> {
        fn at(number: usize, store: &'a Memory, meddle: &'a dyn Fn() -> Result<()>) -> Self {
            Meddled { store, left: Cell::new(number), meddle }
        }

        fn count(&self) -> Result<()> {
            let left = self.left.get();
            self.left.set(left.wrapping_sub(1));
            if left == 0 { (self.meddle)() } else { Ok(()) }
        }
    }

    impl Store for Meddled<'_> {
        fn starts_empty(&self) -> bool {
            true
        }

        fn get(&self, name: &str) -> Result<Option<Object>> {
            self.count()?;
            self.store.get(name)
        }

        fn list(&self, suffix: &str) -> Result<BTreeMap<String, u64>> {
            self.store.list(suffix)
        }

        fn put_new(&self, name: &str, bytes: &[u8]) -> Result<Write> {
            self.count()?;
            self.store.put_new(name, bytes)
        }

        fn replace(&self, name: &str, seen: &Revision, bytes: &[u8]) -> Result<Write> {
            self.count()?;
            self.store.replace(name, seen, bytes)
        }
    }

    #[test]
    fn x3_pages_are_written_once_and_a_release_writes_those_that_it_changes() {
        let store = Memory::default();
        list(&store, 0..149);
        let written = publish_now(&store, &about());
        assert_eq!(written, ["icon.svg", "page.css", "demo-versions-1.html", "index.html"]);
        let before = store.pages();
        assert_eq!(publish_now(&store, &about()), [""; 0], "a second run has nothing to write");
        assert_eq!(store.pages(), before);
        list(&store, 149..150);
        assert_eq!(publish_now(&store, &about()), ["demo-versions-1.html", "demo-versions-2.html", "index.html"]);
        list(&store, 150..151);
        assert_eq!(publish_now(&store, &about()), ["index.html"]);
        repository::update(&store, &|index| index.yank("demo", "1.0.3", "it loses data")).unwrap();
        assert_eq!(publish_now(&store, &about()), ["demo-versions-1.html", "index.html"], "it stays in its place");
        assert!(String::from_utf8_lossy(&store.pages()["demo-versions-1.html"]).contains("it loses data"));
    }

    #[test]
    fn x3_h14_several_charts_have_pages_of_their_own_and_each_release_writes_what_leads_to_all() {
        let store = Memory::default();
        repository::put_first(&store).unwrap();
        let list = |chart: &str, number: usize| {
            repository::update(&store, &|index| index.add(chart, entry(number)).map(|_| true)).unwrap();
        };
        let charts = || ["demo", "demo-versions-1"].map(str::to_owned).to_vec();
        let of = |chart: &str| About { chart: chart.into(), charts: charts(), icon: None, ..about() };
        list("demo", 1);
        let first = publish_now(&store, &of("demo"));
        assert_eq!(first, ["page.css", "demo-versions-newest.html", "index.html"]);
        let overview = |store: &Memory| String::from_utf8_lossy(&store.pages()[FRONT]).into_owned();
        assert!(
            overview(&store).contains("<h3>demo-versions-1</h3>\n<p>No version is listed."),
            "{}",
            overview(&store)
        );
        list("demo-versions-1", 2);
        let second = publish_now(&store, &of("demo-versions-1"));
        assert_eq!(
            second,
            ["demo-versions-1-versions-newest.html", "index.html"],
            "the other one's page stays as it is"
        );
        assert!(overview(&store).contains("./demo-versions-1-versions-newest.html"), "{}", overview(&store));
        assert_eq!(publish_now(&store, &of("demo")), [""; 0]);
        assert_eq!(publish_now(&store, &of("demo-versions-1")), [""; 0]);
        repository::update(&store, &|index| index.yank("demo-versions-1", &version(2), "bad")).unwrap();
        publish_now(&store, &of("demo-versions-1"));
        let yanked = |chart| yanked(&store, Some(chart)).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!((yanked("demo-versions-1"), yanked("demo")), (vec![version(2)], Vec::new()));
    }

    #[test]
    fn what_artifact_hub_reads_of_a_repository_is_copied_from_the_tree_where_it_can_be_read() {
        let of = |text: &'static str| {
            let read = move |path: &str| Ok((path == "charts/artifacthub-repo.yml").then(|| text.as_bytes().to_vec()));
            hub_file("charts/demo", &read)
        };
        let good = "owners:\n- {name: Ann, email: ann@example.com}\n";
        let store = Memory::default();
        list(&store, 0..1);
        let about = About { hub: of(good).unwrap(), ..about() };
        assert_eq!(publish_now(&store, &about), ["icon.svg", hub::REPOSITORY, "page.css", "index.html"]);
        assert_eq!(store.pages()[hub::REPOSITORY], good.as_bytes());
        assert_eq!(repository::headers(hub::REPOSITORY), Some(("text/yaml", "public, max-age=300")));
        let error = of("owner: Ann\n").unwrap_err().to_string();
        assert!(error.contains("charts/artifacthub-repo.yml is not what Artifact Hub reads"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn x3_whatever_a_run_that_was_cut_off_left_the_next_one_mends(before in 95..105usize, after in 0..8usize, cut in 0..12usize) {
            let (cut_off, whole) = (Memory::default(), Memory::default());
            for store in [&cut_off, &whole] {
                list(store, 0..before);
                publish_now(store, &about());
                list(store, before..before + after);
            }
            let die = || Err(Error::new(Exit::Failure, "cut off"));
            let dying = Meddled::at(cut, &cut_off, &die);
            publish(&dying, &about(), &|| repository::read(&cut_off).map(Rc::new)).ok();
            publish_now(&cut_off, &about());
            publish_now(&whole, &about());
            prop_assert_eq!(cut_off.pages(), whole.pages());
        }

        #[test]
        fn x5_a_slow_run_never_leaves_an_old_page_over_a_new_one(before in 95..105usize, after in 1..8usize, moment in 0..12usize) {
            let store = Memory::default();
            list(&store, 0..before);
            // Whenever it happens: another run lists more, takes an old version out, and writes all of its pages.
            let faster = || {
                list(&store, before..before + after);
                repository::update(&store, &|index| index.yank("demo", "1.0.0", "it loses data"))?;
                publish_now(&store, &about());
                Ok(())
            };
            let slow = Meddled::at(moment, &store, &faster);
            publish(&slow, &about(), &|| repository::read(&store).map(Rc::new)).unwrap();
            let fresh = Memory::default();
            let index = store.get(FILE).unwrap().unwrap().bytes;
            prop_assert!(fresh.put_new(FILE, &index).unwrap().is_done());
            publish_now(&fresh, &about());
            prop_assert_eq!(store.pages(), fresh.pages());
        }
    }

    #[test]
    fn x5_of_many_runs_at_once_the_last_index_is_shown() {
        let store = Memory::default();
        list(&store, 0..97);
        std::thread::scope(|scope| {
            for number in 97..103 {
                let store = &store;
                scope.spawn(move || {
                    list(store, number..number + 1);
                    publish_now(store, &about());
                });
            }
        });
        let found = store.pages();
        assert_eq!(publish_now(&store, &about()), [""; 0]);
        let front = String::from_utf8_lossy(&found[FRONT]);
        assert!((97..103).all(|number| front.contains(&format!("id=\"{}\"", version(number)))), "{front}");
    }

    /// An entry of a release, and its record in the store.
    fn release(store: &Memory, number: usize) -> Entry {
        let mut fields: serde_json::Value = serde_json::from_str(entry(number).json()).unwrap();
        fields["annotations"] = serde_json::json!({RELEASED[0]: "host/demo:1@sha256:0"});
        let listed = Entry::of(&fields).unwrap();
        fields["kubeVersion"] = format!(">=1.{number}").into();
        let (changes, signers) = (Some(format!("- `change` {number}\n")), ["ann".to_owned()].into());
        let record = Record { entry: fields, size: 12_345, platforms: BTreeMap::new(), changes, signers };
        assert!(record::put(store, "demo", &version(number), &record, true).unwrap());
        listed
    }

    #[test]
    fn h6_what_records_say_stands_on_the_pages_and_a_release_reads_those_alone_of_what_is_new() {
        let store = Memory::default();
        let list = |numbers: std::ops::Range<usize>| {
            repository::put_first(&store).unwrap();
            let entries: Vec<Entry> = numbers.map(|number| release(&store, number)).collect();
            let add = |index: &mut Index| entries.iter().try_for_each(|one| index.add("demo", one.clone()).map(drop));
            repository::update(&store, &|index| add(index).map(|()| true)).unwrap();
            store.records.lock().unwrap().clear();
        };
        let read = || std::mem::take(&mut *store.records.lock().unwrap());
        list(0..149);
        publish_now(&store, &about());
        assert_eq!(read().len(), 149);
        assert_eq!(publish_now(&store, &about()), [""; 0]);
        assert_eq!(read(), ["demo-1.14.8.json"], "what the newest says of the chart");
        list(149..150);
        assert_eq!(publish_now(&store, &about()), ["demo-versions-1.html", "demo-versions-2.html", "index.html"]);
        assert_eq!(read(), ["demo-1.14.9.json"]);
        repository::update(&store, &|index| index.yank("demo", "1.0.3", "it loses data")).unwrap();
        assert_eq!(publish_now(&store, &about()), ["demo-versions-1.html", "index.html"]);
        assert_eq!(read(), ["demo-1.0.3.json", "demo-1.14.9.json"]);
        let pages = store.pages();
        let fresh = Memory { files: Mutex::new(store.pages()), ..Memory::default() };
        fresh.files.lock().unwrap().retain(|name, _| !name.ends_with(".html"));
        fresh.files.lock().unwrap().insert(FILE.into(), store.get(FILE).unwrap().unwrap().bytes);
        publish_now(&fresh, &about());
        assert_eq!(fresh.pages(), pages, "what is taken over is what would be made");
        let second = String::from_utf8_lossy(&pages["demo-versions-2.html"]).into_owned();
        for said in
            ["<code>change</code> 99", "<dt>Kubernetes</dt><dd>&gt;=1.99</dd>", "<dt>Signed by</dt><dd>ann</dd>"]
        {
            assert!(second.contains(said), "{said} is not in\n{second}");
        }
    }

    #[test]
    fn a_picture_is_one_that_browsers_show() {
        let svg = |text: &str| Icon::of("a/icon.svg", text.into()).is_ok();
        assert!(svg("<svg xmlns='http://www.w3.org/2000/svg'/>") && svg("<?xml version='1.0'?>\n<!-- x -->\n<svg/>"));
        assert!(!svg("<html><svg/></html>") && !svg("") && !svg("404: Not Found"));
        assert_eq!(Icon::of("a/logo.png", b"\x89PNG\r\n\x1a\n...".to_vec()).unwrap().name, "icon.png");
        let error = Icon::of("a/logo.png", b"<svg/>".to_vec()).unwrap_err().to_string();
        assert!(error.contains("a/logo.png is not an image"), "{error}");
    }
}
