//! Argo CD's API, as its server looks from outside: what it answers, what it refuses and how, behind a certificate that it has
//! signed itself. It can be told to misbehave.
//!
//! The answers are those of Argo CD 3: 401 and 403 in JSON, 403 of what is not there as well, and the page of its user interface
//! under every path that it does not know.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{CertificateParams, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::operator::Operator;

pub(crate) const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJrdWJlOSJ9.c2lnbmF0dXJl";

/// With what a user may have written into names and messages.
pub(crate) const TREE: &str = "{\"nodes\":[{\"kind\":\"Deployment\",\"name\":\"ui\",\"namespace\":\"shop\",\"uid\":\"1\"},\
     {\"kind\":\"Pod\",\"name\":\"ui-1\",\"uid\":\"2\",\"createdAt\":null,\"weight\":12345678901234567890.5,\
     \"parentRefs\":[{\"kind\":\"Deployment\",\"name\":\"ui\",\"uid\":\"1\"}],\
     \"health\":{\"status\":\"Healthy\",\"message\":\"schön \u{1f980}\u{9b}31m\u{7f}\\u001b[2J\u{202e}\"}}],\"shardsCount\":1}";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Takes the question and says nothing.
    Silent,
    /// Breaks off.
    Half,
    /// Never comes to its end.
    Endless,
    /// To another server.
    Redirect,
    /// Its cache is empty.
    Broken,
    /// Says what it was asked, whatever it was.
    RepeatsInRefusal,
    /// Its RBAC has nothing of the token's account.
    NoPolicy,
}

pub(crate) struct ArgoCd {
    port: u16,
    folder: tempfile::TempDir,
    manner: Arc<Mutex<Manner>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ArgoCd {
    pub(crate) fn start() -> Self {
        let (config, certificate) = certified();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.crt"), certificate).unwrap();
        let port = listener.local_addr().unwrap().port();
        let argocd = Self { port, folder, manner: Arc::new(Mutex::new(Manner::Honest)), asked: Arc::default() };
        let (manner, asked) = (Arc::clone(&argocd.manner), Arc::clone(&argocd.asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (config, manner, asked) = (Arc::clone(&config), Arc::clone(&manner), Arc::clone(&asked));
                // Some connections end in the middle, as they are to.
                thread::spawn(move || stream.and_then(|stream| serve(stream, config, &manner, &asked)));
            }
        });
        argocd
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// The targets that were asked for since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// As the kubelet writes it.
    pub(crate) fn issue(&self, token: &str) {
        std::fs::write(self.token_file(), token).unwrap();
    }

    pub(crate) fn authority_file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    pub(crate) fn address(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// An operator that is told all of this.
    pub(crate) fn known_to(&self, operator: Operator) -> Operator {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        operator
            .with("ARGOCD_API_BASE_URL", &self.address())
            .with("ARGOCD_API_TOKEN_FILE", &text(&self.token_file()))
            .with("ARGOCD_API_CA_FILE", &text(&self.authority_file()))
            .with("ARGOCD_API_TIMEOUT_MS", "1000")
    }
}

/// As Argo CD does it: no authority, and one for nobody else.
fn certified() -> (Arc<ServerConfig>, String) {
    let names = ["localhost", "argocd-server"].map(str::to_owned);
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.is_ca = IsCa::ExplicitNoCa;
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = builder.with_single_cert(vec![certificate.der().clone()], private).unwrap();
    (Arc::new(config), certificate.pem())
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    manner: &Mutex<Manner>,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    asked.lock().unwrap().push(target.clone());
    let manner = *manner.lock().unwrap();
    let (status, headers, body) = match manner {
        Manner::Honest => honest(&head, &target),
        Manner::Silent => return stream.read(&mut [0]).map(drop),
        Manner::Half => ("200 OK", "content-length: 9999\r\n".to_owned(), TREE.to_owned()),
        Manner::Endless => ("200 OK", String::new(), "{\"nodes\":[".to_owned()),
        Manner::Redirect => ("307 Temporary Redirect", "location: /elsewhere\r\n".to_owned(), String::new()),
        Manner::Broken => refusal("500 Internal Server Error", 13, "error getting cached app resource tree"),
        Manner::RepeatsInRefusal => ("400 Bad Request", String::new(), format!("\u{1b}[2J\u{9b}{head}")),
        Manner::NoPolicy => json(r#"{"metadata":{"resourceVersion":"7"},"items":null}"#),
    };
    write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n{body}")?;
    if manner == Manner::Endless {
        // Until nobody listens any more.
        loop {
            stream.write_all("{\"kind\":\"Pod\"},".repeat(1000).as_bytes())?;
        }
    }
    stream.conn.send_close_notify();
    stream.flush()
}

type Answer = (&'static str, String, String);

fn honest(head: &str, target: &str) -> Answer {
    if !head.to_ascii_lowercase().contains(&format!("\r\nauthorization: bearer {}\r\n", TOKEN.to_ascii_lowercase())) {
        return refusal("401 Unauthorized", 16, "invalid session: token signature is invalid");
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match path.strip_prefix("/api/v1/applications") {
        Some("") => json(r#"{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"guestbook"}}]}"#),
        Some("/guestbook/resource-tree") if ["", "appNamespace=shop"].contains(&query) => json(TREE),
        Some("/empty/resource-tree") => json("{}"),
        // Versions before 2.5, and whoever says a project.
        Some("/moved/resource-tree") => refusal("404 Not Found", 5, "applications.argoproj.io \"moved\" not found"),
        Some(_) => refusal("403 Forbidden", 7, "permission denied"),
        None => page(),
    }
}

fn json(body: &str) -> Answer {
    ("200 OK", "content-type: application/json\r\n".to_owned(), body.to_owned())
}

fn page() -> Answer {
    ("200 OK", "content-type: text/html\r\n".to_owned(), "<!doctype html><title>Argo CD</title>".to_owned())
}

fn refusal(status: &'static str, code: u32, message: &str) -> Answer {
    let body = serde_json::json!({"error": message, "code": code, "message": message});
    (status, "content-type: application/json\r\n".to_owned(), body.to_string())
}
