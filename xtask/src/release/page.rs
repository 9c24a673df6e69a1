//! The page that people read at the repository's address, once the index lists what it shows.
//!
//! Charts are installed without it: where it cannot be written, that is a warning, and the next run mends it.

use crate::chart::page::{self, About, Read};
use crate::error::Result;
use crate::release::destination::Destination;
use crate::release::pipeline::Pipeline;
use crate::sys::files;
use crate::ui;

impl Destination {
    /// Makes the page show what the index and the files of the tree, which `read` gives, say now. True where it did not.
    pub fn show_page(&self, read: &Read<'_>) -> bool {
        if !self.target.page {
            return false;
        }
        let shown = About::of(&self.folder, &self.target, read)
            .and_then(|about| page::publish(&*self.store, &about, &|| self.look()));
        match shown {
            Ok(shown) => {
                if !shown.written.is_empty() {
                    ui::status("Shown", format_args!("at {}/", self.target.repository));
                }
                if let Some(version) = &shown.unexplained {
                    let missing = format!("CHANGELOG.md has no section for {version}");
                    ui::note("Unexplained", format_args!("{missing}: the page does not say what changed"));
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
        if !destination.target.page {
            return Ok(true);
        }
        let about = About::of(&destination.folder, &destination.target, &|path| self.worktree.bytes(path))?;
        page::is_shown(&*destination.store, &about, &*destination.look()?)
    }
}
