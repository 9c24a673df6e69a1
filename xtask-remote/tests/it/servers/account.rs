//! An AWS account before anything is deployed into it: a zone and a certificate, and servers that stand in for the rest.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use xtask_remote::deploy::app::App;

use super::client::Reply;
use super::cloudformation::CloudFormation;
use super::rights::{self, Need};
use super::{CloudFront, Dialect, Edge, Moto, Proxy, Registry, Versitygw};
use crate::folders::copy_tree;
use crate::support::{Demo, Run, git, root, script, tool};

/// The stack that is deployed.
pub const STACK: &str = "demo-charts";
/// The host name that charts are to be served from.
const DOMAIN: &str = "charts.example.com";

/// Everything that a deployment meets.
pub struct Account {
    pub demo: Demo,
    pub store: Arc<Versitygw>,
    /// Before the store. The edge does not go through it.
    pub s3: Proxy,
    pub cloudformation: CloudFormation,
    pub cloudfront: CloudFront,
    pub edge: Edge,
    pub zone: String,
    pub certificate: String,
    pub home: TempDir,
    moto: Moto,
}

impl Account {
    /// An account with nothing in it; nothing (said once) where a tool is missing.
    pub fn new() -> Option<Self> {
        let packages = packages()?;
        let moto = Moto::empty()?;
        let store = Arc::new(Versitygw::without_bucket(&format!("kube9-charts-{}", moto.account))?);
        let s3 = Proxy::before(store.port, Dialect::S3);
        let edge = Edge::before(&store);
        let cloudformation = CloudFormation::before(&moto, &store);
        let cloudfront = CloudFront::before(&moto, Some(edge.caches()));
        let (zone, certificate) = (make_zone(&moto, "example.com"), make_certificate(&moto, "*.example.com"));
        let demo = Demo::in_memory();
        let home = tempfile::tempdir().unwrap();
        let account = Account { demo, store, s3, cloudformation, cloudfront, edge, zone, certificate, home, moto };
        account.set_up(packages);
        Some(account)
    }

    fn set_up(&self, packages: &Packages) {
        let infrastructure = self.demo.root().join("infrastructure");
        std::fs::create_dir(&infrastructure).unwrap();
        copy_sources(&infrastructure);
        std::os::unix::fs::symlink(&packages.node_modules, infrastructure.join("node_modules")).unwrap();
        std::fs::copy(self.edge.authority(), self.authorities()).unwrap();
        self.write_target();
    }

    fn write_target(&self) {
        let table = format!(
            "\n[workspace.metadata.release.targets.production]\nimage = \"localhost:9/team/demo\"\nrepository = \"{}\"\n\
             stack = \"{STACK}\"\nregion = \"us-east-1\"\nbuilder = \"embedded\"\nscan = \"if-installed\"\n\
             plain-http-registry = true\nendpoints = {{ s3 = \"{}\", cloudfront = \"{}\", cloudformation = \"{}\" }}\n",
            self.edge.url(),
            self.s3.url(),
            self.cloudfront.proxy.url(),
            self.cloudformation.proxy.url(),
        );
        self.demo.write("Cargo.toml", self.demo.read("Cargo.toml") + &table);
    }

    /// The target with a registry, and a remote that has its commit: what a release needs beside what is deployed.
    pub fn join(&self, registry: &Registry, origin: &Path) {
        let manifest = self.demo.read("Cargo.toml").replace("localhost:9/", &format!("{}/", registry.name()));
        self.demo.write("Cargo.toml", manifest);
        std::fs::write(self.home.path().join("config.json"), registry.docker_config()).unwrap();
        self.push_to(origin);
    }

    /// The infrastructure as it is in a fresh clone.
    pub fn forget_packages(&self) {
        std::fs::remove_file(self.demo.root().join("infrastructure/node_modules")).unwrap();
    }

    /// Commits everything, and pushes it to a new remote.
    pub fn push_to(&self, origin: &Path) {
        self.demo.commit("publish to what is deployed");
        git(origin, &["init", "--quiet", "--bare", "--initial-branch=main"]);
        self.demo.git(&["remote", "add", "origin", origin.to_str().unwrap()]);
        self.demo.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
    }

