//! A registry beyond this machine, by the OCI distribution specification 1.1: GHCR, or any other.
//!
//! What was scanned is pushed byte for byte: blobs that are not there yet, then manifests as raw bytes, by digest; tags move later.
//! Reading uses the same credentials as writing, where there are any; what anonymous users get is `release::verify`'s question.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciEnvelope, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};

use xtask::config::Target;
use xtask::error::{Context, Error, Exit, Result, reasons};
use xtask::oci::artifact::{self, Artifact};
use xtask::oci::referrers::{self, Lists, Page, page};
use xtask::oci::registry::{Attached, Registry};
use xtask::oci::{self, Descriptor, Digest, ImageIndex, Layout, Part, PlatformImage};
use xtask::sys::failpoints::announce;
use xtask::sys::http::{self, Anonymous};
use xtask::sys::retry::{Failure, retry};
use xtask::ui;

use crate::tls;

/// How often a request that was throttled, cut off, or failed on the server's side is tried.
const ATTEMPTS: usize = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How many tags are asked for at once.
const PAGE: usize = 100;
/// A list of referrers with more pages than this leads in circles.
const PAGES_MAX: usize = 100;

/// An image's repository in a registry.
pub struct HttpRegistry {
    client: Client,
    host: String,
    path: String,
    url: String,
    /// The variable with a token, where the target names one.
    token: Option<String>,
    /// Whether it is asked as everybody may, whatever credentials there are.
    is_anonymous: bool,
    /// Makes the requests that the client does not.
    user: Anonymous,
    runtime: Rc<tokio::runtime::Runtime>,
    credentials: OnceCell<RegistryAuth>,
    /// Whether tokens for reading and for writing were asked for.
    has_asked: [Cell<bool>; 2],
    /// What stands in the header of requests that the client does not make: for reading only.
    authorization: RefCell<Option<String>>,
    /// The blobs that are known to be there.
    stored: RefCell<BTreeSet<Digest>>,
    /// What digests lead to, which never changes: several steps of a release ask for the same.
    known: RefCell<BTreeMap<Digest, Vec<PlatformImage>>>,
}

