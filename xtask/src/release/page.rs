//! The page that people read at the repository's address, once the index lists what it shows.
//!
//! Charts are installed without it: where it cannot be written, that is a warning, and the next run mends it.

use std::collections::BTreeSet;

use crate::chart::page::{self, About, FRONT, Read};
use crate::error::Result;
use crate::release::destination::Destination;
use crate::release::pipeline::Pipeline;
use crate::sys::files;
use crate::ui;

impl Destination {
    /// Makes the page show what the index and the files of the tree, which `read` gives, say now. True where it did not.
    pub fn show_page(&self, read: &Read<'_>) -> bool {
        self.show(About::of(&self.folder, &self.all_charts, &self.target, read))
    }

    /// The same, and looks at every part of it.
    pub(super) fn mend_page(&self) -> bool {
        self.show(self.whole_page())
    }

    /// The names of those parts of the page that are not there as they should be.
    pub(super) fn lost_pages(&self) -> Result<Vec<String>> {
        page::lacking(&*self.store, &self.whole_page()?, &*self.look()?)
    }

    fn whole_page(&self) -> Result<About> {
        let about = About::of(&self.folder, &self.all_charts, &self.target, &self.tree())?;
        Ok(About { is_thorough: true, ..about })
    }

    fn show(&self, about: Result<About>) -> bool {
        if !self.target.page || !self.has_chart {
            return false;
        }
        match about.and_then(|about| page::publish(&*self.store, &about, &|| self.look())) {
            Ok(shown) => {
                if !shown.written.is_empty() {
                    ui::status("Shown", format_args!("at {}/", self.target.repository));
                }
                let changed = !shown.written.is_empty();
                self.page.replace(shown);
                changed
            }
            Err(error) => {
                let meanwhile =
                    format!("the page at {}/ is not as it should be; the next run mends it", self.target.repository);
                ui::warn(format_args!("{error}\n  {meanwhile}"));
                ui::summary(&format!("> [!WARNING]\n> {meanwhile}.\n"));
                false
            }
        }
    }

    /// The pages that others are reached from: the repository's, and the chart's where it is one of several; none where there is no page.
    pub(super) fn front_pages(&self) -> BTreeSet<String> {
        if !self.target.page || !self.has_chart {
            return BTreeSet::new();
        }
        [FRONT.to_owned(), page::front_of(&self.chart, !self.all_charts.is_empty())].into()
    }

    /// Gives the files of the work tree as they are.
    pub fn tree(&self) -> impl Fn(&str) -> Result<Option<Vec<u8>>> {
        let root = self.root().to_owned();
        move |path| files::read(&root.join(path))
    }
}

impl Pipeline {
    pub(super) fn show_page(&self) -> bool {
        self.destination.show_page(&|path| self.worktree.bytes(path))
    }

    /// Whether the page shows what the index and the tree say; true where the target has none.
    pub(super) fn is_page_shown(&self) -> Result<bool> {
        let destination = &self.destination;
        if !destination.target.page || !destination.has_chart {
            return Ok(true);
        }
        let Destination { folder, all_charts, target, .. } = destination;
        let about = About::of(folder, all_charts, target, &|path| self.worktree.bytes(path))?;
        Ok(page::lacking(&*destination.store, &about, &*destination.look()?)?.is_empty())
    }
}
