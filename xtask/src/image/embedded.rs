//! The builder that needs nothing but this program: binaries and a dockerfile in, an OCI layout out. Pure.
//!
//! The same input gives the same bytes on every machine (see `sys::archive`), and the same entries that buildx makes of the dockerfile.

use std::collections::BTreeMap;

use crate::error::{Error, Exit, Result};
use crate::image::dockerfile::{Copy, Dockerfile};
use crate::oci::{
    Annotations, CONFIG, Descriptor, Digest, INDEX, ImageConfig, ImageIndex, ImageManifest, LAYER, Layout, MANIFEST,
    Platform, RootFs, json,
};
use crate::sys::archive::{Tarball, gzip, gzip_as_is};
use crate::sys::time::rfc3339;

/// The files that a dockerfile copies, by their path in the build context.
pub type BuildContext = BTreeMap<String, Vec<u8>>;

/// What is written on an image.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// Labels of every configuration, and annotations of the index and each manifest.
    pub labels: Annotations,
    /// The time of every entry and configuration, in seconds since 1970.
    pub time: i64,
}

/// Builds the image for some platforms.
///
/// # Errors
/// The dockerfile copies a file that the context does not hold.
pub fn assemble(
    dockerfile: &Dockerfile,
    platforms: &[Platform],
    context: &BuildContext,
    stamp: &Stamp,
) -> Result<Layout> {
    assemble_with(gzip, dockerfile, platforms, context, stamp)
}

/// The same image with layers that are not compressed, for whoever only compares what is in it.
///
/// # Errors
/// As `assemble`.
pub fn assemble_to_compare(
    dockerfile: &Dockerfile,
    platforms: &[Platform],
    context: &BuildContext,
    stamp: &Stamp,
) -> Result<Layout> {
    assemble_with(gzip_as_is, dockerfile, platforms, context, stamp)
}

/// What makes of a layer's archive the bytes that are kept.
type Compress = fn(&[u8]) -> Result<Vec<u8>>;

fn assemble_with(
    compress: Compress,
    dockerfile: &Dockerfile,
    platforms: &[Platform],
    context: &BuildContext,
    stamp: &Stamp,
) -> Result<Layout> {
    let build = |platform| build(compress, dockerfile, platform, context, stamp);
    // One thread for each platform: compression is most of the work.
    let built: Vec<Result<Built>> = std::thread::scope(|scope| {
        let threads: Vec<_> = platforms.iter().map(|platform| scope.spawn(move || build(platform))).collect();
        threads
            .into_iter()
            .map(|thread| {
                thread.join().unwrap_or_else(|_| Err(Error::new(Exit::Failure, "a builder thread ended early")))
            })
            .collect()
    });
    let mut blobs = BTreeMap::new();
    let mut descriptors = Vec::new();
    for built in built {
        let built = built?;
        descriptors.push(built.descriptor);
        blobs.extend(built.blobs);
    }
    let index = json(&ImageIndex { annotations: stamp.labels.clone(), ..ImageIndex::new(descriptors) })?;
    let digest = Descriptor::of(INDEX, &index).digest;
    blobs.insert(digest.clone(), index);
    Ok(Layout { digest, blobs })
}

struct Built {
    descriptor: Descriptor,
    blobs: Vec<(Digest, Vec<u8>)>,
}

fn build(
    compress: Compress,
    dockerfile: &Dockerfile,
    platform: &Platform,
    context: &BuildContext,
    stamp: &Stamp,
) -> Result<Built> {
    let mut blobs = Vec::new();
    let mut keep = |media_type: &str, bytes: Vec<u8>| {
        let descriptor = Descriptor::of(media_type, &bytes);
        blobs.push((descriptor.digest.clone(), bytes));
        descriptor
    };
    let mut layers = Vec::new();
    let mut diff_ids = Vec::new();
    let mut folders = Folders::new();
    for copy in &dockerfile.copies {
        let source = copy.source(platform);
        let content = context.get(&source).ok_or_else(|| {
            Error::new(Exit::Workspace, format!("the Dockerfile copies `{source}`, which is not there"))
                .because(format!("the build context holds: {}", context.keys().cloned().collect::<Vec<_>>().join(", ")))
        })?;
        let archive = layer(copy, content, &mut folders, stamp.time)?;
        diff_ids.push(Digest::of(&archive));
        layers.push(keep(LAYER, compress(&archive)?));
    }
    let config = keep(CONFIG, json(&config(dockerfile, platform, diff_ids, stamp)?)?);
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(MANIFEST.into()),
        config,
        layers,
        annotations: stamp.labels.clone(),
    };
    let mut descriptor = keep(MANIFEST, json(&manifest)?);
    descriptor.platform = Some(platform.clone().into());
    Ok(Built { descriptor, blobs })
}

