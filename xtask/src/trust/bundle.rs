//! A signed statement with everything that is needed to verify it: a Sigstore bundle, version 0.3. Pure.
//!
//! Format: `sigstore_bundle.proto` of sigstore/protobuf-specs, as JSON. The signer is named by a hint at a public key, or by a
//! certificate that an authority gave out for a few minutes; proofs that a log or a timestamp authority saw the signature in that time
//! come with it. Whatever is not exactly that is refused: cosign refuses unknown fields, too, and a bundle that two programs read
//! differently could mean two things.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;
use crate::oci;
use crate::trust::key::PublicKey;
use crate::trust::statement::{Envelope, Opened};

/// The media type of a bundle, which is the artifact type of the referrers that hold one.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A bundle as it was read: its shape is right, and nothing of it is believed yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// Who says to have signed.
    pub material: Material,
    /// What was signed.
    pub opened: Opened,
}

/// What a bundle gives to find the signer by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// A hint at a public key that the verifier has: `PublicKey::hint`.
    Key(String),
    /// A certificate, and what proves when it was used; only a program that knows the authorities can judge those.
    Certificate,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    media_type: String,
    verification_material: VerificationMaterial,
    dsse_envelope: Option<Envelope>,
    /// A signature over bare bytes, without a statement.
    #[serde(default, skip_serializing)]
    message_signature: Option<Value>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct VerificationMaterial {
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<Hint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tlog_entries: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_verification_data: Option<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hint {
    #[serde(default)]
    hint: String,
}

/// The bytes of a bundle of something that a key signed.
///
/// # Errors
/// Never for an envelope of this tool.
pub fn write(key: &PublicKey, envelope: Envelope) -> Result<Vec<u8>> {
    let hint = Some(Hint { hint: key.hint() });
    let verification_material = VerificationMaterial { public_key: hint, ..VerificationMaterial::default() };
    let media_type = MEDIA_TYPE.into();
    oci::json(&Document { media_type, verification_material, dsse_envelope: Some(envelope), message_signature: None })
}

/// Reads a bundle.
///
/// # Errors
/// It is cut off, of another version, or anything but one statement signed once by one signer.
pub fn read(bytes: &[u8]) -> Result<Bundle, String> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| format!("it is no Sigstore bundle, or is cut off: {error}"))?;
    if document.media_type != MEDIA_TYPE {
        return Err(format!("its media type is `{}`, not {MEDIA_TYPE}", document.media_type));
    }
    let envelope = match (document.dsse_envelope, document.message_signature) {
        (Some(envelope), None) => envelope,
        (Some(_), Some(_)) => return Err("it holds both an envelope and a bare signature".into()),
        (None, _) => return Err("it holds no envelope: nothing is stated".into()),
    };
    let material = document.verification_material;
    let material = match (material.public_key, material.certificate) {
        (Some(key), None) => Material::Key(key.hint),
        (None, Some(_)) => Material::Certificate,
        (Some(_), Some(_)) => return Err("it names both a key and a certificate".into()),
        (None, None) => return Err("it names neither a key nor a certificate".into()),
    };
    Ok(Bundle { material, opened: envelope.open()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use crate::trust::key::SigningKey;
    use crate::trust::statement::{Statement, predicate};

    fn bundle() -> (PublicKey, Vec<u8>) {
        let key = SigningKey::from_pem(&SigningKey::generate().unwrap(), &"a test").unwrap();
        let payload = Statement::new("demo", &Digest::of(b"demo"), predicate::SIGNATURE, Value::Null).bytes().unwrap();
        (key.public(), write(&key.public(), Envelope::new(&payload, b"signature")).unwrap())
    }

    #[test]
    fn a_bundle_is_written_as_cosign_does_and_read_back() {
        let (key, bytes) = bundle();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["mediaType"], MEDIA_TYPE);
        assert_eq!(value["verificationMaterial"], serde_json::json!({"publicKey": {"hint": key.hint()}}));
        assert_eq!(value["dsseEnvelope"]["payloadType"], "application/vnd.in-toto+json");
        assert_eq!(value.as_object().unwrap().len(), 3);
        assert_eq!(read(&bytes).unwrap().material, Material::Key(key.hint()));
    }

    #[test]
    fn a_bundle_that_is_cut_off_anywhere_is_refused() {
        let (_, bytes) = bundle();
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).unwrap_err().contains("cut off"), "{length}");
        }
    }

    #[test]
    fn a_bundle_of_another_shape_is_refused() {
        let good: Value = serde_json::from_slice(&bundle().1).unwrap();
        let refused = |change: &dyn Fn(&mut Value)| {
            let mut changed = good.clone();
            change(&mut changed);
            read(changed.to_string().as_bytes()).unwrap_err()
        };
        let older = "application/vnd.dev.sigstore.bundle+json;version=0.1";
        assert!(refused(&|it| it["mediaType"] = older.into()).contains("version=0.1"));
        assert!(refused(&|it| it["dsseEnvelope"] = Value::Null).contains("nothing is stated"));
        assert!(refused(&|it| it["messageSignature"] = serde_json::json!({})).contains("both"));
        assert!(refused(&|it| it["verificationMaterial"] = serde_json::json!({})).contains("neither"));
        let certificate = serde_json::json!({"rawBytes": "MA=="});
        assert!(refused(&|it| it["verificationMaterial"]["certificate"] = certificate.clone()).contains("both"));
        assert!(refused(&|it| it["verificationMaterial"]["x509CertificateChain"] = 1.into()).contains("unknown field"));
        assert!(refused(&|it| it["other"] = 1.into()).contains("unknown field"));
    }

    #[test]
    fn a_bundle_with_a_certificate_is_left_to_who_knows_the_authorities() {
        let mut value: Value = serde_json::from_slice(&bundle().1).unwrap();
        value["verificationMaterial"] = serde_json::json!({"certificate": {"rawBytes": "MA=="}, "tlogEntries": [{}],
            "timestampVerificationData": {"rfc3161Timestamps": []}});
        assert_eq!(read(value.to_string().as_bytes()).unwrap().material, Material::Certificate);
    }
}