    /// The tool, as somebody runs it who may deploy.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.demo.command(arguments);
        let who = &self.store.credentials;
        for (name, _) in std::env::vars()
            .filter(|(name, _)| ["AWS_", "CHARTS_", "GITHUB_"].iter().any(|stray| name.starts_with(stray)))
        {
            command.env_remove(name);
        }
        command
            .env("PATH", with_programs(&packages().unwrap().programs))
            .env("HOME", self.home.path())
            .env("DOCKER_CONFIG", self.home.path())
            .env("AWS_ACCESS_KEY_ID", &who.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &who.secret_key)
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_ACCOUNT_ID", self.number())
            .env("CHARTS_CERTIFICATE_ARN", &self.certificate)
            .env("CHARTS_HOSTED_ZONE_ID", &self.zone)
            .env("CHARTS_BREAK_GLASS", self.caller())
            .envs(self.servers())
            .envs([("GIT_AUTHOR_NAME", "Test"), ("GIT_AUTHOR_EMAIL", "test@example.com")])
            .envs([("GIT_COMMITTER_NAME", "Test"), ("GIT_COMMITTER_EMAIL", "test@example.com")]);
        command
    }

    /// What the repository on GitHub is told of the account, by the names that workflows know.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("secrets.AWS_ACCOUNT_ID", self.number().into()),
            ("secrets.CHARTS_CERTIFICATE_ARN", self.certificate.clone()),
            ("secrets.CHARTS_HOSTED_ZONE_ID", self.zone.clone()),
            ("vars.CHARTS_BREAK_GLASS", self.caller()),
        ]
    }

    /// What leads a machine to the servers that stand in for AWS's. They serve charts at another name than the one in DNS.
    pub fn servers(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.cloudformation.proxy.url()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            // The CDK CLI remembers whose credentials are whose, and looks for that in the user's home, whatever HOME says.
            ("CDK_HOME", self.home.path().join("cdk").display().to_string()),
            ("CDK_VALIDATION", "false".into()),
            ("CHARTS_DOMAIN", DOMAIN.into()),
            ("SSL_CERT_FILE", self.authorities().display().to_string()),
        ]
    }

    /// A deployment that asks nobody, with more words.
    pub fn deploy(&self, words: &[&str]) -> Run {
        self.deploy_with(words, &[])
    }

    /// The same with variables of its own; an empty one is one that nobody has set.
    pub fn deploy_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Run {
        let mut command = self.command(&[&["deploy-infra", "--yes", "--json"], words].concat());
        command.envs(variables.iter().copied());
        Run::of(command)
    }

    /// What a deployment would do, with variables of its own.
    pub fn plan(&self, variables: &[(&str, &str)]) -> Run {
        let mut command = self.command(&["deploy-infra", "--plan", "--json"]);
        command.envs(variables.iter().copied());
        Run::of(command)
    }

    /// Charts that the public address serves before anything is deployed here, from a bucket `old`.
    pub fn serve_old_charts(&self, charts: &[(&str, &str, &[u8])]) -> Edge {
        self.store.make_bucket("old");
        let put = |key: &str, body: &[u8]| {
            self.store.ask("PUT", &format!("/old/{key}"), "", body).send().unwrap().is(200);
        };
        let mut index = "apiVersion: v1\nentries:\n  demo:\n".to_owned();
        for (chart, version, archive) in charts {
            put(&format!("{chart}-{version}.tgz"), archive);
            let digest = xtask::oci::sha256_hex(archive);
            index += &format!(
                "  - name: {chart}\n    version: {version}\n    digest: {digest}\n    created: \"2024-01-01T00:00:00Z\"\n    \
                 unknown: {{a: 1.50}}\n    urls:\n    - {chart}-{version}.tgz\n"
            );
        }
        put("index.yaml", (index + "generated: \"2024-01-01T00:00:00Z\"\n").as_bytes());
        let edge = Edge::before_bucket(&self.store, "old");
        let both = [&self.edge, &edge].map(|edge| std::fs::read_to_string(edge.authority()).unwrap()).concat();
        std::fs::write(self.authorities(), both).unwrap();
        let manifest = self.demo.read("Cargo.toml").replace(&self.edge.url(), &edge.url());
        self.demo.write("Cargo.toml", manifest);
        edge
    }

    fn authorities(&self) -> PathBuf {
        self.home.path().join("authorities.pem")
    }

    pub fn status(&self) -> Option<String> {
        self.cloudformation.status(STACK)
    }

    pub fn has_bucket(&self) -> bool {
        self.store.ask("HEAD", &format!("/{}", self.store.bucket), "", b"").send().unwrap().status == 200
    }

    /// Its 12 digits.
    pub fn number(&self) -> &str {
        &self.moto.account
    }

    /// Whom moto takes everybody for.
    fn caller(&self) -> String {
        format!("arn:aws:iam::{}:user/moto", self.number())
    }

    /// What was needed so far to be let do what was asked of AWS, in lists that only grow.
    pub fn asked(&self) -> Vec<Vec<Need>> {
        let of_others =
            |asked: Vec<super::Asked>| asked.iter().flat_map(|asked| rights::of_others(asked, self.number())).collect();
        vec![
            self.s3.seen().iter().flat_map(rights::of_s3).collect(),
            of_others(self.cloudformation.asked()),
            of_others(self.cloudfront.asked()),
        ]
    }

    /// A distribution, as CloudFront tells it.
    pub fn distribution(&self, id: &str) -> Reply {
        self.moto.told_distribution(id)
    }

    /// The ids of all distributions.
    pub fn distributions(&self) -> Vec<String> {
        self.moto.distributions()
    }

    /// One more certificate.
    pub fn make_certificate(&self, name: &str) -> String {
        make_certificate(&self.moto, name)
    }

    /// One more zone.
    pub fn make_zone(&self, name: &str) -> String {
        make_zone(&self.moto, name)
    }
}

