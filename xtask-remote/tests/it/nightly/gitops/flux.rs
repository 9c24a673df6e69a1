//! Flux's source-controller, which fetches charts for its helm-controller, at a real API server: from the index, and from the registry with
//! signatures.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use xtask::sys::http::Anonymous;
use xtask::trust::key::SigningKey;
use xtask::trust::signer::OWN_KEY;

use super::{NEWEST, PRE_RELEASE, PUBLISHED, Published};
use crate::servers::{ApiServer, Served, folder};
use crate::support::{Run, documented, free_port, http_status, root, tool, wait_until};
use crate::trust::new_key;

const MODULE: &str = "github.com/fluxcd/source-controller";
const NAMESPACE: &str = "flux-system";
const SOON: Duration = Duration::from_secs(60);

#[test]
fn h2_h3_h5_flux_fetches_what_the_page_offers_and_finds_versions_by_constraints() {
    let Some(flux) = Flux::start() else { return };
    let published = &*PUBLISHED;
    let [source, release] = published.offered("Flux").try_into().unwrap();
    assert_eq!((&source["kind"], &release["kind"]), (&json!("HelmRepository"), &json!("HelmRelease")));
    flux.apply(&source);
    // As the helm-controller derives it from the release.
    let mut chart = release["spec"]["chart"]["spec"].clone();
    chart["interval"] = release["spec"]["interval"].clone();
    for (name, version, found) in [
        ("offered", "", NEWEST),
        ("old", "1.0.0", "1.0.0"),
        ("stable", ">=1.0.0", NEWEST),
        ("all", ">=1.0.0-0", PRE_RELEASE),
    ] {
        if !version.is_empty() {
            chart["version"] = version.into();
        }
        flux.apply(&object("HelmChart", name, &chart));
        flux.fetches("helmchart", name, found);
    }
    chart["version"] = "~1.1".into();
    flux.apply(&object("HelmChart", "yanked", &chart));
    flux.refuses("helmchart", "yanked", "no 'demo' chart with version matching '~1.1' found");
}

#[test]
fn i16_flux_takes_from_the_registry_what_the_accepted_key_signed_and_nothing_else() {
    let Some(flux) = Flux::start() else { return };
    let published = &*PUBLISHED;
    flux.trust("accepted", &published.key());
    flux.trust("stranger", &new_key().public().to_pem());
    let place = format!("oci://localhost:{}/team/charts", published.demo().port);
    let verify = |key: &str| json!({"provider": "cosign", "secretRef": {"name": key}});
    let mut repository = documented("docs/signatures.md", "OCIRepository");
    let spec = &mut repository["spec"];
    (spec["url"], spec["insecure"]) = (format!("{place}/demo").into(), true.into());
    spec["ref"]["semver"] = ">=1.0.0".into();
    flux.apply(&object("HelmRepository", "registry", &json!({"type": "oci", "insecure": true, "url": place})));
    let source = json!({"kind": "HelmRepository", "name": "registry"});
    let chart = |key: &str| json!({"interval": "1h", "chart": "demo", "version": NEWEST, "sourceRef": source, "verify": verify(key)});
    for key in ["accepted", "stranger"] {
        repository["metadata"]["name"] = key.into();
        repository["spec"]["verify"]["secretRef"]["name"] = key.into();
        flux.apply(&repository);
        flux.apply(&object("HelmChart", key, &chart(key)));
    }
    for kind in ["ocirepository", "helmchart"] {
        flux.fetches(kind, "accepted", NEWEST);
        let verified = flux.condition(kind, "accepted", "SourceVerified").unwrap();
        assert_eq!((&verified["status"], &verified["reason"]), (&json!("True"), &json!("Succeeded")), "{verified}");
        flux.refuses(kind, "stranger", "signature");
        assert!(flux.artifact(kind, "stranger").is_null(), "nothing is handed on");
    }
}

impl Published {
    /// The public key of the rehearsals' own.
    fn key(&self) -> String {
        let key = std::fs::read_to_string(self.demo().published().join(OWN_KEY)).unwrap();
        SigningKey::from_pem(&key, &"a test").unwrap().public().to_pem()
    }
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
}

