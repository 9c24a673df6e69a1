//! `Chart.yaml` as data: the fields that Helm knows, in Helm's order, as they appear in an index entry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::chart::yaml;
use crate::error::{Error, Exit, Result};
use crate::sys::files;

/// The name of the chart in a folder, whatever else is wrong there.
///
/// # Errors
/// There is no `Chart.yaml` that gives a name.
pub fn name_in(folder: &Path) -> Result<String> {
    let path = folder.join("Chart.yaml");
    let unnamed = || Error::new(Exit::Workspace, format!("{} does not give the chart's name", path.display()));
    let bytes = files::read(&path)?.ok_or_else(unnamed)?;
    ChartManifest::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|error| unnamed().because(error))
        .map(|chart| chart.name)
}

/// What the chart in a folder says of itself.
///
/// # Errors
/// There is no `Chart.yaml` that can be read.
pub fn in_folder(folder: &Path) -> Result<ChartManifest> {
    let text = files::read(&folder.join("Chart.yaml"))?.unwrap_or_default();
    ChartManifest::parse(&String::from_utf8_lossy(&text))
}

/// A chart's own description. Fields that Helm does not know are dropped, as Helm drops them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChartManifest {
    /// The chart's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// A web page about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Where the sources are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// The chart's version, semver.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// One line on what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Who looks after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintainers: Vec<Maintainer>,
    /// The URL of a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// `v2`.
    #[serde(default)]
    pub api_version: String,
    /// When a parent chart uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Groups that a parent chart switches together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
    /// The version of what it installs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    /// Whether it should not be used any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deprecated: bool,
    /// Notes for tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Which clusters it can be installed into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_version: Option<String>,
    /// Charts that it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
    /// `application` or `library`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// Somebody who looks after a chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Maintainer {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    email: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
}

/// A chart that another one needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    // The one field of these that Helm always writes.
    repository: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    condition: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    enabled: bool,
    #[serde(rename = "import-values", skip_serializing_if = "Vec::is_empty")]
    import_values: Vec<Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    alias: String,
}

impl ChartManifest {
    /// Reads a `Chart.yaml`.
    ///
    /// # Errors
    /// It is not YAML, a field has the wrong type, name or version is missing, or it is not of `apiVersion: v2`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(Exit::Workspace, "Chart.yaml cannot be used")
                .because(why)
                .remedy("`helm lint --strict` shows where; text that looks like a number needs quotes")
        };
        let json = yaml::to_json(text).map_err(wrong)?;
        if !json.starts_with('{') {
            return Err(wrong("it is not a map".into()));
        }
        let mut fields: Value = serde_json::from_str(&json).map_err(|error| wrong(error.to_string()))?;
        as_helm_reads(&mut fields);
        let manifest: ChartManifest = serde_json::from_value(fields).map_err(|error| wrong(error.to_string()))?;
        if manifest.api_version != "v2" {
            return Err(wrong(format!("apiVersion is `{}`: only v2 is packaged", manifest.api_version)));
        }
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if manifest.name.is_empty() || !plain(&manifest.name) {
            return Err(wrong(format!("the name is `{}`: say letters, digits, `.`, `_` and `-`", manifest.name)));
        }
        Version::parse(&manifest.version)
            .map_err(|error| wrong(format!("the version `{}` is not semver ({error})", manifest.version)))?;
        if !matches!(manifest.kind.as_deref(), None | Some("application" | "library")) {
            return Err(wrong("the type is neither `application` nor `library`".into()));
        }
        manifest.check_dependencies().map_err(wrong)?;
        Ok(manifest)
    }

    fn check_dependencies(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for dependency in &self.dependencies {
            let plain = |alias: &str| alias.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
            if !plain(&dependency.alias) {
                return Err(format!("the alias is `{}`: say letters, digits, `_` and `-`", dependency.alias));
            }
            let name = if dependency.alias.is_empty() { &dependency.name } else { &dependency.alias };
            if !names.insert(name) {
                return Err(format!("two dependencies are called `{name}`: give one an alias"));
            }
        }
        Ok(())
    }

    /// The name of the chart's archive: `NAME-VERSION.tgz`.
    pub fn archive_name(&self) -> String {
        format!("{}-{}.tgz", self.name, self.version)
    }
}

/// A field without a value is one that is not there, and outside of annotations a text is one line of printable characters.
fn as_helm_reads(fields: &mut Value) {
    for (name, field) in fields.as_object_mut().into_iter().flatten() {
        match field {
            Value::Object(texts) if name == "annotations" => {
                texts.values_mut().filter(|text| text.is_null()).for_each(|text| *text = "".into());
            }
            field => tidy(field),
        }
    }
    drop_empty(fields);
}

fn tidy(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            let kept = text.chars().filter(|c| c.is_whitespace() || !c.is_control());
            *text = kept.map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        Value::Object(members) => {
            members.values_mut().for_each(tidy);
            drop_empty(value);
        }
        _ => {}
    }
}

fn drop_empty(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, member| !member.is_null() && member.as_str() != Some(""));
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this shape")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_yaml_that_cannot_be_used_says_why() {
        let table = [
            ("", "no document"),
            ("apiVersion: v1\nname: a\nversion: 1.0.0\n", "only v2"),
            ("apiVersion: v2\nname: a\nversion: one\n", "not semver"),
            ("apiVersion: v2\nversion: 1.0.0\n", "name is"),
            ("apiVersion: v2\nname: ../a\nversion: 1.0.0\n", "name is"),
            ("apiVersion: v2\nname: a\nversion: 1.0\n", "string"),
            ("apiVersion: v2\nname: a\nversion: 1.0.0\nappVersion: 1\n", "string"),
            ("apiVersion: v2\nname: a\nversion: 1.0.0\nannotations: {a: true}\n", "string"),
            ("{", "parsing a node"),
            ("- a\n", "not a map"),
        ];
        for (text, expected) in table {
            let error = ChartManifest::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?} gives {error}");
        }
    }
}
