//! A real registry, open for pulling and closed for pushing, as a public package on GitHub's is.
//!
//! The distribution project's registry asks nobody who they are; a front before it does, by the rules of the project's "Token
//! Authentication Specification": nobody gets anything without a token, anybody gets one for pulling, and whoever has the password
//! gets one for pushing. The front is a fake. It decides what a token server decides, and nothing about images.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use tempfile::TempDir;
use xtask::oci::Layout;

use super::child::{Served, folder};
use super::client::Ask;
use super::fault::Dialect;
use super::proxy::{Answer, Asked, Proxy, Way};
use crate::support::{free_port, http_status, tool};

/// The one account that may push.
pub const USER: &str = "publisher";
/// No output may ever show it.
pub const PASSWORD: &str = "canary-registry-password";
/// Both as HTTP's basic authentication spells them.
const BASIC: &str = "cHVibGlzaGVyOmNhbmFyeS1yZWdpc3RyeS1wYXNzd29yZA==";
const STORAGE: &str = "storage";
const ANONYMOUS: &str = "anonymous";

/// What a job's token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packages {
    None,
    Read,
    Write,
}

/// The tokens of workflows, each with the rights of its job: GitHub's registry takes one in place of a password.
type Workflows = Arc<Mutex<BTreeMap<String, Packages>>>;

/// What such a token is exchanged for.
const MAY_PULL: &str = "of-a-workflow-pull";
const MAY_PUSH: &str = "of-a-workflow-pull-push";

/// A running registry.
pub struct Registry {
    /// Its only entrance; faults are injected here.
    pub proxy: Proxy,
    private: Arc<AtomicBool>,
    workflows: Workflows,
    served: Served,
}

impl Registry {
    /// An empty registry; nothing (said once) where the registry is not installed.
    pub fn start() -> Option<Self> {
        let program = tool("docker-registry")?;
        let (behind, port) = (free_port(), free_port());
        let place = folder();
        let storage = place.join(STORAGE);
        std::fs::create_dir(&storage).unwrap();
        let config = place.join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
             rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{behind}\n  relativeurls: true\n  secret: tests\n",
            storage.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(&program);
        command.arg("serve").arg(config).env("OTEL_TRACES_EXPORTER", "none");
        // It lives for a test: collecting garbage took a quarter of all that it computed.
        command.env("GOGC", "off").env("GOMEMLIMIT", "128MiB");
        // Idle threads that look for work on another processor took more.
        command.env("GOMAXPROCS", "1");
        let url = format!("http://127.0.0.1:{behind}/v2/");
        let served = Served::start(place, &command, || http_status(&url).is_some());
        let private = Arc::new(AtomicBool::new(false));
        let workflows = Workflows::default();
        let (state, tokens) = (Arc::clone(&private), Arc::clone(&workflows));
        let route = move |asked: &mut Asked| {
            refused(asked, port, state.load(Ordering::SeqCst), &tokens).map_or(Way::To(behind), Way::Here)
        };
        let proxy = Proxy::with(port, Dialect::Registry, route, |_, answer| answer);
        Some(Registry { proxy, private, workflows, served })
    }

    /// Where every blob and tag is kept.
    pub fn storage(&self) -> std::path::PathBuf {
        self.served.folder().join(STORAGE)
    }

