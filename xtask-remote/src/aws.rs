//! What the S3 store and the CDN share: credentials, time limits, the stack's outputs, and AWS's errors in our words.
//!
//! Credentials come from the SDK's own chain (environment, profile, SSO, web identity, instance). Nothing is asked of AWS before it
//! is needed, so that a plan can be made without an account and says what it could not see.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_cloudformation::types::Stack;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::interceptors::InterceptorContext;
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_s3::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use xtask::config::Remote;
use xtask::error::{Error, Exit, Result, reasons};
use xtask::sys::http;

use crate::tls;

/// How often the SDK tries what was throttled, cut off, or failed on the server's side.
const ATTEMPTS: u32 = 5;

/// Answers that pass, and that the SDK takes for final: 429, which servers like S3 give where AWS says 503, and bytes that were
/// changed on their way (S3's "Error responses").
#[derive(Debug)]
pub struct AlsoPassing;

impl ClassifyRetry for AlsoPassing {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        const DAMAGED: [&str; 3] =
            ["<Code>BadDigest<", "<Code>XAmzContentSHA256Mismatch<", "<Code>XAmzContentChecksumMismatch<"];
        let Some(response) = context.response() else { return RetryAction::NoActionIndicated };
        let body = String::from_utf8_lossy(response.body().bytes().unwrap_or_default());
        match response.status().as_u16() {
            429 => RetryAction::throttling_error(),
            400 if DAMAGED.iter().any(|code| body.contains(code)) => RetryAction::transient_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "also passing"
    }
}

/// A connection to one target's account.
#[derive(Debug)]
pub struct Aws {
    remote: Remote,
    runtime: tokio::runtime::Runtime,
    config: OnceCell<SdkConfig>,
    hosting: OnceCell<Hosting>,
}

/// The outputs of the stack that a release needs.
#[derive(Clone, Debug)]
pub struct Hosting {
    /// The bucket's name.
    pub bucket: String,
    /// The distribution's id.
    pub distribution: String,
}

impl Aws {
    /// Prepares to talk to a target's account; asks nothing yet.
    ///
    /// # Errors
    /// The machine cannot start a runtime.
    pub fn new(remote: &Remote) -> Result<Self> {
        Ok(Aws { remote: remote.clone(), runtime: http::runtime()?, config: OnceCell::new(), hosting: OnceCell::new() })
    }

