//! The streams that are relayed, and which of them makes room at a limit.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;

use super::config::ServerConfig;
use crate::shares::Shares;

/// One in this many of a destination session's streams is reserved for the server's own streams and
/// for relayed ones that are ending.
const RESERVED_FRACTION: usize = 16;

/// Source and destination of a relayed stream. Sessions are ids in the session table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RelayFlow {
    /// Address that the source counts for, see [`crate::shares::source`].
    pub(super) address: IpAddr,
    pub(super) source: u64,
    pub(super) destination: u64,
    /// Whether the request was signed by another key than the session's.
    pub(super) is_passed_on: bool,
}

/// Why a stream is not relayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// The source has [`ServerConfig::max_relayed_per_pair`] streams to the destination.
    Share,
    /// A limit is reached, and no other source has more streams than this one.
    Capacity,
}

/// The streams that are relayed now, or about to be.
pub(super) struct RelayTable(Mutex<RelayState>);

struct RelayState {
    max: usize,
    max_per_pair: usize,
    max_per_destination: usize,
    last_id: u64,
    streams: BTreeMap<u64, (RelayFlow, oneshot::Sender<()>)>,
    max_passed_on: usize,
    all: Shares<u64>,
    /// Those of `all` with [`RelayFlow::is_passed_on`].
    passed_on: Shares<u64>,
    /// By destination session. A destination without streams is removed.
    to: BTreeMap<u64, Shares<u64>>,
}

/// Permission to relay one stream, released on drop.
pub(super) struct RelayPermit<'r> {
    relayed: &'r RelayTable,
    id: u64,
    /// Completes when the stream must make room.
    pub(super) killed: oneshot::Receiver<()>,
    /// Whether another stream had to make room for it.
    pub(super) displaced: bool,
}

impl Drop for RelayPermit<'_> {
    fn drop(&mut self) {
        self.relayed.state().remove(self.id);
    }
}

impl RelayTable {
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self(Mutex::new(RelayState {
            max: config.max_relayed,
            max_per_pair: config.max_relayed_per_pair,
            max_per_destination: config.max_streams - config.max_streams / RESERVED_FRACTION,
            last_id: 0,
            streams: BTreeMap::new(),
            max_passed_on: config.max_passed_on,
            all: Shares::default(),
            passed_on: Shares::default(),
            to: BTreeMap::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, RelayState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.state().all.len()
    }

    /// Acquires a permit for a stream, if need be by ending a stream of a source that has more.
    pub(super) fn begin(&self, flow: RelayFlow) -> Result<RelayPermit<'_>, Refused> {
        let (id, killed, displaced) = self.state().begin(flow)?;
        Ok(RelayPermit {
            relayed: self,
            id,
            killed,
            displaced,
        })
    }
}

impl RelayState {
    fn begin(&mut self, flow: RelayFlow) -> Result<(u64, oneshot::Receiver<()>, bool), Refused> {
        let RelayFlow {
            address,
            source,
            destination,
            is_passed_on,
        } = flow;
        let mut displaced = false;
        if let Some(to) = self.to.get(&destination) {
            if to.of_owner(address, source) >= self.max_per_pair {
                return Err(Refused::Share);
            }
            if to.len() >= self.max_per_destination {
                let newest = newest(to, address, source).ok_or(Refused::Capacity)?;
                self.remove(newest);
                displaced = true;
            }
        }
        if self.all.len() >= self.max {
            let newest = newest(&self.all, address, source).ok_or(Refused::Capacity)?;
            self.remove(newest);
            displaced = true;
        }
        if is_passed_on && self.passed_on.len() >= self.max_passed_on {
            let newest = newest(&self.passed_on, address, source).ok_or(Refused::Capacity)?;
            self.remove(newest);
            displaced = true;
        }
        self.last_id += 1;
        let id = self.last_id;
        let (kill, killed) = oneshot::channel();
        self.all.insert(address, source, id);
        if is_passed_on {
            self.passed_on.insert(address, source, id);
        }
        let to = self.to.entry(destination).or_default();
        to.insert(address, source, id);
        self.streams.insert(id, (flow, kill));
        Ok((id, killed, displaced))
    }

