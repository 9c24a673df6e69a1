//! What is in one platform's image: a CycloneDX 1.5 bill of materials of crates, the C that some of them bring, and what is linked
//! statically. Pure; `crates` reads lists of crates, `native` asks the machine that compiled.
//!
//! A part is named so that a scanner with a maintained source finds its flaws: a crate by its package URL, a distribution's library by
//! that of the source package which it was really built from. What no scanner matches says so (`UNSCANNED`), and is not dressed up as
//! something that one would. The same parts give the same bytes.

pub mod crates;
pub mod native;

use serde_json::{Value, json};

use crate::error::Result;
use crate::oci::{self, Platform};
use crate::sys::time;

/// The property of a part that no scanner matches; its value says why.
pub const UNSCANNED: &str = "unscanned";
/// The property that says under which other part flaws of this one are listed.
pub const LISTED_UNDER: &str = "listed-under";

/// What a bill is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product<'p> {
    /// What people call it.
    pub name: &'p str,
    /// Its version.
    pub version: &'p str,
    /// The image, without a tag: `host/path`.
    pub image: &'p str,
    /// For which platform.
    pub platform: &'p Platform,
    /// The commit's time, in seconds since 1970.
    pub time: i64,
}

impl Product<'_> {
    /// The image's package URL: by it other documents, such as OpenVEX, name the product.
    pub fn purl(&self) -> String {
        let name = self.image.rsplit('/').next().unwrap_or(self.image);
        format!("pkg:oci/{name}?repository_url={}", self.image.replace(':', "%3A").replace('/', "%2F"))
    }
}

/// One part.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// What people call it.
    pub name: String,
    /// Its version; nothing where nobody knows.
    pub version: Option<String>,
    /// Its package URL, where it is a package that has one.
    pub purl: Option<String>,
    /// How the NVD calls it (CPE 2.3).
    pub cpe: Option<String>,
    /// The SHA-256 of what it was made of, in hex.
    pub sha256: Option<String>,
    /// Notes: how it was found, why no scanner matches it.
    pub properties: Vec<(String, String)>,
    /// The `Part::reference` of everything that it brings.
    pub brings: Vec<String>,
}

/// The distribution that libraries were built from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distribution {
    /// As `ID` of os-release gives it: `debian`.
    pub id: String,
    /// As `VERSION_ID` does: `12`.
    pub version: String,
}

impl Part {
    /// By what others refer to it in the same bill.
    pub fn reference(&self) -> String {
        self.purl.clone().unwrap_or_else(|| match &self.version {
            Some(version) => format!("{}@{version}", self.name),
            None => self.name.clone(),
        })
    }

    /// Adds a note.
    #[must_use]
    pub fn noted(mut self, name: &str, value: impl Into<String>) -> Self {
        self.properties.push((name.to_owned(), value.into()));
        self
    }

    fn component(&self) -> Value {
        let mut component = json!({"type": "library", "bom-ref": self.reference(), "name": self.name});
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                component[name] = value;
            }
        };
        set("version", self.version.clone().map(Value::from));
        set("hashes", self.sha256.as_ref().map(|hex| json!([{"alg": "SHA-256", "content": hex}])));
        set("cpe", self.cpe.clone().map(Value::from));
        set("purl", self.purl.clone().map(Value::from));
        let properties = self.properties.iter().map(|(name, value)| json!({"name": name, "value": value}));
        let properties: Vec<Value> = properties.collect();
        set("properties", (!properties.is_empty()).then(|| properties.into()));
        component
    }
}

