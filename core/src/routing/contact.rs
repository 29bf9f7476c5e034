//! What the table remembers of one peer.

use core::net::SocketAddr;

use crate::id::NodeId;
use crate::key::PublicKey;
use crate::time::{Mono, Time};

/// A peer that just answered us over a transport that proved its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerUpdate {
    /// The proven key.
    pub key: PublicKey,
    /// Where it can be dialled directly, when that is known; `None` keeps what was known before.
    pub addr: Option<SocketAddr>,
    /// Whether *we* reached it, by dialling or over a relay. `false` keeps what was known
    /// before: a peer that calls us is no less reachable for it.
    pub reachable: bool,
}

/// One peer of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contact {
    /// Its key, proven by a transport.
    pub key: PublicKey,
    /// Its position: the hash of its key.
    pub id: NodeId,
    /// Where it can be dialled directly. None: only over a relay, by key.
    pub addr: Option<SocketAddr>,
    /// Whether we reached it by dialling or over a relay. Only such peers are handed out.
    pub reachable: bool,
    /// When it last answered.
    pub last_seen: Time,
    /// Calls failed since then.
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
