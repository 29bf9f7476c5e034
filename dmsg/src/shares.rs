//! Shares of a bounded resource, by address and within an address by owner.
//!
//! Keys cost nothing, so a limit per key does not limit the holder of many, and a limit in total
//! lets one party take everything. Instead, the party with the most gives up some of it for a
//! newcomer: first the address with the most, and within it the owner with the most.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// The members of one address.
struct Address<O> {
    len: usize,
    /// Members by owner. An owner without members is removed.
    owners: BTreeMap<O, BTreeSet<u64>>,
}

impl<O: Ord> Address<O> {
    /// Returns the members of the owner with the most; of equal owners, the first in order.
    fn largest(&self) -> Option<&BTreeSet<u64>> {
        self.owners
            .values()
            .rev()
            .max_by_key(|members| members.len())
    }

    fn oldest(&self) -> Option<u64> {
        let oldest = self.owners.values().filter_map(BTreeSet::first);
        oldest.min().copied()
    }
}

/// Members by address and owner. A member is an id; later members have higher ones.
pub(crate) struct Shares<O> {
    addresses: BTreeMap<IpAddr, Address<O>>,
    len: usize,
}

impl<O> Default for Shares<O> {
    fn default() -> Self {
        Self {
            addresses: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<O: Ord + Copy> Shares<O> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a member, unless it is there.
    pub(crate) fn insert(&mut self, address: IpAddr, owner: O, member: u64) {
        let entry = self.addresses.entry(address).or_insert_with(|| Address {
            len: 0,
            owners: BTreeMap::new(),
        });
        if entry.owners.entry(owner).or_default().insert(member) {
            entry.len += 1;
            self.len += 1;
        }
    }

    /// Removes a member. Returns whether it was there.
    pub(crate) fn remove(&mut self, address: IpAddr, owner: O, member: u64) -> bool {
        let Some(entry) = self.addresses.get_mut(&address) else {
            return false;
        };
        let Some(members) = entry.owners.get_mut(&owner) else {
            return false;
        };
        if !members.remove(&member) {
            return false;
        }
        if members.is_empty() {
            entry.owners.remove(&owner);
        }
        entry.len -= 1;
        self.len -= 1;
        if entry.len == 0 {
            self.addresses.remove(&address);
        }
        true
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the number of members of an address.
    pub(crate) fn of_address(&self, address: IpAddr) -> usize {
        self.addresses.get(&address).map_or(0, |it| it.len)
    }

    /// Returns the number of members of one owner at an address.
    pub(crate) fn of_owner(&self, address: IpAddr, owner: O) -> usize {
        let owners = self.addresses.get(&address).map(|it| &it.owners);
        let members = owners.and_then(|owners| owners.get(&owner));
        members.map_or(0, BTreeSet::len)
    }

    /// Returns the address with the most members; of equal ones, the one with the oldest member.
    pub(crate) fn largest_address(&self) -> Option<IpAddr> {
        let order = |(_, it): &(&IpAddr, &Address<O>)| (it.len, Reverse(it.oldest()));
        let largest = self.addresses.iter().max_by_key(order);
        largest.map(|(address, _)| *address)
    }

    /// Returns the members of the largest owner at an address; `None` if it has no members.
    pub(crate) fn largest_owner(&self, address: IpAddr) -> Option<&BTreeSet<u64>> {
        self.addresses.get(&address)?.largest()
    }

    /// Returns the address that must give up a member for `address`: the largest, if it has at
    /// least two more.
    pub(crate) fn yields_to(&self, address: IpAddr) -> Option<IpAddr> {
        let largest = self.largest_address()?;
        // With a difference of one, the two would displace each other forever.
        (self.of_address(largest) >= self.of_address(address) + 2).then_some(largest)
    }

    /// Returns the members of which one makes room for a new member of `owner`: those of the
    /// largest owner of another address or of this one, if it has at least two more. `None` if
    /// there is no such party.
    pub(crate) fn yield_to(&self, address: IpAddr, owner: O) -> Option<&BTreeSet<u64>> {
        if let Some(other) = self.yields_to(address) {
            return self.largest_owner(other);
        }
        // No other address has much more, so this one makes room itself.
        let members = self.largest_owner(address)?;
        (members.len() >= self.of_owner(address, owner) + 2).then_some(members)
    }
}

/// Returns the address by which `ip` is counted: an IPv4 address, or the /64 prefix of an IPv6
/// address, since one host has all addresses under it.
pub(crate) fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    /// Adds one member for each `(address, owner)`, numbered from 1.
    fn shares(members: &[(u8, u8)]) -> Shares<u8> {
        let mut shares = Shares::default();
        for (member, (address, owner)) in (1..).zip(members) {
            shares.insert(ip(*address), *owner, member);
        }
        shares
    }

    fn gives(shares: &Shares<u8>, address: u8, owner: u8) -> Option<Vec<u64>> {
        let members = shares.yield_to(ip(address), owner)?;
        Some(members.iter().copied().collect())
    }

    #[test]
    fn the_largest_owner_of_the_largest_address_makes_room() {
        let shares = shares(&[(1, 1), (2, 1), (2, 2), (2, 2), (2, 2), (3, 3), (3, 3)]);
        assert_eq!(gives(&shares, 1, 1), Some(vec![3, 4, 5]));
        assert_eq!(gives(&shares, 9, 9), Some(vec![3, 4, 5]));
        // The largest address makes room for itself, at the cost of its largest owner …
        assert_eq!(gives(&shares, 2, 1), Some(vec![3, 4, 5]));
        // … which would displace only its own members, so there is nothing to displace.
        assert_eq!(gives(&shares, 2, 2), None);
    }

    #[test]
    fn equals_do_not_displace_each_other() {
        let shares = shares(&[(1, 1), (2, 1), (3, 1)]);
        for address in 1..=9 {
            assert_eq!(gives(&shares, address, 1), None, "{address}");
        }
    }

    #[test]
    fn what_was_removed_leaves_nothing_behind() {
        let members = [(1, 1), (1, 1), (1, 2), (2, 1)];
        let mut shares = shares(&members);
        assert_eq!((shares.len(), shares.of_address(ip(1))), (4, 3));
        assert!(!shares.remove(ip(1), 2, 1) && !shares.remove(ip(3), 1, 1));
        for (member, (address, owner)) in (1..).zip(members) {
            assert!(shares.remove(ip(address), owner, member));
            assert!(!shares.remove(ip(address), owner, member));
        }
        assert_eq!((shares.len(), shares.addresses.len()), (0, 0));
    }

    #[test]
    fn an_ipv6_network_and_a_mapped_address_count_as_one() {
        let parse = |text: &str| source(text.parse().unwrap());
        assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:0:0:2"));
        assert_ne!(parse("2001:db8::1"), parse("2001:db8:0:1::1"));
        assert_eq!(parse("::ffff:192.0.2.1"), ip(1));
    }
}
