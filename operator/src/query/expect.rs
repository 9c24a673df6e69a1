//! Whether kube9 would show this cluster as operated, and by this very release: what `helm test` asks.

use chrono::TimeDelta;
use serde_json::Value;

use crate::VERSION;
use crate::time::{self, Timestamp};

/// kube9 takes an older status for stale.
const STALE: TimeDelta = TimeDelta::minutes(5);

/// Nothing if it would; otherwise why not.
pub(super) fn operated(status: &Value, now: Timestamp) -> Result<(), String> {
    let word = |field: &str| status[field].as_str().unwrap_or_default();
    let updated = time::parsed(word("lastUpdate"))
        .ok_or_else(|| format!("lastUpdate is {:?}, which is no time", word("lastUpdate")))?;
    let age = now - updated;
    if word("version") != VERSION {
        return Err(format!("it was written by version {:?}, and this is {VERSION}", word("version")));
    }
    if age > STALE {
        return Err(format!("it is {} s old, by the clock of this node", age.num_seconds()));
    }
    match (word("mode"), word("health")) {
        ("operated", "healthy") => Ok(()),
        (mode, health) => Err(format!("mode {mode:?}, health {health:?}: {}", word("error"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Value {
        json!({
            "mode": "operated", "version": VERSION, "health": "healthy", "lastUpdate": "2026-08-03T12:00:00Z",
            "error": null,
        })
    }

    fn complaint(field: &str, value: Value) -> String {
        let mut status = status();
        status[field] = value;
        operated(&status, "2026-08-03T12:05:00Z".parse().unwrap()).unwrap_err()
    }

    #[test]
    fn a_healthy_status_is_as_expected_for_five_minutes_and_from_any_clock_that_is_behind() {
        let at = |time: &str| operated(&status(), time.parse().unwrap());
        assert_eq!((at("2026-08-03T11:00:00Z"), at("2026-08-03T12:05:00Z")), (Ok(()), Ok(())));
        assert_eq!(at("2026-08-03T12:05:01Z").unwrap_err(), "it is 301 s old, by the clock of this node");
    }

    #[test]
    fn everything_else_is_told() {
        assert!(complaint("lastUpdate", json!("yesterday")).contains("\"yesterday\""));
        assert!(complaint("lastUpdate", Value::Null).contains("no time"));
        assert!(complaint("version", json!("2.4.0")).contains("version \"2.4.0\""));
        assert!(complaint("mode", json!("enabled")).contains("mode \"enabled\""));
        let mut degraded = status();
        degraded["health"] = json!("degraded");
        degraded["error"] = json!("no events");
        let why = operated(&degraded, "2026-08-03T12:00:00Z".parse().unwrap()).unwrap_err();
        assert_eq!(why, "mode \"operated\", health \"degraded\": no events");
    }
}