    /// Waits for an answer.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The settings of every client: one TLS stack, and limits for everything that can hang.
    pub fn config(&self) -> &SdkConfig {
        self.config.get_or_init(|| {
            let client = aws_smithy_http_client::Builder::new()
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .tls_context(tls::trusted_by_aws());
            let limits = TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(5))
                .operation_attempt_timeout(self.remote.timeout)
                .build();
            let loader = aws_config::defaults(BehaviorVersion::latest())
                .http_client(client.build_https())
                .region(Region::new(self.remote.region.clone()))
                .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
                .timeout_config(limits);
            self.wait(loader.load())
        })
    }

    /// The target.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Bucket and distribution, from the stack's outputs; asked once.
    ///
    /// # Errors
    /// There is no such stack, it lacks an output, or the caller may not read it.
    pub fn hosting(&self) -> Result<&Hosting> {
        if let Some(hosting) = self.hosting.get() {
            return Ok(hosting);
        }
        let found = self.describe()?;
        Ok(self.hosting.get_or_init(|| found))
    }

    /// A client of S3.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let builder = aws_sdk_s3::config::Builder::from(self.config()).retry_classifier(AlsoPassing);
        let builder = match &self.remote.endpoints.s3 {
            Some(endpoint) => builder.endpoint_url(endpoint).force_path_style(true),
            None => builder,
        };
        aws_sdk_s3::Client::from_conf(builder.build())
    }

    /// A client of CloudFormation.
    pub fn cloudformation(&self) -> aws_sdk_cloudformation::Client {
        let builder = aws_sdk_cloudformation::config::Builder::from(self.config()).retry_classifier(AlsoPassing);
        let builder = match &self.remote.endpoints.cloudformation {
            Some(endpoint) => builder.endpoint_url(endpoint),
            None => builder,
        };
        aws_sdk_cloudformation::Client::from_conf(builder.build())
    }

    /// The target's stack, where there is one.
    ///
    /// # Errors
    /// CloudFormation does not answer, or not to this caller: `what` is what failed.
    pub fn stack(&self, what: &str) -> Result<Option<Stack>> {
        match self.wait(self.cloudformation().describe_stacks().stack_name(&self.remote.stack).send()) {
            Ok(answer) => Ok(answer.stacks.unwrap_or_default().into_iter().next()),
            // Its answer for a stack that is not there (its API reference, DescribeStacks).
            Err(error) if error.code() == Some("ValidationError") => Ok(None),
            Err(error) => Err(explain(what, &error)),
        }
    }

    /// The same account, seen by somebody who takes a role first.
    ///
    /// # Errors
    /// The machine cannot start a runtime.
    pub fn in_role(&self, role: &str) -> Result<Self> {
        const SESSION: &str = "xtask";
        let other = Aws::new(&self.remote)?;
        let taken = AssumeRoleProvider::builder(role).session_name(SESSION).configure(self.config());
        let provider = SharedCredentialsProvider::new(self.wait(taken.build_from_provider(self.credentials()?)));
        let config = self.config().to_builder().credentials_provider(provider).build();
        // A new connection has no settings yet.
        other.config.set(config).ok();
        Ok(other)
    }

    /// Whether the chain gives credentials at all; whether they are any good, AWS says.
    pub fn has_credentials(&self) -> bool {
        self.credentials().is_ok_and(|provider| self.wait(provider.provide_credentials()).is_ok())
    }

    fn credentials(&self) -> Result<SharedCredentialsProvider> {
        self.config().credentials_provider().ok_or_else(|| {
            let (exit, remedy) = Cause::NoCredentials(String::new()).cure();
            Error::new(exit, "there are no AWS credentials").remedy(remedy)
        })
    }

    fn describe(&self) -> Result<Hosting> {
        let Remote { stack, region, .. } = &self.remote;
        let Some(found) = self.stack(&format!("cannot read the outputs of stack {stack} in {region}"))? else {
            return Err(Error::new(Exit::Environment, format!("there is no stack {stack} in {region}"))
                .remedy("cargo xtask deploy-infra makes it")
                .remedy("or correct `stack` and `region` of the target in Cargo.toml"));
        };
        let mut outputs = outputs(&found);
        match (outputs.remove("BucketName"), outputs.remove("DistributionId")) {
            (Some(bucket), Some(distribution)) => Ok(Hosting { bucket, distribution }),
            _ => Err(Error::new(
                Exit::Environment,
                format!("stack {stack} has no outputs BucketName and DistributionId"),
            )
            .because("it is another stack, or its deployment did not end well")
            .remedy("cargo xtask deploy-infra repairs it")),
        }
    }
}

/// A stack's outputs, by their keys.
pub fn outputs(stack: &Stack) -> BTreeMap<String, String> {
    let outputs = stack.outputs().iter();
    outputs.filter_map(|output| Some((output.output_key()?.to_owned(), output.output_value()?.to_owned()))).collect()
}

/// An error of the SDK in our words: what the server said, or why there was no answer, and what to do about it.
pub fn explain<E>(what: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let cause = Cause::of(error);
    let (exit, remedy) = cause.cure();
    Error::new(exit, what).because(&cause).remedy(remedy)
}

/// Why AWS did not do what it was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Cause {
    /// It refused, with this code, in these words.
    Refused { code: String, message: String },
    /// No answer came in time.
    Silent,
    /// It cannot be reached; the reason that the machine gives.
    Unreachable(String),
    /// Nobody's credentials were found where AWS's tools look; the reason of the last place.
    NoCredentials(String),
    /// Something else went wrong on the way.
    Other(String),
}

