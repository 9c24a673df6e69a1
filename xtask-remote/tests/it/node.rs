//! The real product on a real node: what a user, and the extension for them, does with a release, from `helm repo add` to
//! `helm uninstall`.
//!
//! This very workspace is released as its README says, and served inside the node's network. The tests share one node, each in a namespace
//! of its own and with a chart repository that no other test changes; who looks at the whole node has it alone.
//!
//! The node's network is a bridge, which enforces no NetworkPolicy: whether the chart's lets through what it should is not tried here.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::BTreeSet;
use std::io::BufReader;
use std::ops::Deref;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::real::{Real, Rehearsal, manifest_for_this_machine};
use crate::servers::{IMAGE, Node, RELEASE_TO_PRODUCTION, Whole};
use crate::support::{Helm, Run, http_status, tool, wait_until};

#[path = "../../../operator/tests/it/consumer.rs"]
pub(crate) mod consumer;

use consumer::{Mode, Verdict};

/// As the extension calls it, wherever it installs.
const RELEASE: &str = "kube9-operator";
const STATUS: &str = "kube9-operator-status";
const PRODUCTION: &str = "[workspace.metadata.release.targets.production]";
/// A node is no use to whoever has to wait for it.
const START: Duration = Duration::from_secs(30);
/// The extension waits longer.
const PATIENCE: &str = "2m";
/// For what follows at once from something else.
const SOON: Duration = Duration::from_secs(60);
/// A Lease that nobody renews is over after a minute.
const SUCCESSION: Duration = Duration::from_secs(90);
/// The tests have one cluster, and that one pointer, which belongs to whoever has the node alone.
const WITHOUT_POINTER: &[&str] = &["--set=pointer.create=false"];

#[test]
fn h4_i11_i14_installed_as_the_extension_does_it_reports_answers_and_leaves_without_a_trace() {
    let Some(cluster) = Cluster::take_alone() else { return };
    let before = cluster.objects();
    let mut place = cluster.place("helm-3", "operations");
    place.words = &[];
    place.install(&["--create-namespace"]).ok();

    place.runs(&cluster.steady.version);
    place.is_read_as_operated(&cluster.steady.version);
    assert_eq!(consumer::resolve(|namespace| cluster.status(namespace)).as_deref(), Some("operations"));
    place.answers();
    place.helm(&["uninstall", RELEASE, "--wait"]).ok();

    let nothing_else: BTreeSet<String> =
        ["Namespace//operations", "ConfigMap/operations/kube-root-ca.crt", "ServiceAccount/operations/default"]
            .map(str::to_owned)
            .into();
    let left = || cluster.objects().difference(&before).cloned().collect::<BTreeSet<_>>();
    assert!(wait_until(SOON, || left() == nothing_else), "uninstalling left more than the namespace: {:#?}", left());
}

#[test]
fn h4_the_oldest_helm_installs_it_where_only_restricted_pods_may_run() {
    is_installed_by("helm-3.12", "restricted");
}

#[test]
fn h4_the_newest_helm_installs_it_where_only_restricted_pods_may_run() {
    is_installed_by("helm-4", "restricted-too");
}

fn is_installed_by(helm: &'static str, namespace: &'static str) {
    let Some(cluster) = Cluster::take() else { return };
    let place = cluster.place(helm, namespace);
    place.make_restricted();
    place.install(&[]).ok();
    place.runs(&cluster.steady.version);
    place.is_read_as_operated(&cluster.steady.version);
}

#[test]
fn h4_i11_a_version_released_meanwhile_is_upgraded_to_and_rolled_back() {
    is_upgraded_and_rolled_back("upgraded", &[]);
}

#[test]
fn h4_i11_a_version_released_meanwhile_is_upgraded_to_with_the_values_there_are_and_rolled_back() {
    is_upgraded_and_rolled_back("upgraded-with-values", &["--reuse-values"]);
}

#[test]
fn h4_i11_a_version_released_meanwhile_is_upgraded_to_with_new_values_below_those_there_are_and_rolled_back() {
    is_upgraded_and_rolled_back("upgraded-with-both", &["--reset-then-reuse-values"]);
}

