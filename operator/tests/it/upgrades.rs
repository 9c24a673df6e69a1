//! Real upgrades by every Helm, on a real API server: from chart 2.4.0 with its values, as the extension makes them.

use serde_json::json;

use crate::cluster::Cluster;
use crate::helm::{self, Helm, RELEASE, text};

#[test]
fn h4_an_upgrade_from_2_4_0_that_reuses_its_values_runs_the_new_image_and_names_what_it_ignores() {
    let Some(cluster) = Cluster::shared() else { return };
    let kubeconfig = cluster.kubeconfig();
    let kubeconfig = text(&kubeconfig);
    std::thread::scope(|scope| {
        for (number, helm) in Helm::all().into_iter().enumerate() {
            scope.spawn(move || upgrade(kubeconfig, &helm, &format!("upgrade-{number}")));
        }
    });
}

fn upgrade(kubeconfig: &str, helm: &Helm, namespace: &str) {
    let place = ["--namespace", namespace, "--kubeconfig", kubeconfig];
    let run = |arguments: &[&str]| helm.ok(&[arguments, &place].concat());
    // Its image is not needed: what counts is what it leaves, values and objects.
    let old = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/chart-2.4.0");
    run(&["install", RELEASE, old, "--create-namespace"]);

    let notes = run(&["upgrade", RELEASE, text(&helm::chart()), "--reuse-values"]);

    let ignored = "have no effect in this chart: aiConformance, assessment, events, metrics, trivy, argocd.api\n";
    for text in [ignored, "IGNORED: image.repository ghcr.io/alto9/kube9-operator with image.tag 2.4.0"] {
        assert!(notes.contains(text), "{}: {notes}", helm.name);
    }
    assert!(notes.contains(&format!("\"kube9.operatorNamespace\": \"{namespace}\"")), "{}: {notes}", helm.name);
    let manifest = run(&["get", "manifest", RELEASE]);
    assert!(!manifest.contains("nil") && !manifest.contains("<no value>"), "{}: {manifest}", helm.name);
    let installed = crate::chart::Rendered::read(&manifest);
    let pod = &installed.one("Deployment")["spec"]["template"]["spec"];
    let image = format!("ghcr.io/alto9/kube9-operator:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(pod["containers"][0]["image"], image, "{}", helm.name);
    assert_eq!(pod["containers"][0]["resources"]["limits"], json!({"cpu": "500m", "memory": "1Gi"}), "{}", helm.name);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{}", helm.name);

    for replicas in ["replicas=3", "replicas=1"] {
        run(&["upgrade", RELEASE, text(&helm::chart()), "--set", replicas]);
    }
    run(&["uninstall", RELEASE]);
}
