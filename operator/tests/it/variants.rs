//! Everything that users can set: accepted by every Helm and by the API server, and not without effect.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::branches::Noted;
use crate::chart::{self, Rendered};
use crate::cluster::Cluster;
use crate::helm::{self, Helm, Variant, text};

/// Any that the chart can be installed into, with a suffix as those of providers have it.
const VERSION: &str = "v1.31.4-eks-abc1234";

#[test]
fn every_helm_accepts_every_variant_and_makes_the_same_of_it() {
    let chart = helm::chart();
    let all = Helm::all();
    let of_helm = |helm: &Helm| -> Vec<Rendered> {
        let variants = Variant::all();
        variants.iter().for_each(|variant| lint(helm, variant));
        variants.iter().map(|variant| helm.render(&chart, variant, VERSION)).collect()
    };
    let rendered: Vec<Vec<Rendered>> = std::thread::scope(|scope| {
        let threads: Vec<_> = all.iter().map(|helm| scope.spawn(move || of_helm(helm))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (helm, ours) in all.iter().zip(&rendered) {
        for (number, variant) in Variant::all().iter().enumerate() {
            assert_eq!(ours[number].0, rendered[0][number].0, "{}: {}", helm.name, variant.name);
        }
    }
}

fn lint(helm: &Helm, variant: &Variant) {
    let values = helm.file(&variant.values);
    let said = helm.ok(&["lint", "--strict", text(&helm::chart()), "--values", text(&values)]);
    for complaint in ["[WARNING]", "[ERROR]", "[INFO]"] {
        assert!(!said.contains(complaint), "{} {}: {said}", helm.name, variant.name);
    }
}

#[test]
fn the_variants_change_every_value_and_each_of_them_has_an_effect() {
    let Some(helm) = Helm::usual() else { return };
    let (chart, defaults) = (helm::chart(), helm::defaults());
    let variants = Variant::all();
    let rendered: Vec<Rendered> = variants.iter().map(|variant| helm.render(&chart, variant, VERSION)).collect();
    let has_effect = |leaf: &[String]| {
        let mut changing = variants.iter().zip(&rendered).filter(|(variant, _)| changes(variant, &defaults, leaf));
        changing.any(|(variant, rendered)| {
            let mut without = variant.clone();
            remove(&mut without.values, leaf);
            helm.render(&chart, &without, VERSION).0 != rendered.0
        })
    };
    // What Kubernetes defines is passed on as a whole.
    let whole = |path: Vec<String>| if is_of_kubernetes(&path) { path[..1].to_vec() } else { path };
    let leaves: Vec<Vec<String>> =
        leaves(&defaults).into_iter().map(whole).collect::<BTreeSet<_>>().into_iter().collect();
    assert!(leaves.len() > 50, "{leaves:?}");
    let idle: Vec<&Vec<String>> = in_threads(&leaves, |leaf| !has_effect(leaf));
    assert_eq!(
        idle,
        Vec::<&Vec<String>>::new(),
        "no variant in tests/fixtures/variants.yaml shows what these values do"
    );
}

#[test]
fn the_variants_take_every_branch_of_the_templates() {
    let Some(helm) = Helm::usual() else { return };
    let noted = Noted::new();
    let mut rendered = Vec::new();
    for variant in Variant::all() {
        for version in [VERSION, "1.25.0"] {
            rendered.push(helm.render(noted.chart.path(), &variant, version));
        }
    }
    assert_eq!(noted.missed(&rendered), Vec::<&String>::new(), "no variant in tests/fixtures/variants.yaml gets there");
}

#[test]
fn f9_a_token_for_argocd_is_mounted_so_that_it_follows_its_secret_and_otherwise_nothing_is_asked_for() {
    let Some(helm) = Helm::usual() else { return };
    for variant in Variant::all() {
        let rendered = helm.render(&helm::chart(), &variant, VERSION);
        let is_asked = variant.name.starts_with("Argo CD's API is asked");
        let pod = &rendered.one("Deployment")["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let variables = container["env"].to_string();
        let variable = |name: &str| {
            let set = container["env"].as_array()?.iter().find(|it| it["name"] == name)?;
            set["value"].as_str().map(str::to_owned)
        };
        assert_eq!(variables.contains("ARGOCD_API_TOKEN_FILE"), is_asked, "{}", variant.name);
        assert_eq!(variables.contains("ARGOCD_API_"), is_asked, "{}", variant.name);
        let named = |list: &Value| list.as_array()?.iter().find(|it| it["name"] == "argocd-api").cloned();
        let (mount, volume) = (named(&container["volumeMounts"]), named(&pod["volumes"]));
        assert_eq!((mount.is_some(), volume.is_some()), (is_asked, is_asked), "{}", variant.name);
        if let (Some(mount), Some(volume)) = (mount, volume) {
            assert_eq!(mount.get("subPath"), None, "a file that is mounted by itself stays as it is");
            let secrets = volume["projected"]["sources"].as_array().unwrap();
            assert!(secrets.iter().all(|source| source["secret"]["optional"] == true), "the pod starts without");
            let file = |source: &Value| {
                let folder = mount["mountPath"].as_str().unwrap();
                format!("{folder}/{}", source["secret"]["items"][0]["path"].as_str().unwrap())
            };
            assert_eq!(variable("ARGOCD_API_TOKEN_FILE"), secrets.first().map(file), "{}", variant.name);
            assert_eq!(variable("ARGOCD_API_CA_FILE"), secrets.get(1).map(file), "{}", variant.name);
            let milliseconds = variant.values["argocd"]["api"]["timeoutMs"].as_u64().unwrap();
            let clamped = milliseconds.min(15_000).to_string();
            assert_eq!(variable("ARGOCD_API_TIMEOUT_MS"), Some(clamped), "{}", variant.name);
        }
        for policy in rendered.of_kind("NetworkPolicy") {
            let ports = policy["spec"]["egress"].to_string();
            assert_eq!(ports.contains("\"port\":53,"), is_asked, "{}: {ports}", variant.name);
            assert_eq!(ports.contains("\"port\":8080,"), is_asked, "{}: {ports}", variant.name);
            let has_address = variable("ARGOCD_API_BASE_URL").is_some();
            assert_eq!(ports.contains("\"port\":8081,"), has_address, "{}: {ports}", variant.name);
            let in_cluster = is_asked && !has_address;
            assert_eq!(ports.contains("{\"namespaceSelector\":{}}"), in_cluster, "{}: {ports}", variant.name);
        }
    }
}

#[test]
fn h4_the_api_server_takes_every_variant_where_only_restricted_pods_may_run() {
    let Some(cluster) = Cluster::shared() else { return };
    assert_taken(cluster);
}

/// All objects and pods of all variants, by a dry run that knows every field.
pub(crate) fn assert_taken(cluster: &Cluster) {
    let helm = Helm::usual().unwrap();
    let definition: Value = serde_yaml::from_str(include_str!("../fixtures/service-monitor.yaml")).unwrap();
    let sandbox = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "sandbox"}, "handler": "a"});
    [definition, sandbox].iter().for_each(|object| chart::ensure(cluster, object));
    let (chart, version, variants) = (helm::chart(), cluster.version(), Variant::all());
    let of_argocd = variants.iter().filter_map(|variant| variant.values["argocd"]["namespace"].as_str());
    let namespaces: BTreeSet<&str> = variants.iter().map(|variant| &*variant.namespace).chain(of_argocd).collect();
    for namespace in namespaces {
        make_restricted(cluster, namespace);
    }
    in_threads(&variants, |variant| {
        let rendered = helm.render(&chart, variant, &version);
        for object in rendered.0.iter().chain(&pods(cluster, &rendered)) {
            crate::wait::until("the API server serves all kinds", crate::wait::seconds(5), || {
                let taken = chart::dry_run(cluster, object);
                (!taken.as_ref().is_err_and(|error| error.contains("404"))).then_some(taken)
            })
            .unwrap_or_else(|error| panic!("{}: {error}", variant.name));
        }
        false
    });
}

/// A namespace where pods have to meet the standard; that they do is checked for pods only, not for Deployments.
fn make_restricted(cluster: &Cluster, name: &str) {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let metadata = json!({"name": name, "labels": labels});
    chart::ensure(cluster, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}));
    ensure_account(cluster, name, "default");
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "any", "namespace": name},
        "spec": {"containers": [{"name": "any", "image": "any"}]},
    });
    let refusal = chart::dry_run(cluster, &pod).unwrap_err();
    assert!(refusal.contains("violates PodSecurity"), "{refusal}");
    pod["spec"]["nosuchfield"] = json!(1);
    let refusal = chart::dry_run(cluster, &pod).unwrap_err();
    assert!(refusal.contains("nosuchfield"), "{refusal}");
}

