//! TLS as a client, for storage here and for what asks services over HTTPS.

use std::io;
use std::sync::Arc;

/// The library, whose configuration this is.
pub use rustls;
use rustls::{ClientConfig, RootCertStore};

/// A configuration that believes the certificates that the system does, or those of the file that
/// `SSL_CERT_FILE` names. Reading them takes some milliseconds.
///
/// # Errors
/// When there is none.
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
