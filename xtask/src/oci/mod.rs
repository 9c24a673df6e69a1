//! Images as the OCI specifications have them: digests, platforms, manifests, layouts, and the registries that keep them.

pub mod artifact;
mod digest;
mod layout;
mod manifest;
mod platform;
pub mod pull;
pub mod referrers;
pub mod registry;

pub use digest::{Digest, sha256_hex};
pub use layout::{
    Fetch, LAYOUT_FILE, Layout, MADE_AGAIN, Part, PlatformImage, blob_path, collect, collect_platforms, find_blob,
    listed, platform_images, read_blob,
};
pub use manifest::{
    Annotations, CONFIG, Descriptor, Empty, Execution, INDEX, ImageConfig, ImageIndex, ImageManifest, LAYER, MANIFEST,
    REF_NAME, RootFs, json, media_type,
};
pub use platform::{Platform, PlatformFields, platform_names};
