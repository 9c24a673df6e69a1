//! One TLS stack for every client in this program, and one reading of what it trusts.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use oci_client::client::CertificateEncoding;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use xtask::sys::http::Anonymous;

/// The machine's own certificates, so that a company's proxy or a test's authority is trusted where it is installed. They are in hundreds
/// of files, and every client would read them again, and so would everybody who looks from outside as if for the first time.
static TRUSTED: LazyLock<Vec<CertificateDer<'static>>> = LazyLock::new(|| {
    let is_usable = |certificate: &CertificateDer<'static>| RootCertStore::empty().add(certificate.clone()).is_ok();
    rustls_native_certs::load_native_certs().certs.into_iter().filter(is_usable).collect()
});

/// An anonymous user whom servers with TLS answer, too.
pub fn anonymous(limit: Duration) -> Anonymous {
    let trusted = TRUSTED.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(trusted.collect())))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
    Anonymous::with_settings(limit, |settings| settings.tls_config(tls.build()))
}

/// The same certificates for a registry's client.
pub fn trusted() -> Vec<oci_client::client::Certificate> {
    let certificate = |certificate: &CertificateDer<'_>| oci_client::client::Certificate {
        encoding: CertificateEncoding::Der,
        data: certificate.to_vec(),
    };
    TRUSTED.iter().map(certificate).collect()
}

/// The same certificates for the clients of AWS, which take them as text.
pub fn trusted_by_aws() -> TlsContext {
    let certificate = |certificate: &CertificateDer<'_>| {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64.encode(certificate))
    };
    let all: String = TRUSTED.iter().map(certificate).collect();
    let trusted = TlsContext::builder().with_trust_store(TrustStore::empty().with_pem_certificate(all));
    trusted.build().unwrap_or_default()
}

/// Reads the certificates, for whoever has something else to do meanwhile.
pub fn read_trusted() {
    LazyLock::force(&TRUSTED);
}

/// Chooses for clients that take what the process has. A choice made before stands.
pub fn choose() {
    let _: Result<(), Arc<CryptoProvider>> = ring::default_provider().install_default();
}
