//! One key in AWS's KMS that signs digests. A fake of the service, with real signatures: OpenSSL's.
//!
//! It refuses what KMS refuses of such a key: other keys, other algorithms, messages that are no digest.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use xtask::trust::key::{PublicKey, SigningKey};

use super::fault::Dialect;
use super::proxy::{Answer, Asked, Proxy, Way};
use crate::support::{Run, free_port};

/// The key's name: `awskms:///alias/release`.
const ALIAS: &str = "alias/release";

/// A running service.
pub struct Kms {
    pub port: u16,
    /// The key's public half.
    pub public: PublicKey,
    _folder: tempfile::TempDir,
    _proxy: Proxy,
}

impl Kms {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let private = SigningKey::generate().unwrap();
        let public = SigningKey::from_pem(&private, &"KMS").unwrap().public();
        let (key, port, shown) = (folder.path().join("key.pem"), free_port(), public.clone());
        std::fs::write(&key, private).unwrap();
        let route = move |asked: &mut Asked| {
            let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
            let operation = asked.header("x-amz-target").and_then(|target| target.strip_prefix("TrentService."));
            let answered = answer(operation.unwrap_or_default(), &body, &shown, &key);
            let (status, body) =
                answered.map_or_else(|kind| (400, json!({"__type": kind, "message": "refused"})), |body| (200, body));
            Way::Here(Answer::new(status, "application/x-amz-json-1.1", body.to_string()))
        };
        let proxy = Proxy::with(port, Dialect::Registry, route, |_, answer| answer);
        Kms { port, public, _folder: folder, _proxy: proxy }
    }
}

fn answer(operation: &str, body: &Value, public: &PublicKey, key: &Path) -> Result<Value, &'static str> {
    const ALGORITHM: &str = "ECDSA_SHA_256";
    if body["KeyId"] != ALIAS {
        return Err("NotFoundException");
    }
    match operation {
        "DescribeKey" => Ok(
            json!({"KeyMetadata": {"KeyId": "k", "KeySpec": "ECC_NIST_P256", "CustomerMasterKeySpec": "ECC_NIST_P256",
            "KeyUsage": "SIGN_VERIFY", "Enabled": true, "SigningAlgorithms": [ALGORITHM]}}),
        ),
        "GetPublicKey" => {
            let pem = public.to_pem();
            let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            Ok(json!({"KeyId": "k", "PublicKey": base64, "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}))
        }
        "Sign" if body["SigningAlgorithm"] != ALGORITHM || body["MessageType"] != "DIGEST" => {
            Err("ValidationException")
        }
        "Sign" => {
            let digest =
                BASE64.decode(body["Message"].as_str().unwrap_or_default()).map_err(|_| "ValidationException")?;
            let input = key.with_file_name("digest");
            let output = key.with_file_name("signature");
            std::fs::write(&input, digest).unwrap();
            let mut openssl = Command::new("openssl");
            openssl.args(["pkeyutl", "-sign", "-inkey"]).arg(key).arg("-in").arg(input).arg("-out").arg(&output);
            Run::of(openssl).ok();
            Ok(
                json!({"KeyId": "k", "Signature": BASE64.encode(std::fs::read(output).unwrap()), "SigningAlgorithm": ALGORITHM}),
            )
        }
        _ => Err("UnknownOperationException"),
    }
}
