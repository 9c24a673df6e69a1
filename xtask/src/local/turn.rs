//! One run at a time in one folder.

use std::path::Path;

use crate::error::Result;
use crate::sys::files::Lock;
use crate::ui;

/// Waits for this run's turn in a workspace: the staging copy and the build are shared.
///
/// # Errors
/// The lock file cannot be made.
pub fn take(root: &Path) -> Result<Lock> {
    let path = root.join("target/xtask/run.lock");
    match Lock::attempt(&path)? {
        Some(lock) => Ok(lock),
        None => {
            ui::note("Waiting", "for another run in this folder to end");
            Lock::wait(&path)
        }
    }
}
