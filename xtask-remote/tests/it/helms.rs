//! What users of three Helms get from a served repository: a small one with a history, and this repository's real chart.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::{Value, json};
use xtask::chart::archive;

use crate::support::{Demo, Helm, World, files_below, yaml_documents};

/// Stable versions, one of them a backport, one yanked, and a pre-release; and the index after each release.
struct Repository {
    world: World,
    history: Vec<Value>,
}

static REPOSITORY: LazyLock<Repository> = LazyLock::new(|| {
    let demo = Demo::new();
    demo.xtask(&["release", "1.0.0"]).ok();
    let world = World::new(demo);
    let mut history = vec![world.demo.index()];
    for version in ["1.1.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0-rc.1"] {
        world.demo.xtask(&["release", version]).ok();
        history.push(world.demo.index());
    }
    world.demo.xtask(&["release", "yank", "1.2.0", "--reason", "loses events"]).ok();
    history.push(world.demo.index());
    Repository { world, history }
});

/// Listed and not hidden, newest first.
const STABLE: [&str; 4] = ["1.10.0", "1.1.0", "1.0.1", "1.0.0"];

fn demo() -> &'static Demo {
    &REPOSITORY.world.demo
}

/// Every Helm, with the repository added as `team`.
fn helms() -> Vec<Helm> {
    let helms = Helm::all();
    helms.iter().for_each(|helm| helm.add("team", &demo().url()));
    helms
}

fn row(version: &str) -> Value {
    json!({"name": "team/demo", "version": version, "app_version": version, "description": "A chart for tests"})
}

fn image(version: &str) -> String {
    format!("localhost:{}/team/demo:{version}@{}", demo().port, demo().tags()[version])
}

#[test]
fn h3_the_repository_is_added_and_updated_without_credentials() {
    for helm in helms() {
        let update = helm.run(&["repo", "update"]).ok();
        assert!(
            update.stdout.contains("Successfully got an update from the \"team\""),
            "{}: {}",
            helm.name,
            update.stdout
        );
        let list: Value = serde_json::from_str(&helm.run(&["repo", "list", "-o", "json"]).ok().stdout).unwrap();
        assert_eq!(list, json!([{"name": "team", "url": demo().url()}]), "{}", helm.name);
    }
}

#[test]
fn h5_h15_every_version_that_was_published_and_not_yanked_is_found_newest_first() {
    for helm in helms() {
        let expected: Vec<Value> = STABLE.map(row).into();
        assert_eq!(helm.search(&["--versions"]), expected, "{}", helm.name);
        assert_eq!(helm.search(&["team/demo"]), expected[..1], "{}", helm.name);
        assert_eq!(helm.search(&["--versions", "--version", "~1.0"]), expected[2..], "{}", helm.name);
        helm.run(&["pull", "team/demo", "--version", "1.2.0"]).fails(1, "1.2.0");
        // Its bytes stay: whoever has the address installs it still.
        helm.run(&["pull", &format!("{}/demo-1.2.0.tgz", demo().url())]).ok();
    }
}

#[test]
fn i13_a_pre_release_is_hidden_without_devel_and_marked_with_it() {
    for helm in helms() {
        let mut expected = vec![row("2.0.0-rc.1")];
        expected.extend(STABLE.map(row));
        assert_eq!(helm.search(&["--versions", "--devel"]), expected, "{}", helm.name);
        let mark = |arguments: &[&str]| {
            let arguments = [&["show", "chart", "team/demo"], arguments].concat();
            let chart = yaml_documents(&helm.run(&arguments).ok().stdout).remove(0);
            (chart["version"].clone(), chart["annotations"]["artifacthub.io/prerelease"].clone())
        };
        assert_eq!(mark(&[]), (json!("1.10.0"), Value::Null), "{}", helm.name);
        assert_eq!(mark(&["--devel"]), (json!("2.0.0-rc.1"), json!("true")), "{}", helm.name);
    }
}

#[test]
fn h2_an_archive_that_is_pulled_has_the_published_bytes() {
    let published = demo().snapshot();
    for helm in helms() {
        for version in STABLE.into_iter().chain(["2.0.0-rc.1"]) {
            helm.run(&["pull", "team/demo", "--version", version]).ok();
            let name = format!("demo-{version}.tgz");
            assert!(std::fs::read(helm.home().join(&name)).unwrap() == published[&name], "{} {name}", helm.name);
        }
    }
}

