//! Hostile peers: [`Host`]s whose behaviour a scenario determines.
//!
//! Each contains a model of upstream's node, which finds the network and makes itself known; its
//! [`Behaviour`] changes the answers and adds requests. Hostile peers share a [`Collusion`]. What
//! crashes upstream's process stops the node inside as well: it then looks for no more peers, but
//! the attacks continue. A run is a function of the configuration, the key, the seed and the
//! inputs; memory is bounded whatever other hosts do.
//!
//! | Question | Module |
//! |---|---|
//! | What can one be configured to do? | [`Behaviour`] |
//! | How near to a target does an attacker get? | [`grind`] |
//! | What do attackers share? | [`Collusion`] |
//! | What does it answer? | `answers` |
//! | What does it start by itself? | `attacks` |
//! | How does a full node lie when it reconciles? | `lies` |

mod answers;
mod attacks;
mod behaviour;
mod collusion;
mod grind;
mod lies;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use skydht_core::Seed;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{CloseReason, Command, ConfigError, Identity, Input, Output, StreamId};
use skydht_core::time::{Mono, Time};

use crate::host::{Boot, Host, Start};
use crate::upstream::frame::{FrameReader, Progress};
use crate::upstream::store::Limits;
use crate::upstream::timers::Timers;
use crate::upstream::{UpstreamConfig, UpstreamNode};
use answers::Reply;
pub use behaviour::{Behaviour, Flood, Forgery, ValueLie};
pub use collusion::Collusion;
pub use grind::grind;
pub(crate) use lies::Lies;
pub use state::{Counters, HostileConfig, HostilePeer};
use state::{Served, Timer};

/// Maximum number of concurrent inbound streams; more are reset.
const SERVED: usize = 1_024;
/// Maximum number of items stored.
const ITEMS: usize = 1_000;
/// Longer than any run.
const FOR_EVER: Duration = Duration::from_secs(1 << 31);

impl HostilePeer {
    /// Creates a peer that starts now and belongs to `collusion`.
    #[must_use]
    pub fn new(
        config: HostileConfig,
        secret: SecretKey,
        seed: Seed,
        collusion: &Collusion,
        now: Time,
    ) -> Self {
        collusion.join(secret.public());
        let upstream = UpstreamConfig {
            bootstrap: config.bootstrap.clone(),
            limits: Limits {
                max_items: ITEMS,
                public_pool: ITEMS,
                items_per_key: ITEMS,
                item_ttl: FOR_EVER,
            },
            republish: None,
            ..UpstreamConfig::default()
        };
        let mut peer = Self {
            config,
            inner: UpstreamNode::new(upstream, Identity::Keyed(secret.clone()), now),
            secret,
            collusion: collusion.clone(),
            rng: ChaCha8Rng::from_seed(seed.0),
            now,
            served: BTreeMap::new(),
            attacks: BTreeMap::new(),
            timers: Timers::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            stopped: false,
        };
        peer.plan_attack();
        peer
    }

    /// The configured behaviour.
    #[must_use]
    pub const fn behaviour(&self) -> &Behaviour {
        &self.config.behaviour
    }

