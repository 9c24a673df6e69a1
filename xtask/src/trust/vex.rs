//! Which known vulnerabilities do not matter in an image, for other people's scanners: an OpenVEX document of the waivers that say "not
//! affected". Pure. A waiver that only asks for time is nobody else's business.

use serde_json::{Value, json};

use crate::error::Result;
use crate::image::layout::Digest;
use crate::image::waivers::Waiver;
use crate::moment;
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

/// The document; nothing where no waiver says "not affected".
///
/// # Errors
/// The time is no time.
pub fn document(waivers: &[Waiver], about: &About<'_>) -> Result<Option<Value>> {
    let mut statements: Vec<Value> = waivers.iter().filter_map(|waiver| statement(waiver, about.product)).collect();
    if statements.is_empty() {
        return Ok(None);
    }
    statements.sort_by_key(|statement| statement["vulnerability"]["name"].as_str().map(str::to_owned));
    let content = Digest::of(json!([statements, about.product]).to_string().as_bytes());
    Ok(Some(json!({
        "@context": statement::predicate::VEX,
        "@id": format!("{}#vex-{}", about.repository, &content.hex()[..16]),
        "author": about.author,
        "timestamp": moment::rfc3339(about.time)?,
        "version": 1,
        "statements": statements,
    })))
}

fn statement(waiver: &Waiver, product: &str) -> Option<Value> {
    let justification = waiver.not_affected.as_ref()?;
    Some(json!({
        "vulnerability": {"name": waiver.id},
        "products": [{"@id": product, "identifiers": {"purl": product}}],
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
            expires: jiff::civil::date(2026, 3, 1),
            not_affected: not_affected.map(str::to_owned),
        }
    }

    #[test]
    fn only_waivers_that_say_not_affected_are_told_to_others_and_in_one_order() {
        let about = About { product: "pkg:oci/demo", author: "us", repository: "https://r", time: 7 };
        let why = Some("vulnerable_code_not_in_execute_path");
        let waivers = [waiver("CVE-2", why), waiver("CVE-3", None), waiver("CVE-1", why)];
        let document = super::document(&waivers, &about).unwrap().unwrap();
        let mut turned = waivers.to_vec();
        turned.reverse();
        assert_eq!(super::document(&turned, &about).unwrap().unwrap(), document);
        let names: Vec<&Value> =
            document["statements"].as_array().unwrap().iter().map(|it| &it["vulnerability"]["name"]).collect();
        assert_eq!(names, ["CVE-1", "CVE-2"]);
        assert_eq!(document["statements"][0]["justification"], why.unwrap());
        assert_eq!(document["timestamp"], "1970-01-01T00:00:07Z");
        assert_eq!(super::document(&waivers[1..2], &about).unwrap(), None);
    }
}
