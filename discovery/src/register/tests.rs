use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::time::{Mono, Time, Unix};

use super::*;
use crate::dmsg::{Caller, DmsgDiscovery};
use crate::host::Host;
use crate::publish::Content;
use crate::record::{Record, Service, ServiceAddress, ServiceKind, Transport, VisorAddress, read};
use crate::resolver::{self, AddressResolver};
use crate::service::ServiceDiscovery;
use crate::transport::{self, TransportDiscovery};
use crate::web::{self, Request, Response};

const START: Unix = Unix(1_790_000_000_000_000_000);
const ALL: [Registry; 3] = [
    Registry::Transports,
    Registry::Services,
    Registry::Addresses,
];

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

fn between(a: u8, b: u8) -> Transport {
    Transport::new(key(a), key(b), "stcpr", "automatic")
}

fn vpn(port: u16) -> Service {
    let address = ServiceAddress {
        key: Some(key(1)),
        port,
    };
    let mut service = Service::new(address, &ServiceKind::Vpn);
    service.version = "v1".into();
    service
}

fn address() -> VisorAddress {
    VisorAddress {
        remote_addr: "127.0.0.1:7777".into(),
        port: "7777".into(),
        ..VisorAddress::default()
    }
}

struct World {
    host: Host,
    registrar: Registrar,
    over_dmsg: bool,
    now: Mono,
    sent: Vec<(Registry, String)>,
    fault: fn(Registry) -> Option<Result<Response, String>>,
}

impl World {
    fn new(over_dmsg: bool) -> Self {
        let time = Time {
            mono: Mono(1),
            unix: START,
        };
        let mut host = Host::new(DmsgDiscovery::new(crate::dmsg::Rules::default(), time));
        host.transports = Some(TransportDiscovery::default());
        host.services = Some(ServiceDiscovery::default());
        host.addresses = Some(AddressResolver::new(resolver::Limits {
            allow_private: true,
            ..resolver::Limits::default()
        }));
        let mut registrar = Registrar::new(secret(1));
        for at in ALL {
            registrar.register_at(at, over_dmsg, Mono(1));
        }
        Self {
            host,
            registrar,
            over_dmsg,
            now: Mono(1),
            sent: Vec::new(),
            fault: |_| None,
        }
    }

    fn handle(&mut self, request: &Request) -> Response {
        let caller = match self.over_dmsg {
            true => Caller::Key(key(1)),
            false => Caller::Address([127, 0, 0, 1].into()),
        };
        let time = Time {
            mono: self.now,
            unix: START,
        };
        self.host.handle(time, caller, request)
    }

