//! What the API server says when it refuses: an object of the kind `Status`, in either encoding, or just some text.

use std::time::Duration;

use hyper::body::Bytes;
use prost::Message;
use serde::Deserialize;

use super::compact::{MAGIC, unwrapped};
use crate::failure::{Class, Failure};

#[derive(Message, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    #[prost(string, tag = "3")]
    message: String,
    #[prost(message, optional, tag = "5")]
    details: Option<Details>,
    #[prost(int32, tag = "6")]
    code: i32,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct Details {
    #[prost(int32, tag = "5")]
    #[serde(rename = "retryAfterSeconds")]
    retry_after_seconds: i32,
}

impl Refusal {
    /// What an answer means that came with an HTTP status other than success.
    pub(super) fn of(status: u16, answer: &Bytes) -> Failure {
        let refusal =
            if answer.starts_with(MAGIC) { unwrapped(answer).ok() } else { serde_json::from_slice(answer).ok() };
        // A proxy in between speaks for itself, as text or HTML.
        let refusal = refusal
            .unwrap_or_else(|| Self { message: String::from_utf8_lossy(answer).trim().to_owned(), ..Self::default() });
        refusal.with_status(status)
    }

    /// The same for one that stands within a watch, and brings its status along.
    pub(super) fn failure(self) -> Failure {
        let status = u16::try_from(self.code).unwrap_or_default();
        self.with_status(status)
    }

    fn with_status(self, status: u16) -> Failure {
        // Zero stands for nothing.
        let seconds = self.details.and_then(|details| u64::try_from(details.retry_after_seconds).ok());
        Failure {
            class: Class::of_http_status(status),
            message: format!("{} (HTTP {status})", self.message.trim_end()),
            retry_after: seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::compact::tests::wrapped;
    use super::*;

    #[test]
    fn a_refusal_keeps_its_words_however_it_is_written() {
        let wire = wrapped(&Refusal {
            message: "slow down".to_owned(),
            details: Some(Details { retry_after_seconds: 7 }),
            code: 429,
        });
        let json = r#"{"status": "Failure", "message": "slow down", "details": {"retryAfterSeconds": 7}}"#;
        for (answer, asked_for) in [(wire, Some(7)), (json.into(), Some(7)), ("slow down\n".into(), None)] {
            let failure = Refusal::of(429, &answer);
            assert_eq!(failure.to_string(), "throttled: slow down (HTTP 429)");
            assert_eq!(failure.retry_after.map(|time| time.as_secs()), asked_for);
        }
    }

    #[test]
    fn a_refusal_keeps_its_message_and_code() {
        let failure = Refusal::of(403, &r#"{"message": "you may not", "reason": "Forbidden", "details": null}"#.into());
        assert_eq!(failure.to_string(), "forbidden: you may not (HTTP 403)");
    }

    #[test]
    fn a_page_of_a_proxy_is_quoted_as_it_is() {
        let failure = Refusal::of(502, &"<html>Bad Gateway</html>\n".into());
        assert_eq!(failure.to_string(), "server_error: <html>Bad Gateway</html> (HTTP 502)");
    }
}
