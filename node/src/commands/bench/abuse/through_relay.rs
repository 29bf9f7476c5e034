//! Well-behaved clients of a DMSG server: two that talk through it, and new ones.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::{FixedServers, KnownServer};
use skydht_dmsg::endpoint::{DmsgStream, Listener};
use skydht_dmsg::object::Address;
use skydht_runtime::within;
use tokio::sync::Mutex;

use super::wire::Wire;
use crate::random_bytes;

const PORT: u16 = 7;
/// Longest wait of a client for its session.
const PATIENCE: Duration = Duration::from_secs(3);

/// Starts a client of one server; `None` if it gets no session in time.
pub(super) async fn client(wire: Wire, server: (PublicKey, SocketAddr)) -> Option<Client<Wire>> {
    let (key, address) = server;
    let server = FixedServers::new([KnownServer { key, address }]);
    let secret = SecretKey::from_entropy(&random_bytes().ok()?);
    let entropy = random_bytes().ok()?;
    let client = Client::start(
        wire.clone(),
        secret,
        entropy,
        server,
        ClientConfig::default(),
    );
    within(&wire, PATIENCE, client.connected()).await?;
    Some(client)
}

/// Two clients of a DMSG server, of which one echoes what the other sends.
#[derive(Clone)]
pub(super) struct ThroughRelay {
    server: (PublicKey, SocketAddr),
    near: Client<Wire>,
    far: Client<Wire>,
    ping_stream: Arc<Mutex<Option<DmsgStream>>>,
}

impl ThroughRelay {
    pub(super) async fn start(server: (PublicKey, SocketAddr)) -> Option<Self> {
        let near = client(Wire::default(), server).await?;
        let far = client(Wire::default(), server).await?;
        tokio::spawn(echo(far.listen(PORT).ok()?));
        Some(Self {
            server,
            near,
            far,
            ping_stream: Arc::default(),
        })
    }

    fn target(&self) -> Address {
        Address {
            key: self.far.key(),
            port: PORT,
        }
    }

    /// Sends 32 bytes and reads their echo over a stream that is kept. After a failure, the next
    /// call opens another stream.
    pub(super) async fn ping(&self) -> bool {
        let mut ping_stream = self.ping_stream.lock().await;
        let stream = match ping_stream.take() {
            Some(stream) => Some(stream),
            None => self.near.dial(self.target()).await.ok(),
        };
        let Some(mut stream) = stream else {
            return false;
        };
        let answered = is_echoed(&mut stream, 32).await;
        if answered {
            *ping_stream = Some(stream);
        }
        answered
    }

    /// Sends `bytes` bytes and reads their echo over a new stream.
    pub(super) async fn call(&self, bytes: usize) -> bool {
        call(&self.near, self.target(), bytes).await
    }

    /// Does the same with 32 bytes from a client with a fresh key.
    pub(super) async fn newcomer(&self, wire: Wire) -> bool {
        match client(wire, self.server).await {
            Some(client) => call(&client, self.target(), 32).await,
            None => false,
        }
    }

    pub(super) async fn stop(&self) {
        self.near.close().await;
        self.far.close().await;
    }
}

async fn call(client: &Client<Wire>, target: Address, bytes: usize) -> bool {
    match client.dial(target).await {
        Ok(mut stream) => is_echoed(&mut stream, bytes).await,
        Err(_) => false,
    }
}

async fn is_echoed(stream: &mut DmsgStream, bytes: usize) -> bool {
    let exchange = async {
        stream.write_all(&vec![1; bytes]).await?;
        stream.flush().await?;
        stream.read_exact(&mut vec![0; bytes]).await
    };
    exchange.await.is_ok()
}

/// Echoes every stream of a listener, until it is closed.
async fn echo(mut listener: Listener) {
    while let Some(mut stream) = listener.accept().await {
        tokio::spawn(async move {
            let mut chunk = vec![0; 64 * 1024];
            while let Ok(read) = stream.read(&mut chunk).await {
                let answered = stream.write_all(&chunk[..read]).await.is_ok();
                if read == 0 || !answered || stream.flush().await.is_err() {
                    break;
                }
            }
        });
    }
}
