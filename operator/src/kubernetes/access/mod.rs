//! How to reach the API server, and as whom: from a kubeconfig, or as the pod that this is.
//!
//! The same places as every client looks in, and in the same order. What is found first is what counts: a kubeconfig with
//! a mistake is an error, not a reason to look further.

mod kubeconfig;
mod reread;
mod tls;
mod yaml;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::body::Bytes;
use hyper::header::HeaderValue;
use memchr::memmem;

use reread::Reread;
pub(super) use tls::Tls;
pub(crate) use tls::Trust;

/// Where the kubelet puts what a pod needs to know.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

pub(super) struct Access {
    /// The address that stands before every path, such as `https://10.96.0.1:443`.
    pub(super) server: String,
    pub(super) tls: Tls,
    pub(super) token: Option<Token>,
}

impl Access {
    pub(super) fn find() -> Result<Self, String> {
        Self::find_in(crate::config::environment, Path::new(SERVICE_ACCOUNT))
    }

    pub(super) fn find_in(environment: impl Fn(&str) -> Option<String>, account: &Path) -> Result<Self, String> {
        let variable = |name| environment(name).filter(|value| !value.is_empty());
        if let Some(list) = variable("KUBECONFIG") {
            let files: Vec<PathBuf> =
                std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
            return kubeconfig::read(&files);
        }
        let usual = variable("HOME").map(|home| Path::new(&home).join(".kube/config"));
        if let Some(file) = usual.filter(|file| file.exists()) {
            return kubeconfig::read(&[file]);
        }
        let Some(host) = variable("KUBERNETES_SERVICE_HOST") else {
            return Err("there is no kubeconfig, neither in KUBECONFIG nor at ~/.kube/config, and this is no pod: \
                        KUBERNETES_SERVICE_HOST is not set"
                .to_owned());
        };
        let port = variable("KUBERNETES_SERVICE_PORT").ok_or("KUBERNETES_SERVICE_PORT is not set")?;
        let port = port.parse().map_err(|_| format!("KUBERNETES_SERVICE_PORT is no port, but {port:?}"))?;
        Self::of_pod(&host, port, account)
    }

    /// To another server, which has a token of its own: nobody but the API server gets the pod's.
    pub(super) fn elsewhere(server: &str, token: &str, trust: Trust) -> Result<Self, String> {
        let tls = Tls { trust, name: None, identity: None };
        Ok(Self { server: server.to_owned(), tls, token: Some(Token::fixed(token)?) })
    }

    /// As the service account of a pod.
    fn of_pod(host: &str, port: u16, account: &Path) -> Result<Self, String> {
        // An IPv6 address.
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let hint = |reason| format!("{reason}; does the pod have automountServiceAccountToken: false?");
        Ok(Self {
            server: address(&format!("https://{host}:{port}"))?,
            tls: Tls { trust: Trust::file(account.join("ca.crt")).map_err(hint)?, name: None, identity: None },
            token: Some(Token::file(account.join("token")).map_err(hint)?),
        })
    }
}

/// A URL to which paths are added; it may have a path of its own.
fn address(url: &str) -> Result<String, String> {
    let parsed: Result<hyper::Uri, _> = url.parse();
    match parsed {
        Ok(uri) if matches!(uri.scheme_str(), Some("https" | "http")) => Ok(url.trim_end_matches('/').to_owned()),
        _ => Err(format!("the server's address must be https://HOST:PORT, but is {url:?}")),
    }
}

/// What tells the API server who asks.
#[derive(Clone)]
pub(super) enum Token {
    Fixed(HeaderValue),
    /// A file that somebody, such as the kubelet, writes anew before the token in it expires.
    File(Arc<Reread<HeaderValue>>),
}

impl Token {
    fn fixed(token: &str) -> Result<Self, String> {
        bearer(token).map(Self::Fixed)
    }

    fn file(path: PathBuf) -> Result<Self, String> {
        let read = |path: &Path| {
            let token = std::fs::read_to_string(path).map_err(|error| reread::unreadable(path, &error))?;
            bearer(&token).map_err(|reason| format!("{reason}, in {}", path.display()))
        };
        Ok(Self::File(Arc::new(Reread::new(path, read)?)))
    }

    pub(super) fn header(&self) -> HeaderValue {
        match self {
            Self::Fixed(header) => header.clone(),
            Self::File(file) => file.get(),
        }
    }

    /// There may be a new one.
    pub(super) fn is_refused(&self) {
        if let Self::File(file) = self {
            file.doubt();
        }
    }
}

