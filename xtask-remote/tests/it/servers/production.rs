//! All of production on this machine: a workspace with a target of these servers, and everything a publisher has.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::BTreeMap;
use std::process::Command;

use tempfile::TempDir;
use xtask::trust::key::SigningKey;

use super::client::Ask;
use super::rights::{self, Need};
use super::{CloudFront, Dialect, Edge, Moto, Observer, Proxy, Publication, Registry, Stack, Versitygw, Watch};
use crate::support::{Demo, PAGELESS, Run, UNSIGNED, git};

/// The path of the image in its registry.
pub const IMAGE: &str = "team/demo";

/// The variable that the key is in.
pub const SIGNING_KEY: &str = "SIGNING_KEY";

/// A workspace whose target `production` is made of servers on this machine.
pub struct Production {
    pub demo: Demo,
    pub store: Versitygw,
    /// Before the store: faults of S3 are injected here. The edge does not go through it.
    pub s3: Proxy,
    pub moto: Moto,
    pub cloudfront: CloudFront,
    pub registry: Registry,
    pub edge: Edge,
    home: TempDir,
    /// What signs for whoever is given it, as a private key (PEM).
    pub signing_key: String,
    /// Where the workspace's commits are pushed to.
    pub origin: TempDir,
}

impl Production {
    /// Everything is there, and nothing was released: the bucket holds an empty index.
    pub fn new() -> Option<Self> {
        let production = Self::bare()?;
        let index = r#"{"apiVersion":"v1","entries":{}}"#;
        let headers = [("content-type", "application/json"), ("cache-control", "public, max-age=300")];
        production.store.put("index.yaml", index.as_bytes(), &headers);
        Some(production)
    }

    /// The same with an empty bucket.
    pub fn bare() -> Option<Self> {
        let store = Versitygw::start("demo-charts")?;
        let registry = Registry::start()?;
        let edge = Edge::before(&store);
        let stack = Stack { name: "demo-charts".into(), bucket: store.bucket.clone(), repository: edge.url() };
        let moto = Moto::start(&stack)?;
        let cloudfront = CloudFront::before(&moto, Some(edge.caches()));
        let s3 = Proxy::before(store.port, Dialect::S3);
        let (home, origin) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(home.path().join("config.json"), registry.docker_config()).unwrap();
        let signing_key = SigningKey::generate().unwrap();
        let public = SigningKey::from_pem(&signing_key, &"a test").unwrap().public();
        std::fs::write(home.path().join("signing-key.pub"), public.to_pem()).unwrap();
        let demo = Demo::in_memory();
        let production = Production { demo, store, s3, moto, cloudfront, registry, edge, home, signing_key, origin };
        production.join(&production.demo);
        Some(production)
    }

    /// Gives a workspace the target, and a remote that has its commit.
    pub fn join(&self, demo: &Demo) {
        let manifest = demo.read("Cargo.toml");
        demo.write("Cargo.toml", manifest + &self.target("production", &self.cloudfront.proxy));
        demo.commit("publish to production");
        git(self.origin.path(), &["init", "--quiet", "--template=", "--bare", "--initial-branch=main"]);
        demo.git(&["remote", "add", "origin", self.origin.path().to_str().unwrap()]);
        demo.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
    }

    fn target(&self, name: &str, aws: &Proxy) -> String {
        format!(
            "\n[workspace.metadata.release.targets.{name}]\nimage = \"{}/{IMAGE}\"\nrepository = \"{}\"\n\
             stack = \"demo-charts\"\nregion = \"us-east-1\"\nbuilder = \"embedded\"\nscan = \"if-installed\"\n\
             plain-http-registry = true\nregistry-token = \"GITHUB_TOKEN\"\n\
             signers = [{{ key = \"{}\" }}]\nsigning = {{ variable = \"{SIGNING_KEY}\" }}\n{UNSIGNED}{PAGELESS}\
             endpoints = {{ s3 = \"{}\", cloudfront = \"{}\", cloudformation = \"{}\" }}\n",
            self.registry.name(),
            self.edge.url(),
            self.home.path().join("signing-key.pub").display(),
            self.s3.url(),
            aws.url(),
            aws.url(),
        )
    }

