//! The chart's roles: every right in them is used, and without any one of them something is seen to fail.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::chart::{self, Rendered};
use crate::cluster::Cluster;
use crate::tenant::Tenant;
use crate::wait::{seconds, until_true};

/// One verb on one resource, as roles grant it and as the audit log tells of its use.
type Right = (String, String, String);

#[test]
fn every_right_is_used_and_the_loss_of_any_is_noticed() {
    let Some(cluster) = Cluster::start() else { return };
    crate::gitops::install(&cluster, "argocd", "v3.0.6");
    let with_all = Tenant::with_chart(&cluster, OPTIONS, |rendered| rendered);
    let granted = rights(&with_all.chart);
    assert_eq!(live(&with_all), Vec::<String>::new(), "with all rights nothing is refused");
    assert_used(&cluster, &with_all);

    let granted: Vec<Right> = granted.into_iter().collect();
    // They mostly wait, so several lives are lived at a time.
    let cluster = &cluster;
    std::thread::scope(|scope| {
        for some in granted.chunks(granted.len().div_ceil(6)) {
            scope.spawn(move || {
                for right in some {
                    let without = Tenant::with_chart(cluster, OPTIONS, |rendered| remove(rendered, right));
                    assert_ne!(live(&without), Vec::<String>::new(), "nobody noticed that {right:?} was missing");
                }
            });
        }
    });
}

#[test]
fn a_chart_that_collects_nothing_may_remove_what_was_collected_and_list_nothing() {
    let Some(cluster) = Cluster::shared() else { return };
    let options = ["--set", "collection.enabled=false,argocd.enabled=false,eventStore.enabled=false"];
    let tenant = Tenant::with_chart(cluster, &options, |rendered| rendered);
    assert_eq!(live(&tenant), Vec::<String>::new());
    let cluster_wide: Vec<Right> =
        tenant.chart.of_kind("ClusterRole").flat_map(|role| rights(&Rendered(vec![role.clone()]))).collect();
    assert_eq!(cluster_wide, [("list".to_owned(), String::new(), "events".to_owned())]);
    assert_used(cluster, &tenant);
}

#[test]
fn a_chart_that_knows_where_argocd_is_may_watch_deployments_there_and_nowhere_else() {
    let Some(cluster) = Cluster::shared() else { return };
    let place = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd-alone"}});
    chart::create(cluster, &place);
    let values = "argocd.enabled=true,argocd.namespace=argocd-alone,collection.enabled=false,eventStore.enabled=false";
    let options = ["--set", values];
    let tenant = Tenant::with_chart(cluster, &options, |rendered| rendered);
    assert_eq!(live(&tenant), Vec::<String>::new());
    assert_used(cluster, &tenant);
    let user = format!("system:serviceaccount:{}:kube9-operator", tenant.namespace);
    let may_watch = |namespace: &str| {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": {
                "verb": "watch", "group": "apps", "resource": "deployments", "namespace": namespace,
            }},
        });
        chart::answer(cluster, &review)["status"]["allowed"] == true
    };
    assert!(may_watch("argocd-alone") && !may_watch("default") && !may_watch(""), "{user}");

    // What is counted is counted everywhere.
    let options_of_counting = ["--set", "argocd.enabled=true,argocd.namespace=argocd-alone"];
    let counting = Tenant::with_chart(cluster, &options_of_counting, |rendered| rendered);
    assert_eq!(live(&counting), Vec::<String>::new());

    let list = ("list".to_owned(), "apps".to_owned(), "deployments".to_owned());
    let without = Tenant::with_chart(cluster, &options, |rendered| remove(rendered, &list));
    assert_ne!(live(&without), Vec::<String>::new(), "nobody noticed that the Role was missing");
}

/// 3.1: what the extension asks for in this namespace, and what nobody needs for that.
#[test]
fn a_viewer_may_do_what_the_extension_does_and_no_more() {
    let Some(cluster) = Cluster::shared() else { return };
    let values = "viewerRole.create=true,viewerRole.subjects[0].kind=Group,viewerRole.subjects[0].name=developers";
    let options = ["--set", values, "--set", "viewerRole.subjects[0].apiGroup=rbac.authorization.k8s.io"];
    let tenant = Tenant::with_chart(cluster, &options, |rendered| rendered);
    let may = |verb: &str, resource: &str, name: &str, namespace: &str| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": "ann", "groups": ["developers"], "resourceAttributes": {
                "verb": verb, "resource": resource, "subresource": subresource, "name": name, "namespace": namespace,
            }},
        });
        chart::answer(cluster, &review)["status"]["allowed"] == true
    };
    let here = tenant.namespace.as_str();
    for (verb, resource, name) in [
        ("get", "configmaps", "kube9-operator-status"),
        ("get", "configmaps", "kube9-dashboard-data"),
        ("list", "pods", ""),
        ("create", "pods/exec", "kube9-operator-1"),
        ("get", "pods/exec", "kube9-operator-1"),
    ] {
        assert!(may(verb, resource, name, here), "{verb} {resource} {name}");
        assert!(!may(verb, resource, name, "default"), "{verb} {resource} {name} elsewhere");
    }
    for (verb, resource, name) in [
        ("get", "configmaps", "other"),
        ("patch", "configmaps", "kube9-operator-status"),
        ("delete", "pods", "kube9-operator-1"),
        ("get", "secrets", "other"),
    ] {
        assert!(!may(verb, resource, name, here), "{verb} {resource} {name}");
    }
}