/// Whoever looks meanwhile, and whenever that is, sees a healthy operator: this one, the next one, and this one again.
fn is_upgraded_and_rolled_back(namespace: &'static str, words: &[&str]) {
    let Some(cluster) = Cluster::take() else { return };
    let first = &cluster.growing.version;
    let place = cluster.place_with(&cluster.growing, "helm-3", namespace);
    place.make_restricted();
    place.install(&["--version", &first.version]).ok();
    place.runs(first);
    let next = cluster.next();
    assert_ne!(first.digest, next.digest);
    let observer = place.observe();

    place.upgrade(&[&["--version", &next.version][..], words].concat()).ok();
    place.runs(next);
    place.is_read_as_operated(next);
    place.helm(&["test", RELEASE]).ok();
    place.helm(&["rollback", RELEASE, "--wait"]).ok();
    place.runs(first);
    place.is_read_as_operated(first);

    let seen = observer.finish(&place);
    let wrong: Vec<Verdict> = seen.verdicts().into_iter().filter(|verdict| verdict.mode != Mode::Operated).collect();
    assert_eq!(wrong, [], "{seen:#?}");
    assert_eq!(seen.writers(), [&*first.version, &*next.version, &*first.version]);
}

#[test]
fn h4_i11_an_upgrade_of_chart_2_4_0_that_keeps_its_values_runs_the_new_image() {
    let Some(cluster) = Cluster::take() else { return };
    let place = cluster.place("helm-3", "old");
    place.make_restricted();
    // Its image cannot be pulled here, nor could it be everywhere; what counts is what it leaves: values, objects and a status.
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../operator/tests/fixtures/chart-2.4.0");
    place.helm(&["install", RELEASE, chart.to_str().unwrap()]).ok();
    place.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": STATUS, "namespace": "old", "labels": {
            "app.kubernetes.io/name": "kube9-operator", "app.kubernetes.io/component": "status",
        }},
        "data": {"status": json!({
            "mode": "operated", "version": "1.0.0", "health": "healthy", "lastUpdate": Timestamp::now().to_string(),
            "error": null, "trivy": {"detected": false},
        }).to_string()},
    }));

    let upgraded = place.upgrade(&["--reuse-values"]).ok();

    assert!(upgraded.stdout.contains("IGNORED"), "{}", upgraded.stdout);
    let values = place.helm(&["get", "values", RELEASE, "--all", "--output=json"]).ok().json();
    assert_eq!(values["image"]["tag"], "2.4.0", "the old values are kept, or this proves nothing");
    place.runs(&cluster.steady.version);
    place.is_read_as_operated(&cluster.steady.version);
    place.answers();
    place.helm(&["uninstall", RELEASE, "--wait"]).ok();
    assert!(wait_until(SOON, || place.status().is_none()), "the status that the old operator made stays");
}

#[test]
fn h3_h4_i11_i14_what_was_released_to_production_is_installed_from_there() {
    let Some(cluster) = Cluster::take() else { return };
    let Some((whole, version)) = Cluster::release_to_production() else { return };
    let edge = &whole.production.edge;
    let mut place = cluster.place("helm-3", "production");
    place.make_restricted();
    place.helm.run(&["repo", "add", "charts", &edge.url(), "--ca-file", edge.authority().to_str().unwrap()]).ok();
    place.chart = "charts/kube9-operator";
    place.install(&[]).ok();
    place.runs(&version);
    place.is_read_as_operated(&version);
    place.answers();
}

#[test]
fn i14_anybody_pulls_the_image_and_no_oftener_than_the_policy_says() {
    let Some(cluster) = Cluster::take() else { return };
    // Nobody else asks for an image of this name.
    let place = cluster.place_with(&cluster.unpulled, "helm-3", "pulled");
    place.make_restricted();
    let install = ["--version", &cluster.unpulled.version.version];
    let never = ["install", RELEASE, place.chart, "--set=image.pullPolicy=Never"];
    place.helm(&[&never, place.words, &install[..]].concat()).ok();
    let never = || place.pods().iter().any(|pod| pod.to_string().contains("ErrImageNeverPull"));
    assert!(wait_until(SOON, never), "{:?}", place.pods());

    // Without a word on values, Helm would keep the policy.
    place.upgrade(&[&install[..], &["--reset-values"]].concat()).ok();
    assert!(place.pulled().contains("Successfully pulled image"), "{}", place.pulled());
    place.helm(&["uninstall", RELEASE, "--wait"]).ok();
    place.install(&install).ok();
    assert!(place.pulled().contains("already present on machine"), "{}", place.pulled());
    place.upgrade(&[&install[..], &["--set", "image.pullPolicy=Always"]].concat()).ok();
    assert!(place.pulled().contains("Successfully pulled image"), "{}", place.pulled());
}

