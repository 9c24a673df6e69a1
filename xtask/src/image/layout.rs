//! An image as it lies on disk: the OCI image layout, whose `index.json` holds one descriptor, of a multi-platform image index.
//!
//! Shapes and media types are those of the OCI image specification 1.1 (`image-index.md`, `manifest.md`, `config.md`,
//! `image-layout.md`). Whoever built it, the digest of the image index is the digest of the image. Bytes that come from
//! outside are only believed after their digest was computed again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::disk;
use crate::error::{Context, Error, Exit, Result};

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

/// The content of the file `oci-layout`.
pub const LAYOUT_FILE: &str = "{\"imageLayoutVersion\":\"1.0.0\"}";
/// What to do about a published folder that is damaged.
pub const MADE_AGAIN: &str = "remove the whole published folder: the next rehearsal makes it again";

/// `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(format!("sha256:{}", sha256_hex(bytes)))
    }

    /// The 64 hex digits.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

/// The SHA-256 of some bytes, as 64 lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        let valid = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if valid { Ok(Digest(text)) } else { Err(format!("`{text}` is not a sha256 digest")) }
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.to_owned().try_into()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// An operating system and an architecture, in Go's words, as every container tool names them: `linux/arm64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
#[serde(into = "PlatformFields")]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`.
    pub architecture: String,
}

impl TryFrom<String> for Platform {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once('/') {
            Some((os, architecture)) if !os.is_empty() && !architecture.is_empty() && !architecture.contains('/') => {
                Ok(Platform { os: os.into(), architecture: architecture.into() })
            }
            _ => Err(format!("`{text}` is not a platform: say linux/amd64")),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.os, self.architecture)
    }
}

/// Platforms as people read them.
pub fn list(platforms: &[Platform]) -> String {
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}

/// A platform as a descriptor holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformFields {
    architecture: String,
    os: String,
}

impl From<Platform> for PlatformFields {
    fn from(platform: Platform) -> Self {
        PlatformFields { architecture: platform.architecture, os: platform.os }
    }
}

impl From<PlatformFields> for Platform {
    fn from(fields: PlatformFields) -> Self {
        Platform { os: fields.os, architecture: fields.architecture }
    }
}

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
        let index = disk::read(&folder.join("index.json"))?.ok_or_else(|| wrong("there is no index.json"))?;
        let index: ImageIndex = serde_json::from_slice(&index).map_err(|error| wrong(&error.to_string()))?;
        let [descriptor] = index.manifests.as_slice() else {
            return Err(wrong("index.json must hold exactly one descriptor"));
        };
        collect(&descriptor.digest, &|_, digest| read_blob(folder, digest))
    }

    /// Makes `folder` hold this image and nothing else.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        disk::remove(folder)?;
        for (digest, bytes) in &self.blobs {
            disk::create_new(&blob_path(folder, digest), bytes)?;
        }
        disk::create_new(&folder.join("oci-layout"), LAYOUT_FILE.as_bytes())?;
        let descriptor = Descriptor::of(INDEX, self.blob(&self.digest)?);
        disk::create_new(&folder.join("index.json"), &json(&ImageIndex::new(vec![descriptor]))?)?;
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
    let Some(bytes) = disk::read(&path)? else { return Ok(None) };
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
    let blobs = RefCell::new(BTreeMap::new());
    let keep = |part, digest: &Digest| {
        let bytes = fetch(part, digest)?;
        blobs.borrow_mut().insert(digest.clone(), bytes.clone());
        Ok(bytes)
    };
    for image in platform_images(digest, &keep)? {
        image.manifest.layers.iter().try_for_each(|layer| keep(Part::Blob, &layer.digest).map(drop))?;
    }
    Ok(Layout { digest: digest.clone(), blobs: blobs.into_inner() })
}

/// The platforms of an image: its index, and each one's manifest and configuration.
///
/// # Errors
/// A blob cannot be had, or is not what the specification asks for.
pub fn platform_images(digest: &Digest, fetch: &Fetch<'_>) -> Result<Vec<PlatformImage>> {
    let index: ImageIndex = parsed(digest, &fetch(Part::Manifest, digest)?)?;
    let each = index.manifests.into_iter().map(|descriptor| {
        let manifest: ImageManifest = parsed(&descriptor.digest, &fetch(Part::Manifest, &descriptor.digest)?)?;
        let config: ImageConfig = parsed(&manifest.config.digest, &fetch(Part::Blob, &manifest.config.digest)?)?;
        let platform = Platform { os: config.os.clone(), architecture: config.architecture.clone() };
        Ok(PlatformImage { platform, descriptor, manifest, config })
    });
    each.collect()
}

/// The bytes of a value: compact JSON, fields in the order of the specification's examples.
///
/// # Errors
/// Never for the types of this module.
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
    fn a_digest_is_64_lower_case_hex_digits_after_its_algorithm() {
        let digest = Digest::of(b"");
        assert_eq!(digest.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(digest.to_string().parse(), Ok(digest.clone()));
        for wrong in ["", "sha256:", "sha512:00", digest.hex(), &digest.to_string().to_uppercase()] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_damaged_blob_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"right");
        disk::create_new(&blob_path(folder.path(), &digest), b"wrong").unwrap();
        assert!(read_blob(folder.path(), &digest).unwrap_err().what.contains("damaged"));
    }
}
