//! What lies in a registry beside images: one file with a manifest of its own, which may refer to a subject. Pure.
//!
//! Shapes are those of the OCI image specification 1.1 (`manifest.md`, "Guidelines for Artifact Usage"). An artifact with a subject is a
//! referrer: registries list those of a digest, by themselves or under a tag that is made of it (distribution specification 1.1,
//! "Listing Referrers" and "Referrers Tag Schema").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::oci::{self, Annotations, Descriptor, Digest, ImageIndex, MANIFEST};

/// The media type of a configuration that says nothing.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// What such a configuration is.
pub const NOTHING: &[u8] = b"{}";

/// One file, its configuration, and the manifest that names both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// What points to the manifest, as lists of referrers hold it.
    pub descriptor: Descriptor,
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The configuration and the file.
    blobs: [(Digest, Vec<u8>); 2],
    /// What it refers to.
    pub subject: Option<Digest>,
}

/// The manifest of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactManifest {
    schema_version: u32,
    media_type: String,
    /// What the artifact is, where its configuration says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    config: Descriptor,
    /// The one file.
    pub layers: Vec<Descriptor>,
    /// What the artifact refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: Annotations,
}

impl Artifact {
    /// A file of some media type, which is the artifact's type, too, that refers to `subject`.
    ///
    /// # Errors
    /// Never: it is made in memory.
    pub fn referring_to(subject: Descriptor, media_type: &str, file: &[u8], annotations: Annotations) -> Result<Self> {
        // Of a subject, its kind and its size say what a digest is of; notes on it are not part of that.
        let subject = Descriptor { platform: None, annotations: Annotations::new(), artifact_type: None, ..subject };
        Self::new(Some(media_type), (EMPTY, NOTHING), (media_type, file), Some(subject), annotations)
    }

    /// A file with a configuration of its own kind.
    ///
    /// # Errors
    /// Never: it is made in memory.
    pub fn with_config(config: (&str, &[u8]), file: (&str, &[u8]), annotations: Annotations) -> Result<Self> {
        Self::new(None, config, file, None, annotations)
    }

    /// The configuration and the file, by digest.
    pub fn parts(&self) -> impl Iterator<Item = (&Digest, &[u8])> {
        self.blobs.iter().map(|(digest, bytes)| (digest, bytes.as_slice()))
    }

    fn new(
        artifact_type: Option<&str>,
        config: (&str, &[u8]),
        file: (&str, &[u8]),
        subject: Option<Descriptor>,
        annotations: Annotations,
    ) -> Result<Self> {
        let artifact_type = artifact_type.map(str::to_owned);
        let manifest = ArtifactManifest {
            schema_version: 2,
            media_type: MANIFEST.into(),
            artifact_type: artifact_type.clone(),
            config: Descriptor::of(config.0, config.1),
            layers: vec![Descriptor::of(file.0, file.1)],
            subject: subject.clone(),
            annotations: annotations.clone(),
        };
        let blobs = [config.1, file.1].map(|bytes| (Digest::of(bytes), bytes.to_vec()));
        let manifest = oci::json(&manifest)?;
        let descriptor = Descriptor { artifact_type, annotations, ..Descriptor::of(MANIFEST, &manifest) };
        Ok(Artifact { descriptor, manifest, blobs, subject: subject.map(|subject| subject.digest) })
    }
}

/// The tag under which the referrers of a digest are listed where the registry does not list them itself.
pub fn referrers_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// Adds to a list of referrers what it lacks of others; whether it lacked any.
pub fn merge(list: &mut ImageIndex, others: &[Descriptor]) -> bool {
    let before = list.manifests.len();
    for other in others {
        if list.manifests.iter().all(|known| known.digest != other.digest) {
            list.manifests.push(other.clone());
        }
    }
    list.manifests.len() != before
}

/// Reads a manifest that is meant to be a referrer of `subject`.
///
/// # Errors
/// It is something else. Some registries take the tag of a list of referrers for the subject's own digest, and give the subject itself.
pub fn referrer(subject: &Digest, manifest: &[u8]) -> Result<ArtifactManifest, String> {
    let manifest: ArtifactManifest =
        serde_json::from_slice(manifest).map_err(|error| format!("it is no manifest of an artifact: {error}"))?;
    match &manifest.subject {
        Some(named) if named.digest == *subject => Ok(manifest),
        Some(named) => Err(format!("it refers to {}", named.digest)),
        None => Err("it refers to nothing".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Descriptor {
        let platform = "linux/amd64".to_owned().try_into().unwrap();
        Descriptor { platform: Some(oci::Platform::into(platform)), ..Descriptor::of(MANIFEST, b"{}") }
    }

    #[test]
    fn a_referrer_is_the_same_bytes_whenever_it_is_made_and_says_what_it_is_and_of_what() {
        let make =
            || Artifact::referring_to(subject(), "a/b", b"file", [("note".into(), "text".into())].into()).unwrap();
        let artifact = make();
        assert_eq!(artifact, make());
        let text = String::from_utf8(artifact.manifest.clone()).unwrap();
        let digest = |bytes: &[u8]| Digest::of(bytes).to_string();
        let expected = format!(
            concat!(
                r#"{{"schemaVersion":2,"mediaType":"{manifest}","artifactType":"a/b","#,
                r#""config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{empty}","size":2}},"#,
                r#""layers":[{{"mediaType":"a/b","digest":"{file}","size":4}}],"#,
                r#""subject":{{"mediaType":"{manifest}","digest":"{empty}","size":2}},"annotations":{{"note":"text"}}}}"#
            ),
            manifest = MANIFEST,
            empty = digest(b"{}"),
            file = digest(b"file")
        );
        assert_eq!(text, expected);
        assert_eq!(artifact.descriptor.digest, Digest::of(&artifact.manifest));
        assert_eq!(artifact.descriptor.artifact_type.as_deref(), Some("a/b"));
        assert_eq!(artifact.subject, Some(Digest::of(b"{}")));
        assert!(referrer(&Digest::of(b"{}"), &artifact.manifest).is_ok());
    }

    #[test]
    fn what_is_no_referrer_of_a_subject_is_refused() {
        let artifact = Artifact::referring_to(subject(), "a/b", b"file", Annotations::new()).unwrap();
        let other = Digest::of(b"other");
        assert!(referrer(&other, &artifact.manifest).unwrap_err().contains("refers to sha256:"));
        let alone = Artifact::with_config(("c", b"{}"), ("a/b", b"file"), Annotations::new()).unwrap();
        assert!(referrer(&other, &alone.manifest).unwrap_err().contains("refers to nothing"));
        assert!(referrer(&other, b"{}").unwrap_err().contains("no manifest"));
    }

    #[test]
    fn lists_of_referrers_are_merged_without_doubles() {
        let (one, two) = (Descriptor::of("a", b"1"), Descriptor::of("a", b"2"));
        let mut list = ImageIndex::new(vec![one.clone()]);
        assert!(merge(&mut list, &[one.clone(), two.clone()]));
        assert!(!merge(&mut list, std::slice::from_ref(&two)));
        assert_eq!(list.manifests, [one, two]);
        assert_eq!(referrers_tag(&Digest::of(b"")), Digest::of(b"").to_string().replace(':', "-"));
    }
}
