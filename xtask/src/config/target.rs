//! Targets: the places that a release is published to, each with what builds, scans and signs for it.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use semver::{Prerelease, Version};
use serde::Deserialize;

use crate::error::{Error, Exit, Result};

/// How long one request may take where the target does not say.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What stands for a product's name in the texts of a target.
const PRODUCT: &str = "{product}";

/// A place that a release is published to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The name in the table.
    pub name: String,
    /// The product that it is for, where there are several.
    pub product: Option<String>,
    /// The image, without a tag: `host/path`.
    pub image: String,
    /// The URL of the chart repository, without a slash at the end.
    pub repository: String,
    /// Where the image's registry answers, without a slash at the end.
    pub registry: String,
    /// The variable with a token for it, which counts more than what `docker login` left.
    pub registry_token: Option<String>,
    /// What is published into.
    pub location: Location,
    /// Whether people get a page at the repository's address; something else may be there.
    pub page: bool,
    /// Who assembles the image.
    pub builder: Builder,
    /// Whether the image is scanned.
    pub scan: Scan,
    /// Who is accepted as signer of what is published there.
    pub signers: Vec<SignerTable>,
    /// What signs.
    pub signing: SigningTable,
    /// Authorities other than the public Sigstore's: a file in its format, relative to the root.
    pub trusted_root: Option<PathBuf>,
    /// The first version that is signed, with its candidates. Those before it were published when nothing was, and are taken as they are.
    pub signed_since: Option<Version>,
}

/// One accepted signer: a key's file, or an identity and who vouches for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SignerTable {
    /// The file of a public key, relative to the workspace's root.
    pub key: Option<PathBuf>,
    /// Who gave the signer its identity: `https://token.actions.githubusercontent.com`.
    pub issuer: Option<String>,
    /// The identity: `https://github.com/OWNER/REPOSITORY/.github/workflows/FILE@refs/tags/v{version}`.
    pub identity: Option<String>,
}

/// What may sign for a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SigningTable {
    /// The variable that holds a private key as PEM.
    pub variable: Option<String>,
    /// The file of a private key, relative to the workspace's root or absolute.
    pub file: Option<PathBuf>,
    /// A key in AWS KMS: `awskms:///alias/NAME`.
    pub kms: Option<String>,
    /// Whether a workflow on GitHub signs with its identity.
    #[serde(default)]
    pub keyless: bool,
    /// Other services than the public Sigstore's, in its format `signingconfig`.
    pub services: Option<PathBuf>,
}

impl SigningTable {
    /// Whether nothing but a workflow's identity signs.
    pub fn is_keyless_alone(&self) -> bool {
        self.keyless && self.variable.is_none() && self.file.is_none() && self.kms.is_none()
    }
}

/// What a target publishes into.
#[derive(Clone, Debug)]
pub enum Location {
    /// A folder on this machine, relative to the root or absolute.
    Folder(PathBuf),
    /// A bucket behind a CDN, and a registry.
    Remote(Remote),
}

/// A place in AWS.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The region of the stack and the bucket.
    pub region: String,
    /// The CloudFormation stack whose outputs name bucket and distribution.
    pub stack: String,
    /// Other servers than AWS's own: staging, tests.
    pub endpoints: Endpoints,
    /// How long one request may take.
    pub timeout: Duration,
}

/// Servers that stand in for AWS's own.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Endpoints {
    /// Of CloudFormation.
    pub cloudformation: Option<String>,
    /// Of CloudFront.
    pub cloudfront: Option<String>,
    /// Of S3; buckets are then named in the path.
    pub s3: Option<String>,
}

impl Endpoints {
    /// Whether there are any.
    pub fn stand_in(&self) -> bool {
        self.cloudformation.is_some() || self.cloudfront.is_some() || self.s3.is_some()
    }
}

/// Who assembles the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Builder {
    /// This tool itself.
    Embedded,
    /// `docker buildx`.
    Buildx,
}

/// When the image is scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scan {
    /// Where the scanner, its database and cargo-auditable are all there.
    IfInstalled,
    /// Always; a machine that cannot is refused.
    Required,
}

impl Target {
    /// The image's name within its registry.
    pub fn image_path(&self) -> &str {
        self.image.split_once('/').map_or(self.image.as_str(), |(_, path)| path)
    }

    /// What stands before a chart's name in the same registry: `charts`, beside the image.
    pub fn charts_path(&self) -> String {
        self.image_path().rsplit_once('/').map_or_else(|| "charts".into(), |(parent, _)| format!("{parent}/charts"))
    }

    /// The same place with the chart of that name where the image is: `host/…/charts/NAME`.
    #[must_use]
    pub fn of_chart(&self, chart: &str) -> Self {
        let host = self.image.split_once('/').map_or("", |(host, _)| host);
        Target { image: format!("{host}/{}/{chart}", self.charts_path()), ..self.clone() }
    }

    /// Whether a version is signed there. A rehearsal has a key of its own; a place beyond this machine signs where it names whom it
    /// accepts. Nothing is asked of versions that were published before anything was signed; candidates of the first that is are not among them.
    pub fn signs(&self, version: &Version) -> bool {
        let has_signers = !self.is_remote() || !self.signers.is_empty();
        let is_since = |first: &Version| version >= first || is_candidate_of(version, first);
        has_signers && self.signed_since.as_ref().is_none_or(is_since)
    }

    /// A chart in that registry, without its version, as Helm is told of it.
    pub fn chart_reference(&self, chart: &str) -> String {
        format!("oci://{}", self.of_chart(chart).image)
    }

