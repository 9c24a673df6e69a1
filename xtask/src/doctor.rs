//! What this machine has and lacks for a target, all at once, each with the command that cures it.

use std::ffi::OsString;
use std::path::Path;

use serde::Serialize;

use crate::chart::repository;
use crate::config::{Builder, Scan, Target, Workspace};
use crate::error::{Error, Exit, Result};
use crate::image::compile;
use crate::image::scan::Scanner;
use crate::process::Call;
use crate::release::destination::Destination;
use crate::release::protection::{self, Guard};
use crate::serve::LocalServer;
use crate::source::Source;
use crate::store::Store;
use crate::{tools, ui};

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Standing {
    Found,
    /// A release works without it.
    Optional,
    /// Nobody told.
    Unknown,
    Missing,
}

/// One thing that was looked for.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    standing: Standing,
    detail: String,
    remedies: Vec<String>,
}

/// Looks for everything, and prints it.
///
/// # Errors
/// Something that a release needs is missing.
pub fn run(here: &Path, target: &str, json: bool) -> Result<()> {
    let workspace = Workspace::find(here)?;
    let target = workspace.target(target)?;
    let findings = look(&workspace, &target)?;
    if json {
        let text = serde_json::to_string_pretty(&findings);
        ui::result(text.map_err(|error| Error::new(Exit::Failure, "cannot write JSON").because(error))?);
    } else {
        findings.iter().for_each(show);
    }
    let missing: Vec<&Finding> = findings.iter().filter(|finding| finding.standing == Standing::Missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|finding| finding.what.as_str()).collect();
    let error = Error::new(Exit::Environment, format!("a release to `{}` needs: {}", target.name, names.join(", ")));
    Err(missing.iter().flat_map(|finding| &finding.remedies).fold(error, Error::remedy))
}

fn look(workspace: &Workspace, target: &Target) -> Result<Vec<Finding>> {
    let mut findings = vec![
        checked("git", Call::new("git").args(["--version"]).read()),
        checked("sources", Source::read(&workspace.root).map(|source| format!("revision {}", source.revision()))),
        checked("cargo", Call::new(tools::cargo()).args(["--version"]).read()),
    ];
    let toolchains = compile::toolchains(workspace)?;
    let nothing = toolchains.found.is_empty();
    for (platform, toolchain) in &toolchains.found {
        let detail = format!("{} at {}, linked by {}", toolchain.version, toolchain.rustc.display(), toolchain.linker);
        findings.push(found(&platform.to_string(), detail));
    }
    for (platform, missing) in toolchains.missing {
        // A rehearsal goes on with the platforms that it can build.
        let standing = if nothing || target.is_remote() { Standing::Missing } else { Standing::Optional };
        let (what, detail, remedies) = (platform.to_string(), missing.why, missing.remedies);
        findings.push(Finding { what, standing, detail, remedies });
    }
    findings.extend(builder(target));
    findings.extend(scanner(target));
    let place = Destination::named(workspace, &target.name)?;
    match workspace.directory(target) {
        Some(folder) => {
            let reached = LocalServer::reach(&folder, target);
            findings.push(checked("port", reached.map(|_| format!("{} can be served", target.repository))));
        }
        None => {
            let tags = place.registry.tags();
            findings.push(checked("registry", tags.map(|tags| format!("{} has {} tags", target.image, tags.len()))));
        }
    }
    findings.push(index(&*place.store));
    if target.is_remote() {
        let home = &workspace.package.about.repository;
        let guards = protection::look(&workspace.root, home, &|name| std::env::var(name).ok())?;
        findings.extend(guards.into_iter().map(guarded));
    }
    Ok(findings)
}

/// Whoever can push past what guards the repository can publish.
fn guarded(guard: Guard) -> Finding {
    let Guard { what, standing, remedies } = guard;
    let (standing, detail) = match standing {
        protection::Standing::InForce => (Standing::Found, "in force on GitHub".into()),
        protection::Standing::Lacking(lacking) => {
            (Standing::Missing, format!("not in force on GitHub: {}", lacking.join("; ")))
        }
        protection::Standing::Unknown(why) => (Standing::Unknown, why),
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
    let optional = |finding: Finding| match (target.scan, finding.standing) {
        (Scan::IfInstalled, Standing::Missing) => Finding { standing: Standing::Optional, ..finding },
        _ => finding,
    };
    parts.into_iter().map(optional).collect()
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
    Finding { what: "index".into(), standing: Standing::Optional, detail: refused, remedies }
}

fn found(what: &str, detail: String) -> Finding {
    Finding { what: what.into(), standing: Standing::Found, detail, remedies: Vec::new() }
}

fn checked(what: &str, result: Result<String>) -> Finding {
    match result {
        Ok(detail) => found(what, detail),
        Err(error) => {
            let why = error.why.map(|why| format!(": {}", why.trim())).unwrap_or_default();
            let detail = format!("{}{why}", error.what);
            Finding { what: what.into(), standing: Standing::Missing, detail, remedies: error.remedies }
        }
    }
}

fn show(finding: &Finding) {
    let text = format!("{}: {}", finding.what, finding.detail);
    match finding.standing {
        Standing::Found => ui::status("Found", text),
        Standing::Optional => ui::note("Without", text),
        Standing::Unknown => ui::note("Unknown", text),
        Standing::Missing => ui::warn(text),
    }
    finding.remedies.iter().for_each(|remedy| ui::note("to do", remedy));
}
