//! Why dials of bootstrap peers failed, as text for users.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use skydht_core::key::PublicKey;

/// Maximum number of addresses of one peer whose failures are remembered.
const MAX_ADDRESSES: usize = 8;

/// Why a dial of a bootstrap peer failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DialFailure {
    /// The peer that was dialled.
    pub peer: PublicKey,
    /// The address that was dialled; `None` on transports without addresses.
    pub addr: Option<SocketAddr>,
    /// The cause, as text for users.
    pub cause: String,
}

/// The failures of the last dial of each watched peer.
pub(super) struct Failures {
    watched: BTreeSet<PublicKey>,
    causes: Mutex<BTreeMap<PublicKey, BTreeMap<Option<SocketAddr>, String>>>,
}

impl Failures {
    pub(super) fn of(watched: BTreeSet<PublicKey>) -> Self {
        Self {
            watched,
            causes: Mutex::default(),
        }
    }

    fn causes(&self) -> MutexGuard<'_, BTreeMap<PublicKey, BTreeMap<Option<SocketAddr>, String>>> {
        self.causes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clears the failures of a peer, when a dial begins or has succeeded.
    pub(super) fn begin(&self, peer: &PublicKey) {
        if self.watched.contains(peer) {
            self.causes().remove(peer);
        }
    }

    pub(super) fn note(
        &self,
        peer: &PublicKey,
        addr: Option<SocketAddr>,
        cause: impl FnOnce() -> String,
    ) {
        if !self.watched.contains(peer) {
            return;
        }
        let mut causes = self.causes();
        let of_peer = causes.entry(*peer).or_default();
        if of_peer.len() < MAX_ADDRESSES || of_peer.contains_key(&addr) {
            of_peer.insert(addr, cause());
        }
    }

    pub(super) fn all(&self) -> Vec<DialFailure> {
        let causes = self.causes();
        let all = causes.iter().flat_map(|(peer, of_peer)| {
            of_peer.iter().map(|(addr, cause)| DialFailure {
                peer: *peer,
                addr: *addr,
                cause: cause.clone(),
            })
        });
        all.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> PublicKey {
        let mut bytes = [2; 33];
        bytes[32] = n;
        PublicKey::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn failures_of_watched_peers_are_kept_until_the_next_dial_and_bounded() {
        let failures = Failures::of([key(1)].into());
        for port in 1..=100 {
            let addr = Some(SocketAddr::from(([127, 0, 0, 1], port)));
            failures.note(&key(1), addr, || "refused".into());
            failures.note(&key(2), addr, || "not watched".into());
        }
        assert_eq!(failures.all().len(), MAX_ADDRESSES);
        assert!(failures.all().iter().all(|it| it.peer == key(1)));
        failures.begin(&key(1));
        assert_eq!(failures.all(), []);
    }
}
