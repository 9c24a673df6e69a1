//! Where a folder target keeps things: charts and index at the top, the image as an OCI layout beside them.

use std::path::{Path, PathBuf};

use crate::image::registry::LayoutFolder;
use crate::store::directory::Directory;

/// The image's layout within a published folder.
pub fn image_folder(folder: &Path) -> PathBuf {
    folder.join("image")
}

/// The lock by which writers of a published folder take turns.
pub fn lock_file(folder: &Path) -> PathBuf {
    folder.join(".lock")
}

/// The registry of a published folder.
pub fn registry(folder: &Path) -> LayoutFolder {
    LayoutFolder::new(image_folder(folder), lock_file(folder))
}

/// The chart store of a published folder.
pub fn store(folder: &Path) -> Directory {
    Directory::new(folder.to_owned(), lock_file(folder))
}
