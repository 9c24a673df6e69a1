//! The one place where settings come from: environment variables, looked at once, at start.
//!
//! A setting that cannot be used stops the start. Running on with a default would hide the mistake until somebody
//! wonders why the setting has no effect. All mistakes are told at once.

use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use chrono::Days;
use hyper::Uri;
use tracing::Level;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) pod: Pod,
    /// The time between two writes of the status.
    pub(crate) status_interval: Duration,
    /// Where probes and metrics are served.
    pub(crate) port: NonZeroU16,
    pub(crate) log_level: Level,
    /// Whether replicas agree on one that writes.
    pub(crate) leader_election: bool,
    pub(crate) argocd: ArgoCd,
    /// How often the cluster is counted, if at all.
    pub(crate) collection_interval: Option<Duration>,
    /// Where events are kept and for how long, if they are.
    pub(crate) event_store: Option<EventStore>,
}

/// Which operator this is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    /// Where it runs, and where it keeps its ConfigMaps.
    pub(crate) namespace: String,
    /// Which replica it is.
    pub(crate) name: String,
    /// What tells it from another of the same name, if that is known.
    pub(crate) uid: Option<String>,
    /// The Deployment that it belongs to, with which its ConfigMaps go.
    pub(crate) deployment: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ArgoCd {
    pub(crate) approach: Approach,
    /// The only namespace to look in; all if there is none.
    pub(crate) namespace: Option<String>,
    /// The labels of Argo CD's server.
    pub(crate) selector: String,
    /// The time between two full looks.
    pub(crate) interval: Duration,
    pub(crate) api: ArgoCdApi,
}

/// How Argo CD's own API is asked, which takes a token of Argo CD's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ArgoCdApi {
    /// Of its server, if a user says so; otherwise it follows from where Argo CD was found.
    pub(crate) address: Option<String>,
    /// The Service of its server, there.
    pub(crate) service: String,
    /// Nothing is asked without a token.
    pub(crate) token_file: Option<PathBuf>,
    /// Who vouches for the server's certificate, in place of those that everybody trusts.
    pub(crate) authority_file: Option<PathBuf>,
    /// Whether its certificate does not count.
    pub(crate) insecure: bool,
    /// How long one request may take.
    pub(crate) timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approach {
    /// There is none, says the user.
    Off,
    /// Its Deployment is enough.
    WithoutCrd,
    /// Its CustomResourceDefinition has to be there, too.
    WithCrd,
}

/// Of the store, if it is switched on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventStore {
    pub(crate) place: Place,
    pub(crate) retention: Retention,
}

/// Where the store is, and how much room it has there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) bytes: u64,
}

/// How long events are kept after they last happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    pub(crate) info_and_warning: Days,
    pub(crate) error_and_critical: Days,
}

