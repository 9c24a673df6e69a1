//! `[workspace.metadata.release]` of the root Cargo.toml, as typed data.
//!
//! Everything that belongs to a product is in that table, and nothing of it is in this crate's code: another operator adopts
//! the tool by writing a table of its own. Unknown keys are errors, so that a typo is not a silent default.
//!
//! One product is described by the table itself; several have a table each, below `products`, and names. Whatever is done is done for one
//! `Product`, which knows its root and its targets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use semver::Version;
use serde::Deserialize;

use crate::error::{Context, Error, Exit, Result};
use crate::oci::Platform;
use crate::sys::files;

mod package;
mod target;

pub use package::{About, Package};
use package::{Fields, Members};
use target::TargetTable;
pub use target::{
    Builder, Endpoints, Location, Remote, Scan, SignerTable, SigningTable, Target, is_candidate_of, workflow_repository,
};

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
    /// The charts of all products, by their names; nothing where there is one product, which has none.
    pub all_charts: Arc<[String]>,
    targets: Arc<BTreeMap<String, TargetTable>>,
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

    /// A folder, or a file, for what is made for all products.
    pub fn work(&self, name: &str) -> PathBuf {
        self.root.join("target/xtask").join(name)
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
            let charts = products.iter().filter(|product| product.chart.is_some());
            let charts: Arc<[String]> = charts.filter_map(|product| product.name.clone()).collect();
            products.iter_mut().for_each(|product| product.all_charts = Arc::clone(&charts));
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
            all_charts: Arc::default(),
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
