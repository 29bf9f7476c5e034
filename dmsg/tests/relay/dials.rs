//! Tests of how a client dials: what it retries, for how long, and what it reports.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_dmsg::client::{Client, ClientConfig, DialError};
use skydht_dmsg::discovery::{Discovery as _, FixedServers, KnownServer};
use skydht_dmsg::endpoint::StreamError;
use skydht_dmsg::entry::{ClientFields, Entry};
use skydht_dmsg::object::{ErrorCode, SignedObject};
use skydht_runtime::Runtime as _;

use crate::raw::{Raw, accepting};
use crate::world::{PORT, World, at, echoed, ip, key, secret};

/// The queue is full until the end: the dial fails with that error, at its timeout.
#[test]
fn a_destination_that_stays_overloaded_is_tried_until_the_time_is_over() {
    let world = World::new();
    let _server = world.server(1);
    let (alice, bob) = (world.client(2), world.client(3));
    let _never_accepts = bob.listen(7).unwrap();
    let queue = ClientConfig::default().accept_queue;
    let _waiting: Vec<_> = (0..queue).map(|_| world.dial(&alice, at(3, 7))).collect();
    for failed in 1..=2 {
        let before = alice.stats().redials;
        let begun = world.time.now();
        let error = world.run(alice.dial(at(3, 7))).unwrap_err();
        let full = StreamError::Refused(ErrorCode::AcceptQueueFull).to_string();
        assert!(
            matches!(&error, DialError::Timeout(last) if last.to_string() == full),
            "{error}"
        );
        let took = (world.time.now() - begun).as_secs();
        assert!((26..=30).contains(&took), "{took} s");
        // Waits double up to 2 s, and each is between a half and the whole of it.
        let redials = alice.stats().redials - before;
        assert!((18..=34).contains(&redials), "{redials}");
        let stats = alice.stats();
        assert_eq!((stats.dialled, stats.dials_failed), (queue as u64, failed));
    }
}

#[test]
fn a_dial_waits_for_a_stream_of_a_session_that_has_none_left() {
    let world = World::new();
    let _server = world.server(1);
    let bob = world.client(3);
    world.echo(bob.listen(7).unwrap());
    let mut config = ClientConfig::default();
    config.max_streams = 4;
    let alice = world.client_with(2, config);
    let mut held: Vec<_> = (0..4).map(|_| world.dial(&alice, at(3, 7))).collect();
    let runtime = world.time.runtime();
    let (dialled, ()) = world.run(join(alice.dial(at(3, 7)), async {
        runtime.sleep(Duration::from_secs(5)).await;
        held.pop();
    }));
    world
        .run(echoed(&mut dialled.unwrap(), b"at last"))
        .unwrap();
    assert!(alice.stats().redials > 3);
}

/// Each round connects to two more servers, and there are three rounds of silent failures.
#[test]
fn a_dial_connects_to_two_new_servers_a_round_and_gives_up_after_three() {
    let world = World::new();
    let mut servers: Vec<_> = (1..=9).map(|n| world.server(n)).collect();
    let mut entry = Entry::new(key(20), 1, 1);
    entry.client = Some(ClientFields {
        delegated_servers: Some((2..=9).map(key).collect()),
    });
    let published = world.discovery.publish(entry.sign(&secret(20)));
    world.run(published).unwrap();
    let mut config = ClientConfig::default();
    config.servers = vec![KnownServer {
        key: key(1),
        address: SocketAddr::new(ip(1), PORT),
    }];
    let alice = world.client_with(10, config);
    let error = world.run(alice.dial(at(20, 7))).unwrap_err();
    assert!(
        matches!(error, DialError::Stream(StreamError::Closed)),
        "{error}"
    );
    let stats = alice.stats();
    // The session that the client keeps is with one of the nine.
    assert!((6..=7).contains(&stats.sessions), "{stats:?}");
    assert_eq!(stats.redials, 2);
    servers.clear();
}

/// Answers every request of a session with the result of `answer`, or closes the stream.
fn relay(world: &World, mut session: Raw, answer: fn(&SignedObject) -> Option<SignedObject>) {
    world.time.runtime().spawn(Box::pin(async move {
        while let Some(mut stream) = session.incoming.next().await {
            let Ok(object) = session.session.read_object(&mut stream).await else {
                continue;
            };
            if let Some(answer) = answer(&object) {
                let _ = session.session.write_object(&mut stream, &answer).await;
                let _ = stream.close().await;
                let _ = stream.read(&mut [0]).await;
            }
        }
    }));
}

/// Of several routes with equally specific errors, the first one is reported. Neither a wrong
/// answer nor silence ends the dial before all routes were tried.
#[test]
fn the_first_of_several_equal_errors_is_reported() {
    for wrong_first in [true, false] {
        let world = World::new();
        let raw = [1, 2].map(|n| world.raw_server(n));
        let servers = FixedServers::new([1, 2].map(|n| KnownServer {
            key: key(n),
            address: SocketAddr::new(ip(n), PORT),
        }));
        let mut config = ClientConfig::default();
        config.min_sessions = 0;
        let alice = Client::start(world.host(3), secret(3), [3; 32], servers, config);
        let (one, two) = world.run(join(raw[0].accept(), raw[1].accept()));
        world.until("both sessions", || alice.stats().sessions == 2);
        let wrong = |object: &SignedObject| Some(accepting(4, 3, object).sign(&secret(5)));
        let silent = |_: &SignedObject| None;
        let one_is_first = alice.servers()[0] == key(1);
        let (first, second) = if one_is_first { (one, two) } else { (two, one) };
        let (of_first, of_second): (fn(&_) -> _, fn(&_) -> _) = if wrong_first {
            (wrong, silent)
        } else {
            (silent, wrong)
        };
        relay(&world, first, of_first);
        relay(&world, second, of_second);
        let error = world.run(alice.dial(at(4, 7))).unwrap_err();
        let DialError::Stream(error) = error else {
            panic!("{error}");
        };
        let is_wrong = matches!(error, StreamError::Response(_));
        assert_eq!(is_wrong, wrong_first, "{error}");
        assert_eq!(alice.stats().redials, 2);
    }
}
