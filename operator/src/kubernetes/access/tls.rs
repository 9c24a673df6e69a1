//! Whom to believe that it is the API server, and what to show it in turn.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, ResolveServerName};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::reread::{self, Reread};

pub(in crate::kubernetes) struct Tls {
    pub(super) trust: Trust,
    /// The name in the server's certificate, where it is not the one in its address.
    pub(super) name: Option<String>,
    /// What proves who we are, where that is no token.
    pub(super) identity: Option<Identity>,
}

/// Who may vouch for a server.
#[derive(Debug)]
pub(crate) enum Trust {
    Roots(RootCertStore),
    /// Those in a file that may change: clusters replace their authorities now and then.
    File(Arc<Reread<Arc<WebPkiServerVerifier>>>),
    /// No check at all, as a user wanted.
    Unverified,
    /// There is nothing to check, since the server has no certificate.
    Plaintext,
}

impl Trust {
    pub(super) fn these(pem: &[u8]) -> Result<Self, String> {
        roots(pem).map(Self::Roots)
    }

    pub(crate) fn file(path: PathBuf) -> Result<Self, String> {
        let read = |path: &Path| {
            let pem = std::fs::read(path).map_err(|error| reread::unreadable(path, &error))?;
            roots(&pem).and_then(verifier).map_err(|reason| format!("{reason}, in {}", path.display()))
        };
        Reread::new(path, read).map(Arc::new).map(Self::File)
    }

    /// Those that everybody on this machine trusts.
    pub(crate) fn of_machine() -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err("no certificate-authority is named, and this machine has none that all trust".to_owned());
        }
        Ok(Self::Roots(roots))
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| format!("a certificate cannot be used: {error}"))?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| format!("there is no PEM: {error}"))?;
    if certificates.is_empty() { Err("there is no certificate".to_owned()) } else { Ok(certificates) }
}

fn verifier(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, String> {
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    builder.build().map_err(|error| format!("the certificates cannot be used: {error}"))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A client certificate with what else leads to its authority, and its key.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(super) fn new(chain: &[u8], key: &[u8]) -> Result<Self, String> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("there is no private key: {error}"));
        Ok(Self { chain: certificates(chain)?, key: key? })
    }
}

impl Tls {
    /// What the library needs to know.
    pub(in crate::kubernetes) fn configure(
        self,
    ) -> Result<(ClientConfig, Arc<dyn ResolveServerName + Send + Sync>), String> {
        let names: Arc<dyn ResolveServerName + Send + Sync> = match self.name {
            Some(name) => {
                let name = ServerName::try_from(name).map_err(|error| format!("tls-server-name: {error}"))?;
                Arc::new(FixedServerNameResolver::new(name))
            }
            None => Arc::new(DefaultServerNameResolver::default()),
        };
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let builder = match self.trust {
            Trust::Roots(roots) => builder.with_root_certificates(roots),
            Trust::Plaintext => builder.with_root_certificates(RootCertStore::empty()),
            Trust::File(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(Renewing(verifier))),
            Trust::Unverified => builder.dangerous().with_custom_certificate_verifier(Arc::new(Blind)),
        };
        let config = match self.identity {
            Some(Identity { chain, key }) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("the client certificate cannot be used: {error}"))?,
            None => builder.with_no_client_auth(),
        };
        Ok((config, names))
    }
}

/// Believes those that a file names, as it is at the time.
#[derive(Debug)]
struct Renewing(Arc<Reread<Arc<WebPkiServerVerifier>>>);

impl ServerCertVerifier for Renewing {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0.get().verify_server_cert(certificate, chain, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.get().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.get().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.get().supported_verify_schemes()
    }
}

