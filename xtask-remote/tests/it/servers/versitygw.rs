//! A real S3: versitygw over a folder, with a private, versioned bucket.
//!
//! Unlike AWS it refuses `If-None-Match: *` over a delete marker, and never answers 409 (`Proxy` does).

#![expect(clippy::disallowed_methods, reason = "tests start processes of their own")]

use std::process::Command;

use tempfile::TempDir;

use super::child::{Served, folder_on_disk};
use super::client::{Ask, Reply};
use super::signature::{Credentials, Signed, encoded};
use crate::support::{free_port, http_status, tool};

pub const REGION: &str = "us-east-1";
const FOLDERS: [&str; 2] = ["data", "versions"];

/// A running server with one bucket.
pub struct Versitygw {
    pub port: u16,
    pub bucket: String,
    pub credentials: Credentials,
    served: Served,
}

impl Versitygw {
    /// A server with an empty bucket of that name; nothing (said once) where versitygw is not installed.
    pub fn start(bucket: &str) -> Option<Self> {
        let server = Self::without_bucket(bucket)?;
        server.make_bucket(bucket);
        Some(server)
    }

    /// The same, where somebody else makes the bucket.
    pub fn without_bucket(bucket: &str) -> Option<Self> {
        let program = tool("versitygw")?;
        let (port, folder) = (free_port(), folder_on_disk());
        let [data, versions] = FOLDERS.map(|name| folder.join(name));
        for folder in [&data, &versions] {
            std::fs::create_dir(folder).unwrap();
        }
        let credentials =
            Credentials { access_key: "canary-access-key".into(), secret_key: "canary-secret-key".into() };
        let mut command = Command::new(program);
        command.arg("--port").arg(format!("127.0.0.1:{port}")).args(["--region", REGION, "--health", "/health"]);
        command.args(["posix", "--versioning-dir"]).arg(versions).arg(data);
        command.env("ROOT_ACCESS_KEY", &credentials.access_key).env("ROOT_SECRET_KEY", &credentials.secret_key);
        let health = format!("http://127.0.0.1:{port}/health");
        let served = Served::start(folder, &command, || http_status(&health) == Some(200));
        Some(Versitygw { port, bucket: bucket.into(), credentials, served })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// One more bucket, versioned too.
    pub fn make_bucket(&self, bucket: &str) {
        const VERSIONED: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        self.ask("PUT", &format!("/{bucket}"), "", b"").send().unwrap().is(200);
        self.ask("PUT", &format!("/{bucket}"), "versioning=", VERSIONED.as_bytes()).send().unwrap().is(200);
    }

    /// A signed request for any path, to be sent or given more headers.
    pub fn ask(&self, method: &str, path: &str, query: &str, body: &[u8]) -> Ask {
        self.ask_as(&self.credentials, method, path, query, body)
    }

    fn ask_as(&self, who: &Credentials, method: &str, path: &str, query: &str, body: &[u8]) -> Ask {
        let host = format!("127.0.0.1:{}", self.port);
        let path = encoded(path);
        Signed { service: "s3", region: REGION, method, host: &host, path: &path, query, body }.ask(who)
    }

    /// A signed request for an object.
    pub fn object(&self, method: &str, key: &str, body: &[u8]) -> Ask {
        self.ask(method, &format!("/{}/{key}", self.bucket), "", body)
    }

    /// The same of somebody else.
    pub fn object_as(&self, who: &Credentials, method: &str, key: &str, body: &[u8]) -> Ask {
        self.ask_as(who, method, &format!("/{}/{key}", self.bucket), "", body)
    }

    /// Puts an object as a publisher would, past every proxy.
    pub fn put(&self, key: &str, body: &[u8], headers: &[(&str, &str)]) -> Reply {
        let ask = self.object("PUT", key, body);
        headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send().unwrap().is(200)
    }

    /// An object and its headers, if it is there.
    pub fn get(&self, key: &str) -> Option<Reply> {
        let reply = self.object("GET", key, b"").send().unwrap();
        (reply.status != 404).then(|| reply.is(200))
    }

    pub fn delete(&self, key: &str) {
        self.object("DELETE", key, b"").send().unwrap().is(204);
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<String> {
        self.ask("GET", &format!("/{}", self.bucket), "list-type=2", b"").send().unwrap().is(200).elements("Key")
    }

    /// The ids of all versions of an object, newest first.
    pub fn versions(&self, key: &str) -> Vec<String> {
        let query = format!("prefix={}&versions=", encoded(key).replace('/', "%2F"));
        let listed = self.ask("GET", &format!("/{}", self.bucket), &query, b"").send().unwrap().is(200);
        let of_key = listed.elements("Version").into_iter().filter(|one| one.contains(&format!("<Key>{key}</Key>")));
        let id = |one: String| one.split_once("<VersionId>").unwrap().1.split('<').next().unwrap().to_owned();
        of_key.map(id).collect()
    }

    /// The bytes of one version of an object.
    pub fn version(&self, key: &str, id: &str) -> Vec<u8> {
        let path = format!("/{}/{key}", self.bucket);
        self.ask("GET", &path, &format!("versionId={id}"), b"").send().unwrap().is(200).body
    }

    /// The bucket is gone, with every version, as if it had been deleted by its owner.
    pub fn lose_bucket(&self) {
        for folder in FOLDERS {
            std::fs::remove_dir_all(self.served.folder().join(folder).join(&self.bucket)).ok();
        }
    }

    /// A copy of every bucket, to come back to.
    pub fn keep(&self) -> TempDir {
        self.served.keep(&FOLDERS)
    }

    /// Makes every bucket what it was.
    pub fn restore(&self, kept: &TempDir) {
        self.served.restore(&FOLDERS, kept);
    }

    /// Where everything is kept.
    pub fn folder(&self) -> &std::path::Path {
        self.served.folder()
    }

    /// What the server said.
    pub fn log(&self) -> String {
        self.served.log()
    }
}
