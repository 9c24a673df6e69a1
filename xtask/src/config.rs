//! `[workspace.metadata.release]` of the root Cargo.toml, as typed data.
//!
//! Everything that belongs to a product is in that table, and nothing of it is in this crate's code: another operator adopts
//! the tool by writing a table of its own. Unknown keys are errors, so that a typo is not a silent default.
//!
//! One product is described by the table itself; several have a table each, below `products`, and names. Whatever is done is done for one
//! `Product`, which knows its root and its targets.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use semver::Version;
use serde::Deserialize;

use crate::error::{Context, Error, Exit, Result};
use crate::oci::Platform;
use crate::sys::files;

/// How long one request may take where the target does not say.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What stands for a product's name in the texts of a target.
const PRODUCT: &str = "{product}";
/// Words of the command line that no product can be called.
pub const RESERVED: [&str; 16] = [
    "patch", "minor", "major", "bump", "build", "scan", "push", "sign", "tag", "chart", "promote", "notes", "assets",
    "yank", "unyank", "help",
];

/// The workspace, and the products that are released of it.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The folder of the root Cargo.toml.
    pub root: PathBuf,
    /// One product, or several that have names.
    pub products: Vec<Product>,
}

/// What is released under one version: a crate, its image, and the chart that installs it; or one of the two alone.
#[derive(Clone, Debug)]
pub struct Product {
    /// Its name, where it is one of several: that of its chart, and what its git tags begin with.
    pub name: Option<String>,
    /// The folder of the root Cargo.toml.
    pub root: PathBuf,
    /// The crate that its image is made of, as its manifest says; nothing where it is a chart alone.
    pub package: Option<Package>,
    /// No version below this one is ever released.
    pub first_version: Version,
    /// The chart's folder, relative to the root; nothing where it is an image alone.
    pub chart: Option<String>,
    /// The platforms of the image and the compiler target of each.
    pub platforms: BTreeMap<Platform, String>,
    targets: Arc<BTreeMap<String, TargetTable>>,
}

/// The released crate's manifest, with what it inherits from the workspace.
#[derive(Clone, Debug)]
pub struct Package {
    /// The crate's name, which is the binary's name, too.
    pub name: String,
    /// Its folder, relative to the root.
    pub folder: String,
    /// The version that the tree says.
    pub version: Version,
    /// Whether that is the workspace's.
    inherits_version: bool,
    /// The oldest compiler that can build it.
    pub rust_version: Option<String>,
    /// What people read about it; each is a label of the image.
    pub about: About,
}

/// The crate's descriptive fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// One line on what it is.
    pub description: String,
    /// The SPDX expression of its license.
    pub license: String,
    /// Where the sources are.
    pub repository: String,
    /// Where the documentation is.
    pub documentation: String,
    /// Who distributes it: the first author.
    pub vendor: String,
}

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
    /// The first version that is signed. Those before it were published when nothing was, and are taken as they are.
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

impl Workspace {
    /// Finds the workspace that `start` is in and reads its tables.
    ///
    /// # Errors
    /// There is no workspace, or a file is malformed; all complaints of one file come together where the parser allows.
    pub fn find(start: &Path) -> Result<Self> {
        for folder in start.ancestors() {
            let manifest: Option<RootManifest> = manifest(folder, "Cargo.toml")?;
            if let Some(workspace) = manifest.and_then(|manifest| manifest.workspace) {
                return Self::from_table(folder, workspace);
            }
        }
        Err(Error::new(Exit::Workspace, format!("{} is not in a Cargo workspace", start.display()))
            .remedy("change to the folder of your clone"))
    }

