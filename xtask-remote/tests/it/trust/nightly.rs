//! Signing without a key, end to end on a private Sigstore: a workflow's token, a certificate of minutes, a log, a timestamp; and what is
//! tampered with.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use xtask::oci::Digest;
use xtask::trust::bundle;
use xtask::trust::cosign::{By, Cosign};
use xtask::trust::key::SigningKey;
use xtask::trust::policy::{Identity, Policy};
use xtask::trust::signer::Signer;
use xtask::trust::statement::{Envelope, PAYLOAD, Statement, pre_authentication, predicate};
use xtask::trust::verify::{self, Attested};

use super::{changed, statement};
use crate::servers::Sigstore;

fn identity(sigstore: &Sigstore) -> Identity {
    Identity { issuer: sigstore.issuer.clone(), subject: sigstore.identity.clone() }
}

fn judged(sigstore: &Sigstore, subject: &Digest, bundle: &[u8], accepted: &[Identity]) -> Result<Attested, String> {
    judged_by(&sigstore.trusted_root, sigstore, subject, bundle, accepted)
}

fn judged_by(
    root: &Path,
    sigstore: &Sigstore,
    subject: &Digest,
    bundle: &[u8],
    accepted: &[Identity],
) -> Result<Attested, String> {
    let cosign = Cosign::at(&sigstore.cosign, Some(root.to_owned()));
    let policy = Policy { keys: Vec::new(), identities: accepted.to_vec() };
    verify::attested(subject, bundle, &policy, &|bundle, statement, identity| {
        cosign.judge(bundle, subject, statement, identity).unwrap()
    })
}

fn signed(sigstore: &Sigstore, subject: &Digest) -> Vec<u8> {
    signed_by(&sigstore.cosign, sigstore, subject)
}

fn signed_by(cosign: &Path, sigstore: &Sigstore, subject: &Digest) -> Vec<u8> {
    let cosign = Cosign::at(cosign, Some(sigstore.trusted_root.clone()));
    let signer = Signer::Cosign(cosign, By::Identity(Some(sigstore.services.clone())));
    let signed = signer.sign(&[statement(subject, predicate::PROVENANCE)]);
    signed.unwrap_or_else(|error| panic!("{error}\n{}", sigstore.logs())).remove(0)
}

#[test]
fn a_workflow_signs_with_its_token_alone_and_what_is_tampered_with_is_refused() {
    let Some(sigstore) = Sigstore::shared() else { return };
    let (subject, ours) = (Digest::of(b"image"), identity(sigstore));
    let (good, other) = (signed(sigstore, &subject), signed(sigstore, &Digest::of(b"other")));
    let found = judged(sigstore, &subject, &good, std::slice::from_ref(&ours)).unwrap();
    assert_eq!(found.signer, ours.to_string());
    assert_eq!(found.statement, statement(&subject, predicate::PROVENANCE));

    let stranger = |subject: &str, issuer: &str| Identity { issuer: issuer.into(), subject: subject.into() };
    let branch = ours.subject.replace("refs/tags/v1.2.3", "refs/heads/main");
    for accepted in [stranger(&branch, &ours.issuer), stranger(&ours.subject, "https://issuer.example.com")] {
        let told = judged(sigstore, &subject, &good, &[accepted]).unwrap_err();
        assert!(told.contains("no matching CertificateIdentity found"), "{told}");
    }
    let told = judged(sigstore, &Digest::of(b"third"), &good, std::slice::from_ref(&ours)).unwrap_err();
    assert!(told.contains("it is about"), "{told}");

    let value = |bundle: &[u8]| serde_json::from_slice::<Value>(bundle).unwrap();
    let theirs = value(&other);
    let material = "verificationMaterial";
    let tampered: [(&str, Vec<u8>); 9] = [
        (
            "the workflow, called by another repository",
            signed_by(&sigstore.cosign_called_by("eve/demo"), sigstore, &subject),
        ),
        (
            "the certificate of another signature",
            changed(&good, |it| it[material]["certificate"] = theirs[material]["certificate"].clone()),
        ),
        (
            "the log's entry of another signature",
            changed(&good, |it| it[material]["tlogEntries"] = theirs[material]["tlogEntries"].clone()),
        ),
        ("no entry of a log", changed(&good, |it| it[material]["tlogEntries"] = json!([]))),
        (
            "the timestamp of another signature",
            changed(&good, |it| {
                it[material]["timestampVerificationData"] = theirs[material]["timestampVerificationData"].clone();
            }),
        ),
        (
            "no timestamp",
            changed(&good, |it| drop(it[material].as_object_mut().unwrap().remove("timestampVerificationData"))),
        ),
        (
            "the signature of another statement",
            changed(&good, |it| it["dsseEnvelope"]["signatures"] = theirs["dsseEnvelope"]["signatures"].clone()),
        ),
        (
            "the statement was changed",
            changed(&other, |it| it["dsseEnvelope"]["payload"] = value(&good)["dsseEnvelope"]["payload"].clone()),
        ),
        (
            "a certificate that somebody made",
            changed(&good, |it| it[material]["certificate"]["rawBytes"] = super::bundles::certificate().into()),
        ),
    ];
    for (what, bundle) in tampered {
        let told = judged(sigstore, &subject, &bundle, std::slice::from_ref(&ours)).unwrap_err();
        println!("{what}: {told}");
        assert!(told.contains("it is not of https://github.com/team/demo"), "{what}: {told}");
    }
    let elsewhere = sigstore.folder().join("elsewhere.json");
    let mut root: Value = serde_json::from_slice(&std::fs::read(&sigstore.trusted_root).unwrap()).unwrap();
    root["certificateAuthorities"] = json!([]);
    std::fs::write(&elsewhere, root.to_string()).unwrap();
    let cosign = Cosign::at(&sigstore.cosign, Some(elsewhere));
    let judged = cosign.judge(&good, &subject, &found.statement, &ours).unwrap();
    assert!(judged.is_err(), "another authority's certificates");
}