impl HttpRegistry {
    /// The repository of a target's image; asks nothing yet.
    ///
    /// # Errors
    /// The machine cannot start a runtime, or has no certificates.
    pub fn new(target: &Target) -> Result<Self> {
        let plain = target.registry.starts_with("http://");
        tls::choose();
        let config = ClientConfig {
            protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(Duration::from_secs(5)),
            read_timeout: Some(target.timeout()),
            tls_certs_only: tls::trusted(),
            use_monolithic_push: true,
            user_agent: concat!("xtask/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config);
        let client = client.context(Exit::Failure, || format!("cannot prepare to talk to {}", target.registry))?;
        Ok(Self::with(target, client, Rc::new(http::runtime()?)))
    }

    fn with(target: &Target, client: Client, runtime: Rc<tokio::runtime::Runtime>) -> Self {
        let (host, path) = target.image.split_once('/').unwrap_or_default();
        HttpRegistry {
            client,
            host: host.to_owned(),
            path: path.to_owned(),
            url: target.registry.clone(),
            token: target.registry_token.clone(),
            is_anonymous: false,
            user: tls::anonymous(target.timeout()),
            runtime,
            credentials: OnceCell::new(),
            has_asked: Default::default(),
            authorization: RefCell::default(),
            stored: RefCell::default(),
            known: RefCell::default(),
        }
    }

    /// Another repository of the same registry, asked by the same client: making one takes as long as many questions.
    #[must_use]
    pub fn beside(&self, target: &Target) -> Self {
        let other = Self::with(target, self.client.clone(), Rc::clone(&self.runtime));
        HttpRegistry { is_anonymous: self.is_anonymous, ..other }
    }

    /// The same, asked without credentials.
    ///
    /// # Errors
    /// As `new`.
    pub fn anonymous(target: &Target) -> Result<Self> {
        Ok(HttpRegistry { is_anonymous: true, ..Self::new(target)? })
    }

    fn credentials(&self) -> Result<&RegistryAuth> {
        if let Some(known) = self.credentials.get() {
            return Ok(known);
        }
        let variable = |name: &str| std::env::var(name).ok();
        let found = match token(&self.host, self.token.as_deref(), &variable) {
            _ if self.is_anonymous => RegistryAuth::Anonymous,
            Some(token) => token,
            None => docker_credentials(&self.host)?,
        };
        self.runtime.block_on(self.client.store_auth_if_needed(&self.host, &found));
        Ok(self.credentials.get_or_init(|| found))
    }

    fn tagged(&self, tag: &str) -> Reference {
        Reference::with_tag(self.host.clone(), self.path.clone(), tag.to_owned())
    }

    fn by_digest(&self, digest: &Digest) -> Reference {
        Reference::with_digest(self.host.clone(), self.path.clone(), digest.to_string())
    }

    /// Makes a request until it succeeds, fails for good, or has failed too often.
    fn request<T, F>(
        &self,
        operation: RegistryOperation,
        what: &dyn Fn() -> String,
        request: impl Fn() -> F,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, OciDistributionError>>,
    {
        let credentials = self.credentials().map_err(Refusal::Failed)?;
        let mut was_unauthorised = false;
        let found = retry(ATTEMPTS, FIRST_PAUSE, || {
            let answer = self.runtime.block_on(async {
                self.log_in(credentials, operation).await?;
                request().await
            });
            let error = match answer {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) if is_missing(&error) => return Ok(None),
                Err(error) => error,
            };
            let told = self.explain(&what(), &error);
            let unauthorised = status(&error) == Some(401);
            if unauthorised {
                self.has_asked(operation).set(false);
            }
            // A token may have ended just now; a new one that is refused again is refused for good.
            let again = is_passing(&error) || (unauthorised && !was_unauthorised);
            was_unauthorised |= unauthorised;
            Err(if again { Failure::Passing(told) } else { Failure::Final(told) })
        });
        found.map_err(Refusal::Failed)?.ok_or(Refusal::Missing)
    }

    /// Gets the token for an operation. The client would do so by itself, and go on without one where it gets none: a token server
    /// that is down for a moment would look like a wrong password.
    async fn log_in(
        &self,
        credentials: &RegistryAuth,
        operation: RegistryOperation,
    ) -> Result<(), OciDistributionError> {
        let has_asked = self.has_asked(operation);
        if !has_asked.get() {
            let token = self.client.auth(&self.tagged("latest"), credentials, operation).await?;
            if operation == RegistryOperation::Pull {
                self.authorization.replace(authorization(token, credentials));
            }
            has_asked.set(true);
        }
        Ok(())
    }

    fn has_asked(&self, operation: RegistryOperation) -> &Cell<bool> {
        let [reading, writing] = &self.has_asked;
        match operation {
            RegistryOperation::Pull => reading,
            RegistryOperation::Push => writing,
        }
    }

    /// The registry's own list of what refers to a digest; nothing where it keeps none.
    fn own_referrers(&self, subject: &Digest) -> Result<Option<Vec<Descriptor>>> {
        let mut url = format!("{}/v2/{}/referrers/{subject}", self.url, self.path);
        let mut referrers = Vec::new();
        for _ in 0..PAGES_MAX {
            let Some(page) = self.referrers_page(&url)? else { return Ok(None) };
            referrers.extend(page.referrers);
            match page.next {
                Some(next) => url = next,
                None => return Ok(Some(referrers)),
            }
        }
        Err(Error::new(Exit::Repository, format!("cannot list what refers to {subject}"))
            .because(format!("the registry's list has more than {PAGES_MAX} pages")))
    }

    fn referrers_page(&self, url: &str) -> Result<Option<Page>> {
        let what = || format!("cannot list referrers at {url}");
        let credentials = self.credentials()?;
        let mut was_unauthorised = false;
        retry(ATTEMPTS, FIRST_PAUSE, || {
            let logged_in = self.runtime.block_on(self.log_in(credentials, RegistryOperation::Pull));
            logged_in.map_err(|error| self.failure(&what(), &error))?;
            let authorization = self.authorization.borrow().clone();
            let mut headers = vec![("accept", oci::INDEX)];
            headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
            let answer = self.user.get_without_redirects(url, &headers);
            let answer = answer.map_err(|error| Failure::Passing(Error { exit: Exit::Repository, ..error }))?;
            match page(&self.url, &answer) {
                Ok(page) => Ok(page),
                Err(why) => {
                    let told = Error::new(Exit::Repository, what()).because(why);
                    let told = told.remedy("retry the command: nothing was lost, and nothing is done twice");
                    let unauthorised = answer.status == 401;
                    if unauthorised {
                        self.has_asked(RegistryOperation::Pull).set(false);
                    }
                    let again = match answer.status {
                        401 => !was_unauthorised,
                        status => status < 400 || status == 429 || status >= 500,
                    };
                    was_unauthorised |= unauthorised;
                    Err(if again { Failure::Passing(told) } else { Failure::Final(told) })
                }
            }
        })
    }

    /// What a registry that lists by itself does not list, though it took it.
    fn unlisted(&self, subject: &Digest, stored: &[&Artifact]) -> Result<Option<Vec<Digest>>> {
        let Some(listed) = self.own_referrers(subject)? else { return Ok(None) };
        let missing = stored.iter().map(|artifact| &artifact.descriptor.digest);
        let missing = missing.filter(|digest| listed.iter().all(|one| one.digest != **digest));
        Ok(Some(missing.cloned().collect()))
    }

    /// Waits until the registry lists what it took; false where it lists nothing by itself.
    fn lists_by_itself(&self, subject: &Digest, stored: &[&Artifact]) -> Result<bool> {
        retry(ATTEMPTS, FIRST_PAUSE, || match self.unlisted(subject, stored)? {
            None => Ok(false),
            Some(missing) if missing.is_empty() => Ok(true),
            Some(missing) => Err(Failure::Passing(
                Error::new(
                    Exit::Repository,
                    format!("the registry took what refers to {subject}, and does not list it"),
                )
                .because(format!("missing is {}", missing.iter().map(Digest::to_string).collect::<Vec<_>>().join(", ")))
                .remedy("retry the command: nothing was lost, and nothing is done twice"),
            )),
        })
    }

    /// Stores artifacts and sees to it that they are listed. `pause` waits.
    fn attach_with(&self, artifacts: &[Artifact], pause: &dyn Fn(Duration)) -> Result<Attached> {
        artifacts.iter().try_for_each(|artifact| self.store(artifact))?;
        let subjects: BTreeSet<&Digest> = artifacts.iter().filter_map(|artifact| artifact.subject.as_ref()).collect();
        for subject in subjects {
            let stored: Vec<&Artifact> = artifacts.iter().filter(|one| one.subject.as_ref() == Some(subject)).collect();
            if !self.lists_by_itself(subject, &stored)? {
                // Whoever keeps no list of one digest keeps none of the others.
                return referrers::list(self, artifacts, pause);
            }
        }
        Ok(Attached::default())
    }

    fn failure(&self, what: &str, error: &OciDistributionError) -> Failure {
        let told = self.explain(what, error);
        if is_passing(error) { Failure::Passing(told) } else { Failure::Final(told) }
    }

    fn put_manifest(&self, reference: &Reference, media_type: &str, bytes: &[u8]) -> Result<()> {
        announce("put", reference);
        let media_type = media_type.parse::<hyper::header::HeaderValue>();
        let media_type = media_type.context(Exit::Failure, || "a manifest has no media type".into())?;
        let what = || format!("cannot put the manifest {reference}");
        // Where a registry does not say where it put something, as AWS's does not, the client (0.18) panics for what is named by digest,
        // and goes on for what is named by tag. It asks for the same address either way.
        let place = reference.digest().map_or_else(|| reference.clone(), |digest| self.tagged(digest));
        let put = || self.client.push_manifest_raw(&place, bytes.to_vec(), media_type.clone());
        self.request(RegistryOperation::Push, &what, put).map(drop).map_err(|refusal| refusal.or_missing(what))
    }

    fn push_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let reference = self.by_digest(digest);
        let what = || format!("cannot push {reference}");
        let name = digest.to_string();
        let exists = || self.client.blob_exists(&reference, &name);
        if self.stored.borrow().contains(digest)
            || matches!(self.request(RegistryOperation::Pull, &what, exists), Ok(true))
        {
            self.stored.borrow_mut().insert(digest.clone());
            return Ok(());
        }
        self.push_new_blob(digest, bytes)
    }

    /// The same for what cannot be there yet.
    fn push_new_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let reference = self.by_digest(digest);
        let what = || format!("cannot push {reference}");
        announce("push", &reference);
        let push = || self.client.push_blob(&reference, bytes.to_vec(), reference.digest().unwrap_or_default());
        let pushed = self.request(RegistryOperation::Push, &what, push);
        pushed.map_err(|refusal| refusal.or_missing(what))?;
        self.stored.borrow_mut().insert(digest.clone());
        Ok(())
    }