/// An answer without the token that was sent: some servers repeat what they were asked. What is so short is no secret.
pub(super) fn without_token(sent: Option<&HeaderValue>, answer: Bytes) -> Bytes {
    let token = sent.and_then(|header| header.as_bytes().strip_prefix(BEARER.as_bytes()));
    let Some(token) = token.filter(|token| token.len() >= 8) else { return answer };
    let (mut hidden, mut from) = (Vec::new(), 0);
    for place in memmem::find_iter(&answer, token) {
        hidden.extend_from_slice(&answer[from..place]);
        hidden.extend_from_slice(b"[token]");
        from = place + token.len();
    }
    if from == 0 {
        return answer;
    }
    hidden.extend_from_slice(&answer[from..]);
    hidden.into()
}

const BEARER: &str = "Bearer ";

fn bearer(token: &str) -> Result<HeaderValue, String> {
    let token = token.trim();
    if token.is_empty() {
        return Err("the token is empty".to_owned());
    }
    let mut header =
        HeaderValue::try_from(format!("{BEARER}{token}")).map_err(|_| "the token has characters that none can have")?;
    // Not to be shown in logs.
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder as the kubelet makes it, with a certificate of somebody's.
    fn account() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.crt"), tls::tests::authority().pem()).unwrap();
        fs::write(folder.path().join("token"), "secret\n").unwrap();
        folder
    }

    fn find(environment: &[(&str, &str)], account: &Path) -> Result<Access, String> {
        let lookup =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Access::find_in(lookup, account)
    }

    fn complaint(environment: &[(&str, &str)], account: &Path) -> String {
        find(environment, account).err().unwrap()
    }

    #[test]
    fn a_pod_finds_its_api_server_and_its_token() {
        let account = account();
        for (host, server) in [("10.96.0.1", "https://10.96.0.1:6443"), ("fd00::1", "https://[fd00::1]:6443")] {
            let environment = [("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", "6443")];
            let access = find(&environment, account.path()).unwrap();
            assert_eq!(access.server, server);
            assert_eq!(access.token.unwrap().header(), "Bearer secret");
        }
    }

    #[test]
    fn whoever_finds_nothing_says_where_it_looked() {
        let nowhere = Path::new("/nowhere");
        let complaint = complaint(&[("HOME", "/nowhere"), ("KUBECONFIG", "")], nowhere);
        for place in ["KUBECONFIG", "~/.kube/config", "KUBERNETES_SERVICE_HOST"] {
            assert!(complaint.contains(place), "{complaint}");
        }
    }

    #[test]
    fn a_pod_that_lacks_something_says_what() {
        let host = ("KUBERNETES_SERVICE_HOST", "10.96.0.1");
        let (folder, port) = (account(), ("KUBERNETES_SERVICE_PORT", "443"));
        assert_eq!(complaint(&[host], folder.path()), "KUBERNETES_SERVICE_PORT is not set");
        let odd_port = complaint(&[host, ("KUBERNETES_SERVICE_PORT", "https")], folder.path());
        assert_eq!(odd_port, "KUBERNETES_SERVICE_PORT is no port, but \"https\"");

        fs::write(folder.path().join("token"), " \n").unwrap();
        assert!(complaint(&[host, port], folder.path()).contains("the token is empty, in "));
        fs::remove_file(folder.path().join("token")).unwrap();
        let no_token = complaint(&[host, port], folder.path());
        assert!(no_token.contains("/token") && no_token.contains("automountServiceAccountToken"), "{no_token}");
        fs::write(folder.path().join("ca.crt"), "").unwrap();
        assert!(complaint(&[host, port], folder.path()).contains("/ca.crt"));
    }

    #[test]
    fn a_kubeconfig_comes_first_and_its_mistakes_are_told() {
        let folder = account();
        let home = folder.path().to_str().unwrap();
        let pod = [("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "443"), ("HOME", home)];
        assert_eq!(find(&pod, folder.path()).unwrap().server, "https://10.96.0.1:443");

        fs::create_dir(folder.path().join(".kube")).unwrap();
        fs::write(folder.path().join(".kube/config"), "current-context: elsewhere").unwrap();
        assert!(complaint(&pod, folder.path()).contains("elsewhere"));
        let named = [pod.as_slice(), &[("KUBECONFIG", "/nowhere/a:/nowhere/b")]].concat();
        assert!(complaint(&named, folder.path()).contains("/nowhere/a"));
    }
}
