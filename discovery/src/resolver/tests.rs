use std::net::IpAddr;

use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::time::Mono;

use super::*;
use crate::auth::{Nonces, SignedCall, Step};
use crate::dmsg::Caller;
use crate::record::VisorAddress;
use crate::web::{self, Request};

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

const PUBLIC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(93, 184, 216, 34));

fn bind(port: &str, addresses: &[&str]) -> Call {
    let visor = VisorAddress {
        port: port.to_owned(),
        addresses: addresses.iter().map(|it| (*it).to_owned()).collect(),
        ..VisorAddress::default()
    };
    let public_ip = None;
    Call::Bind(Carrier::Tcp, Box::new(Binding { visor, public_ip }))
}

struct World {
    resolver: AddressResolver,
    nonces: Nonces,
    now: Mono,
}

impl World {
    fn new(limits: Limits) -> Self {
        let mut resolver = AddressResolver::new(limits);
        resolver.note_changes();
        Self {
            resolver,
            nonces: Nonces::new(10),
            now: Mono(0),
        }
    }

    /// Sends a call of key `n` over plain HTTP from an address.
    fn ask(&mut self, n: u8, from: IpAddr, call: &Call) -> Result<Answer, AnswerError> {
        let (mut steps, mut request) = SignedCall::start(call.write(), secret(n), None);
        let response = loop {
            let nonces = &mut self.nonces;
            let response = nonces.answer(&request).unwrap_or_else(|| {
                let caller = Caller::Address(from);
                self.resolver.handle(self.now, nonces, caller, &request)
            });
            match steps.handle(response) {
                Step::Send(next) => request = next,
                Step::Done(response) => break response,
            }
        };
        Answer::read(call, &response)
    }

    fn over_dmsg(&mut self, n: u8, request: &Request) -> u16 {
        let (nonces, caller) = (&mut self.nonces, Caller::Key(key(n)));
        let response = self.resolver.handle(self.now, nonces, caller, request);
        response.status().as_u16()
    }
}