    /// What the registry says to somebody who only asks whether it is one.
    fn greeting(&self) -> Option<u16> {
        let answer = self.user.get(&format!("{}/v2/", self.url), &[]);
        answer.ok().map(|answer| answer.status)
    }

    fn explain(&self, what: &str, error: &OciDistributionError) -> Error {
        let denied = is_denied(error);
        // The client takes a registry that does not answer its greeting for one that wants no credentials, and is then denied.
        if denied && let Some(status) = self.greeting().filter(|status| *status >= 500) {
            return Error::new(Exit::Repository, what)
                .because(format!("{}/v2/ is answered with {status}: the registry is out of order", self.url))
                .remedy("retry the command when it is back: nothing was lost, and nothing is done twice");
        }
        let failed = Error::new(if denied { Exit::Environment } else { Exit::Repository }, what)
            .because(reasons(error).join(": "));
        if !denied {
            return failed.remedy("retry the command: nothing was lost, and nothing is done twice");
        }
        failed
            .remedy(format!("docker login {} with an account that may write the package {}", self.host, self.path))
            .remedy(
                "in GitHub Actions: give the job `permissions: packages: write` and GITHUB_TOKEN in its environment",
            )
    }
}

/// Why a request was not answered as wished.
enum Refusal {
    /// There is no such thing.
    Missing,
    Failed(Error),
}

