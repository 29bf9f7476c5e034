//! A network in virtual time: one discovery, and servers and clients on hosts of their own.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::MemoryDiscovery;
use skydht_dmsg::endpoint::{DmsgStream, Listener};
use skydht_dmsg::object::Address;
use skydht_dmsg::server::{Server, ServerConfig};
use skydht_runtime::virtual_time::{VirtualRuntime, VirtualTime};
use skydht_runtime::{Runtime as _, within};

/// Port on which servers listen.
pub(crate) const PORT: u16 = 8080;

pub(crate) struct World {
    pub(crate) time: VirtualTime,
    pub(crate) discovery: MemoryDiscovery,
}

/// Returns the secret key of the host `n`.
pub(crate) fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

pub(crate) fn key(n: u8) -> PublicKey {
    secret(n).public()
}

pub(crate) fn ip(n: u8) -> IpAddr {
    [93, 184, 216, n].into()
}

pub(crate) fn at(n: u8, port: u16) -> Address {
    Address { key: key(n), port }
}

impl World {
    pub(crate) fn new() -> Self {
        let time = VirtualTime::new(7);
        let discovery = MemoryDiscovery::new(time.runtime());
        Self { time, discovery }
    }

    pub(crate) fn host(&self, n: u8) -> VirtualRuntime {
        self.time.host(ip(n))
    }

    /// Runs until `future` completes; fails after ten minutes.
    #[track_caller]
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        let runtime = self.time.runtime();
        let limited = within(&runtime, Duration::from_secs(600), future);
        let done = self.time.run_until(limited).expect("the world goes on");
        done.expect("not within ten minutes")
    }

    pub(crate) fn sleep(&self, duration: Duration) {
        self.run(self.time.runtime().sleep(duration));
    }

    /// Runs until `is_so` returns true; fails after ten minutes.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        for _ in 0..60_000 {
            if is_so() {
                return;
            }
            self.sleep(Duration::from_millis(10));
        }
        panic!("never: {what}");
    }

    pub(crate) fn server_config(n: u8) -> ServerConfig {
        ServerConfig::new(SocketAddr::new(ip(n), PORT))
    }

    #[track_caller]
    pub(crate) fn server_with(&self, n: u8, config: ServerConfig) -> Server<VirtualRuntime> {
        let discovery = self.discovery.clone();
        let starting = Server::start(self.host(n), secret(n), [n; 32], discovery, config);
        self.run(async {
            let server = starting.await.unwrap();
            server.ready().await;
            server
        })
    }

    pub(crate) fn server(&self, n: u8) -> Server<VirtualRuntime> {
        self.server_with(n, Self::server_config(n))
    }

    #[track_caller]
    pub(crate) fn client_with(&self, n: u8, config: ClientConfig) -> Client<VirtualRuntime> {
        let discovery = self.discovery.clone();
        let client = Client::start(self.host(n), secret(n), [n; 32], discovery, config);
        self.run(client.ready());
        client
    }

    pub(crate) fn client(&self, n: u8) -> Client<VirtualRuntime> {
        self.client_with(n, ClientConfig::default())
    }

    /// Echoes every stream of a listener until the stream ends.
    pub(crate) fn echo(&self, mut listener: Listener) {
        let runtime = self.time.runtime();
        let spawner = runtime.clone();
        runtime.spawn(Box::pin(async move {
            while let Some(stream) = listener.accept().await {
                spawner.spawn(Box::pin(answer(stream)));
            }
        }));
    }

    #[track_caller]
    pub(crate) fn dial(&self, from: &Client<VirtualRuntime>, to: Address) -> DmsgStream {
        self.run(from.dial(to)).unwrap()
    }
}

async fn answer(mut stream: DmsgStream) {
    let mut chunk = vec![0; 10_000];
    while let Ok(n) = stream.read(&mut chunk).await {
        if n == 0 {
            let _ = stream.close().await;
            return;
        }
        if stream.write_all(&chunk[..n]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// Sends a request over a stream whose other side echoes, and reads it back.
pub(crate) async fn echoed(stream: &mut DmsgStream, request: &[u8]) -> std::io::Result<()> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut back = vec![0; request.len()];
    stream.read_exact(&mut back).await?;
    assert!(back == request, "other bytes came back");
    Ok(())
}
