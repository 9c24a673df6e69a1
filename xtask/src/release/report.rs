//! What a run did, for people, for `--json`, and for the page of a CI job.

use serde::{Serialize, Serializer};

use crate::image::labels::ImageFacts;
use crate::oci::{self, Digest, Platform};
use crate::release::Release;
use crate::release::pipeline::Pipeline;
use crate::release::step::{Planned, State};
use crate::release::verify::{self, Proof};
use crate::ui;

/// What a run did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version.
    pub version: String,
    /// The source state.
    pub revision: String,
    /// The target's name.
    pub target: String,
    /// The image, where the product has one.
    pub digest: Option<Digest>,
    /// Whether anything was changed.
    pub changed: bool,
    /// Platforms that the image lacks, since this machine cannot build them.
    #[serde(serialize_with = "as_texts")]
    pub missing_platforms: Vec<Platform>,
    /// What an anonymous user gets.
    pub proof: Proof,
}

impl Report {
    /// Of a run that came to its end.
    pub(super) fn of(pipeline: &Pipeline, image: Option<ImageFacts>, proof: Proof, changed: bool) -> Self {
        let Release { version, revision, .. } = &pipeline.release;
        Report {
            version: version.to_string(),
            revision: revision.clone(),
            target: pipeline.target().name.clone(),
            missing_platforms: image
                .as_ref()
                .map(|image| pipeline.missing_platforms(&image.platforms))
                .unwrap_or_default(),
            digest: image.map(|image| image.digest),
            changed,
            proof,
        }
    }

    /// Tells people, and the page of a CI job.
    pub(super) fn tell(&self, pipeline: &Pipeline) {
        let (chart, version) = (&pipeline.chart.name, &self.version);
        ui::status("Verified", verify::shown(&self.proof));
        if !self.missing_platforms.is_empty() {
            let missing = oci::platform_names(&self.missing_platforms);
            ui::warn(format_args!(
                "the image lacks {missing}: this machine cannot build it (cargo xtask doctor says more)"
            ));
        }
        ui::summary(&self.page(chart));
        if self.changed {
            let target = pipeline.target();
            let try_it = match target.is_remote() {
                _ if !pipeline.destination.has_chart => format!("docker run --rm {}:{version}", target.image),
                true => format!("helm repo add {chart} {}", target.repository),
                false => "cargo xtask serve".into(),
            };
            ui::status("Released", format_args!("{chart} {version}; try it: {try_it}"));
        } else {
            ui::note("Unchanged", format_args!("{chart} {version} was released before; no byte was changed"));
        }
        if pipeline.target().page && pipeline.destination.has_chart {
            ui::note("Page", format_args!("{}/", pipeline.target().repository));
        }
    }

    /// What a maintainer wants to see on the page of a CI job.
    fn page(&self, chart: &str) -> String {
        let outcome = if self.changed { "released" } else { "was released before, nothing changed" };
        let rows = [
            ("outcome", outcome.into()),
            ("target", format!("`{}`", self.target)),
            ("commit", format!("`{}`", self.revision)),
        ];
        verify::page(&format!("{chart} {}", self.version), &rows, &self.proof)
    }
}

/// A plan: one line for each step, on standard output.
pub fn print_plan(steps: &[Planned]) {
    for Planned { step, state } in steps {
        let (style, word, detail) = match state {
            State::Done(detail) => (ui::NEUTRAL, "done", detail.clone()),
            State::ToDo(detail) => (ui::GOOD, "to do", detail.clone()),
            State::Conflict(error) => (ui::BAD, "conflict", error.to_string()),
            State::Unknown(error) => (ui::WARNING, "unknown", error.to_string()),
        };
        let detail = ui::harmless(detail).replace('\n', "\n                    ");
        ui::drawn_result(format_args!("{step:<10} {style}{word:<8}{style:#} {detail}"));
    }
}

fn as_texts<S: Serializer>(platforms: &[Platform], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(platforms.iter().map(Platform::to_string))
}
