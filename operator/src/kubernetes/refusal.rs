//! What the API server says when it refuses: an object of the kind `Status`, in either encoding, or just some text.

use std::time::Duration;

use serde::Deserialize;

use super::compact;
use super::wire::{Field, Malformed, Wire};
use crate::runtime::{Class, Failure};
use crate::text::shortened;

/// What a page of a proxy says beyond this helps nobody.
const LONGEST_MESSAGE: usize = 1000;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    message: String,
    details: Option<Details>,
    code: i64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    retry_after_seconds: i64,
}

impl Wire for Refusal {
    fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
        match number {
            3 => self.message = field.text()?,
            5 => self.details = Some(field.message()?),
            6 => self.code = field.number()?,
            _ => {}
        }
        Ok(())
    }
}

impl Wire for Details {
    fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
        if number == 5 {
            self.retry_after_seconds = field.number()?;
        }
        Ok(())
    }
}

impl Refusal {
    /// What an answer means that came with an HTTP status other than success.
    pub(super) fn of(status: u16, answer: &[u8]) -> Failure {
        let refusal: Self = compact::read(answer).unwrap_or_else(|_| {
            // A proxy in between speaks for itself, as text or HTML.
            Self { message: String::from_utf8_lossy(answer).trim().to_owned(), ..Self::default() }
        });
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
            message: format!("{} (HTTP {status})", shortened(self.message.trim_end(), LONGEST_MESSAGE)),
            retry_after: seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::compact::tests::wrapped;
    use super::super::wire::tests::{field, number};
    use super::*;

    #[test]
    fn a_refusal_keeps_its_words_however_it_is_written() {
        let wire = [field(3, "slow down"), field(5, number(5, 7)), number(6, 429)].concat();
        let wire = wrapped(&wire);
        let json = r#"{"status": "Failure", "message": "slow down", "details": {"retryAfterSeconds": 7}}"#;
        for (answer, asked_for) in [(wire, Some(7)), (json.into(), Some(7)), ("slow down\n".into(), None)] {
            let failure = Refusal::of(429, &answer);
            assert_eq!(failure.to_string(), "throttled: slow down (HTTP 429)");
            assert_eq!(failure.retry_after.map(|time| time.as_secs()), asked_for);
        }
    }

    #[test]
    fn a_refusal_keeps_its_message_and_code() {
        let failure = Refusal::of(403, br#"{"message": "you may not", "reason": "Forbidden", "details": null}"#);
        assert_eq!(failure.to_string(), "forbidden: you may not (HTTP 403)");
    }

    #[test]
    fn a_page_of_a_proxy_is_quoted_as_it_is() {
        let failure = Refusal::of(502, b"<html>Bad Gateway</html>\n");
        assert_eq!(failure.to_string(), "server_error: <html>Bad Gateway</html> (HTTP 502)");
    }
}
