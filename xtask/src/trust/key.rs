//! Keys that sign: ECDSA on the curve P-256 with SHA-256, the kind that cosign, KMS and Fulcio use, too.
//!
//! A private key is a PKCS#8 document in a PEM file that only its owner may read, and that is never overwritten; the public one is a
//! `SubjectPublicKeyInfo` in PEM, which `cosign verify --key` and `openssl` take as it is.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};

use crate::error::{Context, Error, Exit, Result};
use crate::oci::Digest;
use crate::sys::files;

const PRIVATE: &str = "PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";
/// What stands before the 65 bytes of an uncompressed point in the `SubjectPublicKeyInfo` of a P-256 key (RFC 5480).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const POINT_LENGTH: usize = 65;

/// A private key. What it holds is never shown.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    der: Vec<u8>,
}

impl SigningKey {
    /// The key in a file, which is made if it is not there.
    ///
    /// # Errors
    /// The file holds something else, or cannot be written.
    pub fn kept_at(path: &Path) -> Result<Self> {
        if let Some(key) = Self::read(path)? {
            return Ok(key);
        }
        files::create_private(path, Self::generate()?.as_bytes())?;
        // Another run may have been faster: what is there is the key.
        let text = files::read(path)?.unwrap_or_default();
        Self::from_pem(&String::from_utf8_lossy(&text), &path.display())
    }

    /// The key in a file; nothing where there is no such file.
    ///
    /// # Errors
    /// The file holds something else, or cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = files::read(path)?;
        text.map(|text| Self::from_pem(&String::from_utf8_lossy(&text), &path.display())).transpose()
    }

    /// A new private key, as PEM.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<String> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        document
            .map(|document| to_pem(PRIVATE, document.as_ref()))
            .context(Exit::Failure, || "cannot make a signing key".into())
    }

    /// Reads a private key; `place` says where it is from.
    ///
    /// # Errors
    /// It is anything but one unencrypted PKCS#8 key on P-256.
    pub fn from_pem(text: &str, place: &dyn fmt::Display) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(Exit::Environment, format!("the signing key of {place} cannot be used"))
                .because(why)
                .remedy("make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out signing-key.pem")
        };
        let document = from_pem(PRIVATE, text).map_err(wrong)?;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &document, &random);
        let pair = pair.map_err(|error| wrong(format!("it is not a key on the curve P-256: {error}")))?;
        Ok(SigningKey { pair, random })
    }

    /// The public key that belongs to it.
    pub fn public(&self) -> PublicKey {
        PublicKey { der: [&SPKI_PREFIX, self.pair.public_key().as_ref()].concat() }
    }

    /// Signs a message. No two signatures are alike.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let signature = self.pair.sign(&self.random, message);
        signature
            .map(|signature| signature.as_ref().to_vec())
            .context(Exit::Failure, || "cannot sign with the signing key".into())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SigningKey({})", self.public())
    }
}

impl PublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// It is anything but one key on P-256.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let der = from_pem(PUBLIC, text)?;
        match der.strip_prefix(&SPKI_PREFIX) {
            Some([0x04, rest @ ..]) if rest.len() == POINT_LENGTH - 1 => Ok(PublicKey { der }),
            _ => Err("it is not a public key on the curve P-256".into()),
        }
    }

    /// The key as cosign and openssl take it.
    pub fn to_pem(&self) -> String {
        to_pem(PUBLIC, &self.der)
    }

    /// How a bundle names it: the SHA-256 of its DER encoding in base64, as cosign does.
    pub fn hint(&self) -> String {
        let digest = Digest::of(&self.der);
        let bytes = digest.hex().as_bytes().chunks(2).filter_map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        });
        BASE64.encode(bytes.collect::<Vec<_>>())
    }

    /// Whether a signature over a message is this key's.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let point = self.der.get(SPKI_PREFIX.len()..).unwrap_or_default();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature).is_ok()
    }
}