#[test]
fn h4_events_are_kept_in_a_pod_that_can_write_nowhere_else_and_outlive_its_process() {
    let Some(cluster) = Cluster::take() else { return };
    let place = cluster.place("helm-3", "kept-in-pod");
    place.make_restricted();
    place.install(&[]).ok();
    place.happens_and_is_forgotten();
    let pod = place.pod();
    let process = process_of(&pod);
    let mounts = std::fs::read_to_string(format!("/proc/{process}/mounts")).unwrap();
    let is_writable = |place: &str| {
        let line = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|line| line[1] == place);
        line.unwrap_or_else(|| panic!("{place} in\n{mounts}"))[3].split(',').any(|option| option == "rw")
    };
    assert!(!is_writable("/") && is_writable("/data"), "{mounts}");

    signal(process, "KILL");
    let restarted = || {
        let pods = place.pods();
        pods[0]["status"]["containerStatuses"][0]["restartCount"] == 1 && place.is_ready(&pods[0])
    };
    assert!(wait_until(SOON, restarted), "{:#?}", place.pods());
    assert_eq!(place.pod()["metadata"]["uid"], pod["metadata"]["uid"]);
    assert!(place.lists_what_happened(&place.pod()), "the events went with the process");
}

#[test]
fn h4_events_in_a_claim_outlive_the_pod_and_the_release() {
    let Some(cluster) = Cluster::take() else { return };
    let place = cluster.place("helm-3", "kept-in-claim");
    place.make_restricted();
    let folder = cluster.node.folder().join("events");
    std::fs::create_dir(&folder).unwrap();
    let term = json!({"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]});
    place.apply(&json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "events"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "local": {"path": folder},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
    }}));
    let install = || place.install(&["--set=eventStore.persistence.enabled=true"]).ok();
    install();
    place.happens_and_is_forgotten();

    let first = place.pod();
    place.kubectl(&["delete", "pod", first["metadata"]["name"].as_str().unwrap()]).ok();
    let is_another = || place.pods().iter().any(|pod| pod["metadata"] != first["metadata"] && place.is_ready(pod));
    assert!(wait_until(SOON, is_another), "{:#?}", place.pods());
    assert!(place.lists_what_happened(&place.pod()), "the events went with the pod");

    place.helm(&["uninstall", RELEASE, "--wait"]).ok();
    place.kubectl(&["get", "persistentvolumeclaim", "kube9-operator-event-store"]).ok();
    install();
    assert!(place.lists_what_happened(&place.pod()), "the events went with the release");
}

#[test]
fn h4_a_leader_that_is_gone_without_a_word_is_followed_by_the_other_replica() {
    let Some(cluster) = Cluster::take() else { return };
    let place = cluster.place("helm-3", "replicas");
    place.make_restricted();
    place.install(&["--set=replicas=2"]).ok();
    place.happens_and_is_forgotten();
    let leader = || {
        let holder = ["get", "lease", RELEASE, "--output=jsonpath={.spec.holderIdentity}"];
        place.kubectl(&holder).ok().stdout
    };
    let (pods, first) = (place.pods(), leader());
    assert_eq!(pods.len(), 2);
    assert!(pods.iter().all(|pod| place.lists_what_happened(pod)), "each keeps events of its own");
    let lost = pods.iter().find(|pod| pod["metadata"]["name"] == *first).unwrap();
    let observer = place.observe();

    // It cannot give up the Lease, nor do anything else.
    signal(process_of(lost), "STOP");
    place.kubectl(&["delete", "pod", &first, "--force", "--grace-period=0"]).ok();
    let gone = Timestamp::now();

    let follows = || {
        let status = place.status().unwrap().data.unwrap().remove("status").unwrap();
        let status: Value = serde_json::from_str(&status).unwrap();
        leader() != first && status["lastUpdate"].as_str().unwrap().parse::<Timestamp>().unwrap() > gone
    };
    assert!(wait_until(SUCCESSION, follows), "nobody follows {first}: {:#?}", place.status());
    place.is_read_as_operated(&cluster.steady.version);
    let seen = observer.finish(&place);
    let wrong: Vec<Verdict> = seen.verdicts().into_iter().filter(|verdict| verdict.mode != Mode::Operated).collect();
    assert_eq!(wrong, [], "{seen:#?}");
}

/// The operator in a pod, as the machine numbers it.
#[track_caller]
fn process_of(pod: &Value) -> u32 {
    let group = format!("pod{}", pod["metadata"]["uid"].as_str().unwrap());
    let is_it = |folder: &Path| {
        let read = |name| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        read("comm").trim() == RELEASE && read("cgroup").contains(&group)
    };
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let process = processes.into_iter().find(|folder| is_it(folder));
    let process = process.unwrap_or_else(|| panic!("no process is in {group}"));
    process.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

fn signal(process: u32, name: &str) {
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -s \"$0\" \"$1\"", name, &process.to_string()]);
    Run::of(kill).ok();
}

mod timed {
    use super::*;

