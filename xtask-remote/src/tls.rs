//! One TLS stack for every client in this program.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use ureq::tls::{RootCerts, TlsConfig};

use xtask::sys::http::Anonymous;

/// An anonymous user whom servers with TLS answer, too. The machine's own certificates count, so that a company's proxy or a test's
/// authority is trusted where it is installed.
pub fn anonymous(limit: Duration) -> Anonymous {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
    Anonymous::with_settings(limit, |settings| settings.tls_config(tls.build()))
}

/// Chooses for clients that take what the process has. A choice made before stands.
pub fn choose() {
    let _: Result<(), Arc<CryptoProvider>> = ring::default_provider().install_default();
}
