//! Which known vulnerabilities do not matter in an image, for other people's scanners: an OpenVEX document of the waivers that say "not
//! affected". Pure. A waiver that only asks for time is nobody else's business.

use serde_json::{Value, json};

use crate::error::Result;
use crate::image::waivers::Waiver;
use crate::oci::Digest;
use crate::sys::time;
use crate::trust::statement;

/// What such a document is about, and who says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About<'a> {
    /// The image's package URL, as the bill of materials has it.
    pub product: &'a str,
    /// Who answers for it.
    pub author: &'a str,
    /// Where the sources are; the document's own name begins so.
    pub repository: &'a str,
    /// The commit's time, in seconds since 1970.
    pub time: i64,
}

/// A waiver, and the package URLs of the parts in which its vulnerability was found.
pub type Waived<'w> = (&'w Waiver, Vec<String>);

/// The document; nothing where no waiver says "not affected".
///
/// # Errors
/// The time is no time.
pub fn document(waived: &[Waived<'_>], about: &About<'_>) -> Result<Option<Value>> {
    let mut statements: Vec<Value> = waived.iter().filter_map(|waived| statement(waived, about.product)).collect();
    if statements.is_empty() {
        return Ok(None);
    }
    statements.sort_by_key(|statement| statement["vulnerability"]["name"].as_str().map(str::to_owned));
    let content = Digest::of(json!([statements, about.product]).to_string().as_bytes());
    Ok(Some(json!({
        "@context": statement::predicate::VEX,
        "@id": format!("{}#vex-{}", about.repository, &content.hex()[..16]),
        "author": about.author,
        "timestamp": time::rfc3339(about.time)?,
        "version": 1,
        "statements": statements,
    })))
}

/// The part is not affected in this product: what it is elsewhere is not said.
fn statement((waiver, parts): &Waived<'_>, product: &str) -> Option<Value> {
    let justification = waiver.not_affected.as_ref()?;
    let mut named = json!({"@id": product, "identifiers": {"purl": product}});
    if !parts.is_empty() {
        let parts = parts.iter().map(|part| json!({"@id": part, "identifiers": {"purl": part}}));
        named["subcomponents"] = parts.collect::<Vec<_>>().into();
    }
    Some(json!({
        "vulnerability": {"name": waiver.id},
        "products": [named],
        "status": "not_affected",
        "justification": justification,
        "impact_statement": waiver.reason,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiver(id: &str, not_affected: Option<&str>) -> Waiver {
        Waiver {
            id: id.into(),
            reason: "never called".into(),
            owner: "ann".into(),
            expires: "2026-03-01".parse().unwrap(),
            not_affected: not_affected.map(str::to_owned),
        }
    }

    #[test]
    fn only_waivers_that_say_not_affected_are_told_to_others_and_in_one_order() {
        let about = About { product: "pkg:oci/demo", author: "us", repository: "https://r", time: 7 };
        let why = "vulnerable_code_not_in_execute_path";
        let waivers = [waiver("CVE-2", Some(why)), waiver("CVE-3", None), waiver("CVE-1", Some(why))];
        let waived: Vec<Waived<'_>> = waivers.iter().map(|waiver| (waiver, vec!["pkg:cargo/a@1".into()])).collect();
        let made = document(&waived, &about).unwrap().unwrap();
        let mut turned = waived.clone();
        turned.reverse();
        assert_eq!(document(&turned, &about).unwrap().unwrap(), made);
        let names: Vec<&Value> =
            made["statements"].as_array().unwrap().iter().map(|it| &it["vulnerability"]["name"]).collect();
        assert_eq!(names, ["CVE-1", "CVE-2"]);
        assert_eq!(made["statements"][0]["justification"], why);
        let product = &made["statements"][0]["products"][0];
        assert_eq!(
            (&product["@id"], &product["subcomponents"][0]["@id"]),
            (&"pkg:oci/demo".into(), &"pkg:cargo/a@1".into())
        );
        assert_eq!(made["timestamp"], "1970-01-01T00:00:07Z");
        assert_eq!(document(&waived[1..2], &about).unwrap(), None);
    }
}
