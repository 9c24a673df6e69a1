//! Critical findings that a release may have for a while: who answers for each, why, and until when. Pure.
//!
//! A waiver is a promise that somebody looks again soon, so it is worth nothing without an owner, a reason, and a last day that is
//! near. Whatever is less than that, or not understood, makes the whole file an error: a gate must not be opened by a typo.

use std::path::Path;

use chrono::{Days, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use toml_edit::{DocumentMut, Item, Table, Value};

use crate::error::{Error, Exit, Result};
use crate::oci::{Digest, Platform};
use crate::sys::files;

/// The file in the workspace root that is read where none is named.
pub const FILE: &str = "waivers.toml";
/// A waiver that would last longer than this is not one.
const DAYS_MAX: u64 = 90;
const KEYS: [&str; 6] = ["id", "reason", "owner", "expires", "status", "justification"];
/// The one status that a waiver may have: without it, it asks for time.
const NOT_AFFECTED: &str = "not affected";
/// Why a product may not be affected, in the words of OpenVEX.
const JUSTIFICATIONS: [&str; 5] = [
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
];

/// One vulnerability that is known and tolerated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// The vulnerability, exactly as the scanner names it.
    pub id: String,
    /// Why a release may have it.
    pub reason: String,
    /// Who looks at it again.
    pub owner: String,
    /// The last day (in UTC) that it holds.
    pub expires: NaiveDate,
    /// Why the vulnerability does not matter here, where that is the reason; others are told so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_affected: Option<String>,
}

/// The waivers of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waivers {
    /// The digest of the file; nothing where there is none.
    pub digest: Option<Digest>,
    list: Vec<Waiver>,
}

/// A critical vulnerability in one platform's image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where it was found.
    pub platform: Platform,
    /// The vulnerability.
    pub id: String,
    /// The crate that has it.
    pub package: String,
    /// The crate's version in the image.
    pub installed: String,
    /// The crate's version that has it no more, where there is one.
    pub fixed: Option<String>,
}

/// A finding that nobody waived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Open {
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// The same for people.
    #[serde(skip)]
    pub shown: String,
}

/// What waivers make of findings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What stops the release.
    pub open: Vec<Open>,
    /// The waivers that let a finding pass.
    pub used: Vec<Waiver>,
    /// What should be said of the file, though it stops nothing.
    pub warnings: Vec<String>,
}

/// The day that it is, in UTC: the same on every machine.
pub fn today() -> NaiveDate {
    Utc::now().date_naive()
}

impl Finding {
    fn shown(&self) -> String {
        let Finding { platform, id, package, installed, .. } = self;
        let fixed = self.fixed.as_ref().map_or_else(|| "not fixed yet".into(), |version| format!("fixed in {version}"));
        format!("{platform}: {id} in {package} {installed} ({fixed})")
    }
}

impl Waiver {
    /// Whether its last day is over.
    pub fn is_over(&self, today: NaiveDate) -> bool {
        self.expires < today
    }
}

impl Waivers {
    /// Those of a workspace: of the file that was named, or else of the one in its root, which need not be there.
    ///
    /// # Errors
    /// There is no file of that name; anything in it is missing, unknown or too long.
    pub fn read(root: &Path, named: Option<&Path>) -> Result<Self> {
        let path = named.map_or_else(|| root.join(FILE), Path::to_owned);
        match files::read(&path)? {
            Some(bytes) => Waivers::parse(&path.display().to_string(), &bytes, today()),
            None if named.is_none() => Ok(Waivers::default()),
            None => Err(Error::new(Exit::Workspace, format!("there is no file of waivers at {}", path.display()))),
        }
    }

