//! The DMSG discovery on a TCP port.

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

use super::answering::{Discoveries, Offered, answer_to, now};
use super::service_over_dmsg::OverDmsg;
use crate::descriptors;
use crate::failure::{Code, Failure, Result};
use crate::http::{self, RemoteIp};
use crate::mirror::Publishing;

/// Maximum number of connections. Beyond, quiet ones of the client with the most make room.
const MOST_CONNECTIONS: usize = 1024;
/// Connections that are taken a second, over time; more wait.
const MOST_A_SECOND: u32 = 2_000;
/// How often what was registered at a gateway is passed on.
const FEED_INTERVAL: Duration = Duration::from_millis(500);
/// Open files for everything else.
const OTHER_FILES: u64 = 64;

/// A DMSG discovery that answers on a TCP port, and on DMSG where it has servers.
pub(crate) struct DiscoveryService {
    server: http::Server,
    is_secure: bool,
    discoveries: Arc<Discoveries>,
    offered: Offered,
    test_mode: bool,
    over_dmsg: Option<OverDmsg>,
    /// Passes on what is registered, at a gateway.
    feeding: Option<JoinHandle<()>>,
}

impl DiscoveryService {
    /// Starts it. On loopback it is in test mode by itself: no servers but this machine's
    /// can reach it.
    pub(crate) async fn start(
        addr: SocketAddr,
        test_mode: bool,
        offered: Offered,
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

    /// Answers on DMSG, too, under this key, at these servers and at those that register here.
    pub(crate) fn start_over_dmsg(
        &mut self,
        secret: SecretKey,
        servers: Vec<KnownServer>,
    ) -> Result<()> {
        let discoveries = Arc::clone(&self.discoveries);
        self.over_dmsg = Some(OverDmsg::start(secret, servers, discoveries)?);
        Ok(())
    }

    /// From now on it is a gateway: what is registered here is published by a node, and what is not
    /// is looked for in the DHT. The changes go out within half a second.
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

    /// Its key on DMSG, if it is there.
    pub(crate) fn dmsg_key(&self) -> Option<PublicKey> {
        self.over_dmsg.as_ref().map(OverDmsg::key)
    }

    /// Where it is asked over DMSG, if it is there.
    pub(crate) fn dmsg_url(&self) -> Option<String> {
        Some(format!("dmsg://{}:{DMSG_PORT}", self.dmsg_key()?))
    }

    /// Where it is asked, from this machine at least.
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

    /// What it is beside a DMSG discovery.
    pub(crate) const fn offered(&self) -> Offered {
        self.offered
    }

    /// Whether servers may be on loopback.
    pub(crate) fn is_in_test_mode(&self) -> bool {
        self.test_mode
    }

    /// What it counted until now.
    pub(crate) fn stats(&self) -> Stats {
        self.discoveries.host().dmsg.stats()
    }

    /// Stops it, and says what it counted.
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
