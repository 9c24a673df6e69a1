//! CloudFormation and CloudFront as moto pretends them: a fake, that checks no signature and knows no cache.
//!
//! It has one distribution, and one stack whose outputs name it and a bucket, as the infrastructure's stack does.

#![expect(clippy::disallowed_methods, reason = "tests start processes of their own")]

use std::process::Command;
use std::time::Duration;

use super::child::{Served, folder};
use super::client::{Ask, Reply};
use super::signature::{Credentials, Signed};
use super::versitygw::REGION;
use crate::support::{free_port, http_status, tool};

/// What the stack is to say.
pub struct Stack {
    pub name: String,
    pub bucket: String,
    pub repository: String,
}

/// A running moto.
pub struct Moto {
    pub port: u16,
    pub distribution: String,
    _served: Served,
}

impl Moto {
    /// A server with that stack; nothing (said once) where moto is not installed.
    pub fn start(stack: &Stack) -> Option<Self> {
        let mut server = Self::empty()?;
        server.distribution = server.make_distribution();
        server.make_stack(stack);
        Some(server)
    }

    /// A server that knows nothing yet.
    pub fn empty() -> Option<Self> {
        let program = tool("moto")?;
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let url = format!("http://127.0.0.1:{port}/moto-api/data.json");
        let served = Served::start(folder(), &command, || http_status(&url) == Some(200));
        Some(Moto { port, distribution: String::new(), _served: served })
    }

    /// One more distribution; its id.
    pub fn make_distribution(&self) -> String {
        const CONFIG: &str = "<DistributionConfig xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">\
            <CallerReference>tests</CallerReference><Comment>charts</Comment><Enabled>true</Enabled>\
            <Origins><Quantity>1</Quantity><Items><Origin><Id>bucket</Id>\
            <DomainName>bucket.s3.us-east-1.amazonaws.com</DomainName>\
            <S3OriginConfig><OriginAccessIdentity></OriginAccessIdentity></S3OriginConfig></Origin></Items></Origins>\
            <DefaultCacheBehavior><TargetOriginId>bucket</TargetOriginId>\
            <ViewerProtocolPolicy>redirect-to-https</ViewerProtocolPolicy></DefaultCacheBehavior></DistributionConfig>";
        let reply = self.ask("cloudfront", "POST", "/2020-05-31/distribution", CONFIG).is(201);
        reply.elements("Id").remove(0)
    }

    /// One more stack, of the infrastructure's outputs.
    pub fn make_stack(&self, stack: &Stack) {
        let bucket = &stack.bucket;
        let outputs = serde_json::json!({
            "BucketName": {"Value": bucket},
            "BucketArn": {"Value": format!("arn:aws:s3:::{bucket}")},
            "DistributionId": {"Value": self.distribution},
            "DistributionDomain": {"Value": "charts.cloudfront.invalid"},
            "RepositoryUrl": {"Value": stack.repository},
        });
        self.make_stack_with(&stack.name, &outputs);
    }

    /// One more stack, of any outputs.
    pub fn make_stack_with(&self, name: &str, outputs: &serde_json::Value) {
        let resources = serde_json::json!({
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": format!("{name}-unused")}},
        });
        let template = serde_json::json!({"Resources": resources, "Outputs": outputs}).to_string();
        let escaped: String = template.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let form = format!("Action=CreateStack&Version=2010-05-15&StackName={name}&TemplateBody={escaped}");
        self.ask("cloudformation", "POST", "/", &form).is(200);
    }

    /// The ids of all invalidations.
    pub fn invalidations(&self) -> Vec<String> {
        let path = format!("/2020-05-31/distribution/{}/invalidation", self.distribution);
        self.ask("cloudfront", "GET", &path, "").is(200).elements("Id")
    }

    /// A call of a service that speaks JSON.
    #[cfg(feature = "remote")]
    pub fn call(&self, service: &str, action: &str, body: &str) -> Reply {
        let ask = signed(self.port, service, "POST", "/", body);
        ask.header("content-type", "application/x-amz-json-1.1").header("x-amz-target", action).send().unwrap()
    }

    /// One signed request, past every proxy.
    pub fn ask(&self, service: &str, method: &str, path: &str, body: &str) -> Reply {
        ask(self.port, service, method, path, body)
    }
}

/// One signed request to moto, or to what stands before it.
pub fn ask(port: u16, service: &str, method: &str, path: &str, body: &str) -> Reply {
    let kind = if service == "cloudformation" { "application/x-www-form-urlencoded" } else { "application/xml" };
    signed(port, service, method, path, body).header("content-type", kind).send().unwrap()
}

fn signed(port: u16, service: &str, method: &str, path: &str, body: &str) -> Ask {
    let who = Credentials { access_key: "test".into(), secret_key: "test".into() };
    let host = format!("127.0.0.1:{port}");
    let body = body.as_bytes();
    let signed = Signed { service, region: REGION, method, host: &host, path, query: "", body };
    // The first request of a kind makes moto load half of AWS: on a busy machine that takes a while.
    signed.ask(&who).limit(Duration::from_secs(120))
}