impl Cause {
    fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let refused = |code: &str, message: &str| Cause::Refused { code: code.into(), message: message.into() };
        if let Some(code) = error.code() {
            return refused(code, error.message().unwrap_or("(no message)"));
        }
        // An answer without a body, to HEAD above all, has no code but its status.
        if let Some(status) = error.raw_response().map(|response| response.status().as_u16()) {
            return match status {
                301 => refused("PermanentRedirect", "the answer was a redirect (301)"),
                403 => refused("AccessDenied", "the answer was 403"),
                _ => Cause::Other(format!("the answer was {status}")),
            };
        }
        let reasons = reasons(error);
        let last = reasons.last().cloned().unwrap_or_default();
        match error {
            SdkError::TimeoutError(_) => Cause::Silent,
            _ if reasons
                .iter()
                .any(|reason| reason.contains("credential") || reason.contains("no providers in chain")) =>
            {
                Cause::NoCredentials(last)
            }
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Cause::Silent,
            SdkError::DispatchFailure(failure) if failure.is_io() => Cause::Unreachable(last),
            _ => Cause::Other(last),
        }
    }

    /// The kind of error, and the way out. Codes: S3's "Error responses", and the "Common errors" of the other services.
    fn cure(&self) -> (Exit, &'static str) {
        const AGAIN: &str = "retry the command: nothing was lost, and nothing is done twice";
        match self {
            Cause::NoCredentials(_) => (
                Exit::Environment,
                "there are no AWS credentials: aws sso login, or set AWS_PROFILE; in CI give the job its role",
            ),
            Cause::Silent | Cause::Unreachable(_) => (
                Exit::Repository,
                "check this machine's network (DNS, proxy, VPN); where AWS itself is down, retry the command later",
            ),
            Cause::Other(_) => (Exit::Repository, AGAIN),
            Cause::Refused { code, .. } => match code.as_str() {
                "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => (
                    Exit::Environment,
                    "the credentials have expired: aws sso login, or get new ones; then retry the command",
                ),
                "InvalidAccessKeyId"
                | "InvalidClientTokenId"
                | "SignatureDoesNotMatch"
                | "UnrecognizedClientException" => (
                    Exit::Environment,
                    "the credentials are not valid here: check AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                ),
                "AccessDenied" | "AccessDeniedException" => (
                    Exit::Repository,
                    "these credentials may not do that: use the publisher role that cargo xtask deploy-infra made",
                ),
                "NoSuchBucket" => (
                    Exit::Repository,
                    "the stack's bucket is gone: cargo xtask deploy-infra says what is left, and repairs it",
                ),
                "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
                    (Exit::Workspace, "the bucket is in another region: correct `region` of the target in Cargo.toml")
                }
                "RequestTimeTooSkewed" => (Exit::Environment, "this machine's clock is wrong: set it"),
                _ => (Exit::Repository, AGAIN),
            },
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Refused { code, message } => write!(out, "{code}: {message}"),
            Cause::Silent => out.write_str("no answer came in time"),
            Cause::Unreachable(reason) => write!(out, "AWS cannot be reached: {reason}"),
            Cause::NoCredentials(reason) => write!(out, "no credentials were found: {reason}"),
            Cause::Other(reason) => out.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_error_has_its_way_out() {
        for (code, exit) in [
            ("ExpiredToken", Exit::Environment),
            ("SignatureDoesNotMatch", Exit::Environment),
            ("AccessDenied", Exit::Repository),
            ("PermanentRedirect", Exit::Workspace),
            ("SlowDown", Exit::Repository),
        ] {
            let (found, _) = Cause::Refused { code: code.into(), message: String::new() }.cure();
            assert_eq!(found, exit, "{code}");
        }
    }
}
