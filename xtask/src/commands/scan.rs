//! `scan`: what is known by today of images that were published.

use clap::Args;
use semver::Version;

use super::{Session, TargetArgs, WaiversArgs, print_json};
use crate::error::Result;
use crate::image::scan::Scanner;
use crate::image::waivers::Waivers;
use crate::release::destination::Destination;
use crate::release::scans::Scans;
use crate::release::version;

/// `scan`.
#[derive(Debug, Args)]
pub struct Scan {
    /// Versions that users see listed [default: those that are supported, the newest patch of the last two minor versions]
    #[arg(value_name = "VERSION", value_parser = version::parse)]
    versions: Vec<Version>,
    /// The waivers
    #[command(flatten)]
    waivers: WaiversArgs,
    /// Where
    #[command(flatten)]
    pub(super) to: TargetArgs,
}

impl Scan {
    pub(super) fn run(self, session: &Session) -> Result<()> {
        let workspace = session.workspace()?;
        let destination = Destination::named(&workspace, &self.to.target, session.connector.as_ref())?;
        let scans = Scans {
            destination: &destination,
            package: &workspace.package.name,
            waivers: Waivers::read(&workspace.root, self.waivers.waivers.as_deref())?,
            scanner: Scanner::find()?,
            folder: workspace.root.join("target/xtask/scan"),
        };
        let _served = destination.serve()?;
        let report = scans.run(&self.versions)?;
        print_json(self.to.json, &report)?;
        report.conclude()
    }
}