    /// The product of that name, which nobody has to say where there is only one.
    ///
    /// # Errors
    /// There is none of that name, or several and none is named.
    pub fn product(&self, named: Option<&str>) -> Result<&Product> {
        let found = match (named, &*self.products) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(_), products) => products.iter().find(|product| product.name.as_deref() == named),
        };
        found.ok_or_else(|| {
            let known: Vec<&str> = self.products.iter().filter_map(|product| product.name.as_deref()).collect();
            match (named, &*known) {
                (Some(name), []) => Error::new(Exit::Usage, format!("there is no product `{name}`"))
                    .because("the workspace has one product, which has no name")
                    .remedy("leave the name out"),
                (Some(name), _) => Error::new(Exit::Usage, format!("there is no product `{name}`"))
                    .because("it is not in [workspace.metadata.release.products]")
                    .remedy(format!("name one of: {}", known.join(", "))),
                (None, _) => Error::new(Exit::Usage, "it is not said which product this is for")
                    .because("the workspace has several")
                    .remedy(format!("name one of: {}", known.join(", "))),
            }
        })
    }

    /// The target of that name, for whatever is the same for all products.
    ///
    /// # Errors
    /// As `Product::target`.
    pub fn target(&self, name: &str) -> Result<Target> {
        let targets = self.targets(name)?;
        targets.into_iter().next().ok_or_else(|| Error::new(Exit::Workspace, "the workspace has no product"))
    }

    /// The target of that name, for each product.
    ///
    /// # Errors
    /// As `Product::target`.
    pub fn targets(&self, name: &str) -> Result<Vec<Target>> {
        self.products.iter().map(|product| product.target(name)).collect()
    }

    fn from_table(root: &Path, workspace: WorkspaceTable) -> Result<Self> {
        let Some(release) = workspace.metadata.and_then(|metadata| metadata.release) else {
            return Err(Error::new(Exit::Workspace, "Cargo.toml has no table [workspace.metadata.release]")
                .because("it says what is released, and to where")
                .remedy("the README shows the table, key by key"));
        };
        let members = Members::read(root, &workspace.members, workspace.package)?;
        Ok(Workspace { root: root.to_owned(), products: release.products(root, &members)? })
    }
}

impl Product {
    /// The target of that name, for this product.
    ///
    /// # Errors
    /// There is none, or its fields contradict each other.
    pub fn target(&self, name: &str) -> Result<Target> {
        let Some(table) = self.targets.get(name) else {
            let known: Vec<&str> = self.targets.keys().map(String::as_str).collect();
            return Err(Error::new(Exit::Usage, format!("there is no target `{name}`"))
                .because("it is not in [workspace.metadata.release.targets]")
                .remedy(format!("name one of: {}", known.join(", "))));
        };
        table.resolve(name, self.name.as_deref())
    }

    /// The folder that a target publishes into, absolute, where it is one.
    pub fn directory(&self, target: &Target) -> Option<PathBuf> {
        match &target.location {
            Location::Folder(folder) => Some(self.root.join(folder)),
            Location::Remote(_) => None,
        }
    }

    /// A folder, or a file, for what is made on the way.
    pub fn work(&self, name: &str) -> PathBuf {
        let mut folder = self.root.join("target/xtask");
        folder.extend(&self.name);
        folder.join(name)
    }

    /// The crate that its image is made of.
    ///
    /// # Errors
    /// It is a chart alone.
    pub fn package(&self) -> Result<&Package> {
        self.package.as_ref().ok_or_else(|| self.without_image())
    }

    /// The error of whatever takes an image.
    pub fn without_image(&self) -> Error {
        Error::new(Exit::Usage, format!("there is no image of {}", self.chart.as_deref().unwrap_or_default()))
            .because("the product is a chart alone: [workspace.metadata.release] names no `package` for it")
    }

    /// The folder of its chart.
    ///
    /// # Errors
    /// It is an image alone.
    pub fn chart(&self) -> Result<&str> {
        self.chart.as_deref().ok_or_else(|| {
            let name = self.package.as_ref().map(|package| package.name.as_str()).unwrap_or_default();
            Error::new(Exit::Usage, format!("there is no chart of {name}"))
                .because("the product is an image alone: [workspace.metadata.release] names no `chart` for it")
        })
    }