fn config(dockerfile: &Dockerfile, platform: &Platform, diff_ids: Vec<Digest>, stamp: &Stamp) -> Result<ImageConfig> {
    let mut execution = dockerfile.execution.clone();
    execution.labels = stamp.labels.clone();
    Ok(ImageConfig {
        created: rfc3339(stamp.time)?,
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        config: execution,
        rootfs: RootFs { kind: "layers".into(), diff_ids },
    })
}

/// The folders that the layers so far have made, and their permission bits.
type Folders = BTreeMap<String, u32>;

/// One file and the folders above it, as BuildKit lays a `COPY` down: a folder that is made on the way gets the file's bits, one that
/// is there keeps its own, and both are part of the layer.
fn layer(copy: &Copy, content: &[u8], folders: &mut Folders, time: i64) -> Result<Vec<u8>> {
    let path = copy.to.trim_start_matches('/');
    let mut archive = Tarball::new(time);
    for (end, _) in path.match_indices('/') {
        let folder = &path[..=end];
        archive.folder(folder, *folders.entry(folder.into()).or_insert(copy.mode))?;
    }
    archive.file(path, copy.mode, content)?;
    archive.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.to_owned().try_into().unwrap()
    }

    fn image(time: i64) -> Layout {
        let dockerfile = Dockerfile::parse(
            "FROM scratch\nARG TARGETPLATFORM\nCOPY ${TARGETPLATFORM}/demo /usr/local/bin/demo\nUSER 1000\n",
        )
        .unwrap();
        let context = BTreeMap::from([
            ("linux/amd64/demo".to_owned(), b"amd".to_vec()),
            ("linux/arm64/demo".to_owned(), b"arm".to_vec()),
        ]);
        let stamp = Stamp { labels: BTreeMap::from([("a".into(), "b".into())]), time };
        assemble(&dockerfile, &[platform("linux/amd64"), platform("linux/arm64")], &context, &stamp).unwrap()
    }

    #[test]
    fn i2_both_platforms_are_in_one_index() {
        let platforms = image(0).platforms().unwrap();
        let names: Vec<String> = platforms.iter().map(|image| image.platform.to_string()).collect();
        assert_eq!(names, ["linux/amd64", "linux/arm64"]);
        assert_ne!(platforms[0].manifest.layers, platforms[1].manifest.layers);
    }

    #[test]
    fn i15_the_same_input_gives_the_same_digest_and_another_time_another_one() {
        assert_eq!(image(1).digest, image(1).digest);
        assert_ne!(image(1).digest, image(2).digest);
    }

    #[test]
    fn i10_a_layer_holds_the_file_and_the_folders_above_it_and_nothing_else() {
        let image = image(1_700_000_000);
        let layer = &image.platforms().unwrap()[0].manifest.layers[0].digest;
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(image.blobs[layer].as_slice()));
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!(header.mtime().unwrap(), 1_700_000_000);
            format!("{} {:o}", entry.path().unwrap().display(), header.mode().unwrap())
        });
        let entries: Vec<String> = entries.collect();
        assert_eq!(entries, ["usr/ 755", "usr/local/ 755", "usr/local/bin/ 755", "usr/local/bin/demo 755"]);
    }

    #[test]
    fn a_layout_on_disk_reads_back_and_a_single_platform_of_it_is_a_layout_too() {
        let folder = tempfile::tempdir().unwrap();
        let image = image(1);
        image.write(folder.path()).unwrap();
        let read = Layout::read(folder.path()).unwrap();
        assert_eq!((&read.digest, &read.blobs), (&image.digest, &image.blobs));
        let arm = &image.platforms().unwrap()[1];
        let only = image.only(arm).unwrap().platforms().unwrap();
        assert_eq!((only.len(), only[0].platform.to_string().as_str()), (1, "linux/arm64"));
    }

    #[test]
    fn a_file_that_is_not_in_the_context_is_an_error_that_names_it() {
        let dockerfile = Dockerfile::parse("FROM scratch\nCOPY nothing /nothing\n").unwrap();
        let stamp = Stamp { labels: Annotations::new(), time: 0 };
        let error = assemble(&dockerfile, &[platform("linux/amd64")], &BuildContext::new(), &stamp).unwrap_err();
        assert!(error.what.contains("`nothing`"));
    }
}
