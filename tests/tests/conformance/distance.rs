//! distance.json: distances, the buckets of the routing table, and the closest peers.

use serde::Deserialize;
use serde_json::Value;
use skydht_core::id::{NodeId, Target};
use skydht_core::key::PublicKey;
use skydht_core::routing::{InsertResult, PeerUpdate, Table};
use skydht_core::time::{Mono, Time};

use crate::hex::Hex;
use crate::report::Report;

/// Go has a bucket for each prefix length below 256; equal ids are in the last one.
const LAST_BUCKET: u16 = 255;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    a: Hex,
    b: Hex,
    distance: Hex,
    common_prefix_len: u16,
    a_less_b: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    i: usize,
    pk: Hex,
    node_id: Hex,
    distance_to_self: Hex,
    common_prefix_len: u16,
    bucket_index: u8,
    inserted: bool,
    evict_candidate: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Closest {
    target: Hex,
    find_closest_20: Vec<usize>,
    find_closest_3: Vec<usize>,
    find_closest_1000: Vec<usize>,
    all_200_sorted: Vec<usize>,
}

pub(crate) fn run(file: &Value, report: &mut Report) {
    pairs(file, report);
    let sections = (
        report.section::<Hex>(file, "self_pk"),
        report.section::<usize>(file, "k"),
        report.section::<Vec<Peer>>(file, "peers"),
        report.section::<Vec<Closest>>(file, "targets"),
    );
    let (Some(local), Some(k), Some(peers), Some(targets)) = sections else {
        return;
    };
    let local = key(&local).id();
    let ids: Vec<NodeId> = peers.iter().map(|peer| key(&peer.pk).id()).collect();
    let table = fill(local, k, &peers, &ids, report);

    let mut case = report.case("table");
    case.check("self_id", local, &file["self_id"]);
    let own_prefix = local.distance(&local).common_prefix();
    case.check(
        "self_bucket_index",
        own_prefix.min(LAST_BUCKET),
        &file["self_bucket_index"],
    );
    case.check("table_size", table.len(), &file["table_size"]);
    drop(case);

    for (i, closest) in targets.into_iter().enumerate() {
        let mut case = report.case(format!("targets/{i}"));
        let target = Target::from_bytes(closest.target.array());
        let nearest = |n| -> Vec<usize> {
            let near = table.closest(&target, n);
            near.map(|peer| index(&ids, &peer.id)).collect()
        };
        case.check("find_closest_20", nearest(20), closest.find_closest_20);
        case.check("find_closest_3", nearest(3), closest.find_closest_3);
        case.check(
            "find_closest_1000",
            nearest(1000),
            closest.find_closest_1000,
        );
        let mut all: Vec<usize> = (0..ids.len()).collect();
        all.sort_by_key(|i| target.distance(&ids[*i]));
        case.check("all_200_sorted", all, closest.all_200_sorted);
    }
}

fn pairs(file: &Value, report: &mut Report) {
    let pairs: Vec<Pair> = report.section(file, "pairs").unwrap_or_default();
    for (i, pair) in pairs.into_iter().enumerate() {
        let mut case = report.case(format!("pairs/{i}"));
        let (a, b) = (
            NodeId::from_bytes(pair.a.array()),
            NodeId::from_bytes(pair.b.array()),
        );
        let distance = a.distance(&b);
        case.check("distance", distance, pair.distance);
        case.check(
            "common_prefix_len",
            distance.common_prefix(),
            pair.common_prefix_len,
        );
        case.check("a_less_b", a < b, pair.a_less_b);
    }
}

/// Fills a routing table with the same peers in the same order, and compares each step. The clock
/// advances so far at each step that the oldest peer is always due for a ping, which Go returns but
/// never sends.
fn fill(local: NodeId, k: usize, peers: &[Peer], ids: &[NodeId], report: &mut Report) -> Table {
    let mut table = Table::new(local, k, 8);
    for (i, (peer, id)) in peers.iter().zip(ids).enumerate() {
        let mut case = report.case(format!("peers/{i}"));
        case.check("i", i, peer.i);
        case.check("node_id", id, &peer.node_id);
        let distance = local.distance(id);
        case.check("distance_to_self", distance, &peer.distance_to_self);
        case.check(
            "common_prefix_len",
            distance.common_prefix(),
            peer.common_prefix_len,
        );
        let bucket = table.bucket_of(&Target::from(*id));
        case.check("bucket_index", bucket, peer.bucket_index);
        let update = PeerUpdate {
            key: key(&peer.pk),
            addr: None,
            reachable: true,
        };
        let now = Time {
            mono: Mono(i as u64 * 100_000_000_000),
            ..Time::default()
        };
        let result = table.insert_or_update(&update, now);
        case.check("inserted", result == InsertResult::Added, peer.inserted);
        let oldest = match result {
            InsertResult::Full { oldest, .. } => Some(index(ids, &oldest)),
            _ => None,
        };
        case.check("evict_candidate", oldest, peer.evict_candidate);
    }
    table
}

fn key(bytes: &Hex) -> PublicKey {
    PublicKey::from_bytes(&bytes.0).expect("the vectors' keys are good")
}

fn index(ids: &[NodeId], id: &NodeId) -> usize {
    let position = ids.iter().position(|it| it == id);
    position.expect("only the vector's peers are in the table")
}
