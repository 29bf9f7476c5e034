//! Tests of which sessions exist, which of two stays, and what is counted.

use super::*;

#[test]
fn activity_is_counted_and_zero_when_idle() {
    run(async |world| {
        let one = transport(world, 1, options(1)).await;
        let two = transport(world, 2, options(2)).await;
        let mut first = one.open(key(2), addrs(&[2]), ReuseOrDial);
        assert!(futures::poll!(&mut first).is_pending());
        let mut second = one.open(key(2), addrs(&[2]), ReuseOrDial);
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!((one.stats().dialling, one.stats().dials_shared), (1, 1));
        let opened = join(first, second).await;
        let stats = one.stats();
        assert_eq!((stats.dialling, stats.dials, stats.streams), (0, 1, 2));
        drop(opened);
        let silent = world.host(ip(5)).connect(addr(1)).await.unwrap();
        world.host(ip(9)).sleep(SECOND).await;
        assert_eq!(one.stats().handshaking, 1);
        world.host(ip(9)).sleep(10 * SECOND).await;
        for stats in [one.stats(), two.stats()] {
            let under_way = (stats.streams, stats.dialling, stats.handshaking);
            assert_eq!((under_way, stats.sessions), ((0, 0, 0), 1));
        }
        drop(silent);
    });
}