    /// Counts so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn accepted(&mut self, stream: StreamId, peer: PublicKey) {
        if self.stopped || self.served.len() >= SERVED {
            return self.drop_stream(stream);
        }
        let reading = Served::Reading(peer, FrameReader::default());
        self.served.insert(stream, reading);
    }

    fn drop_stream(&mut self, stream: StreamId) {
        self.counters.dropped += 1;
        self.close(stream, CloseReason::Cancelled);
    }

    fn served_bytes(&mut self, stream: StreamId, bytes: &[u8]) {
        let Some(Served::Reading(peer, reader)) = self.served.get_mut(&stream) else {
            return;
        };
        reader.push(bytes);
        let peer = *peer;
        let (method, body) = match reader.progress() {
            Progress::Incomplete if reader.len() > MAX_REQUEST => return self.drop_stream(stream),
            Progress::Incomplete => return,
            Progress::Invalid => return self.close(stream, CloseReason::Done),
            Progress::Whole(method, body) => (method, body),
        };
        self.counters.requests += 1;
        match self.reply(&peer, method, body) {
            Reply::Now(bytes) => {
                self.send(stream, bytes.into());
                self.close(stream, CloseReason::Done);
            }
            Reply::Piecemeal(bytes) => {
                self.served.insert(stream, Served::Dripping(bytes.into()));
                self.drip(stream);
            }
            Reply::Never => drop(self.served.insert(stream, Served::Held)),
            Reply::Close => self.close(stream, CloseReason::Done),
        }
    }

    /// Sends the next piece of a slow answer. After the configured share nothing more is sent; a
    /// complete answer ends its stream.
    fn drip(&mut self, stream: StreamId) {
        let Behaviour::Slow {
            piece,
            every,
            percent,
        } = self.config.behaviour
        else {
            return;
        };
        let Some(Served::Dripping(left)) = self.served.get_mut(&stream) else {
            return;
        };
        let count = usize::from(piece.max(1)).min(left.len());
        let bytes: Vec<u8> = left.drain(..count).collect();
        let empty = left.is_empty();
        self.send(stream, bytes.into());
        if !empty {
            let at = self.now.mono.plus(every.max(Duration::from_millis(1)));
            self.timers.set(Timer::Piece(stream), at);
        } else if percent >= 100 {
            self.close(stream, CloseReason::Done);
        } else {
            self.served.insert(stream, Served::Held);
        }
    }

    fn send(&mut self, stream: StreamId, bytes: Arc<[u8]>) {
        self.outputs.push_back(Output::Send { stream, bytes });
    }

    fn close(&mut self, stream: StreamId, reason: CloseReason) {
        self.forget(stream);
        let close = Output::CloseStream { stream, reason };
        self.outputs.push_back(close);
    }

    fn forget(&mut self, stream: StreamId) {
        self.served.remove(&stream);
        self.attacks.remove(&stream);
        self.timers.cancel(Timer::Piece(stream));
        self.timers.cancel(Timer::Abandon(stream));
    }

    /// Stops all attacks.
    fn stop(&mut self) {
        self.stopped = true;
        let served = self.served.keys().chain(self.attacks.keys());
        for stream in served.copied().collect::<Vec<_>>() {
            self.close(stream, CloseReason::Shutdown);
        }
        self.timers.clear();
    }

    fn timer_fired(&mut self) {
        while let Some(timer) = self.timers.due(self.now.mono) {
            match timer {
                Timer::Attack => self.attack(),
                Timer::Abandon(stream) => self.close(stream, CloseReason::Cancelled),
                Timer::Piece(stream) => self.drip(stream),
            }
        }
    }
}

/// Maximum size of a request in bytes; beyond it the stream is reset.
const MAX_REQUEST: usize = 1 << 20;

impl Host for HostilePeer {
    fn key(&self) -> PublicKey {
        self.inner.key()
    }

    fn handle(&mut self, now: Time, input: Input<'_>) {
        self.now = now;
        match input {
            Input::StreamAccepted { stream, peer, .. } => self.accepted(stream, peer),
            Input::Bytes { stream, ref bytes } if self.served.contains_key(&stream) => {
                self.served_bytes(stream, bytes);
            }
            Input::StreamOpened { stream, .. } if self.attacks.contains_key(&stream) => {
                self.send_attack(stream);
            }
            // Any answer to an attack ends it.
            Input::Bytes { stream, .. } if self.attacks.contains_key(&stream) => {
                self.close(stream, CloseReason::Cancelled);
            }
            Input::StreamClosed { stream, .. } | Input::StreamFailed { stream, .. }
                if self.served.contains_key(&stream) || self.attacks.contains_key(&stream) =>
            {
                self.forget(stream);
            }
            Input::TimerFired => {
                self.timer_fired();
                self.inner.handle(now, Input::TimerFired);
            }
            other => {
                if let Input::Command {
                    command: Command::Shutdown,
                    ..
                } = other
                {
                    self.stop();
                }
                self.inner.handle(now, other);
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        let own = self.outputs.pop_front();
        own.or_else(|| self.inner.poll_output())
    }

    fn next_deadline(&self) -> Option<Mono> {
        let deadlines = [self.timers.next(), self.inner.next_deadline()];
        deadlines.into_iter().flatten().min()
    }
}

/// Boots a hostile peer.
#[derive(Clone, Debug)]
pub struct HostileBoot {
    /// Its configuration.
    pub config: HostileConfig,
    /// Its secret key.
    pub secret: SecretKey,
    /// The peers that it colludes with.
    pub collusion: Collusion,
}

impl Boot for HostileBoot {
    fn key(&self) -> PublicKey {
        self.secret.public()
    }

    fn boot(&mut self, start: Start) -> Result<Box<dyn Host>, ConfigError> {
        let (config, secret) = (self.config.clone(), self.secret.clone());
        let peer = HostilePeer::new(config, secret, start.seed, &self.collusion, start.now);
        Ok(Box::new(peer))
    }
}
