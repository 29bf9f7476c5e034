//! The well-behaved client of `bench abuse`, and the latencies that it sees.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use skydht_core::item::{Salt, Value};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{BootstrapPeer, GetRequest, PutOptions, ReadPolicy};
use skydht_driver::Dht;
use skydht_tokio::TcpNode;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use super::peer::newcomer;
use super::through_relay::ThroughRelay;
use super::victim::Victim;
use super::wire::Wire;
use crate::failure::{Code, Failure, Result};
use crate::http::send;
use crate::measure::Latency;
use crate::{random_bytes, start};

/// Duration after which an operation counts as failed.
const PATIENCE: Duration = Duration::from_secs(3);
/// Simulated round trip of new peers.
const FAR: Duration = Duration::from_millis(80);
/// Size of a value, in bytes.
const VALUE: usize = 500;
/// Number of items that are written in turn.
const ITEMS: u32 = 16;
/// Largest accepted response of the control API, in bytes; real ones are far smaller.
const LONGEST_ANSWER: usize = 4 << 20;

/// The operations of the client with their intervals.
const STEPS: [(Step, Duration); 5] = [
    (Step::Ping, Duration::from_millis(20)),
    (Step::PutGet, Duration::from_millis(200)),
    (Step::Newcomer, Duration::from_millis(250)),
    (Step::Live, Duration::from_millis(200)),
    (Step::Status, Duration::from_millis(500)),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Ping,
    PutGet,
    Newcomer,
    Live,
    Status,
}

/// Result of one operation: the index of its figure, and how long it took; `None` for a failure.
type Seen = (usize, Option<Duration>);

/// Statistics of one kind of operation.
#[derive(Clone, Default, Serialize)]
pub(super) struct Figure {
    pub(super) count: usize,
    pub(super) failures: usize,
    pub(super) latency_ms: Latency,
}

/// Statistics of one phase.
#[derive(Clone, Default, Serialize)]
pub(super) struct Figures {
    /// Pings over the existing session.
    pub(super) ping: Figure,
    pub(super) put: Figure,
    pub(super) get: Figure,
    /// Pings of fresh keys, which first connect, at a round trip of 80 ms.
    pub(super) newcomer: Figure,
    /// `/livez` of the control API, without a token.
    pub(super) livez: Figure,
    /// `/status`, with the token.
    pub(super) status: Figure,
}

impl Figures {
    /// Returns every figure with its name.
    pub(super) fn all(&self) -> [(&'static str, &Figure); 6] {
        [
            ("ping", &self.ping),
            ("put", &self.put),
            ("get", &self.get),
            ("newcomer", &self.newcomer),
            ("livez", &self.livez),
            ("status", &self.status),
        ]
    }

    fn all_mut(&mut self) -> [&mut Figure; 6] {
        [
            &mut self.ping,
            &mut self.put,
            &mut self.get,
            &mut self.newcomer,
            &mut self.livez,
            &mut self.status,
        ]
    }
}

/// The client's access to the attacked process.
#[derive(Clone)]
enum Good {
    /// A node that dials only.
    Node(Dht),
    /// Two clients of a DMSG server: a ping goes over a stream that is kept; a put echoes a value's
    /// bytes over a new stream, and a get 100 times as many.
    Clients(ThroughRelay),
}

/// A well-behaved client of the attacked process and of its control API.
#[derive(Clone)]
pub(super) struct Witness {
    good: Good,
    to: (PublicKey, SocketAddr),
    api: SocketAddr,
    bearer: String,
}

impl Witness {
    /// Starts a client of the attacked process.
    pub(super) async fn start(victim: &Victim) -> Result<Self> {
        let good = match victim.is_relay {
            false => Good::Node(Self::start_node(victim).await?),
            true => {
                let clients = ThroughRelay::start((victim.key, victim.peers)).await;
                let none = || Failure::new(Code::Local, "the DMSG server took no clients");
                Good::Clients(clients.ok_or_else(none)?)
            }
        };
        Ok(Self {
            good,
            to: (victim.key, victim.peers),
            api: victim.api,
            bearer: format!("Bearer {}", *victim.token),
        })
    }

    async fn start_node(victim: &Victim) -> Result<Dht> {
        let secret = SecretKey::from_entropy(&random_bytes()?);
        let mut node = TcpNode::new(secret, None);
        node.config.operation_timeout = PATIENCE;
        node.config.bootstrap = vec![BootstrapPeer {
            key: victim.key,
            addrs: vec![victim.peers],
        }];
        let dht = start::start_node(node).await?;
        dht.ready().await?;
        Ok(dht)
    }