impl Config {
    /// Reads every setting; `look_up` gives the text for a variable, if it is set.
    pub(crate) fn read(look_up: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidConfig> {
        read(look_up, Reader::config)
    }
}

impl Pod {
    /// As `Config::read`, for who needs to know no more.
    pub(crate) fn read(look_up: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidConfig> {
        read(look_up, Reader::pod)
    }
}

impl ArgoCd {
    /// The same for Argo CD.
    pub(crate) fn read(look_up: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidConfig> {
        read(look_up, Reader::argocd)
    }
}

impl EventStore {
    /// The same for the store. None where it is switched off.
    pub(crate) fn read(look_up: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, InvalidConfig> {
        read(look_up, Reader::event_store)
    }
}

fn read<L, T>(look_up: L, part: impl FnOnce(&mut Reader<L>) -> Option<T>) -> Result<T, InvalidConfig> {
    let mut reader = Reader { look_up, mistakes: Vec::new() };
    match (part(&mut reader), reader.mistakes) {
        (Some(part), mistakes) if mistakes.is_empty() => Ok(part),
        (_, mistakes) => Err(InvalidConfig { mistakes }),
    }
}

/// The text of a variable of this process, if it is set.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
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

/// A setting of the operator. (Where the API server is found is `kubernetes::access`'s own affair.)
#[derive(Clone, Copy)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) allowed: &'static str,
    /// What counts where nothing is set; empty for none.
    pub(crate) default: &'static str,
}

macro_rules! variables {
    ($($name:ident: $meaning:literal, $allowed:literal, $default:literal;)*) => {
        $(const $name: Variable =
            Variable { name: stringify!($name), meaning: $meaning, allowed: $allowed, default: $default };)*

        /// All of them, as `--help` and the README list them.
        pub(crate) const VARIABLES: &[Variable] = &[$($name),*];
    };
}

variables! {
    POD_NAMESPACE: "namespace of the status ConfigMap",
        "the name of a namespace", "kube9-system";
    POD_NAME: "which replica this is, in the Lease",
        "the name of a pod", "kube9-operator";
    POD_UID: "uid of its pod, with which the dashboard's counts go",
        "letters, digits and dashes", "";
    DEPLOYMENT_NAME: "Deployment with which the ConfigMaps go",
        "the name of a Deployment", "kube9-operator";
    // The upper limit keeps the status fresh: kube9 calls a cluster degraded whose status is older than 5 minutes.
    STATUS_UPDATE_INTERVAL_SECONDS: "time between two writes of the status",
        "a whole number from 10 to 120", "60";
    HEALTH_PORT: "port of /healthz, /readyz and /metrics",
        "a whole number from 1 to 65535", "8080";
    LOG_LEVEL: "least important messages to log",
        "one of error, warn, info, debug", "info";
    LEADER_ELECTION: "replicas agree on one writer by a Lease",
        "true or false", "false";
    COLLECTION_ENABLED: "count nodes and workloads for the dashboard",
        "true or false", "true";
    COLLECTION_INTERVAL_SECONDS: "longest time between two counts; changes show at once",
        "a whole number from 60 to 86400", "900";
    ARGOCD_AUTO_DETECT: "look for Argo CD; false tells kube9 there is none",
        "true or false", "true";
    ARGOCD_ENABLED: "true: do not ask for its CRD; false: there is none",
        "true or false", "";
    ARGOCD_NAMESPACE: "the only namespace to look in",
        "the name of a namespace", "";
    ARGOCD_SELECTOR: "labels of Argo CD's server",
        "a label selector", "app.kubernetes.io/name=argocd-server";
    ARGOCD_DETECTION_INTERVAL: "hours between full looks; changes show at once",
        "a whole number from 1 to 24", "6";
    ARGOCD_API_TOKEN_FILE: "file with a token for Argo CD's API; without, resource trees are left to kube9",
        "an absolute path", "";
    ARGOCD_API_BASE_URL: "address of that API, in place of the Service where Argo CD was found",
        "http:// or https://, a host, and perhaps a port and a path", "";
    ARGOCD_API_SERVER_SERVICE_NAME: "name of that Service",
        "the name of a Service", "argocd-server";
    ARGOCD_API_CA_FILE: "certificates that vouch for that API, in place of those that everybody trusts",
        "an absolute path", "";
    ARGOCD_API_TLS_INSECURE: "take any certificate of that API's",
        "true or false", "false";
    // kube9 waits for 30 s; before, the status may have to be read, which may take 10.
    ARGOCD_API_TIMEOUT_MS: "how long that API may take for an answer, in milliseconds",
        "a whole number from 1000 to 15000", "10000";
    EVENT_STORE: "keep warnings and errors, and list those",
        "true or false", "false";
    DB_PATH: "folder of the event store",
        "an absolute path", "/data";
    EVENT_STORE_MEGABYTES: "room for it; the oldest events go first",
        "a whole number from 16 to 65536", "256";
    EVENT_RETENTION_INFO_WARNING_DAYS: "how long it keeps what is no error",
        "a whole number from 1 to 3650", "7";
    EVENT_RETENTION_ERROR_CRITICAL_DAYS: "how long it keeps errors",
        "a whole number from 1 to 3650", "30";
}

/// Reads variable after variable and keeps what is wrong with them.
struct Reader<L> {
    look_up: L,
    mistakes: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    /// Nothing if something is missing; then there is a mistake as well.
    fn config(&mut self) -> Option<Config> {
        // Each is read before any is looked at, so that all mistakes are found.
        let pod = self.pod();
        let status_interval = self.read(STATUS_UPDATE_INTERVAL_SECONDS, seconds::<10, 120>);
        let port = self.read(HEALTH_PORT, |text| text.parse().ok());
        let log_level = self.read(LOG_LEVEL, log_level);
        let leader_election = self.read(LEADER_ELECTION, boolean);
        let collection_enabled = self.read(COLLECTION_ENABLED, boolean);
        let collection_interval = self.read(COLLECTION_INTERVAL_SECONDS, seconds::<60, 86_400>);
        let argocd = self.argocd();
        let event_store = self.event_store();
        if leader_election == Some(true) && self.text(POD_NAME).is_none() {
            // Under one name, every replica would take itself for the one that was chosen.
            self.mistakes.push(format!("{} must be set where {} is true", POD_NAME.name, LEADER_ELECTION.name));
        }
        Some(Config {
            pod: pod?,
            status_interval: status_interval?,
            port: port?,
            log_level: log_level?,
            leader_election: leader_election?,
            argocd: argocd?,
            collection_interval: Some(collection_interval?).filter(|_| collection_enabled == Some(true)),
            event_store: event_store?,
        })
    }

