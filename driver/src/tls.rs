//! The client side of TLS, for storage in this crate and for callers of HTTPS services.

use std::io;
use std::sync::Arc;

/// The TLS library of this configuration.
pub use rustls;
use rustls::{ClientConfig, RootCertStore};

/// Returns a configuration that trusts the system's certificates, or those of the file that
/// `SSL_CERT_FILE` names. Reading them takes some milliseconds.
///
/// # Errors
/// If there are no certificates.
pub fn client_config() -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(io::Error::other(
            "the system has no certificates to check the server's with: install them, or name a file in SSL_CERT_FILE",
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
