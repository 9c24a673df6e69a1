//! What is known by today of images that users get, and what a tracker of issues is told of it.
//!
//! A release scans what it publishes; most of what is wrong with that becomes known later. What users can install and is supported is
//! looked into again and again, as they get it: by the digest that the chart names, without credentials. What goes wrong with one version
//! keeps nobody from looking into the others, but is never taken for a clean scan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use semver::Version;
use serde::Serialize;

use crate::error::{Context, Error, Exit, Result};
use crate::image::scan::{self, Scanner};
use crate::image::waivers::{self, Finding, Judgement, Open, Waiver, Waivers};
use crate::oci::Digest;
use crate::release::destination::Destination;
use crate::release::{verify, version};
use crate::sys::files;
use crate::ui;

/// Where the report is, in the folder of the scanner's reports.
const REPORT: &str = "report.json";
/// What every marker begins with.
const MARKER: &str = "<!-- scan: ";

/// What scans of published images take.
pub struct Scans {
    /// What may be found.
    pub waivers: Waivers,
    /// What finds it.
    pub scanner: Scanner,
    /// Where reports go: a folder for each version, in one for each of several products.
    pub folder: PathBuf,
    /// Whether it is told of every product that has an image.
    pub is_whole: bool,
}

/// A product whose images are scanned.
pub struct Subject {
    /// Where they are.
    pub destination: Destination,
    /// The crate that each has to be made of.
    pub package: String,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The scanner and its database.
    pub scanner: String,
    /// Each version that was looked into, of each product the newest first.
    pub versions: Vec<Scanned>,
    /// What a tracker is told; nothing where versions were named, and others were left out.
    pub issues: Vec<Issue>,
    /// Whether all that is supported was looked into, so that an issue of another finding is over.
    pub complete: bool,
    /// What such an issue is told.
    pub over: String,
}

/// What was found in one version.
#[derive(Debug, Default, Serialize)]
pub struct Scanned {
    /// The product, where it is one of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The version.
    pub version: String,
    /// The image; nothing where it could not be had.
    pub digest: Option<Digest>,
    /// Critical vulnerabilities that nobody waived.
    pub findings: Vec<Open>,
    /// The waivers that let one pass.
    pub waived: Vec<Waiver>,
    /// Why it was not looked into.
    pub error: Option<Error>,
}

/// What a tracker is told of a finding.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// What the text of this finding's issue contains, and that of no other, whatever people call it.
    pub marker: String,
    /// What it is called at first.
    pub title: String,
    /// What is known of it by today.
    pub body: String,
}

impl Scans {
    /// Scans these versions of a product, or, where there are none, those of all products that are supported.
    ///
    /// # Errors
    /// What users see listed cannot be read, or does not list one of them.
    pub fn run(&self, subjects: &[Subject], named: &[Version]) -> Result<Report> {
        files::remove(&self.folder)?;
        let mut versions = Vec::new();
        for subject in subjects {
            match self.scan_all(subject, named) {
                Ok(scanned) => versions.extend(scanned),
                // Of several products, one that users do not get leaves the others to be scanned.
                Err(error) if self.is_whole && subjects.len() > 1 => {
                    let product = subject.destination.target.product.clone();
                    versions.push(Scanned { product, error: Some(error), ..Scanned::default() });
                }
                Err(error) => return Err(error),
            }
        }
        if versions.is_empty() && !subjects.is_empty() {
            ui::note("Unreleased", "users see no stable version listed yet");
        }
        let all_scanned = !versions.is_empty() && versions.iter().all(|scanned| scanned.error.is_none());
        let names = versions.iter().map(Scanned::name).collect::<Vec<_>>().join(", ");
        let report = Report {
            scanner: self.scanner.label.clone(),
            issues: if named.is_empty() { issues(&versions) } else { Vec::new() },
            complete: self.is_whole && all_scanned,
            over: format!("Nothing that is supported ({names}) has it any more, or a waiver holds for it."),
            versions,
        };
        let text = serde_json::to_vec_pretty(&report).context(Exit::Failure, || "cannot write JSON".into())?;
        files::replace(&self.folder.join(REPORT), &text)?;
        Ok(report)
    }

