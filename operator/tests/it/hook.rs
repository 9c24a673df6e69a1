//! `helm test`: what its pod runs passes while the operator works, and fails with a reason when it does not.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::helm::{self, Helm, Variant};
use crate::tenant::Tenant;
use crate::wait::seconds;

#[test]
fn h4_helm_test_passes_while_the_operator_works_and_says_why_it_does_not() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    assert!(complaint(&ask(&tenant, None)).contains("is the operator running"));

    let operator = tenant.operator().start();
    tenant.wait_for_owned_status();
    operator.wait_until_ready(seconds(10));
    let answer = ask(&tenant, None);
    assert_eq!(answer.status.code(), Some(0), "{}", String::from_utf8_lossy(&answer.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&answer.stdout).unwrap()["health"], "healthy");

    drop(operator);
    assert_eq!(ask(&tenant, Some(290)).status.code(), Some(0));
    let stale = complaint(&ask(&tenant, Some(310)));
    assert!(stale.contains("s old"), "{stale}");
    tenant.revoke();
    let forbidden = complaint(&ask(&tenant, None));
    assert!(forbidden.contains("forbidden"), "{forbidden}");
}

#[test]
fn helm_test_fails_where_another_release_wrote_the_status() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let status =
        json!({"mode": "operated", "version": "2.4.0", "health": "healthy", "lastUpdate": jiff::Timestamp::now()});
    tenant.put(crate::tenant::CONFIG_MAP, &json!({"status": status.to_string()}));
    let old = complaint(&ask(&tenant, None));
    assert!(old.contains("2.4.0"), "{old}");
    tenant.delete_config_map();
}

#[test]
fn the_pod_of_helm_test_is_taken_for_the_operator_by_nobody() {
    let Some(helm) = Helm::usual() else { return };
    for variant in Variant::all() {
        let rendered = helm.render(&helm::chart(), &variant, "1.31.4");
        let pod = rendered.one("Pod");
        let labels = &pod["metadata"]["labels"];
        // 1.6: how the extension finds the operator.
        assert!(labels["app.kubernetes.io/name"] != "kube9-operator" && labels["app"] != "kube9-operator");
        assert_ne!(pod["spec"]["containers"][0]["name"], "operator");
        for pointer in ["/spec/selector/matchLabels", "/spec/selector"] {
            let selectors = rendered.0.iter().filter_map(|object| object.pointer(pointer)?.as_object());
            for selector in selectors.filter(|selector| selector.values().all(Value::is_string)) {
                let is_selected = selector.iter().all(|(name, value)| &labels[name] == value);
                assert!(!is_selected, "{}: {selector:?} selects it", variant.name);
            }
        }
        // It would be one more object that the release leaves behind.
        assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
        let deployment = rendered.one("Deployment");
        let account = &deployment["spec"]["template"]["spec"]["serviceAccountName"];
        assert_eq!(&pod["spec"]["serviceAccountName"], account, "{}", variant.name);
    }
}

/// Runs what the pod runs, some seconds later.
fn ask(tenant: &Tenant, later: Option<i64>) -> Output {
    let helm = Helm::usual().unwrap();
    let rendered = helm.render(&helm::chart(), &Variant::all()[0], "1.31.4");
    let container = rendered.one("Pod")["spec"]["containers"][0].clone();
    let arguments: Vec<&str> =
        container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect();
    let offset = tenant.cluster.directory().join(format!("{}.offset", tenant.namespace));
    fs::write(&offset, later.unwrap_or(0).to_string()).unwrap();
    tenant.operator().with("TEST_CLOCK_OFFSET", offset.to_str().unwrap()).run(&arguments)
}

#[track_caller]
fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}