    /// Sends all requests that are due.
    fn drain(&mut self) {
        while let Some(Ask { id, to, request }) = self.registrar.poll_output(self.now) {
            let what = format!("{} {}", request.method(), request.uri().path());
            self.sent.push((to, what));
            let answer = (self.fault)(to).unwrap_or_else(|| Ok(self.handle(&request)));
            self.registrar.handle(self.now, id, answer);
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.plus(time);
        self.drain();
        while let Some(due) = self.registrar.next_deadline(self.now)
            && due <= end
        {
            self.now = self.now.max(due);
            self.drain();
        }
        self.now = end;
    }

    /// Returns the numbers of transports, services and addresses at the services.
    fn there(&mut self) -> (usize, usize, usize) {
        let now = self.now;
        self.host.expire(now);
        (
            self.host.transports.as_ref().unwrap().stats().transports,
            self.host.services.as_ref().unwrap().stats().services,
            self.host.addresses.as_ref().unwrap().stats().bindings,
        )
    }
}

#[test]
fn what_a_visor_has_stays_registered_and_what_it_has_no_more_goes() {
    for over_dmsg in [false, true] {
        let mut world = World::new(over_dmsg);
        world.pass(Duration::from_secs(600));
        assert_eq!(world.sent, [], "there is nothing to say");
        let now = world.now;
        let list = [between(1, 2), between(1, 3), between(4, 5)];
        world.registrar.set_transports(now, list);
        world.registrar.set_services(now, [vpn(44), vpn(45)]);
        world.registrar.set_address(now, Some(address()));
        world.drain();
        assert_eq!(world.there(), (2, 2, 1), "over dmsg: {over_dmsg}");
        let has_asked = world.sent.iter().any(|(_, it)| it.contains("/security/"));
        assert_ne!(has_asked, over_dmsg);
        // An hour later, which exceeds every lifetime.
        for _ in 0..60 {
            world.pass(Duration::from_secs(60));
            assert_eq!(world.there(), (2, 2, 1));
        }
        let now = world.now;
        world.registrar.set_transports(now, [between(1, 3)]);
        world.registrar.set_services(now, [vpn(45)]);
        world.registrar.set_address(now, None);
        world.drain();
        assert_eq!(world.there(), (1, 1, 0));
        let report = world.registrar.report();
        assert!(report.values().all(|it| it.error.is_none()), "{report:?}");
        assert!(report.values().all(|it| it.failed == 0 && it.taken > 1));
    }
}

#[test]
fn a_service_that_is_away_is_asked_ever_less_often_and_found_again() {
    let mut world = World::new(false);
    let now = world.now;
    world.registrar.set_transports(now, [between(1, 2)]);
    world.registrar.set_services(now, [vpn(44)]);
    world.fault = |to| match to {
        Registry::Transports => Some(Err("connection refused".into())),
        Registry::Services => Some(Ok(web::empty(StatusCode::INTERNAL_SERVER_ERROR))),
        Registry::Addresses => None,
    };
    world.pass(Duration::from_secs(3600));
    for at in [Registry::Transports, Registry::Services] {
        let tries = world.sent.iter().filter(|(to, _)| *to == at).count();
        assert!((10..25).contains(&tries), "{at:?}: {tries}");
        assert!(world.registrar.report()[&at].error.is_some());
    }
    world.fault = |_| None;
    world.pass(Duration::from_secs(301));
    assert_eq!(world.there(), (1, 1, 0));
    let report = world.registrar.report();
    assert!(report.values().all(|it| it.error.is_none()), "{report:?}");
}

#[test]
fn a_service_that_says_how_long_to_wait_is_left_alone_so_long() {
    let mut world = World::new(true);
    let now = world.now;
    world.registrar.set_transports(now, [between(1, 2)]);
    world.fault = |_| {
        let refusal = transport::Refusal::TooOften(Duration::from_secs(77));
        Some(Ok(refusal.write()))
    };
    world.drain();
    let due = world.registrar.next_deadline(world.now).unwrap();
    assert_eq!(due.since(world.now), Duration::from_secs(77));
    // A change does not shorten the pause.
    world.registrar.set_transports(now, [between(1, 3)]);
    assert_eq!(world.registrar.next_deadline(world.now), Some(due));
}

#[test]
fn one_service_that_is_refused_keeps_no_other_from_being_registered() {
    let mut world = World::new(false);
    let now = world.now;
    let mut bad = vpn(44);
    bad.version.clear();
    world.registrar.set_services(now, [bad, vpn(45)]);
    world.drain();
    assert_eq!(world.there(), (0, 1, 0));
    let report = &world.registrar.report()[&Registry::Services];
    assert_eq!((report.taken, report.failed), (1, 1));
    assert!(
        report.error.as_ref().unwrap().contains("version"),
        "{report:?}"
    );
}

#[test]
fn the_same_is_a_record_for_the_dht() {
    let mut registrar = Registrar::new(secret(1));
    registrar.set_transports(Mono(1), [between(1, 2)]);
    registrar.set_services(Mono(1), [vpn(44)]);
    let records: BTreeMap<_, _> = records(key(1), registrar.own()).into_iter().collect();
    let of = |salt: &str| {
        let found = records.iter().find(|(id, _)| id.salt.to_string() == salt);
        found.unwrap().1.clone()
    };
    let Record::Transports(list) = read(b"tp", &key(1), of("tp").bytes()).unwrap() else {
        panic!()
    };
    assert_eq!(list.list.len(), 1);
    let Record::Services(list) = read(b"svc", &key(1), of("svc").bytes()).unwrap() else {
        panic!()
    };
    assert_eq!(list.list, [vpn(44)]);
    assert_eq!(of("addr:stcpr"), Content::Gone);
}

/// Services behind one address share a key's nonces.
#[test]
fn a_number_that_another_request_took_is_asked_for_again_soon() {
    let mut world = World::new(false);
    let now = world.now;
    world.registrar.set_services(now, [vpn(44)]);
    world.registrar.set_address(now, Some(address()));
    // Both have requested their nonce before either has used it.
    let mut waiting = Vec::new();
    while let Some(Ask { id, request, .. }) = world.registrar.poll_output(world.now) {
        let answer = world.handle(&request);
        waiting.push((id, answer));
    }
    assert_eq!(waiting.len(), 2);
    for (id, answer) in waiting {
        world.registrar.handle(world.now, id, Ok(answer));
    }
    world.drain();
    assert_eq!(world.there(), (0, 1, 0), "one of them came too late");
    world.pass(Duration::from_secs(6));
    assert_eq!(world.there(), (0, 1, 1));
}
