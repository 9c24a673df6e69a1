//! The released crate, as the manifests of the workspace's members say.

use std::path::Path;

use semver::Version;
use serde::Deserialize;

use super::manifest;
use crate::error::{Context, Error, Exit, Result};
use crate::sys::files;

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
    pub(super) inherits_version: bool,
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

/// The manifests of the workspace's members.
pub(super) struct Members {
    /// By folder.
    found: Vec<(String, Fields)>,
    /// What they may inherit.
    shared: Fields,
}

impl Members {
    pub(super) fn read(root: &Path, members: &[String], shared: Fields) -> Result<Self> {
        let mut found = Vec::new();
        for folder in member_folders(root, members)? {
            let manifest: Option<MemberManifest> = manifest(root, &format!("{folder}/Cargo.toml"))?;
            found.extend(manifest.and_then(|manifest| manifest.package).map(|table| (folder, table)));
        }
        Ok(Members { found, shared })
    }

    pub(super) fn package(&self, name: &str) -> Result<Package> {
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
pub(super) type Fields = serde_json::Map<String, serde_json::Value>;
