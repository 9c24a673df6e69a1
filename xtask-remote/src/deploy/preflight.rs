//! What must be true outside this machine before anything is deployed. Each check stands alone, so that all of them can be told at once.

use std::time::Duration;

use aws_sdk_acm::types::{CertificateDetail, CertificateStatus};
use aws_sdk_route53::types::HostedZoneConfig;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use serde_json::Value;

use xtask::chart::index::{FILE, Index};
use xtask::config::{Remote, Target};
use xtask::error::{Error, Exit, Result};
use xtask::ui;

use crate::aws::{Aws, explain};
use crate::tls::anonymous;

/// Whoever the credentials are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account's 12 digits.
    pub account: String,
    /// Of a user, a role's session, or the account's root.
    pub arn: String,
}

/// Asks AWS who the credentials are of.
///
/// # Errors
/// There are none, they are not valid or have expired, or AWS cannot be reached.
pub fn caller(aws: &Aws) -> Result<Caller> {
    let answer = aws.wait(aws_sdk_sts::Client::new(aws.config()).get_caller_identity().send());
    let answer = answer.map_err(|error| {
        let unreached = matches!(error, SdkError::DispatchFailure(_) | SdkError::TimeoutError(_));
        let told = explain("cannot ask AWS whose credentials these are", &error);
        match told.exit {
            Exit::Repository if unreached => Error { exit: Exit::Environment, remedies: Vec::new(), ..told }
                .remedy("check the network, and AWS_ENDPOINT_URL where it is set"),
            _ => told,
        }
    })?;
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    Ok(Caller { account: text(answer.account()), arn: text(answer.arn()) })
}

impl Caller {
    /// Whether the caller is one of these users and roles. A session is its role, whose path its name does not show.
    pub fn is_one_of(&self, principals: &[String]) -> bool {
        let caller = principal(&self.arn);
        caller.is_some() && principals.iter().any(|one| principal(one) == caller)
    }
}

/// Account, kind and name of a principal.
fn principal(arn: &str) -> Option<(&str, &str, &str)> {
    let mut parts = arn.splitn(6, ':').skip(4);
    let (account, resource) = (parts.next()?, parts.next()?);
    match resource.split_once('/')? {
        ("assumed-role", rest) => Some((account, "role", rest.split('/').next()?)),
        ("role", path) => Some((account, "role", path.rsplit('/').next()?)),
        ("user", path) => Some((account, "user", path)),
        _ => None,
    }
}

/// The certificate is issued and covers the domain.
///
/// # Errors
/// It is not, does not, or is not there.
pub fn certificate(aws: &Aws, arn: &str, domain: &str) -> Result<()> {
    let request = aws_sdk_acm::Client::new(aws.config()).describe_certificate().certificate_arn(arn);
    let answer = aws.wait(request.send()).map_err(|error| {
        if error.code() == Some("ResourceNotFoundException") {
            return Error::new(Exit::Environment, format!("there is no certificate {arn}"))
                .remedy(format!(
                    "aws acm request-certificate --region us-east-1 --validation-method DNS --domain-name {domain}"
                ))
                .remedy("or correct CHARTS_CERTIFICATE_ARN");
        }
        refused(&format!("cannot look at certificate {arn}"), &error)
    })?;
    let certificate = answer.certificate();
    let status = certificate.and_then(|certificate| certificate.status()).cloned();
    if status != Some(CertificateStatus::Issued) {
        let status = status.map_or_else(|| "in no state".into(), |status| status.to_string());
        return Err(Error::new(Exit::Environment, format!("certificate {arn} is {status}, not ISSUED"))
            .remedy("make the record that ACM asks for, and wait until it has seen it"));
    }
    let others = certificate.map(CertificateDetail::subject_alternative_names).unwrap_or_default();
    let own = certificate.and_then(CertificateDetail::domain_name);
    let names: Vec<&str> = others.iter().map(String::as_str).chain(own).collect();
    if names.iter().any(|name| covers(name, domain)) {
        return Ok(());
    }
    Err(Error::new(Exit::Environment, format!("certificate {arn} does not cover {domain}"))
        .because(format!("it covers {}", names.join(", ")))
        .remedy("name one that does in CHARTS_CERTIFICATE_ARN"))
}

