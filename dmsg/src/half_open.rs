//! Connections with a handshake in progress, limited in total and per address.
//!
//! Opening such a connection costs next to nothing, so opening many must not displace those of
//! other addresses. At a limit, the address with the most connections loses one: the oldest of
//! those whose first message was not valid yet, or of those whose was ("greeted"), whichever are
//! more numerous. An honest dialer passes either phase within a round trip. If others behind its
//! address attack, it has as much time as the limit of one address divided by twice the rate at
//! which that address opens connections.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures::channel::oneshot;

use crate::shares::{Shares, source};

struct Connection {
    address: IpAddr,
    has_greeted: bool,
    /// Completes [`Begun::killed`] when dropped.
    _kill: oneshot::Sender<()>,
}

/// A connection that was admitted.
pub struct Begun {
    /// Its id.
    pub id: u64,
    /// Completes when the connection must make room.
    pub killed: oneshot::Receiver<()>,
    /// Whether another connection had to make room for it.
    pub displaced: bool,
}

/// Connections from other hosts with a handshake in progress.
pub struct HalfOpen {
    max: usize,
    max_per_address: usize,
    last_id: u64,
    connections: BTreeMap<u64, Connection>,
    /// Ids by address, and by whether the connection has greeted.
    shares: Shares<bool>,
}

impl HalfOpen {
    /// Creates a table for `max` connections, `max_per_address` of them from one address; each at
    /// least 1.
    #[must_use]
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self {
            max: max.max(1),
            max_per_address: max_per_address.max(1),
            last_id: 0,
            connections: BTreeMap::new(),
            shares: Shares::default(),
        }
    }

    /// Returns the number of connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shares.len()
    }

    /// Returns whether there is no connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Admits a connection from `ip`. At a limit, another one makes room.
    pub fn begin(&mut self, ip: IpAddr) -> Begun {
        let address = source(ip);
        let displaced = self.displaced_by(address);
        if let Some(id) = displaced {
            self.end(id);
        }
        self.last_id += 1;
        let id = self.last_id;
        let (kill, killed) = oneshot::channel();
        self.shares.insert(address, false, id);
        let connection = Connection {
            address,
            has_greeted: false,
            _kill: kill,
        };
        self.connections.insert(id, connection);
        Begun {
            id,
            killed,
            displaced: displaced.is_some(),
        }
    }

    /// Records that the connection's first message was valid.
    pub fn greeted(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if !connection.has_greeted {
            connection.has_greeted = true;
            self.shares.remove(connection.address, false, id);
            self.shares.insert(connection.address, true, id);
        }
    }

    /// Removes a connection whose handshake has ended, or must end.
    pub fn end(&mut self, id: u64) {
        if let Some(it) = self.connections.remove(&id) {
            self.shares.remove(it.address, it.has_greeted, id);
        }
    }

    /// Removes all connections.
    pub fn clear(&mut self) {
        self.connections.clear();
        self.shares.clear();
    }

    /// Returns the connection that must make room for one from `address`, if any.
    fn displaced_by(&self, address: IpAddr) -> Option<u64> {
        let largest = if self.shares.of_address(address) >= self.max_per_address {
            address
        } else if self.len() >= self.max {
            self.shares.largest_address()?
        } else {
            return None;
        };
        self.shares.largest_owner(largest)?.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    fn is_killed(begun: &mut Begun) -> bool {
        begun.killed.try_recv().is_err()
    }

    #[test]
    fn the_address_with_the_most_makes_room() {
        let mut table = HalfOpen::new(10, 8);
        let mut honest = table.begin(ip(1));
        let mut flood: Vec<Begun> = (0..100).map(|_| table.begin(ip(2))).collect();
        assert_eq!(table.len(), 9, "8 of one address");
        assert!(!is_killed(&mut honest));
        assert!(flood[..92].iter_mut().all(is_killed));
        assert!(!flood[92..].iter_mut().any(is_killed));
        // The table is full: the flood makes room for the second of two more addresses.
        let mut more = [table.begin(ip(3)), table.begin(ip(4))];
        assert!(!more[0].displaced && more[1].displaced);
        assert!(is_killed(&mut flood[92]) && !is_killed(&mut flood[93]));
        assert!(!is_killed(&mut honest) && !more.iter_mut().any(is_killed));
        table.end(honest.id);
        assert_eq!(table.len(), 9);
    }

    #[test]
    fn within_an_address_the_oldest_of_the_more_numerous_part_goes_first() {
        let mut table = HalfOpen::new(100, 4);
        let mut begun: Vec<Begun> = (0..4).map(|_| table.begin(ip(1))).collect();
        table.greeted(begun[0].id);
        table.greeted(begun[1].id);
        for gone in [2, 3, 4] {
            begun.push(table.begin(ip(1)));
            assert!(is_killed(&mut begun[gone]), "{gone}");
        }
        assert!(!is_killed(&mut begun[0]) && !is_killed(&mut begun[1]));
        // Greeted connections do not prevent new ones.
        table.greeted(begun[5].id);
        begun.push(table.begin(ip(1)));
        assert!(is_killed(&mut begun[0]) && !is_killed(&mut begun[6]));
        // Connections that have ended change nothing.
        table.greeted(begun[0].id);
        table.end(begun[0].id);
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn with_one_connection_an_address_the_oldest_of_all_goes() {
        let mut table = HalfOpen::new(3, 3);
        let mut begun: Vec<Begun> = (0..3).map(|n| table.begin(ip(n))).collect();
        begun.push(table.begin(ip(9)));
        assert!(is_killed(&mut begun[0]) && !is_killed(&mut begun[1]));
        table.clear();
        assert!(table.is_empty() && is_killed(&mut begun[1]));
    }
}
