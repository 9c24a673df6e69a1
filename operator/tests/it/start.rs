//! The command line and the environment: what is understood, and what is refused with a reason.

use serde_json::Value;

use crate::operator::Operator;

#[test]
fn the_version_is_the_one_of_the_release() {
    let output = Operator::new().run(&["--version"]);

    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), format!("kube9-operator {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn the_help_explains_the_environment() {
    let output = Operator::new().run(&["--help"]);

    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for word in ["Usage:", "POD_NAMESPACE", "STATUS_UPDATE_INTERVAL_SECONDS", "HEALTH_PORT", "LOG_LEVEL", "KUBECONFIG"]
    {
        assert!(help.contains(word), "{word} is missing from {help}");
    }
}

#[test]
fn an_unknown_argument_is_refused() {
    let output = Operator::new().run(&["--prot"]);

    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    assert_eq!(text(&output.stderr), "kube9-operator: unknown argument `--prot`; try `kube9-operator --help`\n");
}

#[test]
fn a_bad_setting_is_refused_with_one_error_that_names_it() {
    let settings = [
        ("STATUS_UPDATE_INTERVAL_SECONDS", "9"),
        ("STATUS_UPDATE_INTERVAL_SECONDS", "300"),
        ("STATUS_UPDATE_INTERVAL_SECONDS", "often"),
        ("HEALTH_PORT", "0"),
        ("HEALTH_PORT", "70000"),
        ("LOG_LEVEL", "loud"),
        ("POD_NAMESPACE", "Not A Namespace"),
    ];
    for (variable, value) in settings {
        let output = Operator::new().with(variable, value).run(&["serve"]);

        assert_eq!(output.status.code(), Some(1), "{variable}={value}");
        assert_eq!(text(&output.stdout), "");
        let error = only_log_line(&output.stderr);
        assert_eq!(error["level"], "ERROR");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(variable) && message.contains(value), "{message}");
    }
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let taken = std::net::TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();

    let output = Operator::new().with("HEALTH_PORT", &port).run(&[]);

    assert_eq!(output.status.code(), Some(1));
    let error = only_log_line(&output.stderr);
    assert!(error["message"].as_str().unwrap().contains("HEALTH_PORT"), "{error}");
}

#[test]
fn an_operator_that_cannot_find_a_cluster_says_where_it_looked() {
    let output = Operator::new().with("HOME", env!("CARGO_TARGET_TMPDIR")).run(&[]);

    assert_eq!(output.status.code(), Some(1));
    let error = only_log_line(&output.stderr);
    assert!(error["message"].as_str().unwrap().contains("how to reach the API server"), "{error}");
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The log as a machine reads it: one line, one object.
fn only_log_line(bytes: &[u8]) -> Value {
    let line: Value = serde_json::from_slice(bytes).unwrap();
    let time = line["timestamp"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time} is RFC 3339 in UTC");
    line
}
