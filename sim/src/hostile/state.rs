//! What a hostile peer keeps.

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

/// How a hostile peer is set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostileConfig {
    /// How it finds the network.
    pub bootstrap: Vec<PublicKey>,
    /// What it does.
    pub behaviour: Behaviour,
    /// Whether it passes for a skydht node: its answers have an extension, in which it lies as
    /// everywhere, and it takes renewals. Otherwise it passes for upstream's;
    /// [`Behaviour::FalseClaims`] always has extensions.
    pub extensions: bool,
}

/// What happened, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Requests that came whole.
    pub requests: u64,
    /// Of those, how many were not answered as upstream's node would.
    pub twisted: u64,
    /// Streams opened to do harm.
    pub attacks: u64,
    /// Streams reset because too many were open or too much came.
    pub dropped: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// The next attack.
    Attack,
    /// An attack's stream has been open for long enough.
    Abandon(StreamId),
    /// The next piece of a slow answer.
    Piece(StreamId),
}

/// A stream that a peer opened.
#[derive(Debug)]
pub(super) enum Served {
    Reading(PublicKey, FrameReader),
    /// What is left of a slow answer, up to where it stops.
    Dripping(VecDeque<u8>),
    /// Open for ever.
    Held,
}

/// A peer that means harm.
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

/// What is sent as soon as a stream is open.
#[derive(Debug)]
pub(super) struct Attack {
    pub(super) bytes: Arc<[u8]>,
}
