//! What is beyond this machine, behind the traits of `xtask`: a bucket as its store, CloudFront as its CDN, registries over HTTP, and the
//! infrastructure that charts are hosted by.
//!
//! It is a package of its own, which `xtask` lets cargo run at the first command that needs it: nobody else compiles the AWS SDK, a
//! registry's client, and TLS.

use std::path::Path;
use std::rc::Rc;

use serde_json::Value;
use xtask::config::{self, Target};
use xtask::connector::{Connector, DeployOptions, Seams};
use xtask::error::{Context, Exit, Result};

use registry::HttpRegistry;

pub mod aws;
pub mod cloudfront;
pub mod deploy;
pub mod public;
pub mod registry;
pub mod s3;
pub mod tls;

/// The way to targets beyond this machine.
pub const CONNECTOR: Connector = Connector { open, open_public, deploy };

fn open(target: &Target, remote: &config::Remote, chart: &str) -> Result<Seams> {
    let aws = Rc::new(aws::Aws::new(remote)?);
    let registry = HttpRegistry::new(target)?;
    Ok(Seams {
        charts: Box::new(registry.beside(&target.of_chart(chart))),
        registry: Box::new(registry),
        store: Box::new(s3::Bucket::new(Rc::clone(&aws))),
        cdn: Some(Box::new(cloudfront::Distribution::new(aws))),
        user: tls::anonymous(remote.timeout),
    })
}

fn open_public(target: &Target, _: &config::Remote, chart: &str) -> Result<Seams> {
    let registry = HttpRegistry::anonymous(target)?;
    Ok(Seams {
        charts: Box::new(registry.beside(&target.of_chart(chart))),
        registry: Box::new(registry),
        store: Box::new(public::Public::new(target)),
        cdn: None,
        user: tls::anonymous(target.timeout()),
    })
}

fn deploy(root: &Path, target: &Target, remote: &config::Remote, options: &DeployOptions) -> Result<Value> {
    let outcome = deploy::run(root, target, remote, options)?;
    serde_json::to_value(outcome).context(Exit::Failure, || "cannot write JSON".into())
}