    /// Starts operations at a fixed rate for `duration`, regardless of responses, and waits for the
    /// last of them.
    pub(super) async fn measure(&self, duration: Duration) -> Figures {
        let end = Instant::now() + duration;
        let mut schedules = JoinSet::new();
        for (step, every) in STEPS {
            let witness = self.clone();
            schedules.spawn(async move {
                let (mut seen, mut tick, mut turn) = (JoinSet::new(), interval(every), 0);
                while Instant::now() < end {
                    tick.tick().await;
                    let witness = witness.clone();
                    seen.spawn(async move { witness.step(step, turn).await });
                    turn += 1;
                }
                seen.join_all().await
            });
        }
        let seen = schedules.join_all().await;
        let mut figures = Figures::default();
        let mut took: [Vec<Duration>; 6] = Default::default();
        for (index, result) in seen.into_iter().flatten().flatten() {
            let figure = &mut *figures.all_mut()[index];
            figure.count += 1;
            match result {
                Some(duration) => took[index].push(duration),
                None => figure.failures += 1,
            }
        }
        for (figure, took) in figures.all_mut().into_iter().zip(took) {
            figure.latency_ms = Latency::of(took);
        }
        figures
    }

    pub(super) async fn stop(self) {
        match self.good {
            Good::Node(dht) => dht.shutdown().await,
            Good::Clients(clients) => clients.stop().await,
        }
    }

    async fn step(&self, step: Step, turn: u32) -> Vec<Seen> {
        match step {
            Step::Ping => vec![(0, timed(self.ping()).await)],
            Step::PutGet => {
                let salt = Salt::from(format!("witness-{}", turn % ITEMS).as_str());
                let put = timed(self.put(salt.clone())).await;
                let get = timed(self.get(salt)).await;
                vec![(1, put), (2, get)]
            }
            Step::Newcomer => vec![(3, timed(self.newcomer()).await)],
            Step::Live => vec![(4, timed(self.ask("/livez", None)).await)],
            Step::Status => vec![(5, timed(self.ask("/status", Some(&self.bearer))).await)],
        }
    }

    async fn ping(&self) -> bool {
        match &self.good {
            Good::Node(dht) => dht.ping(self.to.0, Some(self.to.1)).await.is_ok(),
            Good::Clients(clients) => clients.ping().await,
        }
    }

    async fn put(&self, salt: Salt) -> bool {
        let dht = match &self.good {
            Good::Node(dht) => dht,
            Good::Clients(clients) => return clients.call(VALUE).await,
        };
        let options = PutOptions {
            once: true,
            ..PutOptions::default()
        };
        let value = Value::from(vec![b'w'; VALUE]);
        let put = dht.put(salt, value, options).await;
        put.is_ok_and(|put| put.replicas.acknowledged() > 0)
    }

    async fn get(&self, salt: Salt) -> bool {
        let dht = match &self.good {
            Good::Node(dht) => dht,
            Good::Clients(clients) => return clients.call(100 * VALUE).await,
        };
        let request = GetRequest::of(dht.key(), salt, ReadPolicy::Freshest);
        dht.get(request).await.is_ok()
    }

    async fn newcomer(&self) -> bool {
        let wire = Wire::with_round_trip(FAR);
        match &self.good {
            Good::Node(_) => newcomer(self.to, wire).await.unwrap_or(false),
            Good::Clients(clients) => clients.newcomer(wire).await,
        }
    }

    async fn ask(&self, path: &str, bearer: Option<&str>) -> bool {
        let mut request = Request::builder()
            .uri(path)
            .header(HOST, self.api.to_string());
        if let Some(bearer) = bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        let Ok(request) = request.body(Full::new(Bytes::new())) else {
            return false;
        };
        let Ok(stream) = TcpStream::connect(self.api).await else {
            return false;
        };
        let answer = send(TokioIo::new(stream), request, LONGEST_ANSWER).await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }
}

/// Returns how long `what` took, or `None` if it failed or exceeded the time limit.
async fn timed(what: impl Future<Output = bool>) -> Option<Duration> {
    let begun = Instant::now();
    let good = timeout(PATIENCE, what).await.unwrap_or(false);
    good.then(|| begun.elapsed())
}
