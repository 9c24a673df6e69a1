//! What resources become: real where a release needs that.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::template::attributes;
use super::{element, escaped};
use crate::servers::moto::Moto;
use crate::servers::versitygw::{REGION, Versitygw};

/// A resource that is made.
#[derive(Clone, Default)]
pub struct Made {
    pub kind: String,
    /// What `Ref` gives.
    pub physical: String,
    /// What `Fn::GetAtt` gives.
    pub attributes: BTreeMap<String, String>,
    pub properties: Value,
    /// What is to become of it when its stack goes.
    pub policy: String,
}

/// Makes resources.
pub struct Maker {
    pub moto: Moto,
    pub store: Arc<Versitygw>,
}

impl Maker {
    /// Makes a resource of that type, or changes the one that is known. `id` is a name that nothing else has.
    pub fn make(&self, id: &str, kind: &str, properties: Value, known: Option<&Made>) -> Result<Made, String> {
        if let Some((known, name)) = known.and_then(|known| Some((known, fixed(kind, &properties, known)?))) {
            return Err(format!(
                "the fake replaces nothing, and {name} of {} cannot be changed otherwise",
                known.physical
            ));
        }
        let physical = match (kind, known) {
            ("AWS::S3::Bucket", _) => self.bucket(id, &properties, known)?,
            ("AWS::CloudFront::Distribution", _) => self.distribution(id, &properties, known),
            (_, Some(known)) => known.physical.clone(),
            (_, None) => self.name(id, kind, &properties),
        };
        let attributes = self.attributes(kind, &physical);
        Ok(Made { kind: kind.into(), physical, attributes, properties, policy: String::new() })
    }

    /// Deletes it.
    pub fn remove(&self, made: &Made) -> Result<(), String> {
        let reply = match made.kind.as_str() {
            "AWS::S3::Bucket" => self.store.ask("DELETE", &format!("/{}", made.physical), "", b"").send().unwrap(),
            "AWS::CloudFront::Distribution" => self.moto.remove_distribution(&made.physical),
            _ => return Ok(()),
        };
        if reply.status == 204 { Ok(()) } else { Err(reply.elements("Message").join(" ")) }
    }

    fn bucket(&self, id: &str, properties: &Value, known: Option<&Made>) -> Result<String, String> {
        let name = properties["BucketName"].as_str().map_or_else(|| id.to_lowercase(), str::to_owned);
        let path = format!("/{name}");
        if known.is_none() {
            if self.store.ask("HEAD", &path, "", b"").send().unwrap().status == 200 {
                return Err(format!("{name} already exists"));
            }
            self.store.ask("PUT", &path, "", b"").send().unwrap().is(200);
        }
        if let Some(status) = properties["VersioningConfiguration"]["Status"].as_str() {
            let body = element("VersioningConfiguration", &element("Status", status));
            self.store.ask("PUT", &path, "versioning=", body.as_bytes()).send().unwrap().is(200);
        }
        Ok(name)
    }

    fn distribution(&self, id: &str, properties: &Value, known: Option<&Made>) -> String {
        let mut config = properties["DistributionConfig"].clone();
        config["CallerReference"] = json!(id);
        let config = distribution_config(&config);
        match known {
            Some(known) => {
                self.moto.change_distribution(&known.physical, &config);
                known.physical.clone()
            }
            None => self.moto.make_distribution_of(&config),
        }
    }

    /// The name of what is only kept: the one that it is given, or one of the form that AWS gives.
    fn name(&self, id: &str, kind: &str, properties: &Value) -> String {
        let given = |name: &str| properties[name].as_str().map_or_else(|| id.to_owned(), str::to_owned);
        let account = &self.moto.account;
        match kind {
            "AWS::CloudWatch::Alarm" => given("AlarmName"),
            "AWS::CloudWatch::Dashboard" => given("DashboardName"),
            "AWS::IAM::OIDCProvider" => {
                let host = given("Url").trim_start_matches("https://").to_owned();
                format!("arn:aws:iam::{account}:oidc-provider/{host}")
            }
            "AWS::IAM::Role" => given("RoleName"),
            "AWS::Route53::RecordSet" => given("Name"),
            "AWS::S3::BucketPolicy" => given("Bucket"),
            "AWS::SNS::Topic" => format!("arn:aws:sns:{REGION}:{account}:{}", given("TopicName")),
            _ => id.to_owned(),
        }
    }

