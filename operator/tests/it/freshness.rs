//! The status is there, says what kube9 needs, and stays fresh.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::audit;
use crate::cluster::Cluster;
use crate::consumer::Mode;
use crate::tenant::{CONFIG_MAP, Status, Tenant};
use crate::wait::{seconds, until, until_true};

#[test]
fn a_new_operator_writes_the_status_at_once() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let before = Timestamp::now();
    let operator = tenant.operator().start();

    let status = until("there is a status", seconds(5), || tenant.status());

    let mut rest = status.0.clone();
    let updated = rest.as_object_mut().unwrap().remove("lastUpdate").unwrap();
    rest.as_object_mut().unwrap().remove("argocd");
    assert!(updated.as_str().unwrap().ends_with('Z'), "{updated}");
    assert!((status.updated().as_second() - before.as_second()).abs() <= 5, "{updated} is now");
    assert_eq!(
        rest,
        json!({
            "mode": "operated",
            "version": env!("CARGO_PKG_VERSION"),
            "health": "healthy",
            "error": null,
            "namespace": tenant.namespace,
            "collectionStats": {
                "totalSuccessCount": 0,
                "totalFailureCount": 0,
                "collectionsStoredCount": 0,
                "lastSuccessTime": null,
            },
        })
    );
    operator.wait_until_ready(seconds(5));
    assert_eq!(operator.page("/readyz"), (200, "Ready\n".to_owned()));
    assert_eq!(operator.page("/healthz"), (200, "OK\n".to_owned()));
    assert_eq!(tenant.verdict().mode, Mode::Operated);
}

mod timed {
    use super::*;

    /// Where what is small waits until what was sent before it is acknowledged, this takes 60 ms or 100.
    #[test]
    fn the_first_status_waits_for_nothing_but_its_answers() {
        let Some(cluster) = Cluster::shared() else { return };
        let first_write_ms = |_| {
            let tenant = Tenant::new(cluster);
            let start = Timestamp::now();
            let _operator = tenant.operator().start();
            audit::first_write(&tenant, CONFIG_MAP).duration_since(start).as_millis()
        };
        let quickest = (0..5).map(first_write_ms).min().unwrap();
        assert!(quickest < 40, "the quickest of five took {quickest} ms");
    }
}

#[test]
fn the_config_map_is_labelled_and_names_its_namespace_and_its_only_manager() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let _operator = tenant.operator().start();
    tenant.wait_for_status();

    let config_map = tenant.config_map().unwrap();

    let labels = [("app.kubernetes.io/component", "status"), ("app.kubernetes.io/name", "kube9-operator")];
    assert!(config_map.labels().iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(labels));
    assert_eq!(config_map.data.as_ref().unwrap()["namespace"], tenant.namespace);
    let managers: Vec<_> = config_map
        .managed_fields()
        .iter()
        .map(|entry| (entry.manager.as_deref().unwrap(), entry.operation.as_deref().unwrap()))
        .collect();
    assert_eq!(managers, [("kube9-operator", "Apply")]);
}

#[test]
fn the_status_is_refreshed_and_fields_of_others_are_left_alone() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let operator = tenant.operator().often().start();
    let first = tenant.wait_for_status();
    apply_as_somebody_else(&tenant, json!({"metadata": {"annotations": {"somebody": "else"}}}));

    // What is found out in the first seconds is told at once.
    let due = |status: &Status| status.updated().as_second() - first.updated().as_second() >= 10;
    let second = until("the status is refreshed", seconds(20), || tenant.status().filter(due));

    let elapsed = second.updated().as_second() - first.updated().as_second();
    assert!((10..=14).contains(&elapsed), "the interval is 10 s, it took {elapsed} s");
    assert_eq!(second.health(), "healthy");
    assert_eq!(tenant.config_map().unwrap().annotations()["somebody"], "else");
    // At the start, when the owner is found, when Argo CD is looked for, and now.
    assert!((2..=4).contains(&operator.writes("success")));
}

#[test]
fn a_field_that_another_manager_took_is_taken_back() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let operator = tenant.operator().often().start();
    tenant.wait_for_status();
    apply_as_somebody_else(&tenant, json!({"data": {"status": "{\"mode\":\"theirs\"}"}}));

    until_true("the status is ours again", seconds(15), || tenant.status().unwrap().0["mode"] == "operated");

    assert_eq!(operator.writes("conflict"), 0);
}

#[test]
fn a_status_that_somebody_deleted_comes_back() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let _operator = tenant.operator().often().start();
    tenant.wait_for_status();
    tenant.delete_config_map();

    let status = until("the status is back", seconds(15), || tenant.status());

    assert_eq!(status.health(), "healthy");
}

fn apply_as_somebody_else(tenant: &Tenant, mut part: serde_json::Value) {
    part["apiVersion"] = json!("v1");
    part["kind"] = json!("ConfigMap");
    let parameters = PatchParams::apply("somebody-else").force();
    let patch: Patch<serde_json::Value> = Patch::Apply(part);
    let _: ConfigMap = tenant.cluster.run(tenant.config_maps().patch(CONFIG_MAP, &parameters, &patch)).unwrap();
}
