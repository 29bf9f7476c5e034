//! `distance.json`: which peers enter the routing table, and which are closest.

use serde::Deserialize;
use skydht_core::id::{NodeId, Target};
use skydht_core::time::Unix;
use skydht_sim::upstream::table::{Contact, Table, Update};

use crate::{Hex, assert_none, section, vectors};

#[derive(Deserialize)]
struct Peer {
    i: usize,
    node_id: Hex,
    inserted: bool,
    evict_candidate: Option<usize>,
}

#[derive(Deserialize)]
struct Closest {
    target: Hex,
    find_closest_20: Vec<usize>,
    find_closest_3: Vec<usize>,
    find_closest_1000: Vec<usize>,
}

#[test]
fn the_table_is_gos() {
    let Some(file) = vectors("distance.json") else {
        return;
    };
    let own: Hex = serde_json::from_value(file["self_id"].clone()).unwrap();
    let peers: Vec<Peer> = section(&file, "peers");
    let mut table = Table::new(NodeId::from_bytes(own.array()));
    let mut differences = Vec::new();
    let index = |id: NodeId| {
        peers
            .iter()
            .find(|it| it.node_id.0 == id.as_bytes())
            .map(|it| it.i)
    };
    for peer in &peers {
        let update = table.update(Contact {
            id: NodeId::from_bytes(peer.node_id.array()),
            key: None,
            last_seen: Unix(0),
        });
        let ours = match update {
            Update::Full { candidate } => (false, index(candidate.id)),
            update => (update == Update::Added, None),
        };
        if ours != (peer.inserted, peer.evict_candidate) {
            differences.push(format!("peer {}: {ours:?}", peer.i));
        }
    }
    for (n, case) in section::<Closest>(&file, "targets").iter().enumerate() {
        let target = Target::from_bytes(case.target.array());
        for (count, theirs) in [
            (20, &case.find_closest_20),
            (3, &case.find_closest_3),
            (1_000, &case.find_closest_1000),
        ] {
            let closest = table.closest(&target, count);
            let ours: Vec<usize> = closest.iter().filter_map(|it| index(it.id)).collect();
            if ours != *theirs {
                differences.push(format!("target {n}, closest {count}: {ours:?}"));
            }
        }
    }
    assert_none(&differences);
}
