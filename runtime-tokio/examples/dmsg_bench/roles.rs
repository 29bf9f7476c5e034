//! The roles of the other processes: relay, sink, and many idle clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures::future::join_all;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_runtime::{Connection, Runtime as _};
use skydht_tokio::dmsg::client::{Client, ClientConfig};
use skydht_tokio::dmsg::discovery::{FixedServers, KnownServer, MemoryDiscovery};
use skydht_tokio::dmsg::dmsg_session::{self, Established};
use skydht_tokio::dmsg::handshake::EphemeralSource;
use skydht_tokio::dmsg::hybrid::Hybrid;
use skydht_tokio::dmsg::server::{Server, ServerConfig};
use skydht_tokio::dmsg::session::SessionConfig;
use skydht_tokio::{PublicKey, SecretKey, TokioRuntime, entropy};

use crate::Result;
use crate::process::print_and_wait;

/// Port on which the sink and the relay listen.
pub(crate) const PORT: u16 = 7;
/// First byte of a stream that is read to its end and answered with the number of bytes.
pub(crate) const SWALLOW: u8 = b's';
/// First byte of a stream that is echoed.
pub(crate) const ECHO: u8 = b'e';
/// Number of sessions that the crowd establishes concurrently.
const CONCURRENCY: usize = 32;

pub(crate) fn key(text: &str) -> Result<PublicKey> {
    Ok(text.parse()?)
}

fn secret() -> Result<SecretKey> {
    Ok(SecretKey::from_entropy(&entropy()?))
}

pub(crate) async fn relay() -> Result<()> {
    let mut config = ServerConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    config.max_sessions = 20_000;
    let discovery = MemoryDiscovery::new(TokioRuntime);
    let server = Server::start(TokioRuntime, secret()?, entropy()?, discovery, config).await?;
    let mut own = server.listen(PORT).map_err(|code| code.to_string())?;
    tokio::spawn(async move { while own.accept().await.is_some() {} });
    print_and_wait(&format!("{} {}", server.key(), server.local_addr())).await
}

pub(crate) fn client(key: &str, addr: &str) -> Result<Client<TokioRuntime>> {
    Ok(fresh_client(key, addr)?.1)
}

/// A client of this relay with a key of its own.
pub(crate) fn fresh_client(relay: &str, addr: &str) -> Result<(SecretKey, Client<TokioRuntime>)> {
    let relay = KnownServer {
        key: key(relay)?,
        address: addr.parse()?,
    };
    let mut config = ClientConfig::default();
    config.accept_queue = 4_096;
    let (secret, servers) = (secret()?, FixedServers::new([relay]));
    let client = Client::start(TokioRuntime, secret.clone(), entropy()?, servers, config);
    Ok((secret, client))
}

pub(crate) async fn sink(relay: &str, addr: &str) -> Result<()> {
    let client = client(relay, addr)?;
    let mut listener = client.listen(PORT).map_err(|code| code.to_string())?;
    client.ready().await;
    tokio::spawn(async move {
        while let Some(stream) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    print_and_wait(&client.key().to_string()).await
}

/// Handles a stream as its first byte says.
pub(crate) async fn serve<S: Connection>(mut stream: S) -> std::io::Result<()> {
    let mut what = [0];
    stream.read_exact(&mut what).await?;
    let mut chunk = vec![0; 64 << 10];
    let mut count = 0;
    loop {
        let n = stream.read(&mut chunk).await?;
        count += n as u64;
        match (n, what[0]) {
            (0, SWALLOW) => {
                stream.write_all(&count.to_be_bytes()).await?;
                return stream.close().await;
            }
            (0, _) => return stream.close().await,
            (_, SWALLOW) => {}
            (n, _) => {
                stream.write_all(&chunk[..n]).await?;
                stream.flush().await?;
            }
        }
    }
}

/// Establishes sessions and keeps them open.
pub(crate) async fn crowd(relay: &str, addr: &str, n: usize) -> Result<()> {
    let (relay, addr) = (key(relay)?, addr.parse::<SocketAddr>()?);
    let ephemerals = Arc::new(EphemeralSource::new(entropy()?, Hybrid::default()));
    let workers = (0..CONCURRENCY).map(|worker| {
        let ephemerals = Arc::clone(&ephemerals);
        tokio::spawn(async move {
            let mut held = Vec::new();
            for _ in (worker..n).step_by(CONCURRENCY) {
                let connection = TokioRuntime.connect(addr).await?;
                let (secret, ephemeral) = (secret()?, ephemerals.next());
                let config = SessionConfig::default();
                let made = dmsg_session::connect(connection, &secret, relay, ephemeral, &config);
                let Established {
                    session,
                    incoming,
                    driver,
                } = made.await?;
                tokio::spawn(driver);
                held.push((session, incoming));
            }
            Result::Ok(held)
        })
    });
    let mut held = Vec::new();
    for worker in join_all(workers).await {
        held.extend(worker??);
    }
    print_and_wait(&held.len().to_string()).await
}
