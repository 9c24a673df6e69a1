//! Where images are published: tags, and the blobs they lead to.
//!
//! A registry keeps blobs by digest and lets tags move. It has no compare-and-swap, so nothing here relies on one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Context, Error, Exit, Result};
use crate::oci::artifact::{self, Artifact};
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

    /// Removes a tag, and nothing that it points at. False where the registry removes no tags, or not this one.
    ///
    /// # Errors
    /// The registry cannot be asked.
    fn untag(&self, tag: &str) -> Result<bool>;

    /// Stores artifacts. Those with a subject are among its `referrers` afterwards, and so is whatever was there before.
    ///
    /// # Errors
    /// The registry cannot be written to, or does not list what was stored.
    fn attach(&self, artifacts: &[Artifact]) -> Result<Attached>;

    /// The same, and `meanwhile` once: where lists are looked at again after a pause, in the pause.
    ///
    /// # Errors
    /// As `attach`, or `meanwhile` fails.
    fn attach_and(&self, artifacts: &[Artifact], meanwhile: &dyn Fn() -> Result<()>) -> Result<Attached> {
        let attached = self.attach(artifacts)?;
        meanwhile().map(|()| attached)
    }

    /// The artifacts that refer to a digest, whoever put them there: nothing of them is believed.
    ///
    /// # Errors
    /// The registry cannot be read.
    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>>;

    /// The platforms of an image, as the registry holds them.
    ///
    /// # Errors
    /// It is not there, or is not a multi-platform image.
    fn platforms(&self, digest: &Digest) -> Result<Vec<PlatformImage>> {
        oci::platform_images(digest, &|part, digest| self.fetch(part, digest))
    }
}

/// What became of artifacts that were stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// The referrers that another writer took from their list meanwhile, and that were put back.
    pub restored: Vec<Digest>,
}

/// An OCI layout folder as a registry: its `index.json` holds one descriptor for each tag, and one without a tag for each artifact that
/// refers to something.
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

    fn write_index(&self, manifests: Vec<Descriptor>) -> Result<()> {
        files::replace(&self.folder.join("index.json"), &oci::json(&ImageIndex::new(manifests))?)
    }

    /// Removes what writers that were killed left beside the blobs that they wrote. Nobody else writes meanwhile.
    fn sweep(&self) -> Result<()> {
        let entries = std::fs::read_dir(self.folder.join("blobs/sha256")).into_iter().flatten().flatten();
        let mut left = entries.map(|entry| entry.path()).filter(|path| files::is_temporary(path));
        left.try_for_each(|path| files::remove(&path))
    }

    fn untagged(&self) -> Result<Vec<Descriptor>> {
        let manifests = self.index()?.manifests.into_iter();
        Ok(manifests.filter(|descriptor| !descriptor.annotations.contains_key(REF_NAME)).collect())
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
            let manifest = self.fetch(Part::Manifest, &digest)?;
            Ok(Descriptor { annotations, ..Descriptor::of(oci::media_type(&manifest), &manifest) })
        });
        let referrers = self.untagged()?.into_iter().map(Ok);
        self.write_index(descriptors.chain(referrers).collect::<Result<_>>()?)
    }

    fn untag(&self, tag: &str) -> Result<bool> {
        let _turn = Lock::wait(&self.lock)?;
        let mut manifests = self.index()?.manifests;
        let before = manifests.len();
        manifests.retain(|descriptor| descriptor.annotations.get(REF_NAME).is_none_or(|name| name != tag));
        if manifests.len() != before {
            self.write_index(manifests)?;
        }
        Ok(true)
    }

    fn attach(&self, artifacts: &[Artifact]) -> Result<Attached> {
        let _turn = Lock::wait(&self.lock)?;
        self.sweep()?;
        for artifact in artifacts {
            for (digest, bytes) in artifact.parts() {
                files::create_new(&blob_path(&self.folder, digest), bytes)?;
            }
            files::create_new(&blob_path(&self.folder, &artifact.descriptor.digest), &artifact.manifest)?;
        }
        files::create_new(&self.folder.join("oci-layout"), oci::LAYOUT_FILE.as_bytes())?;
        let referring = artifacts.iter().filter(|artifact| artifact.subject.is_some());
        let referring: Vec<_> = referring.map(|artifact| artifact.descriptor.clone()).collect();
        let mut index = self.index()?;
        if artifact::merge(&mut index, &referring) {
            self.write_index(index.manifests)?;
        }
        Ok(Attached::default())
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let mut referrers = Vec::new();
        for descriptor in self.untagged()? {
            if artifact::referrer(subject, &self.fetch(Part::Manifest, &descriptor.digest)?).is_ok() {
                referrers.push(descriptor);
            }
        }
        Ok(referrers)
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

    #[test]
    fn what_refers_to_an_image_is_found_by_its_digest_and_stays_when_tags_move() {
        let folder = tempfile::tempdir().unwrap();
        let registry = LayoutFolder::new(folder.path().join("image"), folder.path().join(".lock"));
        let (one, other) = (image("one"), image("other"));
        [&one, &other].into_iter().for_each(|image| registry.push(image).unwrap());
        registry.tag(&[("v1.0.0".into(), one.digest.clone())]).unwrap();
        assert!(registry.referrers(&one.digest).unwrap().is_empty());
        let subject = Descriptor::of(oci::INDEX, &one.blobs[&one.digest]);
        let referring = |file: &[u8]| Artifact::referring_to(subject.clone(), "a/b", file, Annotations::new()).unwrap();
        let artifacts = [referring(b"first"), referring(b"second")];
        registry.attach(&artifacts[..1]).unwrap();
        registry.attach(&artifacts).unwrap();
        registry.tag(&[("latest".into(), other.digest.clone())]).unwrap();
        let expected: Vec<Descriptor> = artifacts.iter().map(|artifact| artifact.descriptor.clone()).collect();
        assert_eq!(registry.referrers(&one.digest).unwrap(), expected);
        assert!(registry.referrers(&other.digest).unwrap().is_empty());
        assert_eq!(registry.tags().unwrap(), ["latest", "v1.0.0"]);
        let manifest = registry.fetch(Part::Manifest, &expected[1].digest).unwrap();
        let file = artifact::referrer(&one.digest, &manifest).unwrap().layers.remove(0);
        assert_eq!(registry.fetch(Part::Blob, &file.digest).unwrap(), b"second");
    }
}
