//! `scan`: what is known by today of images that were published.

use clap::Args;

use super::{Session, TargetArgs, WaiversArgs, print_json};
use crate::config::Product;
use crate::error::Result;
use crate::image::scan::Scanner;
use crate::image::waivers::Waivers;
use crate::release::destination::Destination;
use crate::release::scans::{Scans, Subject};
use crate::release::version;
use crate::ui;

/// `scan`.
#[derive(Debug, Args)]
pub struct Scan {
    /// The product, where there are several, and versions that users see listed [default: of every product those that are supported, the
    /// newest patch of the last two minor versions]
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
        let workspace = session.workspace()?;
        let (products, versions) = session.named_or_all(&self.words, version::parse)?;
        let is_whole = self.words.is_empty();
        let subject = |product: &Product| {
            let package = product.package()?.name.clone();
            let destination = Destination::named(product, &self.to.target, session.connector.as_ref())?;
            Ok(Subject { destination, package })
        };
        // Who names a chart alone hears that there is nothing to scan; in a tree, it is passed over.
        let wanted = products.iter().filter(|product| !is_whole || product.package.is_some());
        let subjects = wanted.map(subject).collect::<Result<Vec<_>>>()?;
        if subjects.is_empty() {
            ui::note("Unscanned", "there is no image: every product is a chart alone");
        }
        let scans = Scans {
            waivers: Waivers::read(&workspace.root, self.waivers.waivers.as_deref())?,
            scanner: Scanner::find()?,
            folder: workspace.work("scan"),
            is_whole,
        };
        let report = scans.run(&subjects, &versions)?;
        print_json(self.to.json, &report)?;
        report.conclude()
    }
}