impl Refusal {
    fn or_missing(self, what: impl Fn() -> String) -> Error {
        match self {
            Refusal::Failed(error) => error,
            Refusal::Missing => Error::new(Exit::Repository, what())
                .because("the registry says that it is not there")
                .remedy("retry the command; if it stays so, check `image` of the target in Cargo.toml"),
        }
    }
}

impl Registry for HttpRegistry {
    fn tags(&self) -> Result<Vec<String>> {
        let image = self.tagged("latest");
        let what = || format!("cannot list the tags of {}/{}", self.host, self.path);
        let credentials = self.credentials()?;
        let mut tags: Vec<String> = Vec::new();
        loop {
            let last = tags.last().cloned();
            let list = || self.client.list_tags(&image, credentials, Some(PAGE), last.as_deref());
            let page = match self.request(RegistryOperation::Pull, &what, list) {
                Ok(page) => page.tags,
                // A repository that was never pushed to.
                Err(Refusal::Missing) => return Ok(tags),
                Err(Refusal::Failed(error)) => return Err(error),
            };
            let new: Vec<String> = page.into_iter().filter(|tag| !tags.contains(tag)).collect();
            // Registries give pages of their own size, and one that knows no pages gives all tags every time.
            if new.is_empty() {
                return Ok(tags);
            }
            tags.extend(new);
        }
    }

    fn resolve(&self, tag: &str) -> Result<Option<Digest>> {
        let image = self.tagged(tag);
        let what = || format!("cannot look up {image}");
        let credentials = self.credentials()?;
        match self.request(RegistryOperation::Pull, &what, || self.client.fetch_manifest_digest(&image, credentials)) {
            Ok(digest) => {
                digest.parse().map(Some).map_err(|why: String| Error::new(Exit::Repository, what()).because(why))
            }
            Err(Refusal::Missing) => Ok(None),
            Err(Refusal::Failed(error)) => Err(error),
        }
    }

