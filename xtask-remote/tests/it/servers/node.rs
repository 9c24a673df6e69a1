//! A real Kubernetes of one node: etcd, API server, controllers, scheduler, kubelet, containerd, runc, and a bridge for its pods.
//!
//! It has a network, mounts and processes of its own, so that no address, file or process of the machine is touched, and all of it
//! ends with its first process. Only control groups cannot be its own everywhere: there it has a group of its own, which is removed
//! after it (see node.sh). The Service `kubernetes` needs no kube-proxy, because the API server listens at the Service's address.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use xtask::oci::sha256_hex;

use super::child::DISK;
use crate::support::{Run, is_root, skipped, tool, wait_until};

const GUARD: &str = include_str!("node.sh");
const LIMIT: Duration = Duration::from_secs(60);
const NAME: &str = "node";
const TOKEN: &str = "admin-of-the-node";
/// The node's own address: a kubelet refuses loopback.
const ADDRESS: &str = "10.77.0.1";
const ETCD: &str = "http://127.0.0.1:2379";
const PLUGINS: &str = "/usr/lib/cni";
const PAUSE: &str = "localhost/pause:1";
/// What a kubelet demands of the kernel, and would otherwise set for the whole machine.
const KERNEL: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// A running node, whose pods can be started and pull from the registries on its loopback.
pub struct Node {
    guard: Child,
    folder: PathBuf,
    /// Its control group, below each controller's root.
    pub group: String,
    /// Its first process, as the machine numbers it.
    pub number: u32,
    /// From nothing to a node that takes pods.
    pub took: Duration,
    parts: Vec<Child>,
}

impl Node {
    /// The address of the Service `kubernetes`, and of the API server.
    pub const SERVICE: &str = "10.96.0.1";

    /// Whether one can run here; where not, that is said once.
    pub fn can_run() -> bool {
        const TOOLS: [&str; 10] = [
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubectl",
            "kubelet",
            "pause",
            "containerd",
            "runc",
            "ip",
        ];
        let mut try_out = Command::new("unshare");
        try_out.args(["--net", "--mount", "--pid", "--fork", "true"]);
        let missing = if !is_root() {
            "only root can run a node"
        } else if !try_out.output().is_ok_and(|output| output.status.success()) {
            "a node needs namespaces of its own, which cannot be made here"
        } else if !Path::new(PLUGINS).join("bridge").exists() {
            "the network of a node needs containernetworking-plugins"
        } else {
            return TOOLS.iter().all(|name| tool(name).is_some());
        };
        skipped(missing);
        false
    }

    /// A node without a pod.
    pub fn start() -> Self {
        let started = Instant::now();
        let folder = tempfile::Builder::new().prefix("test-node-").tempdir_in(DISK).unwrap().keep();
        let group = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh"]).arg(&folder).arg(&group).current_dir("/");
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let guard = guard.spawn().unwrap();
        let number = || std::fs::read_to_string(folder.join("number")).ok();
        assert!(wait_until(LIMIT, || number().is_some()), "the namespaces of a node were not made");
        let number = number().unwrap().trim().parse().unwrap();
        let mut node = Node { guard, folder, group, number, took: Duration::ZERO, parts: Vec::new() };
        node.furnish();
        node.run_all();
        node.took = started.elapsed();
        node
    }

