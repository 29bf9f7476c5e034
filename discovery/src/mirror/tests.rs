use std::collections::BTreeMap;
use std::time::Duration;

use skydht_core::item::Salt;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::time::{Mono, Time, Unix};
use skydht_dmsg::entry::{ClientFields, Entry};

use super::*;
use crate::auth::Nonces;
use crate::dmsg::{Caller, DmsgDiscovery};
use crate::host::Host;
use crate::publish::{Content, RecordId};
use crate::record::{Record, Service, ServiceAddress, ServiceKind, Transport, read};
use crate::resolver::{self, AddressResolver};
use crate::service::ServiceDiscovery;
use crate::transport::{self, Limits, Rules, TransportDiscovery};
use crate::web::{self, Request, Response};

const START: Unix = Unix(1_790_000_000_000_000_000);
const INTERVAL: Duration = Duration::from_secs(20);

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

/// Returns a response that replaces the service's, if any.
type Fault = fn(&Request) -> Option<Result<Response, String>>;

/// Real services, with faults between them and the follower.
struct World {
    dmsg: DmsgDiscovery,
    transports: TransportDiscovery,
    services: ServiceDiscovery,
    nonces: Nonces,
    now: Mono,
    /// Replaces responses.
    fault: Fault,
    asked: Vec<String>,
}

fn unhurried(lists_all: bool) -> TransportDiscovery {
    let pace = (Duration::ZERO, 1);
    TransportDiscovery::new(Rules { lists_all, pace }, Limits::default())
}

impl World {
    fn new(lists_all: bool) -> Self {
        let now = Mono(1);
        let time = Time {
            mono: now,
            unix: START,
        };
        Self {
            dmsg: DmsgDiscovery::new(crate::dmsg::Rules::default(), time),
            transports: unhurried(lists_all),
            services: ServiceDiscovery::default(),
            nonces: Nonces::new(10),
            now,
            fault: |_| None,
            asked: Vec::new(),
        }
    }

    fn time(&self) -> Time {
        Time {
            mono: self.now,
            unix: START.plus(self.now.since(Mono(1))),
        }
    }

    fn handle(&mut self, caller: Caller, request: &Request) -> Response {
        let (time, nonces) = (self.time(), &mut self.nonces);
        let path = request.uri().path();
        if TransportDiscovery::has_path(path) {
            self.transports.handle(time.mono, nonces, caller, request)
        } else if ServiceDiscovery::has_path(path) {
            self.services.handle(time.mono, nonces, caller, request)
        } else {
            self.dmsg.handle_from(time, caller, request)
        }
    }

    fn register(&mut self, n: u8, list: &[Transport]) {
        let call = crate::transport::Call::RegisterBare(list.to_vec());
        let response = self.handle(Caller::Key(key(n)), &call.write());
        assert_eq!(response.status(), 201);
    }

    fn post_entry(&mut self, n: u8, sequence: u64) {
        self.post_entry_at(n, sequence, 99);
    }

    /// Stores an entry of a client that names one server.
    fn post_entry_at(&mut self, n: u8, sequence: u64, server: u8) {
        let timestamp = i64::try_from(self.time().unix.0).unwrap();
        let mut entry = Entry::new(key(n), sequence, timestamp);
        entry.client = Some(ClientFields {
            delegated_servers: Some(vec![key(server)]),
        });
        entry.client_type = "visor".into();
        let call = crate::dmsg::Call::Publish {
            entry: entry.sign(&secret(n)),
            expiring: false,
        };
        let response = self.handle(Caller::Unknown, &call.write());
        assert_eq!(response.status(), 200, "{response:?}");
    }