    #[test]
    fn a_node_is_there_within_half_a_minute_and_leaves_nothing_behind_when_a_test_fails() {
        if !Node::can_run() {
            return;
        }
        let (tell, told) = std::sync::mpsc::channel();
        let failing = std::thread::spawn(move || {
            let node = Node::start();
            run_a_pod(&node);
            tell.send((node.took, Traces::of(&node))).unwrap();
            panic!("as a failing test does");
        });
        assert!(failing.join().is_err());
        let (took, traces) = told.recv().unwrap();
        traces.are_gone();
        println!("a node took {took:?}");
        assert!(took < START, "{took:?}");
    }
}

#[test]
fn a_node_leaves_nothing_behind_when_its_test_is_killed() {
    if !Node::can_run() {
        return;
    }
    let mut holder = Command::new(std::env::current_exe().unwrap());
    holder.args(["--exact", "node::holds_a_node_until_it_is_killed", "--ignored", "--nocapture"]);
    let mut holder = holder.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let said = BufReader::new(holder.stdout.take().unwrap());
    let traces = std::io::BufRead::lines(said).map_while(Result::ok).find_map(|line| Traces::read(&line));
    holder.kill().unwrap();
    holder.wait().unwrap();
    traces.unwrap().are_gone();
}

#[test]
#[ignore = "the test before starts it, and kills it"]
fn holds_a_node_until_it_is_killed() {
    let node = Node::start();
    run_a_pod(&node);
    println!("\n{}", Traces::of(&node).written());
    loop {
        std::thread::park();
    }
}

/// A pod, so that there are containers, mounts and groups to leave behind.
fn run_a_pod(node: &Node) {
    let image = ["run", "waiting", "--image=localhost/pause:1", "--image-pull-policy=Never"];
    node.kubectl(&image).ok();
    node.kubectl(&["wait", "--for=condition=Ready", "pod/waiting", "--timeout=60s"]).ok();
}

/// By what a node could be noticed on the machine.
#[derive(Debug)]
struct Traces {
    folder: String,
    group: String,
    namespaces: Vec<String>,
}

impl Traces {
    /// All that there are; what is not seen while the node runs would prove nothing later.
    fn of(node: &Node) -> Self {
        let namespace = |kind: &&str| {
            let link = std::fs::read_link(format!("/proc/{}/ns/{kind}", node.number)).unwrap();
            link.display().to_string()
        };
        let namespaces = ["net", "mnt", "pid"].iter().map(namespace).collect();
        let traces = Traces { folder: node.folder().display().to_string(), group: node.group.clone(), namespaces };
        let found = traces.found();
        for what in ["process", "folder", "group"] {
            assert!(found.iter().any(|trace| trace.starts_with(what)), "no {what} in {found:?}");
        }
        traces
    }

    fn written(&self) -> String {
        json!([self.folder, self.group, self.namespaces]).to_string()
    }

    fn read(line: &str) -> Option<Self> {
        let (folder, group, namespaces) = serde_json::from_str(line).ok()?;
        Some(Traces { folder, group, namespaces })
    }

    /// What is there of the node: processes in its namespaces (which live no longer than these, and what is mounted), its
    /// folder, its control groups, and what the machine itself has mounted.
    fn found(&self) -> Vec<String> {
        let mut found = Vec::new();
        for process in std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()) {
            let is_inside = |kind: &&str| {
                let link = std::fs::read_link(process.join("ns").join(kind));
                link.is_ok_and(|link| self.namespaces.contains(&link.display().to_string()))
            };
            if ["net", "mnt", "pid"].iter().any(is_inside) {
                found.push(format!("process {}", process.display()));
            }
        }
        let groups = Path::new("/sys/fs/cgroup");
        let controllers = std::fs::read_dir(groups).unwrap().map(|entry| entry.unwrap().path());
        for place in controllers.chain([groups.to_owned()]).map(|place| place.join(&self.group)) {
            if place.exists() {
                found.push(format!("group {}", place.display()));
            }
        }
        if Path::new(&self.folder).exists() {
            found.push(format!("folder {}", self.folder));
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        found.extend(mounts.lines().filter(|line| line.contains(&self.folder)).map(|line| format!("mount {line}")));
        found
    }

    #[track_caller]
    fn are_gone(&self) {
        assert!(wait_until(SOON, || self.found().is_empty()), "the node left {:#?}", self.found());
    }
}

/// What a release is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    version: String,
    digest: String,
    /// Where the image is, without a tag.
    repository: String,
}

impl Version {
    fn of(report: &Value, repository: &str) -> Self {
        let word = |name: &str| report[name].as_str().unwrap().to_owned();
        Version { version: word("version"), digest: word("digest"), repository: repository.to_owned() }
    }

    /// I11: by digest, under the chart's version.
    fn image(&self) -> String {
        format!("{}:{}@{}", self.repository, self.version, self.digest)
    }
}