#[test]
fn h2_all_of_a_chart_can_be_shown() {
    for helm in helms() {
        let shown = helm.run(&["show", "all", "team/demo", "--version", "1.0.1"]).ok().stdout;
        let documents = shown.split("\n---\n").collect::<Vec<_>>();
        assert_eq!(yaml_documents(documents[0])[0]["appVersion"], json!("1.0.1"), "{}", helm.name);
        assert!(documents[1].contains(&demo().read("chart/values.yaml")), "{}: {shown}", helm.name);
    }
}

#[test]
fn h12_urls_and_sources_name_the_repository() {
    let index = demo().index();
    for entry in index["entries"]["demo"].as_array().unwrap() {
        let version = entry["version"].as_str().unwrap();
        let whole = &demo().record(version)["entry"];
        for entry in [entry, whole] {
            assert_eq!(entry["urls"], json!([format!("{}/demo-{version}.tgz", demo().url())]));
        }
        assert_eq!(whole["sources"], json!([demo().url()]));
    }
    for helm in helms() {
        let chart = yaml_documents(&helm.run(&["show", "chart", "team/demo"]).ok().stdout).remove(0);
        assert_eq!(chart["sources"], json!([demo().url()]), "{}", helm.name);
    }
}

#[test]
fn i11_a_chart_installs_the_published_image_of_its_version_by_digest() {
    for helm in helms() {
        for version in STABLE.into_iter().chain(["2.0.0-rc.1"]) {
            let rendered = helm.run(&["template", "x", "team/demo", "--version", version]).ok().stdout;
            let pod = yaml_documents(&rendered).remove(0);
            assert_eq!(pod["spec"]["containers"][0]["image"], json!(image(version)), "{} {version}", helm.name);
        }
    }
}

#[test]
fn h6_no_release_changes_or_drops_an_earlier_entry() {
    let entries = |index: &Value| index["entries"]["demo"].as_array().unwrap().clone();
    for (number, steps) in REPOSITORY.history.windows(2).enumerate() {
        let (before, after) = (entries(&steps[0]), entries(&steps[1]));
        let yanked = number == REPOSITORY.history.len() - 2;
        for entry in before {
            let stays = !yanked || entry["version"] != json!("1.2.0");
            assert_eq!(after.contains(&entry), stays, "{} after step {number}", entry["version"]);
        }
    }
}

#[test]
fn h6_users_see_the_old_versions_as_before_when_a_new_one_is_out() {
    let world = World::new({
        let demo = Demo::new();
        demo.xtask(&["release", "1.0.0"]).ok();
        demo
    });
    let helms = Helm::all();
    let look = |helm: &Helm| {
        let show = |version| helm.run(&["show", "chart", "team/demo", "--version", version]).ok().stdout;
        (helm.search(&["--versions"]), show("1.0.0"))
    };
    let before: Vec<_> = helms
        .iter()
        .map(|helm| {
            helm.add("team", &world.demo.url());
            look(helm)
        })
        .collect();
    world.demo.xtask(&["release", "1.1.0"]).ok();
    for (helm, (rows, chart)) in helms.iter().zip(before) {
        helm.run(&["repo", "update"]).ok();
        let (rows_now, chart_now) = look(helm);
        assert_eq!(rows_now[0], row("1.1.0"), "{}", helm.name);
        assert_eq!(rows_now[1..], rows, "{}", helm.name);
        assert_eq!(chart_now, chart, "{}", helm.name);
    }
}

// The real chart from here on.

/// The chart of this repository, as it stands in the sources.
fn real_chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("charts/kube9-operator")
}

fn real_version() -> String {
    let chart = yaml_documents(&std::fs::read_to_string(real_chart().join("Chart.yaml")).unwrap()).remove(0);
    chart["version"].as_str().unwrap().to_owned()
}