    /// Moves the calling thread, and what it starts from now on, into the node's network.
    pub fn enter_network(&self) {
        let network = File::open(format!("/proc/{}/ns/net", self.number)).unwrap();
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// The same command in all of the node's namespaces, with which it ends.
    pub fn inside(&self, command: &Command) -> Command {
        // By its place: the command may have another PATH.
        let mut inside = Command::new(tool("nsenter").unwrap());
        inside.args(["--target", &self.number.to_string(), "--net", "--mount", "--pid"]);
        let folder = command.get_current_dir().unwrap_or(&self.folder);
        inside.arg(format!("--wdns={}", folder.display())).arg("--").arg(command.get_program());
        inside.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// Starts something that ends with the node, at the latest. What it says goes into a log beside the node's other files.
    pub fn run(&mut self, name: &str, mut command: Command) {
        let log = File::create(self.folder.join(format!("{name}.log"))).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.parts.push(command.spawn().unwrap());
    }

    /// A program in the node's folder, to be given arguments and started inside.
    fn program(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(tool(name).unwrap());
        command.args(arguments);
        self.inside(&command)
    }

    fn images(&self, arguments: &[&str]) -> Run {
        let socket = self.folder.join("containerd.sock");
        let usual = ["--address", socket.to_str().unwrap(), "--namespace", "k8s.io", "images"];
        Run::of(self.program("ctr", &[&usual, arguments].concat()))
    }

    /// Gives it an image of one layer, which no registry has: places below the root, and what stands there.
    #[track_caller]
    pub fn load(&self, image: &str, config: &Value, files: &BTreeMap<PathBuf, Vec<u8>>) {
        std::fs::write(self.folder.join("image.tar"), saved_image(image, config, files)).unwrap();
        self.images(&["import", "image.tar"]).ok();
    }

    /// A finished kubectl with every right.
    pub fn kubectl(&self, arguments: &[&str]) -> Run {
        let kubeconfig = self.kubeconfig();
        Run::of(self.program("kubectl", &[&["--kubeconfig", kubeconfig.to_str().unwrap()], arguments].concat()))
    }

    /// What kubectl gets, as JSON.
    #[track_caller]
    pub fn get(&self, arguments: &[&str]) -> Value {
        self.kubectl(&[&["get", "--output=json"], arguments].concat()).ok().json()
    }

    /// How to reach it with every right, for whoever is in its network.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The last that each part has said.
    pub fn log(&self) -> String {
        const LINES: usize = 8;
        let names = ["containerd", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"];
        let end = |name: &str| {
            let log = std::fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!("--- {name}\n{}\n", lines[lines.len().saturating_sub(LINES)..].join("\n"))
        };
        names.into_iter().map(end).collect()
    }

    /// Network, mounts, control groups and configuration.
    fn furnish(&self) {
        self.make_network();
        self.make_mounts();
        make_groups(&self.group);
        make_identities(&self.folder);
        self.configure();
        let program = std::fs::read(tool("pause").unwrap()).unwrap();
        let pause = saved_image(PAUSE, &json!({"Entrypoint": ["/pause"]}), &[("pause".into(), program)].into());
        std::fs::write(self.folder.join("pause.tar"), pause).unwrap();
    }

    fn make_network(&self) {
        let lines: [&[&str]; 5] = [
            &["link", "set", "lo", "up"],
            &["address", "add", &format!("{}/32", Node::SERVICE), "dev", "lo"],
            &["link", "add", NAME, "type", "bridge"],
            &["address", "add", &format!("{ADDRESS}/24"), "dev", NAME],
            &["link", "set", NAME, "up"],
        ];
        for line in lines {
            Run::of(self.program("ip", line)).ok();
        }
    }

    /// What its parts write at places that they insist on does not reach the machine.
    fn make_mounts(&self) {
        self.mount(&["-t", "tmpfs", "tmpfs", "/run"]);
        for place in ["/var/lib", "/var/log"] {
            self.overlay(Path::new(place));
        }
        for (name, value) in KERNEL {
            let file = self.folder.join(name.replace('/', "."));
            std::fs::write(&file, value).unwrap();
            self.mount(&["--bind", file.to_str().unwrap(), &format!("/proc/sys/{name}")]);
        }
    }

    /// Makes a folder of the machine one that the node may change: what is changed in it is the node's own.
    fn overlay(&self, place: &Path) {
        let name = place.to_str().unwrap();
        let [changed, working] = ["changed", "working"].map(|kind| self.folder.join(kind).join(name.replace('/', "_")));
        for folder in [&changed, &working] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let options = format!("lowerdir={name},upperdir={},workdir={}", changed.display(), working.display());
        self.mount(&["-t", "overlay", "overlay", "-o", &options, name]);
    }

    #[track_caller]
    fn mount(&self, arguments: &[&str]) {
        Run::of(self.program("mount", arguments)).ok();
    }

    fn configure(&self) {
        let here = |name: &str| self.folder.join(name).display().to_string();
        let write = |name: &str, text: String| std::fs::write(self.folder.join(name), text).unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": NAME,
            "clusters": [{"name": NAME, "cluster": {
                "server": format!("https://{}", Node::SERVICE), "certificate-authority": here("authority.pem"),
            }}],
            "users": [{"name": NAME, "user": {"token": TOKEN}}],
            "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
        });
        write("kubeconfig", kubeconfig.to_string());
        write("tokens.csv", format!("{TOKEN},admin,1,system:masters\n"));
        let network = json!({
            "cniVersion": "0.4.0", "name": NAME,
            "plugins": [{"type": "bridge", "bridge": "pods", "isGateway": true, "ipam": {
                "type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}],
            }}],
        });
        std::fs::create_dir(self.folder.join("network")).unwrap();
        write("network/pods.conflist", network.to_string());
        // Without the right to prefer a process over others, runc must not try to; a profile of AppArmor would stay in the kernel.
        let containerd = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n[grpc]\naddress = {:?}\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = {:?}\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = {PAUSE:?}\nrestrict_oom_score_adj = true\n\
             disable_apparmor = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = {PLUGINS:?}\nconf_dir = {:?}\n",
            here("containerd"),
            here("containerd-state"),
            here("containerd.sock"),
            here("opt"),
            here("network"),
        );
        write("containerd.toml", containerd);
        let kubelet = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "failCgroupV1": false, "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{}", self.group),
            "failSwapOn": false, "protectKernelDefaults": true, "makeIPTablesUtilChains": false,
            "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": format!("unix://{}", here("containerd.sock")),
            "volumePluginDir": here("volume-plugins"),
            "clusterDNS": [Node::SERVICE],
            // A full disk of the machine must not cost the node its images.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "50Mi"},
        });
        write("kubelet.json", kubelet.to_string());
    }

    fn run_all(&mut self) {
        let here = |name: &str| self.folder.join(name).display().to_string();
        let [kubeconfig, identity, root, plugins] =
            ["kubeconfig", "accounts.key", "kubelet", "volume-plugins"].map(here);
        self.start_part("containerd", &["--config", "containerd.toml"]);
        self.start_part("etcd", &["--data-dir=etcd", "--unsafe-no-fsync"]);
        self.start_part(
            "kube-apiserver",
            &[
                &format!("--etcd-servers={ETCD}"),
                "--secure-port=443",
                &format!("--advertise-address={ADDRESS}"),
                "--tls-cert-file=server.pem",
                "--tls-private-key-file=server.key",
                "--service-account-key-file=accounts.pem",
                "--service-account-signing-key-file=accounts.key",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--token-auth-file=tokens.csv",
                "--authorization-mode=RBAC",
                "--allow-privileged",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--kubelet-preferred-address-types=InternalIP",
            ],
        );
        self.wait("the API server", |node| node.kubectl(&["get", "--raw=/readyz"]).code == Some(0));
        self.start_part(
            "kube-controller-manager",
            &[
                &format!("--kubeconfig={kubeconfig}"),
                &format!("--service-account-private-key-file={identity}"),
                "--root-ca-file=authority.pem",
                &format!("--flex-volume-plugin-dir={plugins}"),
                "--use-service-account-credentials",
                "--leader-elect=false",
            ],
        );
        self.start_part("kube-scheduler", &[&format!("--kubeconfig={kubeconfig}"), "--leader-elect=false"]);
        self.wait("containerd", |node| node.images(&["import", "pause.tar"]).code == Some(0));
        self.start_part(
            "kubelet",
            &[
                "--config=kubelet.json",
                &format!("--kubeconfig={kubeconfig}"),
                &format!("--root-dir={root}"),
                &format!("--cert-dir={root}/pki"),
                &format!("--hostname-override={NAME}"),
                &format!("--node-ip={ADDRESS}"),
            ],
        );
        self.wait("the node", |node| {
            let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
            let state = node.kubectl(&["get", "node", NAME, "--output", ready]);
            let account = node.kubectl(&["get", "serviceaccount", "default", "--output=name"]);
            state.stdout == "True" && account.code == Some(0)
        });
    }

    fn start_part(&mut self, name: &str, arguments: &[&str]) {
        let command = self.program(name, arguments);
        self.run(name, command);
    }

    fn wait(&self, what: &str, mut is_ready: impl FnMut(&Self) -> bool) {
        assert!(wait_until(LIMIT, || is_ready(self)), "{what} is not ready:\n{}", self.log());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().ok();
        for part in &mut self.parts {
            part.wait().ok();
        }
    }
}