/// The node, and the chart repositories in its network.
struct Cluster {
    node: Node,
    /// Has one version.
    steady: Served,
    /// Has another one as soon as somebody asks for it.
    growing: Served,
    next: OnceLock<Version>,
    /// Has an image that is for one test only.
    unpulled: Served,
}

/// A rehearsal, and the version that is in it from the beginning.
struct Served {
    rehearsal: Rehearsal,
    version: Version,
}

impl Served {
    fn new() -> Self {
        let rehearsal = Rehearsal::new();
        let version = Version::of(&rehearsal.release(&[]), &rehearsal.image);
        Served { rehearsal, version }
    }
}

impl Cluster {
    /// The only one. The calling thread is in the node's network from now on.
    fn take() -> Option<impl Deref<Target = Self>> {
        let cluster = Self::only()?.read().unwrap_or_else(PoisonError::into_inner);
        cluster.node.enter_network();
        Some(cluster)
    }

    /// The same, while no other test has it.
    fn take_alone() -> Option<impl Deref<Target = Self>> {
        let cluster = Self::only()?.write().unwrap_or_else(PoisonError::into_inner);
        cluster.node.enter_network();
        Some(cluster)
    }

    fn only() -> Option<&'static RwLock<Self>> {
        static CLUSTER: LazyLock<Option<RwLock<Cluster>>> = LazyLock::new(|| Cluster::new().map(RwLock::new));
        CLUSTER.as_ref()
    }

    fn new() -> Option<Self> {
        if !Node::can_run() {
            return None;
        }
        // It takes its time, as does a release.
        let node = std::thread::spawn(Node::start);
        let [steady, growing, unpulled] = [(); 3].map(|()| Served::new());
        let mut node = node.join().unwrap();
        node.enter_network();
        for (number, served) in [&steady, &growing, &unpulled].into_iter().enumerate() {
            let real = Real::take();
            let serve = node.inside(&served.rehearsal.serve(&real));
            node.run(&format!("serve-{number}"), serve);
            assert!(wait_until(SOON, || http_status(&served.rehearsal.url) == Some(200)), "{}", node.log());
        }
        Some(Cluster { node, steady, growing, next: OnceLock::new(), unpulled })
    }

    /// The next version, released when this is first asked for.
    fn next(&self) -> &Version {
        let rehearsal = &self.growing.rehearsal;
        self.next.get_or_init(|| Version::of(&rehearsal.release(&["patch"]), &rehearsal.image))
    }

    /// The real product in a production of its own, made of servers in the node's network: its chart repository, and what was
    /// released to it.
    fn release_to_production() -> Option<(Whole, Version)> {
        let whole = Whole::new()?;
        whole.laboratory.know(&[], 1);
        let demo = whole.production.demo.read("Cargo.toml");
        let target = demo.split_once(PRODUCTION).unwrap().1.replace(IMAGE, "alto9/kube9-operator");
        let manifest = manifest_for_this_machine();
        let real = Real::take();
        real.check_out(&format!("{}{PRODUCTION}{target}", manifest.split_once(PRODUCTION).unwrap().0));
        let origin = whole.programs.path().join("origin");
        let origin = origin.to_str().unwrap();
        real.git(&["init", "--quiet", "--bare", "--initial-branch=main", origin]);
        real.git(&["checkout", "--quiet", "-B", "main"]);
        real.git(&["remote", "add", "origin", origin]);
        real.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
        let released = Run::of(whole.equip(real.command(&RELEASE_TO_PRODUCTION))).ok();
        let repository = format!("{}/alto9/kube9-operator", whole.production.registry.name());
        let version = Version::of(&released.json(), &repository);
        Some((whole, version))
    }

    /// A Helm that knows the repository that does not change, and a namespace.
    fn place(&self, helm: &'static str, namespace: &'static str) -> Place<'_> {
        self.place_with(&self.steady, helm, namespace)
    }

    fn place_with(&self, served: &Served, helm: &'static str, namespace: &'static str) -> Place<'_> {
        let helm = Helm::find(helm).unwrap();
        helm.add("kube9", &served.rehearsal.url);
        Place { cluster: self, helm, namespace, chart: "kube9/kube9-operator", words: WITHOUT_POINTER }
    }

    fn status(&self, namespace: &str) -> Option<ConfigMap> {
        let read = self.node.kubectl(&["get", "configmap", STATUS, "--namespace", namespace, "--output=json"]);
        (read.code == Some(0)).then(|| serde_json::from_str(&read.stdout).unwrap())
    }

    /// Everything in the cluster by kind, namespace and name; but events go by themselves, and the node's first heartbeat comes when
    /// it does.
    fn objects(&self) -> BTreeSet<String> {
        let kinds = self.node.kubectl(&["api-resources", "--verbs=list", "--output=name"]).ok().stdout;
        let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
        let all = self.node.get(&["--all-namespaces", &kinds.join(",")]);
        let name = |object: &Value| {
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let metadata = &object["metadata"];
            [&object["kind"], &metadata["namespace"], &metadata["name"]].map(word).join("/")
        };
        let names = all["items"].as_array().unwrap().iter().map(name);
        names.filter(|name| !name.starts_with("Lease/kube-node-lease/")).collect()
    }
}