/// The log may be behind by a moment.
#[track_caller]
pub(crate) fn assert_used(cluster: &Cluster, tenant: &Tenant) {
    let granted = rights(&tenant.chart);
    let start = std::time::Instant::now();
    while used(cluster, tenant) != granted && start.elapsed() < seconds(5) {
        std::thread::sleep(seconds(1));
    }
    let used = used(cluster, tenant);
    let unused: Vec<&Right> = granted.difference(&used).collect();
    assert_eq!(unused, Vec::<&Right>::new(), "granted and never used");
}

const OPTIONS: &[&str] = &["--set", "replicas=2,eventStore.enabled=true"];

/// Everything an operator does in its life, and every refusal that somebody could see on the way.
pub(crate) fn live(tenant: &Tenant) -> Vec<String> {
    let mut refusals = Vec::new();
    let mut note = |text: String| {
        if text.contains("forbidden") {
            refusals.push(text);
        }
    };
    let mut operator = tenant.operator().often().start();
    let is_settled = || {
        let (ready, complaint) = operator.page("/readyz");
        let metrics = operator.page("/metrics").1;
        let collected = !metrics.contains("kube9_operator_collections_total{result=\"success\"} 0");
        let refused = metrics.lines().any(|line| line.contains("forbidden") && !line.ends_with(" 0"));
        (ready == 200 && (collected || tenant.collects_nothing())) || refused || complaint.contains("forbidden")
    };
    until_true("all is well, or something is refused", seconds(15), is_settled);
    note(operator.page("/readyz").1);
    for query in [&["query", "status"][..], &["query", "events", "list"]] {
        note(String::from_utf8(tenant.operator().run(query).stderr).unwrap());
    }
    // Longer than a renewal of the Lease takes; and its end, where the status was added to by others.
    operator.terminate();
    note(operator.end(seconds(6)).2);
    refusals
}

fn rights(chart: &Rendered) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in chart.0.iter().filter_map(|object| object["rules"].as_array()).flatten() {
        for (group, resource, verb) in each(rule) {
            rights.extend(names(rule).map(|name| (verb.clone(), group.clone(), format!("{resource}{name}"))));
        }
    }
    rights
}

fn each(rule: &Value) -> Vec<(String, String, String)> {
    let words = |field: &str| -> Vec<String> {
        rule[field].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut all = Vec::new();
    for group in words("apiGroups") {
        for resource in words("resources") {
            all.extend(words("verbs").into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
        }
    }
    all
}

/// With a slash before each, and one empty one for a rule that is not limited to names.
fn names(rule: &Value) -> impl Iterator<Item = String> {
    let names = rule["resourceNames"].as_array().cloned().unwrap_or_else(|| vec![json!("")]);
    names.into_iter().map(|name| match name.as_str().unwrap() {
        "" => String::new(),
        name => format!("/{name}"),
    })
}

/// The chart without one right, everything else as it was.
fn remove(mut chart: Rendered, right: &Right) -> Rendered {
    for object in chart.0.iter_mut().filter(|object| object["rules"].is_array()) {
        let mut rules = Vec::new();
        for rule in object["rules"].as_array().unwrap() {
            for (group, resource, verb) in each(rule) {
                for name in names(rule) {
                    if (verb.clone(), group.clone(), format!("{resource}{name}")) == *right {
                        continue;
                    }
                    let mut part = json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]});
                    if let Some(name) = name.strip_prefix('/') {
                        part["resourceNames"] = json!([name]);
                    }
                    rules.push(part);
                }
            }
        }
        object["rules"] = json!(rules);
    }
    chart
}

/// What the audit log says that the tenant's service account did and was allowed to.
fn used(cluster: &Cluster, tenant: &Tenant) -> BTreeSet<Right> {
    let user = format!("system:serviceaccount:{}:kube9-operator", tenant.namespace);
    let granted = rights(&tenant.chart);
    let log = cluster.audit_log();
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = entries.filter(|entry| entry["user"]["username"] == user);
    ours.flat_map(|entry| {
        let reference = &entry["objectRef"];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (group, resource, name) =
            (word(&reference["apiGroup"]), word(&reference["resource"]), word(&reference["name"]));
        let mut verbs = vec![word(&entry["verb"])];
        if entry["verb"] == "patch" && entry["responseStatus"]["code"] == 201 {
            // An apply that makes its object needs the right to create it as well.
            verbs.push("create".to_owned());
        }
        let rights = verbs.into_iter().flat_map(|verb| {
            let named = (verb.clone(), group.clone(), format!("{resource}/{name}"));
            [named, (verb, group.clone(), resource.clone())]
        });
        rights.collect::<Vec<_>>()
    })
    .filter(|right| granted.contains(right))
    .collect()
}