    /// The tool in the workspace, with everything a publisher has.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.equip(self.demo.command(arguments))
    }

    /// Gives a command a publisher's credentials.
    pub fn equip(&self, mut command: Command) -> Command {
        let who = &self.store.credentials;
        command
            .env("AWS_ACCESS_KEY_ID", &who.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &who.secret_key)
            .env("DOCKER_CONFIG", self.home.path())
            .env(SIGNING_KEY, &self.signing_key);
        self.acquaint(command)
    }

    /// Gives a command what anybody has: trust in the edge, and a name to commit by.
    pub fn acquaint(&self, mut command: Command) -> Command {
        command
            .env("SSL_CERT_FILE", self.edge.authority())
            .env_remove("GITHUB_TOKEN")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .envs([("GIT_AUTHOR_NAME", "Test"), ("GIT_AUTHOR_EMAIL", "test@example.com")])
            .envs([("GIT_COMMITTER_NAME", "Test"), ("GIT_COMMITTER_EMAIL", "test@example.com")]);
        command
    }

    pub fn xtask(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments))
    }

    /// A release to production, with more words.
    pub fn release(&self, words: &[&str]) -> Run {
        self.xtask(&[&["release", "--to", "production"], words].concat())
    }

    /// What was needed so far to be let do what was asked of AWS, in lists that only grow.
    pub fn asked(&self) -> Vec<Vec<Need>> {
        let others = self.cloudfront.asked();
        vec![
            self.s3.seen().iter().flat_map(rights::of_s3).collect(),
            others.iter().flat_map(|asked| rights::of_others(asked, &self.moto.account)).collect(),
        ]
    }

    /// A user who looks all the time, through the location that `release` does not use.
    pub fn observe(&self) -> Observer {
        Observer::start(&self.publication())
    }

    /// The same user, who looks when told to.
    pub fn watch(&self) -> Watch {
        Watch::of(&self.publication())
    }

    fn publication(&self) -> Publication<'_> {
        let (edge, registry) = (&self.edge, &self.registry);
        let changes = [&self.s3, &registry.proxy, &self.cloudfront.proxy].map(Proxy::changes).to_vec();
        Publication { edge, location: 1, registry, image: IMAGE, chart: "demo", changes }
    }

    /// The public index through a location of the edge.
    pub fn index(&self, location: usize) -> serde_json::Value {
        self.edge.get(location, "/index.yaml").is(200).json()
    }

    /// The listed versions, as users see them at a location.
    pub fn versions(&self, location: usize) -> Vec<String> {
        versions(&self.index(location))
    }

    /// Every version that a writing of the index left out and the one before it had: who looks from outside may miss what comes back.
    pub fn dropped(&self) -> Vec<String> {
        let ids = self.store.versions("index.yaml");
        let writings = ids.iter().rev().map(|id| self.store.version("index.yaml", id));
        let writings = writings.map(|bytes| versions(&serde_json::from_slice(&bytes).unwrap()));
        let writings: Vec<Vec<String>> = writings.collect();
        let pairs = writings.iter().zip(writings.iter().skip(1));
        pairs.flat_map(|(old, new)| old.iter().filter(|version| !new.contains(version)).cloned()).collect()
    }

    /// Every object of the bucket, with its bytes.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.store.keys().into_iter().map(|key| (key.clone(), self.store.get(&key).unwrap().body)).collect()
    }

    /// A manifest or blob of the image, as the registry gives it to anonymous users.
    pub fn part(&self, digest: &str) -> Option<Vec<u8>> {
        let token = format!("{}/token?scope=repository:{IMAGE}:pull", self.registry.url());
        let token = Ask::get(&token).send().unwrap().json()["token"].as_str().unwrap().to_owned();
        ["manifests", "blobs"].into_iter().find_map(|kind| {
            let ask = Ask::get(&format!("{}/v2/{IMAGE}/{kind}/{digest}", self.registry.url()));
            let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
            let ask = ask.header("accept", accept).header("authorization", &format!("Bearer {token}"));
            let reply = ask.send().unwrap();
            (reply.status == 200).then_some(reply.body)
        })
    }

    /// Whether an image was pushed, whoever may see it.
    pub fn is_pushed(&self, image: &str, digest: &str) -> bool {
        let url = format!("{}/v2/{image}/manifests/{digest}", self.registry.url());
        let ask = Ask::get(&url).header("accept", "application/vnd.oci.image.index.v1+json");
        ask.header("authorization", &self.registry.authorization()).send().unwrap().status == 200
    }

    /// Every tag of the image, and the digest it leads to.
    pub fn tags(&self) -> BTreeMap<String, String> {
        self.tags_of(IMAGE)
    }

    /// The same of another image.
    pub fn tags_of(&self, image: &str) -> BTreeMap<String, String> {
        let ask = |path: String| {
            let url = format!("{}/v2/{image}/{path}", self.registry.url());
            let accept = "application/vnd.oci.image.index.v1+json";
            let ask = Ask::get(&url).header("accept", accept);
            ask.header("authorization", &self.registry.authorization()).send().unwrap()
        };
        let list = ask("tags/list".into());
        let names = list.json()["tags"].as_array().cloned().unwrap_or_default();
        let names = names.iter().map(|name| name.as_str().unwrap().to_owned());
        // Lists of what refers to a digest have tags, too, where the registry keeps none itself.
        names
            .filter(|name| !name.starts_with("sha256-"))
            .map(|name| {
                (name.clone(), ask(format!("manifests/{name}")).header("docker-content-digest").unwrap().to_owned())
            })
            .collect()
    }
}

/// What an index lists.
fn versions(index: &serde_json::Value) -> Vec<String> {
    let entries = index["entries"]["demo"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["version"].as_str().unwrap().to_owned()).collect()
}