/// A namespace for one test, which takes all with it when it goes.
struct Place<'c> {
    cluster: &'c Cluster,
    helm: Helm,
    namespace: &'static str,
    chart: &'static str,
    /// Values of every release here.
    words: &'static [&'static str],
}

impl Place<'_> {
    /// Makes the namespace, as one that admits no pod with more rights than it needs.
    fn make_restricted(&self) {
        self.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": self.namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        }}));
    }

    fn apply(&self, object: &Value) {
        let file = self.helm.home().join("object.json");
        std::fs::write(&file, object.to_string()).unwrap();
        self.cluster.node.kubectl(&["apply", "--filename", file.to_str().unwrap()]).ok();
    }

    fn helm(&self, arguments: &[&str]) -> Run {
        let kubeconfig = self.cluster.node.kubeconfig();
        let place = ["--namespace", self.namespace, "--kubeconfig", kubeconfig.to_str().unwrap()];
        self.helm.run(&[arguments, &place].concat())
    }

    /// As the extension installs, and with more words.
    fn install(&self, words: &[&str]) -> Run {
        let usual = ["install", RELEASE, self.chart, "--wait", "--timeout", PATIENCE];
        self.helm(&[&usual, self.words, words].concat())
    }

    fn upgrade(&self, words: &[&str]) -> Run {
        self.helm.run(&["repo", "update"]).ok();
        let usual = ["upgrade", RELEASE, self.chart, "--wait", "--timeout", PATIENCE];
        self.helm(&[&usual, self.words, words].concat())
    }

    fn kubectl(&self, arguments: &[&str]) -> Run {
        self.cluster.node.kubectl(&[&["--namespace", self.namespace], arguments].concat())
    }

    /// The pods by the label by which the extension finds them.
    fn pods(&self) -> Vec<Value> {
        let label = "--selector=app.kubernetes.io/name=kube9-operator";
        let pods = self.cluster.node.get(&["pods", "--namespace", self.namespace, label]);
        pods["items"].as_array().unwrap().clone()
    }

    /// 3.1: the pod that the extension would choose.
    #[track_caller]
    fn pod(&self) -> Value {
        let pods = self.pods();
        let chosen = pods.iter().find(|pod| self.is_ready(pod));
        chosen.unwrap_or_else(|| panic!("no pod is ready: {pods:#?}")).clone()
    }

    #[expect(clippy::unused_self, reason = "it reads as what it is asked of")]
    fn is_ready(&self, pod: &Value) -> bool {
        let states = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        let is_ready = |state: &Value| state["name"] == "operator" && state["ready"] == true;
        pod["status"]["phase"] == "Running" && states.iter().any(is_ready)
    }

    /// I11: what runs is the image that the version was released with.
    #[track_caller]
    fn runs(&self, version: &Version) {
        let pod = self.pod();
        assert_eq!(pod["spec"]["containers"][0]["image"], version.image());
        let running = pod["status"]["containerStatuses"][0]["imageID"].as_str().unwrap();
        assert!(running.ends_with(&version.digest), "{running} is not {version:?}");
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
        let rendered = self.helm(&["get", "manifest", RELEASE]).ok().stdout;
        for hole in ["<nil>", "<no value>", "%!"] {
            assert!(!rendered.contains(hole), "{hole} in\n{rendered}");
        }
    }

    fn status(&self) -> Option<ConfigMap> {
        self.cluster.status(self.namespace)
    }

    /// Something goes wrong with a pod here, and the API server forgets it as soon as every replica has it.
    #[track_caller]
    fn happens_and_is_forgotten(&self) {
        self.happens();
        let is_kept = || self.pods().iter().all(|pod| self.lists_what_happened(pod));
        assert!(wait_until(SOON, is_kept), "an event is not kept");
        self.kubectl(&["delete", "event", "trouble"]).ok();
    }

    fn happens(&self) {
        let now = format!("{:.0}", Timestamp::now());
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "trouble", "namespace": self.namespace},
            "involvedObject": {"kind": "Pod", "namespace": self.namespace, "name": "troubled"},
            "type": "Warning", "reason": "BackOff", "message": "Back-off restarting failed container",
            "count": 1, "firstTimestamp": now, "lastTimestamp": now, "source": {"component": "tests"},
        }));
    }

    /// Whether a pod's operator lists it.
    fn lists_what_happened(&self, pod: &Value) -> bool {
        let here = format!("--object-namespace={}", self.namespace);
        let listed = self.ask_in(pod, &["query", "events", "list", &here, "--limit=100", "--format=json"]);
        listed.stdout.contains("\"troubled\"")
    }

    /// What the extension makes of the status, in a window that looks into this namespace.
    #[track_caller]
    fn is_read_as_operated(&self, version: &Version) {
        let status = self.status().unwrap();
        let verdict = consumer::verdict(Some(&status), Timestamp::now());
        assert_eq!(verdict.mode, Mode::Operated, "{}", verdict.why);
        assert_eq!(consumer::faults_of(&status, &version.version), Vec::<String>::new(), "{status:#?}");
        assert!(consumer::finds(&status.data.unwrap()["namespace"], Some(self.namespace)));
    }

    /// A call of the program in the pod, as the extension makes it: no shell, nothing but the program's name.
    fn ask(&self, words: &[&str]) -> Run {
        self.ask_in(&self.pod(), words)
    }

    fn ask_in(&self, pod: &Value, words: &[&str]) -> Run {
        let pod = pod["metadata"]["name"].as_str().unwrap();
        self.kubectl(&[&["exec", pod, "--container=operator", "--", "kube9-operator"], words].concat())
    }

    /// 3.1: the extension's calls are answered, in JSON and nothing else.
    fn answers(&self) {
        self.happens();
        assert!(wait_until(SOON, || self.lists_what_happened(&self.pod())), "what went wrong is no event");
        let here = format!("--object-namespace={}", self.namespace);
        let list = ["query", "events", "list", &here, "--since=2026-01-01T00:00:00Z", "--limit=25", "--format=json"];
        let listed = self.ask(&list).ok().json();
        let rows = listed["events"].as_array().unwrap();
        assert_eq!(
            (&listed["pagination"]["limit"], &listed["pagination"]["returned"]),
            (&json!(25), &json!(rows.len()))
        );
        let is_of_the_pod = |row: &&Value| row["object_kind"] == "Pod" && row["object_namespace"] == self.namespace;
        assert!(rows.iter().any(|row| is_of_the_pod(&row)), "{listed:#}");
        let everywhere = self.ask(&["query", "events", "list", "--limit=25", "--format=json"]).ok().json();
        assert!(everywhere["pagination"]["total"].as_u64() >= listed["pagination"]["total"].as_u64());
        let status = self.ask(&["query", "status", "--format=json"]).ok().json();
        assert_eq!((&status["mode"], &status["health"]), (&json!("operated"), &json!("healthy")), "{status:#}");
        let refused = self.ask(&["query", "events", "list", "--limit=0", "--format=json"]);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused:?}");
        assert!(refused.stderr.contains("\"error\""), "{refused:?}");
    }

    /// How the newest pod came by its image.
    fn pulled(&self) -> String {
        let pod = self.pod();
        let of_pod = format!("reason=Pulled,involvedObject.name={}", pod["metadata"]["name"].as_str().unwrap());
        let said = || {
            let message = "--output=jsonpath={.items[*].message}";
            self.kubectl(&["get", "events", "--field-selector", &of_pod, message]).ok().stdout
        };
        assert!(wait_until(SOON, || !said().is_empty()), "nothing was said of an image");
        said()
    }

    /// A window of the extension that is never closed, until it is asked what it would have shown.
    fn observe(&self) -> Observer {
        let mut watch = Command::new(tool("kubectl").unwrap());
        watch.arg("--kubeconfig").arg(self.cluster.node.kubeconfig()).args(["--namespace", self.namespace]);
        watch.args(["get", "configmaps", "--field-selector", &format!("metadata.name={STATUS}")]);
        watch.args(["--watch", "--output-watch-events", "--output=json"]);
        let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let events = serde_json::Deserializer::from_reader(BufReader::new(watch.stdout.take().unwrap()));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = Arc::clone(&seen);
        std::thread::spawn(move || {
            for event in events.into_iter::<Value>().map_while(Result::ok) {
                noted.lock().unwrap().note(event, Timestamp::now());
            }
        });
        let observer = Observer { watch, seen };
        observer.wait_until_it_sees_all(self);
        observer
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.helm(&["uninstall", RELEASE, "--wait"]);
        self.cluster.node.kubectl(&["delete", "namespace", self.namespace, "--ignore-not-found", "--wait=false"]);
    }
}

