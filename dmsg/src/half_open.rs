//! Connections whose handshake is under way: bounded in all, and for each address.
//!
//! Such a connection costs its maker next to nothing, so a maker of many must not displace
//! those of others. When there is no room for one more, the address with the most of them gives
//! up one: the oldest of those that have not said anything right yet, or of those that have,
//! whichever are more. An honest dialler is through either part within a round trip; the room of
//! one address divided by twice the rate at which it opens connections is how long that may take
//! while others behind the same address attack.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures::channel::oneshot;

use crate::shares::{Shares, source};

struct Connection {
    address: IpAddr,
    has_greeted: bool,
    _kill: oneshot::Sender<()>,
}

/// A connection that was let in.
pub struct Begun {
    /// Its number.
    pub id: u64,
    /// Completes when the connection must make room.
    pub killed: oneshot::Receiver<()>,
    /// Another one had to make room for it.
    pub displaced: bool,
}

/// Which handshakes of others are under way.
pub struct HalfOpen {
    max: usize,
    max_per_address: usize,
    last_id: u64,
    connections: BTreeMap<u64, Connection>,
    /// By address, and by whether they have greeted.
    shares: Shares<bool>,
}

impl HalfOpen {
    /// Room for `max` connections, and for `max_per_address` of one address; each is at least 1.
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

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shares.len()
    }

    /// Whether none is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Lets a connection from `ip` in, at the cost of another one when there is no room.
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

    /// The connection's first message was valid.
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

    /// The connection's handshake has ended, or must.
    pub fn end(&mut self, id: u64) {
        if let Some(it) = self.connections.remove(&id) {
            self.shares.remove(it.address, it.has_greeted, id);
        }
    }

    /// All end.
    pub fn clear(&mut self) {
        self.connections.clear();
        self.shares.clear();
    }

    /// Which one makes room for another of this address, if one must.
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
        // The table is full: the flood makes room for two more addresses.
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
        // Greeted connections do not keep out a new one.
        table.greeted(begun[5].id);
        begun.push(table.begin(ip(1)));
        assert!(is_killed(&mut begun[0]) && !is_killed(&mut begun[6]));
        // What has ended already changes nothing.
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