    /// Whether it is beyond this machine: what is published there never changes.
    pub fn is_remote(&self) -> bool {
        matches!(self.location, Location::Remote(_))
    }

    /// How long one request may take.
    pub fn timeout(&self) -> Duration {
        match &self.location {
            Location::Folder(_) => TIMEOUT,
            Location::Remote(remote) => remote.timeout,
        }
    }

    /// The port that a folder target is served on.
    pub fn port(&self) -> u16 {
        self.repository.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct TargetTable {
    image: String,
    repository: String,
    directory: Option<PathBuf>,
    stack: Option<String>,
    region: Option<String>,
    #[serde(default)]
    endpoints: Endpoints,
    #[serde(default)]
    plain_http_registry: bool,
    registry_token: Option<String>,
    timeout_seconds: Option<NonZeroU16>,
    page: Option<bool>,
    builder: Builder,
    scan: Scan,
    #[serde(default)]
    signers: Vec<SignerTable>,
    #[serde(default)]
    signing: SigningTable,
    trusted_root: Option<PathBuf>,
    signed_since: Option<Version>,
}

impl TargetTable {
    /// The same for one of several products, whose name stands where its texts ask for it.
    fn of_product(&self, product: &str) -> Result<Self, (&'static str, &'static str)> {
        if !self.image.contains(PRODUCT) {
            return Err(("image", "each of several products has an image of its own: HOST/PATH/{product}"));
        }
        let mut table = TargetTable { image: self.image.replace(PRODUCT, product), ..self.clone() };
        for identity in table.signers.iter_mut().filter_map(|signer| signer.identity.as_mut()) {
            *identity = identity.replace(PRODUCT, product);
        }
        Ok(table)
    }

    /// The target of that name, for a product.
    pub(super) fn resolve(&self, name: &str, product: Option<&str>) -> Result<Target> {
        let wrong = |key: &str, why: &str| {
            Error::new(Exit::Workspace, format!("target `{name}`: `{key}` cannot be used")).because(why)
        };
        if let Some(product) = product {
            let table = self.of_product(product).map_err(|(key, why)| wrong(key, why))?;
            return Ok(Target { product: Some(product.to_owned()), ..table.resolve(name, None)? });
        }
        let repository = self.repository.trim_end_matches('/');
        let (host, path) = self.image.split_once('/').unwrap_or_default();
        if host.is_empty() || !valid_image_path(path) {
            return Err(wrong("image", "it must be HOST/NAME, the name in lower case and without a tag"));
        }
        let (location, plain) = match (&self.directory, &self.stack) {
            (Some(folder), None) => {
                self.check_folder(repository, host).map_err(|(key, why)| wrong(key, why))?;
                (Location::Folder(folder.clone()), true)
            }
            (None, Some(stack)) => (Location::Remote(self.remote(stack).map_err(|(key, why)| wrong(key, why))?), false),
            _ => return Err(wrong("directory", "a target has either a `directory` or a `stack`")),
        };
        if !plain && !repository.starts_with("https://") {
            return Err(wrong("repository", "charts are public over HTTPS only: https://HOST"));
        }
        let scheme = if plain || self.plain_http_registry { "http" } else { "https" };
        Ok(Target {
            name: name.to_owned(),
            product: None,
            image: self.image.clone(),
            repository: repository.to_owned(),
            registry: format!("{scheme}://{host}"),
            registry_token: self.registry_token.clone(),
            location,
            page: self.page.unwrap_or(true),
            builder: self.builder,
            scan: self.scan,
            signers: self.signers.clone(),
            signing: self.signing.clone(),
            trusted_root: self.trusted_root.clone(),
            signed_since: self.signed_since.clone(),
        })
    }

    fn remote(&self, stack: &str) -> Result<Remote, (&'static str, &'static str)> {
        let region = self.region.clone().ok_or(("region", "the stack's region is missing: region = \"us-east-1\""))?;
        let timeout = self.timeout_seconds.map_or(TIMEOUT, |seconds| Duration::from_secs(seconds.get().into()));
        Ok(Remote { region, stack: stack.to_owned(), endpoints: self.endpoints.clone(), timeout })
    }

    /// A folder is served by `serve`: chart and image from one port of this machine.
    fn check_folder(&self, repository: &str, image_host: &str) -> Result<(), (&'static str, &'static str)> {
        let Some(host) = repository.strip_prefix("http://").filter(|host| !host.is_empty() && !host.contains('/'))
        else {
            return Err(("repository", "a folder is served at http://HOST:PORT, without a path"));
        };
        if !host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port != 0)) {
            return Err(("repository", "the port that the folder is served on is missing: http://HOST:PORT"));
        }
        if image_host != host {
            return Err((
                "image",
                "`serve` gives image and chart from one port: begin it with the repository's host and port",
            ));
        }
        Ok(())
    }
}

/// The repository of a workflow on GitHub: `OWNER/NAME` of `https://github.com/OWNER/NAME/.github/workflows/FILE@REF`.
pub fn workflow_repository(identity: &str) -> Option<&str> {
    identity.strip_prefix("https://github.com/")?.split_once("/.github/workflows/").map(|(repository, _)| repository)
}

/// Whether a version is a pre-release of another: 3.0.0-rc.1 sorts below 3.0.0 and still belongs to it.
pub fn is_candidate_of(version: &Version, of: &Version) -> bool {
    Version { pre: Prerelease::EMPTY, ..version.clone() } == *of
}

/// The grammar of a repository name in the OCI distribution specification, section "Pulling manifests".
fn valid_image_path(path: &str) -> bool {
    let valid_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    };
    path.split('/').all(valid_part)
}