/// Whoever looks at the status all the time.
struct Observer {
    watch: Child,
    seen: Arc<Mutex<Seen>>,
}

impl Observer {
    /// What there was to see, up to now.
    fn finish(mut self, place: &Place) -> Seen {
        self.wait_until_it_sees_all(place);
        self.watch.kill().unwrap();
        self.watch.wait().unwrap();
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.until = Timestamp::now();
        seen
    }

    fn wait_until_it_sees_all(&self, place: &Place) {
        let version = |status: Option<ConfigMap>| status.and_then(|status| status.metadata.resource_version);
        let sees_all = || {
            let now = version(place.status());
            self.seen.lock().unwrap().statuses.iter().any(|(_, status)| version(status.clone()) == now)
        };
        assert!(wait_until(SOON, sees_all), "nobody watches the status");
    }
}

/// What stood in the cluster, and from when on.
#[derive(Debug, Default)]
struct Seen {
    statuses: Vec<(Timestamp, Option<ConfigMap>)>,
    until: Timestamp,
}

impl Seen {
    fn note(&mut self, mut event: Value, time: Timestamp) {
        let is_there = event["type"] != "DELETED";
        let status = is_there.then(|| serde_json::from_value(event["object"].take()).unwrap());
        self.statuses.push((time, status));
    }

