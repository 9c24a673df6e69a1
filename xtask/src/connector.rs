//! What a program reaches beyond this machine, and how: `xtask` has nothing of it, and `xtask-remote` gives it to the commands.

use std::path::Path;

use clap::Args;

use crate::chart::cdn::Cdn;
use crate::chart::store::Store;
use crate::config::{Remote, Target};
use crate::error::Result;
use crate::oci::registry::Registry;
use crate::sys::http::Anonymous;

/// The way to targets beyond this machine.
#[derive(Clone, Copy, Debug)]
pub struct Connector {
    /// Opens a target for the chart of that name. Nothing is asked of it yet.
    pub open: fn(&Target, &Remote, &str) -> Result<Seams>,
    /// The same as somebody without credentials sees it: it can be read, and nothing else.
    pub open_public: fn(&Target, &Remote, &str) -> Result<Seams>,
    /// Deploys the infrastructure of a target of the workspace in that folder, and says what came of it.
    pub deploy: fn(&Path, &Target, &Remote, &DeployOptions) -> Result<serde_json::Value>,
}

impl Connector {
    /// The way of somebody without credentials.
    #[must_use]
    pub fn as_everybody(self) -> Self {
        Connector { open: self.open_public, ..self }
    }
}

/// Where a target keeps things, and who looks at them from outside.
pub struct Seams {
    /// The image's repository.
    pub registry: Box<dyn Registry>,
    /// The chart's repository in the same registry.
    pub charts: Box<dyn Registry>,
    /// The chart repository's files.
    pub store: Box<dyn Store>,
    /// The caches before them, where there are any.
    pub cdn: Option<Box<dyn Cdn>>,
    /// An anonymous user.
    pub user: Anonymous,
}

/// What a deployment is told beside the target.
#[derive(Clone, Debug, Args)]
pub struct DeployOptions {
    /// Print what would change, and change nothing
    #[arg(long)]
    pub plan: bool,
    /// Deploy without asking
    #[arg(long, conflicts_with = "plan")]
    pub yes: bool,
    /// Let the bucket, the distribution or a DNS record be replaced or leave the stack
    #[arg(long)]
    pub allow_replace: bool,
    /// First copy every archive and the index of the chart repository there, so that no version is lost
    #[arg(long, value_name = "URL")]
    pub adopt_from: Option<String>,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
}
