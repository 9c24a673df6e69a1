//! One HTTP request, exactly as a test says it: any method, signed or not, over TLS where an authority is given.
//!
//! It neither repeats nor follows anything, and takes a body that ends early for the error that it is.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

/// Something to ask a server.
pub struct Ask {
    method: String,
    secure: bool,
    host: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    at: Option<SocketAddr>,
    trusted: Option<Arc<rustls::ClientConfig>>,
    limit: Duration,
}

/// What it answered.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Ask {
    /// A request for a whole URL.
    pub fn new(method: &str, url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap();
        let at = rest.find('/').unwrap_or(rest.len());
        let path = if at == rest.len() { "/" } else { &rest[at..] };
        Ask {
            method: method.into(),
            secure: scheme == "https",
            host: rest[..at].into(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            at: None,
            trusted: None,
            limit: Duration::from_secs(20),
        }
    }

    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Connects there, whatever the URL's host is.
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.at = Some(address);
        self
    }

    pub fn trusting(mut self, authority: &Arc<rustls::ClientConfig>) -> Self {
        self.trusted = Some(Arc::clone(authority));
        self
    }

    /// How long nothing may be heard.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub fn send(&self) -> io::Result<Reply> {
        let address = match self.at {
            Some(address) => address,
            None => self.host.to_socket_addrs()?.find(SocketAddr::is_ipv4).ok_or(ErrorKind::AddrNotAvailable)?,
        };
        let stream = TcpStream::connect_timeout(&address, self.limit)?;
        stream.set_read_timeout(Some(self.limit))?;
        stream.set_nodelay(true)?;
        if !self.secure {
            return self.exchange(stream);
        }
        let name = self.host.split(':').next().unwrap().to_owned();
        let config = self.trusted.clone().unwrap();
        let session = rustls::ClientConnection::new(config, ServerName::try_from(name).unwrap());
        self.exchange(rustls::StreamOwned::new(session.map_err(io::Error::other)?, stream))
    }

    fn exchange(&self, mut stream: impl Read + Write) -> io::Result<Reply> {
        let mut head =
            format!("{} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.method, self.path, self.host);
        head.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
        if !self.body.is_empty() || matches!(self.method.as_str(), "PUT" | "POST" | "PATCH") {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        stream.write_all(&self.body)?;
        stream.flush()?;
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            // Servers close without TLS's own farewell; whether something is missing, the length says.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            other => drop(other?),
        }
        parse(&bytes, self.method == "HEAD").ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }
}

fn parse(bytes: &[u8], head_only: bool) -> Option<Reply> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let rest = &bytes[end + 4..];
    if status < 200 {
        return parse(rest, head_only);
    }
    let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let headers: Vec<(String, String)> = lines.filter_map(header).collect();
    let mut reply = Reply { status, headers, body: Vec::new() };
    if head_only || status == 204 || status == 304 {
        return Some(reply);
    }
    reply.body = match (reply.header("content-length"), reply.header("transfer-encoding")) {
        (Some(length), _) => rest.get(..length.parse().ok()?)?.to_vec(),
        (None, Some(_)) => unchunk(rest)?,
        (None, None) => rest.to_vec(),
    };
    Some(reply)
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend(rest.get(line + 2..line + 2 + size)?);
        rest = rest.get(line + 4 + size..)?;
    }
}

/// What stands between the tags of that name in a text, in order.
pub fn elements(text: &str, tag: &str) -> Vec<String> {
    let [start, end] = [format!("<{tag}>"), format!("</{tag}>")];
    text.split(&start).skip(1).filter_map(|piece| Some(piece.split_once(&end)?.0.to_owned())).collect()
}

impl Reply {
    /// The value of a header; its name is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// What stands between the tags of that name, in order.
    pub fn elements(&self, tag: &str) -> Vec<String> {
        elements(&self.text(), tag)
    }

    /// Asserts a status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.text());
        self
    }
}
