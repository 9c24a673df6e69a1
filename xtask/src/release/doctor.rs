//! What this machine has and lacks for a target, all at once, each with the command that cures it.

use std::ffi::OsString;

use serde::Serialize;

use crate::chart::manifest;
use crate::chart::repository;
use crate::chart::store::Store;
use crate::config::{Builder, Product, Scan, Target};
use crate::connector::Connector;
use crate::error::{Error, Exit, Result};
use crate::git::{Repository, Worktree};
use crate::image::compile;
use crate::image::scan::Scanner;
use crate::local::server::LocalServer;
use crate::release;
use crate::release::destination::Destination;
use crate::release::protection::{self, Guard, Home, Standing};
use crate::sys::children::Call;
use crate::sys::tools;
use crate::ui;

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    Found,
    /// A release works without it.
    Optional,
    /// Nobody told.
    Unknown,
    Missing,
}

/// One thing that was looked for.
#[derive(Debug, Serialize)]
pub struct Finding {
    what: String,
    standing: Level,
    detail: String,
    remedies: Vec<String>,
}

/// Says in one error all that is missing.
///
/// # Errors
/// Something that a release needs is missing.
pub fn conclude(findings: &[Finding], target: &Target) -> Result<()> {
    let missing: Vec<&Finding> = findings.iter().filter(|finding| finding.standing == Level::Missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|finding| finding.what.as_str()).collect();
    let error = Error::new(Exit::Environment, format!("a release to `{}` needs: {}", target.name, names.join(", ")));
    Err(missing.iter().flat_map(|finding| &finding.remedies).fold(error, Error::remedy))
}

/// Looks for everything.
///
/// # Errors
/// It is not known what to look for: the workspace names no chart.
pub fn look(product: &Product, target: &Target, connector: Option<&Connector>) -> Result<Vec<Finding>> {
    let mut findings = vec![
        checked("git", Call::new("git").args(["--version"]).read()),
        checked(
            "sources",
            Repository::at(&product.root)
                .and_then(|git| Worktree::read(&git))
                .map(|worktree| format!("revision {}", worktree.revision())),
        ),
        checked("cargo", tools::cargo().args(["--version"]).read()),
    ];
    if product.package.is_some() {
        findings.extend(image(product, target)?);
    }
    let destination = Destination::named(product, &target.name, connector)?;
    match product.directory(target) {
        Some(folder) => {
            let reached = LocalServer::reach(&folder, std::slice::from_ref(target));
            findings.push(checked("port", reached.map(|_| format!("{} can be served", target.repository))));
        }
        None => {
            let tags = destination.registry.tags();
            findings.push(checked("registry", tags.map(|tags| format!("{} has {} tags", target.image, tags.len()))));
        }
    }
    let version = release::version_in_tree(product);
    if target.is_remote() && version.is_ok_and(|version| target.signs(&version)) {
        let signer = checked("signer", destination.who_signs());
        // Where the workflow alone signs, no other machine is meant to.
        findings.push(if target.signing.is_keyless_alone() { optional(signer) } else { signer });
        if target.signers.iter().any(|signer| signer.identity.is_some()) {
            findings.push(checked("cosign", destination.who_judges()));
        }
    }
    if destination.has_chart {
        findings.push(index(&*destination.store));
    }
    if target.is_remote() {
        let (url, said_by) = home(product)?;
        let home = Home { url: &url, said_by };
        let guards = protection::look(&product.root, home, &destination.user, &|name| std::env::var(name).ok())?;
        findings.extend(guards.into_iter().map(guarded));
    }
    Ok(findings)
}

/// Where the sources are, as the crate or else the chart says, and which of the two.
fn home(product: &Product) -> Result<(String, &'static str)> {
    if let Some(package) = &product.package {
        return Ok((package.about.repository.clone(), "the crate's `repository`"));
    }
    let chart = manifest::in_folder(&product.root.join(product.chart()?))?;
    Ok((chart.sources.into_iter().next().unwrap_or_default(), "the first of the chart's `sources`"))
}

