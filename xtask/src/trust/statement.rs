//! What is said of a digest: an in-toto statement, and the DSSE envelope that signatures are made over. Pure.
//!
//! Formats: in-toto Attestation Framework, "Statement" v1; DSSE "Protocol" 1.0.2. The signature is over `pre_authentication`, so that
//! neither the bytes nor their declared type can be exchanged.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;
use crate::oci::{self, Digest};

/// The type of a statement.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// The media type of a statement, as an envelope names it.
pub const PAYLOAD: &str = "application/vnd.in-toto+json";

/// The predicate types that a release makes.
pub mod predicate {
    /// "This was signed": what `cosign sign` writes and `cosign verify` looks at; its predicate is empty.
    pub const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";
    /// SLSA provenance 1.0.
    pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
    /// A CycloneDX bill of materials.
    pub const SBOM: &str = "https://cyclonedx.org/bom";
    /// An OpenVEX document.
    pub const VEX: &str = "https://openvex.dev/ns/v0.2.0";
}

/// A claim about something that a digest names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    /// What it is about.
    pub subject: Vec<Subject>,
    /// What is claimed, as the address of a specification.
    pub predicate_type: String,
    /// The claim.
    #[serde(default)]
    pub predicate: Value,
}

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What people call it; means nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its digests by algorithm.
    pub digest: BTreeMap<String, String>,
}

impl Statement {
    /// A statement about one digest.
    pub fn new(name: &str, digest: &Digest, predicate_type: &str, predicate: Value) -> Self {
        Self::about([(name, digest)], predicate_type, predicate)
    }

    /// A statement about several digests, each with a name.
    pub fn about<'s>(
        subjects: impl IntoIterator<Item = (&'s str, &'s Digest)>,
        predicate_type: &str,
        predicate: Value,
    ) -> Self {
        let subject = subjects.into_iter().map(|(name, digest)| {
            let digest = [("sha256".to_owned(), digest.hex().to_owned())].into();
            Subject { name: name.into(), digest }
        });
        Statement {
            kind: STATEMENT.into(),
            subject: subject.collect(),
            predicate_type: predicate_type.into(),
            predicate,
        }
    }

    /// Whether it is about that digest.
    pub fn is_about(&self, digest: &Digest) -> bool {
        self.subject.iter().any(|subject| subject.digest.get("sha256").map(String::as_str) == Some(digest.hex()))
    }

    /// What it is about, for people.
    pub fn subjects(&self) -> String {
        let digests = self.subject.iter().flat_map(|subject| &subject.digest);
        digests.map(|(algorithm, hex)| format!("{algorithm}:{hex}")).collect::<Vec<_>>().join(", ")
    }

    /// Its bytes: what is signed, and what programs that sign take.
    ///
    /// # Errors
    /// Never for what this tool states.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        oci::json(self)
    }
}

/// A statement's bytes and the signatures over them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    sig: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    keyid: String,
}

/// What was in an envelope: not believed before the signature was verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// What the signature is over.
    pub signed: Vec<u8>,
    /// The one signature.
    pub signature: Vec<u8>,
    /// What is stated.
    pub statement: Statement,
}

impl Envelope {
    /// An envelope of a statement's bytes, with a signature over their `pre_authentication`.
    pub fn new(payload: &[u8], signature: &[u8]) -> Self {
        let signature = Signature { sig: BASE64.encode(signature), keyid: String::new() };
        Envelope { payload: BASE64.encode(payload), payload_type: PAYLOAD.into(), signatures: vec![signature] }
    }

    /// What is in it.
    ///
    /// # Errors
    /// It holds anything but one signature over one in-toto statement.
    pub fn open(&self) -> Result<Opened, String> {
        if self.payload_type != PAYLOAD {
            return Err(format!("its payload is of type `{}`, not {PAYLOAD}", self.payload_type));
        }
        let [signature] = self.signatures.as_slice() else {
            return Err(format!("its envelope holds {} signatures, not one", self.signatures.len()));
        };
        let decoded = |what: &str, text: &str| {
            BASE64.decode(text).map_err(|error| format!("its {what} is not in base64: {error}"))
        };
        let signature = decoded("signature", &signature.sig)?;
        if signature.is_empty() {
            return Err("its signature is empty".into());
        }
        let payload = decoded("payload", &self.payload)?;
        let statement: Statement =
            serde_json::from_slice(&payload).map_err(|error| format!("its payload is no statement: {error}"))?;
        if statement.kind != STATEMENT {
            return Err(format!("its statement is of type `{}`, not {STATEMENT}", statement.kind));
        }
        Ok(Opened { signed: pre_authentication(&self.payload_type, &payload), signature, statement })
    }
}

/// What is signed: DSSE's pre-authentication encoding of a payload and its type.
pub fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement::new("demo", &Digest::of(b"demo"), predicate::SIGNATURE, serde_json::json!({}))
    }

    #[test]
    fn what_is_signed_is_encoded_as_the_specification_shows() {
        let encoded = pre_authentication("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn a_statement_is_written_as_in_toto_does_and_read_back() {
        let bytes = statement().bytes().unwrap();
        let hex = Digest::of(b"demo");
        let expected = format!(
            r#"{{"_type":"{STATEMENT}","subject":[{{"name":"demo","digest":{{"sha256":"{}"}}}}],"predicateType":"{}","predicate":{{}}}}"#,
            hex.hex(),
            predicate::SIGNATURE
        );
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
        let opened = Envelope::new(&bytes, b"signature").open().unwrap();
        assert_eq!((opened.statement, opened.signature.as_slice()), (statement(), b"signature".as_slice()));
        assert!(statement().is_about(&hex) && !statement().is_about(&Digest::of(b"other")));
    }

    #[test]
    fn an_envelope_of_anything_else_is_refused() {
        let good = serde_json::to_value(Envelope::new(&statement().bytes().unwrap(), b"s")).unwrap();
        let refused = |change: &dyn Fn(&mut Value)| {
            let mut changed = good.clone();
            change(&mut changed);
            serde_json::from_value::<Envelope>(changed)
                .map_err(|error| error.to_string())
                .and_then(|envelope| envelope.open())
                .unwrap_err()
        };
        let payload = |text: &str| Value::from(BASE64.encode(text));
        assert!(refused(&|it| it["payloadType"] = "text/plain".into()).contains("`text/plain`"));
        assert!(refused(&|it| it["signatures"] = Value::Array(vec![])).contains("0 signatures"));
        let twice = Value::Array(vec![good["signatures"][0].clone(), good["signatures"][0].clone()]);
        assert!(refused(&|it| it["signatures"] = twice.clone()).contains("2 signatures"));
        assert!(refused(&|it| it["signatures"][0]["sig"] = "".into()).contains("signature is empty"));
        assert!(refused(&|it| it["signatures"][0]["sig"] = "?".into()).contains("not in base64"));
        assert!(refused(&|it| it["payload"] = payload("{")).contains("no statement"));
        assert!(refused(&|it| it["unknown"] = 1.into()).contains("unknown"));
        let other = r#"{"_type":"https://in-toto.io/Statement/v0.1","subject":[],"predicateType":""}"#;
        assert!(refused(&|it| it["payload"] = payload(other)).contains("v0.1"));
        let twice = r#"{"_type":"a","_type":"b","subject":[],"predicateType":""}"#;
        assert!(refused(&|it| it["payload"] = payload(twice)).contains("duplicate"));
    }
}
