//! What a published image says of itself, by its labels (OCI image specification, "Pre-Defined Annotation Keys").

use std::collections::BTreeMap;

use crate::oci::{Digest, Platform, PlatformImage};

/// The label that holds the version.
pub const VERSION: &str = "org.opencontainers.image.version";
/// The label that holds the commit.
pub const REVISION: &str = "org.opencontainers.image.revision";
/// The label of an image whose binaries carry their dependency list.
pub const AUDITABLE: &str = "cargo-auditable";

/// What a published image says of itself. Claims, not proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its digest.
    pub digest: Digest,
    /// Its platforms, in their order.
    pub platforms: Vec<Platform>,
    /// The digest of the image for each of them, by its name.
    pub parts: BTreeMap<String, Digest>,
    /// The version that every platform's labels give; nothing where they differ.
    pub version: Option<String>,
    /// The commit that every platform's labels give; nothing where they differ.
    pub revision: Option<String>,
    /// Whether the binaries carry their dependency list.
    pub auditable: bool,
}

impl ImageFacts {
    /// Reads the labels of an image's platforms.
    pub fn of(digest: Digest, parts: &[PlatformImage]) -> Self {
        let agreed = |name: &str| {
            let mut values = parts.iter().map(|part| part.config.config.labels.get(name));
            let first = values.next()??;
            values.all(|value| value == Some(first)).then(|| first.clone())
        };
        ImageFacts {
            digest,
            platforms: parts.iter().map(|part| part.platform.clone()).collect(),
            parts: parts.iter().map(|part| (part.platform.to_string(), part.descriptor.digest.clone())).collect(),
            version: agreed(VERSION),
            revision: agreed(REVISION),
            auditable: agreed(AUDITABLE).is_some(),
        }
    }
}
