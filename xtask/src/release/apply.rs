//! Applies a plan, one step at a time: the only thing that changes the world.
//!
//! What a step learns is handed to those after it. Where another run was faster, the world is not what the plan was made for any more:
//! then it is observed and planned again.

use std::path::Path;
use std::time::Duration;

use crate::chart::repository;
use crate::config::Workspace;
use crate::error::{Error, Exit, Result};
use crate::image::labels::ImageFacts;
use crate::image::waivers::Waivers;
use crate::local::turn::Turn;
use crate::oci::{self, Digest, Layout};
use crate::release::Options;
use crate::release::destination::Destination;
use crate::release::image::Binaries;
use crate::release::pipeline::Pipeline;
use crate::release::plan::{self, ImagePlan, Plan};
use crate::release::publish::Put;
use crate::release::report::Report;
use crate::release::step::{Planned, State, Step};
use crate::release::verify::Proof;
use crate::ui;

/// Releases: plans, applies the plan, and plans again where it lost a race.
///
/// # Errors
/// Everything that stops a step, and all that is known to be in the way before the first one at once.
pub fn run(root: &Path, options: &Options) -> Result<Report> {
    const PLANS: usize = 10;
    let product = Workspace::find(root)?.product(options.product.as_deref())?.clone();
    let mut turn = Turn::of(&product)?;
    if options.init {
        let destination = Destination::named(&product, &options.target, options.connector.as_ref())?;
        repository::put_first(&*destination.store)?;
    }
    let pipeline = Pipeline::open(root, options)?;
    pipeline.check_bump_can_be_signed()?;
    let pipeline = pipeline.bump()?;
    // A rehearsal is served on a port that all products share.
    let pipeline = if pipeline.target().is_remote() { pipeline.leave_tree(&mut turn)? } else { pipeline };
    let _served = pipeline.destination.serve()?;
    let target = &pipeline.target().name;
    ui::status("Releasing", format_args!("{} {} to `{target}`", pipeline.chart.name, pipeline.release.version));
    let mut run = Run::of(&pipeline);
    for _ in 0..PLANS {
        match run.follow_a_plan()? {
            Applied::Yes => return run.conclude(),
            Applied::Lost(why) => ui::note("Planning", format_args!("again: {why}")),
        }
        run = Run { changed: run.changed, replans: true, ..Run::of(&pipeline) };
    }
    Err(Error::new(Exit::Busy, "other runs of the same release were faster every time").remedy("retry the command"))
}

/// How the attempt to apply a step went.
enum Applied {
    Yes,
    /// Another run was faster; in which way.
    Lost(String),
}

/// One pass through a plan, and what its steps learnt.
struct Run<'p> {
    pipeline: &'p Pipeline,
    /// Whether this is not the first plan, which people are told then.
    replans: bool,
    binaries: Option<Binaries>,
    waivers: Option<Waivers>,
    /// The image that is there and that nobody who is accepted has signed, and why it does not count.
    unsigned: Option<(ImageFacts, String)>,
    /// The image that was built.
    built: Option<Layout>,
    /// The image of the release, once it is known.
    image: Option<ImageFacts>,
    /// How long the outside may go on showing old copies.
    patience: Duration,
    proof: Option<Proof>,
    changed: bool,
}

impl<'p> Run<'p> {
    fn of(pipeline: &'p Pipeline) -> Self {
        Run {
            pipeline,
            replans: false,
            binaries: None,
            waivers: None,
            unsigned: None,
            built: None,
            image: None,
            patience: Duration::ZERO,
            proof: None,
            changed: false,
        }
    }

    fn follow_a_plan(&mut self) -> Result<Applied> {
        let Plan { image, steps } = self.pipeline.plan();
        plan::check(&steps)?;
        match image {
            ImagePlan::Adopt(facts) => {
                ui::note("Adopted", format_args!("image {} ({})", facts.digest, oci::platform_names(&facts.platforms)));
                self.image = Some(facts);
            }
            ImagePlan::Replace(why) => {
                ui::note("Replacing", format_args!("{} was rehearsed before: {why}", self.pipeline.release.version));
            }
            ImagePlan::Unsigned(facts, why) => self.unsigned = Some((facts, why)),
            _ => {}
        }
        for Planned { step, state } in steps {
            let (State::ToDo(detail) | State::Unknown(Error { what: detail, .. })) = state else { continue };
            if self.replans {
                ui::note(step.name(), detail);
            }
            if let Applied::Lost(why) = ui::step(step.name(), || self.apply(step))? {
                return Ok(Applied::Lost(why));
            }
        }
        Ok(Applied::Yes)
    }

