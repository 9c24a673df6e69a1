//! Bundles between this tool and the real cosign: what one signs the other accepts, and what is tampered with both refuse.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use xtask::error::Exit;
use xtask::oci::Digest;
use xtask::trust::cosign::{self, By};
use xtask::trust::key::PublicKey;
use xtask::trust::policy::Identity;
use xtask::trust::signer::Signer;
use xtask::trust::statement::predicate;

use super::{Cosign, accepting, changed, judged, new_key, statement};
use crate::servers::Kms;
use crate::support::script;

const TYPES: [&str; 4] = [predicate::SIGNATURE, predicate::PROVENANCE, predicate::SBOM, predicate::VEX];

/// Somebody who signs with a key.
struct Ann {
    key: PublicKey,
    signer: Signer,
}

impl Ann {
    fn new() -> Self {
        let key = new_key();
        Ann { key: key.public(), signer: Signer::Key(key) }
    }

    fn signed(&self, subject: &Digest, predicate_type: &str) -> Vec<u8> {
        self.signer.sign(&[statement(subject, predicate_type)]).unwrap().remove(0)
    }
}

#[test]
fn cosign_accepts_every_statement_that_a_key_of_ours_signed() {
    let Some(cosign) = Cosign::new() else { return };
    let (ann, subject) = (Ann::new(), Digest::of(b"image"));
    for predicate_type in TYPES {
        let bundle = ann.signed(&subject, predicate_type);
        cosign.verify(&ann.key, &subject, predicate_type, &bundle).ok();
        cosign.verify(&new_key().public(), &subject, predicate_type, &bundle).fails(1, "");
    }
}

/// How a bundle is tampered with, and why it is refused.
struct Tampering {
    what: &'static str,
    why: &'static str,
    bundle: Vec<u8>,
    /// Whether cosign can tell: it takes one signature of several, and a hint at another key, for what they are.
    seen_by_cosign: bool,
}