#[test]
fn a_refused_peer_loses_its_session_and_gets_none_for_as_long() {
    run(async |world| {
        let one = transport(world, 1, options(1)).await;
        let two = transport(world, 2, options(2)).await;
        let three = transport(world, 3, options(3)).await;
        let (mut stream, _) = greet(&two, 1).await;
        let _accepted = accept(&one).await;
        let _other = greet(&three, 1).await;
        let _other_accepted = accept(&one).await;
        one.refuse(key(2), 60 * SECOND);
        let mut byte = [0];
        let lost = stream.read(&mut byte).await.unwrap_err();
        assert_eq!(lost.kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(one.stats().sessions, 1, "others keep theirs");
        // The handshake succeeds, since it proves the key; after it nothing happens, and in
        // particular nothing that makes the peer reconnect.
        let (mut stream, _) = open(&two, 1).await.unwrap();
        let read = stream.read(&mut byte);
        let later = world.host(ip(9)).sleep(30 * SECOND);
        assert!(matches!(select(read, later).await, Either::Right(_)));
        let stats = one.stats();
        assert_eq!((stats.sessions, stats.refused), (1, 1));
        assert_eq!(stats.handshaking, 1, "it may be displaced like a handshake");
        assert!(stream.read(&mut byte).await.is_err());
        let _back = greet(&two, 1).await;
        accept(&one).await;
        assert_eq!(one.stats().sessions, 2);
    });
}

#[test]
fn a_dial_has_so_many_addresses_however_many_join_it() {
    for (useless, reached) in [(6, true), (7, false)] {
        run(async |world| {
            let one = transport(world, 1, options(1)).await;
            let _two = transport(world, 2, options(2)).await;
            world.set_silent(ip(8), true);
            let hosts: Vec<u8> = (20..20 + useless).chain([2]).collect();
            let first = one.open(key(2), addrs(&[8]), ReuseOrDial);
            let joined = one.open(key(2), addrs(&hosts), ReuseOrDial);
            let (first, joined) = join(first, joined).await;
            assert_eq!((first.is_ok(), joined.is_ok()), (reached, reached));
        });
    }
}

/// Lets `a` dial `b`, and after a pause another process with the key of `b` dial `a`. Returns
/// whether `a` uses the later session, and its counters.
fn dialled_back(a: u8, b: u8, pause: Duration) -> (bool, TransportStats) {
    run(async |world| {
        let one = transport(world, a, options(a)).await;
        let two = transport(world, b, options(b)).await;
        greet(&one, b).await;
        accept(&two).await;
        world.host(ip(9)).sleep(pause).await;
        let again = TcpTransport::start(world.host(ip(4)), secret(b), [4; 32], options(4))
            .await
            .unwrap();
        let _ = open(&again, a).await;
        world.host(ip(9)).sleep(SECOND).await;
        let (_, path) = one.open(key(b), addrs(&[]), ReuseOnly).await.unwrap();
        world.host(ip(9)).sleep(5 * SECOND).await;
        (path.remote.unwrap().ip() == ip(4), one.stats())
    })
}

#[test]
fn of_two_concurrent_sessions_the_smaller_keys_stays_and_otherwise_the_later() {
    for (a, b) in [(1, 2), (2, 1)] {
        let (replaced, concurrent) = dialled_back(a, b, SECOND);
        assert_eq!(replaced, key(b) < key(a));
        let (replaced, later) = dialled_back(a, b, 20 * SECOND);
        assert!(replaced);
        // The session that ended was replaced, not lost.
        for stats in [concurrent, later] {
            assert_eq!((stats.sessions, stats.superseded, stats.lost), (1, 1, 0));
        }
    }
}

#[test]
fn of_idle_sessions_the_least_recently_used_makes_room() {
    run(async |world| {
        let mut few = options(1);
        few.max_sessions = 2;
        let one = transport(world, 1, few).await;
        let mut others = Vec::new();
        for n in [2, 3, 4] {
            others.push(transport(world, n, options(n)).await);
        }
        let pause = || world.host(ip(9)).sleep(SECOND);
        for n in [2, 3] {
            drop(open(&one, n).await.unwrap());
            pause().await;
        }
        // The first one is used again.
        drop(open(&one, 2).await.unwrap());
        pause().await;
        open(&one, 4).await.unwrap();
        let reused = |n| one.open(key(n), addrs(&[]), ReuseOnly);
        assert!(reused(2).await.is_ok());
        assert_eq!(reused(3).await.err(), Some(OpenFailure::NoAddress));
        assert_eq!(one.stats().idle_closed, 1);
    });
}

/// Keys of one address hold all slots with a stream each; a peer at another address still gets a
/// session, and keeps it however often the others return.
#[test]
fn busy_sessions_of_one_address_make_room_for_another() {
    run(async |world| {
        let mut few = options(1);
        few.max_sessions = 4;
        let one = transport(world, 1, few).await;
        let crowd = async |n| {
            let mut client = TcpOptions::default();
            client.listen = None;
            let start = TcpTransport::start(world.host(ip(2)), secret(n), [n; 32], client);
            let client = start.await.unwrap();
            let stream = greet(&client, 1).await;
            (client, stream)
        };
        let mut busy = Vec::new();
        for n in 20..24 {
            busy.push((crowd(n).await, accept(&one).await));
        }
        assert_eq!((one.stats().sessions, one.stats().streams), (4, 4));
        let newcomer = transport(world, 3, options(3)).await;
        let (mut stream, _) = greet(&newcomer, 1).await;
        let mut accepted = accept(&one).await;
        assert_eq!(accepted.peer, key(3));
        assert_eq!((one.stats().sessions, one.stats().displaced), (4, 1));
        let mut again = Vec::new();
        for n in 24..30 {
            again.push(crowd(n).await);
            // Refused, since its address has the most sessions; its stream is not accepted.
            world.host(ip(9)).sleep(SECOND).await;
            stream.write_all(b"?").await.unwrap();
            stream.flush().await.unwrap();
            accepted.stream.read_exact(&mut [0]).await.unwrap();
        }
        let stats = one.stats();
        assert_eq!((stats.sessions, stats.displaced, stats.refused), (4, 1, 6));
    });
}

#[test]
fn sessions_that_wait_for_the_loop_are_counted() {
    run(async |world| {
        let mut narrow = options(1);
        narrow.accept_queue = 1;
        let one = transport(world, 1, narrow).await;
        let two = transport(world, 2, options(2)).await;
        let _first = greet(&two, 1).await;
        let _second = greet(&two, 1).await;
        world.host(ip(9)).sleep(SECOND).await;
        assert!(one.stats().accepts_held > 0);
        for _ in 0..2 {
            assert_eq!(accept(&one).await.peer, key(2));
        }
        assert_eq!(two.stats().accepts_held, 0);
    });
}