    /// The changelog, relative to the root: one of several products has its own, in its folder.
    pub fn changelog(&self) -> String {
        let folder = self.package.as_ref().map(|package| &package.folder).or(self.chart.as_ref());
        let folder = folder.map(String::as_str).unwrap_or_default();
        self.name.as_ref().map_or_else(|| "CHANGELOG.md".into(), |_| format!("{folder}/CHANGELOG.md"))
    }

    /// What is wrong with it as one of several, but what it takes two to get wrong.
    fn complaints(&self) -> Vec<Error> {
        let Some(package) = &self.package else { return Vec::new() };
        let (manifest, mut complaints) = (format!("{}/Cargo.toml", package.folder), Vec::new());
        if self.name.is_some() && package.inherits_version {
            complaints.push(
                Error::new(Exit::Workspace, format!("{manifest} takes its version from the workspace"))
                    .because("each product has a version of its own")
                    .remedy(format!("say it in {manifest}: version = \"{}\"", package.version)),
            );
        }
        if self.platforms.is_empty() {
            let table =
                self.name.as_ref().map(|name| format!(", nor has the product `{name}` any")).unwrap_or_default();
            complaints.push(
                Error::new(Exit::Workspace, format!("[workspace.metadata.release.platforms] is empty{table}"))
                    .remedy("name a platform: \"linux/amd64\" = \"x86_64-unknown-linux-gnu\""),
            );
        }
        complaints
    }
}

impl ReleaseTable {
    /// The products, in the order of their names.
    ///
    /// # Errors
    /// All that is wrong with them, at once.
    fn products(self, root: &Path, members: &Members) -> Result<Vec<Product>> {
        let targets = Arc::new(self.targets);
        let (mut products, mut complaints) = (Vec::new(), Vec::new());
        let own = ProductTable {
            package: self.package,
            first_version: self.first_version,
            chart: self.chart,
            platforms: BTreeMap::new(),
        };
        let mut tables: Vec<(Option<String>, ProductTable)> =
            self.products.into_iter().map(|(name, table)| (Some(name), table)).collect();
        if tables.is_empty() {
            tables.push((None, own));
        } else {
            complaints.extend(own.said().map(|key| {
                wrong(&format!("`{key}` is said beside [workspace.metadata.release.products]"))
                    .remedy("move it into the table of the product that it is for")
            }));
        }
        for (name, table) in tables {
            complaints.extend(name.as_deref().and_then(wrong_name));
            match table.product(name, root, members, &self.platforms, &targets) {
                Ok(product) => products.push(product),
                Err(problems) => complaints.extend(problems),
            }
        }
        complaints.extend(products.iter().flat_map(Product::complaints));
        complaints.extend(shared(&products, "package", |product| Some(&product.package.as_ref()?.name)));
        complaints.extend(shared(&products, "chart", |product| product.chart.as_ref()));
        if complaints.is_empty() {
            return Ok(products);
        }
        Err(Error::all("[workspace.metadata.release] in Cargo.toml cannot be used", complaints))
    }
}

impl ProductTable {
    /// The keys that are said.
    fn said(&self) -> impl Iterator<Item = &'static str> + use<> {
        let said = [
            ("package", self.package.is_some()),
            ("first-version", self.first_version.is_some()),
            ("chart", self.chart.is_some()),
        ];
        said.into_iter().filter(|(_, is_said)| *is_said).map(|(key, _)| key)
    }

    fn product(
        self,
        name: Option<String>,
        root: &Path,
        members: &Members,
        platforms: &BTreeMap<Platform, String>,
        targets: &Arc<BTreeMap<String, TargetTable>>,
    ) -> Result<Product, Vec<Error>> {
        let of = name.as_ref().map(|name| format!(" of the product `{name}`")).unwrap_or_default();
        let mut complaints = Vec::new();
        let mut missing = |key: &str| {
            complaints.push(
                wrong(&format!("missing field `{key}`{of}"))
                    .remedy("the README shows [workspace.metadata.release], key by key"),
            );
        };
        if self.first_version.is_none() {
            missing("first-version");
        }
        if self.chart.is_none() && self.package.is_none() {
            missing("package` or `chart");
        }
        let package = self.package.map(|name| members.package(&name)).transpose();
        let (true, Ok(package), Some(first_version)) = (complaints.is_empty(), &package, self.first_version) else {
            complaints.extend(package.err());
            return Err(complaints);
        };
        Ok(Product {
            name,
            root: root.to_owned(),
            package: package.clone(),
            first_version,
            chart: self.chart.map(|chart| chart.trim_end_matches('/').to_owned()),
            platforms: if self.platforms.is_empty() { platforms.clone() } else { self.platforms },
            targets: Arc::clone(targets),
        })
    }
}

