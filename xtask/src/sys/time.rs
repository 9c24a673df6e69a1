//! Moments as the specifications write them: RFC 3339.

use chrono::{DateTime, Datelike as _, FixedOffset, SecondsFormat, Utc};

use crate::error::{Error, Exit, Result};

/// Seconds since 1970 as RFC 3339 in UTC: `2026-11-21T09:00:00Z`.
///
/// # Errors
/// The moment is further away than a calendar reaches.
pub fn rfc3339(seconds: i64) -> Result<String> {
    // Its years have four digits.
    let moment = DateTime::from_timestamp(seconds, 0).filter(|moment| (0..=9999).contains(&moment.year()));
    let moment = moment.ok_or_else(|| Error::new(Exit::Failure, format!("{seconds} s after 1970 is not a time")))?;
    Ok(moment.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// This moment, in whole seconds.
pub fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Seconds since 1970 of a moment in RFC 3339; nothing where a text is none.
pub fn seconds(text: &str) -> Option<i64> {
    parsed(text).map(|moment| moment.timestamp())
}

/// The calendar day of a moment in UTC: `2026-11-21`.
///
/// # Errors
/// The moment is further away than a calendar reaches.
pub fn day(seconds: i64) -> Result<String> {
    rfc3339(seconds).map(|text| text.chars().take_while(|character| *character != 'T').collect())
}

/// The later of two RFC 3339 texts, as it was written. A text that is no time loses.
pub fn later<'a>(one: &'a str, other: &'a str) -> &'a str {
    // Between two spellings of one moment the choice must not depend on the order of the arguments.
    if (parsed(one), one) >= (parsed(other), other) { one } else { other }
}

fn parsed(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_of_two_moments_is_found_across_time_zones_and_spellings() {
        let table = [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:01Z"),
            ("2026-01-01T01:00:00+02:00", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z"),
            ("no time", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ];
        for (one, other, expected) in table {
            assert_eq!(later(one, other), expected);
            assert_eq!(later(other, one), expected);
        }
    }

    #[test]
    fn a_day_is_the_date_part() {
        assert_eq!(day(1_700_000_000).unwrap(), "2023-11-14");
    }
}
