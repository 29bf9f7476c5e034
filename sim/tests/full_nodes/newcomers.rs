//! Tests regular nodes that join later: whether they get the items they should hold, without reads
//! and renewals.

use std::time::Duration;

use skydht_core::id::{NodeId, Target};
use skydht_core::node::{Command, Counter, PutOptions};
use skydht_sim::network::HostId;

use super::{HOUR, MINUTE, SECOND, pass, populate, salt, secret, value, world};

/// Number of nodes at the beginning and of nodes that join later.
const FIRST: u32 = 60;
const LATER: u32 = 20;
/// Number of nodes that should hold an item.
const K: usize = 20;

/// Items that nodes got after joining.
#[derive(Debug)]
pub(crate) struct Newcomers {
    /// For each item, number of its k nearest nodes that held it when the last node had joined.
    pub(crate) before: Vec<usize>,
    /// The same one minute later.
    pub(crate) after: Vec<usize>,
    /// Number of items given by hand-over.
    pub(crate) given: u64,
    /// Number of renewals and repairs, which must be zero.
    pub(crate) otherwise: u64,
}

/// Puts `items` items into a network of 60 nodes, lets 20 more join, and waits for a minute.
pub(crate) fn newcomers(seed: u64, items: u32) -> Newcomers {
    let mut world = world(seed, Duration::from_millis(100), 0);
    populate(&mut world, FIRST + LATER, 0, 2 * HOUR);
    let hosts: Vec<HostId> = world.hosts().collect();
    let (first, later) = hosts.split_at(FIRST as usize);
    for host in first {
        world.start(*host).unwrap();
        pass(&mut world, SECOND / 4);
    }
    pass(&mut world, MINUTE);
    for n in 0..items {
        let put = Command::Put {
            salt: salt(n),
            value: value(n, 1),
            options: PutOptions::default(),
        };
        world.command(HostId(n % FIRST), put).unwrap();
        pass(&mut world, SECOND / 20);
    }
    pass(&mut world, MINUTE);
    for host in later {
        world.start(*host).unwrap();
        pass(&mut world, SECOND / 4);
    }
    let mut holders = Vec::new();
    for _ in 0..2 {
        let held = |n: u32| {
            let target = Target::of(&secret(n % FIRST).public(), salt(n).as_bytes());
            let mut ids: Vec<(NodeId, HostId)> = hosts
                .iter()
                .map(|host| (secret(host.0).public().id(), *host))
                .collect();
            ids.sort_by_key(|(id, _)| target.distance(id));
            let nearest = ids.iter().take(K);
            let holds = nearest.filter(|(_, host)| {
                let time = world.time_of(*host).unwrap();
                let store = world.node(*host).unwrap().store();
                store.get(time, &target).is_some()
            });
            holds.count()
        };
        holders.push((0..items).map(held).collect());
        pass(&mut world, MINUTE);
    }
    let count = |counter: Counter| -> u64 {
        let nodes = hosts.iter().filter_map(|host| world.node(*host));
        nodes
            .map(|node| node.snapshot().counters.get(counter))
            .sum()
    };
    let after = holders.pop().unwrap_or_default();
    Newcomers {
        before: holders.pop().unwrap_or_default(),
        after,
        given: count(Counter::Handovers),
        otherwise: count(Counter::Renewals) + count(Counter::Repairs),
    }
}