fn wrong(what: &str) -> Error {
    Error::new(Exit::Workspace, what)
}

/// What a product cannot be called: it is a part of git tags, of image names and of the command line.
fn wrong_name(name: &str) -> Option<Error> {
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.ends_with('-');
    let why = if !is_plain {
        "a name is lower-case letters, digits and `-`, and begins with a letter"
    } else if RESERVED.contains(&name) {
        "`cargo xtask release` takes that for something else"
    } else {
        return None;
    };
    Some(wrong(&format!("no product can be called `{name}`")).because(why).remedy("give it the name of its chart"))
}

/// A complaint for each thing that two products have.
fn shared<'p>(
    products: &'p [Product],
    key: &'static str,
    thing: impl Fn(&'p Product) -> Option<&'p String>,
) -> Vec<Error> {
    let mut owners: BTreeMap<&String, Vec<&str>> = BTreeMap::new();
    for product in products {
        if let Some(thing) = thing(product) {
            owners.entry(thing).or_default().extend(product.name.as_deref());
        }
    }
    let several = owners.into_iter().filter(|(_, owners)| owners.len() > 1);
    several
        .map(|(thing, owners)| {
            wrong(&format!("several products have the {key} `{thing}`: {}", owners.join(", ")))
                .remedy("give each its own, or make one product of them")
        })
        .collect()
}

#[derive(Deserialize)]
struct RootManifest {
    workspace: Option<WorkspaceTable>,
}

