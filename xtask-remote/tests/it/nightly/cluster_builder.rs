//! A builder in a cluster: buildx's Kubernetes driver on a real node, with the rights that `docs/releasing.md` gives it.
//!
//! BuildKit's own image is not to be had here. The one in its place holds the same programs: the pinned daemon, its client, by which
//! Kubernetes and buildx ask it, and the node's runc.

#![expect(clippy::disallowed_methods, reason = "tests start processes of their own")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::buildx::Kitchen;
use crate::servers::Node;
use crate::support::{Run, documented, tool};

const IMAGE: &str = "localhost/buildkit:1";
/// As the documentation calls it.
const NAMESPACE: &str = "builders";
const BUILD: [&str; 6] = ["release", "build", "--to", "kit", "--json", "--builder"];

#[test]
fn i2_i7_i15_a_builder_in_a_cluster_makes_the_very_image_that_a_daemon_here_makes_or_says_why_not() {
    let Some(kitchen) = Kitchen::new() else { return };
    let Some(cluster) = Cluster::new(&kitchen) else { return };
    let _oven = kitchen.oven("here");
    let here = cluster.build("here").ok().json();

    // Nothing of it runs before the release, which wants two platforms of it at once.
    cluster.create("one", &["--node=both"], IMAGE);
    assert_eq!(cluster.running(), [""; 0]);
    assert_eq!(cluster.build("one").ok().json(), here);
    assert_eq!(cluster.running(), ["both"]);

    cluster.create("pair", &["--node=amd", "--platform=linux/amd64"], IMAGE);
    cluster.create("pair", &["--append", "--node=arm", "--platform=linux/arm64"], IMAGE);
    assert_eq!(cluster.build("pair").ok().json(), here);
    assert_eq!(cluster.running(), ["amd", "arm", "both"]);

    cluster.create("absent", &["--node=absent"], "localhost/absent:1,timeout=3s");
    cluster.build("absent").fails(1, "expected 1 replicas to be ready, got 0");
}

/// A node that has the image of the daemon, and a namespace for it.
struct Cluster<'k> {
    node: Node,
    kitchen: &'k Kitchen,
}

impl<'k> Cluster<'k> {
    /// Nothing where no node can run.
    fn new(kitchen: &'k Kitchen) -> Option<Self> {
        if !Node::can_run() {
            return None;
        }
        let node = Node::start();
        load_buildkit(&node);
        let cluster = Cluster { node, kitchen };
        cluster.give_rights();
        Some(cluster)
    }

    /// Lets every program on the node be the account that the documentation gives its rights to: as a pod's file system would.
    fn give_rights(&self) {
        self.node.kubectl(&["create", "namespace", NAMESPACE]).ok();
        let role = self.node.folder().join("role.json");
        std::fs::write(&role, documented("docs/releasing.md", "Role").to_string()).unwrap();
        self.node.kubectl(&["create", "--filename", role.to_str().unwrap()]).ok();
        let account = format!("--serviceaccount={NAMESPACE}:default");
        let binding = ["create", "rolebinding", "builds", "--role=builds", "--namespace", NAMESPACE, &account];
        self.node.kubectl(&binding).ok();
        let token = self.node.kubectl(&["create", "token", "default", "--namespace", NAMESPACE]).ok().stdout;
        let root = format!("/proc/{}/root", self.node.number);
        let secrets = Path::new(&root).join("run/secrets/kubernetes.io/serviceaccount");
        std::fs::create_dir_all(&secrets).unwrap();
        std::fs::write(secrets.join("token"), token.trim()).unwrap();
        std::fs::write(secrets.join("namespace"), NAMESPACE).unwrap();
        std::fs::copy(self.node.folder().join("authority.pem"), secrets.join("ca.crt")).unwrap();
    }

    /// Lets buildx know a builder, or a part of one, by a name. It starts when somebody builds.
    fn create(&self, name: &str, words: &[&str], image: &str) {
        let options = format!("--driver-opt=namespace={NAMESPACE},image={image}");
        let create = self.kitchen.create(name, "kubernetes", &[words, &[&options]].concat());
        self.as_a_pod(create).ok();
    }

    fn build(&self, builder: &str) -> Run {
        self.as_a_pod(self.kitchen.command(&[&BUILD[..], &[builder]].concat()))
    }

    /// As on a runner in the cluster: nothing but the variables that every pod has leads to the API server.
    fn as_a_pod(&self, mut command: Command) -> Run {
        command.env_remove("KUBECONFIG");
        command.env("KUBERNETES_SERVICE_HOST", Node::SERVICE).env("KUBERNETES_SERVICE_PORT", "443");
        Run::of(self.node.inside(&command))
    }

    /// The daemons that run, by the names of their Deployments.
    fn running(&self) -> Vec<String> {
        let pods = self.node.get(&["pods", "--namespace", NAMESPACE, "--field-selector=status.phase=Running"]);
        let mut pods: Vec<String> = pods["items"].as_array().unwrap().iter().map(name).collect();
        pods.sort();
        pods
    }
}

fn name(pod: &Value) -> String {
    pod["metadata"]["labels"]["app"].as_str().unwrap().to_owned()
}

fn load_buildkit(node: &Node) {
    let mut files = BTreeMap::new();
    for program in ["buildctl", "buildkitd", "runc"] {
        let place = tool(program).unwrap();
        for library in libraries(&place) {
            files.insert(library.strip_prefix("/").unwrap().to_owned(), std::fs::read(library).unwrap());
        }
        files.insert(Path::new("bin").join(program), std::fs::read(place).unwrap());
    }
    let config = json!({
        "Entrypoint": ["/bin/buildkitd"], "Env": ["PATH=/bin"], "Volumes": {"/tmp": {}, "/var/lib/buildkit": {}},
    });
    node.load(IMAGE, &config, &files);
}

/// What a program is linked to, as the loader finds it.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let mut ask = Command::new("ldd");
    ask.arg(program);
    let said = Run::of(ask).ok().stdout;
    let places = said.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    places.map(PathBuf::from).collect()
}
