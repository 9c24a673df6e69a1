//! `release`: the whole of it, its plan, or some of its steps as the jobs of CI take them.

use std::path::Path;

use clap::{Args, Subcommand};
use semver::Version;
use serde_json::json;

use super::{Session, TargetArgs, WaiversArgs, print_json};
use crate::config::Product;
use crate::error::{Error, Exit, Result};
use crate::local::turn::Turn;
use crate::oci::{Digest, Platform};
use crate::release::destination::Destination;
use crate::release::parts::Part;
use crate::release::pipeline::Pipeline;
use crate::release::version;
use crate::release::{self, Options, image, notes, report};
use crate::sys::files;
use crate::ui;

/// `release`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true,
    after_help = "\
Examples:
  cargo xtask release              the version in the tree, to the target `local`
  cargo xtask release 3.1.0-rc.1   a pre-release
  cargo xtask release web minor    the next minor version of the product `web`, where there are several
  cargo xtask release --plan       what would happen, without doing any of it
  cargo xtask release yank 3.1.0 --reason 'loses events'"
)]
pub struct Release {
    /// Some of its steps, or a repair
    #[command(subcommand)]
    stage: Option<Stage>,
    /// The version, and where to
    #[command(flatten)]
    step: StepArgs,
    /// What the image's steps are told
    #[command(flatten)]
    builder: BuilderArgs,
    /// What the scan is told
    #[command(flatten)]
    waivers: WaiversArgs,
    /// Print what every step would do, and do nothing
    #[arg(long)]
    plan: bool,
    /// Put a first, empty index into a repository that has none
    #[arg(long)]
    init: bool,
    /// Push the commit of the release where the remote lacks it
    #[arg(long)]
    push: bool,
}

/// What the image's build is told.
#[derive(Clone, Debug, Args)]
struct BuilderArgs {
    /// The builder instance that buildx uses, for targets that build with it
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,
}

/// What every such step takes.
#[derive(Clone, Debug, Args)]
struct StepArgs {
    /// The product, where there are several, and patch, minor, major or X.Y.Z [default: the version in the tree]
    #[arg(value_names = ["PRODUCT", "VERSION"], num_args = 0..=2)]
    words: Vec<String>,
    /// Where to
    #[command(flatten)]
    to: TargetArgs,
}

/// The steps of a release that can be taken on their own, as the jobs of CI do.
#[derive(Debug, Subcommand)]
enum Stage {
    /// Make a staging copy of the sources at the version
    Bump(StepArgs),
    /// Make the image's OCI layout, or fetch the one that is published
    Build {
        /// The version, and where to
        #[command(flatten)]
        step: StepArgs,
        /// The builder
        #[command(flatten)]
        builder: BuilderArgs,
        /// Read what is published without credentials, over HTTPS: what compiles others' code should have none
        #[arg(long)]
        public: bool,
        /// Compile for this platform alone, and leave a part in target/xtask/parts: other machines compile for the others
        #[arg(long, value_parser = platform)]
        platform: Option<Platform>,
        /// A part that was brought to target/xtask/parts, by the digest that was printed; one for each platform
        #[arg(long = "part", value_name = "PLATFORM=DIGEST", conflicts_with = "platform")]
        parts: Vec<Part>,
    },
    /// Scan that layout, and keep the verdict for its digest
    Scan {
        /// The version, and where to
        #[command(flatten)]
        step: StepArgs,
        /// The waivers
        #[command(flatten)]
        waivers: WaiversArgs,
        /// The image's digest; nothing is scanned where the layout holds another one
        #[arg(long)]
        digest: Option<Digest>,
    },
    /// Store that layout's blobs; it must have a verdict
    Push {
        /// The version, and where to
        #[command(flatten)]
        step: StepArgs,
        /// The image's digest; nothing is pushed where the layout holds another one
        #[arg(long)]
        digest: Option<Digest>,
        /// The digest that a second build gave, on another machine; nothing is pushed where it is another
        #[arg(long, value_name = "DIGEST")]
        second: Option<Digest>,
    },
    /// Sign that image and its chart, and attach what is said of them; it must be pushed
    Sign {
        /// The version, and where to
        #[command(flatten)]
        step: StepArgs,
        /// The image's digest; nothing is signed where the layout holds another one
        #[arg(long)]
        digest: Option<Digest>,
        /// The digest that a second build gave, on another machine; nothing is signed where it is another
        #[arg(long, value_name = "DIGEST")]
        second: Option<Digest>,
    },
    /// Point the version's tags at a pushed image that is signed
    Tag {
        /// The version, and where to
        #[command(flatten)]
        step: StepArgs,
        /// The image [default: the layout that was built last]
        #[arg(long)]
        digest: Option<Digest>,
    },
    /// Package the chart, publish it, and list it in the index; a chart without an image is signed first
    Chart {
        /// The version, and where to
        #[command(flatten)]
        step: StepArgs,
        /// The image [default: the one that the version's tag points at]
        #[arg(long)]
        digest: Option<Digest>,
    },
    /// Point latest, X and X.Y at the highest listed versions
    Promote(StepArgs),
    /// Print what the changelog says of a version, as GitHub's release of it does
    Notes {
        /// The product, where there are several, and the version [default: the one in the tree]
        #[arg(value_names = ["PRODUCT", "VERSION"], num_args = 0..=2)]
        words: Vec<String>,
    },
    /// Gather what belongs beside these notes: the archive, bills of materials and the release record, as users get them
    Assets {
        /// The product, where there are several, and the version [default: the one in the tree]
        #[arg(value_names = ["PRODUCT", "VERSION"], num_args = 0..=2)]
        words: Vec<String>,
        /// Where from
        #[command(flatten)]
        to: TargetArgs,
    },
    /// Take a version out of the index; its files stay
    Yank {
        /// The product, where there are several, and the version
        #[arg(value_names = ["PRODUCT", "VERSION"], num_args = 1..=2, required = true)]
        words: Vec<String>,
        /// Why; kept in the index
        #[arg(long)]
        reason: String,
        /// Where
        #[command(flatten)]
        to: TargetArgs,
    },
    /// Put a yanked version back as it was
    Unyank {
        /// The product, where there are several, and the version
        #[arg(value_names = ["PRODUCT", "VERSION"], num_args = 1..=2, required = true)]
        words: Vec<String>,
        /// Why; shown, not kept
        #[arg(long)]
        reason: Option<String>,
        /// Where
        #[command(flatten)]
        to: TargetArgs,
    },
}

