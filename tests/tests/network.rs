//! Networks of complete nodes (core, event loop, handle) in virtual time, with a network in memory.

#[path = "network/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use skydht_core::item::{Origin, Seq};
use skydht_core::node::{GetError, GetOutcome, PutOutcome, ReadPolicy};
use skydht_driver::Dht;

use world::World;

const HOUR: Duration = Duration::from_secs(3600);

/// Upstream's network test: five nodes; put, get, update, get.
#[test]
fn five_nodes_put_get_update_get() {
    let world = World::new(5);
    let nodes = world.nodes(5);
    world.run(async {
        let first = world::put(&nodes[1], b"one").await.unwrap();
        assert_eq!(first.replicas.acknowledged(), 4);
        for reader in &nodes {
            let read = world::get(reader, 1).await.unwrap();
            assert_eq!(read.item.value.as_bytes(), b"one");
        }
        let second = world::put(&nodes[1], b"two").await.unwrap();
        assert!(second.seq > first.seq);
        for reader in &nodes {
            let read = world::get(reader, 1).await.unwrap();
            assert_eq!(read.item.value.as_bytes(), b"two");
            assert_eq!((read.item.seq, read.origin), (second.seq, Origin::Owner));
        }
    });
}

/// Outcome of each publisher's put.
type Outcomes = BTreeMap<u64, PutOutcome>;

async fn publish(nodes: &[Dht], publishers: impl Iterator<Item = u64>, value: &[u8]) -> Outcomes {
    let puts = publishers.map(|n| async move {
        let outcome = world::put(&nodes[n as usize], value).await;
        (n, outcome.unwrap_or_else(|e| panic!("put of {n}: {e}")))
    });
    join_all(puts).await.into_iter().collect()
}

/// Reads every item, each from a node with a number far from its publisher's.
async fn read_all(
    readers: &[&Dht],
    outcomes: &Outcomes,
) -> BTreeMap<u64, Result<GetOutcome, GetError>> {
    let reads = outcomes.keys().map(|n| async move {
        let reader = readers[(*n as usize * 7 + 3) % readers.len()];
        (*n, world::get(reader, *n).await)
    });
    join_all(reads).await.into_iter().collect()
}

/// Two hundred nodes publish, read, update, and delete; 60 of them crash in one moment; then items
/// are read, also three hours later.
#[test]
fn two_hundred_nodes_keep_what_they_acknowledged() {
    const NODES: u64 = 200;
    const PUBLISHERS: u64 = 40;
    const LOST: usize = 60;
    let world = World::new(200);
    let nodes = world.nodes(NODES);
    // All nodes start in the same moment, so that the first ones to be ready know a single peer.
    // After a minute, repeated self-lookups have found the closest peers.
    world.pass(Duration::from_secs(60));
    let mut outcomes = world.run(publish(&nodes, 0..PUBLISHERS, b"one"));
    for (n, outcome) in &outcomes {
        // Replicas are stored while the lookup converges, so that there may be a few more.
        let replicas = outcome.replicas.acknowledged();
        assert!((20..=24).contains(&replicas), "{n}: {outcome:?}");
        assert!(outcome.stats.converged, "{n}: {outcome:?}");
    }

    // Updates replace earlier values, and deletions differ from missing items.
    let updated = world.run(publish(&nodes, 10..20, b"two"));
    let deleted = world.run(publish(&nodes, 20..25, b""));
    for (n, outcome) in updated.iter().chain(&deleted) {
        assert!(outcome.seq > outcomes[n].seq);
    }
    outcomes.extend(updated);
    outcomes.extend(deleted);
    let readers: Vec<_> = nodes.iter().collect();
    for (n, read) in world.run(read_all(&readers, &outcomes)) {
        check(n, read, outcomes[&n].seq);
    }

    // A crash without a clean stop. Publishers 30 to 39 are among the lost nodes.
    let mut nodes = nodes;
    let lost = nodes.len() - LOST;
    let crashed: Vec<_> = nodes.drain(30..40).collect();
    let crashed: Vec<_> = crashed.into_iter().chain(nodes.drain(lost..)).collect();
    assert_eq!(crashed.len(), LOST);
    world.crash(crashed);
    let readers: Vec<_> = nodes.iter().collect();
    for (n, read) in world.run(read_all(&readers, &outcomes)) {
        check(n, read, outcomes[&n].seq);
    }

    // Three hours later, running publishers have renewed their items; the items of lost ones have
    // expired everywhere, and so have the tombstones.
    world.pass(3 * HOUR);
    for (n, read) in world.run(read_all(&readers, &outcomes)) {
        match n {
            20..25 | 30..40 => assert!(
                matches!(read, Err(GetError::NotFound { .. })),
                "{n}: {read:?}"
            ),
            _ => check(n, read, outcomes[&n].seq),
        }
    }
    let snapshots = world.run(join_all(nodes.iter().map(Dht::snapshot)));
    for snapshot in snapshots {
        let snapshot = snapshot.unwrap();
        assert!(
            snapshot.peers >= 20,
            "{}: {} peers",
            snapshot.key,
            snapshot.peers
        );
        // No routing table contains the lost nodes, and the estimated network size has adapted.
        let size = snapshot.network_size;
        assert!(
            (70..=280).contains(&size),
            "{}: {size} nodes?",
            snapshot.key
        );
    }
}

/// Checks the value of publisher `n` in the test above, with the sequence number of its put or of a
/// renewal.
fn check(n: u64, read: Result<GetOutcome, GetError>, seq: Seq) {
    match (n, read) {
        (20..25, Err(GetError::Deleted { seq: found, .. })) => assert!(found >= seq),
        (20..25, other) => panic!("{n} was deleted: {other:?}"),
        (_, Ok(read)) => {
            let expected = if (10..20).contains(&n) { "two" } else { "one" };
            assert_eq!(read.item.value.as_bytes(), expected.as_bytes(), "{n}");
            assert!(read.item.seq >= seq, "{n}: {} is older", read.item.seq);
            assert_eq!(read.origin, Origin::Owner);
        }
        (_, Err(error)) => panic!("{n}: {error}"),
    }
}

/// A reader that starts after the publisher has stopped, and bootstraps from any node.
#[test]
fn a_one_shot_client_reads_and_leaves_no_trace() {
    let world = World::new(30);
    let nodes = world.nodes(30);
    world.run(async {
        world::put(&nodes[3], b"hello").await.unwrap();
        let client = world.client(1_000);
        let read = client.get(world::request(3, ReadPolicy::FirstValid)).await;
        assert_eq!(read.unwrap().item.value.as_bytes(), b"hello");
        let key = client.key();
        client.shutdown().await;
        for node in &nodes {
            let peers = node.peers().await.unwrap();
            assert!(peers.iter().all(|peer| peer.key != key));
        }
    });
}