    /// Sends all requests that are due, and returns the changes.
    fn round(&mut self, follower: &mut Follower) -> BTreeMap<RecordId, Content> {
        loop {
            let mut asks = Vec::new();
            while let Some(ask) = follower.poll_output(self.now) {
                asks.push(ask);
            }
            if asks.is_empty() {
                break;
            }
            // The responses arrive in reverse order.
            while let Some(Ask { id, request }) = asks.pop() {
                let path = request.uri().path();
                self.asked.push(format!("{} {path}", request.method()));
                let answer = (self.fault)(&request);
                let answer = answer.unwrap_or_else(|| Ok(self.handle(Caller::Unknown, &request)));
                follower.handle(self.now, id, answer);
            }
        }
        follower.take_changes().into_iter().collect()
    }

    /// Runs the next round when it is due.
    fn next(&mut self, follower: &mut Follower) -> BTreeMap<RecordId, Content> {
        let due = follower.next_deadline().expect("nothing is under way");
        self.now = self.now.max(due);
        self.round(follower)
    }
}

fn id(n: u8, salt: &str) -> RecordId {
    RecordId {
        owner: key(n),
        salt: Salt::from(salt),
    }
}

fn between(a: u8, b: u8) -> Transport {
    Transport::new(key(a), key(b), "stcpr", "automatic")
}