/// The bill of a product: `parts`, of which `direct` are what it names itself. A scanner matches libraries of a distribution only where the
/// bill names the distribution, though the image holds nothing else of it: its scope says so.
///
/// # Errors
/// The time is no time.
pub fn document(
    product: &Product<'_>,
    parts: &[Part],
    direct: &[String],
    distribution: Option<&Distribution>,
) -> Result<Value> {
    const ROOT: &str = "image";
    let mut parts = parts.to_vec();
    parts.sort();
    parts.dedup();
    let mut components: Vec<Value> = parts.iter().map(Part::component).collect();
    components.extend(distribution.map(|it| {
        json!({"type": "operating-system", "bom-ref": "distribution", "name": it.id, "version": it.version, "scope": "excluded",
            "description": "what native libraries were built from; nothing else of it is in the image"})
    }));
    let mut dependencies = vec![json!({"ref": ROOT, "dependsOn": sorted(direct)})];
    dependencies.extend(parts.iter().map(|part| json!({"ref": part.reference(), "dependsOn": sorted(&part.brings)})));
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time::rfc3339(product.time)?,
            "component": {
                "type": "container",
                "bom-ref": ROOT,
                "name": product.name,
                "version": product.version,
                "purl": product.purl(),
                "properties": [{"name": "platform", "value": product.platform.to_string()}],
            },
        },
        "components": components,
        "dependencies": dependencies,
    }))
}

/// The parts that no scanner matches, and why: for people.
pub fn unscanned(parts: &[Part]) -> Vec<String> {
    let reason = |part: &Part| {
        let (_, why) = part.properties.iter().find(|(name, _)| name == UNSCANNED)?;
        Some(format!("{}: {why}", part.reference()))
    };
    parts.iter().filter_map(reason).collect()
}

/// The bytes of a bill.
///
/// # Errors
/// Never.
pub fn bytes(document: &Value) -> Result<Vec<u8>> {
    oci::json(document)
}

fn sorted(references: &[String]) -> Vec<String> {
    let mut references = references.to_vec();
    references.sort();
    references.dedup();
    references
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Vec<Part> {
        let purl = |name: &str| Some(format!("pkg:cargo/{name}@1.0.0"));
        let version = Some("1.0.0".to_owned());
        vec![
            Part { name: "b".into(), version: version.clone(), purl: purl("b"), ..Part::default() },
            Part {
                name: "a".into(),
                version,
                purl: purl("a"),
                sha256: Some("00".into()),
                brings: vec!["pkg:cargo/b@1.0.0".into(), "c".into()],
                ..Part::default()
            },
            Part { name: "c".into(), ..Part::default() }.noted(UNSCANNED, "nobody knows it"),
        ]
    }

    #[test]
    fn a_bill_is_the_same_bytes_in_whatever_order_its_parts_were_found() {
        let platform = "linux/amd64".to_owned().try_into().unwrap();
        let image = "registry.example.com:5000/team/demo";
        let product = Product { name: "demo", version: "1.2.3", image, platform: &platform, time: 7 };
        let direct = ["pkg:cargo/a@1.0.0".to_owned()];
        let distribution = Distribution { id: "debian".into(), version: "12".into() };
        let bill = |parts: &[Part]| bytes(&document(&product, parts, &direct, Some(&distribution)).unwrap()).unwrap();
        let mut turned = parts();
        turned.reverse();
        turned.extend(parts());
        let text = bill(&parts());
        assert_eq!(text, bill(&turned));
        let bill: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
        assert_eq!(bill["metadata"]["timestamp"], "1970-01-01T00:00:07Z");
        let purl = "pkg:oci/demo?repository_url=registry.example.com%3A5000%2Fteam%2Fdemo";
        assert_eq!(bill["metadata"]["component"]["purl"], purl);
        let names: Vec<&str> =
            bill["components"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a", "b", "c", "debian"]);
        assert_eq!(bill["components"][0]["hashes"][0]["content"], "00");
        assert_eq!(bill["components"][2]["properties"][0]["name"], "unscanned");
        assert_eq!(bill["dependencies"][1]["dependsOn"], json!(["c", "pkg:cargo/b@1.0.0"]));
        assert_eq!(unscanned(&parts()), ["c: nobody knows it"]);
    }
}
