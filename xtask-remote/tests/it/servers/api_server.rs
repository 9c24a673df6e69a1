//! A real Kubernetes API server with etcd behind it, for a controller that works on objects alone: there is no node, and no other controller.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::child::{Served, folder};
use crate::support::{Run, free_port, tool};

const TOKEN: &str = "admin-of-the-api-server";

/// A running API server, and a kubectl with every right.
pub struct ApiServer {
    kubectl: PathBuf,
    server: Served,
    _etcd: Served,
}

impl ApiServer {
    /// An empty cluster. Nothing (said once a test) where a part of it is not installed.
    pub fn start() -> Option<Self> {
        let (kubectl, etcd, program) = (tool("kubectl")?, tool("etcd")?, tool("kube-apiserver")?);
        let (etcd, store) = start_etcd(&etcd);
        let (place, port) = (folder(), free_port());
        let kubeconfig = write_kubeconfig(&place, port);
        let command = command(&program, &place, port, &store);
        let is_ready = || Run::of(with(&kubectl, &kubeconfig, &["get", "--raw=/readyz"])).code == Some(0);
        let server = Served::start(place, &command, is_ready);
        Some(ApiServer { kubectl, server, _etcd: etcd })
    }

    /// How to reach it with every right.
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig(self.server.folder())
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Run {
        Run::of(with(&self.kubectl, &self.kubeconfig(), arguments))
    }

    /// Makes an object, or changes it.
    #[track_caller]
    pub fn apply(&self, object: &Value) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), object.to_string()).unwrap();
        self.kubectl(&["apply", "--filename", file.path().to_str().unwrap()]).ok();
    }

    /// What kubectl gets, as JSON.
    #[track_caller]
    pub fn get(&self, arguments: &[&str]) -> Value {
        self.kubectl(&[&["get", "--output=json"], arguments].concat()).ok().json()
    }
}

fn start_etcd(program: &Path) -> (Served, String) {
    let (place, port, peers) = (folder(), free_port(), free_port());
    let url = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(program);
    command.arg("--data-dir").arg(place.join("data")).arg("--unsafe-no-fsync");
    command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
    command.args(["--listen-peer-urls", &format!("http://127.0.0.1:{peers}")]);
    let ready = format!("{url}/health");
    (Served::start(place, &command, || crate::support::http_status(&ready) == Some(200)), url)
}

/// It makes its own certificate at its start, and the key to that signs the tokens of service accounts, too.
fn command(program: &Path, place: &Path, port: u16, etcd: &str) -> Command {
    let (certificates, tokens) = (place.join("certificates"), place.join("tokens.csv"));
    std::fs::write(&tokens, format!("{TOKEN},admin,admin,system:masters\n")).unwrap();
    let key = certificates.join("apiserver.key");
    let mut command = Command::new(program);
    command.arg(format!("--etcd-servers={etcd}")).arg("--bind-address=127.0.0.1").arg(format!("--secure-port={port}"));
    command.arg("--cert-dir").arg(&certificates).arg("--token-auth-file").arg(tokens);
    command.args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/24"]);
    command.arg("--service-account-issuer=https://issuer.invalid");
    command.arg("--service-account-signing-key-file").arg(&key).arg("--service-account-key-file").arg(&key);
    command
}

fn write_kubeconfig(place: &Path, port: u16) -> PathBuf {
    let cluster = json!({
        "server": format!("https://127.0.0.1:{port}"), "certificate-authority": place.join("certificates/apiserver.crt"),
    });
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "admin",
        "contexts": [{"name": "admin", "context": {"cluster": "admin", "user": "admin"}}],
        "clusters": [{"name": "admin", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
    });
    let path = kubeconfig(place);
    std::fs::write(&path, text.to_string()).unwrap();
    path
}

fn kubeconfig(place: &Path) -> PathBuf {
    place.join("kubeconfig")
}

fn with(kubectl: &Path, kubeconfig: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(kubectl);
    command.arg("--kubeconfig").arg(kubeconfig).args(arguments);
    command
}
