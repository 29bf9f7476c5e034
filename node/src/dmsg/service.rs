//! The DMSG discovery on a TCP port.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use skydht_core::time::{Mono, Time, Unix, nanos};
use skydht_discovery::dmsg::{Caller, DmsgDiscovery, MAX_REQUEST, Refusal, Rules, Stats};
use skydht_discovery::health::Health;
use skydht_dmsg::discovery::Limits;
use skydht_runtime::Clocks;
use tokio::net::TcpListener;

use crate::descriptors;
use crate::failure::{Code, Failure, Result};
use crate::http::{self, BodyError, RemoteIp, read_body};

/// Maximum number of connections. Beyond, quiet ones of the client with the most make room.
const MOST_CONNECTIONS: usize = 1024;
/// Connections that are taken a second, over time; more wait.
const MOST_A_SECOND: u32 = 2_000;
/// Open files for everything else.
const OTHER_FILES: u64 = 64;

/// A DMSG discovery that answers on a TCP port.
pub(crate) struct DiscoveryService {
    server: http::Server,
    discovery: Arc<Mutex<DmsgDiscovery>>,
    test_mode: bool,
}

impl DiscoveryService {
    /// Starts it. On loopback it is in test mode by itself: no servers but this machine's
    /// can reach it.
    pub(crate) async fn start(addr: SocketAddr, test_mode: bool) -> Result<Self> {
        let listener = TcpListener::bind(addr).await.map_err(|error| {
            Failure::new(
                Code::Local,
                format_args!("cannot listen at {addr}: {error}"),
            )
            .hint("choose another address with --addr IP:PORT (port 0: any free one)")
        })?;
        let test_mode = test_mode || addr.ip().is_loopback();
        let rules = Rules {
            allow_loopback: test_mode,
            ..Rules::default()
        };
        let health = Health::new(now().unix, env!("CARGO_PKG_VERSION"));
        let discovery = DmsgDiscovery::with(rules, Limits::default(), health);
        let discovery = Arc::new(Mutex::new(discovery));
        let serving = Arc::clone(&discovery);
        let answer = move |request| answer(Arc::clone(&serving), request);
        let most = descriptors::raise().saturating_sub(OTHER_FILES);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let limits = http::Limits {
            connections: most.clamp(1, MOST_CONNECTIONS),
            a_second: MOST_A_SECOND,
        };
        let server = http::Server::start(listener, "the DMSG discovery", limits, answer)?;
        Ok(Self {
            server,
            discovery,
            test_mode,
        })
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
        format!("http://{addr}")
    }

    /// Whether servers may be on loopback.
    pub(crate) fn is_in_test_mode(&self) -> bool {
        self.test_mode
    }

    /// Stops it, and says what it counted.
    pub(crate) async fn stop(self) -> Stats {
        self.server.stop().await;
        let discovery = self.discovery.lock();
        discovery.unwrap_or_else(PoisonError::into_inner).stats()
    }
}

fn now() -> Time {
    let clocks = Clocks::system();
    Time {
        mono: Mono(nanos(clocks.monotonic)),
        unix: Unix(nanos(clocks.unix)),
    }
}

async fn answer(discovery: Arc<Mutex<DmsgDiscovery>>, request: Request<Incoming>) -> Response {
    let caller = request.extensions().get::<RemoteIp>();
    let caller = caller.map_or(Caller::Unknown, |ip| Caller::Address(ip.0));
    let (head, body) = request.into_parts();
    let body = match read_body(Body::new(body), MAX_REQUEST).await {
        Ok(body) => body,
        // The service says it, and counts it.
        Err(BodyError::TooLong) => vec![0; MAX_REQUEST + 1],
        Err(BodyError::Late | BodyError::Broken(_)) => {
            return Refusal::Unexpected.write().map(Body::from);
        }
    };
    let request = Request::from_parts(head, body);
    let mut discovery = discovery.lock().unwrap_or_else(PoisonError::into_inner);
    discovery
        .handle_from(now(), caller, &request)
        .map(Body::from)
}
