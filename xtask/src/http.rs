//! The one door to HTTP as an anonymous user: no credentials, no cache, no proxy for what is on this machine.

use std::time::Duration;

use crate::error::{Context, Exit, Result};

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, and their values.
    pub headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header; its name is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What servers and clients that wait for many things at once run on: one thread, the caller's own.
///
/// # Errors
/// The system gives no more file descriptors.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context(Exit::Failure, || "cannot start a runtime".into())
}

/// An anonymous user. Connections are kept between requests.
#[derive(Clone, Debug)]
pub struct Anonymous {
    agent: ureq::Agent,
}

impl Anonymous {
    /// A user who has asked for nothing yet, and who goes through the proxies of the environment only to other machines.
    pub fn new(url: &str) -> Self {
        Self::with_limit(url, Duration::from_secs(30))
    }

    /// The same, who waits for as long for each answer.
    pub fn with_limit(url: &str, limit: Duration) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(limit));
        let config = if url.starts_with("http://") { config.proxy(None) } else { config };
        // The machine's own certificates, so that a company's proxy or a test's authority is trusted where it is installed.
        #[cfg(feature = "remote")]
        let config = config
            .tls_config(ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build());
        Anonymous { agent: config.build().into() }
    }

    /// Fetches a URL; an answer of any status is an answer.
    ///
    /// # Errors
    /// Nobody answers in time, or the answer ends early.
    pub fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.get_following(10, url, headers)
    }

    /// The same, where an answer that leads elsewhere is an answer, too.
    ///
    /// # Errors
    /// Nobody answers in time, or the answer ends early.
    pub fn get_without_redirects(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.get_following(0, url, headers)
    }

    fn get_following(&self, redirects: u32, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        const SIZE_MAX: u64 = 1 << 30;
        let what = || format!("cannot fetch {url}");
        let request = self.agent.get(url).config().max_redirects(redirects).build();
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let mut response = request.call().context(Exit::Verify, what)?;
        let headers = response.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let headers = headers.collect();
        let body = response.body_mut().with_config().limit(SIZE_MAX).read_to_vec().context(Exit::Verify, what)?;
        Ok(Answer { status: response.status().as_u16(), headers, body })
    }
}
