//! The builder that hands the dockerfile to BuildKit through buildx, for who has it: layer caches, remote and cluster builders.
//!
//! It takes what the embedded builder takes and gives what that gives, an image index with the same platforms, layers,
//! configurations and annotations, so that either can stand in for the other. The binaries are ready: BuildKit only copies
//! them. Attestations are left out because they carry times, and the digest must follow from the sources alone (I15).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Context, Error, Exit, Result};
use crate::image::embedded::{BuildContext, Stamp};
use crate::oci::{Digest, Layout, Platform};
use crate::sys::children::Call;
use crate::sys::files;
use crate::sys::tools;

/// Copying takes seconds; a cold cluster builder takes minutes to start.
const LIMIT: Duration = Duration::from_secs(30 * 60);

const DOCKERFILE: &str = "Dockerfile";
const CONTEXT: &str = "context";
const LAYOUT: &str = "layout";
const METADATA: &str = "metadata.json";

/// A buildx that can be called, and how.
#[derive(Clone, Debug)]
pub struct Buildx {
    /// The program, and the word that makes docker pass the call on.
    command: Vec<OsString>,
    /// The builder instance [default: buildx's own choice].
    builder: Option<String>,
    /// What goes in and comes out is kept here meanwhile.
    folder: PathBuf,
}

impl Buildx {
    /// Finds buildx.
    ///
    /// # Errors
    /// It is not installed, neither as docker's plugin nor on its own.
    pub fn find(builder: Option<String>, folder: PathBuf) -> Result<Self> {
        Ok(Buildx { command: tools::buildx()?, builder, folder })
    }

    fn call(&self, platforms: &[Platform], stamp: &Stamp) -> Call {
        let mut words = self.command.iter();
        Call::new(words.next().cloned().unwrap_or_default())
            .args(words)
            .args(arguments(platforms, stamp, self.builder.as_deref()))
            .args(cache_arguments(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())))
            .args([CONTEXT])
            .current_dir(&self.folder)
            .env("SOURCE_DATE_EPOCH", stamp.time.to_string())
            // It adds labels that tell the folder of the sources.
            .env_remove("BUILDX_GIT_LABELS")
    }
}

/// Builds the image for some platforms, as a Dockerfile says.
///
/// # Errors
/// BuildKit cannot be reached or refuses the build, whose last words are then the reason; or what it made is not the image
/// that was asked for. The input stays for another try, what came out does not.
pub fn assemble(
    dockerfile: &str,
    platforms: &[Platform],
    context: &BuildContext,
    stamp: &Stamp,
    buildx: &Buildx,
) -> Result<Layout> {
    let folder = &buildx.folder;
    write_input(folder, dockerfile, context)?;
    let built = buildx
        .call(platforms, stamp)
        .run_silently(LIMIT)
        .map_err(|error| {
            error.remedy("a builder that writes layouts: docker buildx create --driver docker-container --use")
        })
        .and_then(|()| result(folder, platforms));
    match built {
        Ok(layout) => files::remove(folder).map(|()| layout),
        Err(error) => {
            files::remove(&folder.join(LAYOUT))?;
            files::remove(&folder.join(METADATA))?;
            Err(error)
        }
    }
}

fn arguments(platforms: &[Platform], stamp: &Stamp, builder: Option<&str>) -> Vec<String> {
    let platforms: Vec<String> = platforms.iter().map(Platform::to_string).collect();
    let mut arguments: Vec<String> =
        ["build", "--progress=plain", "--provenance=false", "--sbom=false"].map(Into::into).into();
    arguments.extend([format!("--platform={}", platforms.join(",")), format!("--file={DOCKERFILE}")]);
    // An index around one platform, too: there are no two shapes of image.
    arguments.push("--build-arg=BUILDKIT_MULTI_PLATFORM=1".into());
    // Names relative to the folder: the option is a comma-separated list, and nobody's folder may break it.
    arguments.push(format!("--output=type=oci,dest={LAYOUT},tar=false,rewrite-timestamp=true"));
    arguments.push(format!("--metadata-file={METADATA}"));
    arguments.extend(builder.map(|name| format!("--builder={name}")));
    for (name, value) in &stamp.labels {
        arguments.push(format!("--label={name}={value}"));
        arguments.push(format!("--annotation=index,manifest:{name}={value}"));
    }
    arguments
}

/// GitHub's cache, where its environment is there: elsewhere buildx would fail on the option.
fn cache_arguments(is_set: impl Fn(&str) -> bool) -> Vec<&'static str> {
    if is_set("ACTIONS_RUNTIME_TOKEN") && (is_set("ACTIONS_CACHE_URL") || is_set("ACTIONS_RESULTS_URL")) {
        // A full cache must not fail a build.
        vec!["--cache-from=type=gha", "--cache-to=type=gha,mode=max,ignore-error=true"]
    } else {
        Vec::new()
    }
}