    /// Looks into the versions of one product.
    fn scan_all(&self, subject: &Subject, named: &[Version]) -> Result<Vec<Scanned>> {
        let destination = &subject.destination;
        let _served = destination.serve()?;
        let listed = verify::all(destination)?;
        let supported = version::supported(&listed, &destination.first);
        if let Some(unknown) = named.iter().find(|version| !listed.contains(version)) {
            let what = format!("{} does not list {} {unknown}", destination.place(), destination.chart);
            return Err(Error::new(Exit::Usage, what)
                .remedy(format!("name a version that is listed; supported are: {}", shown(&supported))));
        }
        let wanted = if named.is_empty() { &supported } else { named };
        Ok(wanted.iter().map(|version| self.scan(subject, version, &supported)).collect())
    }

    /// Looks into one version. Of a scan that went wrong no report is left.
    fn scan(&self, Subject { destination, package }: &Subject, version: &Version, supported: &[Version]) -> Scanned {
        let product = destination.target.product.clone();
        let mut folder = self.folder.clone();
        folder.extend(&product);
        folder.push(version.to_string());
        let category = category(product.as_deref(), version, supported);
        let looked = verify::pull(destination, version).and_then(|image| {
            let findings = self.scanner.look(&image, package, &folder, &category)?;
            Ok((image.digest, self.waivers.judge(&findings, waivers::today())))
        });
        let scanned = Scanned { product, version: version.to_string(), ..Scanned::default() };
        match looked {
            Ok((digest, Judgement { open, used, .. })) => {
                ui::status("Scanned", format_args!("{}: {digest} with {}", scanned.name(), self.scanner.label));
                scan::tell_used(&used);
                Scanned { digest: Some(digest), findings: open, waived: used, ..scanned }
            }
            Err(error) => {
                files::remove(&folder).ok();
                let error = Error { what: format!("{} was not scanned: {}", scanned.name(), error.what), ..error };
                Scanned { error: Some(error), ..scanned }
            }
        }
    }
}

impl Scanned {
    /// The version as people read it: after the product's name, where that is one of several.
    fn name(&self) -> String {
        version::called(self.product.as_deref(), &self.version)
    }
}

/// What the reports of a version are called on a page that shows findings. Names that stay the same from one release to the next let that
/// page see what is over; the newest version's is what its release called them.
fn category(product: Option<&str>, version: &Version, supported: &[Version]) -> String {
    let newest = scan::category(product);
    match supported.iter().position(|known| known == version) {
        Some(0) => newest,
        Some(_) => format!("{newest}/previous"),
        None => format!("{newest}/{version}"),
    }
}

fn shown(versions: &[Version]) -> String {
    versions.iter().map(Version::to_string).collect::<Vec<_>>().join(", ")
}

impl Report {
    /// Says what was found, and what could not be looked into.
    ///
    /// # Errors
    /// Something critical was found that nobody waived, or a version could not be scanned.
    pub fn conclude(&self) -> Result<()> {
        let found = self
            .versions
            .iter()
            .flat_map(|scanned| scanned.findings.iter().map(|open| format!("{}, {}", scanned.name(), open.shown)));
        let found: Vec<String> = found.collect();
        let mut problems: Vec<Error> = self.versions.iter().filter_map(|scanned| scanned.error.clone()).collect();
        if !found.is_empty() {
            let what = format!("the scan found {} critical vulnerabilities in what users get", found.len());
            let error = Error::new(Exit::Findings, what)
                .because(found.join("\n"))
                .remedy("update the crate (cargo update --package CRATE), and release the next patch of each of these versions")
                .remedy(format!("where it does no harm, waive it for a while in {}: the README says how", waivers::FILE));
            problems.insert(0, error);
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::all("what users get is not as it should be", problems)) }
    }
}

/// An issue for each vulnerability of each crate in each product, whichever versions have it.
fn issues(versions: &[Scanned]) -> Vec<Issue> {
    let products = versions.chunk_by(|one, other| one.product == other.product);
    products.flat_map(issues_of_product).collect()
}

