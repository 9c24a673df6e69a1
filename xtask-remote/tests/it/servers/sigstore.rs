//! A private Sigstore: real Fulcio, Rekor v2 on files, and timestamp authority. The issuer of tokens is a fake of GitHub's.
//!
//! It keeps no log of the certificates that it gives out, as private ones often do not: its trusted root says so.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use xtask::sys::http::Anonymous;

use super::child::{Served, folder};
use super::client::Ask;
use super::edge::Signpost;
use super::fault::Dialect;
use super::proxy::{Answer, Asked, Proxy, Way};
use crate::support::{Run, free_port, http_status, script, tool};

/// What the log calls itself: verifiers take it for the host of its URL.
const ORIGIN: &str = "localhost";
/// What a job of GitHub's has to show for a token.
const REQUEST: &str = "canary-request-token";
/// The job of tests that have none of their own.
const CLAIMED: &str = "team/demo/.github/workflows/release.yml@refs/tags/v1.2.3";
const REPOSITORY: &str = "team/demo";

/// Running services, and the files by which cosign finds and trusts them.
pub struct Sigstore {
    /// Who gives out tokens.
    pub issuer: String,
    /// Where a job asks it for one.
    tokens: String,
    /// Whose certificates the job of the workflow gets.
    pub identity: String,
    /// The authorities, in Sigstore's format.
    pub trusted_root: PathBuf,
    /// The services, likewise.
    pub services: PathBuf,
    /// A cosign that runs in a job of that workflow.
    pub cosign: PathBuf,
    program: PathBuf,
    timestamps: String,
    log: String,
    folder: tempfile::TempDir,
    _issuer: (Proxy, Signpost),
    served: Vec<Served>,
}

impl Sigstore {
    /// The one of this process: the timestamp authority opens a port that cannot be chosen. Nothing (said once) where a part of it is not
    /// installed.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: LazyLock<Option<Sigstore>> = LazyLock::new(Sigstore::start);
        SHARED.as_ref()
    }

    fn start() -> Option<Self> {
        let programs = (tool("fulcio")?, tool("rekor")?, tool("timestamp-server")?, tool("cosign")?);
        let folder = tempfile::tempdir().unwrap();
        let token_issuer = token_issuer();
        let (tokens, issuer) = (token_issuer.0.url(), token_issuer.1.url());
        let (fulcio, fulcio_url) = fulcio(&programs.0, &token_issuer.1);
        let (rekor, rekor_url) = rekor(&programs.1, folder.path());
        let (authority, timestamps) = timestamp_authority(&programs.2);
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("fulcio.pem"), fulcio_chain(&fulcio_url)).unwrap();
        std::fs::write(path("tsa.pem"), fetch(&format!("{timestamps}/certchain"))).unwrap();
        let (trusted_root, services) = (path("root.json"), path("services.json"));
        let run = |arguments: &[String]| {
            let mut command = Command::new(&programs.3);
            command.current_dir(folder.path()).env("HOME", folder.path()).args(arguments);
            Run::of(command).ok();
        };
        const SINCE: &str = "start-time=2026-01-01T00:00:00Z";
        run(&[
            "trusted-root".into(),
            "create".into(),
            format!("--fulcio=url={fulcio_url},certificate-chain=fulcio.pem"),
            format!("--rekor=url={rekor_url},public-key=rekor.pub,{SINCE},origin={ORIGIN}"),
            format!("--tsa=url={timestamps},certificate-chain=tsa.pem"),
            format!("--out={}", trusted_root.display()),
        ]);
        run(&[
            "signing-config".into(),
            "create".into(),
            format!("--fulcio=url={fulcio_url},api-version=1,{SINCE},operator=tests"),
            format!("--rekor=url={rekor_url},api-version=2,{SINCE},operator=tests"),
            "--rekor-config=ANY".into(),
            format!("--tsa=url={timestamps},api-version=1,{SINCE},operator=tests"),
            "--tsa-config=ANY".into(),
            format!("--oidc-provider=url={issuer},api-version=1,{SINCE},operator=tests"),
            format!("--out={}", services.display()),
        ]);
        let cosign = path("cosign");
        in_job(&cosign, &programs.3, &job(&tokens, CLAIMED, REPOSITORY));
        Some(Sigstore {
            program: programs.3,
            identity: format!("https://github.com/{CLAIMED}"),
            issuer,
            tokens,
            trusted_root,
            services,
            cosign,
            timestamps,
            log: rekor_url,
            folder,
            _issuer: token_issuer,
            served: vec![fulcio, rekor, authority],
        })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a job of a workflow (`OWNER/REPOSITORY/.github/workflows/FILE@REF`) finds in its environment.
    pub fn job(&self, workflow: &str) -> [(&'static str, String); 2] {
        job(&self.tokens, workflow, workflow.split_once("/.github/").unwrap().0)
    }

    /// A cosign that runs in a job of the same workflow, which a workflow of another repository called.
    pub fn cosign_called_by(&self, repository: &str) -> PathBuf {
        let cosign = self.folder().join(format!("cosign-{}", repository.replace('/', "-")));
        in_job(&cosign, &self.program, &job(&self.tokens, CLAIMED, repository));
        cosign
    }

    /// What its servers said.
    pub fn logs(&self) -> String {
        self.served.iter().map(Served::log).collect()
    }

    /// What the timestamp authority says now of a signature.
    pub fn timestamp(&self, signature: &[u8]) -> Vec<u8> {
        let hash = ring::digest::digest(&ring::digest::SHA256, signature);
        let request =
            json!({"artifactHash": STANDARD.encode(hash), "certificates": true, "hashAlgorithm": "sha256", "nonce": 7});
        post(&self.timestamps, &request, &[200, 201])
    }

    /// The log's entry of what the key of a certificate signed.
    pub fn entry(&self, signed: &[u8], signature: &[u8], certificate: &str) -> Value {
        let verifier = json!({"x509Certificate": {"rawBytes": certificate}, "keyDetails": "PKIX_ECDSA_P256_SHA_256"});
        let digest = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, signed));
        let signature = json!({"content": STANDARD.encode(signature), "verifier": verifier});
        let request = json!({"hashedRekordRequestV002": {"digest": digest, "signature": signature}});
        serde_json::from_slice(&post(&format!("{}/api/v2/log/entries", self.log), &request, &[200, 201])).unwrap()
    }
}

