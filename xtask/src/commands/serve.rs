//! `serve`: what was rehearsed, as users would see it.

use std::path::Path;
use std::rc::Rc;

use clap::Args;

use super::Session;
use crate::chart::page::{self, About};
use crate::chart::repository;
use crate::config::{Target, Workspace};
use crate::error::{Error, Exit, Result};
use crate::local::{self, server};
use crate::sys::files;
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
        let target = workspace.target(&self.target)?;
        let folder = workspace.directory(&target).ok_or_else(|| {
            Error::new(Exit::Usage, format!("target `{}` is not a folder", target.name))
                .because(format!("it is public: {}", target.repository))
                .remedy("cargo xtask serve serves a rehearsal")
        })?;
        server::run(&folder, &target, self.port.unwrap_or(target.port()), &|| {
            // Charts can be installed from a repository without pages as well.
            if let Err(error) = write_pages(&workspace, &target, &folder) {
                ui::warn(format_args!("{error}\n  the page at {} is not as it should be", target.repository));
            }
            server::tell(&folder, &target);
        })
    }
}

/// Makes the pages what the index and the tree say now.
fn write_pages(workspace: &Workspace, target: &Target, folder: &Path) -> Result<()> {
    let store = local::store(folder);
    let about = About::of(workspace, target, &|path| files::read(&workspace.root.join(path)))?;
    let oci = local::chart_folder(folder).is_dir().then(|| target.chart_reference(&about.chart));
    let shown = page::publish(&store, &About { oci, ..about }, &|| repository::read(&store).map(Rc::new))?;
    if let Some(version) = shown.unexplained {
        ui::note(
            "Unexplained",
            format_args!("CHANGELOG.md has no section for {version}: the page does not say what changed"),
        );
    }
    Ok(())
}
