//! CloudFormation and CloudFront as moto pretends them: a fake, that checks no signature and knows no cache.
//!
//! Every value is an account of its own, with one distribution, and one stack whose outputs name it and a bucket, as the
//! infrastructure's stack does. One process pretends them all: a start takes seconds, and moto keeps what accounts have apart.

#![expect(clippy::disallowed_methods, reason = "tests start processes of their own")]

use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::child::{Served, folder};
use super::client::{Ask, Reply};
use super::front::Asked;
use super::signature::{Credentials, Signed};
use super::versitygw::REGION;
use crate::support::{free_port, http_status, tool};

/// What moto takes for the account of a request, whoever signed it.
const ACCOUNT: &str = "x-moto-account-id";
const DISTRIBUTIONS: &str = "/2020-05-31/distribution";

/// What the stack is to say.
pub struct Stack {
    pub name: String,
    pub bucket: String,
    pub repository: String,
}

/// An account in moto.
#[derive(Clone)]
pub struct Moto {
    pub port: u16,
    /// 12 digits.
    pub account: String,
    pub distribution: String,
}

impl Moto {
    /// An account with that stack; nothing (said once a test) where moto is not installed.
    pub fn start(stack: &Stack) -> Option<Self> {
        let mut account = Self::empty()?;
        account.distribution = account.make_distribution();
        account.make_stack(stack);
        Some(account)
    }

    /// An account that has nothing yet.
    pub fn empty() -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(200_000_000_000);
        tool("moto")?;
        let account = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        Some(Moto { port: process().port, account, distribution: String::new() })
    }

    /// A request that comes to moto is one to this account.
    pub fn claim(&self, asked: &mut Asked) {
        asked.headers.insert(ACCOUNT, self.account.parse().unwrap());
    }

    fn make_distribution(&self) -> String {
        self.make_distribution_of(
            "<DistributionConfig xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">\
             <CallerReference>tests</CallerReference><Comment>charts</Comment><Enabled>true</Enabled>\
             <Origins><Quantity>1</Quantity><Items><Origin><Id>bucket</Id>\
             <DomainName>bucket.s3.us-east-1.amazonaws.com</DomainName>\
             <S3OriginConfig><OriginAccessIdentity></OriginAccessIdentity></S3OriginConfig></Origin></Items></Origins>\
             <DefaultCacheBehavior><TargetOriginId>bucket</TargetOriginId>\
             <ViewerProtocolPolicy>redirect-to-https</ViewerProtocolPolicy></DefaultCacheBehavior></DistributionConfig>",
        )
    }

    /// One more distribution, of that configuration; its id.
    pub fn make_distribution_of(&self, config: &str) -> String {
        self.ask("cloudfront", "POST", DISTRIBUTIONS, config).is(201).elements("Id").remove(0)
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
        // A stack needs something; a bucket's name would be one in all accounts.
        let resources = serde_json::json!({"Unused": {"Type": "AWS::SNS::Topic"}});
        let template = serde_json::json!({"Resources": resources, "Outputs": outputs}).to_string();
        let escaped: String = template.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let form = format!("Action=CreateStack&Version=2010-05-15&StackName={name}&TemplateBody={escaped}");
        self.ask("cloudformation", "POST", "/", &form).is(200);
    }

    /// The ids of all invalidations.
    pub fn invalidations(&self) -> Vec<String> {
        let path = format!("{DISTRIBUTIONS}/{}/invalidation", self.distribution);
        self.ask("cloudfront", "GET", &path, "").is(200).elements("Id")
    }

    /// A call of a service that speaks JSON.
    pub fn call(&self, service: &str, action: &str, body: &str) -> Reply {
        let ask = signed(self.port, service, "POST", "/", body).header(ACCOUNT, &self.account);
        ask.header("content-type", "application/x-amz-json-1.1").header("x-amz-target", action).send().unwrap()
    }

    /// One signed request, past every proxy.
    pub fn ask(&self, service: &str, method: &str, path: &str, body: &str) -> Reply {
        self.typed(service, method, path, body).send().unwrap()
    }

    fn typed(&self, service: &str, method: &str, path: &str, body: &str) -> Ask {
        typed(self.port, service, method, path, body).header(ACCOUNT, &self.account)
    }
}

/// What a deployment asks.
impl Moto {
    /// A distribution, as CloudFront tells it.
    pub fn told_distribution(&self, id: &str) -> Reply {
        self.ask("cloudfront", "GET", &format!("{DISTRIBUTIONS}/{id}"), "").is(200)
    }

    /// The ids of all distributions.
    pub fn distributions(&self) -> Vec<String> {
        let listed = self.ask("cloudfront", "GET", DISTRIBUTIONS, "").is(200).elements("DistributionSummary");
        listed.iter().map(|one| super::client::elements(one, "Id").remove(0)).collect()
    }

    /// Where a distribution is reached.
    pub fn distribution_domain(&self, id: &str) -> String {
        self.told_distribution(id)
            .elements("DomainName")
            .into_iter()
            .find(|name| name.ends_with(".cloudfront.net"))
            .unwrap()
    }

    /// Gives a distribution another configuration.
    pub fn change_distribution(&self, id: &str, config: &str) {
        let ask = self.typed("cloudfront", "PUT", &format!("{DISTRIBUTIONS}/{id}/config"), config);
        ask.header("if-match", "*").send().unwrap().is(200);
    }

    pub fn remove_distribution(&self, id: &str) -> Reply {
        let ask = self.typed("cloudfront", "DELETE", &format!("{DISTRIBUTIONS}/{id}"), "");
        ask.header("if-match", "*").send().unwrap()
    }
}

/// The one process of moto, which ends when this one does, however it ends: a value that is never dropped, but whose guard then
/// finds nobody at the other end.
struct Process {
    port: u16,
    _served: Served,
}

fn process() -> &'static Process {
    static PROCESS: OnceLock<Process> = OnceLock::new();
    PROCESS.get_or_init(|| {
        let port = free_port();
        let mut command = Command::new(tool("moto").unwrap());
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let url = format!("http://127.0.0.1:{port}/moto-api/data.json");
        Process { port, _served: Served::start(folder(), &command, || http_status(&url) == Some(200)) }
    })
}

/// One signed request to what stands before moto, and knows the account.
pub fn ask(port: u16, service: &str, method: &str, path: &str, body: &str) -> Reply {
    typed(port, service, method, path, body).send().unwrap()
}

fn typed(port: u16, service: &str, method: &str, path: &str, body: &str) -> Ask {
    let kind = if service == "cloudformation" { "application/x-www-form-urlencoded" } else { "application/xml" };
    signed(port, service, method, path, body).header("content-type", kind)
}

fn signed(port: u16, service: &str, method: &str, path: &str, body: &str) -> Ask {
    let who = Credentials { access_key: "test".into(), secret_key: "test".into() };
    let host = format!("127.0.0.1:{port}");
    let body = body.as_bytes();
    let signed = Signed { service, region: REGION, method, host: &host, path, query: "", body };
    // The first request of a kind makes moto load half of AWS: on a busy machine that takes a while.
    signed.ask(&who).limit(Duration::from_secs(120))
}
