//! `doctor`: what this machine lacks for a release.

use clap::Args;

use super::{Session, print_json};
use crate::error::Result;
use crate::release::doctor;

/// `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The target, one of [workspace.metadata.release.targets]
    #[arg(long = "to", value_name = "TARGET", default_value = "local")]
    pub(super) target: String,
    /// Print the result as JSON on standard output
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self, session: &Session) -> Result<()> {
        let workspace = session.workspace()?;
        let target = workspace.target(&self.target)?;
        let findings = doctor::look(&workspace, &target, session.connector.as_ref())?;
        if self.json {
            print_json(true, &findings)?;
        } else {
            findings.iter().for_each(doctor::show);
        }
        doctor::conclude(&findings, &target)
    }
}