fn in_job(cosign: &Path, program: &Path, job: &[(&str, String); 2]) {
    let [(url, request), (token, secret)] = job;
    script(cosign, &format!("export {url}='{request}' {token}={secret}\nexec '{}' \"$@\"\n", program.display()));
}

fn job(tokens: &str, workflow: &str, repository: &str) -> [(&'static str, String); 2] {
    let request = format!("{tokens}/token?workflow={workflow}&repository={repository}");
    [("ACTIONS_ID_TOKEN_REQUEST_URL", request), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST.into())]
}

/// GitHub's issuer of tokens: its keys, and the token for whoever has a job's own. Its configuration is found over TLS, as all demand.
fn token_issuer() -> (Proxy, Signpost) {
    let port = free_port();
    let url = format!("http://localhost:{port}");
    let signpost = Signpost::saying(|issuer| {
        let configuration = json!({
            "issuer": issuer, "jwks_uri": format!("{url}/keys"), "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
        });
        Answer::new(200, "application/json", configuration.to_string())
    });
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &SystemRandom::new());
    let (key, issuer) = (key.unwrap(), signpost.url());
    let route = move |asked: &mut Asked| {
        let json = |value: Value| Way::Here(Answer::new(200, "application/json", value.to_string()));
        let allowed = asked.header("authorization").is_some_and(|value| value.ends_with(REQUEST));
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let said = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
        let claimed = said("workflow=").zip(said("repository="));
        match path {
            "/keys" => {
                let point = key.public_key().as_ref();
                json(json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k",
                    "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..])}]}))
            }
            "/token" if allowed && claimed.is_some() => {
                let (workflow, repository) = claimed.unwrap();
                json(json!({"value": token(&key, &issuer, workflow, repository)}))
            }
            _ => Way::Here(Answer::new(403, "application/json", "{}")),
        }
    };
    (Proxy::with(port, Dialect::Registry, route, |_, answer| answer), signpost)
}

/// A token as GitHub's are: of a called workflow, `job_workflow_ref` is its own place, and all else is its caller's.
fn token(key: &EcdsaKeyPair, issuer: &str, workflow: &str, repository: &str) -> String {
    let now = jiff::Timestamp::now().as_second();
    let (_, reference) = workflow.split_once('@').unwrap();
    let (owner, _) = repository.split_once('/').unwrap();
    let claims = json!({
        "iss": issuer, "aud": "sigstore", "sub": format!("repo:{repository}:ref:{reference}"), "iat": now, "nbf": now, "exp": now + 300,
        "job_workflow_ref": workflow, "workflow_ref": format!("{repository}/.github/workflows/release.yml@{reference}"),
        "job_workflow_sha": "c0ffee", "workflow_sha": "c0ffee", "sha": "c0ffee", "event_name": "push", "workflow": "release",
        "repository": repository, "ref": reference, "repository_id": "1", "repository_owner": owner, "repository_owner_id": "2",
        "runner_environment": "github-hosted", "run_id": "3", "run_attempt": "1", "repository_visibility": "public",
    });
    let part = |value: &Value| BASE64.encode(value.to_string());
    let head = format!("{}.{}", part(&json!({"alg": "ES256", "kid": "k", "typ": "JWT"})), part(&claims));
    let signature = key.sign(&SystemRandom::new(), head.as_bytes()).unwrap();
    format!("{head}.{}", BASE64.encode(signature.as_ref()))
}