/// Returns the transports that a reader of the DHT finds in a list.
fn transports_of(n: u8, content: &Content) -> Vec<Transport> {
    let Content::List(value) = content else {
        panic!("{content:?}")
    };
    match read(b"tp", &key(n), value).unwrap() {
        Record::Transports(it) => it.list.into_iter().map(|it| it.transport).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_entry_is_mirrored_as_it_was_signed_and_again_when_it_changes() {
    let mut world = World::new(true);
    for n in 1..=5 {
        world.post_entry(n, 0);
    }
    let mut follower = Follower::new(Followed::Entries, INTERVAL, world.now);
    let changes = world.round(&mut follower);
    assert_eq!(changes.len(), 5);
    let Record::Entry(entry) = read(b"dmsg", &key(3), changes[&id(3, "dmsg")].bytes()).unwrap()
    else {
        panic!()
    };
    assert_eq!(entry.entry().key, key(3));
    assert_eq!(world.next(&mut follower), BTreeMap::new());
    world.post_entry_at(2, 1, 98);
    let changes = world.next(&mut follower);
    assert_eq!(changes.keys().cloned().collect::<Vec<_>>(), [id(2, "dmsg")]);
    assert_eq!(follower.keys().len(), 5);
    assert_eq!((follower.stats().rounds, follower.stats().records), (3, 5));
    // Entries that are only signed again are published again after a while.
    let begin = world.now;
    let (mut sequence, mut published) = (0, Vec::new());
    while published.is_empty() {
        sequence += 1;
        world.post_entry(3, sequence);
        published.extend(world.next(&mut follower).into_keys());
    }
    assert_eq!(published, [id(3, "dmsg")]);
    assert!(world.now.since(begin) >= REFRESH - INTERVAL * 3);
}

#[test]
fn a_discovery_without_batches_is_asked_for_each_entry() {
    let mut world = World::new(true);
    for n in 1..=20 {
        world.post_entry(n, 0);
    }
    world.fault = |request| {
        let is_batch = request.uri().path().ends_with("/batch");
        is_batch.then(|| Ok(web::no_such_path()))
    };
    let mut follower = Follower::new(Followed::Entries, INTERVAL, world.now);
    assert_eq!(world.round(&mut follower).len(), 20);
    world.asked.clear();
    world.next(&mut follower);
    // Batches are not tried again.
    assert_eq!(world.asked.len(), 22);
    assert!(world.asked.iter().all(|it| !it.ends_with("/batch")));
}

#[test]
fn a_transport_is_in_the_lists_of_both_edges_and_leaves_exactly_these() {
    for lists_all in [true, false] {
        let mut world = World::new(lists_all);
        world.register(1, &[between(1, 2), between(1, 3), between(1, 4)]);
        world.register(5, &[between(5, 6)]);
        let mut follower = Follower::new(Followed::Transports, INTERVAL, world.now);
        follower.set_edges((1..=6).map(key).collect());
        let changes = world.round(&mut follower);
        assert_eq!(changes.len(), 6, "{changes:?}");
        assert_eq!(transports_of(1, &changes[&id(1, "tp")]).len(), 3);
        assert_eq!(transports_of(4, &changes[&id(4, "tp")]), [between(1, 4)]);
        assert_eq!(world.next(&mut follower), BTreeMap::new());
        let call = crate::transport::Call::Delete(between(1, 4).id);
        world.handle(Caller::Key(key(4)), &call.write());
        let changes = world.next(&mut follower);
        // The other edge has no transport left, which takes effect after a while.
        assert_eq!(changes.keys().cloned().collect::<Vec<_>>(), [id(1, "tp")]);
        assert_eq!(transports_of(1, &changes[&id(1, "tp")]).len(), 2);
        let mut gone = BTreeMap::new();
        let before = world.now;
        while gone.is_empty() {
            world.register(1, &[between(1, 2), between(1, 3)]);
            world.register(5, &[between(5, 6)]);
            gone = world.next(&mut follower);
        }
        assert_eq!(gone, BTreeMap::from([(id(4, "tp"), Content::Gone)]));
        assert!(world.now.since(before) >= ABSENT);
        assert_eq!(follower.stats().gone, 1);
    }
}

#[test]
fn services_are_mirrored_by_their_owners() {
    let mut world = World::new(true);
    for (n, kind) in [
        (1, ServiceKind::Visor),
        (1, ServiceKind::Vpn),
        (2, ServiceKind::Skysocks),
    ] {
        let address = ServiceAddress {
            key: Some(key(n)),
            port: 44,
        };
        let mut service = Service::new(address, &kind);
        service.version = "v1".into();
        let call = crate::service::Call::Register(Box::new(service));
        let response = world.handle(Caller::Key(key(n)), &call.write());
        assert_eq!(response.status(), 200);
    }
    let mut follower = Follower::new(Followed::Services, INTERVAL, world.now);
    let changes = world.round(&mut follower);
    assert_eq!(changes.len(), 2);
    let Record::Services(services) = read(b"svc", &key(1), changes[&id(1, "svc")].bytes()).unwrap()
    else {
        panic!()
    };
    assert_eq!(services.list.len(), 2);
}

/// Responses of a broken service.
const FAULTS: [Fault; 7] = [
    |_| Some(Err("connection refused".into())),
    |_| Some(Ok(web::empty(http::StatusCode::INTERNAL_SERVER_ERROR))),
    |_| Some(Ok(web::json_text(http::StatusCode::OK, b"<html>".to_vec()))),
    |_| {
        Some(Ok(web::json_text(
            http::StatusCode::OK,
            b"{\"a\":1}".to_vec(),
        )))
    },
    |_| Some(Ok(web::empty(http::StatusCode::FOUND))),
    |_| Some(Ok(web::json_text(http::StatusCode::OK, Vec::new()))),
    |_| Some(Ok(web::empty(http::StatusCode::UNAUTHORIZED))),
];

#[test]
fn a_service_that_vanishes_or_answers_with_garbage_takes_nothing_away() {
    for followed in [Followed::Entries, Followed::Transports, Followed::Services] {
        for fault in FAULTS {
            let mut world = World::new(true);
            world.post_entry(1, 0);
            world.register(1, &[between(1, 2)]);
            let address = ServiceAddress {
                key: Some(key(1)),
                port: 44,
            };
            let service = Service::new(address, &ServiceKind::Visor);
            let call = crate::service::Call::Register(Box::new(service));
            world.handle(Caller::Key(key(1)), &call.write());
            let mut follower = Follower::new(followed, INTERVAL, world.now);
            let records = world.round(&mut follower).len();
            assert!(records > 0);
            world.fault = fault;
            let begin = world.now;
            let mut rounds = 0;
            while world.now.since(begin) < Duration::from_secs(3600) {
                assert_eq!(world.next(&mut follower), BTreeMap::new());
                rounds += 1;
            }
            assert!((10..30).contains(&rounds), "{rounds}");
            let stats = follower.stats();
            assert_eq!((stats.records, stats.gone), (records, 0));
            assert!(stats.failed_rounds >= 10 && stats.error.is_some());
            // The service is back with the same data, so that nothing has changed.
            world.fault = |_| None;
            world.post_entry(1, 1);
            world.register(1, &[between(1, 2)]);
            world.handle(Caller::Key(key(1)), &call.write());
            world.next(&mut follower);
            assert_eq!(follower.stats().error, None);
            assert_eq!(follower.stats().records, records);
        }
    }
}

#[test]
fn a_service_that_lost_its_memory_takes_nothing_away_until_it_had_time() {
    let mut world = World::new(true);
    world.register(1, &[between(1, 2)]);
    let mut follower = Follower::new(Followed::Transports, INTERVAL, world.now);
    world.round(&mut follower);
    world.transports = unhurried(true);
    for _ in 0..5 {
        assert_eq!(world.next(&mut follower), BTreeMap::new());
    }
    world.register(1, &[between(1, 2)]);
    for _ in 0..3 {
        assert_eq!(world.next(&mut follower), BTreeMap::new());
    }
    assert_eq!(follower.stats().records, 2);
}

#[test]
fn forged_entries_are_not_mirrored() {
    let mut world = World::new(true);
    world.post_entry(1, 0);
    world.fault = |request| {
        let (good, bad) = (key(1), key(2));
        let path = request.uri().path();
        let text = if path.ends_with("/entries") {
            format!("[\"{bad}\",\"{good}\"]")
        } else if path.ends_with("/batch") {
            // An entry under the wrong key, and one with another key's signature.
            let entry = Entry::new(good, 0, 1).sign(&secret(1));
            let entry = String::from_utf8(entry.json().to_vec()).unwrap();
            let forged = entry.replace(&good.to_string(), &bad.to_string());
            format!("{{\"{bad}\":{forged},\"{good}\":{forged}}}")
        } else {
            return None;
        };
        Some(Ok(web::json_text(http::StatusCode::OK, text.into_bytes())))
    };
    let mut follower = Follower::new(Followed::Entries, INTERVAL, world.now);
    assert_eq!(world.round(&mut follower), BTreeMap::new());
    assert!(follower.stats().rejected > 0);
    assert_eq!(follower.stats().records, 0);
}

#[test]
fn a_requested_pause_is_kept_and_the_round_continues() {
    let mut world = World::new(true);
    world.transports = TransportDiscovery::default();
    world.register(1, &[between(1, 2)]);
    world.fault = |_| {
        let refusal = crate::transport::Refusal::TooOften(Duration::from_secs(7));
        Some(Ok(refusal.write()))
    };
    let mut follower = Follower::new(Followed::Transports, INTERVAL, world.now);
    assert_eq!(world.round(&mut follower), BTreeMap::new());
    assert_eq!(
        follower.next_deadline().unwrap().since(world.now).as_secs(),
        7
    );
    world.fault = |_| None;
    assert_eq!(world.next(&mut follower).len(), 2);
    assert_eq!(follower.stats().failed_rounds, 0);
}

fn host() -> Host {
    let time = Time {
        mono: Mono(1),
        unix: START,
    };
    let mut host = Host::new(DmsgDiscovery::new(crate::dmsg::Rules::default(), time));
    host.transports = Some(unhurried(true));
    host.services = Some(ServiceDiscovery::default());
    host.addresses = Some(AddressResolver::new(resolver::Limits {
        allow_private: true,
        ..resolver::Limits::default()
    }));
    host
}

/// Sends a request to a host over DMSG.
fn call(host: &mut Host, mono: Mono, n: u8, request: &Request) -> u16 {
    let unix = START.plus(mono.since(Mono(1)));
    let time = Time { mono, unix };
    let response = host.handle(time, Caller::Key(key(n)), request);
    response.status().as_u16()
}

#[test]
fn what_is_registered_in_this_process_is_passed_on_and_what_expires_there_goes() {
    let mut host = host();
    let mut feed = Feed::new(&mut host);
    let now = Mono(1);
    let register = |list: &[Transport]| transport::Call::RegisterBare(list.to_vec()).write();
    assert_eq!(call(&mut host, now, 1, &register(&[between(1, 2)])), 201);
    let address = ServiceAddress {
        key: Some(key(1)),
        port: 44,
    };
    let service = Service::new(address, &ServiceKind::Visor);
    let sent = crate::service::Call::Register(Box::new(service)).write();
    assert_eq!(call(&mut host, now, 1, &sent), 200);
    let body = br#"{"port":"7777","addresses":[],"public_ip":"127.0.0.1"}"#;
    let sent = web::request(http::Method::POST, "/bind/stcpr", body.to_vec());
    assert_eq!(call(&mut host, now, 1, &sent), 200);
    let timestamp = i64::try_from(START.0).unwrap();
    let mut entry = Entry::new(key(1), 0, timestamp);
    entry.client = Some(ClientFields {
        delegated_servers: Some(vec![key(99)]),
    });
    let entry = entry.sign(&secret(1));
    let sent = crate::dmsg::Call::Publish {
        entry,
        expiring: false,
    };
    assert_eq!(call(&mut host, now, 1, &sent.write()), 200);
    let changes: BTreeMap<_, _> = feed.take_changes(now, &mut host).into_iter().collect();
    let expected = [
        id(1, "dmsg"),
        id(1, "tp"),
        id(2, "tp"),
        id(1, "svc"),
        id(1, "addr:stcpr"),
    ];
    assert_eq!(changes.len(), expected.len());
    for id in &expected {
        // A reader of the DHT accepts each of them.
        let value = changes[id].bytes();
        read(id.salt.as_bytes(), &id.owner, value).unwrap();
    }
    assert_eq!(feed.take_changes(now, &mut host), []);
    // Two hours later, everything has expired.
    let later = now.plus(Duration::from_secs(7200));
    let gone: BTreeMap<_, _> = feed.take_changes(later, &mut host).into_iter().collect();
    assert_eq!(gone.len(), expected.len());
    assert!(gone.values().all(|content| *content == Content::Gone));
    assert_eq!(feed.records(), 0);
}

/// R12 of the lessons: repeated registrations without a change cause no further work.
#[test]
fn r12_of_many_registrations_only_what_changed_is_passed_on() {
    let mut host = host();
    let mut feed = Feed::new(&mut host);
    let secrets: Vec<SecretKey> = (0..200u16)
        .map(|n| {
            let mut entropy = [3; 32];
            entropy[..2].copy_from_slice(&n.to_be_bytes());
            SecretKey::from_entropy(&entropy)
        })
        .collect();
    let list_of = |n: usize, kind: &str| {
        let (own, next) = (&secrets[n], &secrets[(n + 1) % secrets.len()]);
        vec![Transport::new(own.public(), next.public(), kind, "user")]
    };
    let mut now = Mono(1);
    let mut passed_on = Vec::new();
    for round in 0..10 {
        for (n, secret) in secrets.iter().enumerate() {
            // One visor in a hundred changes the type of a transport each time.
            let kind = match n % 100 == 7 && round > 0 {
                true => format!("type{round}"),
                false => "stcpr".to_owned(),
            };
            let call = transport::Call::RegisterBare(list_of(n, &kind));
            let caller = Caller::Key(secret.public());
            let time = Time {
                mono: now,
                unix: START,
            };
            let response = host.handle(time, caller, &call.write());
            assert_eq!(response.status(), 201);
        }
        now = now.plus(Duration::from_secs(9));
        passed_on.push(feed.take_changes(now, &mut host).len());
    }
    // Each of these transports has two edges.
    assert_eq!(passed_on[0], 200);
    assert_eq!(passed_on[1..], [4; 9]);
}