fn issues_of_product(versions: &[Scanned]) -> Vec<Issue> {
    let all = versions.iter().flat_map(|scanned| &scanned.findings).map(|open| &open.finding);
    let kinds: BTreeSet<(&str, &str)> = all.map(|finding| (finding.id.as_str(), finding.package.as_str())).collect();
    kinds.into_iter().map(|(id, package)| issue(id, package, versions)).collect()
}

fn issue(id: &str, package: &str, versions: &[Scanned]) -> Issue {
    let is_it = |finding: &&Finding| finding.id == id && finding.package == package;
    let found_in = |scanned: &'_ Scanned| -> Vec<Finding> {
        scanned.findings.iter().map(|open| &open.finding).filter(is_it).cloned().collect()
    };
    let rows: String = versions.iter().flat_map(|scanned| rows(&scanned.version, &found_in(scanned))).collect();
    let unseen = versions.iter().filter(|scanned| scanned.error.is_some());
    let unseen: String = unseen.map(|scanned| format!("{} could not be scanned.\n\n", scanned.version)).collect();
    let mends = versions.iter().find(|scanned| scanned.error.is_none() && found_in(scanned).is_empty());
    let mends = mends.map_or("none yet", |scanned| &scanned.version);
    let (id, package) = (word(id), word(package));
    // A product's name is a plain word.
    let product = versions.first().and_then(|scanned| scanned.product.as_deref());
    let (of, prefix) = product.map(|name| (format!(" of {name}"), format!("{name} "))).unwrap_or_default();
    let marker = format!("{MARKER}{prefix}{id} {package} -->");
    let body = format!(
        "Critical, in versions{of} that are supported:\n\n| version | platforms | `{package}` | fixed in |\n|---|---|---|---|\n{rows}\n\
         Released without it: {mends}\n\n{unseen}\
         What helps: a new patch with another `{package}`, or a waiver where it does no harm here. The daily scan keeps this text up to \
         date, and closes the issue once no version that is supported has the finding any more.\n\n{marker}"
    );
    Issue { title: format!("{id} in {package}{of}"), marker, body }
}

/// A line for each version of the crate in one of ours: platforms may differ.
fn rows(version: &str, findings: &[Finding]) -> Vec<String> {
    let mut platforms: BTreeMap<(&str, Option<&str>), BTreeSet<String>> = BTreeMap::new();
    for Finding { installed, fixed, platform, .. } in findings {
        platforms.entry((installed, fixed.as_deref())).or_default().insert(platform.to_string());
    }
    let row = |((installed, fixed), platforms): ((&str, Option<&str>), BTreeSet<String>)| {
        let platforms = platforms.into_iter().collect::<Vec<_>>().join(", ");
        let fixed = fixed.map_or_else(|| "not yet".into(), |versions| format!("`{}`", word(versions)));
        format!("| {version} | {platforms} | `{}` | {fixed} |\n", word(installed))
    };
    platforms.into_iter().map(row).collect()
}

