//! An image as it lies on disk: the OCI image layout, whose `index.json` holds one descriptor, of a multi-platform image index.
//!
//! It is that of the OCI image specification 1.1 (`image-layout.md`). Whoever built it, the digest of the image index is the digest of the
//! image. Bytes that come from outside are only believed after their digest was computed again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Descriptor, Digest, INDEX, ImageConfig, ImageIndex, ImageManifest, Platform, json};
use crate::error::{Context, Error, Exit, Result};
use crate::sys::files;

/// The content of the file `oci-layout`.
pub const LAYOUT_FILE: &str = "{\"imageLayoutVersion\":\"1.0.0\"}";
/// What to do about a published folder that is damaged.
pub const MADE_AGAIN: &str = "remove the whole published folder: the next rehearsal makes it again";

/// A whole image: every blob by its digest, and which of them is the image index.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The digest of the image.
    pub digest: Digest,
    /// All blobs: the image index, manifests, configurations, layers.
    pub blobs: BTreeMap<Digest, Vec<u8>>,
}

/// One platform of an image.
#[derive(Clone, Debug)]
pub struct PlatformImage {
    /// Which one.
    pub platform: Platform,
    /// What the image index says of it.
    pub descriptor: Descriptor,
    /// Its manifest.
    pub manifest: ImageManifest,
    /// Its configuration.
    pub config: ImageConfig,
}

impl Layout {
    /// Reads a layout from a folder; every digest is computed again.
    ///
    /// # Errors
    /// The folder is not a layout of exactly one image index, or a blob is missing or is not what its name says.
    pub fn read(folder: &Path) -> Result<Self> {
        let wrong = |why: &str| {
            Error::new(Exit::Repository, format!("{} does not hold an image", folder.display()))
                .because(why)
                .remedy("cargo xtask release build")
        };
        let index = files::read(&folder.join("index.json"))?.ok_or_else(|| wrong("there is no index.json"))?;
        let index: ImageIndex = serde_json::from_slice(&index).map_err(|error| wrong(&error.to_string()))?;
        let [descriptor] = index.manifests.as_slice() else {
            return Err(wrong("index.json must hold exactly one descriptor"));
        };
        collect(&descriptor.digest, &|_, digest| read_blob(folder, digest))
    }

    /// One image of several that each have platforms of their own, in that order.
    ///
    /// # Errors
    /// One is not an image index.
    pub fn of_platforms(parts: &[Layout]) -> Result<Self> {
        let (mut blobs, mut whole) = (BTreeMap::new(), ImageIndex::new(Vec::new()));
        for part in parts {
            let index: ImageIndex = parsed(&part.digest, part.blob(&part.digest)?)?;
            blobs.extend(
                part.blobs.iter().filter(|(digest, _)| **digest != part.digest).map(|(d, b)| (d.clone(), b.clone())),
            );
            whole.manifests.extend(index.manifests);
            whole.annotations.extend(index.annotations);
        }
        let bytes = json(&whole)?;
        let digest = Digest::of(&bytes);
        blobs.insert(digest.clone(), bytes);
        Ok(Layout { digest, blobs })
    }

    /// Makes `folder` hold this image and nothing else.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        files::remove(folder)?;
        for (digest, bytes) in &self.blobs {
            files::create_new(&blob_path(folder, digest), bytes)?;
        }
        files::create_new(&folder.join("oci-layout"), LAYOUT_FILE.as_bytes())?;
        let descriptor = Descriptor::of(INDEX, self.blob(&self.digest)?);
        files::create_new(&folder.join("index.json"), &json(&ImageIndex::new(vec![descriptor]))?)?;
        Ok(())
    }

    /// The platforms, in the order of the image index.
    ///
    /// # Errors
    /// A manifest is not what the specification asks for.
    pub fn platforms(&self) -> Result<Vec<PlatformImage>> {
        platform_images(&self.digest, &|_, digest| self.blob(digest).cloned())
    }

    /// The same image with one platform only, under a layout of its own.
    ///
    /// # Errors
    /// A manifest is not what the specification asks for.
    pub fn only(&self, image: &PlatformImage) -> Result<Layout> {
        let index = json(&ImageIndex::new(vec![image.descriptor.clone()]))?;
        let digest = Digest::of(&index);
        let parts = image.manifest.layers.iter().chain([&image.manifest.config, &image.descriptor]);
        let blobs = parts.map(|part| Ok((part.digest.clone(), self.blob(&part.digest)?.clone())));
        let mut blobs = blobs.collect::<Result<BTreeMap<_, _>>>()?;
        blobs.insert(digest.clone(), index);
        Ok(Layout { digest, blobs })
    }

    fn blob(&self, digest: &Digest) -> Result<&Vec<u8>> {
        self.blobs.get(digest).ok_or_else(|| missing(digest))
    }
}

