//! Tests of what sessions are for, which of them make room, and what is left of those that ended.

use skydht_core::key::SecretKey;

use super::*;
use crate::dmsg_session::testing::{SessionGuard, session};
use crate::entry::Entry;

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

fn table(max_sessions: usize, max_peers: usize) -> SessionTable {
    let mut config = ServerConfig::new(([127, 0, 0, 1], 1).into());
    (config.max_sessions, config.max_peers) = (max_sessions, max_peers);
    SessionTable::new(&config)
}

/// A session that was added, and what keeps it open.
struct TestSession {
    added: Added,
    session: Arc<DmsgSession>,
    _held: SessionGuard,
}

impl TestSession {
    fn is_killed(&mut self) -> bool {
        self.added.killed.try_recv().is_err()
    }

    fn id(&self) -> u64 {
        self.added.id
    }

    /// Returns whether it superseded or displaced another one, and whether its key has a client
    /// session.
    fn outcome(&self) -> [bool; 3] {
        let Added {
            superseded,
            displaced,
            has_client_session,
            ..
        } = self.added;
        [superseded, displaced, has_client_session]
    }
}

fn try_add(table: &mut SessionTable, n: u8, address: u8) -> Option<TestSession> {
    let (session, _held) = session(&secret(n));
    let added = table.add(&session, [192, 0, 2, address].into())?;
    Some(TestSession {
        added,
        session,
        _held,
    })
}

/// Adds a session of the key `n` at an address of its own.
fn add(table: &mut SessionTable, n: u8) -> TestSession {
    try_add(table, n, n).unwrap()
}

fn routed(table: &SessionTable, n: u8) -> Option<u64> {
    table.route(&key(n)).map(|(id, _)| id)
}

#[test]
fn the_newest_of_a_key_is_reached_and_ends_the_one_before_the_last() {
    let mut table = table(9, 9);
    let mut first = add(&mut table, 1);
    assert_eq!(first.outcome(), [false; 3]);
    let mut second = add(&mut table, 1);
    assert_eq!(second.outcome(), [false, false, true]);
    assert_eq!(routed(&table, 1), Some(second.id()));
    let mut third = add(&mut table, 1);
    assert_eq!(third.outcome(), [true, false, true]);
    assert!(first.is_killed() && !second.is_killed() && !third.is_killed());
    assert_eq!((table.session_count(), table.room()), (2, 7));
    // A closing session is skipped in favour of the older one.
    third.session.mux().close();
    assert_eq!(routed(&table, 1), Some(second.id()));
    assert_eq!(table.session(&key(1)).unwrap().remote(), key(1));
    second.session.mux().close();
    assert_eq!((routed(&table, 1), routed(&table, 2)), (None, None));
    table.ended(&key(1), third.id());
    table.ended(&key(1), first.id());
    table.ended(&key(1), second.id());
    assert!(table.filed.is_empty() && table.running.is_empty());
}

#[test]
fn a_request_files_a_new_session_once_and_replaces_an_older_client() {
    let mut table = table(9, 9);
    let mut old = add(&mut table, 1);
    assert!(!table.file_client(&key(1), old.id()), "there was none");
    assert!(!table.file_client(&key(1), old.id()), "it is one already");
    let mut new = add(&mut table, 1);
    assert!(!table.file_client(&key(2), new.id()), "another's");
    assert!(
        !table.file_client(&key(1), old.id()),
        "it is not the new one"
    );
    assert!(!old.is_killed());
    assert!(table.file_client(&key(1), new.id()));
    assert!(old.is_killed() && !new.is_killed());
    assert_eq!(routed(&table, 1), Some(new.id()));
    assert!(!table.is_peer(&key(1), new.id()));
}

