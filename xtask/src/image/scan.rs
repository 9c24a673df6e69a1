//! Scans an image with Trivy, one platform at a time, before anything of it is published.
//!
//! Trivy, given a layout of several platforms, quietly scans the machine's own (seen with 0.70.0), so each platform gets a layout of
//! its own, and the report must name its architecture. A static binary is opaque unless `cargo auditable` embedded its dependency
//! list, so a report without the released crate is a broken scan, not a clean one. Flags are fixed, and the child sees
//! neither the caller's `TRIVY_*` nor any credential nor the caller's home, whose plugins and modules could change what it finds.
//! Reports are kept whatever they say: as JSON, and as SARIF for a page that shows findings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Context, Error, Exit, Result};
use crate::image::waivers::{self, Finding, Open, Waiver, Waivers};
use crate::oci::{Digest, Layout, Platform, PlatformImage};
use crate::sys::children::{Call, Running};
use crate::sys::files;
use crate::sys::time;
use crate::sys::tools;
use crate::ui;

/// Releases of Trivy that stole credentials (CVE-2026-33634).
const MALICIOUS: [&str; 3] = ["0.69.4", "0.69.5", "0.69.6"];
/// A database older than this says too little.
const AGE_MAX_HOURS: i64 = 48;
/// Clocks differ a little; a database from further ahead would count as fresh for too long.
const AHEAD_MAX_HOURS: i64 = 1;
/// What the scanner's process may see of ours.
const ENVIRONMENT: [&str; 3] = ["LANG", "PATH", "TMPDIR"];
/// Where the scanner's input and home are meanwhile.
const WORK: &str = "work";
/// A scan of a binary takes less than a second.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// What is known about one image, by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The image that was looked at.
    pub digest: Digest,
    /// The scanner and its database; nothing where the image was not scanned.
    pub scanner: Option<String>,
    /// Why it was not scanned.
    pub skipped: Option<String>,
    /// The digest of the waivers that were read, of whichever commit they are.
    #[serde(default)]
    pub waivers: Option<Digest>,
    /// Those of them that let a finding pass.
    #[serde(default)]
    pub waived: Vec<Waiver>,
}

/// What the categories of a product's newest image begin with, on a page that shows findings.
pub fn category(product: Option<&str>) -> String {
    product.map_or_else(|| "image".into(), |product| format!("image/{product}"))
}

impl Verdict {
    /// The verdict on an image that nobody looked into.
    pub fn skipped(digest: Digest, reason: String) -> Self {
        Verdict { digest, scanner: None, skipped: Some(reason), waivers: None, waived: Vec::new() }
    }

    /// Whether a waiver that it rests on is over: what was let pass would stop a release now.
    pub fn is_over(&self) -> bool {
        let today = waivers::today();
        self.waived.iter().any(|waiver| waiver.is_over(today))
    }
}

/// A scanner that can be used.
#[derive(Clone, Debug)]
pub struct Scanner {
    program: PathBuf,
    cache: PathBuf,
    /// Version and age of the database, for people.
    pub label: String,
}

impl Scanner {
    /// Finds Trivy and its database.
    ///
    /// # Errors
    /// Trivy is missing, must not be used, or has no database of the last two days.
    pub fn find() -> Result<Self> {
        let program = tools::on_path("trivy").ok_or_else(|| {
            Error::new(Exit::Environment, "Trivy is not installed")
                .remedy("install Trivy 0.70.0 or later from its official release")
        })?;
        let version = version(&program)?;
        if MALICIOUS.contains(&version.as_str()) {
            return Err(Error::new(Exit::Scanner, format!("Trivy {version} at {} must not be run", program.display()))
                .because("releases 0.69.4 to 0.69.6 were malicious and stole credentials")
                .remedy("remove it, rotate what this machine could reach, and install 0.70.0 or later"));
        }
        let cache = cache_folder();
        let age = database_age_hours(&cache)?;
        Ok(Scanner { program, cache, label: format!("Trivy {version}, database {age} h old") })
    }

