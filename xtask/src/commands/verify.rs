//! `verify`: the last step of a release on its own.

use std::time::Duration;

use clap::Args;
use semver::Version;

use super::{Session, TargetArgs, WaiversArgs, print_json};
use crate::error::{Error, Result};
use crate::image::scan::Scanner;
use crate::image::waivers::Waivers;
use crate::release::destination::Destination;
use crate::release::{verify, version};
use crate::ui;

/// `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The version [default: the one in Cargo.toml]
    #[arg(value_parser = version::parse)]
    version: Option<Version>,
    /// The newest stable version that users see listed, whatever the tree says; for a daily check
    #[arg(long, conflicts_with = "version")]
    newest: bool,
    /// Every version that users see listed, one after the other
    #[arg(long, conflicts_with_all = ["version", "newest", "scan"])]
    all: bool,
    /// Keep trying for so many seconds until all is right: caches and tags follow a release a little later
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    /// Also scan the image with today's database: what was unknown when it was released may be known by now
    #[arg(long)]
    scan: bool,
    /// The waivers for that
    #[command(flatten)]
    waivers: WaiversArgs,
    /// Where
    #[command(flatten)]
    pub(super) to: TargetArgs,
}

impl Verify {
    pub(super) fn run(self, session: &Session) -> Result<()> {
        let workspace = session.workspace()?;
        let destination = Destination::named(&workspace, &self.to.target, session.connector.as_ref())?;
        let _served = destination.serve()?;
        if self.all {
            return self.run_all(&destination);
        }
        let version = match self.version {
            _ if self.newest => destination.newest()?,
            Some(version) => Some(version),
            None => Some(workspace.package.version.clone()),
        };
        let Some(version) = version else {
            ui::note("Unreleased", "users see no stable version listed yet");
            return print_json(self.to.json, &serde_json::Value::Null);
        };
        let proof = destination.verify(&version, Duration::from_secs(self.wait))?;
        ui::status("Verified", verify::shown(&proof));
        let title = format!("Users get {version} from {}", destination.target.repository);
        ui::summary(&verify::page(&title, &[], &proof));
        if self.scan {
            let waivers = Waivers::read(&workspace.root, self.waivers.waivers.as_deref())?;
            let image = verify::pull(&destination, &proof)?;
            let reports = workspace.root.join("target/xtask/scan");
            let verdict = Scanner::find()?.scan(&image, &workspace.package.name, &waivers, &reports)?;
            ui::status("Scanned", format_args!("{} with {}", verdict.digest, verdict.scanner.unwrap_or_default()));
        }
        print_json(self.to.json, &proof)
    }

    /// What is wrong with one version keeps nobody from looking at the others.
    fn run_all(self, destination: &Destination) -> Result<()> {
        let (mut proofs, mut problems) = (Vec::new(), Vec::new());
        for version in verify::all(destination)? {
            match destination.verify(&version, Duration::from_secs(self.wait)) {
                Ok(proof) => {
                    ui::status("Verified", verify::shown(&proof));
                    let title = format!("Users get {version} from {}", destination.target.repository);
                    ui::summary(&verify::page(&title, &[], &proof));
                    proofs.push(proof);
                }
                Err(error) => problems.push(error),
            }
        }
        print_json(self.to.json, &proofs)?;
        if problems.is_empty() { Ok(()) } else { Err(Error::all("some versions are not what was published", problems)) }
    }
}
