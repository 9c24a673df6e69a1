//! The command line: what can be said, and nothing of what it does.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::image::layout::Digest;
use crate::release::version::{self, Bump};

/// Releases this workspace: image, chart, and the places they are published to.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    max_term_width = 120,
    after_help = "\
Examples:
  cargo xtask release              rehearse a release into target/release-local
  cargo xtask release minor --plan what a minor release would do, without doing it
  cargo xtask serve                a chart repository and an image registry on one port
  cargo xtask ci                   every check that CI makes

Exit codes are listed in README.md."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build, scan, publish and verify a version, or take some of these steps
    Release(Box<Release>),
    /// Fetch a published version as an anonymous user would, and compare digests
    Verify(Verify),
    /// Serve a rehearsed release: chart repository and read-only image registry on one port
    Serve(Serve),
    /// Deploy the bucket, the distribution and the DNS records that charts are hosted by
    DeployInfra(DeployInfra),
    /// Say what this machine lacks for a target, all at once
    Doctor(Doctor),
    /// Check everything that CI checks
    Ci(Ci),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// The target that the command is for, where it is for one.
    pub fn target(&self) -> Option<&str> {
        match self {
            Command::Release(release) => Some(match &release.stage {
                Some(stage) => &stage.place().target,
                None => &release.order.place.target,
            }),
            Command::Verify(verify) => Some(&verify.place.target),
            Command::DeployInfra(DeployInfra { target, .. })
            | Command::Serve(Serve { target, .. })
            | Command::Doctor(Doctor { target, .. }) => Some(target),
            Command::Ci(_) | Command::Completions { .. } => None,
        }
    }
}

impl Stage {
    fn place(&self) -> &PlaceArgs {
        match self {
            Stage::Bump(order)
            | Stage::Build { order, .. }
            | Stage::Scan { order, .. }
            | Stage::Push { order, .. }
            | Stage::Tag { order, .. }
            | Stage::Chart { order, .. }
            | Stage::Promote(order) => &order.place,
            Stage::Yank { place, .. } | Stage::Unyank { place, .. } => place,
        }
    }
}

/// `release`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true,
    after_help = "\
Examples:
  cargo xtask release              the version in the tree, to the target `local`
  cargo xtask release 3.1.0-rc.1   a pre-release
  cargo xtask release --plan       what would happen, without doing any of it
  cargo xtask release yank 3.1.0 --reason 'loses events'"
)]
pub struct Release {
    /// Some of its steps, or a repair
    #[command(subcommand)]
    pub stage: Option<Stage>,
    /// The order
    #[command(flatten)]
    pub order: OrderArgs,
    /// What the image's steps are told
    #[command(flatten)]
    pub builder: BuilderArgs,
    /// What the scan is told
    #[command(flatten)]
    pub waivers: WaiversArgs,
    /// Print what every step would do, and do nothing
    #[arg(long)]
    pub plan: bool,
    /// Put a first, empty index into a repository that has none
    #[arg(long)]
    pub init: bool,
    /// Push the commit of the release where the remote lacks it
    #[arg(long)]
    pub push: bool,
}

/// What the image's build is told.
#[derive(Clone, Debug, Args)]
pub struct BuilderArgs {
    /// The builder instance that buildx uses, for targets that build with it
    #[arg(long, value_name = "NAME")]
    pub builder: Option<String>,
}

/// What the image's scan is told.
#[derive(Clone, Debug, Args)]
pub struct WaiversArgs {
    /// The file of waivers [default: waivers.toml in the workspace root, where there is one]
    #[arg(long, value_name = "FILE")]
    pub waivers: Option<PathBuf>,
}