    fn pod(&mut self) -> Option<Pod> {
        let namespace = self.read(POD_NAMESPACE, label);
        let name = self.read(POD_NAME, object_name);
        let uid = self.read_optional(POD_UID, uid);
        let deployment = self.read(DEPLOYMENT_NAME, object_name);
        Some(Pod { namespace: namespace?, name: name?, uid, deployment: deployment? })
    }

    /// Nothing in it where it is switched off.
    fn event_store(&mut self) -> Option<Option<EventStore>> {
        let enabled = self.read(EVENT_STORE, boolean);
        let folder = self.read(DB_PATH, absolute);
        let megabytes = self.read(EVENT_STORE_MEGABYTES, number::<16, 65_536>);
        let info_and_warning = self.read(EVENT_RETENTION_INFO_WARNING_DAYS, days::<1, 3650>);
        let error_and_critical = self.read(EVENT_RETENTION_ERROR_CRITICAL_DAYS, days::<1, 3650>);
        let retention = Retention { info_and_warning: info_and_warning?, error_and_critical: error_and_critical? };
        let place = Place { folder: folder?, bytes: megabytes? * 1024 * 1024 };
        Some(Some(EventStore { place, retention }).filter(|_| enabled == Some(true)))
    }

    fn argocd(&mut self) -> Option<ArgoCd> {
        let auto_detect = self.read(ARGOCD_AUTO_DETECT, boolean);
        let enabled = self.read_optional(ARGOCD_ENABLED, boolean);
        let namespace = self.read_optional(ARGOCD_NAMESPACE, label);
        let selector = self.read(ARGOCD_SELECTOR, selector);
        let hours = self.read(ARGOCD_DETECTION_INTERVAL, seconds::<1, 24>);
        let api = self.argocd_api();
        let approach = match (auto_detect?, enabled) {
            (false, _) | (_, Some(false)) => Approach::Off,
            (true, Some(true)) => Approach::WithoutCrd,
            (true, None) => Approach::WithCrd,
        };
        Some(ArgoCd { approach, namespace, selector: selector?, interval: hours? * 3600, api: api? })
    }

    fn argocd_api(&mut self) -> Option<ArgoCdApi> {
        let token_file = self.read_optional(ARGOCD_API_TOKEN_FILE, absolute);
        let address = self.read_optional(ARGOCD_API_BASE_URL, url);
        let service = self.read(ARGOCD_API_SERVER_SERVICE_NAME, label);
        let authority_file = self.read_optional(ARGOCD_API_CA_FILE, absolute);
        let insecure = self.read(ARGOCD_API_TLS_INSECURE, boolean);
        let timeout = self.read(ARGOCD_API_TIMEOUT_MS, number::<1000, 15_000>).map(Duration::from_millis);
        Some(ArgoCdApi {
            address,
            service: service?,
            token_file,
            authority_file,
            insecure: insecure?,
            timeout: timeout?,
        })
    }

    /// The parsed value, or nothing and one more mistake.
    fn read<T>(&mut self, variable: Variable, parse: fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(variable).unwrap_or_else(|| variable.default.to_owned());
        self.parse(variable, &text, parse)
    }

    /// Nothing as well if it is not set.
    fn read_optional<T>(&mut self, variable: Variable, parse: fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(variable)?;
        self.parse(variable, &text, parse)
    }

    /// A variable that is set but empty counts as not set, since that is what templates make of a value left out.
    fn text(&self, variable: Variable) -> Option<String> {
        (self.look_up)(variable.name).filter(|text| !text.is_empty())
    }

