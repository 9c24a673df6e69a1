//! Who works in a folder: one run at a time, but for what shares nothing.

use std::path::Path;

use crate::config::Product;
use crate::error::Result;
use crate::sys::files::Lock;
use crate::ui;

/// A run's turn, for as long as the value lives.
pub struct Turn {
    tree: Option<Lock>,
    product: Option<Lock>,
}

impl Turn {
    /// Waits for the turn of a product's release. One of several waits for the runs of its own product, and for those of others only
    /// while it works in the tree.
    ///
    /// # Errors
    /// A lock file cannot be made.
    pub fn of(product: &Product) -> Result<Self> {
        let own = product.name.as_ref().map(|_| wait(&product.work("run.lock"))).transpose()?;
        Ok(Turn { product: own, tree: Some(take(&product.root)?) })
    }

    /// Lets other products' runs into the tree, where this run is one of several products'.
    pub fn leave_tree(&mut self) {
        if self.product.is_some() {
            self.tree = None;
        }
    }
}

/// Waits for this run's turn in a workspace: the staging copy and the build are shared.
///
/// # Errors
/// The lock file cannot be made.
pub fn take(root: &Path) -> Result<Lock> {
    wait(&root.join("target/xtask/run.lock"))
}

fn wait(path: &Path) -> Result<Lock> {
    match Lock::attempt(path)? {
        Some(lock) => Ok(lock),
        None => {
            ui::note("Waiting", "for another run in this folder to end");
            Lock::wait(path)
        }
    }
}
