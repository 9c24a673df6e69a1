//! A cluster of the size that the operator is made for: objects, but nobody who runs them.

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::tenant::Tenant;

pub(crate) const NODES: u32 = 5_000;
pub(crate) const PODS: u32 = 100_000;

const AT_ONCE: usize = 48;

pub(crate) fn fill(tenant: &Tenant) {
    let nodes: Api<Node> = Api::all(tenant.cluster.admin.clone());
    create_all(tenant, &nodes, (0..NODES).map(node));
    let pods: Api<Pod> = Api::namespaced(tenant.cluster.admin.clone(), &tenant.namespace);
    create_all(tenant, &pods, (0..PODS).map(pod));
}

/// One more than there are.
pub(crate) fn add_pod(tenant: &Tenant, number: u32) {
    let pods: Api<Pod> = Api::namespaced(tenant.cluster.admin.clone(), &tenant.namespace);
    create_all(tenant, &pods, [pod(number)].into_iter());
}

fn create_all<T>(tenant: &Tenant, api: &Api<T>, objects: impl Iterator<Item = Value>)
where
    T: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let create = |object: Value| async move {
        let object: T = serde_json::from_value(object).expect("the object is valid");
        api.create(&PostParams::default(), &object).await.expect("the API server takes it");
    };
    tenant.cluster.run(stream::iter(objects).map(create).buffer_unordered(AT_ONCE).for_each(async |()| {}));
}

/// As large as a real one, of which the images are the most: ten kilobytes.
fn node(number: u32) -> Value {
    let name = format!("ip-10-{}-{}.eu-central-1.compute.internal", number / 250, number % 250);
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "reason": format!("KubeletHas{kind}"),
            "message": format!("kubelet reports {kind}, and has done so since it was started"),
            "lastHeartbeatTime": "2026-08-03T12:00:00Z", "lastTransitionTime": "2026-08-01T12:00:00Z",
        })
    };
    let image = |image: u32| {
        let repository = format!("registry.example.com/platform/team-{}/service-{image}", image % 5);
        let digest = format!("{:064x}", u64::from(image) * 7_919 + u64::from(number));
        json!({
            "names": [
                format!("{repository}@sha256:{digest}"),
                format!("{repository}:v1.{image}.{number}"),
                format!("mirror.{repository}@sha256:{digest}"),
            ],
            "sizeBytes": 123_456_789 + image,
        })
    };
    let label = |index: u32| (format!("node.example.com/feature-{index}"), json!(format!("value-{index}")));
    let annotation = |index: u32| (format!("node.example.com/note-{index}"), json!("x".repeat(80)));
    json!({
        "metadata": {
            "name": name,
            "labels": (0..20).map(label).collect::<serde_json::Map<_, _>>(),
            "annotations": (0..10).map(annotation).collect::<serde_json::Map<_, _>>(),
        },
        "spec": {"providerID": format!("aws:///eu-central-1a/i-{number:017x}"), "podCIDR": "10.0.0.0/24"},
        "status": {
            "capacity": {"cpu": "4", "memory": "16Gi", "pods": "58", "ephemeral-storage": "83873772Ki"},
            "allocatable": {"cpu": "3920m", "memory": "15Gi", "pods": "58", "ephemeral-storage": "76224326324"},
            "addresses": [
                {"type": "InternalIP", "address": format!("10.{}.{}.1", number / 250, number % 250)},
                {"type": "Hostname", "address": name},
            ],
            "conditions": [
                condition("MemoryPressure", "False"), condition("DiskPressure", "False"),
                condition("PIDPressure", "False"), condition("Ready", "True"),
            ],
            "images": (0..20).map(image).collect::<Vec<_>>(),
            "nodeInfo": {
                "machineID": format!("{number:032x}"), "systemUUID": format!("{number:032x}"),
                "bootID": format!("{number:032x}"), "kernelVersion": "6.12.40", "osImage": "Linux",
                "containerRuntimeVersion": "containerd://2.1.4", "kubeletVersion": "v1.34.1",
                "kubeProxyVersion": "v1.34.1", "operatingSystem": "linux", "architecture": "amd64",
            },
        },
    })
}

fn pod(number: u32) -> Value {
    json!({
        "metadata": {"name": format!("pod-{number}")},
        "spec": {
            "containers": [{"name": "a", "image": "a"}],
            "automountServiceAccountToken": false, "serviceAccountName": "kube9-operator",
        },
    })
}
