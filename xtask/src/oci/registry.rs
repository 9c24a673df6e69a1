//! Where images are published: tags, and the blobs they lead to.
//!
//! A registry keeps blobs by digest and lets tags move. It has no compare-and-swap, so nothing here relies on one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Context, Error, Exit, Result};
use crate::oci::{
    self, Annotations, Descriptor, Digest, ImageIndex, Layout, Part, PlatformImage, REF_NAME, blob_path, read_blob,
};
use crate::sys::files::{self, Lock};

/// An image repository.
pub trait Registry {
    /// The names of all tags.
    ///
    /// # Errors
    /// The registry cannot be read.
    fn tags(&self) -> Result<Vec<String>>;

    /// The digest that a tag points at, or nothing where there is no such tag. Anything but "there is none" is an error.
    ///
    /// # Errors
    /// The registry cannot be read.
    fn resolve(&self, tag: &str) -> Result<Option<Digest>>;

    /// A manifest or a blob.
    ///
    /// # Errors
    /// It is not there, or is not what its digest says.
    fn fetch(&self, part: Part, digest: &Digest) -> Result<Vec<u8>>;

    /// Stores every blob of an image that is not there yet. No tag points at it afterwards.
    ///
    /// # Errors
    /// The registry cannot be written to.
    fn push(&self, image: &Layout) -> Result<()>;

    /// Points tags at an image that was pushed before; the ones that are right already are left alone.
    ///
    /// # Errors
    /// The registry cannot be written to.
    fn tag(&self, tags: &[(String, Digest)]) -> Result<()>;

    /// The platforms of an image, as the registry holds them.
    ///
    /// # Errors
    /// It is not there, or is not a multi-platform image.
    fn platforms(&self, digest: &Digest) -> Result<Vec<PlatformImage>> {
        oci::platform_images(digest, &|part, digest| self.fetch(part, digest))
    }
}

/// An OCI layout folder as a registry: its `index.json` holds one descriptor for each tag.
#[derive(Debug)]
pub struct LayoutFolder {
    folder: PathBuf,
    lock: PathBuf,
}

impl LayoutFolder {
    /// The registry in `folder`, whose writers take turns by the lock file `lock`.
    pub fn new(folder: PathBuf, lock: PathBuf) -> Self {
        LayoutFolder { folder, lock }
    }

    fn index(&self) -> Result<ImageIndex> {
        let path = self.folder.join("index.json");
        let read = files::read(&path).map_err(|error| Error { exit: Exit::Repository, ..error });
        let Some(bytes) = read? else { return Ok(ImageIndex::new(Vec::new())) };
        serde_json::from_slice(&bytes).context(Exit::Repository, || format!("{} is damaged", path.display()))
    }

    fn pointers(&self) -> Result<BTreeMap<String, Digest>> {
        let manifests = self.index()?.manifests.into_iter();
        let tag = |descriptor: Descriptor| Some((descriptor.annotations.get(REF_NAME)?.clone(), descriptor.digest));
        Ok(manifests.filter_map(tag).collect())
    }
}

impl Registry for LayoutFolder {
    fn tags(&self) -> Result<Vec<String>> {
        Ok(self.pointers()?.into_keys().collect())
    }

    fn resolve(&self, tag: &str) -> Result<Option<Digest>> {
        Ok(self.pointers()?.remove(tag))
    }

    fn fetch(&self, _: Part, digest: &Digest) -> Result<Vec<u8>> {
        read_blob(&self.folder, digest)
    }

    fn push(&self, image: &Layout) -> Result<()> {
        let _turn = Lock::wait(&self.lock)?;
        for (digest, bytes) in &image.blobs {
            files::create_new(&blob_path(&self.folder, digest), bytes)?;
        }
        files::create_new(&self.folder.join("oci-layout"), oci::LAYOUT_FILE.as_bytes())?;
        Ok(())
    }

    fn tag(&self, tags: &[(String, Digest)]) -> Result<()> {
        let _turn = Lock::wait(&self.lock)?;
        let before = self.pointers()?;
        let mut all = before.clone();
        all.extend(tags.iter().cloned());
        if all == before {
            return Ok(());
        }
        let descriptors = all.into_iter().map(|(tag, digest)| {
            let annotations = Annotations::from([(REF_NAME.into(), tag)]);
            Ok(Descriptor { annotations, ..Descriptor::of(oci::INDEX, &self.fetch(Part::Manifest, &digest)?) })
        });
        let index = ImageIndex::new(descriptors.collect::<Result<_>>()?);
        files::replace(&self.folder.join("index.json"), &oci::json(&index)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> Layout {
        let index = ImageIndex { annotations: [("name".into(), name.into())].into(), ..ImageIndex::new(Vec::new()) };
        let bytes = oci::json(&index).unwrap();
        let digest = Digest::of(&bytes);
        Layout { digest: digest.clone(), blobs: [(digest, bytes)].into() }
    }

    #[test]
    fn tags_point_at_pushed_images_and_move() {
        let folder = tempfile::tempdir().unwrap();
        let registry = LayoutFolder::new(folder.path().join("image"), folder.path().join(".lock"));
        assert!(registry.tags().unwrap().is_empty());
        let (one, other) = (image("one"), image("other"));
        registry.push(&one).unwrap();
        registry.push(&other).unwrap();
        registry.tag(&[("v1.0.0".into(), one.digest.clone()), ("latest".into(), one.digest.clone())]).unwrap();
        registry.tag(&[("latest".into(), other.digest.clone())]).unwrap();
        let expected = BTreeMap::from([("v1.0.0".into(), one.digest), ("latest".into(), other.digest.clone())]);
        assert_eq!(registry.pointers().unwrap(), expected);
        assert_eq!(Digest::of(&registry.fetch(Part::Manifest, &other.digest).unwrap()), other.digest);
    }

    #[test]
    fn a_tag_never_points_at_an_image_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let registry = LayoutFolder::new(folder.path().join("image"), folder.path().join(".lock"));
        assert!(registry.tag(&[("v1.0.0".into(), image("never pushed").digest)]).is_err());
        assert!(registry.tags().unwrap().is_empty());
    }
}
