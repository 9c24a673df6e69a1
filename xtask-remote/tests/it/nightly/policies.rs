//! The admission policies that docs/signatures.md offers, word for word but for whose image and signer it is, as the programs judge them that
//! they are written for: Sigstore's policy-controller and Kyverno.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use xtask::local;
use xtask::oci::registry::Registry;
use xtask::oci::{self, Descriptor, Digest};
use xtask::trust::attachments;
use xtask::trust::cosign::{By, Cosign};
use xtask::trust::signer::Signer;
use xtask::trust::statement::predicate;

use crate::servers::Sigstore;
use crate::support::{Demo, Run, Served, documented, scrubbed, tool};
use crate::trust::{new_key, statement};

#[test]
fn i16_the_policy_controller_admits_what_the_workflow_signed_and_nothing_else() {
    let (Some(program), Some(sigstore)) = (tool("policy-tester"), Sigstore::shared()) else { return };
    let cosign = Cosign::at(&sigstore.cosign, Some(sigstore.trusted_root.clone()));
    let workflow = Signer::Cosign(cosign, By::Identity(Some(sigstore.services.clone())));
    let images = Images::signed_by(&workflow);
    let folder = tempfile::tempdir().unwrap();
    let (policy, root) = (folder.path().join("policy.json"), folder.path().join("root.json"));
    std::fs::write(&root, trust_root(sigstore).to_string()).unwrap();
    let ask = |spec: &Value, image: &str| {
        let text = json!({"apiVersion": "policy.sigstore.dev/v1beta1", "kind": CLUSTER_IMAGE_POLICY,
            "metadata": {"name": "policy"}, "spec": spec});
        std::fs::write(&policy, text.to_string()).unwrap();
        let mut command = scrubbed(program.to_str().unwrap());
        command.env("HOME", folder.path()).arg("--policy").arg(&policy).arg("--trustroot").arg(&root);
        Run::of({
            command.args(["--image", image]);
            command
        })
    };
    let spec = images.policy(CLUSTER_IMAGE_POLICY);
    let ours = with_sigstore(&spec, sigstore);
    images.judge(
        [
            "no valid bundles exist in registry",
            "threshold not met for verified signed timestamps",
            "provided artifact digest does not match any digest in statement",
            "no matching attestations with type https://slsa.dev/provenance/v1",
        ],
        |image| ask(&ours, image),
    );
    // Another repository's workflow, and a key: the policy-controller reads bundles of identities alone.
    let mut theirs = ours.clone();
    let identities = "/authorities/0/keyless/identities";
    *theirs.pointer_mut(identities).unwrap() = spec.pointer(identities).unwrap().clone();
    assert_told(&ask(&theirs, &images.reference(SIGNED)), "no matching CertificateIdentity found");
    let mut key = ours;
    let authority = key.pointer_mut("/authorities/0").unwrap().as_object_mut().unwrap();
    authority.remove("keyless");
    authority.insert("key".into(), json!({"data": new_key().public().to_pem()}));
    assert_told(&ask(&key, &images.reference(SIGNED)), "the authority must be keyless");
}

#[test]
fn i16_kyverno_admits_what_the_key_signed_and_nothing_else() {
    let Some(program) = tool("kyverno") else { return };
    let key = new_key();
    let public = key.public().to_pem();
    let images = Images::signed_by(&Signer::Key(key));
    let folder = tempfile::tempdir().unwrap();
    let mut spec = images.policy(IMAGE_VALIDATING_POLICY);
    spec["attestors"][0]["cosign"]["key"]["data"] = public.into();
    let (policy, pod) = (folder.path().join("policy.yaml"), folder.path().join("pod.yaml"));
    let text = json!({"apiVersion": "policies.kyverno.io/v1", "kind": IMAGE_VALIDATING_POLICY,
        "metadata": {"name": "policy"}, "spec": spec});
    std::fs::write(&policy, text.to_string()).unwrap();
    let ask = |containers: &Value, init_containers: &Value| {
        let text = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "demo", "namespace": "default"},
            "spec": {"containers": containers, "initContainers": init_containers}});
        std::fs::write(&pod, text.to_string()).unwrap();
        let mut command = scrubbed(program.to_str().unwrap());
        command.env("HOME", folder.path()).arg("apply").arg(&policy).arg("--resource").arg(&pod);
        Run::of({
            command.args(["--registry", "--policy-report"]);
            command
        })
    };
    let container = |image: &str| json!([{"name": "demo", "image": image}]);
    const REASON: &str = "no accepted signer says where this image is from";
    images.judge([REASON; REFUSED.len()], |image| ask(&container(image), &json!([])));
    let (signed, unsigned) = (images.reference(SIGNED), images.reference(UNSIGNED));
    assert_told(&ask(&container(&signed), &container(&unsigned)), REASON);
    // Other images are other policies' affair.
    ask(
        &json!([{"name": "demo", "image": signed}, {"name": "other", "image": "registry.example.com/other:1"}]),
        &json!([]),
    )
    .ok();
}

const CLUSTER_IMAGE_POLICY: &str = "ClusterImagePolicy";
const IMAGE_VALIDATING_POLICY: &str = "ImageValidatingPolicy";

