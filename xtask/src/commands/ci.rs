//! `ci`: its arguments. What it does is a package of its own, which has the same ones.

use std::path::PathBuf;

use clap::Args;

/// `ci`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask ci                   everything that a change must pass, with pinned tools that it installs
  cargo xtask ci --quick           what needs nothing beyond Rust and git
  cargo xtask ci --all             also what only guards against rot, as CI does every night
  cargo xtask ci --only lint       one part
  cargo xtask ci --test kill::     the tests whose path contains `kill::`, with the tools that they need
  cargo xtask ci --only tools      install all pinned tools, and print where they are")]
pub struct Ci {
    /// Only what needs nothing beyond Rust and git: formats, lints, unit tests, and the tests of rehearsals
    #[arg(long, conflicts_with = "all")]
    pub quick: bool,
    /// Also what only guards against rot: reproducible builds from nothing, the oldest Kubernetes, arm64
    #[arg(long)]
    pub all: bool,
    /// Run only this part; may be given several times
    #[arg(long, value_name = "PART")]
    pub only: Vec<String>,
    /// Run only the tests whose path contains this; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with_all = ["quick", "all", "only"])]
    pub test: Vec<String>,
    /// Where test tools are kept between runs [default: xtask-tools in the user's cache folder]
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
}