    fn apply(&mut self, step: Step) -> Result<Applied> {
        let pipeline = self.pipeline;
        match step {
            // Done before there was a plan: which version this is rests on it.
            Step::Bump => {}
            Step::Compile => {
                // A mistake in the waivers should not wait for a build, which takes long.
                self.waivers = Some(pipeline.read_waivers()?);
                self.binaries = Some(pipeline.compile()?);
            }
            Step::Build => self.build()?,
            Step::Scan => self.scan()?,
            Step::Push => self.push()?,
            Step::Sign => self.changed |= pipeline.attest(self.known_image()?, None)?,
            Step::Tag => return self.tag(),
            Step::Package => match pipeline.put(self.known_image()?)? {
                Put::Before => {}
                Put::Now => self.changed = true,
                Put::Met(other) => return Ok(overtaken(&other)),
            },
            Step::Publish => {
                let image = self.known_image()?;
                let listed = pipeline.list(image)?;
                // A slower run of the same release may have moved the tags meanwhile: whoever comes last puts them right.
                self.changed |= listed | image.map_or(Ok(false), |image| pipeline.set_tags(&image.digest))?;
            }
            Step::Page => self.changed |= pipeline.show_page(),
            Step::Invalidate => self.patience = pipeline.announce()?,
            Step::Promote => {
                self.changed |= pipeline.destination.promote()? | pipeline.tag_chart(self.known_image()?)?;
            }
            Step::Verify => {
                let patience = self.patience.max(pipeline.destination.patience());
                self.proof = Some(pipeline.destination.verify(&pipeline.release.version, patience)?);
            }
            Step::GitTag => self.changed |= pipeline.tag_commit()?,
        }
        Ok(Applied::Yes)
    }

    fn build(&mut self) -> Result<()> {
        let binaries = self.binaries.take().ok_or_else(|| out_of_order(Step::Build))?;
        let layout = match &self.unsigned {
            Some((there, why)) => self.pipeline.assemble_again(there, why, binaries)?,
            None => self.pipeline.assemble(binaries)?,
        };
        self.image = Some(ImageFacts::of(layout.digest.clone(), &layout.platforms()?));
        self.built = Some(layout);
        Ok(())
    }

    fn scan(&mut self) -> Result<()> {
        let waivers = self.waivers.take().map_or_else(|| self.pipeline.read_waivers(), Ok)?;
        match &self.built {
            Some(layout) => self.pipeline.scan_layout(layout, &waivers).map(drop),
            None => self.pipeline.scan_adopted(&self.adopted()?.digest, &waivers),
        }
    }

    fn push(&mut self) -> Result<()> {
        let layout = self.built.as_ref().ok_or_else(|| out_of_order(Step::Push))?;
        self.pipeline.push_layout(layout)?;
        self.changed = true;
        Ok(())
    }

    fn tag(&mut self) -> Result<Applied> {
        let digest = self.adopted()?.digest.clone();
        if self.built.take().is_some() {
            // Building takes minutes: the same release, made with another compiler, may have been faster.
            match self.pipeline.image_plan(&self.pipeline.images()) {
                ImagePlan::Adopt(facts) if facts.digest != digest => return Ok(overtaken(&facts.digest)),
                ImagePlan::Conflict(error) | ImagePlan::Unknown(error) => return Err(error),
                _ => {}
            }
        }
        self.changed |= self.pipeline.set_tags(&digest)?;
        Ok(Applied::Yes)
    }

    /// The image of the release, where its product has one.
    fn known_image(&self) -> Result<Option<&ImageFacts>> {
        self.pipeline.product.package.as_ref().map(|_| self.adopted()).transpose()
    }

    fn adopted(&self) -> Result<&ImageFacts> {
        self.image.as_ref().ok_or_else(|| out_of_order(Step::Package))
    }

    fn conclude(self) -> Result<Report> {
        let Some(proof) = self.proof else { return Err(out_of_order(Step::Verify)) };
        let report = Report::of(self.pipeline, self.image, proof, self.changed);
        report.tell(self.pipeline);
        Ok(report)
    }
}

/// The same release, made with another compiler, was faster.
fn overtaken(other: &Digest) -> Applied {
    Applied::Lost(format!("adopted image {other}, published meanwhile by another toolchain"))
}

fn out_of_order(step: Step) -> Error {
    Error::new(Exit::Failure, format!("a plan came to `{step}` before what it builds on"))
        .because("this is a bug in xtask")
}
