//! A target that is a folder of this machine: charts and index at the top, the image as an OCI layout beside them, and a lock by which
//! writers take turns.

use std::path::{Path, PathBuf};

use crate::config::Target;
use crate::oci::registry::LayoutFolder;

pub mod server;
pub mod store;
pub mod turn;

use store::Directory;

/// Where a product's layouts are within a published folder: one of several has a folder of its own.
pub fn of_product(folder: &Path, target: &Target) -> PathBuf {
    target.product.as_ref().map_or_else(|| folder.to_owned(), |product| folder.join(product))
}

/// The image's layout within a published folder.
pub fn image_folder(folder: &Path) -> PathBuf {
    folder.join("image")
}

/// The chart's layout within a published folder, for `helm pull oci://…`.
pub fn chart_folder(folder: &Path) -> PathBuf {
    folder.join("chart")
}

/// The registry of a published folder.
pub fn registry(folder: &Path) -> LayoutFolder {
    LayoutFolder::new(image_folder(folder), lock_file(folder))
}

/// The registry of a published folder's chart.
pub fn chart_registry(folder: &Path) -> LayoutFolder {
    LayoutFolder::new(chart_folder(folder), lock_file(folder))
}

/// The chart store of a published folder.
pub fn store(folder: &Path) -> Directory {
    Directory::new(folder.to_owned(), lock_file(folder))
}

fn lock_file(folder: &Path) -> PathBuf {
    folder.join(".lock")
}
