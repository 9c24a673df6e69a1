//! `verify`: the last step of a release on its own.

use std::time::Duration;

use clap::Args;
use semver::Version;

use super::{Session, TargetArgs, print_json};
use crate::config::Product;
use crate::error::{Error, Exit, Result};
use crate::release::destination::Destination;
use crate::release::verify::Proof;
use crate::release::{self, verify, version};
use crate::ui;

/// `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The product, where there are several, and the version [default: the one in the tree]
    #[arg(value_names = ["PRODUCT", "VERSION"], num_args = 0..=2)]
    words: Vec<String>,
    /// Every version that users see listed, one after the other; of every product, where none is named
    #[arg(long)]
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
        let open = |product: &Product| Destination::named(product, &self.to.target, session.connector.as_ref());
        if self.all {
            let (products, versions) = session.named_or_all(&self.words, version::parse)?;
            if !versions.is_empty() {
                return Err(Error::new(Exit::Usage, "--all is for all versions, and one is named"));
            }
            return self.run_all(&products.iter().map(open).collect::<Result<Vec<_>>>()?);
        }
        let (product, version) = session.named_one(&self.words, version::parse)?;
        let destination = open(&product)?;
        let _served = destination.serve()?;
        self.run_one(&destination, &version.map_or_else(|| release::version_in_tree(&product), Ok)?)
    }

    fn run_one(&self, destination: &Destination, version: &Version) -> Result<()> {
        let proof = destination.verify(version, Duration::from_secs(self.wait))?;
        tell(destination, version, &proof);
        print_json(self.to.json, &proof)
    }

    /// What is wrong with one version, or with one product, keeps nobody from looking at the others.
    fn run_all(&self, destinations: &[Destination]) -> Result<()> {
        let (mut proofs, mut problems) = (Vec::new(), Vec::new());
        for destination in destinations {
            let _served = destination.serve()?;
            let versions = verify::all(destination).unwrap_or_else(|error| {
                problems.push(error);
                Vec::new()
            });
            for version in versions {
                match destination.verify(&version, Duration::from_secs(self.wait)) {
                    Ok(proof) => {
                        tell(destination, &version, &proof);
                        proofs.push(proof);
                    }
                    Err(error) => problems.push(error),
                }
            }
        }
        print_json(self.to.json, &proofs)?;
        if problems.is_empty() { Ok(()) } else { Err(Error::all("some versions are not what was published", problems)) }
    }
}

fn tell(destination: &Destination, version: &Version, proof: &Proof) {
    ui::status("Verified", verify::shown(proof));
    let title = format!("Users get {} from {}", destination.called(&version.to_string()), destination.place());
    ui::summary(&verify::page(&title, &[], proof));
}