/// The real chart, released with the small workspace's image.
static REAL: LazyLock<World> = LazyLock::new(|| {
    let demo = Demo::new();
    let version = real_version();
    std::fs::remove_dir_all(demo.root().join("chart")).unwrap();
    for (name, content) in files_below(&real_chart()) {
        demo.write(&format!("chart/{name}"), content);
    }
    demo.edit("operator/Cargo.toml", "version = \"1.0.0\"", &format!("version = \"{version}\""));
    demo.edit("Cargo.lock", "version = \"1.0.0\"", &format!("version = \"{version}\""));
    demo.commit("the real chart");
    demo.xtask(&["release"]).ok();
    World::new(demo)
});

/// The image that the released real chart names.
fn released() -> String {
    let demo = &REAL.demo;
    format!("localhost:{}/team/demo:{}@{}", demo.port, real_version(), demo.tags()[&real_version()])
}

/// The released chart, unpacked by Helm itself.
fn unpacked(helm: &Helm) -> String {
    helm.add("real", &REAL.demo.url());
    helm.run(&["pull", "real/kube9-operator", "--untar"]).ok();
    helm.home().join("kube9-operator").display().to_string()
}

struct Rendered(Vec<Value>);

impl Rendered {
    fn one(&self, kind: &str) -> &Value {
        let found: Vec<&Value> = self.0.iter().filter(|object| object["kind"] == kind).collect();
        assert_eq!(found.len(), 1, "objects of kind {kind}");
        found[0]
    }

    fn pod(&self) -> &Value {
        &self.one("Deployment")["spec"]["template"]
    }

    fn container(&self) -> &Value {
        &self.pod()["spec"]["containers"][0]
    }

    fn image(&self) -> &str {
        self.container()["image"].as_str().unwrap()
    }
}

/// Renders for a cluster that is neither the oldest nor the one that this Helm was built against.
fn template(helm: &Helm, chart: &str, options: &[&str]) -> Rendered {
    let arguments =
        [&["template", "kube9-operator", chart, "--namespace", "kube9-system", "--kube-version", "1.31.4"], options]
            .concat();
    Rendered(yaml_documents(&helm.run(&arguments).ok().stdout))
}

/// What an upgrade with `--reuse-values` from chart 2.4.0 brings along.
const VALUES_OF_2_4_0: &str = include_str!("../../../operator/tests/fixtures/chart-2.4.0/values.yaml");

/// Options, and the image that is installed; `REL` is the released reference, `VERSION` the chart's version.
const IMAGES: [(&[&str], &str); 13] = [
    (&[], "REL"),
    (&["--set-string", "image.repository=,image.tag=,image.digest="], "REL"),
    (&["--set", "image=null"], "REL"),
    (&["--set", "image.tag=3.0.1"], "REPOSITORY:3.0.1"),
    (&["--set", "image.digest=DIGEST"], "REPOSITORY:VERSION@DIGEST"),
    (&["--set", "image.repository=mirror.example:5000/a/b"], "mirror.example:5000/a/b:VERSION"),
    (&["--set", "image.repository=ghcr.io/alto9/kube9-operator", "--set-string", "image.tag=2.4"], "REL"),
    (
        &["--set", "image.repository=ghcr.io/alto9/kube9-operator,image.tag=3.0.0-rc.1"],
        "ghcr.io/alto9/kube9-operator:3.0.0-rc.1",
    ),
    (&["--set", "image.repository=mirror.example/a,image.tag=2.4.0"], "mirror.example/a:2.4.0"),
    (&["--set", "image.tag=3.1.0,image.digest=DIGEST"], "REPOSITORY:3.1.0@DIGEST"),
    (&["--set", "global.imageRegistry=mirror.example:5000/cache"], "mirror.example:5000/cache/team/demo:VERSION"),
    (&["--set", "global.imageRegistry=mirror.example/,image.digest=DIGEST"], "mirror.example/team/demo:VERSION@DIGEST"),
    (&["--set", "global.imageRegistry=mirror.example,image.repository=other.example/a"], "other.example/a:VERSION"),
];

