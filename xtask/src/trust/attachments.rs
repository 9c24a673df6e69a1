//! Bundles as they lie beside an image or a chart: one referrer each, found again by the subject's digest.
//!
//! Annotations are those by which cosign tells its own referrers apart. What a list says of them is not believed: a manifest must name the
//! subject, and hold one bundle; GitHub's registry lists all of them as empty configurations, and others under no type at all.

use crate::error::Result;
use crate::oci::artifact::{self, Artifact};
use crate::oci::registry::Registry;
use crate::oci::{Descriptor, Digest, Fetch, Part};
use crate::trust::bundle;

/// What was found beside a digest.
#[derive(Debug, Default)]
pub struct Found {
    /// The bundles.
    pub bundles: Vec<Vec<u8>>,
    /// Referrers that are listed and cannot be read, and why. Only who misses something needs to care.
    pub unreadable: Vec<crate::error::Error>,
}

/// The referrer that holds a bundle. `time` is the commit's, as RFC 3339.
///
/// # Errors
/// Never.
pub fn referrer(subject: &Descriptor, bundle: &[u8], predicate_type: &str, time: &str) -> Result<Artifact> {
    let annotations = [
        ("dev.sigstore.bundle.content", "dsse-envelope"),
        ("dev.sigstore.bundle.predicateType", predicate_type),
        ("org.opencontainers.image.created", time),
    ];
    let annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Artifact::referring_to(subject.clone(), bundle::MEDIA_TYPE, bundle, annotations)
}

/// The bundles beside a digest, whoever put them there.
///
/// # Errors
/// The registry cannot say what refers to it.
pub fn find(registry: &dyn Registry, subject: &Digest) -> Result<Found> {
    Ok(find_among(registry.referrers(subject)?, &|part, digest| registry.fetch(part, digest), subject))
}

/// The same for whoever reads a registry in another way.
pub fn find_among(referrers: Vec<Descriptor>, fetch: &Fetch<'_>, subject: &Digest) -> Found {
    let mut found = Found::default();
    for listed in referrers {
        let is_other = |kind: &String| kind != bundle::MEDIA_TYPE && kind != artifact::EMPTY;
        if listed.artifact_type.as_ref().is_some_and(is_other) {
            continue;
        }
        match read(fetch, subject, &listed.digest) {
            Ok(bundle) => found.bundles.extend(bundle),
            Err(error) => found.unreadable.push(error),
        }
    }
    found
}

/// The bundle of one referrer; nothing where it holds something else.
fn read(fetch: &Fetch<'_>, subject: &Digest, referrer: &Digest) -> Result<Option<Vec<u8>>> {
    let manifest = fetch(Part::Manifest, referrer)?;
    let Ok(manifest) = artifact::referrer(subject, &manifest) else { return Ok(None) };
    match manifest.layers.as_slice() {
        [layer] if layer.media_type == bundle::MEDIA_TYPE => fetch(Part::Blob, &layer.digest).map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::registry::LayoutFolder;
    use crate::oci::{Annotations, INDEX, Layout};

    #[test]
    fn bundles_are_found_beside_their_subject_among_other_referrers() {
        let folder = tempfile::tempdir().unwrap();
        let registry = LayoutFolder::new(folder.path().join("image"), folder.path().join(".lock"));
        let bytes = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec();
        let subject = Descriptor::of(INDEX, &bytes);
        let blobs = [(subject.digest.clone(), bytes)].into();
        registry.push(&Layout { digest: subject.digest.clone(), blobs }).unwrap();
        let of = |bundle: &[u8]| referrer(&subject, bundle, "https://p", "1970-01-01T00:00:07Z").unwrap();
        let other = Artifact::referring_to(subject.clone(), "application/x", b"3", Annotations::new()).unwrap();
        let mut untyped = of(b"2");
        untyped.descriptor.artifact_type = Some(artifact::EMPTY.into());
        registry.attach(&[of(b"1"), other, untyped]).unwrap();
        let found = find(&registry, &subject.digest).unwrap();
        assert_eq!(found.bundles, [b"1", b"2"]);
        assert!(found.unreadable.is_empty());
        assert!(find(&registry, &Digest::of(b"other")).unwrap().bundles.is_empty());
        let annotations = of(b"1").descriptor.annotations;
        assert_eq!(annotations["dev.sigstore.bundle.predicateType"], "https://p");
        crate::sys::files::remove(&crate::oci::blob_path(&folder.path().join("image"), &Digest::of(b"1"))).unwrap();
        let half = find(&registry, &subject.digest).unwrap();
        assert_eq!((half.bundles.len(), half.unreadable.len()), (1, 1));
    }
}
