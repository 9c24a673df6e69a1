//! A real API server with a real etcd behind it: on loopback, with RBAC, ready a few seconds after its start.
//!
//! Its methods block, so that tests read as plain sequences; the client's tasks run on a thread of their own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::{env, fs, io, process, thread};

use kube::{Client, Config};
use serde_json::json;
use tokio::runtime::Handle;

use crate::port::Port;
use crate::supervised::Supervised;
use crate::wait::{seconds, until_true};

pub(crate) struct Cluster {
    /// What the API server is.
    program: PathBuf,
    directory: PathBuf,
    etcd_port: Port,
    port: Port,
    background: Handle,
    /// With every right there is.
    pub(crate) admin: Client,
    api_server: Mutex<Option<Supervised>>,
    _etcd: Supervised,
}

impl Cluster {
    /// The one that tests share, each in a namespace of its own; none when the tools are not there.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// One that a test may mistreat.
    pub(crate) fn start() -> Option<Self> {
        Self::of("kube-apiserver")
    }

    /// The oldest Kubernetes that the chart lets itself be installed into; shared, too.
    pub(crate) fn oldest() -> Option<&'static Self> {
        static OLDEST: OnceLock<Option<Cluster>> = OnceLock::new();
        let start = || if has(&tools()?, OLDEST_API_SERVER) { Self::of(OLDEST_API_SERVER) } else { None };
        OLDEST.get_or_init(start).as_ref()
    }

    fn of(program: &'static str) -> Option<Self> {
        let tools = tools()?;
        let directory = scratch_directory();
        let (etcd_port, port) = (Port::reserve(), Port::reserve());
        let etcd = start_etcd(&tools, &directory, &etcd_port);
        let api_server = start_api_server(&tools.join(program), &directory, &etcd_port, &port);
        let background = background();
        let admin = admin(&directory, &port, &background);
        let cluster = Self {
            program: tools.join(program),
            directory,
            etcd_port,
            port,
            background,
            admin,
            api_server: Mutex::new(Some(api_server)),
            _etcd: etcd,
        };
        cluster.wait_until_ready();
        Some(cluster)
    }

    pub(crate) fn stop_api_server(&self) {
        drop(self.api_server.lock().expect("no test panics here").take());
    }

    /// Starts it again, at the same address and with the same objects.
    pub(crate) fn restart_api_server(&self) {
        self.stop_api_server();
        let api_server = Some(start_api_server(&self.program, &self.directory, &self.etcd_port, &self.port));
        *self.api_server.lock().expect("no test panics here") = api_server;
        self.wait_until_ready();
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port.number())
    }

    /// Which Kubernetes it is, such as `v1.31.4`.
    pub(crate) fn version(&self) -> String {
        self.run(self.admin.apiserver_version()).expect("it answers").git_version
    }

    /// A file with which Helm has every right there is.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        let file = self.directory.join("admin.kubeconfig");
        let cluster = json!({"server": self.url(), "certificate-authority": self.certificate_authority()});
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "admin",
            "contexts": [{"name": "admin", "context": {"cluster": "admin", "user": "admin"}}],
            "clusters": [{"name": "admin", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": ADMIN_TOKEN}}],
        });
        // Another test may be reading it.
        let new = tempfile::NamedTempFile::new_in(&self.directory).expect("the folder is writable");
        fs::write(new.path(), kubeconfig.to_string()).expect("it was just made");
        new.persist(&file).expect("the folder is writable");
        file
    }

    /// Who asked for what, one JSON object a line.
    pub(crate) fn audit_log(&self) -> String {
        fs::read_to_string(audit_log(&self.directory)).expect("the API server keeps it")
    }

    pub(crate) fn certificate_authority(&self) -> PathBuf {
        certificate(&self.directory)
    }

    /// A folder that goes away with the cluster.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs something that awaits, such as a request, to its end.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.background.block_on(future)
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.background.spawn(future);
    }

    /// Ready means that the roles of the system are there too, not only that somebody answers.
    fn wait_until_ready(&self) {
        let log = self.directory.join("kube-apiserver.log");
        until_true(&format!("the API server is ready; see {}", log.display()), seconds(60), || {
            let request = hyper::Request::get("/readyz").body(Vec::new()).expect("the request is valid");
            self.run(self.admin.request_text(request)).is_ok()
        });
    }
}

/// The folder with the executables, or one line that says why there is none.
pub(crate) fn tools() -> Option<PathBuf> {
    static TOOLS: OnceLock<Option<PathBuf>> = OnceLock::new();
    TOOLS.get_or_init(find_tools).clone()
}