/// What is fetched by a digest; a registry serves the two at different addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// An image index or a platform's manifest.
    Manifest,
    /// A configuration or a layer.
    Blob,
}

/// A way to get the parts of an image, from wherever they are.
pub type Fetch<'f> = dyn Fn(Part, &Digest) -> Result<Vec<u8>> + 'f;

/// Where a layout keeps a blob.
pub fn blob_path(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join("blobs/sha256").join(digest.hex())
}

/// Reads a blob of a layout folder and computes its digest again.
///
/// # Errors
/// It is missing, or is not what its name says.
pub fn read_blob(folder: &Path, digest: &Digest) -> Result<Vec<u8>> {
    find_blob(folder, digest)?.ok_or_else(|| missing(digest))
}

/// As `read_blob`; nothing where it is missing.
///
/// # Errors
/// It is not what its name says.
pub fn find_blob(folder: &Path, digest: &Digest) -> Result<Option<Vec<u8>>> {
    let path = blob_path(folder, digest);
    let Some(bytes) = files::read(&path)? else { return Ok(None) };
    let real = Digest::of(&bytes);
    if real == *digest {
        return Ok(Some(bytes));
    }
    Err(Error::new(Exit::Repository, format!("{} is damaged", path.display()))
        .because(format!("its digest is {real}"))
        .remedy(MADE_AGAIN))
}

/// Gathers a whole image, blob by blob, from wherever `fetch` gets them.
///
/// # Errors
/// A blob cannot be had, or a manifest is not what the specification asks for.
pub fn collect(digest: &Digest, fetch: &Fetch<'_>) -> Result<Layout> {
    let index = fetch(Part::Manifest, digest)?;
    let mut blobs = collect_platforms(&listed(digest, &index)?, fetch)?;
    blobs.insert(digest.clone(), index);
    Ok(Layout { digest: digest.clone(), blobs })
}

/// The same of some of an image's platforms, without the image index that lists them.
///
/// # Errors
/// As `collect`.
pub fn collect_platforms(platforms: &[Descriptor], fetch: &Fetch<'_>) -> Result<BTreeMap<Digest, Vec<u8>>> {
    let blobs = RefCell::new(BTreeMap::new());
    let keep = |part, digest: &Digest| {
        let bytes = fetch(part, digest)?;
        blobs.borrow_mut().insert(digest.clone(), bytes.clone());
        Ok(bytes)
    };
    for platform in platforms {
        let image = platform_image(platform, &keep)?;
        image.manifest.layers.iter().try_for_each(|layer| keep(Part::Blob, &layer.digest).map(drop))?;
    }
    Ok(blobs.into_inner())
}

/// The platforms' images that an image index lists.
///
/// # Errors
/// It is not what the specification asks for.
pub fn listed(digest: &Digest, index: &[u8]) -> Result<Vec<Descriptor>> {
    parsed(digest, index).map(|index: ImageIndex| index.manifests)
}

/// The platforms of an image: its index, and each one's manifest and configuration.
///
/// # Errors
/// A blob cannot be had, or is not what the specification asks for.
pub fn platform_images(digest: &Digest, fetch: &Fetch<'_>) -> Result<Vec<PlatformImage>> {
    let platforms = listed(digest, &fetch(Part::Manifest, digest)?)?;
    platforms.iter().map(|platform| platform_image(platform, fetch)).collect()
}

fn platform_image(descriptor: &Descriptor, fetch: &Fetch<'_>) -> Result<PlatformImage> {
    let manifest: ImageManifest = parsed(&descriptor.digest, &fetch(Part::Manifest, &descriptor.digest)?)?;
    let config: ImageConfig = parsed(&manifest.config.digest, &fetch(Part::Blob, &manifest.config.digest)?)?;
    let platform = Platform { os: config.os.clone(), architecture: config.architecture.clone() };
    Ok(PlatformImage { platform, descriptor: descriptor.clone(), manifest, config })
}

fn parsed<T: serde::de::DeserializeOwned>(digest: &Digest, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .context(Exit::Repository, || format!("{digest} is not the part of an image that it should be"))
}

fn missing(digest: &Digest) -> Error {
    Error::new(Exit::Repository, format!("the image lacks its part {digest}")).remedy(MADE_AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_blob_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"right");
        files::create_new(&blob_path(folder.path(), &digest), b"wrong").unwrap();
        assert!(read_blob(folder.path(), &digest).unwrap_err().what.contains("damaged"));
    }
}