    fn parse<T>(&mut self, variable: Variable, text: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
        let value = parse(text);
        if value.is_none() {
            self.mistakes.push(format!("{} must be {}, but is {text:?}", variable.name, variable.allowed));
        }
        value
    }
}

/// A name as RFC 1123 has it, which is what the API server accepts.
pub(crate) fn label(text: &str) -> Option<String> {
    (text.len() <= 63 && !text.contains('.')).then(|| object_name(text)).flatten()
}

/// The same with dots and more room.
pub(crate) fn object_name(text: &str) -> Option<String> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(is_inner) && !part.starts_with('-') && !part.ends_with('-');
    (text.len() <= 253 && text.split('.').all(is_part)).then(|| text.to_owned())
}

fn absolute(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(text)).filter(|path| path.is_absolute())
}

/// One to which paths are added. It names nobody, and asks for nothing itself.
fn url(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let (host, authority) = (uri.host()?, uri.authority()?.as_str());
    let port = authority.strip_prefix(host)?;
    let is_port = port.is_empty() || port.strip_prefix(':')?.parse::<u16>().is_ok();
    let is_url = matches!(uri.scheme_str(), Some("http" | "https")) && !host.is_empty() && is_port;
    (is_url && uri.query().is_none()).then(|| uri.to_string().trim_end_matches('/').to_owned())
}

fn uid(text: &str) -> Option<String> {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-').then(|| text.to_owned())
}

/// Only what could never be one; the API server knows the rest.
fn selector(text: &str) -> Option<String> {
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || "-_./=!,() ".contains(character);
    text.chars().all(is_allowed).then(|| text.to_owned())
}

fn seconds<const FROM: u64, const TO: u64>(text: &str) -> Option<Duration> {
    number::<FROM, TO>(text).map(Duration::from_secs)
}

fn days<const FROM: u64, const TO: u64>(text: &str) -> Option<Days> {
    number::<FROM, TO>(text).map(Days::new)
}

fn number<const FROM: u64, const TO: u64>(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| (FROM..=TO).contains(number))
}

