//! The cluster is counted for the dashboard, and what is no longer counted is not shown.

use serde_json::{Value, json};

use crate::audit;
use crate::chart;
use crate::cluster::Cluster;
use crate::tenant::Tenant;
use crate::wait::{seconds, until, until_true};

const DASHBOARD: &str = "kube9-dashboard-data";

#[test]
fn the_dashboard_shows_what_is_in_the_cluster() {
    let Some(cluster) = Cluster::start() else { return };
    let tenant = Tenant::new(&cluster);
    for (number, ready) in ["True", "False", "Unknown"].into_iter().enumerate() {
        chart::create(&cluster, &node(number, ready));
    }
    for number in 0..3 {
        chart::create(&cluster, &pod(&tenant, number));
    }
    let mut operator = tenant.operator().with("POD_UID", "12-34").start();

    let dashboard = until("it is there", seconds(10), || shown(&tenant));

    // The API server makes four namespaces itself.
    assert_eq!(dashboard["namespaceCount"], 5);
    let workloads = json!({
        "deployments": 1, "statefulsets": 0, "daemonsets": 0, "replicasets": 0, "jobs": 0, "cronjobs": 0, "pods": 3,
    });
    assert_eq!(dashboard["workloads"], workloads);
    let nodes = json!({"totalNodes": 3, "readyNodes": 1, "cpuCapacity": "12", "memoryCapacity": "24Gi"});
    assert_eq!(dashboard["nodes"], nodes);
    assert_eq!(dashboard["lastUpdated"], dashboard["operatorMetrics"]["lastCollectionTime"]);
    until_true("it is counted", seconds(5), || {
        operator.metric("kube9_operator_collections_total{result=\"success\"}") > 0.0
    });
    let owners = tenant.find(DASHBOARD).unwrap().metadata.owner_references.unwrap();
    let owner = (owners[0].kind.as_str(), owners[0].name.as_str(), owners[0].uid.as_str());
    assert_eq!(owner, ("Pod", tenant.namespace.as_str(), "12-34"), "it does not outlive a node");
    let lists = audit::requests(&tenant).into_iter().filter(|request| request.verb == "list");
    let (nodes, others): (Vec<_>, Vec<_>) = lists.map(|list| list.address).partition(|list| list.contains("/nodes?"));
    let writes = || audit::requests(&tenant).into_iter().filter(|request| request.wrote(DASHBOARD));
    assert_eq!(writes().count(), 1, "nothing has changed since");
    let is_limited = |list: &str, limit: &str| list.split(['?', '&']).any(|part| part == limit);
    assert!(nodes.iter().all(|list| is_limited(list, "limit=20")), "nodes come in pages: {nodes:?}");
    let counts = others.iter().filter(|list| !list.contains("Selector="));
    let growing: Vec<&String> = counts.filter(|list| !is_limited(list, "limit=1")).collect();
    assert_eq!(growing, Vec::<&String>::new(), "no other answer grows with the cluster");

    // What comes and goes is counted within 15 seconds, and told at most as often.
    chart::delete(&cluster, &pod(&tenant, 0));
    chart::create(&cluster, &pod(&tenant, 3));
    chart::create(&cluster, &pod(&tenant, 4));
    chart::create(&cluster, &node(3, "True"));
    let changed = until("a change shows", seconds(18), || {
        shown(&tenant).filter(|dashboard| dashboard["workloads"]["pods"] == 4 && dashboard["nodes"]["readyNodes"] == 2)
    });
    assert_eq!((&changed["nodes"]["totalNodes"], &changed["nodes"]["cpuCapacity"]), (&json!(4), &json!("16")));
    let points = |dashboard: &Value| dashboard["operatorMetrics"]["dataPointsCollected"].as_u64().unwrap();
    assert_eq!((points(&dashboard), points(&changed)), (12, 24), "it is a total");
    let came: Vec<_> = writes().map(|request| request.came).collect();
    assert!(came.windows(2).all(|pair| pair[1].duration_since(pair[0]).as_secs() >= 14), "{came:?}");

    // What nobody keeps up to date is not left to be shown in place of what the extension counts itself.
    operator.terminate();
    assert!(operator.end(seconds(5)).0.success());
    assert!(shown(&tenant).is_none());
    tenant.put(DASHBOARD, &json!({"dashboard": "{\"of\": \"a lost node\"}"}));
    let blind = Tenant::with_chart(&cluster, &[], |mut rendered| {
        rendered.0.retain(|object| object["kind"] != "ClusterRole");
        rendered
    });
    blind.put(DASHBOARD, &json!({"dashboard": "{}"}));
    let _cannot_count = blind.operator().start();
    until_true("what can no longer be counted is taken away", seconds(15), || blind.find(DASHBOARD).is_none());

    // Switched off, what was counted before is not left to be shown as if it were true.
    let _operator = tenant.operator().with("COLLECTION_ENABLED", "false").start();
    until_true("it is gone", seconds(5), || tenant.find(DASHBOARD).is_none());
    let off = Tenant::with_chart(&cluster, &["--set", "collection.enabled=false"], |rendered| rendered);
    off.put(DASHBOARD, &json!({"dashboard": "{}"}));
    let operator = off.operator().start();
    until_true("it is gone", seconds(5), || off.find(DASHBOARD).is_none());
    operator.wait_until_ready(seconds(5));
}

fn shown(tenant: &Tenant) -> Option<Value> {
    let data = tenant.find(DASHBOARD)?.data.unwrap();
    Some(serde_json::from_str(&data["dashboard"]).unwrap())
}

fn node(number: usize, ready: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{number}")},
        "status": {
            "capacity": {"cpu": "4", "memory": "8Gi"},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    })
}

fn pod(tenant: &Tenant, number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("pod-{number}"), "namespace": tenant.namespace},
        "spec": {"containers": [{"name": "a", "image": "a"}], "automountServiceAccountToken": false,
            "serviceAccountName": "kube9-operator"},
    })
}