#[test]
fn i11_the_image_of_the_real_chart_is_the_released_one_until_a_user_names_another() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let repository = format!("localhost:{}/team/demo", REAL.demo.port);
    for helm in Helm::all() {
        let chart = unpacked(&helm);
        for (options, expected) in IMAGES {
            let options: Vec<String> = options.iter().map(|option| option.replace("DIGEST", &digest)).collect();
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let expected = expected
                .replace("REL", &released())
                .replace("REPOSITORY", &repository)
                .replace("VERSION", &real_version())
                .replace("DIGEST", &digest);
            assert_eq!(template(&helm, &chart, &options).image(), expected, "{} {options:?}", helm.name);
        }
    }
}

#[test]
fn i11_the_real_chart_in_the_sources_names_the_image_of_its_version() {
    for helm in Helm::all() {
        let rendered = template(&helm, &real_chart().display().to_string(), &[]);
        assert_eq!(rendered.image(), format!("ghcr.io/alto9/kube9-operator:{}", real_version()), "{}", helm.name);
    }
}

#[test]
fn h4_values_that_an_upgrade_from_2_4_0_keeps_install_the_new_image() {
    for helm in Helm::all() {
        let chart = unpacked(&helm);
        let values = helm.home().join("values.yaml");
        std::fs::write(&values, VALUES_OF_2_4_0).unwrap();
        let rendered = template(&helm, &chart, &["--values", &values.display().to_string()]);
        assert_eq!(rendered.image(), released(), "{}", helm.name);
        assert_eq!(rendered.container()["resources"]["limits"], json!({"cpu": "500m", "memory": "1Gi"}));
        let kinds: Vec<&str> = rendered.0.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        let expected = [
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
            "Service",
            "Deployment",
            "Pod",
        ];
        assert_eq!(kinds, expected, "{}", helm.name);
    }
}

#[test]
fn h4_a_value_that_is_misspelt_or_out_of_range_is_refused_before_anything_is_installed() {
    let refused = [
        ("--set", "imag.tag=x", "imag"),
        ("--set", "image.tga=x", "tga"),
        ("--set", "image.tag=3", "tag"),
        ("--set", "image.digest=sha256:ab", "digest"),
        ("--set", "rbac.creat=false", "creat"),
        ("--set", "replicaCount=2", "replicaCount"),
        ("--set", "logLevel=trace", "logLevel"),
        ("--set", "statusUpdateIntervalSeconds=9", "statusUpdateIntervalSeconds"),
        ("--set", "statusUpdateIntervalSeconds=121", "statusUpdateIntervalSeconds"),
        ("--set", "statusUpdateIntervalSeconds=abc", "statusUpdateIntervalSeconds"),
        ("--set-string", "podLabels.app\\.kubernetes\\.io/name=x", "app.kubernetes.io/name"),
    ];
    let accepted = [
        "global.a=b",
        "logLevel=debug",
        "statusUpdateIntervalSeconds=10",
        "statusUpdateIntervalSeconds=120",
        "image.pullPolicy=Always",
        "argocd.enabled=true",
    ];
    let chart = real_chart().display().to_string();
    for helm in Helm::all() {
        for (option, value, named) in refused {
            let run = helm.run(&["template", "x", &chart, option, value]);
            assert!(run.code == Some(1) && run.stderr.contains(named), "{} {value}: {run:?}", helm.name);
        }
        for value in accepted {
            template(&helm, &chart, &["--set", value]);
        }
    }
}

