//! All discovery services behind one address under requests of any kind, and the records that they
//! pass on.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use http::{Method, Request};
use skydht_core::key::SecretKey;
use skydht_core::time::{Mono, Time, Unix};
use skydht_discovery::dmsg::{Caller, DmsgDiscovery, Rules};
use skydht_discovery::gateway::Wanted;
use skydht_discovery::mirror::Feed;
use skydht_discovery::publish::{Content, RecordId};
use skydht_discovery::record::{Transport, TransportId, read};
use skydht_discovery::resolver::{self, AddressResolver};
use skydht_discovery::service::ServiceDiscovery;
use skydht_discovery::transport::{self, Answer, Call, Limits, TransportDiscovery};
use skydht_discovery::{Host, web};

use crate::cursor::Cursor;

const MOST_STEPS: usize = 48;
const START: Unix = Unix(1_790_000_000_000_000_000);
const PATHS: [&str; 12] = [
    "/transports/",
    "/v3/transports/",
    "/transports/edges",
    "/transports/delete-batch",
    "/all-transports",
    "/v4/update",
    "/bind/stcpr",
    "/resolve/stcpr/",
    "/api/services",
    "/dmsg-discovery/entry/",
    "/dmsg-discovery/entries/batch",
    "/security/nonces/",
];

static SECRETS: LazyLock<[SecretKey; 4]> =
    LazyLock::new(|| std::array::from_fn(|n| SecretKey::from_entropy(&[n as u8 + 1; 32])));

struct World {
    host: Host,
    feed: Feed,
    now: Mono,
    /// Records that a reader of the DHT would find.
    published: BTreeMap<RecordId, Vec<u8>>,
}

/// Input: steps with requests by four keys: registrations and deletions of transports, raw bytes at
/// any path, and passing time.
///
/// - Every request gets an answer, and every answer to a call can be read or is a refusal.
/// - Records that are passed on can be read back under their salt and owner.
/// - At the end, the lists of transports passed on are those of the discovery.
pub fn host(data: &[u8]) {
    let mut input = Cursor::new(data);
    let time = Time {
        mono: Mono(1),
        unix: START,
    };
    let mut host = Host::new(DmsgDiscovery::new(Rules::default(), time));
    let rules = transport::Rules {
        lists_all: true,
        pace: (Duration::ZERO, 1),
    };
    let limits = Limits {
        transports: 1 + usize::from(input.byte() % 8),
        of_key: 1 + usize::from(input.byte() % 4),
    };
    host.transports = Some(TransportDiscovery::new(rules, limits));
    host.services = Some(ServiceDiscovery::default());
    host.addresses = Some(AddressResolver::new(resolver::Limits {
        bindings: 3,
        allow_private: true,
    }));
    let feed = Feed::new(&mut host);
    let mut world = World {
        host,
        feed,
        now: Mono(1),
        published: BTreeMap::new(),
    };
    for _ in 0..MOST_STEPS {
        let Some(step) = input.next() else {
            break;
        };
        world.step(step, &mut input);
    }
    world.pass_on();
    world.compare();
}

impl World {
    fn handle(&mut self, caller: Caller, request: &web::Request) -> web::Response {
        let time = Time {
            mono: self.now,
            unix: START.plus(self.now.since(Mono(1))),
        };
        let response = self.host.handle(time, caller, request);
        assert!(response.status().as_u16() < 600);
        // The lookup that replaces the request names a record with a valid salt.
        if let Some(wanted) = Wanted::instead_of(request, &response) {
            assert!(!wanted.record().salt.as_bytes().is_empty());
            let _ = wanted.answer(request, response.body());
        }
        response
    }

    fn step(&mut self, step: u8, input: &mut Cursor<'_>) {
        let who = usize::from(input.byte() % 4);
        let key = SECRETS[who].public();
        let caller = Caller::Key(key);
        match step % 6 {
            0 => self.now = self.now.plus(Duration::from_secs(input.byte().into())),
            1 => self.pass_on(),
            2 | 3 => {
                let list: Vec<Transport> = (0..input.byte() % 4)
                    .map(|_| {
                        let other = SECRETS[usize::from(input.byte() % 4)].public();
                        let kind = ["stcpr", "dmsg", "sudph"][usize::from(input.byte() % 3)];
                        let from = SECRETS[usize::from(input.byte() % 4)].public();
                        Transport::new(from, other, kind, "user")
                    })
                    .collect();
                let call = match step % 6 {
                    2 => Call::RegisterBare(list),
                    _ => Call::DeleteBatch(list.iter().map(|it| it.id).collect()),
                };
                let response = self.handle(caller, &call.write());
                if let Ok(Answer::List(taken)) = Answer::read(&call, &response) {
                    assert!(taken.iter().all(|it| it.edges.contains(&key)));
                }
            }
            4 => {
                let call = Call::OfEdge(key);
                let response = self.handle(Caller::Unknown, &call.write());
                let Ok(Answer::List(list)) = Answer::read(&call, &response) else {
                    panic!("no list: {response:?}")
                };
                assert!(list.iter().all(|it| it.edges.contains(&key)));
            }
            _ => {
                let path = PATHS[usize::from(input.byte()) % PATHS.len()];
                let tail = String::from_utf8_lossy(input.short()).into_owned();
                let body = input.short().to_vec();
                let method = [Method::GET, Method::POST, Method::DELETE][who % 3].clone();
                let request = Request::builder()
                    .method(method)
                    .uri(format!("{path}{tail}"));
                if let Ok(request) = request.body(body) {
                    self.handle(caller, &request);
                }
            }
        }
    }

    fn pass_on(&mut self) {
        for (id, content) in self.feed.take_changes(self.now, &mut self.host) {
            match content {
                Content::Gone => drop(self.published.remove(&id)),
                Content::Value(value) | Content::List(value) => {
                    read(id.salt.as_bytes(), &id.owner, &value).expect("a record");
                    self.published.insert(id, value);
                }
            }
        }
    }

    fn compare(&mut self) {
        for secret in SECRETS.iter() {
            let edge = secret.public();
            let call = Call::OfEdge(edge);
            let response = self.handle(Caller::Unknown, &call.write());
            let here = ids(&call, &response);
            let record = self
                .published
                .iter()
                .find(|(id, _)| id.owner == edge && id.salt.as_bytes() == b"tp");
            let there = record.map_or_else(Vec::new, |(_, value)| {
                ids(&call, &web::json_text(http::StatusCode::OK, value.clone()))
            });
            assert_eq!(here, there);
        }
        assert!(self.feed.records() >= self.published.len());
    }
}

fn ids(call: &Call, response: &web::Response) -> Vec<TransportId> {
    let Ok(Answer::List(list)) = Answer::read(call, response) else {
        panic!("no list: {response:?}")
    };
    let mut ids: Vec<TransportId> = list.iter().map(|it| it.id).collect();
    ids.sort_unstable();
    ids
}