/// A text of the scanner's database among ours: nothing of it is markup.
fn word(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || " .,:;=+~^*/@_-".contains(character);
    text.chars().map(|character| if is_plain(character) { character } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(platform: &str, id: &str, package: &str, fixed: Option<&str>) -> Open {
        let finding = Finding {
            platform: platform.to_owned().try_into().unwrap(),
            id: id.into(),
            package: package.into(),
            installed: "1.0.0".into(),
            fixed: fixed.map(str::to_owned),
        };
        Open { finding, shown: String::new() }
    }

    fn scanned(version: &str, findings: Vec<Open>) -> Scanned {
        Scanned { version: version.into(), findings, ..Scanned::default() }
    }

    fn both(id: &str) -> Vec<Open> {
        vec![open("linux/amd64", id, "demo", Some("1.0.1")), open("linux/arm64", id, "demo", Some("1.0.1"))]
    }

    #[test]
    fn i9_a_vulnerability_is_one_issue_whichever_versions_and_platforms_have_it() {
        let [issue] = &issues(&[scanned("3.2.0", both("CVE-1")), scanned("3.1.4", both("CVE-1"))])[..] else {
            panic!("there is one")
        };
        assert_eq!((issue.title.as_str(), issue.marker.as_str()), ("CVE-1 in demo", "<!-- scan: CVE-1 demo -->"));
        for version in ["3.2.0", "3.1.4"] {
            let row = format!("\n| {version} | linux/amd64, linux/arm64 | `1.0.0` | `1.0.1` |\n");
            assert!(issue.body.contains(&row), "{}", issue.body);
        }
        assert!(issue.body.contains("\nReleased without it: none yet\n"), "{}", issue.body);
        assert!(issue.body.ends_with(&issue.marker));
        let more = vec![open("linux/amd64", "CVE-1", "demo", None), open("linux/amd64", "CVE-1", "other", None)];
        let titles: Vec<String> = issues(&[scanned("3.2.0", more)]).into_iter().map(|issue| issue.title).collect();
        assert_eq!(titles, ["CVE-1 in demo", "CVE-1 in other"]);
    }

    #[test]
    fn i9_each_of_several_products_has_issues_of_its_own() {
        let of = |product: &str, version: &str, findings| Scanned {
            product: Some(product.into()),
            ..scanned(version, findings)
        };
        let (web, worker) = (of("web", "2.0.0", both("CVE-1")), of("worker", "1.0.0", both("CVE-1")));
        let found = issues(&[web, of("web", "1.9.0", Vec::new()), worker]);
        let markers: Vec<&str> = found.iter().map(|issue| issue.marker.as_str()).collect();
        assert_eq!(markers, ["<!-- scan: web CVE-1 demo -->", "<!-- scan: worker CVE-1 demo -->"]);
        assert_eq!(found[0].title, "CVE-1 in demo of web");
        assert!(found[0].body.contains("Released without it: 1.9.0\n"), "{}", found[0].body);
        assert!(found[1].body.contains("Released without it: none yet\n"), "{}", found[1].body);
    }

    #[test]
    fn i9_an_issue_names_the_newest_release_without_the_finding_and_none_that_was_not_scanned() {
        let of = |versions: &[Scanned]| issues(versions).remove(0).body;
        let clean = of(&[scanned("3.2.1", both("CVE-2")), scanned("3.1.4", both("CVE-1"))]);
        assert!(clean.contains("Released without it: 3.2.1\n") && !clean.contains("| 3.2.1 |"), "{clean}");
        let error = Some(Error::new(Exit::Verify, "not there"));
        let unseen = of(&[Scanned { error, ..scanned("3.2.1", Vec::new()) }, scanned("3.1.4", both("CVE-1"))]);
        assert!(unseen.contains("Released without it: none yet\n"), "{unseen}");
        assert!(unseen.contains("3.2.1 could not be scanned."), "{unseen}");
    }

    #[test]
    fn texts_of_the_scanners_database_are_no_markup() {
        let finding = open("linux/amd64", "CVE-1 --><img src=x>", "a`b|c", Some("<b>\n2"));
        let issue = issues(&[scanned("3.2.0", vec![finding])]).remove(0);
        assert_eq!(issue.marker, "<!-- scan: CVE-1 --__img src=x_ a_b_c -->");
        assert_eq!(issue.body.matches(['<', '>']).collect::<String>(), "<>", "{}", issue.body);
        assert!(issue.body.contains("| `_b__2` |"), "{}", issue.body);
    }

    #[test]
    fn i9_reports_keep_their_categories_from_one_release_to_the_next() {
        let [newest, previous, other] = ["3.2.1", "3.1.4", "3.0.9"].map(|text| Version::parse(text).unwrap());
        let supported = [newest.clone(), previous.clone()];
        let category = |version: &Version| category(None, version, &supported);
        assert_eq!(category(&newest), "image");
        assert_eq!(category(&previous), "image/previous");
        assert_eq!(category(&other), "image/3.0.9");
        assert_eq!(super::category(Some("web"), &previous, &supported), "image/web/previous");
    }
}