    /// Scans every platform of an image. Reports are kept in `folder`, and nothing else is; their categories are those of `look`.
    ///
    /// # Errors
    /// A critical vulnerability was found, fixed upstream or not, that nobody waived; or the scan itself went wrong.
    pub fn scan(
        &self,
        image: &Layout,
        package: &str,
        waivers: &Waivers,
        folder: &Path,
        category: &str,
    ) -> Result<Verdict> {
        let judgement = waivers.judge(&self.look(image, package, folder, category)?, waivers::today());
        tell_used(&judgement.used);
        judgement.warnings.iter().for_each(ui::warn);
        if judgement.open.is_empty() {
            return Ok(Verdict {
                digest: image.digest.clone(),
                scanner: Some(self.label.clone()),
                skipped: None,
                waivers: waivers.digest.clone(),
                waived: judgement.used,
            });
        }
        Err(Error::new(Exit::Findings, format!("the scan found {} critical vulnerabilities", judgement.open.len()))
            .because(lines(&judgement.open))
            .remedy("update the crate: cargo update --package CRATE")
            .remedy(format!(
                "where that does not help yet, waive it for a while in {}: the README says how",
                waivers::FILE
            ))
            .remedy(format!("the whole reports are in {}", folder.display())))
    }

    /// Finds what is critical in every platform of an image, waived or not. Reports are kept in `folder`, and nothing else is; those for a
    /// page that shows findings are of the categories `category` and platform.
    ///
    /// # Errors
    /// The scan went wrong.
    pub fn look(&self, image: &Layout, package: &str, folder: &Path, category: &str) -> Result<Vec<Finding>> {
        files::remove(folder)?;
        let parts = image.platforms()?;
        finish(parts.iter().map(|part| self.start(image, part, folder)))?;
        finish(parts.iter().map(|part| self.convert(part, folder)))?;
        files::remove(&folder.join(WORK))?;
        let mut findings = Vec::new();
        for part in &parts {
            let report = read_report(part, folder)?;
            categorize(part, folder, category)?;
            check(&report, &part.platform, package)?;
            findings.extend(report.critical(&part.platform));
        }
        Ok(findings)
    }

    /// Starts to scan one platform into a report in `folder`.
    fn start(&self, image: &Layout, part: &PlatformImage, folder: &Path) -> Result<Running> {
        let name = report_name(part);
        let work = folder.join(WORK);
        // Reports name the input: they should name the platform, and no folder of this machine.
        let input = work.join(&name);
        let output = folder.join(format!("{name}.json"));
        image.only(part)?.write(&input)?;
        self.call("image", &work)?
            .args(["--scanners", "vuln", "--format", "json", "--list-all-pkgs", "--exit-code", "0"])
            .args(["--skip-db-update", "--skip-java-db-update", "--offline-scan", "--skip-version-check"])
            // What another scan found out is not believed; and the cache on disk can be opened by one scan at a time only.
            .args(["--cache-backend", "memory"])
            .args(["--input".as_ref(), name.as_ref(), "--output".as_ref(), output.as_os_str()])
            .start_silently()
            .map_err(broken)
    }

    /// Starts to write a platform's report as SARIF, beside its JSON.
    fn convert(&self, part: &PlatformImage, folder: &Path) -> Result<Running> {
        let file = |kind: &str| folder.join(format!("{}.{kind}", report_name(part)));
        self.call("convert", &folder.join(WORK))?
            .args(["--format", "sarif", "--output"])
            .args([file("sarif"), file("json")])
            .start_silently()
            .map_err(broken)
    }

    /// A call that reads no settings but ours.
    fn call(&self, command: &str, work: &Path) -> Result<Call> {
        let empty = work.join("empty");
        files::replace(&empty, b"")?;
        Ok(sealed(&self.program, &work.join("home"))
            .args([command, "--quiet"])
            .args(["--config".as_ref(), empty.as_os_str(), "--ignorefile".as_ref(), empty.as_os_str()])
            .args(["--cache-dir".as_ref(), self.cache.as_os_str()])
            .current_dir(work))
    }
}

/// A call of the scanner with nothing of ours in its environment, and `home` instead of the caller's.
fn sealed(program: &Path, home: &Path) -> Call {
    Call::new(program).env_retain(|name| ENVIRONMENT.contains(&name)).env("HOME", home)
}

/// Waits for calls that run side by side.
fn finish(started: impl Iterator<Item = Result<Running>>) -> Result<()> {
    let running: Vec<Running> = started.collect::<Result<_>>()?;
    running.into_iter().try_for_each(|running| running.finish(LIMIT).map_err(broken))
}

/// Says in a SARIF report which platform it is of: code scanning takes two reports of one tool only where their categories differ.
fn categorize(part: &PlatformImage, folder: &Path, category: &str) -> Result<()> {
    let path = folder.join(format!("{}.sarif", report_name(part)));
    let bytes = files::read(&path)?.unwrap_or_default();
    let sarif = serde_json::from_slice(&bytes)
        .context(Exit::Scanner, || format!("Trivy wrote no SARIF for {}", part.platform))?;
    files::replace(&path, with_category(sarif, &format!("{category}/{}/", report_name(part))).to_string().as_bytes())
}

