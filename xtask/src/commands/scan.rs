//! `scan`: what is known by today of images that were published.

use clap::Args;

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
    /// The product, where there are several, and versions that users see listed [default: those that are supported, the newest patch of
    /// the last two minor versions]
    #[arg(value_name = "VERSION")]
    words: Vec<String>,
    /// The waivers
    #[command(flatten)]
    waivers: WaiversArgs,
    /// Where
    #[command(flatten)]
    pub(super) to: TargetArgs,
}

impl Scan {
    pub(super) fn run(self, session: &Session) -> Result<()> {
        let (product, versions) = session.named(&self.words, version::parse)?;
        product.chart()?;
        let destination = Destination::named(&product, &self.to.target, session.connector.as_ref())?;
        let scans = Scans {
            destination: &destination,
            package: &product.package()?.name,
            waivers: Waivers::read(&product.root, self.waivers.waivers.as_deref())?,
            scanner: Scanner::find()?,
            folder: product.work("scan"),
        };
        let _served = destination.serve()?;
        let report = scans.run(&versions)?;
        print_json(self.to.json, &report)?;
        report.conclude()
    }
}