    /// Reads the content of a file called `name`.
    ///
    /// # Errors
    /// Anything in it is missing, unknown or too long; every problem is listed.
    pub fn parse(name: &str, bytes: &[u8], today: NaiveDate) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(Exit::Workspace, format!("{name} cannot be used")).because(why).remedy(format!(
                "each entry is a table [[waiver]] with id, reason, owner, and expires, a date at most {DAYS_MAX} days from now; \
                 status and justification where it does not matter here"
            ))
        };
        let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| wrong(error.to_string()))?;
        let mut problems = Vec::new();
        let list = entries(&document, today, &mut problems);
        if problems.is_empty() {
            return Ok(Waivers { digest: Some(Digest::of(bytes)), list });
        }
        Err(wrong(problems.join("\n")))
    }

    /// Decides which findings stop a release.
    pub fn judge(&self, findings: &[Finding], today: NaiveDate) -> Judgement {
        let mut judgement = Judgement::default();
        for finding in findings {
            let open = |more: &str| Open { finding: finding.clone(), shown: finding.shown() + more };
            match self.list.iter().find(|waiver| waiver.id == finding.id) {
                None => judgement.open.push(open("")),
                Some(waiver) if waiver.is_over(today) => {
                    let (expires, owner) = (waiver.expires, &waiver.owner);
                    judgement.open.push(open(&format!("; its waiver expired on {expires} (owner: {owner})")));
                }
                Some(waiver) if judgement.used.contains(waiver) => {}
                Some(waiver) => judgement.used.push(waiver.clone()),
            }
        }
        let idle = self.list.iter().filter(|waiver| findings.iter().all(|finding| finding.id != waiver.id));
        judgement.warnings =
            idle.map(|waiver| format!("the waiver for {} matches no critical finding: remove it", waiver.id)).collect();
        judgement
    }
}

fn entries(document: &DocumentMut, today: NaiveDate, problems: &mut Vec<String>) -> Vec<Waiver> {
    let mut list: Vec<Waiver> = Vec::new();
    for (key, item) in document.iter() {
        let Some(tables) = item.as_array_of_tables().filter(|_| key == "waiver") else {
            problems.push(format!("`{key}` is not known: only tables [[waiver]] are"));
            continue;
        };
        for (number, table) in tables.iter().enumerate() {
            let name = table.get("id").and_then(Item::as_str).map_or_else(String::new, |id| format!(" ({id})"));
            let name = format!("waiver {}{name}", number + 1);
            match entry(table, today) {
                Ok(waiver) if list.iter().any(|known| known.id == waiver.id) => {
                    problems.push(format!("{name}: the same id again"));
                }
                Ok(waiver) => list.push(waiver),
                Err(complaints) => {
                    problems.extend(complaints.into_iter().map(|complaint| format!("{name}: {complaint}")));
                }
            }
        }
    }
    list
}

fn entry(table: &Table, today: NaiveDate) -> Result<Waiver, Vec<String>> {
    let unknown = table.iter().map(|(key, _)| key).filter(|key| !KEYS.contains(key));
    let mut complaints: Vec<String> = unknown.map(|key| format!("`{key}` is not known")).collect();
    let [id, reason, owner] = ["id", "reason", "owner"].map(|key| text(table, key));
    let id = id.and_then(exact);
    let (expires, not_affected) = (last_day(table, today), not_affected(table));
    match (id, reason, owner, expires, not_affected) {
        (Ok(id), Ok(reason), Ok(owner), Ok(expires), Ok(not_affected)) if complaints.is_empty() => {
            Ok(Waiver { id, reason, owner, expires, not_affected })
        }
        (id, reason, owner, expires, not_affected) => {
            let all = [id.err(), reason.err(), owner.err(), expires.err(), not_affected.err()];
            complaints.extend(all.into_iter().flatten());
            Err(complaints)
        }
    }
}

