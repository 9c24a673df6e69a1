//! `serve`: what was rehearsed, as users would see it.

use clap::Args;

use super::Session;
use crate::error::{Error, Exit, Result};
use crate::local::server;
use crate::release::destination::Destination;
use crate::ui;

/// `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The port; it must be the one that the repository was released for
    #[arg(long)]
    port: Option<u16>,
    /// The target, one of [workspace.metadata.release.targets]
    #[arg(long = "to", value_name = "TARGET", default_value = "local")]
    pub(super) target: String,
}

impl Serve {
    pub(super) fn run(self, session: &Session) -> Result<()> {
        let workspace = session.workspace()?;
        let (target, targets) = (workspace.target(&self.target)?, workspace.targets(&self.target)?);
        let folder = workspace.products[0].directory(&target).ok_or_else(|| {
            Error::new(Exit::Usage, format!("target `{}` is not a folder", target.name))
                .because(format!("it is public: {}", target.repository))
                .remedy("cargo xtask serve serves a rehearsal")
        })?;
        let images: Vec<&str> = workspace
            .products
            .iter()
            .zip(&targets)
            .filter(|(product, _)| product.package.is_some())
            .map(|(_, target)| target.image.as_str())
            .collect();
        server::run(&folder, &targets, self.port.unwrap_or(target.port()), &|| {
            // Charts can be installed from a repository without a page as well.
            for product in &workspace.products {
                let destination = Destination::named(product, &target.name, None);
                if let Err(error) = destination.map(|destination| destination.show_page(&destination.tree())) {
                    ui::warn(error);
                }
            }
            server::tell(&folder, &target, &images);
        })
    }
}
