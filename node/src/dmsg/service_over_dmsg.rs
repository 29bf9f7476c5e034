//! The DMSG discovery on port 80 of its own DMSG key.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_discovery::dmsg::Caller;
use skydht_discovery::{DMSG_PORT, Exchange, ExchangeError, HttpDiscovery, web};
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::{Discovery, DiscoveryError, KnownServer};
use skydht_dmsg::endpoint::Listener;
use skydht_dmsg::entry::{Entry, SignedEntry};
use skydht_runtime::BoxFuture;
use skydht_tokio::TokioRuntime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::answering::{Discoveries, answer_to};
use crate::failure::{Code, Failure, Result};
use crate::http::{ConnectionSlots, HttpStream, converse};

/// Maximum number of connections. At the limit, an idle one of the key with the most is closed.
const MOST_CONNECTIONS: usize = 256;

type SharedDiscoveries = Arc<Discoveries>;

/// The discovery's own DMSG client, over which it answers.
pub(super) struct OverDmsg {
    client: Client<TokioRuntime>,
    serving: JoinHandle<()>,
}

impl OverDmsg {
    /// Listens, and keeps sessions with all known servers, since each caller may share only one of
    /// them with this client.
    pub(super) fn start(
        secret: SecretKey,
        servers: Vec<KnownServer>,
        discovery: SharedDiscoveries,
    ) -> Result<Self> {
        let mut config = ClientConfig::default();
        config.min_sessions = 0;
        config.servers.clone_from(&servers);
        let own = OwnDirectory::new(servers, &discovery)?;
        let entropy = crate::random_bytes()?;
        let client = Client::start(TokioRuntime, secret, entropy, own, config);
        let listener = client.listen(DMSG_PORT).map_err(|code| {
            let text = format!("cannot listen over DMSG: {code}");
            Failure::new(Code::Local, text)
        })?;
        let serving = tokio::spawn(serve(listener, discovery));
        Ok(Self { client, serving })
    }

    pub(super) fn key(&self) -> PublicKey {
        self.client.key()
    }

    pub(super) async fn stop(self) {
        self.client.close().await;
        self.serving.abort();
    }
}

/// Answers requests until the client closes. The key that a stream has proved is the caller.
async fn serve(mut listener: Listener, discovery: SharedDiscoveries) {
    let slots = ConnectionSlots::new(MOST_CONNECTIONS);
    // The sessions' end closes the connections, so that this channel is never used.
    let (_stop, stopped) = watch::channel(false);
    while let Some(stream) = listener.accept().await {
        let key = stream.remote().key;
        let slot = slots.acquire(key).await;
        let (discovery, stopped) = (Arc::clone(&discovery), stopped.clone());
        tokio::spawn(async move {
            let answer = |request: Request<Incoming>| {
                answer_to(Caller::Key(key), Arc::clone(&discovery), request)
            };
            let io = std::future::ready(Ok(HttpStream(stream)));
            converse(io, answer, stopped, slot).await;
        });
    }
}

/// The discovery as its own client sees it. It publishes no entry, because callers configure where
/// it is.
struct OwnDirectory {
    servers: Vec<KnownServer>,
    local: HttpDiscovery<LocalExchange>,
}

struct LocalExchange(SharedDiscoveries);

impl OwnDirectory {
    fn new(servers: Vec<KnownServer>, discovery: &SharedDiscoveries) -> Result<Self> {
        let base = "http://localhost".parse();
        let base = base.map_err(|error| Failure::new(Code::Local, error))?;
        Ok(Self {
            servers,
            local: HttpDiscovery::new(base, LocalExchange(Arc::clone(discovery))),
        })
    }
}

impl Exchange for LocalExchange {
    fn exchange(
        &self,
        request: web::Request,
    ) -> BoxFuture<'static, std::result::Result<web::Response, ExchangeError>> {
        let response = self.0.handle(Caller::Unknown, &request);
        Box::pin(std::future::ready(Ok(response)))
    }
}

impl Discovery for OwnDirectory {
    fn entry(
        &self,
        key: PublicKey,
    ) -> BoxFuture<'static, std::result::Result<Entry, DiscoveryError>> {
        self.local.entry(key)
    }

    fn stored(
        &self,
        key: PublicKey,
    ) -> BoxFuture<'static, std::result::Result<SignedEntry, DiscoveryError>> {
        self.local.stored(key)
    }

    fn servers(&self) -> BoxFuture<'static, std::result::Result<Vec<KnownServer>, DiscoveryError>> {
        let (mut servers, registered) = (self.servers.clone(), self.local.servers());
        Box::pin(async move {
            servers.extend(registered.await?);
            servers.sort();
            servers.dedup();
            Ok(servers)
        })
    }

    fn publish(
        &self,
        _: SignedEntry,
    ) -> BoxFuture<'static, std::result::Result<(), DiscoveryError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove(
        &self,
        _: SignedEntry,
    ) -> BoxFuture<'static, std::result::Result<(), DiscoveryError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
