use std::collections::BTreeSet;
use std::time::Duration;

use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::time::Mono;

use super::*;
use crate::auth::{Nonces, SignedCall, Step};
use crate::dmsg::Caller;
use crate::record::{Geo, Service, ServiceAddress, ServiceKind};
use crate::web::{self, Request, Response};

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

fn address(n: u8, port: u16) -> ServiceAddress {
    ServiceAddress {
        key: Some(key(n)),
        port,
    }
}

fn vpn(n: u8, country: &str) -> Service {
    let mut service = Service::new(address(n, 44), &ServiceKind::Vpn);
    service.version = "v1.3.29".to_owned();
    service.geo = Some(Geo {
        country: country.to_owned(),
        ..Geo::default()
    });
    service
}

struct World {
    discovery: ServiceDiscovery,
    nonces: Nonces,
    now: Mono,
}

impl World {
    fn new(limits: Limits) -> Self {
        Self {
            discovery: ServiceDiscovery::new(limits),
            nonces: Nonces::new(100),
            now: Mono(0),
        }
    }

    fn handle(&mut self, caller: Caller, request: &Request) -> Response {
        if let Some(answer) = self.nonces.answer(request) {
            return answer;
        }
        self.discovery
            .handle(self.now, &mut self.nonces, caller, request)
    }

    /// Sends a call of key `n` over plain HTTP.
    fn ask(&mut self, n: u8, call: &Call) -> Result<Answer, AnswerError> {
        let response = if call.is_signed() {
            let (mut signed, mut request) = SignedCall::start(call.write(), secret(n), None);
            loop {
                let response = self.handle(Caller::Unknown, &request);
                match signed.handle(response) {
                    Step::Send(next) => request = next,
                    Step::Done(response) => break response,
                }
            }
        } else {
            self.handle(Caller::Unknown, &call.write())
        };
        Answer::read(call, &response)
    }

    fn register(&mut self, n: u8, service: Service) -> Result<Answer, AnswerError> {
        self.ask(n, &Call::Register(Box::new(service)))
    }

