use std::time::Duration;

use http::{Method, StatusCode};
use skydht_core::key::SecretKey;
use skydht_core::time::{Mono, Time, Unix, nanos};
use skydht_dmsg::discovery::{CLIENT_STALE, EXPIRING_LIFE, Limits, SERVER_LIFE};
use skydht_dmsg::entry::{ClientFields, Entry, EntryError, ServerFields, SignedEntry};

mod crowd;
mod later;

use super::*;
use crate::health::Health;
use crate::web;

const START: u64 = 1_777_000_000_000_000_000;

fn at(seconds: u64) -> Time {
    let passed = nanos(Duration::from_secs(seconds));
    Time {
        mono: Mono(passed),
        unix: Unix(START + passed),
    }
}

fn secret(n: u32) -> SecretKey {
    let mut bytes = [1; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_bytes(&bytes).unwrap()
}

fn client(n: u32, sequence: u64) -> SignedEntry {
    let secret = secret(n);
    let mut entry = Entry::new(secret.public(), sequence, 5);
    entry.client = Some(ClientFields::default());
    entry.sign(&secret)
}

fn server_with(
    n: u32,
    now: Time,
    change: impl FnOnce(&mut Entry, &mut ServerFields),
) -> SignedEntry {
    let secret = secret(n);
    let mut entry = Entry::new(secret.public(), now.mono.0, now.unix.0 as i64);
    let mut fields = ServerFields {
        address: "192.0.2.1:80".to_owned(),
        available_sessions: 9,
        ..ServerFields::default()
    };
    change(&mut entry, &mut fields);
    entry.server = Some(fields);
    entry.sign(&secret)
}

fn server(n: u32, now: Time) -> SignedEntry {
    server_with(n, now, |_, _| ())
}

/// A discovery with its clock.
struct World {
    discovery: DmsgDiscovery,
    now: Time,
}

impl World {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let health = Health::new(at(0).unix, "test");
        Self {
            discovery: DmsgDiscovery::with(Rules::default(), limits, health),
            now: at(0),
        }
    }

    fn call(&mut self, call: &Call) -> Result<Answer, AnswerError> {
        let response = self.discovery.handle(self.now, &call.write());
        Answer::read(call, &response)
    }

    fn publish(&mut self, entry: &SignedEntry) -> Result<Answer, AnswerError> {
        self.call(&Call::Publish {
            entry: entry.clone(),
            expiring: false,
        })
    }

    #[track_caller]
    fn refuses(&mut self, entry: &SignedEntry, refusal: Refusal) {
        assert_eq!(self.publish(entry), Err(refusal.into()));
    }

    /// Returns the status of the response to these bytes.
    fn post(&mut self, body: &[u8]) -> StatusCode {
        let request = web::request(Method::POST, "/dmsg-discovery/entry/", body.to_vec());
        self.discovery.handle(self.now, &request).status()
    }

    fn finds(&mut self, n: u32) -> bool {
        match self.call(&Call::Entry(secret(n).public())) {
            Ok(Answer::Entry(_)) => true,
            Err(AnswerError::Refused(Refusal::NotFound)) => false,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn calls_and_answers_survive_the_wire() {
    let mut world = World::new();
    let (entry, server) = (client(1, 0), server(2, at(0)));
    assert_eq!(world.publish(&entry), Ok(Answer::Set));
    assert_eq!(world.publish(&client(1, 1)), Ok(Answer::Updated));
    assert_eq!(world.publish(&server), Ok(Answer::Set));
    let key = secret(1).public();
    assert_eq!(
        world.call(&Call::Entry(key)),
        Ok(Answer::Entry(client(1, 1)))
    );
    assert_eq!(world.call(&Call::Clients), Ok(Answer::Keys(vec![key])));
    assert_eq!(world.call(&Call::Visors), Ok(Answer::Keys(vec![])));
    for call in [Call::AvailableServers, Call::AllServers] {
        let Ok(Answer::Servers(servers)) = world.call(&call) else {
            panic!("no servers");
        };
        assert_eq!(servers.len(), 1);
        assert_eq!(servers[0].entry().key, secret(2).public());
        assert_eq!(servers[0].verify_stored(), Ok(()));
    }
    assert_eq!(world.call(&Call::Remove(client(1, 0))), Ok(Answer::Removed));
    assert!(!world.finds(1));
    let Ok(Answer::Health(health)) = world.call(&Call::Health) else {
        panic!("no health");
    };
    assert_eq!(health, Health::new(at(0).unix, "test"));
    let stats = world.discovery.stats();
    assert_eq!((stats.set, stats.updated, stats.removed), (2, 1, 1));
    assert_eq!((stats.entries, stats.servers), (1, 1));
    assert_eq!((stats.requests, stats.not_found), (11, 1));
}

#[test]
fn every_call_is_read_as_it_is_written() {
    let calls = [
        Call::Entry(secret(1).public()),
        Call::Publish {
            entry: client(1, 1),
            expiring: false,
        },
        Call::Publish {
            entry: client(1, 1),
            expiring: true,
        },
        Call::Remove(client(1, 1)),
        Call::Clients,
        Call::Visors,
        Call::AvailableServers,
        Call::AllServers,
        Call::Batch(vec![secret(2).public(), secret(1).public()]),
        Call::ClientsByServer,
        Call::ClientsOf(secret(1).public()),
        Call::Health,
    ];
    for call in calls {
        assert_eq!(Call::read(&call.write()), Ok(call));
    }
}

#[test]
fn malformed_entries_are_refused() {
    let mut world = World::new();
    let good = client(1, 0);
    let text = String::from_utf8(good.json().to_vec()).unwrap();
    for body in [
        "".to_owned(),
        "{".to_owned(),
        "[]".to_owned(),
        format!("{text}{text}"),
        text.replace("\"sequence\":0", "\"sequence\":-1"),
        text.replace("\"sequence\":0", "\"sequence\":18446744073709551616"),
        text.replace("\"static\":\"0", "\"static\":\"9"),
        "[".repeat(60_000),
    ] {
        assert_eq!(world.post(body.as_bytes()), 500, "{body:.100}");
    }
    assert_eq!(world.discovery.stats().malformed, 8);
    assert_eq!(world.post(&[0xff, 0xfe]), 500);
}

#[test]
fn an_entry_of_64_kib_is_read_and_a_longer_one_is_not() {
    let mut world = World::new();
    let mut text = client(1, 0).json().to_vec();
    text.resize(MAX_REQUEST, b' ');
    assert_eq!(world.post(&text), 200);
    text.push(b' ');
    assert_eq!(world.post(&text), 413);
    assert_eq!(world.discovery.stats().too_long, 1);
}

#[test]
fn a_servers_entry_of_4_kib_is_taken_and_a_longer_one_is_not() {
    let mut world = World::new();
    let with = |length: usize| {
        server_with(1, at(0), |_, fields| {
            fields.address = format!("{}:80", "a".repeat(length));
        })
    };
    let room = MAX_SERVER_ENTRY - with(0).json().len();
    assert_eq!(with(room).json().len(), MAX_SERVER_ENTRY);
    assert_eq!(world.publish(&with(room)), Ok(Answer::Set));
    world.refuses(&with(room + 1), Refusal::TooLong);
}

#[test]
fn forged_and_unsigned_entries_are_refused() {
    let mut world = World::new();
    let text = String::from_utf8(client(1, 0).json().to_vec()).unwrap();
    let forged = text.replace("\"sequence\":0", "\"sequence\":1");
    assert_eq!(world.post(forged.as_bytes()), 401);
    let other = secret(2).public().to_string();
    let stolen = text.replace(&secret(1).public().to_string(), &other);
    assert_eq!(world.post(stolen.as_bytes()), 401);
    let (head, _) = text.split_once(",\"signature\"").unwrap();
    assert_eq!(world.post(format!("{head}}}").as_bytes()), 422);
    assert_eq!(
        world.post(format!("{head},\"signature\":\"00\"}}").as_bytes()),
        401
    );
    let of_no_key = text.replace(&secret(1).public().to_string(), &"0".repeat(66));
    assert_eq!(world.post(of_no_key.as_bytes()), 422);
    let forged = SignedEntry::from_json(forged.as_bytes()).unwrap();
    let removed = world.call(&Call::Remove(forged));
    assert_eq!(removed, Err(Refusal::Unauthorized.into()));
    let stats = world.discovery.stats();
    assert_eq!(
        (stats.unauthorized, stats.invalid, stats.entries),
        (4, 2, 0)
    );
}

#[test]
fn rules_of_entries_are_checked_in_upstreams_order() {
    let mut world = World::new();
    let broken = server_with(1, at(600), |entry, fields| {
        entry.version.clear();
        fields.address = "localhost:80".to_owned();
    });
    world.refuses(&broken, Refusal::Invalid(EntryError::LoopbackAddress));
    for address in ["127.0.0.1:80", "[::1]:80", ":80"] {
        let local = server_with(1, at(0), |_, fields| fields.address = address.to_owned());
        world.refuses(&local, Refusal::Invalid(EntryError::LoopbackAddress));
    }
    let broken = server_with(1, at(600), |entry, _| entry.version.clear());
    world.refuses(&broken, Refusal::Invalid(EntryError::NoVersion));
    world.refuses(&server(1, at(6)), Refusal::Invalid(EntryError::Outdated));
    assert_eq!(world.publish(&server(1, at(5))), Ok(Answer::Set));
    world.now = at(60);
    assert_eq!(world.publish(&server(2, at(0))), Ok(Answer::Set));
    world.now = at(61);
    world.refuses(&server(3, at(0)), Refusal::Invalid(EntryError::Outdated));
    let nowhere = server_with(1, at(61), |_, fields| fields.address.clear());
    world.refuses(&nowhere, Refusal::Invalid(EntryError::NoAddress));
    assert_eq!(world.publish(&client(4, 7)), Ok(Answer::Set));
    world.refuses(&client(4, 7), Refusal::Invalid(EntryError::Sequence));
}

#[test]
fn servers_are_official_only_with_the_passphrase_and_it_is_never_shown() {
    let rules = Rules {
        allow_loopback: true,
        passphrase: "open sesame".to_owned(),
    };
    assert!(!format!("{rules:?}").contains("sesame"));
    let mut discovery = DmsgDiscovery::new(rules, at(0));
    for (n, said, kind) in [
        (1, "open sesame", "official"),
        (2, "", "community"),
        (3, "official", "community"),
    ] {
        let entry = server_with(n, at(0), |_, fields| {
            fields.server_type = said.to_owned();
            fields.address = "127.0.0.1:80".to_owned();
        });
        let publish = Call::Publish {
            entry,
            expiring: false,
        };
        assert_eq!(discovery.handle(at(0), &publish.write()).status(), 200);
        let ask = Call::Entry(secret(n).public());
        let response = discovery.handle(at(0), &ask.write());
        let Ok(Answer::Entry(stored)) = Answer::read(&ask, &response) else {
            panic!("no entry");
        };
        let server = stored.entry().server.as_ref().unwrap();
        assert_eq!(server.server_type, kind, "{said}");
    }
}

#[test]
fn servers_expire_after_two_minutes_and_clients_only_if_they_said_so() {
    let mut world = World::new();
    world.publish(&client(1, 0)).unwrap();
    world.publish(&server(2, at(0))).unwrap();
    let expiring = Call::Publish {
        entry: client(3, 0),
        expiring: true,
    };
    world.call(&expiring).unwrap();
    world.now.mono = Mono(nanos(SERVER_LIFE) - 1);
    assert!(world.finds(2));
    world.now.mono = Mono(nanos(SERVER_LIFE));
    assert!(!world.finds(2) && world.finds(3));
    let none = world.call(&Call::AllServers);
    assert_eq!(none, Err(Refusal::NoServers.into()));
    world.now.mono = Mono(nanos(EXPIRING_LIFE));
    assert!(world.finds(1) && !world.finds(3));
    assert_eq!(world.discovery.stats().expired, 2);
    // An update extends the entry's lifetime; a step of the wall clock does not.
    world.now = at(200);
    world.publish(&server(2, at(200))).unwrap();
    world.now = at(260);
    world.publish(&server(2, at(260))).unwrap();
    world.now = at(379);
    world.now.unix = Unix(START);
    assert!(world.finds(2));
    // After the expiry, any sequence number is accepted as the first one.
    world.now = at(500);
    assert_eq!(
        world.publish(&server_with(2, at(500), |entry, _| entry.sequence = 0)),
        Ok(Answer::Set)
    );
}

#[test]
fn at_the_limit_silent_clients_make_room_and_others_do_not() {
    let limits = Limits {
        entries: 3,
        servers: 1,
        bytes: 1 << 20,
    };
    let mut world = World::with(limits);
    world.publish(&server(9, at(0))).unwrap();
    world.refuses(&server(8, at(0)), Refusal::Full);
    assert_eq!(world.publish(&server(9, at(1))), Ok(Answer::Updated));
    world.publish(&client(1, 0)).unwrap();
    world.publish(&client(2, 0)).unwrap();
    world.refuses(&client(3, 0), Refusal::Full);
    assert_eq!(world.discovery.stats().full, 2);
    world.now = at(100);
    world.publish(&client(1, 1)).unwrap();
    world.now.mono = Mono(0).plus(CLIENT_STALE);
    assert_eq!(world.publish(&client(3, 0)), Ok(Answer::Set));
    // The server has expired.
    assert!(world.finds(1) && world.finds(2) && world.finds(3));
    assert_eq!(world.publish(&client(4, 0)), Ok(Answer::Set));
    assert!(world.finds(1) && !world.finds(2) && world.finds(3));
    world.refuses(&client(5, 0), Refusal::Full);
    assert_eq!(world.discovery.stats().displaced, 1);
}

#[test]
fn the_limit_of_bytes_holds_for_first_entries_and_for_longer_ones() {
    let length = client(1, 0).json().len();
    let limits = Limits {
        bytes: 2 * length,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    world.publish(&client(1, 0)).unwrap();
    world.publish(&client(2, 0)).unwrap();
    world.refuses(&client(3, 0), Refusal::Full);
    world.refuses(&client(1, 10), Refusal::Full);
    assert_eq!(world.publish(&client(1, 1)), Ok(Answer::Updated));
    assert_eq!(world.discovery.stats().bytes, 2 * length);
    world.now = at(1000);
    // A writer's own entry is not removed to make room for its update.
    assert_eq!(world.publish(&client(1, 10)), Ok(Answer::Updated));
    assert!(world.finds(1) && !world.finds(2));
    assert_eq!(world.discovery.stats().bytes, length + 1);
}

#[test]
fn available_servers_are_the_roomiest_of_512_and_others_the_next_time() {
    let mut world = World::new();
    for n in 0..600 {
        let entry = server_with(n, at(0), |_, fields| {
            fields.available_sessions = if n < 20 { 0 } else { i64::from(n) };
        });
        world.publish(&entry).unwrap();
    }
    let mut ask = || {
        let Ok(Answer::Servers(servers)) = world.call(&Call::AvailableServers) else {
            panic!("no servers");
        };
        let sessions =
            |signed: &SignedEntry| signed.entry().server.as_ref().unwrap().available_sessions;
        assert!(servers.is_sorted_by_key(|signed| -sessions(signed)));
        assert!(servers.iter().all(|signed| sessions(signed) > 0));
        let keys = servers.iter().map(|signed| signed.entry().key);
        keys.collect::<std::collections::BTreeSet<_>>()
    };
    let (first, second) = (ask(), ask());
    assert_eq!((first.len(), second.len()), (512, 512));
    assert_eq!(first.union(&second).count(), 580);
}

#[test]
fn unknown_paths_and_methods_are_answered_as_upstreams_router_does() {
    let mut world = World::new();
    let mut status = |method: Method, path: &str| {
        let request = web::request(method, path, Vec::new());
        world.discovery.handle(at(0), &request).status().as_u16()
    };
    for path in [
        "/",
        "/entry/",
        "/dmsg-discovery",
        "/dmsg-discovery/",
        "/dmsg-discovery/entry/a/b",
    ] {
        assert_eq!(status(Method::GET, path), 404, "{path}");
    }
    for (method, path) in [
        (Method::GET, "/dmsg-discovery/entry"),
        (Method::GET, "/dmsg-discovery/entry/"),
        (Method::PUT, "/dmsg-discovery/entry/"),
        (Method::DELETE, "/dmsg-discovery/entry/x"),
        (Method::POST, "/dmsg-discovery/entries"),
        (Method::POST, "/health"),
        (Method::GET, "/dmsg-discovery/deregister/visor"),
    ] {
        assert_eq!(status(method, path), 405, "{path}");
    }
    for key in ["zz", "02", &"0".repeat(66), &"02".repeat(34)] {
        let path = format!("/dmsg-discovery/entry/{key}");
        assert_eq!(status(Method::GET, &path), 400, "{key}");
    }
    for path in [
        "/dmsg-discovery/deregister",
        "/dmsg-discovery/deregister/visor",
    ] {
        assert_eq!(status(Method::DELETE, path), 403, "{path}");
    }
}

#[test]
fn a_server_that_is_not_a_discovery_is_reported_by_its_status() {
    for (status, body, part) in [
        (StatusCode::SERVICE_UNAVAILABLE, "", "HTTP 503"),
        (StatusCode::BAD_GATEWAY, "<html>", "HTTP 502"),
        (StatusCode::OK, "<html>", "something else at this address"),
        (StatusCode::OK, "", "something else at this address"),
    ] {
        let mut response = web::empty(status);
        *response.body_mut() = body.as_bytes().to_vec();
        for call in [Call::AvailableServers, Call::Health] {
            let said = Answer::read(&call, &response).unwrap_err().to_string();
            assert!(said.contains(part) && !said.contains("column"), "{said}");
        }
    }
}
