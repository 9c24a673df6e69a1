//! Who signed what about a digest, judged by whom a target accepts. Pure for keys; certificates are judged by whoever is handed in.
//!
//! Whether a certificate was valid is a question of the moment that a log or a timestamp authority proves, never of this machine's clock:
//! it lives for minutes. Only cosign knows the authorities, so the caller brings that judge (`cosign::Cosign`), and tests bring their own.

use crate::oci::Digest;
use crate::trust::bundle::{self, Bundle, Material};
use crate::trust::policy::{Identity, Policy};
use crate::trust::provenance;
use crate::trust::statement::{Statement, predicate};

/// What is known of the bundles that lie beside a digest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// What accepted signers state.
    pub accepted: Vec<Attested>,
    /// What does not count.
    pub refused: Vec<Refused>,
}

/// A statement of an accepted signer.
#[derive(Clone, Debug, PartialEq)]
pub struct Attested {
    /// Who, for people.
    pub signer: String,
    /// What.
    pub statement: Statement,
}

/// A bundle that does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The bundle's own digest.
    pub bundle: Digest,
    /// Why.
    pub why: String,
}

/// Says whether a bundle's certificate is one of that identity and signed the bundle while it was valid; if not, why.
pub type Certificates<'c> = dyn Fn(&[u8], &Statement, &Identity) -> Result<(), String> + 'c;

/// Judges every bundle that was found beside `subject`.
pub fn judge<'b>(
    subject: &Digest,
    bundles: impl IntoIterator<Item = &'b [u8]>,
    policy: &Policy,
    certificates: &Certificates<'_>,
) -> Findings {
    let mut findings = Findings::default();
    for bytes in bundles {
        match attested(subject, bytes, policy, certificates) {
            Ok(attested) => findings.accepted.push(attested),
            Err(why) => findings.refused.push(Refused { bundle: Digest::of(bytes), why }),
        }
    }
    findings
}

/// What one bundle states about `subject`.
///
/// # Errors
/// It is damaged, about something else, or not signed by anybody who is accepted.
pub fn attested(
    subject: &Digest,
    bytes: &[u8],
    policy: &Policy,
    certificates: &Certificates<'_>,
) -> Result<Attested, String> {
    let Bundle { material, opened } = bundle::read(bytes)?;
    let statement = opened.statement;
    if !statement.is_about(subject) {
        return Err(format!("it is about {}, not {subject}", statement.subjects()));
    }
    let signer = match material {
        Material::Key(hint) => {
            let accepted = || format!("accepted is {}", policy.list());
            let (key, name) =
                policy.key(&hint).ok_or_else(|| format!("it is signed by another key ({hint}); {}", accepted()))?;
            if !key.has_signed(&opened.signed, &opened.signature) {
                return Err(format!("its signature is not of {name} ({key}) over what it states"));
            }
            format!("{name} ({key})")
        }
        Material::Certificate => by_certificate(bytes, &statement, policy, certificates)?,
    };
    Ok(Attested { signer, statement })
}

fn by_certificate(
    bytes: &[u8],
    statement: &Statement,
    policy: &Policy,
    certificates: &Certificates<'_>,
) -> Result<String, String> {
    if policy.identities.is_empty() {
        return Err(format!("it is signed with a certificate; accepted is {}", policy.list()));
    }
    let mut reasons = Vec::new();
    for identity in &policy.identities {
        match certificates(bytes, statement, identity) {
            Ok(()) => return Ok(identity.to_string()),
            Err(why) => reasons.push(format!("it is not of {identity}: {why}")),
        }
    }
    Err(reasons.join("; "))
}