fn write_input(folder: &Path, dockerfile: &str, context: &BuildContext) -> Result<()> {
    files::remove(folder)?;
    files::create_new(&folder.join(DOCKERFILE), dockerfile.as_bytes())?;
    for (name, bytes) in context {
        let path = folder.join(CONTEXT).join(name);
        files::create_new(&path, bytes)?;
        files::set_executable(&path, true)?;
    }
    Ok(())
}

/// The layout that buildx wrote, if it is the image that was asked for.
fn result(folder: &Path, platforms: &[Platform]) -> Result<Layout> {
    let metadata = files::read(&folder.join(METADATA))?.unwrap_or_default();
    let layout = Layout::read(&folder.join(LAYOUT)).map_err(|error| wrong(error.to_string()))?;
    check(&layout, &announced(&metadata)?, platforms)?;
    Ok(layout)
}

fn announced(metadata: &[u8]) -> Result<Digest> {
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "containerimage.digest")]
        digest: Digest,
    }
    let metadata: Metadata =
        serde_json::from_slice(metadata).context(Exit::Failure, || "buildx does not say what it built".into())?;
    Ok(metadata.digest)
}

fn check(layout: &Layout, announced: &Digest, platforms: &[Platform]) -> Result<()> {
    if layout.digest != *announced {
        return Err(wrong(format!("buildx says {announced}, and the layout holds {}", layout.digest)));
    }
    let built: Vec<Platform> = layout.platforms()?.into_iter().map(|image| image.platform).collect();
    if built != platforms {
        let shown = |list: &[Platform]| list.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ");
        return Err(wrong(format!("asked for {}, got {}", shown(platforms), shown(&built))));
    }
    Ok(())
}

fn wrong(why: String) -> Error {
    Error::new(Exit::Failure, "buildx made another image than it was asked for")
        .because(why)
        .remedy("docker buildx inspect shows the builder: it must run BuildKit 0.13 or later")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::dockerfile::Dockerfile;
    use crate::image::embedded;
    use crate::oci::Annotations;

    fn platform(text: &str) -> Platform {
        text.to_owned().try_into().unwrap()
    }

    fn stamp() -> Stamp {
        Stamp { labels: Annotations::from([("a".into(), "b, c=d".into())]), time: 7 }
    }

    #[test]
    fn i8_labels_are_annotations_of_the_index_and_of_each_manifest_too() {
        let arguments = arguments(&[platform("linux/amd64"), platform("linux/arm64")], &stamp(), Some("cluster"));
        for expected in [
            "--platform=linux/amd64,linux/arm64",
            "--label=a=b, c=d",
            "--annotation=index,manifest:a=b, c=d",
            "--builder=cluster",
        ] {
            assert!(arguments.iter().any(|argument| argument == expected), "{expected} {arguments:?}");
        }
    }

    #[test]
    fn i6_the_cache_of_github_is_used_where_its_environment_is_there() {
        let table = [
            (vec![], false),
            (vec!["ACTIONS_RUNTIME_TOKEN"], false),
            (vec!["ACTIONS_RESULTS_URL"], false),
            (vec!["ACTIONS_RUNTIME_TOKEN", "ACTIONS_CACHE_URL"], true),
            (vec!["ACTIONS_RUNTIME_TOKEN", "ACTIONS_RESULTS_URL"], true),
        ];
        for (set, expected) in table {
            let arguments = cache_arguments(|name| set.contains(&name));
            assert_eq!(arguments.len(), if expected { 2 } else { 0 }, "{set:?}");
        }
    }

    #[test]
    fn an_image_that_is_not_the_announced_one_or_lacks_a_platform_is_refused() {
        let dockerfile = Dockerfile::parse("FROM scratch\nCOPY demo /demo\n").unwrap();
        let context = BuildContext::from([("demo".into(), b"x".to_vec())]);
        let both = [platform("linux/amd64"), platform("linux/arm64")];
        let layout = embedded::assemble(&dockerfile, &both, &context, &stamp()).unwrap();
        assert!(check(&layout, &layout.digest, &both).is_ok());
        assert!(check(&layout, &Digest::of(b"other"), &both).is_err());
        assert!(check(&layout, &layout.digest, &both[..1]).is_err());
        let metadata = format!("{{\"containerimage.digest\":\"{}\",\"more\":1}}", layout.digest);
        assert_eq!(announced(metadata.as_bytes()).unwrap(), layout.digest);
        assert!(announced(b"").is_err());
    }
}