/// As a dependency, it is given keys by its parent that are none of its own.
#[test]
fn h4_a_parent_chart_switches_it_on_and_off_and_names_the_registry() {
    for helm in Helm::all() {
        let parent = helm.home().join("parent");
        for (name, content) in files_below(&real_chart()) {
            let file = parent.join("charts/kube9-operator").join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        let dependency =
            json!({"name": "kube9-operator", "version": real_version(), "condition": "kube9-operator.enabled"});
        let manifest = json!({"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency]});
        std::fs::write(parent.join("Chart.yaml"), manifest.to_string()).unwrap();
        let values = json!({"global": {"imageRegistry": "mirror.example"}, "kube9-operator": {"enabled": false}});
        std::fs::write(parent.join("values.yaml"), values.to_string()).unwrap();
        let parent = parent.display().to_string();
        assert_eq!(template(&helm, &parent, &[]).0, Vec::<Value>::new(), "{}", helm.name);
        let on = template(&helm, &parent, &["--set", "kube9-operator.enabled=true,kube9-operator.logLevel=debug"]);
        let image = format!("mirror.example/alto9/kube9-operator:{}", real_version());
        assert_eq!(on.image(), image, "{}", helm.name);
        let misspelt = ["template", "x", &parent, "--set", "kube9-operator.enabled=true,kube9-operator.logLevl=debug"];
        helm.run(&misspelt).fails(1, "logLevl");
    }
}

#[test]
fn i14_pull_policy_and_settings_reach_the_pod() {
    let chart = real_chart().display().to_string();
    let environment = |rendered: &Rendered| -> BTreeMap<String, Value> {
        let variables = rendered.container()["env"].as_array().unwrap().iter();
        variables.map(|variable| (variable["name"].as_str().unwrap().to_owned(), variable["value"].clone())).collect()
    };
    for helm in Helm::all() {
        for policy in ["Always", "IfNotPresent", "Never"] {
            let rendered = template(&helm, &chart, &["--set", &format!("image.pullPolicy={policy}")]);
            assert_eq!(rendered.container()["imagePullPolicy"], json!(policy), "{}", helm.name);
        }
        let plain = template(&helm, &chart, &[]);
        assert_eq!(plain.container()["imagePullPolicy"], json!("IfNotPresent"));
        assert_eq!(environment(&plain)["LOG_LEVEL"], json!("info"));
        assert_eq!(environment(&plain)["STATUS_UPDATE_INTERVAL_SECONDS"], json!("60"));
        let set = template(&helm, &chart, &["--set", "logLevel=debug,statusUpdateIntervalSeconds=120"]);
        assert_eq!(environment(&set)["LOG_LEVEL"], json!("debug"));
        assert_eq!(environment(&set)["STATUS_UPDATE_INTERVAL_SECONDS"], json!("120"));
    }
}

#[test]
fn h4_another_name_is_that_of_every_object_and_the_pod_is_found_by_its_label_still() {
    let chart = real_chart().display().to_string();
    for helm in Helm::all() {
        for option in ["nameOverride=bar", "fullnameOverride=bar", "nameOverride=foo,fullnameOverride=bar"] {
            let rendered = template(&helm, &chart, &["--set", option]);
            for object in &rendered.0 {
                let (name, namespace) = match object["kind"].as_str().unwrap() {
                    // What belongs to no namespace carries it in its name, so that each may have an operator.
                    "ClusterRole" | "ClusterRoleBinding" => ("bar-kube9-system", json!(null)),
                    // What `helm test` runs.
                    "Pod" => ("bar-test", json!("kube9-system")),
                    _ => ("bar", json!("kube9-system")),
                };
                assert_eq!(object["metadata"]["name"], name, "{} {option}", helm.name);
                assert_eq!(object["metadata"]["namespace"], namespace, "{} {option}", helm.name);
            }
            let labels = &rendered.pod()["metadata"]["labels"];
            assert_eq!(labels["app.kubernetes.io/name"], json!("kube9-operator"), "{} {option}", helm.name);
            let selector =
                json!({"app.kubernetes.io/name": "kube9-operator", "app.kubernetes.io/instance": "kube9-operator"});
            assert_eq!(rendered.one("Deployment")["spec"]["selector"]["matchLabels"], selector);
            assert_eq!(rendered.one("Service")["spec"]["selector"], selector);
            assert_eq!(rendered.one("RoleBinding")["roleRef"]["name"], json!("bar"));
            assert_eq!(rendered.one("RoleBinding")["subjects"][0]["name"], json!("bar"));
            assert_eq!(rendered.pod()["spec"]["serviceAccountName"], json!("bar"));
        }
    }
}

#[test]
fn h4_clusters_before_1_25_are_refused_and_suffixed_versions_are_not() {
    let chart = real_chart().display().to_string();
    for helm in Helm::all() {
        let run = |version: &str| helm.run(&["template", "x", &chart, "--kube-version", version]);
        run("1.24.17").fails(1, "kubeVersion");
        for version in ["v1.25.0", "v1.25.0-eks-abc", "1.31.4-gke.100", "1.99.0"] {
            run(version).ok();
        }
    }
}

#[test]
fn h4_the_pod_meets_the_restricted_pod_security_standard() {
    let chart = real_chart().display().to_string();
    for helm in Helm::all() {
        let rendered = template(&helm, &chart, &[]);
        let spec = &rendered.pod()["spec"];
        let security = &spec["securityContext"];
        assert_eq!(security["runAsNonRoot"], json!(true));
        assert_eq!((&security["runAsUser"], &security["runAsGroup"]), (&json!(1000), &json!(1000)));
        assert_eq!(security["seccompProfile"], json!({"type": "RuntimeDefault"}));
        let events = json!([{"name": "events", "emptyDir": {"sizeLimit": "256Mi"}}]);
        assert_eq!(spec["volumes"], events, "{}", helm.name);
        for forbidden in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
            assert_eq!(spec[forbidden], Value::Null, "{forbidden}");
        }
        assert_eq!(spec["containers"].as_array().unwrap().len(), 1);
        let container = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(rendered.container()["securityContext"], container, "{}", helm.name);
        assert!(rendered.container()["ports"].as_array().unwrap().iter().all(|port| port["hostPort"].is_null()));
        // OpenShift gives user ids itself.
        let openshift = template(&helm, &chart, &["--api-versions", "security.openshift.io/v1"]);
        let security = &openshift.pod()["spec"]["securityContext"];
        assert_eq!((&security["runAsNonRoot"], &security["runAsUser"]), (&json!(true), &Value::Null));
    }
}

/// The node is asked for what the events may take, and the cluster autoscaler may empty it all the same.
#[test]
fn h4_a_pod_that_keeps_events_asks_for_room_and_can_be_moved_and_another_asks_for_nothing() {
    let chart = real_chart().display().to_string();
    let annotation = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
    for helm in Helm::all() {
        let of = |values: &str| {
            let rendered = template(&helm, &chart, &["--set", values]);
            let requests = &rendered.container()["resources"]["requests"]["ephemeral-storage"];
            [requests, &rendered.pod()["metadata"]["annotations"][annotation], &rendered.pod()["spec"]["volumes"][0]]
                .map(Clone::clone)
        };
        let in_pod =
            |size: &str| [json!(size), json!("events"), json!({"name": "events", "emptyDir": {"sizeLimit": size}})];
        assert_eq!(of("eventStore.enabled=null"), in_pod("256Mi"), "{}", helm.name);
        assert_eq!(of("eventStore.sizeLimitMegabytes=1024"), in_pod("1024Mi"), "{}", helm.name);
        assert_eq!(of("eventStore.enabled=false"), [Value::Null, Value::Null, Value::Null], "{}", helm.name);
        let claim = json!({"name": "events", "persistentVolumeClaim": {"claimName": "kube9-operator-event-store"}});
        assert_eq!(of("eventStore.persistence.enabled=true"), [Value::Null, Value::Null, claim], "{}", helm.name);
        let [requests, ..] = of("resources.limits.ephemeral-storage=1Gi");
        assert_eq!(requests, Value::Null, "{}: the limit is the request", helm.name);
    }
}

#[test]
fn h2_the_real_chart_is_free_of_complaints_in_the_sources_and_released() {
    for helm in Helm::all() {
        let released = unpacked(&helm);
        for chart in [real_chart().display().to_string(), released] {
            let lint = helm.run(&["lint", "--strict", &chart]).ok();
            for complaint in ["[WARNING]", "[ERROR]", "[INFO]"] {
                assert!(!lint.stdout.contains(complaint), "{} {chart}: {}", helm.name, lint.stdout);
            }
        }
    }
}

#[test]
fn h2_the_released_real_chart_differs_from_the_sources_in_its_manifest_alone() {
    let archive = REAL.demo.snapshot()[&format!("kube9-operator-{}.tgz", real_version())].clone();
    let published = archive::unpack(&archive).unwrap();
    let sources = files_below(&real_chart());
    for (name, content) in &published {
        assert!(name == "Chart.yaml" || sources.get(name) == Some(content), "{name}");
    }
    let left_out: Vec<&String> = sources.keys().filter(|name| !published.contains_key(*name)).collect();
    assert_eq!(left_out, ["icon.svg"]);
}