    fn fetch(&self, part: Part, digest: &Digest) -> Result<Vec<u8>> {
        let image = self.by_digest(digest);
        let what = || format!("cannot fetch {image}");
        let credentials = self.credentials()?;
        let bytes = match part {
            Part::Manifest => {
                let types = [oci::INDEX, oci::MANIFEST];
                self.request(RegistryOperation::Pull, &what, || {
                    self.client.pull_manifest_raw(&image, credentials, &types)
                })
                .map(|(bytes, _)| bytes.to_vec())
            }
            Part::Blob => self.request(RegistryOperation::Pull, &what, || async {
                let mut bytes = Vec::new();
                self.client.pull_blob(&image, digest.to_string().as_str(), &mut bytes).await?;
                Ok(bytes)
            }),
        };
        let bytes = bytes.map_err(|refusal| refusal.or_missing(what))?;
        if Digest::of(&bytes) == *digest {
            Ok(bytes)
        } else {
            Err(Error::new(Exit::Repository, what()).because("the registry gave other bytes than the digest names"))
        }
    }

    fn platforms(&self, digest: &Digest) -> Result<Vec<PlatformImage>> {
        if let Some(parts) = self.known.borrow().get(digest) {
            return Ok(parts.clone());
        }
        let parts = oci::platform_images(digest, &|part, digest| self.fetch(part, digest))?;
        self.known.borrow_mut().insert(digest.clone(), parts.clone());
        Ok(parts)
    }

    fn push(&self, image: &Layout) -> Result<()> {
        let parts = image.platforms()?;
        let progress = ui::progress("Pushing", image.blobs.values().map(|bytes| bytes.len() as u64).sum());
        for part in &parts {
            for blob in part.manifest.layers.iter().chain([&part.manifest.config]) {
                self.push_blob(&blob.digest, layout_blob(image, &blob.digest)?)?;
                progress.add(blob.size);
            }
            let digest = &part.descriptor.digest;
            self.put_manifest(&self.by_digest(digest), oci::MANIFEST, layout_blob(image, digest)?)?;
        }
        self.put_manifest(&self.by_digest(&image.digest), oci::INDEX, layout_blob(image, &image.digest)?)
    }

    fn attach(&self, artifacts: &[Artifact]) -> Result<Attached> {
        self.attach_and(artifacts, &|| Ok(()))
    }

    fn attach_and(&self, artifacts: &[Artifact], meanwhile: &dyn Fn() -> Result<()>) -> Result<Attached> {
        let done = OnceCell::new();
        let pause = |pause: Duration| {
            let started = Instant::now();
            done.get_or_init(meanwhile);
            std::thread::sleep(pause.saturating_sub(started.elapsed()));
        };
        let attached = self.attach_with(artifacts, &pause)?;
        done.get_or_init(meanwhile);
        done.into_inner().unwrap_or(Ok(())).map(|()| attached)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        match self.own_referrers(subject)? {
            Some(referrers) => Ok(referrers),
            None => Ok(self.read(subject)?.manifests),
        }
    }

    fn untag(&self, tag: &str) -> Result<bool> {
        if self.resolve(tag)?.is_none() {
            return Ok(true);
        }
        let (reference, credentials) = (self.tagged(tag), self.credentials()?);
        let what = || format!("cannot remove the tag {reference}");
        let token = self.runtime.block_on(self.client.auth(&reference, credentials, RegistryOperation::Push));
        let token = token.map_err(|error| self.explain(&what(), &error))?;
        let authorization = authorization(token, credentials);
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        announce("untag", &reference);
        // What is removed is named by a tag: by its digest, other tags and what refers to it would go, too.
        let answer = self.user.delete(&format!("{}/v2/{}/manifests/{tag}", self.url, self.path), &headers)?;
        Ok(matches!(answer.status, 200 | 202 | 204 | 404))
    }

    fn tag(&self, tags: &[(String, Digest)]) -> Result<()> {
        for (tag, digest) in tags {
            if self.resolve(tag)?.as_ref() != Some(digest) {
                let bytes = self.fetch(Part::Manifest, digest)?;
                self.put_manifest(&self.tagged(tag), oci::media_type(&bytes), &bytes)?;
            }
        }
        Ok(())
    }
}

