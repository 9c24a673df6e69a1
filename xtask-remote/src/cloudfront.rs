//! CloudFront, in front of the bucket.
//!
//! `CallerReference` makes a repeated request the same one (CloudFront's API reference, CreateInvalidation): it gives back the
//! invalidation that it made the first time.

use std::rc::Rc;
use std::time::{Duration, Instant};

use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::types::{InvalidationBatch, Paths};

use xtask::chart::cdn::Cdn;
use xtask::error::{Context, Error, Exit, Result};
use xtask::sys::failpoints::announce;

use crate::aws::{AlsoPassing, Aws, explain};

/// Invalidations usually take seconds; past this, waiting for `max-age` is the better way.
const LIMIT: Duration = Duration::from_secs(180);

/// The distribution of a target's stack.
#[derive(Debug)]
pub struct Distribution {
    aws: Rc<Aws>,
    client: Client,
}

impl Distribution {
    /// The distribution of the stack that `aws` is a connection to; asks nothing yet.
    pub fn new(aws: Rc<Aws>) -> Self {
        let builder = aws_sdk_cloudfront::config::Builder::from(aws.config()).retry_classifier(AlsoPassing);
        let builder = match &aws.remote().endpoints.cloudfront {
            Some(endpoint) => builder.endpoint_url(endpoint),
            None => builder,
        };
        Distribution { client: Client::from_conf(builder.build()), aws }
    }

    fn wait_for(&self, distribution: &str, id: &str) -> Result<()> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(200);
        while started.elapsed() < LIMIT {
            let request = self.client.get_invalidation().distribution_id(distribution).id(id);
            let answer = self.aws.wait(request.send());
            let answer = answer.map_err(|error| explain(&format!("cannot watch invalidation {id}"), &error))?;
            if answer.invalidation().is_some_and(|invalidation| invalidation.status() == "Completed") {
                return Ok(());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        Err(Error::new(Exit::Failure, format!("invalidation {id} is not completed after {} s", LIMIT.as_secs())))
    }
}

impl Cdn for Distribution {
    fn invalidate(&self, paths: &[String], reference: &str) -> Result<()> {
        let distribution = &self.aws.hosting()?.distribution;
        let what = || format!("cannot invalidate {} in distribution {distribution}", paths.join(", "));
        let count = i32::try_from(paths.len()).unwrap_or(i32::MAX);
        let paths_of_batch = Paths::builder().quantity(count).set_items(Some(paths.to_vec())).build();
        let batch = InvalidationBatch::builder()
            .paths(paths_of_batch.context(Exit::Failure, what)?)
            .caller_reference(reference)
            .build()
            .context(Exit::Failure, what)?;
        announce("invalidate", &paths.join(" "));
        let request = self.client.create_invalidation().distribution_id(distribution).invalidation_batch(batch);
        let answer = self.aws.wait(request.send()).map_err(|error| explain(&what(), &error))?;
        match answer.invalidation() {
            Some(invalidation) if invalidation.status() == "Completed" => Ok(()),
            Some(invalidation) => self.wait_for(distribution, invalidation.id()),
            None => Err(Error::new(Exit::Failure, what()).because("the answer names no invalidation")),
        }
    }
}
