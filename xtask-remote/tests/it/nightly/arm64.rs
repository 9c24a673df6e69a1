//! The operator for arm64, the very bytes that a release puts into its image, does its work: an emulator runs it at a real API server, in
//! place of a pod for which there is no node.
//!
//! What the system knows of its process it knows of the emulator, so nothing here asks for its memory or its threads.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::consumer::{self, Mode};
use crate::product::nightly::RELEASED_FOR_ALL;
use crate::product::{Program, Released};
use crate::servers::Node;
use crate::support::{Helm, Run, wait_until};

const NAME: &str = "kube9-operator";
const STATUS: &str = "kube9-operator-status";
const NAMESPACE: &str = "emulated";
/// What the scheduler says of a pod that no node can take.
const REASON: &str = "FailedScheduling";
const SOON: Duration = Duration::from_secs(60);

#[test]
fn h4_i14_the_operator_for_arm64_talks_tls_writes_its_status_and_keeps_events_in_its_store() {
    if !Node::can_run() {
        return;
    }
    // It takes its time, as does a release.
    let node = std::thread::spawn(Node::start);
    let released = &*RELEASED_FOR_ALL;
    let Some(program) = released.program("linux/arm64") else { return };
    let emulated = Emulated::new(node.join().unwrap(), released, program);

    emulated.lists_live("authority.pem").ok();
    emulated.lists_live("stranger.pem").fails(1, "invalid peer certificate");

    let log = emulated.folder.path().join("log");
    let mut serving = Serving::start(emulated.command("authority.pem", &["serve"]), log);
    let is_operated = || emulated.status().is_some_and(|status| is_operated(&status));
    assert!(wait_until(SOON, is_operated), "{:#?}\n{}", emulated.status(), serving.log());
    assert_eq!(consumer::faults_of(&emulated.status().unwrap(), released.word("version")), Vec::<String>::new());
    let keeps = || emulated.lists_kept().stdout.contains(REASON);
    assert!(wait_until(SOON, keeps), "{:?}\n{}", emulated.lists_kept(), serving.log());

    assert!(serving.end().success(), "{}", serving.log());
    let listed = emulated.lists_kept().ok().json();
    let is_it = |row: &&Value| row["object_name"] == emulated.pod() && row.to_string().contains(REASON);
    assert!(listed["events"].as_array().unwrap().iter().any(|row| is_it(&row)), "{listed:#}");
}

fn is_operated(status: &ConfigMap) -> bool {
    consumer::verdict(Some(status), Timestamp::now()).mode == Mode::Operated
}

/// A release on a node that has no place for its pod, and the program that does the pod's work.
struct Emulated {
    node: Node,
    program: Program,
    /// The Deployment's one container says it.
    environment: Vec<(String, String)>,
    /// Stands for the pod's volumes.
    folder: TempDir,
}

impl Emulated {
    /// The calling thread is in the node's network from now on.
    fn new(node: Node, released: &Released, program: Program) -> Self {
        node.enter_network();
        let helm = Helm::find("helm-3").unwrap();
        let (chart, kubeconfig) = (released.chart(), node.kubeconfig());
        let place = ["--create-namespace", "--namespace", NAMESPACE, "--kubeconfig", kubeconfig.to_str().unwrap()];
        let nowhere = ["--set=nodeSelector.kind=such-as-there-is-none"];
        helm.run(&[&["install", NAME, chart.to_str().unwrap()], &place[..], &nowhere].concat()).ok();
        let mut emulated = Emulated { node, program, environment: Vec::new(), folder: tempfile::tempdir().unwrap() };
        assert!(wait_until(SOON, || !emulated.pods().is_empty()), "{}", emulated.node.log());
        emulated.environment = emulated.environment_of_the_pod();
        emulated.issue_token();
        let stranger = CertificateParams::new(Vec::new()).unwrap().self_signed(&KeyPair::generate().unwrap()).unwrap();
        std::fs::write(emulated.node.folder().join("stranger.pem"), stranger.pem()).unwrap();
        emulated
    }

    /// As the kubelet would set it.
    fn environment_of_the_pod(&self) -> Vec<(String, String)> {
        let pod = &self.pods()[0];
        let variables = pod["spec"]["containers"][0]["env"].as_array().unwrap().iter();
        let value = |variable: &Value| {
            let field = || variable["valueFrom"]["fieldRef"]["fieldPath"].as_str().unwrap().replace('.', "/");
            let value = variable["value"].as_str().or_else(|| pod.pointer(&format!("/{}", field()))?.as_str());
            (variable["name"].as_str().unwrap().to_owned(), value.unwrap().to_owned())
        };
        variables.map(value).collect()
    }

    fn issue_token(&self) {
        let token = self.node.kubectl(&["create", "token", NAME, "--namespace", NAMESPACE]).ok().stdout;
        std::fs::write(self.folder.path().join("token"), token.trim()).unwrap();
    }

    fn pods(&self) -> Vec<Value> {
        let pods = self.node.get(&["pods", "--namespace", NAMESPACE]);
        pods["items"].as_array().unwrap().clone()
    }

    /// The name of the pod.
    fn pod(&self) -> String {
        self.pods()[0]["metadata"]["name"].as_str().unwrap().to_owned()
    }

    fn status(&self) -> Option<ConfigMap> {
        let words = ["get", "configmap", STATUS, "--namespace", NAMESPACE, "--output=json"];
        let read = self.node.kubectl(&words);
        (read.code == Some(0)).then(|| serde_json::from_str(&read.stdout).unwrap())
    }

    /// The program where the pod's would be, which trusts that authority alone.
    fn command(&self, authority: &str, arguments: &[&str]) -> Command {
        let mut command = self.program.command(arguments);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("KUBECONFIG", self.kubeconfig(authority)).env("DB_PATH", self.folder.path());
        command
    }

    fn kubeconfig(&self, authority: &str) -> PathBuf {
        let mut kubeconfig: Value = serde_json::from_slice(&std::fs::read(self.node.kubeconfig()).unwrap()).unwrap();
        kubeconfig["clusters"][0]["cluster"]["certificate-authority"] = json!(self.node.folder().join(authority));
        kubeconfig["users"][0]["user"] = json!({"tokenFile": self.folder.path().join("token")});
        let path = self.folder.path().join(authority).with_extension("kubeconfig");
        std::fs::write(&path, kubeconfig.to_string()).unwrap();
        path
    }

    /// What the API server has, as a server with that authority.
    fn lists_live(&self, authority: &str) -> Run {
        let mut command = self.command(authority, &["query", "events", "list", "--format=json"]);
        command.env("EVENT_STORE", "false");
        Run::of(command)
    }

    /// What the store has, where no API server can be asked.
    fn lists_kept(&self) -> Run {
        let mut command = self.command("authority.pem", &["query", "events", "list", "--limit=1000", "--format=json"]);
        command.env("KUBECONFIG", "/nowhere");
        Run::of(command)
    }
}

/// The program while it serves; it ends with the test, at the latest.
struct Serving {
    process: Child,
    log: PathBuf,
}

impl Serving {
    fn start(mut command: Command, log: PathBuf) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        Serving { process: command.spawn().unwrap(), log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Asks it to end, and tells how it did. The emulator hands the signal on.
    fn end(&mut self) -> ExitStatus {
        let mut kill = Command::new("sh");
        kill.args(["-c", "kill -s TERM \"$0\"", &self.process.id().to_string()]);
        Run::of(kill).ok();
        assert!(wait_until(SOON, || self.process.try_wait().unwrap().is_some()), "{}", self.log());
        self.process.wait().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
