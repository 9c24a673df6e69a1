//! How the extension is led to an operator outside the namespaces in which it looks.

use std::process::Output;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use serde_json::json;

use crate::chart;
use crate::cluster::Cluster;
use crate::consumer;
use crate::helm::{self, Helm, RELEASE, text};
use crate::tenant::CONFIG_MAP;

/// A cluster has one pointer, so that every Helm takes its turn.
#[test]
fn h4_an_operator_is_found_wherever_it_is_and_a_second_one_leaves_it_the_pointer() {
    let Some(cluster) = Cluster::shared() else { return };
    let developers = json!({"kind": "Group", "name": "followers", "apiGroup": "rbac.authorization.k8s.io"});
    let viewers = json!({"viewerRole": {"create": true, "subjects": [developers]}});
    for helm in Helm::all() {
        let notes = ok(&install(cluster, &helm, "first", &["--values", text(&helm.file(&viewers))]));
        assert!(!notes.contains("\"kube9.operatorNamespace\""), "{}: {notes}", helm.name);
        assert_eq!(found(cluster).as_deref(), Some("first"), "{}", helm.name);
        assert!(may_follow(cluster), "{}", helm.name);

        let refusal = refusal(&install(cluster, &helm, "second", &[]));
        for words in ["ConfigMap \"kube9-operator-status\" in namespace \"default\" exists", "is \"first\""] {
            assert!(refusal.contains(words), "{}: {refusal}", helm.name);
        }
        let notes = ok(&install(cluster, &helm, "second", WITHOUT));
        assert!(notes.contains("\"kube9.operatorNamespace\": \"second\""), "{}: {notes}", helm.name);
        ok(&run(cluster, &helm, "second", &["uninstall", RELEASE]));
        assert_eq!(found(cluster).as_deref(), Some("first"), "{}", helm.name);

        ok(&run(cluster, &helm, "first", &["upgrade", RELEASE, text(&helm::chart()), WITHOUT[0]]));
        assert_eq!(found(cluster), None, "{}: one value turns it off", helm.name);
        ok(&run(cluster, &helm, "first", &["uninstall", RELEASE]));
    }
}

#[test]
fn h4_whoever_may_do_nothing_in_default_is_told_so_and_can_install_without_the_pointer() {
    let Some(cluster) = Cluster::shared() else { return };
    let helm = Helm::usual().unwrap();
    let place = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "limited"}});
    let right = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "ann", "namespace": "limited"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}],
    });
    [place, right].iter().for_each(|object| chart::ensure(cluster, object));
    let as_ann = ["--kube-as-user=ann", "--set=rbac.create=false"];

    let refusal = refusal(&install(cluster, &helm, "limited", &as_ann));
    for words in ["configmaps \"kube9-operator-status\" is forbidden", "in the namespace \"default\""] {
        assert!(refusal.contains(words), "{refusal}");
    }
    ok(&install(cluster, &helm, "limited", &[&as_ann, WITHOUT].concat()));
    ok(&run(cluster, &helm, "limited", &["uninstall", RELEASE]));
}

const WITHOUT: &[&str] = &["--set=pointer.create=false"];

fn install(cluster: &Cluster, helm: &Helm, namespace: &str, options: &[&str]) -> Output {
    // Not by Helm: this takes a right that not everybody has.
    let place = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    chart::ensure(cluster, &place);
    run(cluster, helm, namespace, &[&["install", RELEASE, text(&helm::chart())], options].concat())
}

fn run(cluster: &Cluster, helm: &Helm, namespace: &str, arguments: &[&str]) -> Output {
    helm.run(&[arguments, &["--namespace", namespace, "--kubeconfig", text(&cluster.kubeconfig())]].concat())
}

#[track_caller]
fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether a user of the extension may read the pointer who has no other right.
fn may_follow(cluster: &Cluster) -> bool {
    let attributes = json!({"verb": "get", "resource": "configmaps", "name": CONFIG_MAP, "namespace": "default"});
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": "ann", "groups": ["followers"], "resourceAttributes": attributes},
    });
    chart::answer(cluster, &review)["status"]["allowed"] == true
}

/// Where a user of the extension is led who has set nothing.
fn found(cluster: &Cluster) -> Option<String> {
    consumer::resolve(|namespace| {
        let config_maps: Api<ConfigMap> = Api::namespaced(cluster.admin.clone(), namespace);
        cluster.run(config_maps.get_opt(CONFIG_MAP)).unwrap()
    })
}
