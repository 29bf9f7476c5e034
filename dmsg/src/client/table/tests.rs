//! Tests of what a client remembers of servers and destinations, and for how long.

use skydht_core::key::SecretKey;

use super::*;
use crate::dmsg_session::testing::{SessionGuard, session};

const SECOND: Duration = Duration::from_secs(1);
const NANOSECOND: Duration = Duration::from_nanos(1);

fn key(n: u16) -> PublicKey {
    let mut bytes = [2; 33];
    bytes[31..].copy_from_slice(&n.to_be_bytes());
    PublicKey::from_bytes(&bytes).unwrap()
}

/// Returns a server on a host of its own.
fn server(n: u16) -> KnownServer {
    let [a, b] = n.to_be_bytes();
    KnownServer {
        key: key(n),
        address: ([10, 0, a, b], 8080).into(),
    }
}

fn table() -> ClientTable {
    ClientTable::new(&ClientConfig::default())
}

fn fail(table: &mut ClientTable, n: u16, now: Duration, wait: Duration) {
    table.connect_failed(&server(n), now, format!("failure {n}"), |_| wait);
}

/// Adds a session with the server `n` made at `now`, and returns what keeps it open.
fn connect(
    table: &mut ClientTable,
    n: u8,
    distance: Duration,
    now: Duration,
) -> (Started, SessionGuard) {
    let (session, held) = session(&SecretKey::from_bytes(&[n; 32]).unwrap());
    (table.connected(&session, distance, now).unwrap(), held)
}

/// Returns the server that [`connect`] connects to.
fn real(n: u8) -> KnownServer {
    KnownServer {
        key: SecretKey::from_bytes(&[n; 32]).unwrap().public(),
        address: ([10, 1, 0, n], 8080).into(),
    }
}

fn is_killed(started: &mut Started) -> bool {
    started.killed.try_recv().is_err()
}

#[test]
fn servers_are_bounded_and_the_longest_failing_makes_room() {
    let mut table = table();
    let all: Vec<_> = (0..MAX_SERVERS as u16).map(server).collect();
    table.learn(&all);
    table.learn(&[server(5_000)]);
    let known = |table: &ClientTable, n| table.address(&key(n)).is_some();
    assert!(!known(&table, 5_000), "none has failed");
    for (n, wait) in [(1, 5), (2, 9), (3, 30), (4, 20), (5, 1)] {
        fail(&mut table, n, Duration::ZERO, wait * SECOND);
    }
    // Servers that were reached once are kept, and so are those being dialled.
    table.had_session.insert(key(3));
    let _dial = table.request(&key(4));
    let moved = KnownServer {
        address: ([10, 9, 9, 9], 1).into(),
        ..server(6)
    };
    table.learn(&[moved, server(6)]);
    for (newcomer, goes) in [(5_000, 2), (5_001, 1), (5_002, 5)] {
        assert!(known(&table, goes));
        table.learn(&[server(newcomer)]);
        assert!(known(&table, newcomer) && !known(&table, goes), "{goes}");
        assert!(!table.retries.contains_key(&key(goes)));
    }
    table.learn(&[server(5_003)]);
    assert!(!known(&table, 5_003));
    assert_eq!(table.servers.len(), MAX_SERVERS);
    table.learn(&[moved]);
    assert_eq!(table.address(&key(6)), Some(moved.address));
}

