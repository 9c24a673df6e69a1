//! How the operator is doing, by rules.
//!
//! The status can only be read where it could be written, so a failing write never shows here: it shows as a status
//! that grows old, on `/readyz`, and in the metrics. What remains is whether there is an operator at all.

/// Health and its reason belong together: kube9 expects a reason exactly when something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    Healthy,
    /// The operator cannot serve.
    Unhealthy {
        reason: String,
    },
}

impl Health {
    pub(crate) fn of(phase: Phase) -> Self {
        match phase {
            Phase::Running => Self::Healthy,
            Phase::Stopping => Self::Unhealthy { reason: "Shutting down".to_owned() },
        }
    }

    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy { .. } => "unhealthy",
        }
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Healthy => None,
            Self::Unhealthy { reason } => Some(reason),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    Stopping,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_operator_is_healthy_and_gives_no_reason() {
        let health = Health::of(Phase::Running);
        assert_eq!((health.word(), health.reason()), ("healthy", None));
    }

    #[test]
    fn a_stopping_operator_says_so() {
        let health = Health::of(Phase::Stopping);
        assert_eq!((health.word(), health.reason()), ("unhealthy", Some("Shutting down")));
    }
}