/// Believes whoever answers.
#[derive(Debug)]
struct Blind;

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::time::Duration;

    use http_body_util::Full;
    use hyper::body::Bytes;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::ServerConfig;
    use rustls::server::WebPkiClientVerifier;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::kubernetes::{Client, Request};
    use crate::runtime::Class;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    /// Somebody new who signs certificates.
    pub(in super::super) fn authority() -> Authority {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
    }

    /// A certificate and its key, as PEM.
    fn signed(authority: &Authority, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn identity((chain, key): &(String, String)) -> Identity {
        Identity::new(chain.as_bytes(), key.as_bytes()).unwrap()
    }

    /// A server with a certificate that was signed for a name, and its address. It asks for certificates of `clients`,
    /// and has a new connection for every request.
    async fn serve(authority: &Authority, name: &str, clients: Option<&Authority>) -> String {
        let Identity { chain, key } = identity(&signed(authority, name));
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            Some(clients) => {
                let known = roots(clients.pem().as_bytes()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(known), provider());
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let answer = service_fn(async |_| {
                    Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(Bytes::from("\"hello\""))))
                });
                let _ = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer).await;
            }
        });
        address
    }

    fn client(server: &str, trust: Trust, name: Option<&str>, identity: Option<Identity>) -> Client {
        let tls = Tls { trust, name: name.map(str::to_owned), identity };
        Client::new(super::super::Access { server: server.to_owned(), tls, token: None }).unwrap()
    }

    async fn greet(client: &Client) -> Result<String, String> {
        let answer = client.fetch(Request::get("/".to_owned()), Duration::from_secs(5)).await;
        answer.map_err(|failure| {
            assert_eq!(failure.class, Class::Unreachable, "{failure}");
            failure.message
        })
    }

    fn trusting(authority: &Authority) -> Trust {
        Trust::these(authority.pem().as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn only_a_server_whose_authority_is_known_is_believed() {
        let (ours, theirs) = (authority(), authority());
        let server = serve(&ours, "127.0.0.1", None).await;
        assert_eq!(greet(&client(&server, trusting(&ours), None, None)).await.unwrap(), "hello");
        let refused = greet(&client(&server, trusting(&theirs), None, None)).await.unwrap_err();
        assert!(refused.contains("invalid peer certificate"), "{refused}");
        let refused = greet(&client(&server, Trust::Plaintext, None, None)).await.unwrap_err();
        assert!(refused.contains("invalid peer certificate: UnknownIssuer"), "{refused}");
        // As a user wanted.
        assert_eq!(greet(&client(&server, Trust::Unverified, None, None)).await.unwrap(), "hello");
    }

    #[tokio::test]
    async fn a_server_has_to_have_the_name_that_is_asked_for() {
        let ours = authority();
        let server = serve(&ours, "api.example.com", None).await;
        let refused = greet(&client(&server, trusting(&ours), None, None)).await.unwrap_err();
        assert!(refused.contains("not valid for name"), "{refused}");
        let refused = greet(&client(&server, trusting(&ours), Some("other.example.com"), None)).await.unwrap_err();
        assert!(refused.contains("not valid for name"), "{refused}");
        assert_eq!(greet(&client(&server, trusting(&ours), Some("api.example.com"), None)).await.unwrap(), "hello");
    }

    #[tokio::test]
    async fn a_client_certificate_is_shown_where_one_is_asked_for() {
        let (ours, clients) = (authority(), authority());
        let server = serve(&ours, "127.0.0.1", Some(&clients)).await;
        let ann = identity(&signed(&clients, "ann"));
        assert_eq!(greet(&client(&server, trusting(&ours), None, Some(ann))).await.unwrap(), "hello");
        let nobody = greet(&client(&server, trusting(&ours), None, None)).await;
        assert!(nobody.is_err(), "without one, the server hangs up");
    }

    #[tokio::test]
    async fn an_authority_that_is_replaced_is_taken_up_while_running() {
        let (old, new) = (authority(), authority());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        fs::write(&path, old.pem()).unwrap();
        let Trust::File(file) = Trust::file(path.clone()).unwrap() else { panic!("it is a file") };
        let server = serve(&new, "127.0.0.1", None).await;
        let client = client(&server, Trust::File(Arc::clone(&file)), None, None);
        assert!(greet(&client).await.is_err());

        // While both are in use, clusters name both.
        fs::write(&path, old.pem() + &new.pem()).unwrap();
        file.doubt();

        assert_eq!(greet(&client).await.unwrap(), "hello");
    }

    #[test]
    fn a_key_that_is_for_another_certificate_is_refused_at_once() {
        let ours = authority();
        let ((chain, _), (_, key)) = (signed(&ours, "ann"), signed(&ours, "bob"));
        let tls = Tls { trust: Trust::Plaintext, name: None, identity: Some(identity(&(chain, key))) };
        assert!(tls.configure().err().unwrap().contains("client certificate"));
        let tls = Tls { trust: Trust::Plaintext, name: Some("not a name".to_owned()), identity: None };
        assert!(tls.configure().err().unwrap().contains("tls-server-name"));
    }
}