    fn list(&mut self, country: Option<&str>, quantity: Option<usize>) -> Vec<Service> {
        let call = Call::List {
            kind: ServiceKind::Vpn,
            version: None,
            country: country.map(str::to_owned),
            quantity,
        };
        match self.ask(1, &call) {
            Ok(Answer::List(list)) => list,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn services_are_registered_found_and_gone() {
    let mut world = World::new(Limits::default());
    let (one, two) = (vpn(1, "DE"), vpn(2, "US"));
    let kept = world.register(1, one.clone()).unwrap();
    assert_eq!(kept, Answer::One(Box::new(one.clone())));
    world.register(2, two.clone()).unwrap();
    let mut proxy = Service::new(address(1, 3), &ServiceKind::Skysocks);
    proxy.version = "v1".into();
    proxy.type_text = "proxy".into();
    world.register(1, proxy.clone()).unwrap();
    assert_eq!(world.list(None, None).len(), 2);
    assert_eq!(world.list(Some("de"), None), std::slice::from_ref(&one));
    let ask = Call::One(address(1, 3), ServiceKind::of("proxy"));
    assert_eq!(world.ask(9, &ask), Ok(Answer::One(Box::new(proxy))));
    // Registering again renews it; otherwise it expires after five minutes.
    world.now = world.now.plus(Duration::from_secs(200));
    world.register(1, one.clone()).unwrap();
    world.now = world.now.plus(Duration::from_secs(100));
    assert_eq!(world.list(None, None), [one]);
    let leave = Call::Deregister(address(1, 44), ServiceKind::Vpn);
    assert!(world.ask(2, &leave).is_err());
    assert_eq!(world.ask(1, &leave), Ok(Answer::Deregistered));
    assert_eq!(world.list(None, None), []);
    assert!(world.ask(1, &leave).is_err());
    let stats = world.discovery.stats();
    assert_eq!(
        (stats.services, stats.registered, stats.unauthorized),
        (0, 4, 0)
    );
}

#[test]
fn what_breaks_a_rule_is_refused_with_its_status() {
    let mut world = World::new(Limits {
        services: 3,
        of_key: 2,
    });
    let status = |answer: Result<Answer, AnswerError>| match answer {
        Err(AnswerError::Refused(refusal)) => refusal.status().as_u16(),
        other => panic!("{other:?}"),
    };
    assert_eq!(status(world.register(2, vpn(1, ""))), 403);
    let mut plain = vpn(1, "");
    plain.version.clear();
    assert_eq!(status(world.register(1, plain)), 403);
    let mut portless = vpn(1, "");
    portless.address.port = 0;
    assert_eq!(status(world.register(1, portless)), 400);
    let none = Call::One(address(1, 44), ServiceKind::Vpn);
    assert_eq!(status(world.ask(1, &none)), 404);
    // The limits per key and in total; existing services can be registered again.
    let at_port = |n, port| Service {
        address: address(n, port),
        ..vpn(n, "")
    };
    world.register(1, at_port(1, 1)).unwrap();
    world.register(1, at_port(1, 2)).unwrap();
    assert_eq!(status(world.register(1, at_port(1, 3))), 503);
    world.register(2, at_port(2, 1)).unwrap();
    assert_eq!(status(world.register(3, at_port(3, 1))), 503);
    world.register(1, at_port(1, 1)).unwrap();
    let stats = world.discovery.stats();
    assert_eq!((stats.services, stats.full), (3, 2));
}

#[test]
fn callers_prove_their_key_and_over_dmsg_they_have() {
    let mut world = World::new(Limits::default());
    let call = Call::Register(Box::new(vpn(1, "")));
    let mut handle = |caller| {
        let response = world.handle(caller, &call.write());
        response.status().as_u16()
    };
    assert_eq!(handle(Caller::Unknown), 401);
    assert_eq!(handle(Caller::Address([192, 0, 2, 1].into())), 401);
    assert_eq!(handle(Caller::Key(key(2))), 403);
    assert_eq!(handle(Caller::Key(key(1))), 200);
    assert_eq!(world.discovery.stats().unauthorized, 2);
}

#[test]
fn with_a_quantity_every_service_has_its_turn() {
    let mut world = World::new(Limits::default());
    for n in 1..=10 {
        world.register(n, vpn(n, "")).unwrap();
    }
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        let list = world.list(None, Some(3));
        assert_eq!(list.len(), 3);
        seen.extend(list.into_iter().map(|service| service.address));
    }
    assert_eq!(seen.len(), 10);
    assert_eq!(world.list(None, Some(0)), []);
    assert_eq!(world.list(None, Some(99)).len(), 10);
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut world = World::new(Limits::default());
    let mut status = |method: &str, path: &str, body: &[u8]| {
        let mut request = web::request(method.parse().unwrap(), path, body.to_vec());
        *request.method_mut() = method.parse().unwrap();
        let response = world.handle(Caller::Key(key(1)), &request);
        response.status().as_u16()
    };
    let one = format!("/api/services/{}:44", key(1));
    for (method, path, body, expected) in [
        ("GET", "/api/services", "", 400),
        ("GET", "/api/services?type=", "", 400),
        ("GET", "/api/services?type=vpn&quantity=x", "", 400),
        ("GET", "/api/services?type=%", "", 400),
        ("GET", "/api/services?type=%FF", "", 400),
        ("GET", "/api/services?type=vpn", "", 200),
        ("PUT", "/api/services", "", 405),
        ("GET", "/api/services/x?type=vpn", "", 400),
        ("GET", one.as_str(), "", 400),
        ("POST", one.as_str(), "", 400),
        ("DELETE", "/api/services/deregister/vpn", "", 403),
        ("GET", "/api/servicesx", "", 404),
        ("GET", "/other", "", 404),
        ("POST", "/api/services", "", 400),
        ("POST", "/api/services", "[]", 400),
        ("POST", "/api/services", "{\"address\":1}", 400),
        ("POST", "/api/services", "{\"address\":\"\"}", 400),
    ] {
        assert_eq!(
            status(method, path, body.as_bytes()),
            expected,
            "{method} {path} {body}"
        );
    }
    assert_eq!(
        status("POST", "/api/services", &vec![b'{'; MAX_REQUEST + 1]),
        413
    );
}

#[test]
fn calls_come_back_as_they_were_written() {
    let odd = Some("a b&c=ü%".to_owned());
    for call in [
        Call::List {
            kind: ServiceKind::of("x y"),
            version: odd.clone(),
            country: odd,
            quantity: Some(7),
        },
        Call::One(address(1, 44), ServiceKind::of("a&b")),
        Call::Deregister(address(1, 44), ServiceKind::Vpn),
        Call::Register(Box::new(vpn(1, "DE"))),
    ] {
        assert_eq!(Call::read(&call.write()), Ok(call));
    }
    // Another implementation may return any response.
    let list = Call::List {
        kind: ServiceKind::Vpn,
        version: None,
        country: None,
        quantity: None,
    };
    let said = |status: u16, text: &str| -> Response {
        let mut response = web::json_text(http::StatusCode::OK, text.as_bytes().to_vec());
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        response
    };
    let good = String::from_utf8(vpn(1, "DE").to_json()).unwrap();
    let mixed = said(200, &format!("[{good},1,{{}},{{\"address\":\"\"}}]"));
    assert_eq!(
        Answer::read(&list, &mixed),
        Ok(Answer::List(vec![vpn(1, "DE")]))
    );
    assert_eq!(
        Answer::read(&list, &said(200, "null")),
        Ok(Answer::List(Vec::new()))
    );
    for (status, text) in [
        (200, "<html>"),
        (200, "{}"),
        (500, "x"),
        (429, ""),
        (302, ""),
    ] {
        assert!(
            Answer::read(&list, &said(status, text)).is_err(),
            "{status} {text}"
        );
    }
    let long = format!("[{}]", vec!["1"; MOST_ANSWERED + 1].join(","));
    assert!(Answer::read(&list, &said(200, &long)).is_err());
}