impl Release {
    /// Where it goes, if anywhere.
    pub(super) fn to(&self) -> Option<&TargetArgs> {
        self.stage.as_ref().map_or(Some(&self.step.to), Stage::to)
    }

    pub(super) fn run(self, session: &Session) -> Result<()> {
        let root = &session.workspace()?.root;
        let json = self.to().is_some_and(|to| to.json);
        if let Some(stage) = self.stage {
            return stage.run(session, root, json);
        }
        let Release { init, push, plan, .. } = self;
        let (builder, waivers) = (self.builder.builder, self.waivers.waivers);
        let options = Options { init, push, builder, waivers, ..self.step.options(session)? };
        if !plan {
            return print_json(json, &release::apply::run(root, &options)?);
        }
        let plan = Pipeline::open(root, &options)?.plan().steps;
        if !json {
            report::print_plan(&plan);
        }
        print_json(json, &plan)
    }
}

impl StepArgs {
    fn options(self, session: &Session) -> Result<Options> {
        let (product, bump) = session.named_one(&self.words, str::parse)?;
        let TargetArgs { target, strict, .. } = self.to;
        let (product, connector) = (product.name, session.connector);
        Ok(Options { bump, product, target, strict, connector, ..Options::default() })
    }
}

impl Stage {
    fn to(&self) -> Option<&TargetArgs> {
        self.said().1
    }

    fn words(&self) -> &[String] {
        self.said().0
    }

    /// The product and version that are named, and where they go.
    fn said(&self) -> (&[String], Option<&TargetArgs>) {
        match self {
            Stage::Bump(step)
            | Stage::Build { step, .. }
            | Stage::Scan { step, .. }
            | Stage::Push { step, .. }
            | Stage::Sign { step, .. }
            | Stage::Tag { step, .. }
            | Stage::Chart { step, .. }
            | Stage::Promote(step) => (&step.words, Some(&step.to)),
            Stage::Assets { words, to } | Stage::Yank { words, to, .. } | Stage::Unyank { words, to, .. } => {
                (words, Some(to))
            }
            Stage::Notes { words } => (words, None),
        }
    }