/// As people can compare it: the first digits of what `openssl pkey -pubin -outform DER | sha256sum` says.
impl fmt::Display for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "key {}", &Digest::of(&self.der).hex()[..16])
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// RFC 7468: one document, in lines of 64 characters.
fn to_pem(label: &str, document: &[u8]) -> String {
    let text = BASE64.encode(document);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn from_pem(label: &str, text: &str) -> Result<Vec<u8>, String> {
    let text = text.trim();
    let body = text.strip_prefix(&format!("-----BEGIN {label}-----"));
    let body = body.and_then(|rest| rest.strip_suffix(&format!("-----END {label}-----")));
    let Some(body) = body else {
        let found = text.lines().next().filter(|line| line.starts_with("-----BEGIN "));
        let found = found.map_or_else(String::new, |line| format!(", but `{line}`"));
        return Err(format!("it is not one PEM document `{label}`{found}"));
    };
    let base64: String = body.split_whitespace().collect();
    BASE64.decode(base64).map_err(|error| format!("its PEM is damaged: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public half of a key that `openssl genpkey` made, and what its private half signed with `openssl dgst -sha256 -sign`.
    const OPENSSL: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEjx9Z71Yh8w5H5WY9SFhFEb7q8BD7\n\
        x9azw6nA6O1Yl+ApzGSnrDYJF3wDwjgPIeiGAl4xF/oZvRGq5XNwh//z7Q==\n\
        -----END PUBLIC KEY-----\n";
    const SIGNED: &[u8] = b"signed by openssl\n";
    const SIGNATURE: &str =
        "MEUCIB1dpgbVh4cSRWV1qASZif3VkaHgHYqJRhlxM/VEZOSKAiEA1v09VZT7ss3gDzxiAwCpVnJzAUDaXgs1GtySE4K1/vU=";

    fn new_key() -> SigningKey {
        SigningKey::from_pem(&SigningKey::generate().unwrap(), &"a test").unwrap()
    }

    #[test]
    fn a_signature_is_verified_with_the_key_that_made_it_over_the_message_that_it_signed() {
        let (key, other) = (new_key(), new_key());
        let signature = key.sign(b"message").unwrap();
        assert!(key.public().has_signed(b"message", &signature));
        assert!(!key.public().has_signed(b"other", &signature));
        assert!(!other.public().has_signed(b"message", &signature));
        assert!(!key.public().has_signed(b"message", b""));
    }

    #[test]
    fn keys_and_signatures_of_openssl_are_read_and_keys_written_as_openssl_does() {
        let key = PublicKey::from_pem(OPENSSL).unwrap();
        assert_eq!(key.to_pem(), OPENSSL);
        let signature = BASE64.decode(SIGNATURE).unwrap();
        assert!(key.has_signed(SIGNED, &signature) && !key.has_signed(b"other", &signature));
    }

    #[test]
    fn what_is_no_such_key_is_refused_and_no_error_shows_it() {
        let good = SigningKey::generate().unwrap();
        let secret = good.lines().nth(1).unwrap();
        let cut = good.replace(secret, &secret[..40]);
        for wrong in ["", "-----BEGIN EC PRIVATE KEY-----\n", OPENSSL, &cut, &format!("{good}{good}")] {
            let error = SigningKey::from_pem(wrong, &"the variable KEY").unwrap_err().to_string();
            assert!(error.contains("the variable KEY") && !error.contains(&secret[..16]), "{error}");
        }
        for wrong in ["", &good, &OPENSSL.replace("MFkw", "MFkx")] {
            assert!(PublicKey::from_pem(wrong).is_err(), "{wrong}");
        }
        assert!(!format!("{:?}", new_key()).contains("BEGIN"));
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/signing-key.pem");
        let first = SigningKey::kept_at(&path).unwrap().public();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SigningKey::kept_at(&path).unwrap().public(), first);
        assert!(!files::create_private(&path, b"another").unwrap(), "it is never overwritten");
        assert_eq!(SigningKey::kept_at(&path).unwrap().public(), first);
    }
}
