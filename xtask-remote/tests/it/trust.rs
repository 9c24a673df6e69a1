//! Signatures, provenance and bills of materials as other people's programs read them: cosign, Trivy, Helm.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

pub mod bundles;
mod nightly;
mod sbom;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use xtask::oci::Digest;
use xtask::trust::key::{PublicKey, SigningKey};
use xtask::trust::policy::Policy;
use xtask::trust::statement::Statement;
use xtask::trust::verify::{self, Attested};

use crate::support::{Run, scrubbed, tool};

pub fn new_key() -> SigningKey {
    SigningKey::from_pem(&SigningKey::generate().unwrap(), &"a test").unwrap()
}

/// One key is accepted, and nobody with a certificate.
pub fn accepting(key: &PublicKey) -> Policy {
    Policy { keys: vec![(key.clone(), "ann.pub".into())], identities: Vec::new() }
}

pub fn judged(subject: &Digest, bundle: &[u8], policy: &Policy) -> Result<Attested, String> {
    verify::attested(subject, bundle, policy, &|_, _, _| Err("no authority was asked".into()))
}

pub fn statement(subject: &Digest, predicate_type: &str) -> Statement {
    let predicate =
        if predicate_type == xtask::trust::statement::predicate::SIGNATURE { json!({}) } else { json!({"a": 1}) };
    Statement::new("demo", subject, predicate_type, predicate)
}

/// The real cosign, which sees nothing of this process but where programs are, and a home of its own.
pub struct Cosign {
    program: PathBuf,
    pub folder: tempfile::TempDir,
}

impl Cosign {
    /// Nothing (said once a test) where it is not installed.
    pub fn new() -> Option<Self> {
        Some(Cosign { program: tool("cosign")?, folder: tempfile::tempdir().unwrap() })
    }

    pub fn path(&self) -> &Path {
        &self.program
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = scrubbed(self.program.to_str().unwrap());
        command
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("COSIGN_PASSWORD", "")
            .args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments))
    }

    /// What cosign says of a bundle that a key should have signed.
    pub fn verify(&self, key: &PublicKey, subject: &Digest, predicate_type: &str, bundle: &[u8]) -> Run {
        let key = format!("--key={}", self.write("key.pub", key.to_pem()));
        let bundle = format!("--bundle={}", self.write("bundle.json", bundle));
        let (kind, digest) = (format!("--type={predicate_type}"), format!("--digest={}", subject.hex()));
        self.run(&[
            "verify-blob-attestation",
            "--insecure-ignore-tlog",
            "--digestAlg=sha256",
            &key,
            &bundle,
            &kind,
            &digest,
        ])
    }
}

/// A bundle with one thing changed.
pub fn changed(bundle: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(bundle).unwrap();
    change(&mut value);
    value.to_string().into_bytes()
}
