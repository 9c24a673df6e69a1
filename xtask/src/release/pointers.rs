//! What users follow: the index, the caches before it, and the floating tags. They move in this order, and each only once users see
//! what the one before leads to.

use std::collections::BTreeSet;
use std::time::Duration;

use semver::Version;

use crate::chart;
use crate::chart::cdn::STALE_FOR;
use crate::chart::index::FILE;
use crate::chart::repository;
use crate::error::{Error, Exit, Result};
use crate::oci::sha256_hex;
use crate::release::destination::Destination;
use crate::release::promote::{self, Listed};
use crate::release::verify::{self, Proof};
use crate::release::version;
use crate::ui;

impl Destination {
    /// Makes every cache drop the index, the page and an archive, and waits until users see these versions listed. Floating tags follow what
    /// users see, and not what the bucket holds: where no cache could be told, that is later. Gives how long the outside may go on
    /// showing old copies.
    ///
    /// # Errors
    /// The index cannot be read; users do not see it in time. A cache that cannot be told is a warning: old copies end by themselves.
    pub fn announce(&self, archive: Option<&str>, listed: &BTreeSet<Version>) -> Result<Duration> {
        if self.cdn.is_none() {
            return Ok(Duration::ZERO);
        }
        let index = self.store.version(FILE)?.unwrap_or_default();
        self.announce_writing(&index, archive, listed)
    }

    /// The same for one writing of the index.
    fn announce_writing(&self, index: &str, archive: Option<&str>, listed: &BTreeSet<Version>) -> Result<Duration> {
        let patience = self.invalidate(index, archive);
        if !listed.is_empty() {
            verify::index(self, listed, patience)?;
        }
        self.announced.replace(Some(index.to_owned()));
        Ok(patience)
    }

    fn invalidate(&self, index: &str, archive: Option<&str>) -> Duration {
        let Some(cdn) = &self.cdn else { return Duration::ZERO };
        let (page, fronts) = (self.page.borrow(), self.front_pages());
        // The first is what leads to all others, or a chart's own; `/` is the first again.
        let root = (!fronts.is_empty()).then_some("");
        let front = root.into_iter().chain(fronts.iter().map(String::as_str));
        let rewritten = page.written.iter().map(String::as_str).filter(|name| !fronts.contains(*name));
        let paths = [FILE].into_iter().chain(archive).chain(front).chain(rewritten);
        let paths: Vec<String> = paths.map(|name| format!("/{name}")).collect();
        // One and the same request for one state of index and page, whoever makes it and however often.
        let reference = &sha256_hex(format!("{index} {} {}", page.digest, paths.join(" ")).as_bytes())[..40];
        match cdn.invalidate(&paths, reference) {
            Ok(()) => {
                ui::status("Invalidated", paths.join(" "));
                self.patience()
            }
            Err(error) => {
                let meanwhile = format!("users may see the old {FILE} for up to {} s more", STALE_FOR.as_secs());
                ui::warn(format_args!("{error}\n  {meanwhile}; this run waits for as long"));
                ui::summary(&format!("> [!WARNING]\n> The caches could not be told of the new {FILE}: {meanwhile}.\n"));
                STALE_FOR
            }
        }
    }

    /// Makes every cache drop index and page, whatever was asked of them before: `stale` names the old copies that users got, and a page
    /// that somebody changed is the same again once it is mended, though caches have the other one.
    ///
    /// # Errors
    /// Index or page cannot be read.
    pub(super) fn refresh(&self, stale: &str) -> Result<()> {
        let version = |name: &str| Ok(self.store.version(name)?.unwrap_or_default());
        let (index, pages) = (version(FILE)?, self.front_pages());
        let page = pages.iter().map(|name| version(name)).collect::<Result<Vec<_>>>()?.join(" ");
        self.invalidate(&format!("{index} {page} {stale}"), None);
        Ok(())
    }