/// One group below each controller's root, for all pods. The first generation has a root for each controller, the second one for all.
fn make_groups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        for controller in ["cpu", "cpuset", "hugetlb", "memory", "pids"] {
            std::fs::write(root.join("cgroup.subtree_control"), format!("+{controller}")).ok();
        }
        std::fs::create_dir(root.join(name)).unwrap();
        return;
    }
    for controller in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap()) {
        // Some are links to others.
        if !controller.file_type().unwrap().is_dir() {
            continue;
        }
        let group = controller.path().join(name);
        std::fs::create_dir(&group).unwrap();
        for setting in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(inherited) = std::fs::read(controller.path().join(setting)) {
                std::fs::write(group.join(setting), inherited).unwrap();
            }
        }
    }
}

/// Who the API server is, and by what it signs tokens.
fn make_identities(folder: &Path) {
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("authority.pem", authority.self_signed(&authority_key).unwrap().pem());
    let key = KeyPair::generate().unwrap();
    let names = [Node::SERVICE, ADDRESS, "kubernetes.default.svc"].map(str::to_owned);
    let server = CertificateParams::new(names).unwrap();
    let server = server.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    write("server.pem", server.pem());
    write("server.key", key.serialize_pem());
    let accounts = KeyPair::generate().unwrap();
    write("accounts.key", accounts.serialize_pem());
    write("accounts.pem", accounts.public_key_pem());
}

/// An image of one layer, as `docker save` would write it.
fn saved_image(name: &str, config: &Value, files: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<u8> {
    let layer = archive(files);
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256_hex(&layer))]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    let (config, manifest) = (config.to_string().into_bytes(), manifest.to_string().into_bytes());
    archive(&[("config.json".into(), config), ("manifest.json".into(), manifest), ("layer.tar".into(), layer)].into())
}

fn archive(files: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}
