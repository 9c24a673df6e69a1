//! The oldest Kubernetes that the chart lets itself be installed into: all of the chart and all of the operator work there.

use jiff::Timestamp;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::consumer::Mode;
use crate::events::{event, happen};
use crate::tenant::Tenant;
use crate::wait::{seconds, until, until_true};
use crate::{gitops, helm, roles, variants};

#[test]
fn h4_the_oldest_cluster_that_the_chart_allows_is_the_one_that_is_tested() {
    let Some(cluster) = Cluster::oldest() else { return };
    let chart: Value = serde_yaml::from_str(&helm::read("Chart.yaml")).unwrap();
    let version = cluster.version();
    let minor = version.split('.').nth(1).unwrap();
    assert_eq!(chart["kubeVersion"], format!(">=1.{minor}.0-0"), "the API server is {version}");
}

#[test]
fn h4_the_oldest_api_server_takes_every_variant_where_only_restricted_pods_may_run() {
    let Some(cluster) = Cluster::oldest() else { return };
    variants::assert_taken(cluster);
}

#[test]
fn h4_an_operator_lives_a_whole_life_in_the_oldest_cluster() {
    let Some(cluster) = Cluster::oldest() else { return };
    let options = ["--set", "replicas=2,eventStore.enabled=false"];
    let tenant = Tenant::with_chart(cluster, &options, |rendered| rendered);
    let mut operator = tenant.operator().often().start();
    operator.wait_until_ready(seconds(15));
    tenant.wait_for_owned_status();
    assert_eq!(tenant.verdict().mode, Mode::Operated, "{}", tenant.verdict().why);
    let argocd = || tenant.status().map(|status| status.0["argocd"].clone()).unwrap_or_default();
    until_true("there is no Argo CD, says the API server", seconds(8), || argocd()["detected"] == false);

    gitops::install(cluster, "gitops", "v3.0.6");
    let found = until("it is found", seconds(8), || Some(argocd()).filter(|argocd| argocd["detected"] == true));
    assert_eq!((&found["namespace"], &found["version"]), (&"gitops".into(), &"v3.0.6".into()));

    until_true("the dashboard is there", seconds(15), || tenant.find("kube9-dashboard-data").is_some());
    let now = Timestamp::now();
    happen(&tenant, (0..30).map(|minutes| event(&tenant, minutes, now)));
    let namespace = format!("--object-namespace={}", tenant.namespace);
    let listed = tenant.operator().run(&["query", "events", "list", "--limit=25", "--format=json", &namespace]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed["pagination"]["total"], &listed["pagination"]["returned"]), (&30.into(), &25.into()));
    assert_eq!(tenant.operator().run(&["query", "status", "--expect=operated"]).status.code(), Some(0));

    operator.terminate();
    let (status, _, log) = operator.end(seconds(6));
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(roles::live(&tenant), Vec::<String>::new(), "with all rights nothing is refused");
    roles::assert_used(cluster, &tenant);
}
