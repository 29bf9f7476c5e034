//! Tests of which of two sessions stays, and what the table keeps of those that ended.

use skydht_core::key::SecretKey;
use skydht_core::node::Reach;
use skydht_dmsg::session::{Driver, SessionConfig};
use skydht_runtime::pipe::{self, OnDrop, Pipe};

use super::*;

const NANOSECOND: Duration = Duration::from_nanos(1);

fn key(n: u16) -> PublicKey {
    let mut entropy = [7; 32];
    entropy[..2].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_entropy(&entropy).public()
}

/// Returns a session that stays open as long as the second part.
fn session() -> (Session, (Pipe, Driver<Pipe>)) {
    let (near, far) = pipe::pair(1, OnDrop::Reset);
    let config = SessionConfig::with_streams(1);
    let (session, _, driver) = Session::new(near, Role::Client, &config);
    (session, (far, driver))
}

const PATH: Path = Path {
    reach: Reach::Dialled,
    remote: None,
};

/// Adds a session of `peer`, established at `now`, that stays open.
fn add(table: &mut SessionTable, now: Duration, peer: PublicKey, role: Role) -> Added {
    let (session, alive) = session();
    std::mem::forget(alive);
    let added = table.add(now, &key(0), peer, session, role, PATH);
    added.unwrap_or_else(|failure| panic!("{failure}"))
}

fn live(table: &SessionTable, peer: &PublicKey) -> u64 {
    table.peers[peer].live.as_ref().unwrap().id
}

#[test]
fn two_sessions_count_as_concurrent_for_ten_seconds() {
    let peers: Vec<PublicKey> = (1..40).map(key).collect();
    let smaller = peers.iter().find(|peer| **peer < key(0));
    let larger = peers.iter().find(|peer| **peer > key(0));
    let (smaller, larger) = (*smaller.unwrap(), *larger.unwrap());
    for (peer, first, second) in [
        (larger, Role::Client, Role::Server),
        (smaller, Role::Server, Role::Client),
    ] {
        for (later, stays) in [
            (CONCURRENT_DIAL_WINDOW - NANOSECOND, true),
            (CONCURRENT_DIAL_WINDOW, false),
        ] {
            let mut table = SessionTable::new(9);
            let old = add(&mut table, NANOSECOND, peer, first).live.id;
            let new = add(&mut table, NANOSECOND + later, peer, second);
            let (kept, loser) = if stays {
                (old, new.live.id)
            } else {
                (new.live.id, old)
            };
            assert_eq!(live(&table, &peer), kept, "{later:?}");
            assert_eq!(new.retired.map(|it| it.id), Some(loser));
        }
    }
}

#[test]
fn a_replaced_session_is_known_as_such_until_it_has_ended_and_leaves_nothing() {
    let (mut table, peer) = (SessionTable::new(9), key(1));
    let old = add(&mut table, Duration::ZERO, peer, Role::Client).live.id;
    let new = add(&mut table, CONCURRENT_DIAL_WINDOW, peer, Role::Client)
        .live
        .id;
    assert!(table.is_retired(&peer, old) && !table.is_retired(&peer, new));
    assert!(!table.is_retired(&key(2), old));
    // The end of one session does not affect the other.
    table.forget(&peer, new);
    assert!(table.is_retired(&peer, old));
    table.ended(&peer, old);
    assert!(!table.is_retired(&peer, old));
    table.ended(&peer, new);
    assert!(table.peers.is_empty() && table.running.is_empty());
    // A third session ends the first one immediately.
    let ids = [0, 1, 2].map(|n| {
        add(&mut table, n * CONCURRENT_DIAL_WINDOW, peer, Role::Client)
            .live
            .id
    });
    assert!(!table.is_retired(&peer, ids[0]) && table.is_retired(&peer, ids[1]));
    assert_eq!(table.running.len(), 2);
    assert_eq!(live(&table, &peer), ids[2]);
}

#[test]
fn refused_peers_are_bounded_and_forgotten_when_their_time_is_over() {
    let mut table = SessionTable::new(9);
    let second = Duration::from_secs(1);
    for n in 0..=MAX_REFUSED as u16 {
        table.refuse(key(n), Duration::ZERO, second);
    }
    assert_eq!(table.refused.len(), MAX_REFUSED);
    let past = key(MAX_REFUSED as u16);
    assert_eq!(table.refused_for(&past, Duration::ZERO), None);
    assert_eq!(table.refused_for(&key(1), Duration::ZERO), Some(second));
    assert_eq!(
        table.refused_for(&key(1), second - NANOSECOND),
        Some(NANOSECOND)
    );
    assert_eq!(table.refused_for(&key(1), second), None);
    table.refuse(past, second - NANOSECOND, 9 * second);
    assert_eq!(table.refused.len(), MAX_REFUSED, "others still are");
    table.refuse(past, second, 9 * second);
    assert_eq!(table.refused.keys().collect::<Vec<_>>(), [&past]);
}

#[test]
fn ending_everything_leaves_nothing_and_notifies_waiters() {
    let mut table = SessionTable::new(9);
    let mut added = add(&mut table, Duration::ZERO, key(1), Role::Client);
    let addr = SocketAddr::from(([192, 0, 2, 1], 1));
    let asked = table.request(&key(2), &[addr], SessionUse::ReuseOrDial);
    let Ok(SessionRequest::Dial(Joined::MustDial(mut waits))) = asked else {
        panic!("it has to be dialled");
    };
    let closed = table.close();
    assert_eq!(closed.len(), 1);
    assert_eq!(waits.try_recv(), Ok(Some(Err(OpenFailure::Closing))));
    assert!(added.killed.try_recv().is_ok_and(|killed| killed.is_none()));
    table.kill_all();
    assert!(added.killed.try_recv().is_err());
    assert!(table.peers.is_empty() && table.running.is_empty());
    assert_eq!((table.stats().sessions, table.stats().dialling), (0, 0));
}
