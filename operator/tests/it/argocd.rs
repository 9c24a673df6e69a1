//! Argo CD is found wherever it is, within seconds, and an error is never taken for its absence.

use serde_json::json;

use crate::chart;
use crate::cluster::Cluster;
use crate::consumer::Mode;
use crate::gitops::{definition, install, server};
use crate::resource_tree;
use crate::tenant::Tenant;
use crate::wait::{seconds, until, until_true};

const FAILURES: &str = "kube9_operator_task_failures_total{task=\"deployments\",reason=\"forbidden\"}";

/// Within seconds, says the contract; the machine may be busy.
const SOON: std::time::Duration = seconds(8);

#[test]
fn an_install_and_its_end_show_within_seconds_and_an_error_changes_nothing() {
    let Some(cluster) = Cluster::start() else { return };
    let tenant = Tenant::new(&cluster);
    let _operator = tenant.operator().start();
    let argocd = || tenant.status().map(|status| status.0["argocd"].clone()).unwrap_or_default();
    until_true("there is none, says the API server", SOON, || argocd()["detected"] == false);

    resource_tree::are_not_asked_for(&tenant);

    install(&cluster, "gitops", "v3.0.6");
    let found = until("it is found", SOON, || Some(argocd()).filter(|argocd| argocd["detected"] == true));
    assert_eq!((&found["namespace"], &found["version"]), (&json!("gitops"), &json!("v3.0.6")));
    assert_eq!(found["resourceTreeCapable"], false);
    assert_eq!(found["resourceTreeLastError"]["code"], "ARGOCD_TOKEN_MISSING");
    resource_tree::shows_in_the_status(&cluster);

    chart::delete(&cluster, &server("gitops", "v3.0.6"));
    chart::create(&cluster, &server("gitops", "v3.1.0"));
    until_true("its new version is told", SOON, || argocd()["version"] == "v3.1.0");

    chart::delete(&cluster, &definition());
    until_true("it is gone with its CRD", SOON, || argocd()["detected"] == false);
    drop(tenant);

    // An operator that may not ask says nothing, and then that something is wrong. It keeps no events, which it could not, either.
    let blind = Tenant::with_chart(&cluster, &["--set", "eventStore.enabled=false"], |mut rendered| {
        rendered.0.retain(|object| !object["kind"].as_str().unwrap().starts_with("ClusterRole"));
        rendered
    });
    // With an interval of a minute: nobody waits for it.
    let operator = blind.operator().start();
    let failures = || {
        let (_, metrics) = operator.page("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(FAILURES)?.trim().parse::<f64>().ok());
        line.unwrap_or_default()
    };
    until_true("it is more than a stumble", seconds(20), || failures() >= 3.0);
    let status = until("trouble is told within 5 s", seconds(5), || {
        blind.status().filter(|status| status.health() == "degraded")
    });
    assert_eq!(status.0.get("argocd"), None, "the extension looks for itself then");
    let why = blind.verdict().why;
    assert!(why.contains("watch of Argo CD's") && why.contains("forbidden"), "{why}");
    operator.wait_until_ready(seconds(5));
}

#[test]
fn a_user_who_says_that_there_is_none_is_believed_without_a_request() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::with_chart(cluster, &["--set", "argocd.enabled=false"], |rendered| rendered);
    let operator = tenant.operator().start();
    let status = tenant.wait_for_status();
    assert_eq!(status.0["argocd"]["detected"], false);
    operator.wait_until_ready(seconds(5));
    assert_eq!(tenant.verdict().mode, Mode::Operated);
}
