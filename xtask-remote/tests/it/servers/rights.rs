//! Which rights a request to AWS needs: actions and resources as AWS's "Service Authorization Reference" names them, for the requests that
//! our tools make. Another one is an error of the test: whoever adds it looks up what it needs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::edge::decoded;
use super::proxy::{Asked, Seen};
use super::versitygw::REGION;

/// One right that was needed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Need {
    pub action: String,
    pub resource: String,
    /// What conditions of policies may ask for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, String>,
}

impl Need {
    fn of(action: &str, resource: String) -> Self {
        Need { action: action.into(), resource, context: BTreeMap::new() }
    }
}

/// What a request to S3 needed; nothing where nobody signed it.
pub fn of_s3(seen: &Seen) -> Vec<Need> {
    if !seen.headers.contains_key("authorization") {
        return Vec::new();
    }
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    let (bucket, key) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    let (bucket_arn, object_arn) =
        (format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/{}", decoded(key)));
    let list = || Need::of("s3:ListBucket", bucket_arn.clone());
    match (seen.method.as_str(), key) {
        ("HEAD", "") => vec![list()],
        ("GET", "") if query.contains("list-type=2") => vec![list()],
        // Whoever may not list is told 403 of what is not there.
        ("GET" | "HEAD", key) if !key.is_empty() && !query.contains("versionId=") => {
            let missing = (seen.answered == Some(404)).then(list);
            std::iter::once(Need::of("s3:GetObject", object_arn)).chain(missing).collect()
        }
        ("PUT", key) if !key.is_empty() => {
            let condition = |header: &str| {
                let value = seen.headers.get(header)?.to_str().unwrap();
                // Which content was read is nobody's right.
                Some((format!("s3:{header}"), if value == "*" { "*" } else { "ETAG" }.to_owned()))
            };
            let context = ["if-match", "if-none-match"].into_iter().filter_map(condition).collect();
            vec![Need { context, ..Need::of("s3:PutObject", object_arn) }]
        }
        _ => panic!("the tests do not know what {} {} of S3 needs", seen.method, seen.path),
    }
}

/// What a request to another service needed, in an account; nothing where nobody signed it.
pub fn of_others(asked: &Asked, account: &str) -> Vec<Need> {
    let Some(service) = asked.header("authorization").and_then(|signed| signed.split('/').nth(3)) else {
        return Vec::new();
    };
    let path = asked.path.split('?').next().unwrap();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let body = String::from_utf8_lossy(&asked.body);
    let field = |name: &str| body.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).map(decoded);
    match (service, asked.method.as_str(), parts.as_slice()) {
        ("cloudformation", ..) => {
            let name = field("StackName").unwrap();
            let name = name.split('/').nth(1).unwrap_or(&name).to_owned();
            let stack = format!("arn:aws:cloudformation:{REGION}:{account}:stack/{name}/1");
            vec![Need::of(&format!("cloudformation:{}", field("Action").unwrap()), stack)]
        }
        ("cloudfront", method, ["2020-05-31", "distribution", id, "invalidation", ..]) => {
            let action = if method == "POST" { "cloudfront:CreateInvalidation" } else { "cloudfront:GetInvalidation" };
            vec![Need::of(action, format!("arn:aws:cloudfront::{account}:distribution/{id}"))]
        }
        ("route53", "GET", ["2013-04-01", "hostedzone", id]) => {
            vec![Need::of("route53:GetHostedZone", format!("arn:aws:route53:::hostedzone/{id}"))]
        }
        ("acm", ..) if asked.header("x-amz-target") == Some("CertificateManager.DescribeCertificate") => {
            let asked: serde_json::Value = serde_json::from_str(&body).unwrap();
            vec![Need::of("acm:DescribeCertificate", asked["CertificateArn"].as_str().unwrap().into())]
        }
        // Everybody may ask who they are.
        ("sts", ..) if field("Action").as_deref() == Some("GetCallerIdentity") => Vec::new(),
        _ => panic!("the tests do not know what {} {} of {service} needs: {body}", asked.method, asked.path),
    }
}