/// Whoever says "not affected" says why in words that scanners know.
fn not_affected(table: &Table) -> Result<Option<String>, String> {
    match (table.contains_key("status"), table.contains_key("justification")) {
        (false, false) => return Ok(None),
        (false, true) => return Err(format!("`justification` needs `status = \"{NOT_AFFECTED}\"`")),
        (true, _) => {}
    }
    if text(table, "status")? != NOT_AFFECTED {
        return Err(format!("`status` can only be \"{NOT_AFFECTED}\": leave it out where the waiver asks for time"));
    }
    let justification = text(table, "justification")?;
    if JUSTIFICATIONS.contains(&justification.as_str()) {
        Ok(Some(justification))
    } else {
        Err(format!("`justification` is none of {}", JUSTIFICATIONS.join(", ")))
    }
}

fn text(table: &Table, key: &str) -> Result<String, String> {
    let item = table.get(key).ok_or_else(|| format!("`{key}` is missing"))?;
    let text = item.as_str().ok_or_else(|| format!("`{key}` is not a text"))?.trim();
    if text.is_empty() { Err(format!("`{key}` is empty")) } else { Ok(text.to_owned()) }
}

/// A pattern would waive what nobody has looked at.
fn exact(id: String) -> Result<String, String> {
    let plain = id.chars().all(|character| character.is_ascii_alphanumeric() || character == '-');
    if plain { Ok(id) } else { Err("`id` is not one vulnerability, such as CVE-2026-0001".into()) }
}