#[test]
fn servers_are_due_once_they_have_waited_and_their_hosts_may_be_dialled() {
    let mut table = table();
    table.learn(&[1, 2, 3, 4, 5].map(server));
    for (n, wait) in [(1, 5), (2, 3), (3, 7)] {
        fail(&mut table, n, Duration::ZERO, wait * SECOND);
    }
    let _dial = table.request(&key(4));
    for (now, due, next) in [
        (3 * SECOND - NANOSECOND, vec![5], Some(3)),
        (3 * SECOND, vec![2, 5], Some(5)),
        (5 * SECOND, vec![1, 2, 5], Some(7)),
        (7 * SECOND, vec![1, 2, 3, 5], None),
    ] {
        let due: Vec<_> = due.into_iter().map(server).collect();
        assert_eq!(table.due(now), (due, next.map(|at| at * SECOND)), "{now:?}");
    }
    table.connect_failed(&server(4), Duration::ZERO, String::new(), |_| 2 * SECOND);
    assert_eq!(table.due(SECOND), ([server(5)].into(), Some(2 * SECOND)));

    // Of five keys on one host, three are dialled concurrently, and the others when those have
    // begun.
    let mut table = self::table();
    let on_host = |n| KnownServer {
        address: ([10, 0, 0, 9], 1_000 + n).into(),
        ..server(n)
    };
    table.learn(&[1, 2, 3, 4, 5].map(on_host));
    table.learn(&[server(6)]);
    let (first, _) = table.waits;
    let (due, next) = table.due(SECOND);
    assert_eq!(due, [on_host(1), on_host(2), on_host(3), server(6)]);
    assert_eq!(next, Some(SECOND + first));
    // A server that was reached once is not limited by its host, and does not count for it.
    table.had_session.insert(key(1));
    let due = |table: &ClientTable, now| table.due(now).0.len();
    assert_eq!(
        (due(&table, SECOND), table.due(SECOND).1),
        (5, Some(SECOND + first))
    );
    for _ in 0..5 {
        table
            .hosts
            .failed(on_host(1).address.ip(), SECOND, table.waits);
    }
    let until = table.hosts.until(on_host(1).address.ip());
    assert!(until > SECOND + first);
    assert_eq!(
        table.due(SECOND),
        ([on_host(1), server(6)].into(), Some(until))
    );
    assert_eq!(due(&table, until), 3);
}

#[test]
fn a_server_may_be_dialled_if_its_host_may_or_it_was_reached_or_is_dialled() {
    let mut table = table();
    table.learn(&[1, 2, 3].map(server));
    let may_dial = |table: &ClientTable, n| table.may_dial(&server(n), Duration::ZERO);
    for n in [1, 2, 3] {
        assert!(may_dial(&table, n));
        for _ in 0..3 {
            fail(&mut table, n, Duration::ZERO, SECOND);
        }
        assert!(!may_dial(&table, n));
    }
    table.had_session.insert(key(1));
    let _dial = table.request(&key(2));
    assert_eq!([1, 2, 3].map(|n| may_dial(&table, n)), [true, true, false]);
    // Failures of a server that was reached once do not count for its host.
    let mut table = self::table();
    table.had_session.insert(key(1));
    for _ in 0..5 {
        fail(&mut table, 1, Duration::ZERO, SECOND);
    }
    table.had_session.clear();
    assert!(may_dial(&table, 1));
    assert_eq!(table.stats().connects_failed, 5);
    assert!(
        table.retries.is_empty(),
        "we do not try by ourselves what we do not know"
    );
}

#[test]
fn a_session_that_lasted_a_minute_clears_earlier_failures() {
    for (lasted, waits) in [(GOOD_SESSION - NANOSECOND, 20), (GOOD_SESSION, 10)] {
        let mut table = table();
        table.learn(&[real(1)]);
        let begin = 5 * SECOND;
        let wait = |last: Duration| last + 10 * SECOND;
        table.connect_failed(&real(1), Duration::ZERO, "no answer".to_owned(), wait);
        let (started, _held) = connect(&mut table, 1, SECOND, begin);
        let ended = begin + lasted;
        table.ended(&real(1).key, started.id, ended, wait);
        let retry = &table.retries[&real(1).key];
        let waits = waits * SECOND;
        assert_eq!((retry.wait, retry.at), (waits, ended + waits), "{lasted:?}");
        assert_eq!(table.stats().lost, 1);
        // This applies only once.
        table.ended(&real(1).key, started.id, ended, wait);
        assert_eq!(table.stats().lost, 1);
    }
}

#[test]
fn server_states_report_sessions_and_failures() {
    let mut table = table();
    table.learn(&[real(1), real(2), server(1), server(2)]);
    table.connect_failed(&real(1), Duration::ZERO, "before".to_owned(), |_| SECOND);
    let (_one, _held) = connect(&mut table, 1, SECOND, Duration::ZERO);
    let (two, _held_too) = connect(&mut table, 2, SECOND, Duration::ZERO);
    table.ended(&real(2).key, two.id, SECOND, |_| SECOND);
    fail(&mut table, 2, Duration::ZERO, SECOND);
    let expected = [
        (real(1), true, false, None),
        (real(2), false, true, Some("the session was lost")),
        (server(1), false, false, None),
        (server(2), false, false, Some("failure 2")),
    ];
    let states = table.server_states();
    assert_eq!(states.len(), 4);
    for (server, connected, lost, failure) in expected {
        let state = ServerState {
            server,
            connected,
            lost,
            failure: failure.map(str::to_owned),
        };
        assert!(states.contains(&state), "{state:?} in {states:?}");
    }
}

