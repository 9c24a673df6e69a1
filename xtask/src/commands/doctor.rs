//! `doctor`: what this machine lacks for a release, and what is wrong with what was released.

use clap::Args;
use serde_json::json;

use super::{Session, print_json};
use crate::config::Product;
use crate::error::Result;
use crate::local::turn::Turn;
use crate::release::destination::Destination;
use crate::release::doctor;
use crate::release::repair::{self, Finding};
use crate::ui;

/// `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The product, where there are several
    #[arg(value_name = "PRODUCT")]
    product: Option<String>,
    /// The target, one of [workspace.metadata.release.targets]
    #[arg(long = "to", value_name = "TARGET", default_value = "local")]
    pub(super) target: String,
    /// Print the result as JSON on standard output
    #[arg(long)]
    json: bool,
    /// Look at what is published instead: compare index, archives, tags, signatures, page and caches, and mend what can be mended without
    /// losing anything; asks first, and never deletes
    #[arg(long)]
    repair: bool,
    /// Mend without asking
    #[arg(long, requires = "repair")]
    yes: bool,
}

impl Doctor {
    pub(super) fn run(self, session: &Session) -> Result<()> {
        let product = session.workspace()?.product(self.product.as_deref())?.clone();
        session.is_for(&product);
        if self.repair {
            return self.repair(session, &product);
        }
        let target = product.target(&self.target)?;
        let findings = doctor::look(&product, &target, session.connector.as_ref())?;
        if self.json {
            print_json(true, &findings)?;
        } else {
            findings.iter().for_each(doctor::show);
        }
        doctor::conclude(&findings, &target)
    }

    fn repair(self, session: &Session, product: &Product) -> Result<()> {
        let _turn = Turn::of(product)?;
        let destination = Destination::named(product, &self.target, session.connector.as_ref())?;
        let _served = destination.serve()?;
        let found = look(&destination);
        let mended = self.is_wanted(&found)?.then(|| {
            destination.mend(&found);
            look(&destination)
        });
        let left = mended.as_ref().unwrap_or(&found);
        if left.is_empty() {
            ui::status("Whole", format_args!("what is published to `{}` is as it should be", self.target));
        }
        print_json(self.json, &json!({"found": found, "left": left}))?;
        repair::conclude(left, &self.target)
    }

    /// Whether to mend what was found. Where nobody can be asked, what would be done was told.
    fn is_wanted(&self, found: &[Finding]) -> Result<bool> {
        let count = found.iter().filter(|finding| finding.mend().is_some()).count();
        match count {
            0 => Ok(false),
            _ if self.yes => Ok(true),
            _ if !ui::is_somebody_there() => Ok(false),
            _ => ui::confirm(&format!("Mend {count} of {} findings?", found.len())),
        }
    }
}

/// What is wrong, shown to people.
fn look(destination: &Destination) -> Vec<Finding> {
    let found = destination.diagnosis();
    found.iter().for_each(Finding::show);
    found
}
