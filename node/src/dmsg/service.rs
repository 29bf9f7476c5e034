//! The DMSG discovery and the services beside it, on a TCP port.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_discovery::DMSG_PORT;
use skydht_discovery::dmsg::{Caller, DmsgDiscovery, Rules, Stats};
use skydht_discovery::health::Health;
use skydht_discovery::mirror::Feed;
use skydht_dmsg::discovery::{KnownServer, Limits};
use skydht_driver::Dht;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::answering::{Discoveries, OfferedServices, answer_to, now};
use super::service_over_dmsg::OverDmsg;
use crate::descriptors;
use crate::failure::{Code, Failure, Result};
use crate::http::{self, RemoteIp};
use crate::mirror::Publishing;

/// Maximum number of connections. At the limit, an idle one of the address with the most is closed.
const MOST_CONNECTIONS: usize = 1024;
/// Connections accepted per second on average; further ones wait.
const MOST_A_SECOND: u32 = 2_000;
/// Interval at which a gateway publishes what was registered.
const FEED_INTERVAL: Duration = Duration::from_millis(500);
/// Open files reserved for everything but connections.
const OTHER_FILES: u64 = 64;

/// A DMSG discovery on a TCP port, and on DMSG if servers are known.
pub(crate) struct DiscoveryService {
    server: http::Server,
    is_secure: bool,
    discoveries: Arc<Discoveries>,
    offered: OfferedServices,
    test_mode: bool,
    over_dmsg: Option<OverDmsg>,
    /// The task that publishes what is registered at a gateway.
    feeding: Option<JoinHandle<()>>,
}

impl DiscoveryService {
    /// Starts the discovery. On loopback it is always in test mode, since only servers on this
    /// machine can reach it.
    pub(crate) async fn start(
        addr: SocketAddr,
        test_mode: bool,
        offered: OfferedServices,
        tls: Option<TlsAcceptor>,
    ) -> Result<Self> {
        let listener = TcpListener::bind(addr).await.map_err(|error| {
            Failure::new(
                Code::Local,
                format_args!("cannot listen at {addr}: {error}"),
            )
            .hint("choose another address with --addr IP:PORT (port 0: any free one)")
        })?;
        let is_secure = tls.is_some();
        let test_mode = test_mode || addr.ip().is_loopback();
        let rules = Rules {
            allow_loopback: test_mode,
            ..Rules::default()
        };
        let health = Health::new(now().unix, env!("CARGO_PKG_VERSION"));
        let dmsg = DmsgDiscovery::with(rules, Limits::default(), health);
        let discoveries = Arc::new(Discoveries::new(dmsg, offered, test_mode));
        let serving = Arc::clone(&discoveries);
        let answer = move |request| answer(Arc::clone(&serving), request);
        let most = descriptors::raise().saturating_sub(OTHER_FILES);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let limits = http::Limits {
            connections: most.clamp(1, MOST_CONNECTIONS),
            a_second: MOST_A_SECOND,
        };
        let server = http::Server::start(listener, "the DMSG discovery", tls, limits, answer)?;
        Ok(Self {
            server,
            is_secure,
            discoveries,
            offered,
            test_mode,
            over_dmsg: None,
            feeding: None,
        })
    }

    /// Answers on DMSG, too, under the key `secret`, over `servers` and those that register here.
    pub(crate) fn start_over_dmsg(
        &mut self,
        secret: SecretKey,
        servers: Vec<KnownServer>,
    ) -> Result<()> {
        let discoveries = Arc::clone(&self.discoveries);
        self.over_dmsg = Some(OverDmsg::start(secret, servers, discoveries)?);
        Ok(())
    }

    /// Turns the discovery into a gateway: `publishing` publishes what is registered here, within
    /// [`FEED_INTERVAL`], and what is not registered here is looked up in the DHT.
    pub(crate) fn start_gateway(&mut self, dht: &Dht, publishing: Publishing) {
        let discoveries = Arc::clone(&self.discoveries);
        discoveries.attach(dht);
        let mut feed = Feed::new(&mut discoveries.host());
        self.feeding = Some(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(FEED_INTERVAL);
            loop {
                ticks.tick().await;
                let changes = feed.take_changes(now().mono, &mut discoveries.host());
                for (id, content) in changes {
                    publishing.set(&id, content);
                }
            }
        }));
    }

    /// Returns its key on DMSG, if it answers there.
    pub(crate) fn dmsg_key(&self) -> Option<PublicKey> {
        self.over_dmsg.as_ref().map(OverDmsg::key)
    }

    /// Returns the URL on DMSG, if it answers there.
    pub(crate) fn dmsg_url(&self) -> Option<String> {
        Some(format!("dmsg://{}:{DMSG_PORT}", self.dmsg_key()?))
    }

    /// Returns the URL, with a loopback address if it listens at all addresses.
    pub(crate) fn url(&self) -> String {
        let mut addr = self.server.addr();
        if addr.ip().is_unspecified() {
            addr.set_ip(match addr {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{addr}")
    }

    /// Returns the services offered besides the DMSG discovery.
    pub(crate) const fn offered(&self) -> OfferedServices {
        self.offered
    }

    /// Returns whether servers on loopback are accepted.
    pub(crate) fn is_in_test_mode(&self) -> bool {
        self.test_mode
    }

    /// Returns the counts so far.
    pub(crate) fn stats(&self) -> Stats {
        self.discoveries.host().dmsg.stats()
    }

    /// Stops the discovery, and returns its counts.
    pub(crate) async fn stop(self) -> Stats {
        if let Some(feeding) = self.feeding {
            feeding.abort();
        }
        if let Some(over_dmsg) = self.over_dmsg {
            over_dmsg.stop().await;
        }
        self.server.stop().await;
        self.discoveries.host().dmsg.stats()
    }
}

async fn answer(discoveries: Arc<Discoveries>, request: Request<Incoming>) -> Response {
    let caller = request.extensions().get::<RemoteIp>();
    let caller = caller.map_or(Caller::Unknown, |ip| Caller::Address(ip.0));
    answer_to(caller, discoveries, request).await
}