#[test]
fn sessions_are_given_nearest_first_and_only_while_they_are_open() {
    let mut table = table();
    let made = [(1, 30), (2, 10), (3, 20)]
        .map(|(n, distance)| connect(&mut table, n, distance * SECOND, Duration::ZERO));
    let by_distance = [2, 3, 1].map(|n| real(n).key);
    assert_eq!(table.by_distance(), by_distance);
    let mut by_key = by_distance;
    by_key.sort();
    assert_eq!((table.servers(), table.session_count()), (by_key.into(), 3));
    let any = |table: &ClientTable, of| table.session_or_any(of).map(|it| it.remote());
    assert_eq!(any(&table, None), Some(real(2).key));
    assert_eq!(any(&table, Some(real(1).key)), Some(real(1).key));
    assert_eq!(any(&table, Some(real(4).key)), None);
    table.session(&real(2).key).unwrap().mux().close();
    assert_eq!(any(&table, None), Some(real(3).key));
    assert_eq!(any(&table, Some(real(2).key)), None);
    // Counts the streams of all sessions.
    let session = table.session(&real(1).key).unwrap();
    let other = table.session(&real(3).key).unwrap();
    let open = |session: &DmsgSession| {
        let opening = session.mux().open();
        futures::executor::block_on(opening).unwrap()
    };
    let _streams = [open(&session), open(&session), open(&session), open(&other)];
    let stats = table.stats();
    assert_eq!((stats.sessions, stats.streams, stats.connected), (3, 4, 3));
    assert_eq!(table.hybrid_sessions().collect::<Vec<_>>(), [true; 3]);
    drop(made);
}

#[test]
fn a_request_gets_a_session_or_waits_or_dials() {
    let mut table = table();
    let key = real(1).key;
    let SessionRequest::Dial(Joined::MustDial(mut first)) = table.request(&key) else {
        panic!("there is none");
    };
    let SessionRequest::Dial(Joined::Pending(mut second)) = table.request(&key) else {
        panic!("it is dialled");
    };
    let stats = table.stats();
    assert_eq!((stats.connecting, stats.connects_shared), (1, 1));
    assert!(table.due(Duration::ZERO).0.is_empty());
    let (mut old, _held) = connect(&mut table, 1, SECOND, Duration::ZERO);
    for waiting in [&mut first, &mut second] {
        let session = waiting.try_recv().unwrap().unwrap();
        assert_eq!(session.remote(), key);
    }
    assert!(matches!(table.request(&key), SessionRequest::Connected(_)));
    let stats = table.stats();
    assert_eq!((stats.connecting, stats.connects_shared), (0, 1));
    // A newer session replaces it, and the end of the old one does not affect the new one.
    let (mut new, _held_too) = connect(&mut table, 1, SECOND, Duration::ZERO);
    assert!(is_killed(&mut old) && !is_killed(&mut new));
    table.ended(&key, old.id, SECOND, |_| SECOND);
    assert_eq!((table.session_count(), table.stats().lost), (1, 0));
    table.ended(&key, new.id, SECOND, |_| SECOND);
    assert_eq!((table.session_count(), table.stats().lost), (0, 1));
    assert!(is_killed(&mut new));
    // A dial that failed notifies its waiters.
    let SessionRequest::Dial(Joined::MustDial(mut waits)) = table.request(&key) else {
        panic!("there is none");
    };
    table.connect_failed(&real(1), SECOND, String::new(), |_| SECOND);
    assert!(waits.try_recv().is_err());
}

#[test]
fn a_server_that_was_found_clears_its_host_and_counts_as_reached() {
    for known in [true, false] {
        let mut table = table();
        let ip = real(1).address.ip();
        table.hosts.failed(ip, Duration::ZERO, table.waits);
        if known {
            table.learn(&[real(1)]);
        }
        let _made = connect(&mut table, 1, SECOND, Duration::ZERO);
        let tries = table.hosts.dials_allowed(ip, Duration::ZERO);
        assert_eq!(tries, if known { 3 } else { 2 });
        assert_eq!(table.had_session.contains(&real(1).key), known);
    }
}