/// Every run of a report, in that category. GitHub's documentation: it is what stands before the last slash of this id.
fn with_category(mut sarif: Value, category: &str) -> Value {
    for run in sarif["runs"].as_array_mut().into_iter().flatten() {
        run["automationDetails"] = json!({"id": category});
    }
    sarif
}

fn read_report(part: &PlatformImage, folder: &Path) -> Result<PlatformReport> {
    let bytes = files::read(&folder.join(format!("{}.json", report_name(part))))?.unwrap_or_default();
    serde_json::from_slice(&bytes).context(Exit::Scanner, || format!("Trivy wrote no report for {}", part.platform))
}

fn report_name(part: &PlatformImage) -> String {
    part.platform.to_string().replace('/', "-")
}

fn broken(error: Error) -> Error {
    Error { exit: Exit::Scanner, ..error }
}

/// Findings for people, one a line.
fn lines(open: &[Open]) -> String {
    open.iter().map(|open| open.shown.as_str()).collect::<Vec<_>>().join("\n")
}

/// Says which waivers let something pass.
pub fn tell_used(waivers: &[Waiver]) {
    for Waiver { id, owner, expires, .. } in waivers {
        ui::note("Waived", format_args!("{id} until {expires} (owner: {owner})"));
    }
}

/// A report must be about the platform that was asked for, and must have seen what the binary is made of.
fn check(report: &PlatformReport, platform: &Platform, package: &str) -> Result<()> {
    let broken = |why: String| {
        Error::new(Exit::Scanner, format!("the scan of {platform} cannot be trusted"))
            .because(why)
            .remedy("cargo xtask doctor")
    };
    if report.metadata.image_config.architecture != platform.architecture {
        return Err(broken(format!("the report is about {}", report.metadata.image_config.architecture)));
    }
    let packages = report.results.iter().flat_map(|result| &result.packages);
    if !packages.into_iter().any(|found| found.name == package) {
        return Err(broken(format!(
            "the report does not list the crate {package}: the binary carries no dependency list"
        )));
    }
    Ok(())
}

fn version(program: &Path) -> Result<String> {
    let said = sealed(program, Path::new("/")).args(["--version"]).read().map_err(broken)?;
    let version = said.lines().find_map(|line| line.strip_prefix("Version: "));
    version.map(str::to_owned).ok_or_else(|| Error::new(Exit::Scanner, "Trivy does not say its version").because(said))
}

fn cache_folder() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    cache.unwrap_or_default().join("trivy")
}

fn database_age_hours(cache: &Path) -> Result<i64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Metadata {
        updated_at: String,
    }
    let unusable = |why: String| {
        Error::new(Exit::Database, "Trivy has no vulnerability database that can be used")
            .because(why)
            .remedy("trivy image --download-db-only")
    };
    let folder = cache.join("db");
    let metadata = files::read(&folder.join("metadata.json"))?;
    let Some(metadata) = metadata.filter(|_| folder.join("trivy.db").is_file()) else {
        return Err(unusable(format!("there is none in {}", folder.display())));
    };
    let metadata: Metadata = serde_json::from_slice(&metadata).map_err(|error| unusable(error.to_string()))?;
    let updated = time::seconds(&metadata.updated_at).ok_or_else(|| {
        unusable(format!("it says that it was updated at {:?}, which is no time", metadata.updated_at))
    })?;
    age_hours(updated, Utc::now().timestamp()).map_err(unusable)
}

/// The age of a database in whole hours; both moments are in seconds since 1970.
fn age_hours(updated: i64, now: i64) -> Result<i64, String> {
    let (age, hours) = (now - updated, (now - updated) / 3600);
    if age > AGE_MAX_HOURS * 3600 {
        return Err(format!("it is {hours} h old; {AGE_MAX_HOURS} h are allowed"));
    }
    if age < -AHEAD_MAX_HOURS * 3600 {
        return Err(format!("it is from {} h in the future: is this machine's clock right?", -hours));
    }
    Ok(hours.max(0))
}