/// A running source-controller, and its API server.
struct Flux {
    controller: Served,
    server: ApiServer,
}

impl Flux {
    /// Nothing (said once a test) where a part of it is not installed.
    fn start() -> Option<Self> {
        let program = tool("source-controller")?;
        let server = ApiServer::start()?;
        let definitions = definitions();
        server.kubectl(&["create", "--filename", definitions.to_str().unwrap()]).ok();
        server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).ok();
        server.kubectl(&["create", "namespace", NAMESPACE]).ok();
        let controller = start_controller(&program, &server.kubeconfig());
        Some(Flux { controller, server })
    }

    fn apply(&self, object: &Value) {
        self.server.apply(object);
    }

    /// A Secret with a public key of cosign's.
    fn trust(&self, name: &str, key: &str) {
        let metadata = json!({"name": name, "namespace": NAMESPACE});
        self.apply(
            &json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"cosign.pub": key}}),
        );
    }

    fn status(&self, kind: &str, name: &str) -> Value {
        self.server.get(&[kind, name, "--namespace", NAMESPACE])["status"].clone()
    }

    fn condition(&self, kind: &str, name: &str, condition: &str) -> Option<Value> {
        let status = self.status(kind, name);
        status["conditions"].as_array()?.iter().find(|one| one["type"] == condition).cloned()
    }

    fn artifact(&self, kind: &str, name: &str) -> Value {
        self.status(kind, name)["artifact"].clone()
    }

    /// Asserts that it hands on the published archive of a version.
    #[track_caller]
    fn fetches(&self, kind: &str, name: &str, version: &str) {
        let is_ready = || self.condition(kind, name, "Ready").is_some_and(|ready| ready["status"] == "True");
        assert!(wait_until(SOON, is_ready), "{kind} {name}: {:#}\n{}", self.status(kind, name), self.controller.log());
        let artifact = self.artifact(kind, name);
        let revision = artifact["revision"].as_str().unwrap();
        assert!(revision == version || revision.starts_with(&format!("{version}@")), "{kind} {name}: {artifact}");
        let url = artifact["url"].as_str().unwrap();
        let handed_on = Anonymous::new(SOON).get(url, &[]).unwrap().body;
        assert!(handed_on == PUBLISHED.archive(version), "{kind} {name}: other bytes than were published");
    }

    /// Asserts that it hands on nothing, and says why.
    #[track_caller]
    fn refuses(&self, kind: &str, name: &str, reason: &str) {
        let is_told = || {
            let ready = self.condition(kind, name, "Ready");
            ready.is_some_and(|ready| ready["status"] == "False" && ready["message"].as_str().unwrap().contains(reason))
        };
        assert!(wait_until(SOON, is_told), "{kind} {name}: {:#}\n{}", self.status(kind, name), self.controller.log());
    }
}

fn start_controller(program: &Path, kubeconfig: &Path) -> Served {
    let place = folder();
    let (health, storage) = (free_port(), format!("127.0.0.1:{}", free_port()));
    let mut command = Command::new(program);
    command.env("KUBECONFIG", kubeconfig).env("RUNTIME_NAMESPACE", NAMESPACE).env("HOME", &place);
    command.arg(format!("--health-addr=127.0.0.1:{health}")).arg(format!("--metrics-addr=127.0.0.1:{}", free_port()));
    command.arg(format!("--storage-path={}", place.display()));
    command.arg(format!("--storage-addr={storage}")).arg(format!("--storage-adv-addr={storage}"));
    command.arg("--enable-leader-election=false");
    let ready = format!("http://127.0.0.1:{health}/readyz");
    Served::start(place, &command, || http_status(&ready) == Some(200))
}

/// Its CustomResourceDefinitions, as the module has them that the program was built from.
fn definitions() -> PathBuf {
    let mut go = Command::new("go");
    go.args(["mod", "download", "-json", MODULE]).current_dir(root().join("ci/test-tools/readers"));
    go.env("GOFLAGS", "-mod=readonly").env("GOTOOLCHAIN", "local");
    let module = Run::of(go).ok().json();
    Path::new(module["Dir"].as_str().unwrap()).join("config/crd/bases")
}