fn make_zone(moto: &Moto, name: &str) -> String {
    let body = format!(
        "<CreateHostedZoneRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Name>{name}</Name>\
         <CallerReference>{name}</CallerReference></CreateHostedZoneRequest>"
    );
    let reply = moto.ask("route53", "POST", "/2013-04-01/hostedzone", &body).is(201);
    reply.elements("Id").remove(0).trim_start_matches("/hostedzone/").to_owned()
}

fn make_certificate(moto: &Moto, name: &str) -> String {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let (certificate, key) = (base64(certificate.pem().as_bytes()), base64(key.serialize_pem().as_bytes()));
    let body = serde_json::json!({"Certificate": certificate, "PrivateKey": key}).to_string();
    let reply = moto.call("acm", "CertificateManager.ImportCertificate", &body).is(200);
    reply.json()["CertificateArn"].as_str().unwrap().to_owned()
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let number = three.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        let digit =
            |place: usize| if place > three.len() { '=' } else { char::from(DIGITS[number >> (18 - 6 * place) & 63]) };
        (0..4).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// The infrastructure's own sources, without what npm installs.
fn copy_sources(to: &Path) {
    for entry in std::fs::read_dir(sources()).unwrap() {
        let entry = entry.unwrap();
        if ["node_modules", "cdk.out", "test"].iter().any(|skipped| entry.file_name() == *skipped) {
            continue;
        }
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_tree(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn sources() -> PathBuf {
    root().join("infrastructure")
}

/// A value for PATH where node and npm come first.
fn with_programs(programs: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap();
    let folders = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap()
}

/// The infrastructure's packages, and what runs them.
pub struct Packages {
    /// node and npm.
    pub programs: PathBuf,
    pub node_modules: PathBuf,
    /// What npm fetched for them.
    pub fetched: PathBuf,
}

/// Those that `cargo xtask ci` installed and fetched; where it did not, they are installed once for these tests, and kept for as long as
/// the lock file stays the same.
pub fn packages() -> Option<&'static Packages> {
    static PACKAGES: OnceLock<Option<Packages>> = OnceLock::new();
    let packages = PACKAGES.get_or_init(|| {
        let (node, npm) = (tool("node")?, tool("npm")?);
        let ours = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (programs, fetched) = (ours.join("node"), ours.join("npm"));
        std::fs::create_dir_all(&programs).unwrap();
        // Wherever they come from: a folder of pinned tools keeps each under a name, and npm looks for its own files beside itself.
        for (name, program) in [("node", "exec \"$node\" \"$@\""), ("npm", "exec \"$node\" \"$npm\" \"$@\"")] {
            let [node, npm] = [&node, &npm].map(|program| program.canonicalize().unwrap());
            script(&programs.join(name), &format!("node='{}' npm='{}'\n{program}\n", node.display(), npm.display()));
        }
        let folder = if App::new(&root()).has_packages().unwrap() && fetched.exists() {
            sources()
        } else {
            install(&programs, &fetched)
        };
        Some(Packages { programs, node_modules: folder.join("node_modules"), fetched })
    });
    packages.as_ref()
}

/// A workspace's folder in which the packages are installed.
fn install(programs: &Path, fetched: &Path) -> PathBuf {
    let lock = std::fs::read(sources().join("package-lock.json")).unwrap();
    let digest = xtask::oci::sha256_hex(&lock);
    let workspace = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("packages-{}", &digest[..12]));
    let folder = workspace.join("infrastructure");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(sources().join(name), folder.join(name)).unwrap();
    }
    if !App::new(&workspace).has_packages().unwrap() {
        let mut install = Command::new(programs.join("npm"));
        install
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache"])
            .arg(fetched)
            .current_dir(&folder)
            .env("PATH", with_programs(programs));
        Run::of(install).ok();
    }
    folder
}