impl HttpRegistry {
    fn store(&self, artifact: &Artifact) -> Result<()> {
        for (digest, bytes) in artifact.parts() {
            // No two signatures are alike, and no two bundles: only what all artifacts share may be there.
            if artifact.subject.is_none() || bytes == artifact::NOTHING {
                self.push_blob(digest, bytes)?;
            } else {
                self.push_new_blob(digest, bytes)?;
            }
        }
        let reference = self.by_digest(&artifact.descriptor.digest);
        self.put_manifest(&reference, &artifact.descriptor.media_type, &artifact.manifest)
    }
}

/// The lists under tags, for registries that keep none.
impl Lists for HttpRegistry {
    fn read(&self, subject: &Digest) -> Result<ImageIndex> {
        let tag = self.tagged(&artifact::referrers_tag(subject));
        let what = || format!("cannot read the list of referrers {tag}");
        let credentials = self.credentials()?;
        let types = [oci::INDEX, oci::MANIFEST];
        let pull = || self.client.pull_manifest_raw(&tag, credentials, &types);
        let bytes = match self.request(RegistryOperation::Pull, &what, pull) {
            Ok((bytes, _)) => bytes,
            Err(Refusal::Missing) => return Ok(ImageIndex::new(Vec::new())),
            Err(Refusal::Failed(error)) => return Err(error),
        };
        let wrong = |why: &str| Error::new(Exit::Repository, what()).because(why);
        if Digest::of(&bytes) == *subject {
            return Err(wrong("the registry gives the subject itself under that tag, and keeps no list of its own"));
        }
        serde_json::from_slice(&bytes).map_err(|error| wrong(&format!("it is no image index: {error}")))
    }

    fn write(&self, subject: &Digest, list: &ImageIndex) -> Result<()> {
        self.put_manifest(&self.tagged(&artifact::referrers_tag(subject)), oci::INDEX, &oci::json(list)?)
    }
}

/// The value of the header by which the client's own requests are allowed.
fn authorization(token: Option<String>, credentials: &RegistryAuth) -> Option<String> {
    match (token, credentials) {
        (Some(token), _) => Some(format!("Bearer {token}")),
        (None, RegistryAuth::Basic(user, password)) => {
            Some(format!("Basic {}", BASE64.encode(format!("{user}:{password}"))))
        }
        (None, _) => None,
    }
}

/// The bytes of a part, which are what its digest says: this is the last moment before they are public.
fn layout_blob<'l>(image: &'l Layout, digest: &Digest) -> Result<&'l [u8]> {
    match image.blobs.get(digest) {
        Some(bytes) if Digest::of(bytes) == *digest => Ok(bytes),
        _ => Err(Error::new(Exit::Failure, format!("the image's layout lacks {digest}, or holds other bytes"))
            .remedy("cargo xtask release build makes it again")),
    }
}

/// The token that a variable holds: the one that the target names or, in GitHub Actions and for GitHub's registry alone, the workflow's.
fn token(host: &str, named: Option<&str>, variable: &dyn Fn(&str) -> Option<String>) -> Option<RegistryAuth> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let is_githubs = host == "ghcr.io" && set("GITHUB_ACTIONS").as_deref() == Some("true");
    let token = set(named.or(is_githubs.then_some("GITHUB_TOKEN"))?)?;
    Some(RegistryAuth::Basic(set("GITHUB_ACTOR").unwrap_or_else(|| "github".into()), token))
}

/// What `docker login` left, or one of docker's helpers gives.
fn docker_credentials(host: &str) -> Result<RegistryAuth> {
    match docker_credential::get_credential(host) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
        Ok(DockerCredential::IdentityToken(token)) => Ok(RegistryAuth::Bearer(token)),
        Err(CredentialRetrievalError::ConfigNotFound | CredentialRetrievalError::NoCredentialConfigured) => {
            Ok(RegistryAuth::Anonymous)
        }
        // A machine where nobody ever logged in has no such file.
        Err(CredentialRetrievalError::ConfigReadError) if !has_docker_config() => Ok(RegistryAuth::Anonymous),
        Err(error) => Err(Error::new(Exit::Environment, format!("cannot get docker's credentials for {host}"))
            .because(error)
            .remedy(format!("docker login {host}"))),
    }
}

