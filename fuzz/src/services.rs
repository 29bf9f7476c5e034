//! A service discovery under requests of any kind in any order, compared with a simple model.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use http::{Method, Request};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::time::Mono;
use skydht_discovery::auth::{Nonces, SignedCall, Step};
use skydht_discovery::dmsg::Caller;
use skydht_discovery::record::{Service, ServiceAddress, ServiceKind};
use skydht_discovery::service::{Answer, Call, Limits, SERVICE_LIFE, ServiceDiscovery};
use skydht_discovery::web::{Request as Asked, Response};

use crate::cursor::Cursor;

const MOST_STEPS: usize = 48;
const KINDS: [&str; 4] = ["vpn", "proxy", "visor", "x y"];

static SECRETS: LazyLock<[SecretKey; 4]> =
    LazyLock::new(|| std::array::from_fn(|n| SecretKey::from_entropy(&[n as u8 + 1; 32])));

type Id = (ServiceKind, ServiceAddress);

struct World {
    discovery: ServiceDiscovery,
    nonces: Nonces,
    limits: Limits,
    now: Mono,
    /// Registered services and their expiry.
    model: BTreeMap<Id, (Service, Mono)>,
}

/// Input: limits, then steps: raw requests, registrations and removals by four keys, over plain
/// HTTP or DMSG, for themselves or for others, lists, and passing time.
///
/// - Every request gets an answer that a client can read, or a refusal.
/// - A service is registered and removed only with its own key. A service that is not registered
///   again ends after its lifetime.
/// - Lists contain exactly the registered services, within the limits.
pub fn services(data: &[u8]) {
    let mut input = Cursor::new(data);
    let limits = Limits {
        services: 1 + usize::from(input.byte() % 6),
        of_key: 1 + usize::from(input.byte() % 3),
    };
    let mut world = World {
        discovery: ServiceDiscovery::new(limits),
        nonces: Nonces::new(100),
        limits,
        now: Mono(0),
        model: BTreeMap::new(),
    };
    for _ in 0..MOST_STEPS {
        let Some(step) = input.next() else {
            return;
        };
        world.step(step, &mut input);
        world.check();
    }
}

fn address(owner: u8, port: u8) -> ServiceAddress {
    ServiceAddress {
        key: Some(SECRETS[usize::from(owner % 4)].public()),
        port: u16::from(port % 4),
    }
}

fn kind(n: u8) -> ServiceKind {
    ServiceKind::of(KINDS[usize::from(n % 4)])
}

impl World {
    fn step(&mut self, step: u8, input: &mut Cursor<'_>) {
        let (who, owner, port) = (input.byte(), input.byte(), input.byte());
        let (address, kind) = (address(owner, port), kind(port >> 2));
        match step % 5 {
            0 => {
                let mut service = Service::new(address, &kind);
                if port & 0x80 == 0 {
                    service.version = "v1".to_owned();
                }
                self.register(who, service);
            }
            1 => {
                let call = Call::Deregister(address, kind.clone());
                let (key, response) = self.send(who, &call);
                if Answer::read(&call, &response) == Ok(Answer::Deregistered) {
                    assert_eq!(address.key, Some(key));
                    assert!(self.model.remove(&(kind, address)).is_some());
                }
            }
            2 => self.now = self.now.plus(Duration::from_secs(u64::from(owner))),
            3 => {
                let call = Call::List {
                    kind,
                    version: None,
                    country: None,
                    quantity: Some(usize::from(port)),
                };
                let (_, response) = self.send(who, &call);
                let Ok(Answer::List(list)) = Answer::read(&call, &response) else {
                    panic!("no list: {response:?}")
                };
                assert!(list.len() <= usize::from(port));
            }
            _ => {
                let raw = input.take(usize::from(port)).to_vec();
                let path = String::from_utf8_lossy(&raw);
                let path = format!("/api/services{path}");
                let Ok(request) = Request::builder()
                    .method(
                        [Method::GET, Method::POST, Method::DELETE][usize::from(who % 3)].clone(),
                    )
                    .uri(path)
                    .body(raw)
                else {
                    return;
                };
                let caller = Caller::Key(SECRETS[usize::from(owner % 4)].public());
                let response = self.handle(caller, &request);
                if let Ok(Call::Register(service)) = Call::read(&request)
                    && response.status() == 200
                {
                    assert_eq!(Caller::Key(service.address.key.expect("a key")), caller);
                    self.note(*service);
                }
                assert!(response.status().as_u16() < 600);
            }
        }
    }

    fn handle(&mut self, caller: Caller, request: &Asked) -> Response {
        if let Some(answer) = self.nonces.answer(request) {
            return answer;
        }
        let nonces = &mut self.nonces;
        self.discovery.handle(self.now, nonces, caller, request)
    }

    fn register(&mut self, who: u8, service: Service) {
        let call = Call::Register(Box::new(service.clone()));
        let (key, response) = self.send(who, &call);
        if Answer::read(&call, &response).is_ok() {
            assert_eq!(service.address.key, Some(key));
            self.note(service);
        }
    }

    fn note(&mut self, service: Service) {
        let id = (service.kind(), service.address);
        let end = self.now.plus(SERVICE_LIFE);
        self.model.insert(id, (service, end));
    }

    /// Sends a call with one of the keys, over plain HTTP or DMSG.
    fn send(&mut self, who: u8, call: &Call) -> (PublicKey, Response) {
        let secret = &SECRETS[usize::from(who % 4)];
        let key = secret.public();
        let over_dmsg = who & 0x80 != 0;
        if over_dmsg || !call.is_signed() {
            let caller = if over_dmsg {
                Caller::Key(key)
            } else {
                Caller::Unknown
            };
            return (key, self.handle(caller, &call.write()));
        }
        let next = (who & 0x40 != 0).then_some(u64::from(who));
        let (mut signed, mut request) = SignedCall::start(call.write(), secret.clone(), next);
        for _ in 0..4 {
            let response = self.handle(Caller::Unknown, &request);
            match signed.handle(response) {
                Step::Send(next) => request = next,
                Step::Done(response) => return (key, response),
            }
        }
        panic!("a call ends")
    }

    /// Checks that the discovery lists what the model contains.
    fn check(&mut self) {
        let now = self.now;
        self.model.retain(|_, (_, end)| *end > now);
        let mut found = Vec::new();
        for kind in KINDS {
            let call = Call::List {
                kind: ServiceKind::of(kind),
                version: None,
                country: None,
                quantity: None,
            };
            let request = call.write();
            let response = self.handle(Caller::Unknown, &request);
            let Ok(Answer::List(list)) = Answer::read(&call, &response) else {
                panic!("no list: {response:?}")
            };
            found.extend(list);
        }
        let kinds = KINDS.map(ServiceKind::of);
        let expected = self
            .model
            .iter()
            .filter(|((kind, _), _)| kinds.contains(kind));
        let expected: Vec<_> = expected.map(|(_, (service, _))| service.clone()).collect();
        let by_id = |list: Vec<Service>| -> BTreeMap<Id, Service> {
            list.into_iter()
                .map(|it| ((it.kind(), it.address), it))
                .collect()
        };
        assert_eq!(by_id(found), by_id(expected));
        assert_eq!(self.discovery.stats().services, self.model.len());
        assert!(self.model.len() <= self.limits.services);
        for secret in SECRETS.iter() {
            let key = Some(secret.public());
            let of_key = self.model.keys().filter(|(_, address)| address.key == key);
            assert!(of_key.count() <= self.limits.of_key);
        }
    }
}