fn last_day(table: &Table, today: NaiveDate) -> Result<NaiveDate, String> {
    let item = table.get("expires").ok_or("`expires` is missing")?;
    let date = item.as_value().and_then(Value::as_datetime).filter(|moment| moment.time.is_none());
    let date =
        date.and_then(|moment| moment.date).ok_or("`expires` is not a date: write it as 2026-12-31, no quotes")?;
    let date = NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into())
        .ok_or_else(|| format!("`expires`: there is no {date}"))?;
    let latest = today + Days::new(DAYS_MAX);
    if date > latest {
        return Err(format!("`expires` is {date}, more than {DAYS_MAX} days away: {latest} is the latest"));
    }
    Ok(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: NaiveDate = day(1);
    const GOOD: &str = "[[waiver]]\nid = \"CVE-1\"\nreason = \"never called\"\nowner = \"ann\"\nexpires = 2026-03-02\n";

    /// Of March 2026.
    const fn day(number: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 3, number).unwrap()
    }

    fn parse(text: &str) -> Result<Waivers> {
        Waivers::parse("waivers.toml", text.as_bytes(), TODAY)
    }

    fn problems(text: &str) -> String {
        let error = parse(text).unwrap_err();
        assert_eq!(error.exit, Exit::Workspace);
        error.why.unwrap()
    }

    fn finding(platform: &str, id: &str) -> Finding {
        let platform = platform.to_owned().try_into().unwrap();
        Finding { platform, id: id.into(), package: "a".into(), installed: "1.0.0".into(), fixed: None }
    }

    #[test]
    fn i9_a_waiver_lets_its_finding_pass_on_every_platform_and_no_other_one() {
        let findings =
            [finding("linux/amd64", "CVE-1"), finding("linux/arm64", "CVE-1"), finding("linux/arm64", "CVE-10")];
        let judgement = parse(GOOD).unwrap().judge(&findings, TODAY);
        let open: Vec<&str> = judgement.open.iter().map(|open| open.shown.as_str()).collect();
        assert_eq!(open, ["linux/arm64: CVE-10 in a 1.0.0 (not fixed yet)"]);
        assert_eq!(judgement.used.len(), 1);
        assert_eq!(judgement.warnings, [""; 0]);
        let without = Waivers::default().judge(&findings, TODAY);
        assert_eq!((without.open.len(), without.used.len()), (3, 0));
    }

    #[test]
    fn i9_a_waiver_holds_through_its_last_day_and_then_its_finding_stops_the_release_again() {
        let waivers = parse(GOOD).unwrap();
        let findings = [finding("linux/amd64", "CVE-1")];
        let on = |number| waivers.judge(&findings, day(number));
        assert!(on(2).open.is_empty());
        let over = on(3);
        assert!(over.open[0].shown.contains("its waiver expired on 2026-03-02 (owner: ann)"), "{:?}", over.open);
        assert!(over.used.is_empty() && over.warnings.is_empty(), "{over:?}");
    }

    #[test]
    fn a_waiver_that_matches_nothing_is_named() {
        let judgement = parse(GOOD).unwrap().judge(&[finding("linux/amd64", "CVE-2")], TODAY);
        assert!(judgement.warnings[0].contains("CVE-1"), "{:?}", judgement.warnings);
        assert!(judgement.used.is_empty());
    }

    #[test]
    fn i9_a_waiver_lasts_90_days_at_most() {
        let until = |day: &str| parse(&GOOD.replace("2026-03-02", day));
        assert!(until("2026-05-30").is_ok());
        assert!(until("2026-05-31").unwrap_err().why.unwrap().contains("2026-05-30 is the latest"));
        assert!(until("2020-01-01").is_ok(), "one that is over is not an error of the file");
    }

    #[test]
    fn i9_every_problem_of_the_file_is_listed_at_once() {
        let text = "version = 1\n[[waiver]]\nid = \"CVE-*\"\nreason = \" \"\nuntil = 1\n\
                    [[waiver]]\nid = \"CVE-2\"\nreason = 3\nowner = \"b\"\nexpires = \"2026-03-02\"\n\
                    [[waiver]]\nid = \"CVE-3\"\nreason = \"r\"\nowner = \"b\"\nexpires = 2027-03-02\n";
        let problems = problems(text);
        for part in [
            "`version` is not known",
            "waiver 1 (CVE-*): `until` is not known",
            "waiver 1 (CVE-*): `id` is not one vulnerability",
            "waiver 1 (CVE-*): `reason` is empty",
            "waiver 1 (CVE-*): `owner` is missing",
            "waiver 1 (CVE-*): `expires` is missing",
            "waiver 2 (CVE-2): `reason` is not a text",
            "waiver 2 (CVE-2): `expires` is not a date",
            "waiver 3 (CVE-3): `expires` is 2027-03-02, more than 90 days away",
        ] {
            assert!(problems.contains(part), "{part}\n{problems}");
        }
        assert_eq!(problems.lines().count(), 9, "{problems}");
    }

    #[test]
    fn a_waiver_that_says_not_affected_says_why_in_words_that_scanners_know() {
        let of = |lines: &str| parse(&format!("{GOOD}{lines}"));
        let good = of("status = \"not affected\"\njustification = \"component_not_present\"\n").unwrap();
        assert_eq!(good.list[0].not_affected.as_deref(), Some("component_not_present"));
        assert_eq!(parse(GOOD).unwrap().list[0].not_affected, None);
        let why = |lines: &str| of(lines).unwrap_err().why.unwrap();
        assert!(why("status = \"not affected\"\n").contains("`justification` is missing"));
        assert!(why("status = \"fixed\"\njustification = \"component_not_present\"\n").contains("can only be"));
        assert!(why("status = \"not affected\"\njustification = \"trust me\"\n").contains("is none of"));
        assert!(why("justification = \"component_not_present\"\n").contains("needs `status"));
    }

    #[test]
    fn a_file_that_is_no_list_of_waivers_is_an_error() {
        assert!(problems(&format!("{GOOD}{GOOD}")).contains("the same id again"));
        assert!(problems("waiver = \"CVE-1\"").contains("only tables [[waiver]]"));
        assert!(problems("[waiver]\nid = \"CVE-1\"").contains("only tables [[waiver]]"));
        assert!(problems(&GOOD.replace("2026-03-02", "2026-03-02T00:00:00Z")).contains("not a date"));
        assert!(problems("[[waiver").contains("TOML"));
        assert!(Waivers::parse("w", b"\xff", TODAY).is_err());
        let empty = parse("# none\n").unwrap();
        assert_eq!(empty.digest, Some(Digest::of(b"# none\n")));
    }
}
