//! Good clients of a DMSG server: two that talk through it, and newcomers.

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
/// A client has a session within this, or not at all.
const PATIENCE: Duration = Duration::from_secs(3);

/// A client of one server, with a session.
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

/// Two clients, of which one answers the other with what comes.
#[derive(Clone)]
pub(super) struct ThroughRelay {
    server: (PublicKey, SocketAddr),
    near: Client<Wire>,
    far: Client<Wire>,
    standing: Arc<Mutex<Option<DmsgStream>>>,
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
            standing: Arc::default(),
        })
    }

    fn target(&self) -> Address {
        Address {
            key: self.far.key(),
            port: PORT,
        }
    }

    /// There and back over a stream that stays. If it was lost, that is a failure, and the next
    /// one opens another.
    pub(super) async fn ping(&self) -> bool {
        let mut standing = self.standing.lock().await;
        let stream = match standing.take() {
            Some(stream) => Some(stream),
            None => self.near.dial(self.target()).await.ok(),
        };
        let Some(mut stream) = stream else {
            return false;
        };
        let answered = there_and_back(&mut stream, 32).await;
        if answered {
            *standing = Some(stream);
        }
        answered
    }

    /// So many bytes there and back over a new stream.
    pub(super) async fn call(&self, bytes: usize) -> bool {
        call(&self.near, self.target(), bytes).await
    }

    /// The same by a fresh key.
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
        Ok(mut stream) => there_and_back(&mut stream, bytes).await,
        Err(_) => false,
    }
}

async fn there_and_back(stream: &mut DmsgStream, bytes: usize) -> bool {
    let exchange = async {
        stream.write_all(&vec![1; bytes]).await?;
        stream.flush().await?;
        stream.read_exact(&mut vec![0; bytes]).await
    };
    exchange.await.is_ok()
}

/// Answers every stream of a listener with what comes, until it ends.
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
