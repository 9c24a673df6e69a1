//! Real upgrades by every Helm, on a real API server: from chart 2.4.0 with its values, as the extension makes them.

use serde_json::json;

use crate::cluster::Cluster;
use crate::helm::{self, Helm, RELEASE, text};

/// As much of chart 2.4.0 as an upgrade meets: its values, and a Deployment whose selector cannot change.
const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: kube9-operator, namespace: "{{ .Release.Namespace }}"}
spec:
  replicas: 1
  strategy: {type: Recreate}
  selector:
    matchLabels: &labels {app.kubernetes.io/name: kube9-operator, app.kubernetes.io/instance: "{{ .Release.Name }}"}
  template:
    metadata: {labels: *labels}
    spec:
      serviceAccountName: {{ .Values.serviceAccount.name }}
      containers: [{name: operator, image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"}]
"#;

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
    let old = tempfile::tempdir().unwrap();
    std::fs::create_dir(old.path().join("templates")).unwrap();
    std::fs::write(old.path().join("Chart.yaml"), "{apiVersion: v2, name: kube9-operator, version: 2.4.0}").unwrap();
    std::fs::write(old.path().join("values.yaml"), include_str!("../fixtures/values-2.4.0.yaml")).unwrap();
    std::fs::write(old.path().join("templates/deployment.yaml"), DEPLOYMENT).unwrap();
    run(&["install", RELEASE, text(old.path()), "--create-namespace"]);

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