/// Whether a certificate's name is for a host: a star stands for one label.
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// The zone is public, and the domain's own.
///
/// # Errors
/// It is not, or not there.
pub fn zone(aws: &Aws, id: &str, domain: &str) -> Result<()> {
    let request = aws_sdk_route53::Client::new(aws.config()).get_hosted_zone().id(id);
    let answer = aws.wait(request.send()).map_err(|error| {
        if error.code() == Some("NoSuchHostedZone") {
            return Error::new(Exit::Environment, format!("there is no hosted zone {id}"))
                .remedy("aws route53 list-hosted-zones lists them; correct CHARTS_HOSTED_ZONE_ID");
        }
        refused(&format!("cannot look at hosted zone {id}"), &error)
    })?;
    let zone = answer.hosted_zone();
    let name = zone.map(|zone| zone.name().trim_end_matches('.').to_owned()).unwrap_or_default();
    let private = zone.and_then(|zone| zone.config()).is_some_and(HostedZoneConfig::private_zone);
    let wrong = |why: &str| {
        Error::new(Exit::Environment, format!("hosted zone {id} is not one for {domain}"))
            .because(why)
            .remedy("aws route53 list-hosted-zones lists them; correct CHARTS_HOSTED_ZONE_ID")
    };
    if private {
        return Err(wrong("it is private: nobody outside would find the records"));
    }
    if domain == name || domain.ends_with(&format!(".{name}")) {
        return Ok(());
    }
    Err(wrong(&format!("it is the zone of {name}")))
}

/// How a bucket's name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Nobody has it.
    Free,
    /// It is a bucket that the caller may look at.
    Ours,
    /// It is a bucket that the caller may not look at.
    Others,
}

/// Asks for a bucket.
///
/// # Errors
/// S3 does not answer.
pub fn bucket(aws: &Aws, name: &str) -> Result<Name> {
    let Err(error) = aws.wait(aws.s3().head_bucket().bucket(name).send()) else { return Ok(Name::Ours) };
    // The answer has no body that could say more.
    match error.raw_response().map(|response| response.status().as_u16()) {
        Some(404) => Ok(Name::Free),
        Some(403 | 301) => Ok(Name::Others),
        _ => Err(refused(&format!("cannot look for bucket {name}"), &error)),
    }
}

/// A bucket that stands in the way of one that the stack is to make; `resource` is the latter's logical id.
pub fn in_the_way(name: &str, resource: &str, standing: Name) -> Option<Error> {
    let taken = |why: &str| {
        Error::new(Exit::Conflict, format!("bucket {name} exists already, outside of the stack")).because(why)
    };
    match standing {
        Name::Free => None,
        Name::Ours => Some(
            taken("it stayed when an earlier stack was deleted, or somebody made it by hand")
                .remedy(format!(
                    "to keep what is in it: cd infrastructure && echo '{}' >import.json && npx cdk import --resource-mapping import.json",
                    serde_json::json!({resource: {"BucketName": name}})
                ))
                .remedy(format!("where it is empty: aws s3 rb s3://{name}; then retry the command")),
        ),
        Name::Others => Some(
            taken("it belongs to another account, or these credentials may not look at it")
                .remedy("use the credentials of a break-glass principal; bucket names are unique in all of AWS"),
        ),
    }
}

/// A bucket of the stack that is no longer there.
pub fn gone(name: &str, remote: &Remote) -> Error {
    let Remote { stack, region, .. } = remote;
    Error::new(Exit::Conflict, format!("stack {stack} has a bucket {name}, which is not there"))
        .because("it was deleted past the stack, and CloudFormation does not make again what it has made before")
        .remedy(format!(
            "make a new stack, for this one serves no chart any more: aws cloudformation delete-stack --region {region} \
             --stack-name {stack}; then run the same command, with --adopt-from where charts are kept elsewhere"
        ))
}

/// Buckets with a fixed name, by logical id.
pub fn buckets(template: &Value) -> Vec<(String, String)> {
    let resources = template["Resources"].as_object().into_iter().flatten();
    let buckets = resources.filter(|(_, resource)| resource["Type"] == "AWS::S3::Bucket");
    buckets
        .filter_map(|(id, resource)| Some((id.clone(), resource["Properties"]["BucketName"].as_str()?.to_owned())))
        .collect()
}