/// The words that the operator before this one understood, too.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
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
            pod: Pod {
                namespace: "kube9-system".to_owned(),
                name: "kube9-operator".to_owned(),
                uid: None,
                deployment: "kube9-operator".to_owned(),
            },
            status_interval: Duration::from_secs(60),
            port: NonZeroU16::new(8080).unwrap(),
            log_level: Level::INFO,
            leader_election: false,
            argocd: ArgoCd {
                approach: Approach::WithCrd,
                namespace: None,
                selector: "app.kubernetes.io/name=argocd-server".to_owned(),
                interval: Duration::from_secs(6 * 3600),
                api: ArgoCdApi {
                    address: None,
                    service: "argocd-server".to_owned(),
                    token_file: None,
                    authority_file: None,
                    insecure: false,
                    timeout: Duration::from_secs(10),
                },
            },
            collection_interval: Some(Duration::from_secs(900)),
            event_store: None,
        };
        assert_eq!(read(&[]), Ok(expected));
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let empty: Vec<(&str, &str)> = VARIABLES.iter().map(|variable| (variable.name, "")).collect();
        assert_eq!(read(&empty), read(&[]));
    }

    #[test]
    fn every_default_is_a_value_one_could_set() {
        let defaults: Vec<(&str, &str)> = VARIABLES.iter().map(|variable| (variable.name, variable.default)).collect();
        assert_eq!(read(&defaults), read(&[]));
    }

    #[test]
    fn settings_at_their_limits_are_taken() {
        let limits = [
            ("STATUS_UPDATE_INTERVAL_SECONDS", ["10", "120"]),
            ("HEALTH_PORT", ["1", "65535"]),
            ("COLLECTION_INTERVAL_SECONDS", ["60", "86400"]),
            ("ARGOCD_DETECTION_INTERVAL", ["1", "24"]),
            ("ARGOCD_API_TIMEOUT_MS", ["1000", "15000"]),
            ("ARGOCD_API_BASE_URL", ["http://[::1]:80", "https://argocd.example:8443/argo-cd/"]),
            ("EVENT_STORE_MEGABYTES", ["16", "65536"]),
            ("EVENT_RETENTION_INFO_WARNING_DAYS", ["1", "3650"]),
            ("EVENT_RETENTION_ERROR_CRITICAL_DAYS", ["1", "3650"]),
        ];
        for (name, values) in limits {
            for value in values {
                assert!(read(&[(name, value)]).is_ok(), "{name}={value}");
            }
        }
    }

    #[test]
    fn argocd_is_off_by_either_switch_and_known_by_one() {
        let approach = |variables: &[(&str, &str)]| read(variables).unwrap().argocd.approach;
        assert_eq!(approach(&[("ARGOCD_AUTO_DETECT", "false")]), Approach::Off);
        assert_eq!(approach(&[("ARGOCD_ENABLED", "no")]), Approach::Off);
        assert_eq!(approach(&[("ARGOCD_ENABLED", "1")]), Approach::WithoutCrd);
    }

    #[test]
    fn a_collection_that_is_switched_off_has_no_interval() {
        assert_eq!(read(&[("COLLECTION_ENABLED", "off")]).unwrap().collection_interval, None);
    }

    #[test]
    fn the_event_store_is_off_until_it_is_switched_on() {
        let expected = EventStore {
            place: Place { folder: "/data".into(), bytes: 256 * 1024 * 1024 },
            retention: Retention { info_and_warning: Days::new(7), error_and_critical: Days::new(30) },
        };
        assert_eq!(read(&[("EVENT_STORE", "true")]).unwrap().event_store, Some(expected));
    }

    #[test]
    fn the_readme_has_a_row_for_every_setting() {
        let readme = include_str!("../README.md");
        for variable in VARIABLES {
            let Variable { name, meaning, allowed, default } = variable;
            let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
            let row = format!("| `{name}` | {meaning} | {allowed} | {default} |\n");
            assert!(readme.contains(&row), "{row}");
        }
    }

    #[test]
    fn replicas_that_choose_one_of_them_need_names() {
        let message = read(&[("LEADER_ELECTION", "true")]).unwrap_err().to_string();
        assert_eq!(message, "POD_NAME must be set where LEADER_ELECTION is true");
        assert!(read(&[("LEADER_ELECTION", "true"), ("POD_NAME", "kube9-operator-0")]).is_ok());
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
            ("POD_NAMESPACE", "a.b"),
            ("POD_NAMESPACE", "-a"),
            ("POD_NAME", "a..b"),
            ("POD_UID", "a b"),
            ("DEPLOYMENT_NAME", "a/b"),
            ("LEADER_ELECTION", "maybe"),
            ("COLLECTION_ENABLED", "2"),
            ("COLLECTION_INTERVAL_SECONDS", "59"),
            ("ARGOCD_ENABLED", "null"),
            ("ARGOCD_NAMESPACE", "*"),
            ("ARGOCD_SELECTOR", "a=b&limit=1"),
            ("ARGOCD_DETECTION_INTERVAL", "25"),
            ("ARGOCD_API_TOKEN_FILE", "token"),
            ("ARGOCD_API_BASE_URL", "argocd.example"),
            ("ARGOCD_API_BASE_URL", "https://ann:secret@argocd.example"),
            ("ARGOCD_API_BASE_URL", "https://argocd.example?a=b"),
            ("ARGOCD_API_BASE_URL", "https:///argo-cd"),
            ("ARGOCD_API_BASE_URL", "https://:443"),
            ("ARGOCD_API_BASE_URL", "http://[::1"),
            ("ARGOCD_API_BASE_URL", "https://h%zz"),
            ("ARGOCD_API_BASE_URL", "https://argocd.example:99999"),
            ("ARGOCD_API_BASE_URL", "https://a:b"),
            ("ARGOCD_API_BASE_URL", "ftp://argocd.example"),
            ("ARGOCD_API_SERVER_SERVICE_NAME", "argocd-server.other"),
            ("ARGOCD_API_CA_FILE", "ca.crt"),
            ("ARGOCD_API_TLS_INSECURE", "maybe"),
            ("ARGOCD_API_TIMEOUT_MS", "15001"),
            ("EVENT_STORE", "sometimes"),
            ("DB_PATH", "data"),
            ("EVENT_STORE_MEGABYTES", "15"),
            ("EVENT_RETENTION_INFO_WARNING_DAYS", "0"),
            ("EVENT_RETENTION_ERROR_CRITICAL_DAYS", "3651"),
        ];
        for (name, value) in mistakes {
            let message = read(&[(name, value)]).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name} must be ")), "{message}");
            assert!(message.ends_with(&format!("but is {value:?}")), "{message}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let message = read(&[("HEALTH_PORT", "0"), ("ARGOCD_ENABLED", "x")]).unwrap_err().to_string();
        assert!(message.contains("HEALTH_PORT") && message.contains("; ARGOCD_ENABLED"), "{message}");
    }
}