#[test]
fn peers_are_accepted_up_to_the_limit_and_leave_room_when_they_end() {
    let mut table = table(20, 2);
    let filed = |accepted, superseded| {
        Some(AnnounceOutcome {
            accepted,
            superseded,
        })
    };
    let mut made: Vec<_> = (1..=3).map(|n| add(&mut table, n)).collect();
    let ids: Vec<_> = made.iter().map(TestSession::id).collect();
    assert_eq!(table.file_peer(&key(1), ids[0]), filed(true, false));
    assert_eq!(table.file_peer(&key(2), ids[1]), filed(true, false));
    assert_eq!(table.file_peer(&key(3), ids[2]), filed(false, false));
    let is_peer = |table: &SessionTable, n: u8| table.is_peer(&key(n), ids[usize::from(n - 1)]);
    assert_eq!([1, 2, 3].map(|n| is_peer(&table, n)), [true, true, false]);
    // Neither session is a route to a client.
    assert_eq!([1, 2, 3].map(|n| routed(&table, n)), [None; 3]);
    // A repeated announcement changes nothing, and a newer session of an accepted key replaces the
    // old one.
    assert_eq!(table.file_peer(&key(2), ids[1]), filed(true, false));
    assert_eq!(table.file_peer(&key(3), ids[2]), filed(false, false));
    let again = add(&mut table, 1);
    assert_eq!(table.file_peer(&key(1), again.id()), filed(true, true));
    assert!(made[0].is_killed() && table.peers == 2);
    let another = add(&mut table, 3);
    assert_eq!(table.file_peer(&key(3), another.id()), filed(false, true));
    assert!(made[2].is_killed());
    // A session that has ended cannot announce, and its slot is free.
    assert_eq!(table.file_peer(&key(1), ids[0]), None);
    table.ended(&key(1), again.id());
    assert_eq!(table.peers, 1);
    assert_eq!(table.file_peer(&key(3), another.id()), filed(true, false));
    assert_eq!(table.peers, 2);
    // Announce over a session that was a client's before.
    let client = add(&mut table, 4);
    table.file_client(&key(4), client.id());
    table.ended(&key(2), ids[1]);
    assert_eq!(table.file_peer(&key(4), client.id()), filed(true, false));
    assert_eq!((table.peers, routed(&table, 4)), (2, None));
}

#[test]
fn a_full_server_readmits_its_own_keys() {
    for is_client in [true, false] {
        let mut table = table(2, 2);
        let mut old = add(&mut table, 1);
        let mut other = add(&mut table, 2);
        if is_client {
            table.file_client(&key(1), old.id());
        }
        let new = add(&mut table, 1);
        assert_eq!(new.outcome(), [true, false, false]);
        assert!(old.is_killed() && !other.is_killed());
        assert_eq!((table.session_count(), table.room()), (2, 0));
    }
}

#[test]
fn idle_then_oldest_sessions_of_the_largest_address_make_room() {
    let mut table = table(4, 4);
    let mut crowd: Vec<_> = (1..=4)
        .map(|n| try_add(&mut table, n, 100).unwrap())
        .collect();
    let opening = crowd[0].session.mux().open();
    let _stream = futures::executor::block_on(opening).unwrap();
    assert_eq!(table.streams(), 1);
    assert_eq!(table.hybrid_sessions().collect::<Vec<_>>(), [true; 4]);
    let first = add(&mut table, 5);
    assert_eq!(first.outcome(), [false, true, false]);
    let killed = |crowd: &mut [TestSession]| -> Vec<_> {
        crowd.iter_mut().map(TestSession::is_killed).collect()
    };
    assert_eq!(killed(&mut crowd), [false, true, false, false]);
    assert_eq!(routed(&table, 2), None);
    assert!(table.filed.len() == 4);
    let _second = try_add(&mut table, 6, 5).unwrap();
    // With two sessions each, addresses do not displace each other, and there is no room for a
    // third one.
    assert!(try_add(&mut table, 7, 5).is_none() && try_add(&mut table, 7, 100).is_none());
    assert!(try_add(&mut table, 7, 7).is_some());
    assert!(!killed(&mut crowd)[0], "it is used");
    assert_eq!(table.session_count(), 4);
}

#[test]
fn a_closed_table_accepts_nothing_and_is_emptied() {
    let mut table = table(9, 9);
    let mut made: Vec<_> = (1..=2).map(|n| add(&mut table, n)).collect();
    table.file_peer(&key(1), made[0].id());
    assert!(!table.is_closed() && !table.is_ready());
    table.set_published(Entry::new(key(1), 1, 1).sign(&secret(1)));
    assert!(table.is_ready());
    assert!(table.take_published().is_some() && table.take_published().is_none());
    assert_eq!(table.close().len(), 2);
    assert!(table.is_closed() && table.is_ready());
    assert!(try_add(&mut table, 3, 3).is_none());
    assert!(!made[0].is_killed(), "it is given its time");
    table.kill_all();
    assert!(made.iter_mut().all(TestSession::is_killed));
    assert!(table.filed.is_empty() && table.running.is_empty() && table.peers == 0);
}