#[derive(Deserialize)]
struct WorkspaceTable {
    #[serde(default)]
    members: Vec<String>,
    #[serde(default)]
    package: Fields,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    release: Option<ReleaseTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ReleaseTable {
    package: Option<String>,
    first_version: Option<Version>,
    chart: Option<String>,
    #[serde(default)]
    products: BTreeMap<String, ProductTable>,
    #[serde(default)]
    platforms: BTreeMap<Platform, String>,
    targets: BTreeMap<String, TargetTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ProductTable {
    package: Option<String>,
    first_version: Option<Version>,
    chart: Option<String>,
    /// Other platforms than those of all products.
    #[serde(default)]
    platforms: BTreeMap<Platform, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct TargetTable {
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

#[derive(Deserialize)]
struct MemberManifest {
    package: Option<Fields>,
}

/// `[package]`, once what it inherits from `[workspace.package]` is filled in.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct PackageTable {
    name: String,
    version: String,
    rust_version: Option<String>,
    description: String,
    license: String,
    repository: String,
    documentation: String,
    authors: Vec<String>,
}

/// A table of which not everything matters here.
type Fields = serde_json::Map<String, serde_json::Value>;

impl Package {
    fn of(mut fields: Fields, folder: String, shared: &Fields) -> Result<Self> {
        let inherits_version = fields.get("version").is_some_and(|version| version["workspace"] == true);
        for (name, value) in &mut fields {
            if value["workspace"] == true {
                *value = shared.get(name).cloned().unwrap_or_default();
            }
        }
        // What the workspace does not give either is not said.
        fields.retain(|_, value| !value.is_null());
        let table: PackageTable = serde_json::from_value(fields.into())
            .context(Exit::Workspace, || format!("{folder}/Cargo.toml cannot be used"))?;
        let PackageTable { name, rust_version, description, license, repository, documentation, .. } = table;
        let vendor = table.authors.into_iter().next().unwrap_or_default();
        let version = Version::parse(&table.version).context(Exit::Workspace, || {
            format!("{folder}/Cargo.toml: the version `{}` is not semver", table.version)
        })?;
        let about = About { description, license, repository, documentation, vendor };
        Ok(Package { name, folder, version, inherits_version, rust_version, about })
    }
}

impl TargetTable {
    /// The same for one of several products, whose name stands where its texts ask for it.
    fn of_product(&self, product: &str) -> Result<Self, (&'static str, &'static str)> {
        if !self.image.contains(PRODUCT) {
            return Err(("image", "each of several products has an image of its own: HOST/PATH/{product}"));
        }
        if self.page == Some(true) {
            return Err(("page", "a page shows one chart, and there are several products"));
        }
        let mut table = TargetTable { image: self.image.replace(PRODUCT, product), page: Some(false), ..self.clone() };
        for identity in table.signers.iter_mut().filter_map(|signer| signer.identity.as_mut()) {
            *identity = identity.replace(PRODUCT, product);
        }
        Ok(table)
    }

    /// The target of that name, for a product.
    fn resolve(&self, name: &str, product: Option<&str>) -> Result<Target> {
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
    /// accepts. Nothing is asked of versions that were published before anything was signed.
    pub fn signs(&self, version: &Version) -> bool {
        let has_signers = !self.is_remote() || !self.signers.is_empty();
        has_signers && self.signed_since.as_ref().is_none_or(|first| version >= first)
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

/// The grammar of a repository name in the OCI distribution specification, section "Pulling manifests".
fn valid_image_path(path: &str) -> bool {
    let valid_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    };
    path.split('/').all(valid_part)
}

/// The manifests of the workspace's members.
struct Members {
    /// By folder.
    found: Vec<(String, Fields)>,
    /// What they may inherit.
    shared: Fields,
}

impl Members {
    fn read(root: &Path, members: &[String], shared: Fields) -> Result<Self> {
        let mut found = Vec::new();
        for folder in member_folders(root, members)? {
            let manifest: Option<MemberManifest> = manifest(root, &format!("{folder}/Cargo.toml"))?;
            found.extend(manifest.and_then(|manifest| manifest.package).map(|table| (folder, table)));
        }
        Ok(Members { found, shared })
    }

    fn package(&self, name: &str) -> Result<Package> {
        let said = |(_, table): &(String, Fields)| {
            table.get("name").and_then(|name| name.as_str()).unwrap_or_default().to_owned()
        };
        if let Some((folder, table)) = self.found.iter().find(|member| said(member) == name) {
            return Package::of(table.clone(), folder.clone(), &self.shared);
        }
        let seen: Vec<String> = self.found.iter().map(said).collect();
        Err(Error::new(Exit::Workspace, format!("the workspace has no package `{name}`"))
            .because("[workspace.metadata.release] names it as `package`")
            .remedy(format!("name one of: {}", seen.join(", "))))
    }
}

fn member_folders(root: &Path, members: &[String]) -> Result<Vec<String>> {
    let mut folders = Vec::new();
    for member in members {
        let Some(parent) = member.strip_suffix("/*") else {
            folders.push(member.clone());
            continue;
        };
        let path = root.join(parent);
        let entries = std::fs::read_dir(&path).map_err(|error| files::unreadable(&path, &error))?;
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        folders.extend(names.map(|name| format!("{parent}/{name}")));
    }
    folders.sort();
    Ok(folders)
}

/// A manifest below a folder, where it is there.
fn manifest<T: serde::de::DeserializeOwned>(folder: &Path, path: &str) -> Result<Option<T>> {
    let Some(bytes) = files::read(&folder.join(path))? else { return Ok(None) };
    let text = String::from_utf8(bytes).context(Exit::Workspace, || format!("{path} is not UTF-8"))?;
    toml_edit::de::from_str(&text).map(Some).map_err(|error| {
        Error::new(Exit::Workspace, format!("{path} cannot be used"))
            .because(error)
            .remedy("the README shows [workspace.metadata.release], key by key")
    })
}
