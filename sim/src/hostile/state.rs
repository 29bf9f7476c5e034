//! State of a hostile peer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{Output, StreamId};
use skydht_core::time::Time;

use super::behaviour::Behaviour;
use super::collusion::Collusion;
use crate::upstream::UpstreamNode;
use crate::upstream::frame::FrameReader;
use crate::upstream::timers::Timers;

/// Configuration of a hostile peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostileConfig {
    /// Keys of bootstrap peers.
    pub bootstrap: Vec<PublicKey>,
    /// Its behaviour.
    pub behaviour: Behaviour,
    /// Whether it poses as a skydht node: its answers then have an extension with false claims, and
    /// it accepts renewals. Otherwise it poses as an upstream node; [`Behaviour::FalseClaims`]
    /// always has extensions.
    pub extensions: bool,
}

/// Counts of a hostile peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Complete requests.
    pub requests: u64,
    /// Requests that were not answered as upstream's node would.
    pub twisted: u64,
    /// Streams opened for attacks.
    pub attacks: u64,
    /// Streams reset because of a limit.
    pub dropped: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// The next attack.
    Attack,
    /// The stream of an attack has been open long enough.
    Abandon(StreamId),
    /// The next piece of a slow answer.
    Piece(StreamId),
}

/// An inbound stream.
#[derive(Debug)]
pub(super) enum Served {
    Reading(PublicKey, FrameReader),
    /// The rest of a slow answer.
    Dripping(VecDeque<u8>),
    /// Kept open forever.
    Held,
}

/// A hostile peer.
#[derive(Debug)]
pub struct HostilePeer {
    pub(super) config: HostileConfig,
    pub(super) secret: SecretKey,
    pub(super) collusion: Collusion,
    pub(super) inner: UpstreamNode,
    pub(super) rng: ChaCha8Rng,
    pub(super) now: Time,
    pub(super) served: BTreeMap<StreamId, Served>,
    pub(super) attacks: BTreeMap<StreamId, Attack>,
    pub(super) timers: Timers<Timer>,
    pub(super) outputs: VecDeque<Output>,
    pub(super) counters: Counters,
    pub(super) stopped: bool,
}

/// The bytes sent as soon as the stream of an attack is open.
#[derive(Debug)]
pub(super) struct Attack {
    pub(super) bytes: Arc<[u8]>,
}