    fn remove(&mut self, id: u64) {
        let Some((flow, _)) = self.streams.remove(&id) else {
            return;
        };
        self.all.remove(flow.address, flow.source, id);
        if flow.is_passed_on {
            self.passed_on.remove(flow.address, flow.source, id);
        }
        if let Some(to) = self.to.get_mut(&flow.destination) {
            to.remove(flow.address, flow.source, id);
            if to.len() == 0 {
                self.to.remove(&flow.destination);
            }
        }
    }
}

/// Returns the stream that makes room: the newest, since a flood has begun only recently.
fn newest(shares: &Shares<u64>, address: IpAddr, source: u64) -> Option<u64> {
    shares.yield_to(address, source)?.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(address: u8, source: u64, destination: u64) -> RelayFlow {
        RelayFlow {
            address: [192, 0, 2, address].into(),
            source,
            destination,
            is_passed_on: false,
        }
    }

    fn relayed(max: usize, max_per_pair: usize, max_per_destination: usize) -> RelayTable {
        let mut config = ServerConfig::new(([127, 0, 0, 1], 1).into());
        (config.max_relayed, config.max_relayed_per_pair) = (max, max_per_pair);
        config.max_streams = max_per_destination; // nothing of less than 16 is kept
        RelayTable::new(&config)
    }

    fn is_killed(permit: &mut RelayPermit<'_>) -> bool {
        permit.killed.try_recv().is_err()
    }

    /// Streams of four keys at one address fill the table. Every other key still gets its streams,
    /// and keys with equal shares do not displace each other.
    #[test]
    fn four_keys_do_not_take_all_relayed_streams() {
        let relayed = relayed(12, 10, 15);
        let mut flood: Vec<_> = (0..12)
            .map(|n| relayed.begin(flow(1, n % 4, 100 + n)).unwrap())
            .collect();
        assert_eq!(relayed.len(), 12);
        assert!(matches!(
            relayed.begin(flow(1, 0, 1)),
            Err(Refused::Capacity)
        ));
        let others: Vec<_> = (2..8)
            .map(|n| relayed.begin(flow(n, n.into(), 1)).unwrap())
            .collect();
        assert!(others.iter().all(|permit| permit.displaced));
        assert_eq!(flood.iter_mut().map(is_killed).filter(|it| *it).count(), 6);
        // A new key behind the attacker's address finds room, too.
        let neighbour = relayed.begin(flow(1, 9, 1)).unwrap();
        assert!(neighbour.displaced && relayed.len() == 12);
        drop((flood, others, neighbour));
        assert_eq!(relayed.len(), 0);
        let state = relayed.state();
        assert!(state.to.is_empty() && state.streams.is_empty());
    }

    #[test]
    fn a_newcomer_behind_the_same_address_finds_room() {
        let relayed = relayed(4, 10, 15);
        let mut flood: Vec<_> = (0..4)
            .map(|_| relayed.begin(flow(1, 1, 1)).unwrap())
            .collect();
        let newcomer = relayed.begin(flow(1, 2, 1)).unwrap();
        assert!(newcomer.displaced && is_killed(&mut flood[3]));
        assert_eq!(relayed.len(), 4);
    }

    /// One source has a limit of streams to one destination. When many sources have all of its
    /// streams, the address with the most makes room.
    #[test]
    fn one_source_does_not_take_all_streams_of_a_destination() {
        let relayed = relayed(100, 3, 8);
        let _own: Vec<_> = (0..3)
            .map(|_| relayed.begin(flow(1, 1, 7)).unwrap())
            .collect();
        assert!(matches!(relayed.begin(flow(1, 1, 7)), Err(Refused::Share)));
        assert!(relayed.begin(flow(1, 1, 8)).is_ok());
        let mut sybils: Vec<_> = (2..7)
            .map(|key| relayed.begin(flow(1, key, 7)).unwrap())
            .collect();
        assert!(matches!(relayed.begin(flow(1, 9, 8)).map(drop), Ok(())));
        let other = relayed.begin(flow(2, 20, 7)).unwrap();
        assert!(other.displaced && !sybils.iter_mut().any(is_killed));
        assert_eq!(relayed.state().to[&7].len(), 8);
    }

    /// Streams that other servers pass on have a limit of their own, which no source can use up.
    #[test]
    fn passed_on_streams_have_a_limit_of_their_own() {
        let mut config = ServerConfig::new(([127, 0, 0, 1], 1).into());
        config.max_passed_on = 4;
        let relayed = RelayTable::new(&config);
        let passed_on = |address, source, n| RelayFlow {
            is_passed_on: true,
            ..flow(address, source, n)
        };
        let mut flood: Vec<_> = (0..4)
            .map(|n| relayed.begin(passed_on(1, 1, n)).unwrap())
            .collect();
        let full = relayed.begin(passed_on(1, 1, 9));
        assert!(matches!(full, Err(Refused::Capacity)));
        let other = relayed.begin(passed_on(1, 2, 9)).unwrap();
        assert!(other.displaced && is_killed(&mut flood[3]));
        assert!(relayed.begin(flow(1, 1, 9)).is_ok_and(|it| !it.displaced));
        drop((flood, other));
        assert_eq!(relayed.state().passed_on.len(), 0);
    }
}
