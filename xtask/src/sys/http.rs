//! The one door to HTTP as an anonymous user: no credentials, no cache, no proxy for what is on this machine.
//!
//! What is on this machine speaks no TLS, and nothing here can. Whoever reaches further makes an anonymous user that can
//! (`xtask-remote`).

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

/// Settings of an anonymous user.
pub type Settings = ureq::config::ConfigBuilder<ureq::typestate::AgentScope>;

/// An anonymous user. Connections are kept between requests.
#[derive(Clone, Debug)]
pub struct Anonymous {
    agent: ureq::Agent,
}

impl Anonymous {
    /// A user of servers without TLS, who waits for as long for each answer and has asked for nothing yet.
    pub fn new(limit: Duration) -> Self {
        Self::with_settings(limit, |settings| settings)
    }

    /// The same with other settings, such as those of TLS.
    pub fn with_settings(limit: Duration, set: impl FnOnce(Settings) -> Settings) -> Self {
        let settings = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(limit));
        // Each connection fills its buffers with zeros first; requests without a body are short.
        let settings = settings.output_buffer_size(8 << 10).input_buffer_size(32 << 10);
        Anonymous { agent: set(settings).build().into() }
    }

    /// Another user of the same kind, who has no connection yet.
    #[must_use]
    pub fn another(&self) -> Self {
        Anonymous { agent: self.agent.config().clone().into() }
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
        self.ask(self.agent.get(url), redirects, url, headers)
    }

    /// Asks a server to remove what is at a URL; an answer of any status is an answer.
    ///
    /// # Errors
    /// Nobody answers in time, or the answer ends early.
    pub fn delete(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.ask(self.agent.delete(url), 0, url, headers)
    }

    fn ask(
        &self,
        request: ureq::RequestBuilder<ureq::typestate::WithoutBody>,
        redirects: u32,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        const SIZE_MAX: u64 = 1 << 30;
        let what = || format!("cannot fetch {url}");
        let settings = request.config().max_redirects(redirects);
        // What is asked for over TLS is not taken from where a redirect leads without.
        let settings = if url.starts_with("http://") { settings.proxy(None) } else { settings.https_only(true) };
        let request = settings.build();
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
