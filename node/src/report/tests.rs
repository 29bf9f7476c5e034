use super::peers::judge_buckets;
use super::*;
use crate::condition::Condition;
use crate::status::{About, Seen};
use skydht_core::key::SecretKey;
use skydht_core::node::{BucketFill, Config, Identity, Replicas, Snapshot};
use skydht_core::store::Refusal;
use skydht_core::time::Time;
use skydht_core::{Node, Seed};
use skydht_driver::storage::StorageStats;
use skydht_driver::transport::TransportStats;
use std::time::Duration;

/// Returns the snapshot of a new node.
pub(crate) fn snapshot() -> Snapshot {
    let identity = Identity::Keyed(SecretKey::from_bytes(&[7; 32]).unwrap());
    let node = Node::new(
        Config::default(),
        identity,
        Seed::from_number(1),
        Time::default(),
    );
    node.unwrap().snapshot()
}

/// Returns the status of a running node without peers.
pub(crate) fn status() -> StatusReport {
    let snapshot = snapshot();
    let about = About {
        key: snapshot.key,
        full_node: false,
        k: 20,
        listen: String::new(),
    };
    let seen = Seen {
        snapshot,
        peers: Vec::new(),
        transport: TransportStats::default(),
        failures: Vec::new(),
        storage: StorageStats::default(),
    };
    StatusReport::new(&seen, &about, &Condition::default())
}

/// Returns a report in which `connected` of `servers` servers are connected.
pub(crate) fn dmsg(connected: usize, servers: usize, clients: Option<usize>) -> DmsgReport {
    let server = |index| DmsgServerReport {
        key: snapshot().key,
        address: "127.0.0.1:1".into(),
        connected: index < connected,
        lost: index >= connected,
        cause: (index >= connected).then(|| "connection refused".into()),
    };
    DmsgReport {
        discovery: None,
        connected,
        wanted: 2,
        servers: (0..servers).map(server).collect(),
        clients,
        relay: None,
        hybrid: HybridReport::default(),
    }
}

fn put() -> PutReport {
    PutReport::new(&PutOutcome {
        target: Target::from_bytes([1; 32]),
        seq: Seq(1_767_225_600_000_000_001),
        replicas: Replicas {
            stored: 16,
            refreshed: 2,
            refused: vec![(Refusal::Quota, 2)],
            unknown: 0,
        },
        local: false,
        stats: LookupStats {
            elapsed: Duration::from_millis(41),
            ..LookupStats::default()
        },
    })
}

#[test]
fn a_put_says_how_many_took_it() {
    assert_eq!(
        put().to_string(),
        "stored 18/20 (16 new, 2 refreshed), 2 refused (quota of this publisher is used up), seq 1767225600000000001, 41 ms"
    );
}

#[test]
fn sequences_keep_every_digit_in_any_json_reader() {
    let json = serde_json::to_value(put()).unwrap();
    assert_eq!(json["seq"], "1767225600000000001");
    assert_eq!(json["refused"][0]["reason"], "quota");
    assert_eq!(serde_json::from_value::<PutReport>(json).unwrap(), put());
}

#[test]
fn buckets_are_judged_by_what_the_network_can_fill() {
    let mut snapshot = snapshot();
    snapshot.network_size = 101;
    let fill = |index, peers| BucketFill {
        index,
        peers,
        replacements: 0,
    };
    snapshot.buckets = vec![fill(0, 20), fill(1, 9), fill(2, 12), fill(9, 1)];
    let judged: Vec<_> = judge_buckets(&snapshot, 20)
        .into_iter()
        .map(|b| (b.bucket, b.expected, b.state))
        .collect();
    assert_eq!(
        judged,
        [
            (0, 20, BucketState::Good),
            (1, 20, BucketState::Low),
            (2, 12, BucketState::Good),
            (3, 6, BucketState::Low),
            (4, 3, BucketState::Low),
            (5, 1, BucketState::Low),
            (9, 0, BucketState::Irrelevant),
        ]
    );
}

#[test]
fn durations_round_to_microseconds() {
    assert_eq!(ms(Duration::from_nanos(1_234_567)), 1.235);
    assert_eq!(
        from_ms(ms(Duration::from_millis(41))),
        Duration::from_millis(41)
    );
}