/// What an image takes.
fn image(product: &Product, target: &Target) -> Result<Vec<Finding>> {
    let (toolchains, mut findings) = (compile::toolchains(product)?, Vec::new());
    let nothing = toolchains.found.is_empty();
    for (platform, toolchain) in &toolchains.found {
        let detail = format!("{} at {}, linked by {}", toolchain.version, toolchain.rustc.display(), toolchain.linker);
        findings.push(found(&platform.to_string(), detail));
    }
    for (platform, missing) in toolchains.missing {
        // A rehearsal goes on with the platforms that it can build.
        let standing = if nothing || target.is_remote() { Level::Missing } else { Level::Optional };
        let (what, detail, remedies) = (platform.to_string(), missing.why, missing.remedies);
        findings.push(Finding { what, standing, detail, remedies });
    }
    findings.extend(builder(target));
    findings.extend(scanner(target));
    Ok(findings)
}

/// Whoever can push past what guards the repository can publish.
fn guarded(guard: Guard) -> Finding {
    let Guard { what, standing, remedies } = guard;
    let (standing, detail) = match standing {
        Standing::InForce => (Level::Found, "in force on GitHub".into()),
        Standing::Lacking(lacking) => (Level::Missing, format!("not in force on GitHub: {}", lacking.join("; "))),
        Standing::Unknown(why) => (Level::Unknown, why),
    };
    Finding { what, standing, detail, remedies }
}

fn builder(target: &Target) -> Option<Finding> {
    let shown = |words: Vec<OsString>| {
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    };
    (target.builder == Builder::Buildx).then(|| checked("buildx", tools::buildx().map(shown)))
}

fn scanner(target: &Target) -> Vec<Finding> {
    let auditable = tools::on_path("cargo-auditable").map(|path| path.display().to_string()).ok_or_else(|| {
        Error::new(Exit::Environment, "not installed: the image's crates cannot be scanned")
            .remedy("cargo install cargo-auditable --locked")
    });
    let parts =
        [checked("scanner", Scanner::find().map(|scanner| scanner.label)), checked("cargo-auditable", auditable)];
    parts.into_iter().map(|part| if target.scan == Scan::IfInstalled { optional(part) } else { part }).collect()
}

/// What a release works without.
fn optional(finding: Finding) -> Finding {
    match finding.standing {
        Level::Missing => Finding { standing: Level::Optional, ..finding },
        _ => finding,
    }
}

/// The index can be read, and by which Helm.
fn index(store: &dyn Store) -> Finding {
    let read = repository::read(store).and_then(|snapshot| {
        let index = snapshot.index()?;
        Ok((index.size(), index.complaints()))
    });
    let ((versions, charts), complaints) = match read {
        Ok(read) => read,
        Err(error) => return checked("index", Err(error)),
    };
    let refused = if !complaints.not_text.is_empty() {
        format!("every Helm refuses it for fields that are not texts: {}", complaints.not_text.join(", "))
    } else if !complaints.unknown.is_empty() {
        let fields = complaints.unknown.join(", ");
        format!("Helm 3.12 refuses it for fields that it does not know: {fields} (newer ones read it once it is JSON)")
    } else {
        return found("index", format!("lists {versions} versions of {charts} charts"));
    };
    let remedies = vec!["whoever wrote those fields may correct them; a release never drops or changes them".into()];
    Finding { what: "index".into(), standing: Level::Optional, detail: refused, remedies }
}

fn found(what: &str, detail: String) -> Finding {
    Finding { what: what.into(), standing: Level::Found, detail, remedies: Vec::new() }
}

fn checked(what: &str, result: Result<String>) -> Finding {
    match result {
        Ok(detail) => found(what, detail),
        Err(error) => {
            let why = error.why.map(|why| format!(": {}", why.trim())).unwrap_or_default();
            let detail = format!("{}{why}", error.what);
            Finding { what: what.into(), standing: Level::Missing, detail, remedies: error.remedies }
        }
    }
}

/// Shows it to people.
pub fn show(finding: &Finding) {
    let text = format!("{}: {}", finding.what, finding.detail);
    match finding.standing {
        Level::Found => ui::status("Found", text),
        Level::Optional => ui::note("Without", text),
        Level::Unknown => ui::note("Unknown", text),
        Level::Missing => ui::warn(text),
    }
    finding.remedies.iter().for_each(|remedy| ui::note("to do", remedy));
}
