//! Moments as the specifications write them: RFC 3339.

use jiff::Timestamp;

use crate::error::{Context, Exit, Result};

/// Seconds since 1970 as RFC 3339 in UTC: `2026-11-21T09:00:00Z`.
///
/// # Errors
/// The moment is further away than a calendar reaches.
pub fn rfc3339(seconds: i64) -> Result<String> {
    Timestamp::from_second(seconds)
        .map(|moment| moment.to_string())
        .context(Exit::Failure, || format!("{seconds} s after 1970 is not a time"))
}

/// This moment, in whole seconds.
pub fn now() -> String {
    format!("{:.0}", Timestamp::now())
}

/// Seconds since 1970 of a moment in RFC 3339; nothing where a text is none.
pub fn seconds(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
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
    let parsed = |text: &str| text.parse::<Timestamp>().ok();
    // Between two spellings of one moment the choice must not depend on the order of the arguments.
    if (parsed(one), one) >= (parsed(other), other) { one } else { other }
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
