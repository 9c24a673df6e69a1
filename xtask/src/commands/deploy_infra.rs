//! `deploy-infra`: the place where charts are hosted.

use clap::Args;

use super::{Session, print_json};
use crate::config::Location;
use crate::connector::DeployOptions;
use crate::error::{Error, Exit, Result};
use crate::local::turn;

/// `deploy-infra`.
#[derive(Debug, Args)]
#[command(after_help = "\
The environment says what to deploy: AWS_ACCOUNT_ID, CHARTS_CERTIFICATE_ARN, CHARTS_HOSTED_ZONE_ID, and more that README.md lists.

Examples:
  cargo xtask deploy-infra --plan     what would change, without changing anything
  cargo xtask deploy-infra            show that, ask, and deploy it
  cargo xtask deploy-infra --yes      the same without asking; in CI
  cargo xtask deploy-infra --adopt-from https://charts.example.com
                                      copy the charts that are served there into the bucket before DNS leads to it")]
pub struct DeployInfra {
    /// The target, one of [workspace.metadata.release.targets]
    #[arg(long = "to", value_name = "TARGET", default_value = "production")]
    pub(super) target: String,
    /// What is done, and what is allowed
    #[command(flatten)]
    options: DeployOptions,
}

impl DeployInfra {
    pub(super) fn run(self, session: &Session) -> Result<()> {
        let workspace = session.workspace()?;
        let target = workspace.target(&self.target)?;
        let (Location::Remote(remote), Some(connector)) = (&target.location, session.connector) else {
            return Err(Error::new(
                Exit::Usage,
                format!("target `{}` is a folder: it has no infrastructure", target.name),
            )
            .remedy("name a target that has a `stack`: --to production"));
        };
        let _turn = turn::take(&workspace.root)?;
        print_json(self.options.json, &(connector.deploy)(&workspace.root, &target, remote, &self.options)?)
    }
}
