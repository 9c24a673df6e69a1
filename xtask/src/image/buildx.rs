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
use crate::oci::{self, Digest, Layout, Platform};
use crate::sys::children::{self, Call};
use crate::sys::files;
use crate::sys::threads::with_each;
use crate::sys::tools;

/// Copying takes seconds; a cold cluster builder takes minutes to start.
const LIMIT: Duration = Duration::from_secs(30 * 60);

const DOCKERFILE: &str = "Dockerfile";
const CONTEXT: &str = "context";
const LAYOUTS: &str = "layouts";

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

    /// Starts what the builder does not run yet. Each build would do so too, and of those that start at once Kubernetes takes the first alone.
    fn start(&self) -> Result<()> {
        run(self.call("inspect").args(["--bootstrap"]))
    }

    fn build(&self, platform: &Platform, stamp: &Stamp) -> Result<()> {
        let call = self.call("build").args(arguments(platform, stamp)).args([CONTEXT]);
        run(call.env("SOURCE_DATE_EPOCH", stamp.time.to_string()))
    }

    fn call(&self, what: &str) -> Call {
        let mut words = self.command.iter();
        Call::new(words.next().cloned().unwrap_or_default())
            .args(words)
            .args([what])
            .args(self.builder.iter().map(|name| format!("--builder={name}")))
            .current_dir(&self.folder)
    }
}

fn run(call: Call) -> Result<()> {
    call.env_retain(may_see).run_silently(LIMIT).map_err(|error| {
        error.remedy("a builder that writes layouts: docker buildx create --driver docker-container --use")
    })
}

/// What buildx is told of the environment: how it finds its builder, wherever that is. It needs no secret of ours, and it starts others'
/// programs.
fn may_see(variable: &str) -> bool {
    const BUILDERS: [&str; 6] = [
        "KUBECONFIG",
        "KUBERNETES_SERVICE_HOST",
        "KUBERNETES_SERVICE_PORT",
        "SSH_AUTH_SOCK",
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
    ];
    // These labels would tell the folder of the sources.
    let is_buildxs = ["BUILDKIT_", "BUILDX_", "DOCKER_"].iter().any(|start| variable.starts_with(start))
        && variable != "BUILDX_GIT_LABELS";
    children::is_harmless(variable) || BUILDERS.contains(&variable) || (is_buildxs && !children::is_secret(variable))
}

/// Builds the image for some platforms, as a Dockerfile says: each by a call of its own, all at once. A builder may be several machines, one
/// for each platform, and then writes no layout of more than one. The digest is the same, whatever the builder is.
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
    buildx.start()?;
    files::create_folder(&folder.join(LAYOUTS))?;
    let built = with_each(platforms, |platform| for_platform(platform, stamp, buildx));
    match built.into_iter().collect::<Result<Vec<Layout>>>().and_then(|parts| Layout::of_platforms(&parts)) {
        Ok(layout) => files::remove(folder).map(|()| layout),
        Err(error) => {
            files::remove(&folder.join(LAYOUTS))?;
            Err(error)
        }
    }
}

fn for_platform(platform: &Platform, stamp: &Stamp, buildx: &Buildx) -> Result<Layout> {
    buildx.build(platform, stamp)?;
    result(&buildx.folder, platform)
}

/// Where the layout of a platform is written, relative to the folder.
fn layout_of(platform: &Platform) -> String {
    format!("{LAYOUTS}/{}", platform.to_string().replace('/', "-"))
}

fn arguments(platform: &Platform, stamp: &Stamp) -> Vec<String> {
    let layout = layout_of(platform);
    let mut arguments: Vec<String> = ["--progress=plain", "--provenance=false", "--sbom=false"].map(Into::into).into();
    arguments.extend([format!("--platform={platform}"), format!("--file={DOCKERFILE}")]);
    // An index around one platform, too: there are no two shapes of image.
    arguments.push("--build-arg=BUILDKIT_MULTI_PLATFORM=1".into());
    // Names relative to the folder: the option is a comma-separated list, and nobody's folder may break it.
    arguments.push(format!("--output=type=oci,dest={layout},tar=false,rewrite-timestamp=true"));
    arguments.push(format!("--metadata-file={layout}.json"));
    for (name, value) in &stamp.labels {
        arguments.push(format!("--label={name}={value}"));
        arguments.push(format!("--annotation=index,manifest:{name}={value}"));
    }
    arguments
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
fn result(folder: &Path, platform: &Platform) -> Result<Layout> {
    let place = layout_of(platform);
    let metadata = files::read(&folder.join(format!("{place}.json")))?.unwrap_or_default();
    let layout = Layout::read(&folder.join(place)).map_err(|error| wrong(error.to_string()))?;
    check(&layout, &announced(&metadata)?, platform)?;
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

fn check(layout: &Layout, announced: &Digest, platform: &Platform) -> Result<()> {
    if layout.digest != *announced {
        return Err(wrong(format!("buildx says {announced}, and the layout holds {}", layout.digest)));
    }
    let built: Vec<Platform> = layout.platforms()?.into_iter().map(|image| image.platform).collect();
    if built != [platform.clone()] {
        return Err(wrong(format!("asked for {platform}, got {}", oci::platform_names(&built))));
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
        let arguments = arguments(&platform("linux/arm64"), &stamp());
        for expected in ["--platform=linux/arm64", "--label=a=b, c=d", "--annotation=index,manifest:a=b, c=d"] {
            assert!(arguments.iter().any(|argument| argument == expected), "{expected} {arguments:?}");
        }
    }

    #[test]
    fn i4_buildx_gets_what_reaches_its_builder_and_no_secret() {
        for name in
            ["PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "BUILDX_BUILDER", "KUBECONFIG", "KUBERNETES_SERVICE_HOST"]
        {
            assert!(may_see(name), "{name}");
        }
        for name in ["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "ACTIONS_RUNTIME_TOKEN", "BUILDX_GIT_LABELS", "MY_TOKEN"]
        {
            assert!(!may_see(name), "{name}");
        }
    }

    #[test]
    fn an_image_that_is_not_the_announced_one_or_of_another_platform_is_refused() {
        let dockerfile = Dockerfile::parse("FROM scratch\nCOPY demo /demo\n").unwrap();
        let context = BuildContext::from([("demo".into(), b"x".to_vec())]);
        let [amd, arm] = [platform("linux/amd64"), platform("linux/arm64")];
        let layout = embedded::assemble(&dockerfile, std::slice::from_ref(&amd), &context, &stamp()).unwrap();
        assert!(check(&layout, &layout.digest, &amd).is_ok());
        assert!(check(&layout, &Digest::of(b"other"), &amd).is_err());
        assert!(check(&layout, &layout.digest, &arm).is_err());
        let metadata = format!("{{\"containerimage.digest\":\"{}\",\"more\":1}}", layout.digest);
        assert_eq!(announced(metadata.as_bytes()).unwrap(), layout.digest);
        assert!(announced(b"").is_err());
    }
}
