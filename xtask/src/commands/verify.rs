//! `verify`: the last step of a release on its own.

use std::time::Duration;

use clap::Args;
use semver::Version;

use super::{Session, TargetArgs, print_json};
use crate::error::{Error, Result};
use crate::release::destination::Destination;
use crate::release::{verify, version};
use crate::ui;

/// `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The version [default: the one in Cargo.toml]
    #[arg(value_parser = version::parse)]
    version: Option<Version>,
    /// Every version that users see listed, one after the other
    #[arg(long, conflicts_with = "version")]
    all: bool,
    /// Keep trying for so many seconds until all is right: caches and tags follow a release a little later
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
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
        let version = self.version.unwrap_or_else(|| workspace.package.version.clone());
        let proof = destination.verify(&version, Duration::from_secs(self.wait))?;
        ui::status("Verified", verify::shown(&proof));
        let title = format!("Users get {version} from {}", destination.target.repository);
        ui::summary(&verify::page(&title, &[], &proof));
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