fn tamperings(ann: &Ann, subject: &Digest) -> Vec<Tampering> {
    let good = ann.signed(subject, predicate::PROVENANCE);
    let other = Ann::new();
    let theirs = other.signed(subject, predicate::PROVENANCE);
    let value = |bundle: &[u8]| serde_json::from_slice::<Value>(bundle).unwrap();
    let payload = |bundle: &[u8], from: &str, to: &str| {
        changed(bundle, |it| {
            let text = BASE64.decode(it["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains(from), "{text}");
            it["dsseEnvelope"]["payload"] = BASE64.encode(text.replacen(from, to, 1)).into();
        })
    };
    let of = |what, why, bundle| Tampering { what, why, bundle, seen_by_cosign: true };
    let envelope = "dsseEnvelope";
    vec![
        of("it is cut off", "cut off", good[..good.len() - 7].to_vec()),
        of(
            "it is about another digest",
            "it is about sha256:",
            ann.signed(&Digest::of(b"other"), predicate::PROVENANCE),
        ),
        of("another key signed it", "signed by another key", theirs.clone()),
        of(
            "another key signed it and it hints at the accepted one",
            "its signature is not of ann.pub",
            changed(&theirs, |it| it["verificationMaterial"] = value(&good)["verificationMaterial"].clone()),
        ),
        of("the statement was changed", "its signature is not of", payload(&good, r#""a":1"#, r#""a":2"#)),
        of(
            "the digest in the statement was changed",
            "its signature is not of",
            payload(&ann.signed(&Digest::of(b"x"), predicate::PROVENANCE), Digest::of(b"x").hex(), subject.hex()),
        ),
        of(
            "the payload is of another type",
            "its payload is of type `application/json`",
            changed(&good, |it| it[envelope]["payloadType"] = "application/json".into()),
        ),
        Tampering {
            seen_by_cosign: true,
            ..of(
                "it holds two signatures",
                "holds 2 signatures",
                changed(&good, |it| {
                    let second = value(&theirs)[envelope]["signatures"][0].clone();
                    it[envelope]["signatures"].as_array_mut().unwrap().push(second);
                }),
            )
        },
        of("it holds no signature", "holds 0 signatures", changed(&good, |it| it[envelope]["signatures"] = json!([]))),
        of(
            "the signature is empty",
            "its signature is empty",
            changed(&good, |it| it[envelope]["signatures"][0]["sig"] = "".into()),
        ),
        of(
            "one bit of the signature was changed",
            "its signature is not of",
            changed(&good, |it| {
                let mut bytes = BASE64.decode(it[envelope]["signatures"][0]["sig"].as_str().unwrap()).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                it[envelope]["signatures"][0]["sig"] = BASE64.encode(bytes).into();
            }),
        ),
        of(
            "it is of another media type",
            "its media type is `application/json`",
            changed(&good, |it| it["mediaType"] = "application/json".into()),
        ),
        of(
            "a certificate stands in the place of the key",
            "signed with a certificate",
            changed(&good, |it| it["verificationMaterial"] = json!({"certificate": {"rawBytes": certificate()}})),
        ),
        of(
            "it names nobody",
            "neither a key nor a certificate",
            changed(&good, |it| it["verificationMaterial"] = json!({})),
        ),
        of(
            "its statement is of another version of in-toto",
            "its statement is of type",
            payload(&good, "Statement/v1", "Statement/v0.1"),
        ),
        of("it is a bundle of something else", "no Sigstore bundle", b"{\"schemaVersion\":2}".to_vec()),
    ]
}

/// A certificate that somebody made for themselves.
pub fn certificate() -> String {
    let made = rcgen::generate_simple_self_signed(["demo.example.com".to_owned()]).unwrap();
    BASE64.encode(made.cert.der())
}

#[test]
fn a_cosign_that_has_no_authorities_to_judge_by_has_not_refused_anything() {
    let Some(there) = Cosign::new() else { return };
    let (subject, program) = (Digest::of(b"image"), there.folder.path().join("without-network"));
    let (home, cosign) = (there.folder.path().display(), there.path().display());
    script(
        &program,
        &format!("export HOME='{home}' HTTPS_PROXY=http://127.0.0.1:1 NO_PROXY=\nexec '{cosign}' \"$@\"\n"),
    );
    let bundle = changed(&Ann::new().signed(&subject, predicate::PROVENANCE), |it| {
        it["verificationMaterial"] = json!({"certificate": {"rawBytes": certificate()}});
    });
    let identity = Identity { issuer: "https://issuer.example".into(), subject: "https://workflow.example".into() };
    let stated = statement(&subject, predicate::PROVENANCE);
    let unknown = cosign::Cosign::at(&program, None).judge(&bundle, &subject, &stated, &identity).unwrap_err();
    assert_eq!(unknown.exit, Exit::Environment);
    assert!(unknown.to_string().contains("tuf refresh failed"), "{unknown}");
}

#[test]
fn sixteen_tampered_bundles_are_refused_with_the_reason_and_by_cosign_too() {
    let (ann, subject) = (Ann::new(), Digest::of(b"image"));
    let cosign = Cosign::new();
    let tamperings = tamperings(&ann, &subject);
    assert_eq!(tamperings.len(), 16);
    for Tampering { what, why, bundle, seen_by_cosign } in tamperings {
        let told = judged(&subject, &bundle, &accepting(&ann.key)).unwrap_err();
        assert!(told.contains(why), "{what}: {told}");
        if let Some(cosign) = &cosign {
            let run = cosign.verify(&ann.key, &subject, predicate::PROVENANCE, &bundle);
            assert_eq!(run.code != Some(0), seen_by_cosign, "{what}: {}", run.stderr);
        }
    }
    let good = ann.signed(&subject, predicate::PROVENANCE);
    assert!(judged(&subject, &good, &accepting(&ann.key)).is_ok(), "or else nothing was proven");
}

#[test]
fn what_cosign_signs_with_a_key_is_verified_by_us() {
    let Some(cosign) = Cosign::new() else { return };
    cosign.run(&["generate-key-pair"]).ok();
    let public = std::fs::read_to_string(cosign.folder.path().join("cosign.pub")).unwrap();
    let public = PublicKey::from_pem(&public).unwrap();
    let private = cosign.folder.path().join("cosign.key").to_str().unwrap().to_owned();
    // The arguments are those of a key in KMS, and a key in a file stands in its place, which wants a password.
    let with_password = cosign.folder.path().join("cosign");
    script(&with_password, &format!("COSIGN_PASSWORD= exec '{}' \"$@\"\n", cosign.path().display()));
    let signer = Signer::Cosign(cosign::Cosign::at(&with_password, None), By::Kms(private));
    let subject = Digest::of(b"image");
    for predicate_type in TYPES {
        let wanted = statement(&subject, predicate_type);
        let bundle = signer.sign(std::slice::from_ref(&wanted)).unwrap().remove(0);
        assert_eq!(judged(&subject, &bundle, &accepting(&public)).unwrap().statement, wanted);
        let told = judged(&subject, &bundle, &accepting(&new_key().public())).unwrap_err();
        assert!(told.contains(&public.hint()), "both name a key alike: {told}");
    }
}

#[test]
fn a_key_in_aws_kms_signs_through_cosign_and_no_secret_is_an_argument() {
    let Some(cosign) = Cosign::new() else { return };
    let kms = Kms::start();
    let in_aws = cosign.folder.path().join("cosign");
    let variables = format!(
        "export AWS_ENDPOINT_URL=http://127.0.0.1:{} AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=canary",
        kms.port
    );
    let seen = cosign.folder.path().join("seen");
    let script_text =
        format!("{variables}\necho \"$@\" >'{}'\nexec '{}' \"$@\"\n", seen.display(), cosign.path().display());
    script(&in_aws, &script_text);
    let signer = Signer::Cosign(cosign::Cosign::at(&in_aws, None), By::Kms("awskms:///alias/release".into()));
    let subject = Digest::of(b"image");
    let wanted = statement(&subject, predicate::PROVENANCE);
    let bundle = signer.sign(std::slice::from_ref(&wanted)).unwrap().remove(0);
    assert_eq!(judged(&subject, &bundle, &accepting(&kms.public)).unwrap().statement, wanted);
    cosign.verify(&kms.public, &subject, predicate::PROVENANCE, &bundle).ok();
    let arguments = std::fs::read_to_string(seen).unwrap();
    assert!(arguments.contains("--key=awskms:///alias/release") && !arguments.contains("canary"), "{arguments}");
}

#[test]
fn a_cosign_that_cannot_sign_says_why_and_no_secret() {
    let Some(cosign) = Cosign::new() else { return };
    let signer = Signer::Cosign(cosign::Cosign::at(cosign.path(), None), By::Kms("/no/such/key".into()));
    let error = signer.sign(&[statement(&Digest::of(b"image"), predicate::SIGNATURE)]).unwrap_err();
    assert_eq!(error.what, "cosign could not sign");
    assert!(error.why.unwrap().contains("/no/such/key"));
    assert!(error.remedies[0].contains("kms:Sign"), "{:?}", error.remedies);
}