impl Findings {
    /// The accepted statements with a predicate of that type.
    pub fn of_type<'f>(&'f self, predicate_type: &'f str) -> impl Iterator<Item = &'f Attested> + 'f {
        self.accepted.iter().filter(move |attested| attested.statement.predicate_type == predicate_type)
    }

    /// Whether an accepted signer made a statement of that type: what is there is never added again.
    pub fn has(&self, predicate_type: &str) -> bool {
        self.of_type(predicate_type).next().is_some()
    }

    /// Those of these predicate types that no accepted signer has stated yet: what is left to sign.
    pub fn lacking<'t>(&self, wanted: &[&'t str]) -> Vec<&'t str> {
        wanted.iter().copied().filter(|predicate_type| !self.has(predicate_type)).collect()
    }

    /// The accepted signer whose provenance names this version and this source state: only such an image is taken over.
    ///
    /// # Errors
    /// There is none; what provenance there is says something else.
    pub fn origin(&self, version: &str, revision: &str) -> Result<&str, String> {
        let mut reasons = Vec::new();
        for attested in self.of_type(predicate::PROVENANCE) {
            match provenance::check(&attested.statement.predicate, version, revision) {
                Ok(()) => return Ok(&attested.signer),
                Err(why) => reasons.push(format!("{} signed, and {why}", attested.signer)),
            }
        }
        if reasons.is_empty() {
            reasons.push("no accepted signer says where it is from".into());
            reasons.extend(self.lines());
        }
        Err(reasons.join("; "))
    }

    /// Who signed what, and what does not count: one line each, for people.
    pub fn lines(&self) -> Vec<String> {
        let accepted =
            self.accepted.iter().map(|one| format!("{} signed {}", one.signer, one.statement.predicate_type));
        let refused = self.refused.iter().map(|one| format!("the bundle {} does not count: {}", one.bundle, one.why));
        accepted.chain(refused).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::key::SigningKey;
    use crate::trust::statement::{Envelope, PAYLOAD, pre_authentication};

    fn nobody(_: &[u8], _: &Statement, _: &Identity) -> Result<(), String> {
        Err("no authority".into())
    }

    fn key() -> SigningKey {
        SigningKey::from_pem(&SigningKey::generate().unwrap(), &"a test").unwrap()
    }

    fn signed(key: &SigningKey, digest: &Digest) -> Vec<u8> {
        let payload = Statement::new("demo", digest, predicate::SIGNATURE, serde_json::json!({})).bytes().unwrap();
        let signature = key.sign(&pre_authentication(PAYLOAD, &payload)).unwrap();
        bundle::write(&key.public(), Envelope::new(&payload, &signature)).unwrap()
    }

    fn policy(key: &SigningKey) -> Policy {
        Policy { keys: vec![(key.public(), "ann.pub".into())], identities: Vec::new() }
    }

    #[test]
    fn one_valid_bundle_of_an_accepted_signer_counts_whatever_lies_beside_it() {
        let (ann, eve, subject) = (key(), key(), Digest::of(b"image"));
        let bundles =
            [signed(&eve, &subject), signed(&ann, &Digest::of(b"other")), b"{".to_vec(), signed(&ann, &subject)];
        let findings = judge(&subject, bundles.iter().map(Vec::as_slice), &policy(&ann), &nobody);
        assert!(findings.has(predicate::SIGNATURE) && !findings.has(predicate::PROVENANCE));
        assert_eq!(findings.accepted.len(), 1);
        let reasons: Vec<&str> = findings.refused.iter().map(|refused| refused.why.as_str()).collect();
        let expected = ["signed by another key", "it is about sha256:", "cut off"];
        for (reason, expected) in reasons.iter().zip(expected) {
            assert!(reason.contains(expected), "{reason}");
        }
        assert!(findings.lines()[0].contains("ann.pub (key "), "{:?}", findings.lines());
    }

    #[test]
    fn an_image_is_ours_where_an_accepted_signer_says_that_it_is_of_this_version_and_commit() {
        let subject = Digest::of(b"image");
        let of = |signer: &str, revision: &str| {
            let predicate = serde_json::json!({"buildDefinition": {
                "externalParameters": {"version": "1.2.3", "revision": revision},
                "resolvedDependencies": [{"digest": {"gitCommit": revision}}],
            }});
            let statement = Statement::new("demo", &subject, predicate::PROVENANCE, predicate);
            Attested { signer: signer.into(), statement }
        };
        let findings = Findings { accepted: vec![of("eve", "bad"), of("ann", "c0ffee")], refused: Vec::new() };
        assert_eq!(findings.origin("1.2.3", "c0ffee"), Ok("ann"));
        let why = findings.origin("1.2.4", "c0ffee").unwrap_err();
        assert!(why.contains("ann signed, and its provenance is of version 1.2.3"), "{why}");
        let refused = vec![Refused { bundle: Digest::of(b"b"), why: "it is cut off".into() }];
        let why = Findings { accepted: Vec::new(), refused }.origin("1.2.3", "c0ffee").unwrap_err();
        assert!(why.contains("no accepted signer") && why.contains("it is cut off"), "{why}");
        assert_eq!(findings.lacking(&[predicate::SIGNATURE, predicate::PROVENANCE]), [predicate::SIGNATURE]);
    }

    #[test]
    fn a_hint_at_an_accepted_key_is_no_proof() {
        let (ann, eve, subject) = (key(), key(), Digest::of(b"image"));
        let forged = String::from_utf8(signed(&eve, &subject)).unwrap();
        let forged = forged.replace(&eve.public().hint(), &ann.public().hint());
        let why = attested(&subject, forged.as_bytes(), &policy(&ann), &nobody).unwrap_err();
        assert!(why.contains("its signature is not of ann.pub"), "{why}");
    }

    #[test]
    fn a_certificate_is_judged_for_every_accepted_identity_and_no_other() {
        let subject = Digest::of(b"image");
        let mut value: serde_json::Value = serde_json::from_slice(&signed(&key(), &subject)).unwrap();
        value["verificationMaterial"] = serde_json::json!({"certificate": {"rawBytes": "MA=="}});
        let bytes = value.to_string().into_bytes();
        let identity = |subject: &str| Identity { issuer: "https://i".into(), subject: subject.into() };
        let of = |subjects: &[&str]| Policy {
            identities: subjects.iter().map(|subject| identity(subject)).collect(),
            ..Policy::default()
        };
        let only_b = |_: &[u8], _: &Statement, asked: &Identity| {
            if asked.subject == "b" { Ok(()) } else { Err(format!("{} is another", asked.subject)) }
        };
        let found = attested(&subject, &bytes, &of(&["a", "b"]), &only_b).unwrap();
        assert_eq!(found.signer, "b (says https://i)");
        let why = attested(&subject, &bytes, &of(&["a", "c"]), &only_b).unwrap_err();
        assert!(why.contains("a is another") && why.contains("c is another"), "{why}");
        let why = attested(&subject, &bytes, &policy(&key()), &only_b).unwrap_err();
        assert!(why.contains("signed with a certificate"), "{why}");
    }
}
