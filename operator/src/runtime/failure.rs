//! What went wrong with a request, in the few words that metrics, probes and logs share.

use std::fmt;
use std::time::Duration;

/// One failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    pub(crate) message: String,
    /// How long the server asked us to stay away.
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    /// One after which the server asked for no patience.
    pub(crate) fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), retry_after: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.class.label(), self.message)
    }
}

/// Kinds of failure that ask for different action from whoever runs the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The token is not accepted.
    Unauthorized,
    /// The token is accepted, but a role is missing.
    Forbidden,
    /// The object is not, or no longer, the one that was meant.
    Conflict,
    /// There is no such object, or no such namespace to put it into.
    NotFound,
    /// What the request builds on is too old, as the place in a watch where the server should go on.
    Expired,
    /// The server asks for fewer requests.
    Throttled,
    /// The server understood and refused for another reason.
    Rejected,
    /// The server failed, or its answer made no sense.
    ServerError,
    /// No answer in time.
    Timeout,
    /// No connection.
    Unreachable,
    /// Not the API server but our own disk.
    Storage,
}

impl Class {
    /// What can become of a request.
    pub(crate) const ALL: [Self; 10] = [
        Self::Unauthorized,
        Self::Forbidden,
        Self::Conflict,
        Self::NotFound,
        Self::Expired,
        Self::Throttled,
        Self::Rejected,
        Self::ServerError,
        Self::Timeout,
        Self::Unreachable,
    ];

    pub(crate) fn of_http_status(code: u16) -> Self {
        match code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            409 => Self::Conflict,
            410 => Self::Expired,
            429 => Self::Throttled,
            408 | 504 => Self::Timeout,
            400..=499 => Self::Rejected,
            _ => Self::ServerError,
        }
    }

    /// Part of the metrics' interface: dashboards and alerts name these words.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Conflict => "conflict",
            Self::NotFound => "not_found",
            Self::Expired => "expired",
            Self::Throttled => "throttled",
            Self::Rejected => "rejected",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Storage => "storage",
        }
    }

    /// Whether the same request may succeed a moment later, with nobody doing anything about it.
    pub(crate) fn is_passing(self) -> bool {
        matches!(self, Self::Throttled | Self::ServerError | Self::Timeout | Self::Unreachable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_http_status_that_is_no_success_has_a_class() {
        let expected = [
            (401, "unauthorized"),
            (403, "forbidden"),
            (404, "not_found"),
            (409, "conflict"),
            (410, "expired"),
            (422, "rejected"),
            (429, "throttled"),
            (500, "server_error"),
            (503, "server_error"),
            (504, "timeout"),
            (0, "server_error"),
        ];
        for (code, label) in expected {
            assert_eq!(Class::of_http_status(code).label(), label, "{code}");
        }
    }

    #[test]
    fn only_failures_of_the_moment_are_passing() {
        let passing: Vec<&str> = Class::ALL.into_iter().filter(|class| class.is_passing()).map(Class::label).collect();
        assert_eq!(passing, ["throttled", "server_error", "timeout", "unreachable"]);
    }
}