const PROGRAMS: [&str; 5] = ["etcd", "kube-apiserver", "helm-3.12", "helm-3", "helm-4"];
const OLDEST_API_SERVER: &str = "kube-apiserver-oldest";

fn find_tools() -> Option<PathBuf> {
    let Some(tools) = env::var_os("TEST_TOOLS").map(PathBuf::from) else {
        skip("TEST_TOOLS is not set");
        return None;
    };
    PROGRAMS.into_iter().all(|name| has(&tools, name)).then_some(tools)
}

fn has(tools: &Path, program: &str) -> bool {
    let is_there = tools.join(program).is_file();
    if !is_there {
        skip(&format!("there is no {program} in {}", tools.display()));
    }
    is_there
}

fn skip(missing: &str) {
    let required = env::var_os("TEST_TOOLS_REQUIRED").is_some_and(|value| value == "1");
    assert!(!required, "TEST_TOOLS_REQUIRED is set, but {missing}");
    // Not by a macro, whose output the test harness would keep to itself.
    let _ = writeln!(io::stderr(), "skipped: tests with an API server, since {missing}");
}

fn scratch_directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("cluster-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).expect("the folder for temporary files is writable");
    directory
}

fn start_etcd(tools: &Path, directory: &Path, port: &Port) -> Supervised {
    let url = format!("http://127.0.0.1:{}", port.number());
    let mut command = Command::new(tools.join("etcd"));
    command.arg("--data-dir").arg(directory.join("etcd"));
    command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
    // A cluster of one never talks to its peers, but insists on an address for them.
    command.args(["--listen-peer-urls", "http://127.0.0.1:0"]);
    command.arg("--unsafe-no-fsync");
    Supervised::start(&command, &directory.join("etcd.log"), Some(directory))
}

fn start_api_server(program: &Path, directory: &Path, etcd_port: &Port, port: &Port) -> Supervised {
    let tokens = directory.join("tokens.csv");
    fs::write(&tokens, format!("{ADMIN_TOKEN},admin,admin,system:masters\n")).expect("the folder is writable");
    // The server makes its own certificate at start. The key to it signs the tokens of service accounts as well,
    // which saves the tests from making keys.
    let key = directory.join("certificates/apiserver.key");
    let mut command = Command::new(program);
    command.args(["--etcd-servers", &format!("http://127.0.0.1:{}", etcd_port.number())]);
    command.args(["--bind-address", "127.0.0.1", "--secure-port", &port.number().to_string()]);
    command.arg("--cert-dir").arg(directory.join("certificates"));
    command.args(["--authorization-mode", "RBAC"]).arg("--token-auth-file").arg(tokens);
    command.args(["--service-account-issuer", "https://issuer.invalid"]);
    command.arg("--service-account-signing-key-file").arg(&key);
    command.arg("--service-account-key-file").arg(&key);
    command.args(["--service-cluster-ip-range", "10.96.0.0/24"]);
    let policy = directory.join("audit-policy.json");
    fs::write(&policy, AUDIT_POLICY).expect("the folder is writable");
    command.arg("--audit-policy-file").arg(policy).arg("--audit-log-path").arg(audit_log(directory));
    command.args(["--audit-log-maxsize", "10000"]);
    Supervised::start(&command, &directory.join("kube-apiserver.log"), None)
}

/// Only what service accounts do, without the contents.
const AUDIT_POLICY: &str = r#"{
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]
}"#;

fn audit_log(directory: &Path) -> PathBuf {
    directory.join("audit.log")
}

const ADMIN_TOKEN: &str = "admin-token";

fn certificate(directory: &Path) -> PathBuf {
    directory.join("certificates/apiserver.crt")
}

/// A thread that drives the connections of the clients, for as long as the tests run.
fn background() -> Handle {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there is a runtime");
    let handle = runtime.handle().clone();
    thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}

fn admin(directory: &Path, port: &Port, background: &Handle) -> Client {
    let certificate = certificate(directory);
    // It is there before anything is in it.
    let is_whole = || fs::read_to_string(&certificate).is_ok_and(|text| text.ends_with("-----END CERTIFICATE-----\n"));
    until_true("the API server has made its certificate", seconds(30), is_whole);
    let url = format!("https://127.0.0.1:{}", port.number()).parse().expect("the address is valid");
    let mut config = Config::new(url);
    config.root_cert_file = Some(certificate);
    config.auth_info.token = Some(ADMIN_TOKEN.to_owned().into());
    config.default_retry = false;
    let _inside = background.enter();
    Client::try_from(config).expect("the client is valid")
}