    /// Points the floating tags at the highest listed versions. True where one moved.
    ///
    /// # Errors
    /// The index or the registry cannot be read or written to; users do not see the index in time.
    pub fn promote(&self) -> Result<bool> {
        if !self.has_image {
            return Ok(false);
        }
        promote::run(&*self.registry, &|| self.shown(), &self.first)
    }

    /// The listed versions, once users see those that tags will lead to: another run may have listed one a moment ago, and no tag may
    /// lead to a version before users find it in the index.
    fn shown(&self) -> Result<Listed> {
        if !self.has_chart {
            return self.tagged_versions();
        }
        let snapshot = self.look()?;
        let listed = Listed::of(snapshot.index()?, &self.chart, &self.first);
        if self.cdn.is_some() && self.announced.borrow().as_deref() != Some(snapshot.version()) {
            let leaders = version::floating_tags(&listed.versions, &self.first).into_values().collect();
            self.announce_writing(snapshot.version(), None, &leaders)?;
        }
        Ok(listed)
    }

    /// Fetches a version as an anonymous user would.
    ///
    /// # Errors
    /// Something is not there, or not what was published.
    pub fn verify(&self, version: &Version, patience: Duration) -> Result<Proof> {
        verify::run(self, version, patience)
    }

    /// Takes a version out of the index, for a reason that is kept, and moves the floating tags. False where it was out before.
    ///
    /// # Errors
    /// The version is not listed.
    pub fn yank(&self, version: &Version, reason: &str) -> Result<bool> {
        self.require_chart()?;
        let (chart, text) = (&self.chart, version.to_string());
        let changed = repository::update(&*self.store, &|index| index.yank(chart, &text, reason))?;
        self.show_page(&self.tree());
        self.announce(None, &BTreeSet::new())?;
        self.promote()?;
        self.hide_chart(version)?;
        Ok(changed)
    }

    /// Puts a yanked version back as it was, and moves the floating tags. False where it was listed.
    ///
    /// # Errors
    /// The version was never yanked.
    pub fn unyank(&self, version: &Version) -> Result<bool> {
        self.require_chart()?;
        let (chart, text) = (&self.chart, version.to_string());
        let changed = repository::update(&*self.store, &|index| index.unyank(chart, &text))?;
        self.show_page(&self.tree());
        self.announce(None, &[version.clone()].into())?;
        self.promote()?;
        self.show_chart(version)?;
        Ok(changed)
    }

    /// Refuses what is done in the index where the product is not in it.
    pub(super) fn require_chart(&self) -> Result<()> {
        if self.has_chart {
            return Ok(());
        }
        Err(Error::new(Exit::Usage, format!("there is no chart of {}", self.chart))
            .because("what has no chart is not in the index: its image's tags are all that says what is published"))
    }

    /// Takes away the tag by which a yanked version's chart is found in the registry. Its bytes stay, as the archive's do.
    fn hide_chart(&self, version: &Version) -> Result<()> {
        if !self.target.signs(version) || self.charts.untag(&chart::oci::tag(&version.to_string()))? {
            return Ok(());
        }
        let name = self.chart_reference(version);
        ui::warn(format_args!("{name} can still be pulled: the registry does not remove tags when it is asked to"));
        Ok(())
    }

    /// Points the tag at the chart again, as it was when the version was released.
    fn show_chart(&self, version: &Version) -> Result<()> {
        let (text, snapshot) = (version.to_string(), self.look()?);
        let entry = snapshot.index()?.find(&self.chart, &text).filter(|_| self.target.signs(version));
        let Some(time) = entry.and_then(chart::oci::time) else { return Ok(()) };
        let Some(object) = self.store.get(&format!("{}-{text}.tgz", self.chart))? else { return Ok(()) };
        let digest = chart::oci::artifact(&object.bytes, time)?.descriptor.digest;
        self.charts.tag(&[(chart::oci::tag(&text), digest)])
    }

    /// Where a version's chart is found in the registry.
    pub(super) fn chart_reference(&self, version: &Version) -> String {
        format!("{}:{}", self.target.chart_reference(&self.chart), chart::oci::tag(&version.to_string()))
    }
}