fn status(answer: Result<Answer, AnswerError>) -> u16 {
    match answer {
        Err(AnswerError::Refused(refusal)) => refusal.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_visor_is_resolved_at_the_address_that_was_seen() {
    let mut world = World::new(Limits::default());
    let other = [8, 8, 8, 8].into();
    let resolve = Call::Resolve(Carrier::Tcp, key(1));
    assert_eq!(status(world.ask(2, other, &resolve)), 404);
    let said = bind("7777", &["10.0.0.5", "93.184.216.34"]);
    world.ask(1, PUBLIC, &said).unwrap();
    let mut expected = VisorAddress {
        remote_addr: "93.184.216.34:7777".into(),
        is_local: false,
        port: "7777".into(),
        addresses: vec!["10.0.0.5".into(), "93.184.216.34".into()],
    };
    let found = world.ask(2, other, &resolve);
    assert_eq!(found, Ok(Answer::Address(expected.clone())));
    let changes = world.resolver.take_changes();
    let change = (key(1), Carrier::Tcp, Some(expected.clone()));
    assert_eq!(changes, [change]);
    // Binding the same address again renews it without a change.
    world.ask(1, PUBLIC, &said).unwrap();
    assert_eq!(world.resolver.take_changes(), []);
    // A caller with the same address is on the same network.
    expected.is_local = true;
    assert_eq!(
        world.ask(2, PUBLIC, &resolve),
        Ok(Answer::Address(expected))
    );
    world.now = world.now.plus(BINDING_LIFE);
    assert_eq!(status(world.ask(2, other, &resolve)), 404);
    assert_eq!(
        world.resolver.take_changes(),
        [(key(1), Carrier::Tcp, None)]
    );
    // The visor itself can remove it.
    world.ask(1, PUBLIC, &said).unwrap();
    let unbind = Call::Unbind(Carrier::Tcp);
    assert_eq!(status(world.ask(2, other, &unbind)), 404);
    assert_eq!(world.ask(1, other, &unbind), Ok(Answer::Unbound));
    assert_eq!(status(world.ask(2, other, &resolve)), 404);
}

#[test]
fn what_others_cannot_dial_is_refused() {
    let mut world = World::new(Limits::default());
    let private: IpAddr = [10, 0, 0, 5].into();
    for (from, port, addresses) in [
        (private, "7777", vec!["10.0.0.5"]),
        ([100, 64, 0, 1].into(), "7777", vec!["100.64.0.1"]),
        ([127, 0, 0, 1].into(), "7777", vec!["127.0.0.1"]),
        (PUBLIC, "7777", vec!["10.0.0.5"]),
        (PUBLIC, "0", vec!["93.184.216.34"]),
        (PUBLIC, "", vec!["93.184.216.34"]),
        (PUBLIC, "70000", vec!["93.184.216.34"]),
    ] {
        let answer = world.ask(1, from, &bind(port, &addresses));
        assert_eq!(status(answer), 400, "{from} {port}");
    }
    let mut on_one_machine = World::new(Limits {
        allow_private: true,
        bindings: 1,
    });
    let loopback = [127, 0, 0, 1].into();
    on_one_machine.ask(1, loopback, &bind("7777", &[])).unwrap();
    let full = on_one_machine.ask(2, loopback, &bind("7777", &[]));
    assert_eq!(status(full), 503);
    on_one_machine.ask(1, loopback, &bind("7778", &[])).unwrap();
    assert_eq!(on_one_machine.resolver.stats().full, 1);
}

#[test]
fn over_dmsg_the_visor_says_its_public_address() {
    let mut world = World::new(Limits::default());
    let said = bind("7777", &["93.184.216.34"]);
    assert_eq!(world.over_dmsg(1, &said.write()), 400);
    let mut request = said.write();
    let header = "93.184.216.34".parse().unwrap();
    request.headers_mut().insert(crate::auth::PUBLIC_IP, header);
    assert_eq!(world.over_dmsg(1, &request), 200);
    let body = br#"{"port":7777,"addresses":["93.184.216.34"],"public_ip":"93.184.216.34"}"#;
    let request = web::request(http::Method::POST, "/bind/quic", body.to_vec());
    assert_eq!(world.over_dmsg(1, &request), 200);
    let resolve = Call::Resolve(Carrier::Quic, key(1)).write();
    assert_eq!(world.over_dmsg(2, &resolve), 200);
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut world = World::new(Limits::default());
    let resolve = format!("/resolve/sudph/{}", key(1));
    for (method, path, body, status) in [
        ("GET", "/bind/stcpr", "", 405),
        ("POST", "/bind/x", "{}", 404),
        ("POST", "/bind/stcpr", "", 400),
        ("POST", "/bind/stcpr", "[]", 400),
        ("POST", "/bind/stcpr", r#"{"public_ip":"x"}"#, 400),
        (
            "POST",
            "/bind/stcpr",
            r#"{"port":"7","addresses":"x"}"#,
            400,
        ),
        ("GET", "/resolve/stcpr", "", 404),
        ("GET", "/resolve/stcpr/x", "", 400),
        ("POST", "/resolve/stcpr/x", "", 405),
        ("GET", resolve.as_str(), "", 404),
    ] {
        let method = method.parse().unwrap();
        let request = web::request(method, path, body.as_bytes().to_vec());
        assert_eq!(world.over_dmsg(1, &request), status, "{path} {body}");
    }
    let long = web::request(
        http::Method::POST,
        "/bind/stcpr",
        vec![b' '; MAX_REQUEST + 1],
    );
    assert_eq!(world.over_dmsg(1, &long), 413);
    let unproven = world.resolver.handle(
        world.now,
        &mut world.nonces,
        Caller::Unknown,
        &Call::Unbind(Carrier::Tcp).write(),
    );
    assert_eq!(unproven.status(), 401);
}
