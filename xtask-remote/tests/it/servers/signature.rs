//! AWS's Signature Version 4, written for tests from its public description, so that they prove something about the SDK's.

use sha2::{Digest, Sha256};
use xtask::oci::sha256_hex;

use super::client::Ask;

/// Who asks. Every part is a word that no output may ever show.
#[derive(Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
}

/// One request to be signed: the path is encoded already, and the query's parameters are in order.
pub struct Signed<'r> {
    pub service: &'r str,
    pub region: &'r str,
    pub method: &'r str,
    pub host: &'r str,
    pub path: &'r str,
    pub query: &'r str,
    pub body: &'r [u8],
}

impl Signed<'_> {
    /// The headers that a server believes.
    pub fn headers(&self, who: &Credentials) -> [(&'static str, String); 3] {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let (day, content) = (&now[..8], sha256_hex(self.body));
        let names = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{}\n{}\n{}\nhost:{}\nx-amz-content-sha256:{content}\nx-amz-date:{now}\n\n{names}\n{content}",
            self.method, self.path, self.query, self.host
        );
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let text = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
        let first = format!("AWS4{}", who.secret_key).into_bytes();
        let key = [day, self.region, self.service, "aws4_request"]
            .iter()
            .fold(first, |key, part| authenticate(&key, part.as_bytes()));
        let signature: String = authenticate(&key, text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let credential = format!("{}/{scope}", who.access_key);
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}");
        [("x-amz-date", now), ("x-amz-content-sha256", content), ("authorization", authorization)]
    }

    /// The whole request, ready to be sent or to be given more headers.
    pub fn ask(&self, who: &Credentials) -> Ask {
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        let ask = Ask::new(self.method, &format!("http://{}{}{query}", self.host, self.path)).body(self.body);
        self.headers(who).iter().fold(ask, |ask, (name, value)| ask.header(name, value))
    }
}

/// HMAC with SHA-256 (RFC 2104).
fn authenticate(key: &[u8], message: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut padded = if key.len() > BLOCK { Sha256::digest(key).to_vec() } else { key.to_vec() };
    padded.resize(BLOCK, 0);
    let mixed = |with: u8| padded.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([mixed(0x36).as_slice(), message].concat());
    Sha256::digest([mixed(0x5c).as_slice(), inner.as_slice()].concat()).to_vec()
}

/// A path as a signature and a URL spell it: everything but letters, digits, `-._~` and `/` is escaped.
pub fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