    /// What stands before an image's path: `localhost:PORT`.
    pub fn name(&self) -> String {
        format!("localhost:{}", self.proxy.port)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.name())
    }

    /// From now on nobody pulls without the password, as a new package on GitHub's registry starts.
    pub fn make_private(&self, private: bool) {
        self.private.store(private, Ordering::SeqCst);
    }

    /// From now on that token is one of a workflow's job with these rights.
    pub fn knows_token(&self, token: &str, packages: Packages) {
        self.workflows.lock().unwrap().insert(token.into(), packages);
    }

    /// A copy of everything that was pushed, to come back to.
    pub fn keep(&self) -> TempDir {
        self.served.keep(&[STORAGE])
    }

    /// Makes the registry what it was.
    pub fn restore(&self, kept: &TempDir) {
        self.served.restore(&[STORAGE], kept);
    }

    /// The account as a request's header names it.
    pub fn authorization(&self) -> String {
        format!("Basic {BASIC}")
    }

    /// Pushes an image, and points a tag at it, as whoever has the password may.
    pub fn push(&self, path: &str, image: &Layout, tag: &str) {
        let place = format!("{}/v2/{path}", self.url());
        let send = |method: &str, url: &str, kind: &str, body: &[u8]| {
            let ask = Ask::new(method, url).header("authorization", &self.authorization());
            let reply = ask.header("content-type", kind).body(body).send().unwrap();
            assert!((200..300).contains(&reply.status), "{method} {url}: {reply:?}");
            reply
        };
        let kind = |bytes: &[u8]| {
            let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
            value["mediaType"].as_str().map(str::to_owned)
        };
        let (manifests, blobs): (Vec<_>, Vec<_>) = image.blobs.iter().partition(|(_, bytes)| kind(bytes).is_some());
        for (digest, bytes) in blobs {
            let begun = send("POST", &format!("{place}/blobs/uploads/"), "", b"");
            let upload = format!("{}{}&digest={digest}", self.url(), begun.header("location").unwrap());
            send("PUT", &upload, "application/octet-stream", bytes);
        }
        let (index, others): (Vec<_>, Vec<_>) = manifests.into_iter().partition(|(digest, _)| **digest == image.digest);
        for (digest, bytes) in others.into_iter().chain(index) {
            let name = if *digest == image.digest { tag.to_owned() } else { digest.to_string() };
            send("PUT", &format!("{place}/manifests/{name}"), &kind(bytes).unwrap(), bytes);
        }
    }

    /// The content of a docker configuration file with the account in it.
    pub fn docker_config(&self) -> String {
        format!("{{\"auths\":{{\"{}\":{{\"auth\":\"{BASIC}\"}}}}}}", self.name())
    }
}

/// What the front answers by itself; nothing, and nothing that says who asks, where the registry behind it is to answer.
fn refused(asked: &mut Asked, port: u16, private: bool, workflows: &Workflows) -> Option<Answer> {
    let authorization = asked.header("authorization").map(str::to_owned);
    if asked.path.starts_with("/token") {
        return Some(token(authorization.as_deref(), private, &asked.path, workflows));
    }
    let reads = asked.method == "GET" || asked.method == "HEAD";
    match authorization.as_deref().and_then(|value| value.split_once(' ')) {
        Some(("Bearer", MAY_PULL)) if !reads => return Some(Dialect::Registry.error(403, "DENIED")),
        Some(("Basic" | "Bearer", BASIC) | ("Bearer", MAY_PULL | MAY_PUSH)) => {}
        Some(("Bearer", ANONYMOUS)) if reads && !private => {}
        _ => return Some(challenge(asked, port, reads)),
    }
    asked.headers.remove("authorization");
    None
}

/// The token of the account is the account itself.
fn token(authorization: Option<&str>, private: bool, path: &str, workflows: &Workflows) -> Answer {
    let token = match authorization.and_then(|value| value.strip_prefix("Basic ")) {
        Some(BASIC) => BASIC,
        // A scope is asked for, and as much of it is given as the job has rights to.
        Some(basic) => match (workflow(basic, workflows), path.contains("push")) {
            (Packages::None, _) => return Dialect::Registry.error(403, "DENIED"),
            (Packages::Write, true) => MAY_PUSH,
            (Packages::Read | Packages::Write, _) => MAY_PULL,
        },
        None if private => return Dialect::Registry.error(401, "UNAUTHORIZED"),
        None => ANONYMOUS,
    };
    Answer::new(200, "application/json", format!("{{\"token\":\"{token}\",\"expires_in\":300}}"))
}

/// The rights of a workflow's token, which stands in the place of a password, whoever the user is.
fn workflow(basic: &str, workflows: &Workflows) -> Packages {
    let decoded = base64::engine::general_purpose::STANDARD.decode(basic).unwrap_or_default();
    let text = String::from_utf8_lossy(&decoded).into_owned();
    let password = text.split_once(':').map_or("", |(_, password)| password);
    workflows.lock().unwrap().get(password).copied().unwrap_or(Packages::None)
}

fn challenge(asked: &Asked, port: u16, reads: bool) -> Answer {
    let host = asked.header("host").map_or_else(|| format!("localhost:{port}"), str::to_owned);
    let path = asked.path.trim_start_matches("/v2/");
    let kinds = ["/manifests/", "/blobs/", "/tags/"];
    let name = kinds.iter().find_map(|kind| Some(path.split_once(kind)?.0));
    let actions = if reads { "pull" } else { "pull,push" };
    let scope = name.map(|name| format!(",scope=\"repository:{name}:{actions}\"")).unwrap_or_default();
    let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"registry\"{scope}");
    Dialect::Registry.error(401, "UNAUTHORIZED").with("www-authenticate", challenge)
}