fn has_docker_config() -> bool {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let folder = folder("DOCKER_CONFIG").or_else(|| Some(folder("HOME")?.join(".docker")));
    folder.is_some_and(|folder| folder.join("config.json").exists())
}

/// The HTTP status that an error was made of, where it is known.
fn status(error: &OciDistributionError) -> Option<u16> {
    match error {
        OciDistributionError::ServerError { code, .. } => Some(*code),
        OciDistributionError::UnauthorizedError { .. } => Some(401),
        OciDistributionError::RequestError(error) => error.status().map(|status| status.as_u16()),
        _ => None,
    }
}

/// Whether the registry gave an error of such a code, in whichever kind of error the client keeps its words.
fn has_code(error: &OciDistributionError, wanted: impl Fn(&OciErrorCode) -> bool) -> bool {
    let parsed = |text: &str| serde_json::from_str::<OciEnvelope>(text).ok();
    let any = |envelope: &OciEnvelope| envelope.errors.iter().any(|error| wanted(&error.code));
    match error {
        OciDistributionError::RegistryError { envelope, .. } => any(envelope),
        OciDistributionError::ServerError { message: text, .. } | OciDistributionError::AuthenticationFailure(text) => {
            parsed(text).is_some_and(|envelope| any(&envelope))
        }
        _ => false,
    }
}

fn is_missing(error: &OciDistributionError) -> bool {
    matches!(error, OciDistributionError::ImageManifestNotFoundError(_))
        || status(error) == Some(404)
        || has_code(error, |code| {
            matches!(code, OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound)
        })
}

fn is_denied(error: &OciDistributionError) -> bool {
    matches!(status(error), Some(401 | 403))
        || has_code(error, |code| matches!(code, OciErrorCode::Denied | OciErrorCode::Unauthorized))
}

/// Whether the same request may succeed a moment later.
fn is_passing(error: &OciDistributionError) -> bool {
    if is_denied(error) {
        return false;
    }
    match error {
        // A body that ended early, or was changed on its way.
        OciDistributionError::IoError(_)
        | OciDistributionError::DigestError(_)
        | OciDistributionError::JsonError(_)
        | OciDistributionError::ManifestEncodingError(_)
        | OciDistributionError::RegistryTokenDecodeError(_) => true,
        // The client does not say which status the token server gave.
        OciDistributionError::AuthenticationFailure(_) => true,
        OciDistributionError::RequestError(_) if status(error).is_none() => true,
        _ => {
            status(error).is_some_and(|status| status == 429 || status >= 500)
                || has_code(error, |code| matches!(code, OciErrorCode::Toomanyrequests | OciErrorCode::DigestInvalid))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i4_in_a_workflow_its_own_token_is_used_for_githubs_registry_and_for_no_other() {
        let variable = |name: &str| match name {
            "GITHUB_ACTIONS" => Some("true".into()),
            "GITHUB_TOKEN" => Some("token".into()),
            "GITHUB_ACTOR" => Some("octocat".into()),
            _ => None,
        };
        let expected = RegistryAuth::Basic("octocat".into(), "token".into());
        assert!(token("ghcr.io", None, &variable).as_ref() == Some(&expected));
        assert!(token("registry.example.com", None, &variable).is_none());
        assert!(token("ghcr.io", None, &|name| variable(name).filter(|_| name == "GITHUB_TOKEN")).is_none());
        assert!(token("registry.example.com", Some("GITHUB_TOKEN"), &variable) == Some(expected), "where it is named");
        assert!(token("ghcr.io", Some("OTHER"), &variable).is_none());
    }

    #[test]
    fn i4_credentials_go_into_our_own_requests_as_into_the_clients() {
        let basic = RegistryAuth::Basic("ann".into(), "secret".into());
        assert_eq!(authorization(Some("t".into()), &basic).as_deref(), Some("Bearer t"));
        assert_eq!(authorization(None, &basic).as_deref(), Some("Basic YW5uOnNlY3JldA=="));
        assert_eq!(authorization(None, &RegistryAuth::Anonymous), None);
    }
}