    /// What the extension shows, whenever it looks: as soon as a status is there, and at the last moment before the next one,
    /// when it is as old as it gets.
    fn verdicts(&self) -> Vec<Verdict> {
        let ends = self.statuses.iter().skip(1).map(|(time, _)| *time).chain([self.until]);
        let looks = self
            .statuses
            .iter()
            .zip(ends)
            .flat_map(|((begin, status), end)| [*begin, end].map(|time| consumer::verdict(status.as_ref(), time)));
        looks.collect()
    }

    /// The versions of the operators, in the order in which they wrote.
    fn writers(&self) -> Vec<String> {
        let version = |status: &ConfigMap| {
            let status: Value = serde_json::from_str(&status.data.as_ref().unwrap()["status"]).unwrap();
            status["version"].as_str().unwrap().to_owned()
        };
        let mut versions: Vec<String> =
            self.statuses.iter().filter_map(|(_, status)| status.as_ref().map(version)).collect();
        versions.dedup();
        versions
    }
}

mod tests {
    use super::*;

    fn seen(writes: &[(&str, &str, &str)], until: &str) -> Seen {
        let mut seen = Seen { until: until.parse().unwrap(), ..Seen::default() };
        for (time, updated, version) in writes {
            let status = json!({"mode": "operated", "version": version, "health": "healthy", "lastUpdate": updated});
            let object = json!({"data": {"status": status.to_string()}});
            seen.note(json!({"type": "MODIFIED", "object": object}), time.parse().unwrap());
        }
        seen
    }

    fn modes(seen: &Seen) -> Vec<Mode> {
        seen.verdicts().into_iter().map(|verdict| verdict.mode).collect()
    }

    #[test]
    fn the_reader_itself_notices_what_grows_old_between_two_writes_and_after_the_last() {
        let [start, next, later, end] =
            ["12:00:00", "12:04:00", "12:10:00", "12:16:00"].map(|time| format!("2026-08-03T{time}Z"));
        let (fresh, stale) = (Mode::Operated, Mode::Degraded);
        let writes = [(&*start, &*start, "1.0.0"), (&*next, &*next, "1.0.0"), (&*later, &*later, "1.0.0")];
        assert_eq!(modes(&seen(&writes[..1], &next)), [fresh, fresh]);
        assert_eq!(modes(&seen(&writes, &end)), [fresh, fresh, fresh, stale, fresh, stale]);
        let late = [(&*later, &*start, "1.0.0")];
        assert_eq!(modes(&seen(&late, &later)), [stale, stale], "old when it came");
    }

    #[test]
    fn the_reader_itself_notices_a_status_that_is_gone() {
        let mut seen = seen(&[], "2026-08-03T12:00:00Z");
        seen.note(json!({"type": "DELETED", "object": {}}), seen.until);
        assert_eq!(modes(&seen), [Mode::Basic, Mode::Basic]);
    }

    #[test]
    fn the_reader_itself_tells_operators_apart_however_often_they_write() {
        let time = "2026-08-03T12:00:00Z";
        let writers = |versions: &[&'static str]| {
            seen(&versions.iter().map(|version| (time, time, *version)).collect::<Vec<_>>(), time).writers()
        };
        assert_eq!(writers(&["1.0.0", "1.0.0", "1.0.0"]), ["1.0.0"]);
        assert_eq!(writers(&["1.0.0", "1.0.1", "1.0.1", "1.0.0"]), ["1.0.0", "1.0.1", "1.0.0"]);
    }
}
