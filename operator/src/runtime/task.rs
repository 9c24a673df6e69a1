//! What the operator does besides writing the status, and how each of it is doing.

use std::time::Duration;

use litemap::LiteMap;

use super::Failure;

/// So many failures in a row are more than a stumble.
pub(crate) const TROUBLESOME: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    Owner,
    Election,
    CrdWatch,
    DeploymentWatch,
    Collection,
    EventWatch,
    EventStore,
}

impl Task {
    /// Part of the metrics' interface.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Election => "election",
            Self::CrdWatch => "crds",
            Self::DeploymentWatch => "deployments",
            Self::Collection => "collection",
            Self::EventWatch => "events",
            Self::EventStore => "event_store",
        }
    }

    /// For people.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Owner => "asking for the operator's Deployment",
            Self::Election => "choosing the replica that writes",
            Self::CrdWatch => "watch of Argo CD's CustomResourceDefinition",
            Self::DeploymentWatch => "watch of Argo CD's Deployments",
            Self::Collection => "counting the cluster",
            Self::EventWatch => "watch of events",
            Self::EventStore => "event store",
        }
    }

    /// Whether the pod is not ready while this does not go on. Argo CD is not the operator's own: what keeps it from being
    /// looked for shows in the status, and must not keep `helm --wait` waiting.
    pub(crate) fn is_vital(self) -> bool {
        matches!(self, Self::Election | Self::EventWatch)
    }

    /// The longest time between two attempts, whatever the API server asks for: who leads must not lose the Lease by waiting.
    pub(crate) fn longest_pause(self) -> Duration {
        match self {
            Self::Election => Duration::from_secs(10),
            _ => Duration::MAX,
        }
    }

    /// Whether this reads what others write.
    pub(crate) fn reads_objects(self) -> bool {
        matches!(self, Self::CrdWatch | Self::DeploymentWatch | Self::EventWatch | Self::Collection)
    }

    /// Whether this goes on all the time, so that it shows when it does not.
    pub(crate) fn is_lasting(self) -> bool {
        self.is_vital() || matches!(self, Self::CrdWatch | Self::DeploymentWatch | Self::EventStore)
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct TaskState {
    pub(crate) running: bool,
    pub(crate) trouble: Option<Trouble>,
    /// All failures since the start, by reason.
    pub(crate) failures: LiteMap<&'static str, u64>,
    /// Objects that could not be read.
    pub(crate) skipped: u64,
}

impl TaskState {
    /// How often in a row it has failed by now.
    pub(crate) fn failures_in_a_row(&self) -> u32 {
        self.trouble.as_ref().map_or(0, |trouble| trouble.failures)
    }

    pub(super) fn failed(&mut self, failure: Failure, now: Duration, last_write: Option<Duration>) {
        self.running = false;
        *self.failures.entry(failure.class.label()).or_default() += 1;
        self.trouble = Some(match self.trouble.take() {
            None => Trouble {
                since: now,
                failures: 1,
                confirmed: last_write.is_some_and(|write| write >= now),
                last: failure,
            },
            Some(trouble) => Trouble {
                failures: trouble.failures.saturating_add(1),
                confirmed: trouble.confirmed || last_write.is_some_and(|write| write >= trouble.since),
                last: failure,
                ..trouble
            },
        });
    }
}

/// Failures in a row.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) since: Duration,
    pub(crate) failures: u32,
    pub(crate) last: Failure,
    /// Whether it went on while the status could be written, so that it is not the API server as a whole.
    pub(crate) confirmed: bool,
}
