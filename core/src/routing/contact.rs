//! The entry of one peer in the routing table.

use core::net::SocketAddr;

use crate::id::NodeId;
use crate::key::PublicKey;
use crate::time::{Mono, Time};

/// A peer that just answered, over a transport that proved its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerUpdate {
    /// The proven key.
    pub key: PublicKey,
    /// Address at which it can be dialled directly, if known; `None` keeps the previous one.
    pub addr: Option<SocketAddr>,
    /// Whether *this node* reached it, by dialling or over a relay. `false` keeps the previous
    /// value: a peer that calls us is no less reachable for that.
    pub reachable: bool,
}

/// A peer of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contact {
    /// Key of the peer, proven by a transport.
    pub key: PublicKey,
    /// Node id: the hash of the key.
    pub id: NodeId,
    /// Address at which it can be dialled directly; `None`: only over a relay, by key.
    pub addr: Option<SocketAddr>,
    /// Whether this node reached it by dialling or over a relay. Only such peers are named to
    /// others.
    pub reachable: bool,
    /// Time of its last answer.
    pub last_seen: Time,
    /// Number of failed calls since then.
    pub failures: u8,
}

impl Contact {
    pub(super) fn new(update: &PeerUpdate, id: NodeId, now: Time) -> Self {
        Self {
            key: update.key,
            id,
            addr: update.addr,
            reachable: update.reachable,
            last_seen: now,
            failures: 0,
        }
    }

    /// Whether its last call did not fail.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.failures == 0
    }

    /// Whether its last call did not fail and it gave a sign of life at `since` or later.
    #[must_use]
    pub fn is_proven(&self, since: Mono) -> bool {
        self.is_live() && self.last_seen.mono >= since
    }

    pub(super) fn seen(&mut self, update: &PeerUpdate, now: Time) {
        self.addr = update.addr.or(self.addr);
        self.reachable |= update.reachable;
        self.seen_again(now);
    }

    pub(super) fn seen_again(&mut self, now: Time) {
        self.last_seen = now;
        self.failures = 0;
    }
}