    fn run(self, session: &Session, root: &Path, json: bool) -> Result<()> {
        let (product, _) = session.named(self.words(), |_| Ok(()))?;
        // Whoever only reads the tree waits for nobody.
        let _turn = (!matches!(self, Stage::Notes { .. })).then(|| Turn::of(&product)).transpose()?;
        // Whoever publishes needs a commit that others can have.
        let bumped = |step: StepArgs| Pipeline::open(root, &step.options(session)?)?.bump();
        let destination =
            |product: &Product, to: &TargetArgs| Destination::named(product, &to.target, session.connector.as_ref());
        let versioned = |words: &[String], to: &TargetArgs| {
            let version = session.named_one(words, version::parse)?.1;
            let version = version.ok_or_else(|| Error::new(Exit::Usage, "it is not said which version"))?;
            Ok((destination(&product, to)?, version))
        };
        match self {
            Stage::Bump(step) => {
                let pipeline = bumped(step)?;
                let (folder, version) = (pipeline.stage()?, pipeline.release.version.to_string());
                ui::status("Staged", format_args!("{version} in {}", folder.display()));
                print_json(json, &json!({"version": version, "folder": folder}))
            }
            Stage::Build { step, builder, public, platform, parts } => {
                let options = Options { builder: builder.builder, public, ..step.options(session)? };
                let pipeline = Pipeline::open(root, &options)?;
                pipeline.check_order()?;
                match platform {
                    Some(platform) => print_json(json, &json!({"part": pipeline.build_part(&platform)?})),
                    None => print_json(json, &json!({"digest": pipeline.build(&parts)?})),
                }
            }
            Stage::Scan { step, waivers, digest } => {
                let options = Options { waivers: waivers.waivers, ..step.options(session)? };
                print_json(json, &Pipeline::open(root, &options)?.scan(digest.as_ref())?)
            }
            Stage::Push { step, digest, second } => {
                let pipeline = bumped(step)?;
                let pushed = pipeline.push(digest.as_ref(), second.as_ref())?;
                print_json(json, &json!({"digest": pushed, "image": pipeline.destination.target.image}))
            }
            Stage::Sign { step, digest, second } => told(bumped(step)?.sign(digest.as_ref(), second.as_ref())?, json),
            Stage::Tag { step, digest } => {
                let pipeline = bumped(step)?;
                let digest = digest.map_or_else(|| pipeline.built_digest(), Ok)?;
                told(pipeline.tag(&digest)?, json)
            }
            Stage::Chart { step, digest } => {
                let pipeline = bumped(step)?;
                let _served = pipeline.destination.serve()?;
                told(pipeline.publish_only(digest)?, json)
            }
            Stage::Notes { words } => {
                let version = session.named_one(&words, version::parse)?.1;
                let version = version.map_or_else(|| release::version_in_tree(&product), Ok)?;
                ui::result(notes::notes(&product, &version)?);
                Ok(())
            }
            Stage::Assets { words, to } => {
                let version = session.named_one(&words, version::parse)?.1;
                let version = version.map_or_else(|| release::version_in_tree(&product), Ok)?;
                gather(&product, &destination(&product, &to)?, &version, json)
            }
            Stage::Promote(StepArgs { to, .. }) => told(destination(&product, &to)?.promote()?, json),
            Stage::Yank { words, reason, to } => {
                let (destination, version) = versioned(&words, &to)?;
                told(destination.yank(&version, &reason)?, json)
            }
            Stage::Unyank { words, reason, to } => {
                let (destination, version) = versioned(&words, &to)?;
                if let Some(reason) = reason {
                    ui::note("Reason", reason);
                }
                told(destination.unyank(&version)?, json)
            }
        }
    }
}

fn platform(text: &str) -> Result<Platform, String> {
    text.to_owned().try_into()
}

/// Puts a version's assets where nothing else is.
fn gather(product: &Product, destination: &Destination, version: &Version, json: bool) -> Result<()> {
    let _served = destination.serve()?;
    let assets = notes::assets(destination, version, &|digest| image::kept_verdict(&product.root, digest))?;
    let folder = product.work("assets");
    files::remove(&folder)?;
    files::create_folder(&folder)?;
    for (name, bytes) in &assets {
        files::replace(&folder.join(name), bytes)?;
        let shown = folder.strip_prefix(&product.root).unwrap_or(&folder).join(name);
        ui::status("Gathered", format_args!("{} ({} bytes)", shown.display(), bytes.len()));
    }
    print_json(json, &json!({"folder": folder, "files": assets.keys().collect::<Vec<_>>()}))
}

fn told(changed: bool, json: bool) -> Result<()> {
    if changed {
        ui::status("Done", "");
    } else {
        ui::note("Unchanged", "it was done before; no byte was changed");
    }
    print_json(json, &json!({"changed": changed}))
}
