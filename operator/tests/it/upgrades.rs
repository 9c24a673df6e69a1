//! Real upgrades by every Helm, on a real API server: from chart 2.4.0 with its values, as the extension makes them.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::cluster::Cluster;
use crate::helm::{self, Helm, RELEASE, text};

#[test]
fn h4_an_upgrade_from_2_4_0_that_reuses_its_values_runs_the_new_image_and_names_what_it_ignores() {
    let Some(cluster) = Cluster::shared() else { return };
    std::thread::scope(|scope| {
        for (number, helm) in Helm::all().into_iter().enumerate() {
            scope.spawn(move || upgrade(cluster, &helm, &format!("upgrade-{number}"), Claim::IsToStay));
        }
        scope.spawn(move || upgrade(cluster, &Helm::usual().unwrap(), "upgrade", Claim::IsForgotten));
    });
}

/// What somebody did about the old event store before the upgrade.
#[derive(Clone, Copy, PartialEq)]
enum Claim {
    IsToStay,
    IsForgotten,
}

const OLD_CLAIM: &str = "kube9-operator-events-data";

fn upgrade(cluster: &Cluster, helm: &Helm, namespace: &str, claim: Claim) {
    let kubeconfig = cluster.kubeconfig();
    let place = ["--namespace", namespace, "--kubeconfig", text(&kubeconfig)];
    let run = |arguments: &[&str]| helm.ok(&[arguments, &place].concat());
    // Its image is not needed: what counts is what it leaves, values and objects.
    let old = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/chart-2.4.0");
    run(&["install", RELEASE, old, "--create-namespace"]);

    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.admin.clone(), namespace);
    if claim == Claim::IsToStay {
        let keep = Patch::Merge(json!({"metadata": {"annotations": {"helm.sh/resource-policy": "keep"}}}));
        cluster.run(claims.patch(OLD_CLAIM, &PatchParams::default(), &keep)).unwrap();
    }

    let notes = run(&["upgrade", RELEASE, text(&helm::chart()), "--reuse-values", "--set", "pointer.create=false"]);

    // Where nothing protects it, it is gone, and otherwise as soon as nothing uses it.
    let old = cluster.run(claims.get_opt(OLD_CLAIM)).unwrap();
    let stays = old.is_some_and(|old| old.metadata.deletion_timestamp.is_none());
    assert_eq!(stays, claim == Claim::IsToStay, "{}", helm.name);
    assert!(notes.contains("REMOVED: the volume claim of charts 2.x"), "{}: {notes}", helm.name);
    let ignored = "have no effect in this chart: aiConformance, assessment, events, metrics, trivy, argocd.api.collectionEnabled\n";
    assert!(!notes.contains("gh attestation"), "{}: of no digest nothing is attested: {notes}", helm.name);
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
    let store = json!([{"name": "events", "emptyDir": {"sizeLimit": "256Mi"}}]);
    assert_eq!(pod["volumes"], store, "{}: the keys of the old store do not make a claim", helm.name);

    let digest = format!("sha256:{}", "0".repeat(64));
    for replicas in ["replicas=3", "replicas=1"] {
        let values = format!("{replicas},pointer.create=false,image.digest={digest}");
        let notes = run(&["upgrade", RELEASE, text(&helm::chart()), "--set", &values]);
        assert!(
            notes.contains(&format!("gh attestation verify oci://{image}@{digest} --repo")),
            "{}: {notes}",
            helm.name
        );
        let only_ours = "--certificate-github-workflow-repository alto9/kube9-operator";
        let signer = format!(
            "/release-image.yml@refs/tags/v{} \\\n    {only_ours} \\\n    {image}@{digest}\n",
            env!("CARGO_PKG_VERSION")
        );
        assert!(notes.contains(&signer), "{}: {notes}", helm.name);
    }
    run(&["uninstall", RELEASE]);
}