/// Users are not sent from a repository with charts to one that has none.
///
/// # Errors
/// The public address serves charts, or it cannot be known whether it does.
pub fn nothing_public_yet(target: &Target) -> Result<()> {
    let url = format!("{}/{FILE}", target.repository);
    let first = "or deploy all but the records: CHARTS_DNS=off";
    if !resolves(&target.repository) {
        ui::note("Nobody", format_args!("is served at {} yet: the name leads nowhere", target.repository));
        return Ok(());
    }
    let unknown = |error: Error| {
        Error::new(Exit::Verify, format!("cannot tell whether {} serves charts already", target.repository))
            .because(error.why.unwrap_or(error.what))
            .remedy("retry the command when it answers")
            .remedy(first)
    };
    let answer = anonymous(Duration::from_secs(15)).get(&url, &[]).map_err(unknown)?;
    match answer.status {
        200 if answer.body.trim_ascii_start().first() == Some(&b'<') => return Ok(()),
        200 => {}
        403 | 404 | 410 => return Ok(()),
        status => return Err(unknown(Error::new(Exit::Verify, format!("it answers {status}")))),
    }
    let size = Index::from_bytes(&answer.body).map(|index| index.size());
    match size.map_err(unknown)? {
        (0, _) => Ok(()),
        (versions, charts) => Err(Error::new(
            Exit::Conflict,
            format!("{url} lists {versions} versions of {charts} charts, and the bucket none: users would lose them"),
        )
        .remedy(format!("cargo xtask deploy-infra --adopt-from {} copies them first", target.repository))
        .remedy(first)),
    }
}

/// Whether the name of a URL's host leads to an address.
fn resolves(url: &str) -> bool {
    use std::net::ToSocketAddrs;
    let host = crate::deploy::host(url);
    (host, 443).to_socket_addrs().is_ok_and(|mut addresses| addresses.next().is_some())
}

/// What the SDK says, for somebody who deploys: the publisher's role, which others are pointed to, is not enough here.
fn refused<E>(what: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let told = explain(what, error);
    match error.code() {
        Some("AccessDenied" | "AccessDeniedException") => {
            Error { exit: Exit::Environment, remedies: Vec::new(), ..told }
                .remedy("these credentials may not look at it: use a break-glass principal's, or the deploy role")
        }
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificates_star_stands_for_exactly_one_label() {
        assert!(covers("*.example.com", "charts.example.com") && covers("charts.example.com", "charts.example.com"));
        assert!(!covers("*.example.com", "a.charts.example.com") && !covers("*.example.com", "example.com"));
        assert!(!covers("example.com", "charts.example.com"));
    }

    #[test]
    fn a_session_is_its_role_and_nobody_else() {
        let caller = |arn: &str| Caller { account: "1".into(), arn: arn.into() };
        let guardians = ["arn:aws:iam::1:role/team/ops".to_owned(), "arn:aws:iam::1:user/ann".to_owned()];
        assert!(caller("arn:aws:sts::1:assumed-role/ops/session").is_one_of(&guardians));
        assert!(caller("arn:aws:iam::1:user/ann").is_one_of(&guardians));
        for stranger in [
            "arn:aws:sts::2:assumed-role/ops/session",
            "arn:aws:sts::1:assumed-role/dev/ops",
            "arn:aws:iam::1:user/ops",
            "arn:aws:iam::1:user/team/ann",
            "arn:aws:iam::1:root",
            "",
        ] {
            assert!(!caller(stranger).is_one_of(&guardians), "{stranger}");
        }
    }

    #[test]
    fn a_bucket_that_is_in_the_way_comes_with_the_line_that_imports_it() {
        let error = in_the_way("charts-1", "Bucket", Name::Ours).unwrap();
        assert!(
            error.remedies[0].contains(r#"{"Bucket":{"BucketName":"charts-1"}}"#)
                && error.remedies[0].contains("cdk import")
        );
        assert_eq!(in_the_way("charts-1", "Bucket", Name::Free).map(|error| error.what), None);
    }
}
