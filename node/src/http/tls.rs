//! TLS for HTTPS clients and servers.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use skydht_driver::tls::client_config;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// Longest duration of a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Client configuration with the system's root certificates, which are loaded once.
static CONNECTOR: OnceCell<TlsConnector> = OnceCell::const_new();

async fn connector() -> io::Result<&'static TlsConnector> {
    let read = || async {
        let config = spawn_blocking(client_config).await??;
        Ok(TlsConnector::from(Arc::new(config)))
    };
    CONNECTOR.get_or_try_init(read).await
}

/// Establishes TLS with a host, whose certificate must match its name or address.
pub(super) async fn connect(
    stream: TcpStream,
    host: &str,
) -> Result<client::TlsStream<TcpStream>, Box<dyn Error + Send + Sync>> {
    let name = ServerName::try_from(host.to_owned())?;
    let connecting = connector().await?.connect(name, stream);
    match timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!(
            "TLS with {host}: {error} (certificates are those of the system, or of the file that SSL_CERT_FILE names)"
        )
        .into()),
        Err(_) => Err(format!("TLS with {host}: no handshake within {HANDSHAKE_TIMEOUT:?}").into()),
    }
}

/// Establishes TLS on an accepted connection.
pub(super) async fn accept<T: AsyncRead + AsyncWrite + Unpin>(
    acceptor: &TlsAcceptor,
    stream: T,
) -> io::Result<server::TlsStream<T>> {
    timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await?
}

/// Why a certificate cannot be used; each variant has a description.
#[derive(Debug)]
pub(crate) enum CertificateError {
    /// The file with the certificate chain is unusable.
    Chain(String),
    /// The file with the private key is unusable.
    Key(String),
    /// Certificate and key do not match.
    Pair(String),
}

/// Creates a server's TLS configuration from two PEM files: the chain, which starts with the
/// server's certificate, and the private key.
pub(crate) fn acceptor(chain: &Path, key: &Path) -> Result<TlsAcceptor, CertificateError> {
    let wrong = |error: &dyn std::fmt::Display| CertificateError::Chain(error.to_string());
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(&error))?;
    if certificates.is_empty() {
        return Err(wrong(&"no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| CertificateError::Key(error.to_string()))?;
    let pair = |error| CertificateError::Pair(format!("{error}"));
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