fn fulcio(program: &Path, signpost: &Signpost) -> (Served, String) {
    let (place, port, grpc, metrics) = (folder(), free_port(), free_port(), free_port());
    let (issuer, authority) = (signpost.url(), place.join("issuer.pem"));
    std::fs::write(&authority, &signpost.authority).unwrap();
    let config = place.join("config.yaml");
    let provider = "github-workflow";
    let known = json!({
        "oidc-issuers": {&issuer: {"issuer-url": issuer, "client-id": "sigstore", "type": "ci-provider", "ci-provider": provider}},
        "ci-issuer-metadata": {provider: {
            "default-template-values": {"url": "https://github.com", "environment": ""},
            "extension-templates": {
                "build-signer-uri": "{{ .url }}/{{ .job_workflow_ref }}",
                "source-repository-uri": "{{ .url }}/{{ .repository }}",
                "source-repository-digest": "sha",
                "github-workflow-repository": "repository",
            },
            "subject-alternative-name-template": "{{ .url }}/{{ .job_workflow_ref }}",
        }},
    });
    // What is JSON Fulcio reads as JSON, whose fields have other names.
    std::fs::write(&config, format!("# YAML\n{known}")).unwrap();
    let mut command = Command::new(program);
    command.env("SSL_CERT_FILE", authority);
    command.args(["serve", "--ca=ephemeralca", "--ct-log-url=", "--host=127.0.0.1", "--grpc-host=127.0.0.1"]);
    command.arg(format!("--port={port}")).arg(format!("--grpc-port={grpc}")).arg(format!("--metrics-port={metrics}"));
    command.arg(format!("--config-path={}", config.display()));
    command.arg(format!("--legacy-unix-domain-socket={}", place.join("socket").display()));
    let url = format!("http://localhost:{port}");
    let ready = format!("{url}/healthz");
    (Served::start(place, &command, || http_status(&ready) == Some(200)), url)
}

fn fulcio_chain(url: &str) -> String {
    let bundle: Value = serde_json::from_slice(&fetch(&format!("{url}/api/v2/trustBundle"))).unwrap();
    let chain = bundle["chains"][0]["certificates"].as_array().unwrap();
    chain.iter().map(|certificate| certificate.as_str().unwrap()).collect()
}

fn rekor(program: &Path, files: &Path) -> (Served, String) {
    let (place, port, grpc, metrics) = (folder(), free_port(), free_port(), free_port());
    let key = place.join("rekor.pem");
    let openssl = |arguments: &[&str], key: &Path| {
        let mut openssl = Command::new("openssl");
        openssl.args(arguments).arg(key);
        Run::of(openssl).ok().stdout
    };
    // The log's checkpoints are notes, whose own kind of key this is.
    openssl(&["genpkey", "-algorithm", "ed25519", "-out"], &key);
    std::fs::write(files.join("rekor.pub"), openssl(&["pkey", "-pubout", "-in"], &key)).unwrap();
    let mut command = Command::new(program);
    command.args(["serve", "--checkpoint-interval=1s", "--batch-max-age=50ms"]).arg(format!("--hostname={ORIGIN}"));
    command.arg(format!("--storage-dir={}", place.join("entries").display()));
    command.arg(format!("--signer-filepath={}", key.display()));
    command.arg(format!("--http-port={port}")).arg(format!("--grpc-port={grpc}"));
    command.arg(format!("--http-metrics-port={metrics}"));
    let url = format!("http://localhost:{port}");
    let ready = format!("http://127.0.0.1:{port}/healthz");
    (Served::start(place, &command, || http_status(&ready) == Some(200)), url)
}

fn timestamp_authority(program: &Path) -> (Served, String) {
    let (place, port) = (folder(), free_port());
    let mut command = Command::new(program);
    command.args(["serve", "--host=127.0.0.1", "--disable-ntp-monitoring", "--timestamp-signer=memory"]);
    command.arg(format!("--port={port}"));
    let url = format!("http://localhost:{port}/api/v1/timestamp");
    let ready = format!("{url}/certchain");
    (Served::start(place, &command, || http_status(&ready) == Some(200)), url)
}

fn post(url: &str, body: &Value, expected: &[u16]) -> Vec<u8> {
    let ask = Ask::new("POST", url).header("content-type", "application/json").body(body.to_string());
    let reply = ask.send().unwrap();
    assert!(expected.contains(&reply.status), "{} {}", reply.status, String::from_utf8_lossy(&reply.body));
    reply.body
}

fn fetch(url: &str) -> Vec<u8> {
    Anonymous::new(Duration::from_secs(30)).get(url, &[]).unwrap().body
}