const SIGNED: &str = "1.0.0";
const REFUSED: [&str; 4] = [UNSIGNED, STRANGERS, MISPLACED, UNPROVEN];
const UNSIGNED: &str = "1.1.0";
/// Signed by somebody else.
const STRANGERS: &str = "1.2.0";
/// Beside it lies what the accepted signer said of another image.
const MISPLACED: &str = "1.3.0";
/// Its signer did not say where it is from.
const UNPROVEN: &str = "1.4.0";

/// Images that were released, and who serves them.
struct Images {
    demo: Demo,
    _served: Served,
}

impl Images {
    /// One has the signer's provenance, and the others do not.
    fn signed_by(signer: &Signer) -> Self {
        let demo = Demo::new();
        for version in [&[SIGNED], &REFUSED[..]].concat() {
            demo.xtask(&["release", version]).ok();
        }
        let served = demo.serve();
        let images = Images { demo, _served: served };
        let say = |signer: &Signer, of: &str, kind: &str| {
            signer.sign(&[statement(&images.digest(of), kind)]).unwrap().remove(0)
        };
        let stranger = Signer::Key(new_key());
        images.attach(SIGNED, &say(signer, SIGNED, predicate::PROVENANCE), predicate::PROVENANCE);
        images.attach(STRANGERS, &say(&stranger, STRANGERS, predicate::PROVENANCE), predicate::PROVENANCE);
        images.attach(MISPLACED, &say(signer, SIGNED, predicate::PROVENANCE), predicate::PROVENANCE);
        images.attach(UNPROVEN, &say(signer, UNPROVEN, predicate::SIGNATURE), predicate::SIGNATURE);
        images
    }

    fn digest(&self, version: &str) -> Digest {
        self.demo.tags()[version].parse().unwrap()
    }

    /// As a chart names it.
    fn reference(&self, version: &str) -> String {
        format!("{}:{version}@{}", self.name(), self.digest(version))
    }

    fn name(&self) -> String {
        format!("localhost:{}/team/demo", self.demo.port)
    }

    fn attach(&self, version: &str, bundle: &[u8], predicate_type: &str) {
        let registry = local::registry(&self.demo.published());
        let manifest = registry.fetch(oci::Part::Manifest, &self.digest(version)).unwrap();
        let subject = Descriptor::of(oci::INDEX, &manifest);
        let referrer = attachments::referrer(&subject, bundle, predicate_type, "2026-01-01T00:00:00Z").unwrap();
        registry.attach(&[referrer]).unwrap();
    }

    /// What the documented policy of this kind says, of these images.
    fn policy(&self, kind: &str) -> Value {
        let spec = documented("docs/signatures.md", kind)["spec"].to_string();
        let image = if kind == CLUSTER_IMAGE_POLICY { IMAGE } else { IMAGE_OF_A_KEY };
        assert!(spec.contains(image), "{spec}");
        serde_json::from_str(&spec.replace(image, &self.name())).unwrap()
    }

    /// Asserts that the one is admitted, and no other, for these reasons.
    #[track_caller]
    fn judge(&self, reasons: [&str; REFUSED.len()], ask: impl Fn(&str) -> Run) {
        ask(&self.reference(SIGNED)).ok();
        for (version, reason) in REFUSED.into_iter().zip(reasons) {
            assert_told(&ask(&self.reference(version)), reason);
        }
    }
}

/// Asserts that an image was refused, and why.
#[track_caller]
fn assert_told(run: &Run, reason: &str) {
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stdout.contains(reason), "`{reason}` is not in:\n{}\n{}", run.stdout, run.stderr);
}

/// The images that the documented policies are about: production's, which its workflow signs, and one that a key does.
const IMAGE: &str = "ghcr.io/alto9/kube9-operator";
const IMAGE_OF_A_KEY: &str = "example.com/my-operator";

/// The policy for a private Sigstore, which has a TrustRoot and no log of its certificates, and for its workflow.
fn with_sigstore(spec: &Value, sigstore: &Sigstore) -> Value {
    let mut spec = spec.clone();
    let authority = &mut spec["authorities"][0];
    authority["rfc3161timestamp"]["trustRootRef"] = TRUST_ROOT.into();
    let keyless = &mut authority["keyless"];
    keyless["trustRootRef"] = TRUST_ROOT.into();
    keyless["insecureIgnoreSCT"] = true.into();
    let identity = &mut keyless["identities"][0];
    identity["issuer"] = sigstore.issuer.clone().into();
    let subject = identity["subjectRegExp"].as_str().unwrap();
    identity["subjectRegExp"] =
        subject.replace("alto9/kube9-operator", "team/demo").replace("release-image", "release").into();
    spec
}

const TRUST_ROOT: &str = "private";

fn trust_root(sigstore: &Sigstore) -> Value {
    let authority = |name: &str| {
        let chain = BASE64.encode(std::fs::read(sigstore.folder().join(name)).unwrap());
        json!([{"subject": {"organization": "tests", "commonName": name}, "uri": "https://sigstore.example.com", "certChain": chain}])
    };
    let keys = json!({"certificateAuthorities": authority("fulcio.pem"), "timestampAuthorities": authority("tsa.pem")});
    json!({"apiVersion": "policy.sigstore.dev/v1alpha1", "kind": "TrustRoot", "metadata": {"name": TRUST_ROOT},
        "spec": {"sigstoreKeys": keys}})
}
