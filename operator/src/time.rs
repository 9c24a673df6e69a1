//! Points in time, as Kubernetes and HTTP write them.

use std::ops::RangeInclusive;

use chrono::{DateTime, SecondsFormat, Utc};

/// A point in time; of a calendar, not of a clock that only counts.
pub(crate) type Timestamp = DateTime<Utc>;

/// What somebody wrote as RFC 3339, whose years have four digits.
pub(crate) fn parsed(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

/// So long after 1970, where RFC 3339 can write that: its years are those from 0 to 9999.
pub(crate) fn after_1970(seconds: i64, nanoseconds: u32) -> Option<Timestamp> {
    const WRITABLE: RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;
    DateTime::from_timestamp(seconds, nanoseconds).filter(|_| WRITABLE.contains(&seconds))
}

/// What HTTP writes as a date, which is as mails do.
pub(crate) fn parsed_http(header: &[u8]) -> Option<Timestamp> {
    DateTime::parse_from_rfc2822(str::from_utf8(header).ok()?).ok().map(|time| time.to_utc())
}

/// RFC 3339 in UTC with a `Z`, to the second.
pub(crate) fn rfc_3339(time: Timestamp) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The same to the microsecond, with six digits, which is what the API server takes for a `MicroTime`.
pub(crate) fn rfc_3339_micro(time: Timestamp) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_nobody_else_could_read_is_none() {
        assert_eq!(after_1970(253_402_300_799, 0).map(rfc_3339).as_deref(), Some("9999-12-31T23:59:59Z"));
        assert_eq!(after_1970(253_402_300_800, 0), None);
        assert_eq!(after_1970(-62_167_219_200, 0).map(rfc_3339).as_deref(), Some("0000-01-01T00:00:00Z"));
        assert_eq!(after_1970(-62_167_219_201, 0), None);
        assert_eq!(
            (parsed("10000-01-01T00:00:00Z"), parsed("+10000-01-01T00:00:00Z"), parsed("soon")),
            (None, None, None)
        );
    }

    #[test]
    fn the_date_of_an_answer_is_understood() {
        let date = parsed_http(b"Mon, 03 Aug 2026 12:00:00 GMT").unwrap();
        assert_eq!(rfc_3339(date), "2026-08-03T12:00:00Z");
        assert_eq!((parsed_http(b"soon"), parsed_http(b"\xff")), (None, None));
    }
}