    fn attributes(&self, kind: &str, physical: &str) -> BTreeMap<String, String> {
        let account = &self.moto.account;
        let value = |name: &str| match (kind, name) {
            ("AWS::S3::Bucket", "Arn") => format!("arn:aws:s3:::{physical}"),
            ("AWS::S3::Bucket", "DomainName") => format!("{physical}.s3.amazonaws.com"),
            ("AWS::S3::Bucket", "DualStackDomainName") => format!("{physical}.s3.dualstack.{REGION}.amazonaws.com"),
            ("AWS::S3::Bucket", "RegionalDomainName") => format!("{physical}.s3.{REGION}.amazonaws.com"),
            ("AWS::S3::Bucket", "WebsiteURL") => format!("http://{physical}.s3-website-{REGION}.amazonaws.com"),
            ("AWS::CloudFront::Distribution", "DomainName") => self.moto.distribution_domain(physical),
            ("AWS::CloudFront::ResponseHeadersPolicy", "LastModifiedTime") => "2026-01-01T00:00:00Z".into(),
            ("AWS::CloudWatch::Alarm", "Arn") => format!("arn:aws:cloudwatch:{REGION}:{account}:alarm:{physical}"),
            ("AWS::IAM::Role", "Arn") => format!("arn:aws:iam::{account}:role/{physical}"),
            ("AWS::IAM::Role", "RoleId") => format!("AROA{physical}"),
            ("AWS::SNS::Topic", "TopicName") => physical.rsplit(':').next().unwrap().to_owned(),
            (_, "Arn" | "Id" | "TopicArn") => physical.to_owned(),
            _ => panic!("nothing is known of {name} of {kind}"),
        };
        attributes(kind).unwrap().iter().map(|name| ((*name).to_owned(), value(name))).collect()
    }
}

/// A property that is not as it was, and that AWS changes only by making another resource.
fn fixed(kind: &str, properties: &Value, known: &Made) -> Option<&'static str> {
    fixed_names(kind).iter().copied().find(|name| properties[*name] != known.properties[*name])
}

/// The properties that AWS changes only by making another resource: the types' own pages, "Update requires".
pub fn fixed_names(kind: &str) -> &'static [&'static str] {
    match kind {
        "AWS::CloudFront::MonitoringSubscription" => &["DistributionId"],
        "AWS::CloudWatch::Alarm" => &["AlarmName"],
        "AWS::CloudWatch::Dashboard" => &["DashboardName"],
        "AWS::IAM::OIDCProvider" => &["Url"],
        "AWS::IAM::Role" => &["Path", "RoleName"],
        "AWS::Route53::RecordSet" => &["HostedZoneId", "Name"],
        "AWS::S3::Bucket" => &["BucketName"],
        "AWS::S3::BucketPolicy" => &["Bucket"],
        "AWS::SNS::Subscription" => &["Endpoint", "Protocol", "TopicArn"],
        "AWS::SNS::Topic" => &["FifoTopic", "TopicName"],
        _ => &[],
    }
}

/// CloudFront's own spelling of a distribution's configuration.
fn distribution_config(config: &Value) -> String {
    const NAMESPACE: &str = "xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"";
    let fields: String = config.as_object().unwrap().iter().map(|(name, value)| spelled(name, value)).collect();
    format!("<DistributionConfig {NAMESPACE}>{fields}</DistributionConfig>")
}

fn spelled(name: &str, value: &Value) -> String {
    let name = match name {
        "AcmCertificateArn" => "ACMCertificateArn",
        "IPV6Enabled" => "IsIPV6Enabled",
        "SslSupportMethod" => "SSLSupportMethod",
        other => other,
    };
    let content = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| spelled(name, value)).collect(),
        Value::Array(items) => {
            let one = match name {
                "Aliases" => "CNAME",
                "AllowedMethods" | "CachedMethods" => "Method",
                "CustomErrorResponses" => "CustomErrorResponse",
                "Origins" => "Origin",
                other => panic!("the tests do not know what CloudFront calls one of {other}"),
            };
            let items: Vec<String> = items.iter().map(|item| spelled(one, item)).collect();
            element("Quantity", &items.len().to_string()) + &element("Items", &items.concat())
        }
        Value::String(text) => escaped(text),
        other => other.to_string(),
    };
    element(name, &content)
}
