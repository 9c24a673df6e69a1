//! The one place where settings come from: environment variables, looked at once, at start.
//!
//! A setting that cannot be used stops the start. Running on with a default would hide the mistake until somebody
//! wonders why the setting has no effect. All mistakes are told at once.

use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

use tracing::Level;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Where the operator runs, and where it keeps its ConfigMap.
    pub(crate) namespace: String,
    /// The time between two writes of the status.
    pub(crate) status_interval: Duration,
    /// Where probes and metrics are served.
    pub(crate) port: NonZeroU16,
    pub(crate) log_level: Level,
}

impl Config {
    /// Reads every setting; `look_up` gives the value of a variable, if it is set.
    pub(crate) fn read(look_up: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidConfig> {
        let mut mistakes = Vec::new();
        let namespace = POD_NAMESPACE.read(&look_up, namespace, &mut mistakes);
        let status_interval = STATUS_UPDATE_INTERVAL_SECONDS.read(&look_up, status_interval, &mut mistakes);
        let port = HEALTH_PORT.read(&look_up, |text| text.parse().ok(), &mut mistakes);
        let log_level = LOG_LEVEL.read(&look_up, log_level, &mut mistakes);
        match (namespace, status_interval, port, log_level) {
            (Some(namespace), Some(status_interval), Some(port), Some(log_level)) => {
                Ok(Self { namespace, status_interval, port, log_level })
            }
            _ => Err(InvalidConfig { mistakes }),
        }
    }
}

/// Every setting that could not be used, one sentence each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidConfig {
    mistakes: Vec<String>,
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.mistakes.join("; "))
    }
}

/// The variables of the operator itself. (Libraries read `KUBECONFIG` and the like on their own.)
pub(crate) const VARIABLES: [&Variable; 4] =
    [&POD_NAMESPACE, &STATUS_UPDATE_INTERVAL_SECONDS, &HEALTH_PORT, &LOG_LEVEL];

pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) allowed: &'static str,
    pub(crate) default: &'static str,
}

const POD_NAMESPACE: Variable = Variable {
    name: "POD_NAMESPACE",
    meaning: "namespace of the status ConfigMap",
    allowed: "the name of a namespace",
    default: "kube9-system",
};

/// The upper limit keeps the status fresh: kube9 calls a cluster degraded whose status is older than 5 minutes.
const STATUS_UPDATE_INTERVAL_SECONDS: Variable = Variable {
    name: "STATUS_UPDATE_INTERVAL_SECONDS",
    meaning: "time between two writes of the status",
    allowed: "a whole number from 10 to 120",
    default: "60",
};

const HEALTH_PORT: Variable = Variable {
    name: "HEALTH_PORT",
    meaning: "port of /healthz, /readyz and /metrics",
    allowed: "a whole number from 1 to 65535",
    default: "8080",
};

const LOG_LEVEL: Variable = Variable {
    name: "LOG_LEVEL",
    meaning: "least important messages to log",
    allowed: "one of error, warn, info, debug",
    default: "info",
};

impl Variable {
    /// The parsed value, or nothing and one more mistake. A variable that is set but empty counts as not set, since
    /// that is what templates make of a value left out.
    fn read<T>(
        &self,
        look_up: impl Fn(&str) -> Option<String>,
        parse: impl Fn(&str) -> Option<T>,
        mistakes: &mut Vec<String>,
    ) -> Option<T> {
        let text = look_up(self.name).filter(|text| !text.is_empty()).unwrap_or_else(|| self.default.to_owned());
        let value = parse(&text);
        if value.is_none() {
            mistakes.push(format!("{} must be {}, but is {text:?}", self.name, self.allowed));
        }
        value
    }
}

/// A name as RFC 1123 has it, which is what the API server accepts.
fn namespace(text: &str) -> Option<String> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = text.len() <= 63 && text.bytes().all(is_inner) && !text.starts_with('-') && !text.ends_with('-');
    is_name.then(|| text.to_owned())
}

fn status_interval(text: &str) -> Option<Duration> {
    let seconds: u64 = text.parse().ok()?;
    (10..=120).contains(&seconds).then(|| Duration::from_secs(seconds))
}

fn log_level(text: &str) -> Option<Level> {
    match text {
        "error" => Some(Level::ERROR),
        "warn" => Some(Level::WARN),
        "info" => Some(Level::INFO),
        "debug" => Some(Level::DEBUG),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, InvalidConfig> {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        Config::read(|name| variables.get(name).map(ToString::to_string))
    }

    #[test]
    fn an_empty_environment_gives_the_defaults() {
        let expected = Config {
            namespace: "kube9-system".to_owned(),
            status_interval: Duration::from_secs(60),
            port: NonZeroU16::new(8080).unwrap(),
            log_level: Level::INFO,
        };
        assert_eq!(read(&[]), Ok(expected));
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        assert_eq!(read(&[("LOG_LEVEL", ""), ("POD_NAMESPACE", "")]), read(&[]));
    }

    #[test]
    fn settings_at_their_limits_are_taken() {
        for seconds in ["10", "120"] {
            assert!(read(&[("STATUS_UPDATE_INTERVAL_SECONDS", seconds)]).is_ok(), "{seconds}");
        }
        for port in ["1", "65535"] {
            assert!(read(&[("HEALTH_PORT", port)]).is_ok(), "{port}");
        }
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named_with_what_is_allowed() {
        let mistakes = [
            ("STATUS_UPDATE_INTERVAL_SECONDS", "9"),
            ("STATUS_UPDATE_INTERVAL_SECONDS", "121"),
            ("STATUS_UPDATE_INTERVAL_SECONDS", "60s"),
            ("STATUS_UPDATE_INTERVAL_SECONDS", "-60"),
            ("HEALTH_PORT", "0"),
            ("HEALTH_PORT", "65536"),
            ("HEALTH_PORT", "http"),
            ("LOG_LEVEL", "loud"),
            ("LOG_LEVEL", "INFO"),
            ("POD_NAMESPACE", "Kube9"),
            ("POD_NAMESPACE", "a/b"),
            ("POD_NAMESPACE", "-a"),
        ];
        for (name, value) in mistakes {
            let message = read(&[(name, value)]).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name} must be ")), "{message}");
            assert!(message.ends_with(&format!("but is {value:?}")), "{message}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let message = read(&[("HEALTH_PORT", "0"), ("LOG_LEVEL", "loud")]).unwrap_err().to_string();
        assert!(message.contains("HEALTH_PORT") && message.contains("; LOG_LEVEL"), "{message}");
    }
}