#[test]
fn an_entry_is_cached_for_a_minute_or_until_it_is_forgotten() {
    let mut table = table();
    let servers: Arc<[PublicKey]> = Arc::new([key(7)]);
    table.set_delegated(key(1), Arc::clone(&servers), SECOND);
    let known = |table: &ClientTable, now| table.delegated(&key(1), now).is_some();
    assert!(known(&table, SECOND + ENTRY_LIFE - NANOSECOND));
    assert!(!known(&table, SECOND + ENTRY_LIFE));
    assert!(table.delegated(&key(2), SECOND).is_none());
    let _made = connect(&mut table, 1, SECOND, SECOND);
    table.set_route(key(1), real(1).key);
    table.set_route(key(2), real(1).key);
    table.forget_delegated(&key(1));
    assert!(!known(&table, SECOND));
    assert!(table.route(&key(1)).is_none() && table.route(&key(2)).is_some());
}

#[test]
fn destinations_are_bounded_and_routes_go_with_their_sessions() {
    let mut table = table();
    let made = [1, 2].map(|n| connect(&mut table, n, SECOND, Duration::ZERO));
    for n in 0..=MAX_DESTINATIONS as u16 {
        table.set_route(key(n), real(1 + u8::from(n % 2 == 0)).key);
        table.set_delegated(key(n), Arc::default(), Duration::ZERO);
        table.set_delegated(key(n), Arc::default(), Duration::ZERO);
    }
    assert_eq!(
        (table.routes.len(), table.entries.len()),
        (MAX_DESTINATIONS, MAX_DESTINATIONS)
    );
    // An existing destination needs no room.
    table.set_route(key(9), real(1).key);
    assert_eq!(table.routes.len(), MAX_DESTINATIONS);
    assert_eq!(table.route(&key(9)).unwrap().remote(), real(1).key);
    assert_eq!(table.route(&key(8)).unwrap().remote(), real(2).key);
    table.ended(&real(2).key, made[1].0.id, SECOND, |_| SECOND);
    assert!(table.routes.values().all(|via| *via == real(1).key));
    assert_eq!(table.routes.len(), MAX_DESTINATIONS / 2);
}

#[test]
fn a_closed_table_accepts_nothing_and_notifies_waiters() {
    let mut table = table();
    let entry = crate::entry::Entry::new(real(1).key, 1, 1);
    let entry = entry.sign(&SecretKey::from_bytes(&[1; 32]).unwrap());
    assert!(!table.is_ready() && !table.is_connected() && !table.is_closed());
    let (mut made, _held) = connect(&mut table, 1, SECOND, Duration::ZERO);
    assert!(table.is_connected() && !table.is_ready());
    table.set_publish_tried();
    assert!(table.is_ready());
    table.set_published(entry);
    assert_eq!(table.stats().published, 1);
    assert!(table.take_published().is_some() && table.take_published().is_none());
    let SessionRequest::Dial(Joined::MustDial(mut waits)) = table.request(&key(2)) else {
        panic!("there is none");
    };
    assert_eq!(table.close().len(), 1);
    assert!(waits.try_recv().is_err());
    assert!(matches!(table.request(&key(2)), SessionRequest::Closed));
    let (late, _held_too) = session(&SecretKey::from_bytes(&[2; 32]).unwrap());
    assert!(table.connected(&late, SECOND, SECOND).is_none());
    assert!(!is_killed(&mut made), "it is given its time");
    table.kill_all();
    assert!(is_killed(&mut made));
    assert!(table.is_closed() && table.is_ready() && table.is_connected());
    // Sessions that end after the close do not count as lost.
    let mut table = self::table();
    let (made, _held) = connect(&mut table, 1, SECOND, Duration::ZERO);
    table.close();
    table.ended(&real(1).key, made.id, SECOND, |_| SECOND);
    assert_eq!((table.session_count(), table.stats().lost), (0, 0));
    let mut table = self::table();
    table.set_publish_tried();
    assert!(!table.is_ready(), "without a session");
}