/// An authority of the test's own, whose certificates are for the workflow, and valid for as long as the test says.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    der: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let der = BASE64.encode(params.self_signed(&key).unwrap().der());
        Authority { issuer: rcgen::Issuer::new(params, key), der }
    }

    /// A bundle of a statement, signed now, with a certificate that is valid for these seconds, counted from now.
    fn bundle(&self, sigstore: &Sigstore, statement: &Statement, valid: Range<i64>) -> Vec<u8> {
        let identity = identity(sigstore);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        let moment = |seconds: i64| {
            let first = "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
            let passed = u64::try_from(jiff::Timestamp::now().as_second() + seconds - first).unwrap();
            rcgen::date_time_ymd(2026, 1, 1) + Duration::from_secs(passed)
        };
        (params.not_before, params.not_after) = (moment(valid.start), moment(valid.end));
        params.subject_alt_names = vec![rcgen::SanType::URI(identity.subject.try_into().unwrap())];
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::CodeSigning];
        params.use_authority_key_identifier_extension = true;
        // Fulcio's extension for the issuer of the token: a UTF8String.
        let mut issuer = vec![0x0c, u8::try_from(identity.issuer.len()).unwrap()];
        issuer.extend(identity.issuer.as_bytes());
        // The one for the run's repository is older, and plain text.
        let extension = |number: u64, content: Vec<u8>| {
            rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57264, 1, number], content)
        };
        params.custom_extensions = vec![extension(8, issuer), extension(5, b"team/demo".to_vec())];
        let certificate = BASE64.encode(params.signed_by(&key, &self.issuer).unwrap().der());

        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64.encode(key.serialize_der()));
        let key = SigningKey::from_pem(&pem, &"a test").unwrap();
        let payload = statement.bytes().unwrap();
        let to_sign = pre_authentication(PAYLOAD, &payload);
        let signature = key.sign(&to_sign).unwrap();
        let bundle = bundle::write(&key.public(), Envelope::new(&payload, &signature)).unwrap();
        changed(&bundle, |it| {
            let entry = sigstore.entry(&to_sign, &signature, &certificate);
            let timestamp = BASE64.encode(sigstore.timestamp(&signature));
            it["verificationMaterial"] = json!({
                "certificate": {"rawBytes": certificate},
                "tlogEntries": [entry],
                "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": timestamp}]},
            });
        })
    }
}

#[test]
fn a_certificate_counts_where_it_was_valid_when_it_signed_whatever_the_time_is_now() {
    let Some(sigstore) = Sigstore::shared() else { return };
    let authority = Authority::new();
    let mut root: Value = serde_json::from_slice(&std::fs::read(&sigstore.trusted_root).unwrap()).unwrap();
    let known = json!({"subject": {}, "uri": "https://ca.example.com", "certChain": {"certificates": [{"rawBytes": authority.der}]},
        "validFor": {"start": "2026-01-01T00:00:00Z"}});
    root["certificateAuthorities"].as_array_mut().unwrap().push(known);
    let with_authority = sigstore.folder().join("with-authority.json");
    std::fs::write(&with_authority, root.to_string()).unwrap();

    const LIFE: i64 = 5;
    let (subject, accepted) = (Digest::of(b"image"), [identity(sigstore)]);
    let stated = statement(&subject, predicate::PROVENANCE);
    let brief = authority.bundle(sigstore, &stated, -1..LIFE);
    let over = authority.bundle(sigstore, &stated, -7200..-3600);
    let ahead = authority.bundle(sigstore, &stated, 3600..7200);
    std::thread::sleep(Duration::from_secs(LIFE.unsigned_abs() + 1));
    judged_by(&with_authority, sigstore, &subject, &brief, &accepted).unwrap();
    for (when, bundle) in [("an hour before", over), ("an hour later", ahead)] {
        let told = judged_by(&with_authority, sigstore, &subject, &bundle, &accepted).unwrap_err();
        println!("valid {when}: {told}");
        assert!(told.contains("certificate"), "{told}");
    }
}