/// What every such step takes.
#[derive(Clone, Debug, Args)]
pub struct OrderArgs {
    /// patch, minor, major or X.Y.Z [default: the version in Cargo.toml]
    pub word: Option<Bump>,
    /// What the step is told beside the version
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Where to, and how strictly.
#[derive(Clone, Debug, Args)]
pub struct PlaceArgs {
    /// The target, one of [workspace.metadata.release.targets]
    #[arg(long = "to", value_name = "TARGET", default_value = "local")]
    pub target: String,
    /// Never replace what is published, as production does
    #[arg(long)]
    pub strict: bool,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// The steps of a release that can be taken on their own, as the jobs of CI do.
#[derive(Debug, Subcommand)]
pub enum Stage {
    /// Make a staging copy of the sources at the version
    Bump(OrderArgs),
    /// Make the image's OCI layout, or fetch the one that is published
    Build {
        /// The order
        #[command(flatten)]
        order: OrderArgs,
        /// The builder
        #[command(flatten)]
        builder: BuilderArgs,
        /// Read what is published as everybody can, over HTTPS: what compiles others' code needs no credentials
        #[arg(long)]
        public: bool,
    },
    /// Scan that layout, and keep the verdict for its digest
    Scan {
        /// The order
        #[command(flatten)]
        order: OrderArgs,
        /// The waivers
        #[command(flatten)]
        waivers: WaiversArgs,
        /// The image that it must be; nothing is scanned where the layout at hand is another
        #[arg(long)]
        digest: Option<Digest>,
    },
    /// Store that layout's blobs; it must have a verdict
    Push {
        /// The order
        #[command(flatten)]
        order: OrderArgs,
        /// The image that it must be; nothing is pushed where the layout at hand is another
        #[arg(long)]
        digest: Option<Digest>,
    },
    /// Point the version's tags at a pushed image
    Tag {
        /// The order
        #[command(flatten)]
        order: OrderArgs,
        /// The image [default: the layout that was built last]
        #[arg(long)]
        digest: Option<Digest>,
    },
    /// Package the chart, publish it, and list it in the index
    Chart {
        /// The order
        #[command(flatten)]
        order: OrderArgs,
        /// The image [default: the one that the version's tag points at]
        #[arg(long)]
        digest: Option<Digest>,
    },
    /// Point latest, X and X.Y at the highest listed versions
    Promote(OrderArgs),
    /// Take a version out of the index; its files stay
    Yank {
        /// The version
        #[arg(value_parser = version::parse)]
        version: semver::Version,
        /// Why; kept in the index
        #[arg(long)]
        reason: String,
        /// Where
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Put a yanked version back as it was
    Unyank {
        /// The version
        #[arg(value_parser = version::parse)]
        version: semver::Version,
        /// Why; shown, not kept
        #[arg(long)]
        reason: Option<String>,
        /// Where
        #[command(flatten)]
        place: PlaceArgs,
    },
}

/// `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The version [default: the one in Cargo.toml]
    #[arg(value_parser = version::parse)]
    pub version: Option<semver::Version>,
    /// The newest stable version that users see listed, whatever the tree says; what a daily look asks for
    #[arg(long, conflicts_with = "version")]
    pub newest: bool,
    /// Look again for so long until all is right: caches and tags follow a release a little later
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub wait: u64,
    /// Also scan the image with the database of today: what nobody knew of when it was released may be known by now
    #[arg(long)]
    pub scan: bool,
    /// The waivers for that
    #[command(flatten)]
    pub waivers: WaiversArgs,
    /// Where
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The port; it must be the one that the repository was released for
    #[arg(long)]
    pub port: Option<u16>,
    /// The target, one of [workspace.metadata.release.targets]
    #[arg(long = "to", value_name = "TARGET", default_value = "local")]
    pub target: String,
}

/// `deploy-infra`.
#[derive(Debug, Args)]
#[command(after_help = "\
What to deploy is said by the environment: AWS_ACCOUNT_ID, CHARTS_CERTIFICATE_ARN, CHARTS_HOSTED_ZONE_ID, and more that README.md lists.

Examples:
  cargo xtask deploy-infra --plan     what would change, without changing anything
  cargo xtask deploy-infra            show that, ask, and deploy it
  cargo xtask deploy-infra --yes      the same without asking; in CI
  cargo xtask deploy-infra --adopt-from https://charts.example.com
                                      copy the charts that are served there into the bucket before DNS leads to it")]
pub struct DeployInfra {
    /// The target, one of [workspace.metadata.release.targets]
    #[arg(long = "to", value_name = "TARGET", default_value = "production")]
    pub target: String,
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

/// `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The target, one of [workspace.metadata.release.targets]
    #[arg(long = "to", value_name = "TARGET", default_value = "local")]
    pub target: String,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

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
