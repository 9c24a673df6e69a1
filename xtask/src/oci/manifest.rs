//! What an image is described by: indexes, manifests, configurations, and the descriptors that lead to them.
//!
//! Shapes and media types are those of the OCI image specification 1.1 (`image-index.md`, `manifest.md`, `config.md`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Digest, PlatformFields};
use crate::error::{Context, Exit, Result};

/// The media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of one platform's manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of one platform's configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of a layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The annotation of a descriptor in a layout's `index.json` that holds its tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Names of labels and annotations, and their values.
pub type Annotations = BTreeMap<String, String>;

/// What points to a blob: its type, digest and size in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What kind of artifact it is, in lists of referrers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Where the blob is for one platform only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformFields>,
    /// Notes on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
}

impl Descriptor {
    /// The descriptor of some bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Descriptor {
            media_type: media_type.into(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            artifact_type: None,
            platform: None,
            annotations: Annotations::new(),
        }
    }
}

/// An image index, and a layout's `index.json`, which has the same shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// 2.
    pub schema_version: u32,
    /// `INDEX`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// One descriptor for each platform.
    pub manifests: Vec<Descriptor>,
    /// The labels of the image once more: GHCR shows those of the index.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
}

impl ImageIndex {
    /// An index of some manifests.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        ImageIndex { schema_version: 2, media_type: Some(INDEX.into()), manifests, annotations: Annotations::new() }
    }
}

/// One platform's manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// 2.
    pub schema_version: u32,
    /// `MANIFEST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The labels of the image once more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
}

/// One platform's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// RFC 3339 time.
    pub created: String,
    /// As in `Platform`.
    pub architecture: String,
    /// As in `Platform`.
    pub os: String,
    /// How a container of it runs.
    pub config: Execution,
    /// The digests of the layers, uncompressed.
    pub rootfs: RootFs,
}

/// How a container runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Execution {
    /// User, or user and group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports that it listens on, such as `8080/tcp`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Variables, as `NAME=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// What is started, whatever the arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The arguments where none are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// The folder it starts in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// The labels of the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Annotations,
    /// Whether the arguments are a list that no shell has to take apart. Only Windows looks at it; BuildKit writes it with `CMD`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
}

/// `{}`, which the specification has as the value of each exposed port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// The file system of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests of the layers, uncompressed.
    pub diff_ids: Vec<Digest>,
}

/// The bytes of a value: compact JSON, fields in the order of the specification's examples.
///
/// # Errors
/// Never for the types of this room.
pub fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).context(Exit::Failure, || "cannot write JSON".into())
}

/// What a manifest says it is; an old one says nothing, and is one platform's.
pub fn media_type(manifest: &[u8]) -> &'static str {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Said {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    match serde_json::from_slice::<Said>(manifest) {
        Ok(Said { media_type: Some(said), .. }) if said == INDEX => INDEX,
        Ok(Said { media_type: None, manifests: Some(_) }) => INDEX,
        _ => MANIFEST,
    }
}