/// The pods that would follow: no controller runs here that makes them.
fn pods(cluster: &Cluster, rendered: &Rendered) -> Vec<Value> {
    let pods = rendered.of_kind("Deployment").map(|deployment| {
        let namespace = deployment["metadata"]["namespace"].as_str().unwrap();
        let mut pod = deployment["spec"]["template"].clone();
        ensure_account(cluster, namespace, pod["spec"]["serviceAccountName"].as_str().unwrap());
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = json!("kube9-operator-1");
        pod["metadata"]["namespace"] = json!(namespace);
        pod
    });
    pods.collect()
}

fn ensure_account(cluster: &Cluster, namespace: &str, name: &str) {
    let metadata = json!({"name": name, "namespace": namespace});
    chart::ensure(cluster, &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}));
}

/// The paths of all values that have no further values in them.
pub(crate) fn leaves(values: &Value) -> Vec<Vec<String>> {
    let Some(members) = values.as_object().filter(|members| !members.is_empty()) else { return vec![Vec::new()] };
    let below = |(key, value): (&String, &Value)| {
        let key = key.clone();
        leaves(value).into_iter().map(move |path| [vec![key.clone()], path].concat()).collect::<Vec<_>>()
    };
    members.iter().flat_map(below).collect()
}

/// Whether a value is below one whose keys are defined by Kubernetes, not by this chart.
pub(crate) fn is_of_kubernetes(path: &[String]) -> bool {
    ["nodeSelector", "podSecurityContext", "securityContext"].contains(&&*path[0])
}

pub(crate) fn find<'v>(values: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(values, |value, key| value.get(key))
}

fn changes(variant: &Variant, defaults: &Value, leaf: &[String]) -> bool {
    find(&variant.values, leaf).is_some_and(|value| Some(value) != find(defaults, leaf))
}

fn remove(values: &mut Value, path: &[String]) {
    let (last, parents) = path.split_last().unwrap();
    let parent = parents.iter().try_fold(values, |value, key| value.get_mut(key)).unwrap();
    parent.as_object_mut().unwrap().remove(last);
}

/// Those of `items` for which `is_wanted`; Helm takes its time for each.
fn in_threads<T: Sync>(items: &[T], is_wanted: impl Fn(&T) -> bool + Sync) -> Vec<&T> {
    std::thread::scope(|scope| {
        let some = items.chunks(items.len().div_ceil(4));
        let threads: Vec<_> =
            some.map(|items| scope.spawn(|| items.iter().filter(|item| is_wanted(item)).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}