/// What is read of Trivy's JSON report.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PlatformReport {
    metadata: Metadata,
    results: Vec<Target>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Metadata {
    image_config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    architecture: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Target {
    packages: Vec<Package>,
    vulnerabilities: Vec<Vulnerability>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Package {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Vulnerability {
    #[serde(rename = "VulnerabilityID")]
    id: String,
    pkg_name: String,
    installed_version: String,
    fixed_version: String,
    severity: String,
}

impl PlatformReport {
    fn critical(&self, platform: &Platform) -> Vec<Finding> {
        let all = self.results.iter().flat_map(|result| &result.vulnerabilities);
        let critical = all.filter(|found| found.severity == "CRITICAL");
        let finding = |found: &Vulnerability| Finding {
            platform: platform.clone(),
            id: found.id.clone(),
            package: found.pkg_name.clone(),
            installed: found.installed_version.clone(),
            fixed: Some(found.fixed_version.clone()).filter(|version| !version.is_empty()),
        };
        critical.map(finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(json: &str) -> PlatformReport {
        serde_json::from_str(json).unwrap()
    }

    fn amd64() -> Platform {
        "linux/amd64".to_owned().try_into().unwrap()
    }

    const CLEAN: &str =
        r#"{"Metadata":{"ImageConfig":{"architecture":"amd64"}},"Results":[{"Packages":[{"Name":"demo"}]}]}"#;

    #[test]
    fn a_report_about_another_platform_or_about_nothing_is_a_broken_scan() {
        assert!(check(&report(CLEAN), &amd64(), "demo").is_ok());
        let other = CLEAN.replace("amd64", "arm64");
        assert_eq!(check(&report(&other), &amd64(), "demo").unwrap_err().exit, Exit::Scanner);
        assert_eq!(check(&report(CLEAN), &amd64(), "absent").unwrap_err().exit, Exit::Scanner);
        assert_eq!(check(&report("{}"), &amd64(), "demo").unwrap_err().exit, Exit::Scanner);
    }

    #[test]
    fn every_run_of_a_report_gets_the_category_of_its_platform() {
        let sarif = json!({"version": "2.1.0", "runs": [{"results": []}, {"automationDetails": {"id": "other/"}}]});
        let expected = json!({"version": "2.1.0", "runs": [
            {"results": [], "automationDetails": {"id": "image/linux-arm64/"}},
            {"automationDetails": {"id": "image/linux-arm64/"}},
        ]});
        assert_eq!(with_category(sarif, "image/linux-arm64/"), expected);
    }

    #[test]
    fn critical_findings_count_whether_they_are_fixed_or_not() {
        let json = r#"{"Results":[{"Vulnerabilities":[
            {"VulnerabilityID":"CVE-1","PkgName":"a","InstalledVersion":"1.0.0","Severity":"CRITICAL"},
            {"VulnerabilityID":"CVE-2","PkgName":"b","InstalledVersion":"1.0.0","FixedVersion":"2.0.0","Severity":"CRITICAL"},
            {"VulnerabilityID":"CVE-3","PkgName":"c","InstalledVersion":"1.0.0","Severity":"HIGH"}]}]}"#;
        let critical = report(json).critical(&amd64());
        let open = Waivers::default().judge(&critical, waivers::today()).open;
        let shown = "linux/amd64: CVE-1 in a 1.0.0 (not fixed yet)\nlinux/amd64: CVE-2 in b 1.0.0 (fixed in 2.0.0)";
        assert_eq!(lines(&open), shown);
    }

    #[test]
    fn i9_a_database_is_good_for_48_hours_to_the_second() {
        const DAY: i64 = 24 * 3600;
        let now = 1_800_000_000;
        assert_eq!(age_hours(now - 2 * DAY, now), Ok(48));
        assert!(age_hours(now - 2 * DAY - 1, now).unwrap_err().contains("48 h old; 48 h are allowed"));
        assert_eq!(age_hours(now, now), Ok(0));
        assert_eq!(age_hours(now + 3600, now), Ok(0), "clocks differ");
        assert!(age_hours(now + DAY, now).unwrap_err().contains("in the future"));
    }

    #[test]
    fn i9_a_verdict_lasts_as_long_as_the_waivers_that_it_rests_on() {
        let verdict = |days: i64| {
            let expires = waivers::today() + chrono::TimeDelta::days(days);
            let waiver =
                Waiver { id: "CVE-1".into(), reason: "r".into(), owner: "o".into(), expires, not_affected: None };
            Verdict { waived: vec![waiver], ..Verdict::skipped(Digest::of(b""), String::new()) }
        };
        assert!(!verdict(1).is_over());
        assert!(verdict(-1).is_over());
        let kept = serde_json::to_vec(&verdict(1)).unwrap();
        assert_eq!(serde_json::from_slice::<Verdict>(&kept).unwrap(), verdict(1));
    }
}
