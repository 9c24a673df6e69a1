//! The program cosign, for what needs a service or knows the authorities: signing without a key (an identity's token for a certificate of
//! minutes) or with a key in AWS KMS, and judging certificates. It is called as Trivy and buildx are.
//!
//! cosign reads flags from variables that begin with `COSIGN_`, so it sees only the variables that a call needs. Nothing secret is an
//! argument: tokens and AWS credentials come through the environment. Names of flags are those of cosign 3.1 (`attest_blob.go`,
//! `verify.go`); what its help calls deprecated is not used.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config;
use crate::error::{Context, Error, Exit, Result};
use crate::oci::Digest;
use crate::sys::children::Call;
use crate::sys::files;
use crate::sys::tools;
use crate::trust::policy::Identity;
use crate::trust::statement::Statement;

/// What every call may see of ours: where programs and certificates are, and the way out of a company's network.
const ENVIRONMENT: [&str; 12] = [
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "NO_PROXY",
    "PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];
/// By what a workflow of GitHub's gets its token.
const OF_GITHUB: [&str; 3] = ["ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "GITHUB_ACTIONS"];
/// By what AWS knows a caller.
const OF_AWS: [&str; 16] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_KMS",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];
/// A service that cannot sign within this time is out of order.
const PATIENCE: &str = "--timeout=3m0s";

/// Services that are asked for nothing: neither a certificate nor an entry in a log.
const NO_SERVICES: &str = r#"{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}"#;
/// Authorities that nothing is asked of.
const NO_AUTHORITIES: &str = r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;

/// Who signs for cosign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// An identity that the environment has a token for; the services are the public ones, or those of a file.
    Identity(Option<PathBuf>),
    /// A key in AWS KMS: `awskms:///alias/NAME`.
    Kms(String),
}

/// A cosign that can be used.
#[derive(Clone, Debug)]
pub struct Cosign {
    program: PathBuf,
    /// The authorities that certificates are judged by; those of the public Sigstore where there is no file.
    trusted_root: Option<PathBuf>,
}

impl Cosign {
    /// The cosign on PATH. `trusted_root` is a file in Sigstore's format.
    ///
    /// # Errors
    /// It is not installed, or too old.
    pub fn find(trusted_root: Option<PathBuf>) -> Result<Self> {
        let program = tools::on_path("cosign").ok_or_else(|| missing("it is not on PATH".into()))?;
        let said =
            Call::new(&program).env_retain(|name| ENVIRONMENT.contains(&name)).args(["version", "--json"]).read()?;
        let version = version(&said).ok_or_else(|| missing(format!("it does not say its version: {said}")))?;
        if version < OLDEST {
            return Err(missing(format!("version {}.{} is there", version.0, version.1)));
        }
        Ok(Self::at(&program, trusted_root))
    }

    /// The cosign at a path, whatever its version.
    pub fn at(program: &Path, trusted_root: Option<PathBuf>) -> Self {
        Cosign { program: program.to_owned(), trusted_root }
    }

    /// Where it is.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Signs a statement, and gives the bundle.
    ///
    /// # Errors
    /// cosign refuses, or a service does not answer.
    pub fn sign(&self, statement: &[u8], by: &By) -> Result<Vec<u8>> {
        let folder = files::scratch("cosign");
        let signed = self.sign_in(&folder, statement, by);
        files::remove(&folder)?;
        signed
    }

    fn sign_in(&self, folder: &Path, statement: &[u8], by: &By) -> Result<Vec<u8>> {
        files::create_new(&folder.join(STATEMENT), statement)?;
        files::create_new(&folder.join(SERVICES), NO_SERVICES.as_bytes())?;
        files::create_new(&folder.join(AUTHORITIES), NO_AUTHORITIES.as_bytes())?;
        let names: Vec<&str> = match by {
            By::Identity(_) => ENVIRONMENT.iter().chain(&OF_GITHUB).copied().collect(),
            By::Kms(_) => ENVIRONMENT.iter().chain(&OF_AWS).copied().collect(),
        };
        let trusted_root = self.trusted_root.as_deref();
        let call = Call::new(&self.program)
            .env_retain(|name| names.contains(&name))
            .args(signing(by, trusted_root))
            .current_dir(folder);
        let output = call.output()?;
        if output.code != Some(0) {
            return Err(Error::new(Exit::Environment, "cosign could not sign").because(reason(&output.stderr)).remedy(
                match by {
                    By::Identity(_) => "give the job `permissions: id-token: write`, and retry the command",
                    By::Kms(_) => {
                        "check that the credentials may use the key: kms:GetPublicKey, kms:DescribeKey, kms:Sign"
                    }
                },
            ));
        }
        let bundle = files::read(&folder.join(BUNDLE))?;
        bundle.ok_or_else(|| Error::new(Exit::Failure, "cosign signed, and wrote no bundle"))
    }

    /// Whether a bundle's certificate is one of `identity`, was valid when a log or a timestamp authority saw the signature, and the signature
    /// is its; if not, why.
    ///
    /// # Errors
    /// cosign cannot know: it has no authorities to judge by.
    pub fn judge(
        &self,
        bundle: &[u8],
        subject: &Digest,
        statement: &Statement,
        identity: &Identity,
    ) -> Result<Result<(), String>> {
        let folder = files::scratch("cosign");
        let judged = self.judge_in(&folder, bundle, subject, statement, identity);
        files::remove(&folder)?;
        judged
    }

    fn judge_in(
        &self,
        folder: &Path,
        bundle: &[u8],
        subject: &Digest,
        statement: &Statement,
        identity: &Identity,
    ) -> Result<Result<(), String>> {
        files::create_new(&folder.join(BUNDLE), bundle)?;
        let trusted_root = self.trusted_root.as_deref();
        let has_log = trusted_root.map_or(Ok(true), has_certificate_log)?;
        let arguments = judging(subject, &statement.predicate_type, identity, trusted_root, has_log);
        let output = Call::new(&self.program)
            .env_retain(|name| ENVIRONMENT.contains(&name))
            .args(arguments)
            .current_dir(folder)
            .output()?;
        if output.code == Some(0) {
            return Ok(Ok(()));
        }
        let why = reason(&output.stderr);
        // Who cannot be asked has not refused: what is signed must not be taken for unsigned.
        if why.starts_with("setting trusted material:") {
            return Err(Error::new(Exit::Environment, "cosign cannot judge certificates: it has no authorities to judge by")
                .because(why)
                .remedy("where it cannot be reached from here, name a copy of Sigstore's trusted_root.json as the target's `trusted-root`")
                .remedy("or retry the command"));
        }
        Ok(Err(why))
    }
}

const OLDEST: (u64, u64) = (3, 1);
const STATEMENT: &str = "statement.json";
const BUNDLE: &str = "bundle.json";
const SERVICES: &str = "services.json";
const AUTHORITIES: &str = "authorities.json";

fn missing(why: String) -> Error {
    Error::new(Exit::Environment, format!("cosign {}.{} or later is needed", OLDEST.0, OLDEST.1))
        .because(why)
        .remedy("install it from its official release, and put it on PATH as `cosign`")
}

/// `{"gitVersion": "v3.1.3", …}`, or `devel` of one that was built from its module.
fn version(said: &str) -> Option<(u64, u64)> {
    let said: Value = serde_json::from_str(said).ok()?;
    let text = said.get("gitVersion")?.as_str()?;
    let version = semver::Version::parse(text.strip_prefix('v')?).ok()?;
    Some((version.major, version.minor))
}

/// The arguments by which a statement is signed. Files are named relative to the call's folder.
fn signing(by: &By, trusted_root: Option<&Path>) -> Vec<String> {
    let mut arguments: Vec<String> = ["attest-blob", "--yes", PATIENCE].map(Into::into).into();
    arguments.extend([format!("--statement={STATEMENT}"), format!("--bundle={BUNDLE}")]);
    match by {
        By::Identity(services) => {
            arguments.extend(services.iter().map(|file| format!("--signing-config={}", file.display())));
            arguments.extend(trusted_root.map(|file| format!("--trusted-root={}", file.display())));
        }
        By::Kms(key) => arguments.extend([
            format!("--key={key}"),
            format!("--signing-config={SERVICES}"),
            format!("--trusted-root={AUTHORITIES}"),
        ]),
    }
    arguments
}

/// The arguments by which a bundle with a certificate is judged. Where the authorities keep no log of the certificates that they give out,
/// no proof of an entry in it can be asked for.
fn judging(
    subject: &Digest,
    predicate_type: &str,
    identity: &Identity,
    trusted_root: Option<&Path>,
    has_certificate_log: bool,
) -> Vec<String> {
    let mut arguments: Vec<String> = ["verify-blob-attestation", PATIENCE, "--digestAlg=sha256"].map(Into::into).into();
    arguments.extend([
        format!("--bundle={BUNDLE}"),
        format!("--digest={}", subject.hex()),
        format!("--type={predicate_type}"),
        format!("--certificate-identity={}", identity.subject),
        format!("--certificate-oidc-issuer={}", identity.issuer),
    ]);
    let repository = config::workflow_repository(&identity.subject);
    arguments.extend(repository.map(|repository| format!("--certificate-github-workflow-repository={repository}")));
    arguments.extend(trusted_root.map(|file| format!("--trusted-root={}", file.display())));
    if !has_certificate_log {
        arguments.push("--insecure-ignore-sct".into());
    }
    arguments
}

/// Whether the authorities of a file keep a log of certificates.
fn has_certificate_log(trusted_root: &Path) -> Result<bool> {
    let what = || format!("the trusted root {} cannot be used", trusted_root.display());
    let bytes =
        files::read(trusted_root)?.ok_or_else(|| Error::new(Exit::Workspace, what()).because("it is not there"))?;
    let root: Value = serde_json::from_slice(&bytes).context(Exit::Workspace, what)?;
    Ok(root.get("ctlogs").and_then(Value::as_array).is_some_and(|logs| !logs.is_empty()))
}

/// What cosign said last, without its own preface. It may be of several lines.
fn reason(stderr: &str) -> String {
    let said = stderr.rsplit_once("error during command execution: ").map(|(_, said)| said);
    let said =
        said.or_else(|| stderr.lines().rev().find(|line| !line.trim().is_empty())).unwrap_or("it gave no reason");
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_signed_by_an_identity_with_the_public_services_or_those_of_a_file() {
        let shared = ["attest-blob", "--yes", PATIENCE, "--statement=statement.json", "--bundle=bundle.json"];
        assert_eq!(signing(&By::Identity(None), None), shared);
        let private = signing(&By::Identity(Some("/s.json".into())), Some(Path::new("/r.json")));
        assert_eq!(private[..5], shared);
        assert_eq!(private[5..], ["--signing-config=/s.json", "--trusted-root=/r.json"]);
    }

    #[test]
    fn a_key_in_kms_signs_without_any_other_service() {
        let arguments = signing(&By::Kms("awskms:///alias/release".into()), Some(Path::new("/r.json")));
        let expected =
            ["--key=awskms:///alias/release", "--signing-config=services.json", "--trusted-root=authorities.json"];
        assert_eq!(arguments[5..], expected);
    }

    #[test]
    fn a_certificate_is_judged_for_one_exact_identity_digest_and_type() {
        let identity = Identity { issuer: "https://i".into(), subject: "https://s@r".into() };
        let digest = Digest::of(b"");
        let arguments = judging(&digest, "https://slsa.dev/provenance/v1", &identity, Some(Path::new("/r.json")), true);
        let hex = format!("--digest={}", digest.hex());
        let expected = [
            "verify-blob-attestation",
            PATIENCE,
            "--digestAlg=sha256",
            "--bundle=bundle.json",
            &hex,
            "--type=https://slsa.dev/provenance/v1",
            "--certificate-identity=https://s@r",
            "--certificate-oidc-issuer=https://i",
            "--trusted-root=/r.json",
        ];
        assert_eq!(arguments, expected);
        let subject = "https://github.com/team/demo/.github/workflows/release.yml@refs/tags/v1.2.3".into();
        let workflow = judging(&digest, "t", &Identity { subject, ..identity.clone() }, None, true);
        assert_eq!(workflow.last().unwrap(), "--certificate-github-workflow-repository=team/demo");
        let without = judging(&digest, "t", &identity, None, false);
        assert_eq!(without.last().unwrap(), "--insecure-ignore-sct");
    }

    #[test]
    fn a_proof_of_the_certificate_log_is_asked_for_wherever_the_authorities_keep_one() {
        let folder = tempfile::tempdir().unwrap();
        let root = |text: &str| {
            let path = folder.path().join("root.json");
            files::replace(&path, text.as_bytes()).unwrap();
            has_certificate_log(&path)
        };
        assert!(root(r#"{"ctlogs":[{}]}"#).unwrap());
        assert!(!root(r#"{"ctlogs":[]}"#).unwrap() && !root("{}").unwrap());
        assert_eq!(root("{").unwrap_err().exit, Exit::Workspace);
        assert!(has_certificate_log(Path::new("/no/such/file")).is_err());
    }

    #[test]
    fn no_secret_is_visible_to_a_call_that_needs_none() {
        for secret in OF_GITHUB.iter().chain(&OF_AWS) {
            assert!(!ENVIRONMENT.contains(secret));
        }
        assert!(!OF_GITHUB.iter().any(|name| OF_AWS.contains(name)));
    }

    #[test]
    fn versions_and_reasons_are_taken_from_what_cosign_says() {
        assert_eq!(version(r#"{"gitVersion":"v3.1.3"}"#), Some((3, 1)));
        assert_eq!(version(r#"{"gitVersion":"devel"}"#), None);
        assert_eq!(version("cosign"), None);
        let said = "WARNING: x\nError: no\nmatch\nerror during command execution: no\nmatch\n";
        assert_eq!(reason(said), "no match");
        assert_eq!(reason("WARNING: x\npanic\n"), "panic");
        assert_eq!(reason(""), "it gave no reason");
    }
}
