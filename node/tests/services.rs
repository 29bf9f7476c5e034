//! The service discovery beside the DMSG discovery.

mod support;

use serde_json::Value;
use skydht_core::key::SecretKey;
use skydht_discovery::auth::{SignedCall, Step};
use skydht_discovery::record::{Service, ServiceAddress, ServiceKind};
use skydht_discovery::service::{Answer, Call};
use skydht_discovery::web;
use support::{Node, TempDir, http, program, request};

fn discovery(home: &TempDir, words: &[&str]) -> Node {
    let mut command = program(home);
    command.args(["dmsg-discovery", "--addr", "127.0.0.1:0", "--json"]);
    command.args(words);
    Node::spawn(command, "discovery", String::new())
}

/// Sends a request to the discovery.
fn exchange(at: &str, sent: &web::Request) -> web::Response {
    let mut headers = vec![("Host", at)];
    for (name, value) in sent.headers() {
        headers.push((name.as_str(), value.to_str().unwrap()));
    }
    let path = sent.uri().path_and_query().unwrap().as_str();
    let body = std::str::from_utf8(sent.body()).unwrap();
    let answer = http(at, &request(sent.method().as_str(), path, &headers, body));
    let mut response = web::Response::new(answer.body.into_bytes());
    *response.status_mut() = answer.status.try_into().unwrap();
    response
}

#[test]
fn a_visor_registers_and_others_find_it() {
    let home = TempDir::new();
    let discovery = discovery(&home, &["--services"]);
    assert_eq!(discovery.about["services"], true);
    let at = discovery.text("url").strip_prefix("http://").unwrap();
    let secret = SecretKey::from_bytes(&[7; 32]).unwrap();
    let address = ServiceAddress {
        key: Some(secret.public()),
        port: 44,
    };
    let mut service = Service::new(address, &ServiceKind::Vpn);
    service.version = "v1.3.29".into();
    let call = Call::Register(Box::new(service.clone()));
    let (mut signed, mut sent) = SignedCall::start(call.write(), secret, None);
    let response = loop {
        match signed.handle(exchange(at, &sent)) {
            Step::Send(next) => sent = next,
            Step::Done(response) => break response,
        }
    };
    assert_eq!(
        Answer::read(&call, &response),
        Ok(Answer::One(Box::new(service.clone())))
    );
    // A plain HTTP request finds it, too.
    let host = [("Host", at)];
    let found = http(at, &request("GET", "/api/services?type=vpn", &host, "")).json();
    assert_eq!(found[0]["address"], Value::from(address.to_string()));
    // An unsigned registration is refused, and the DMSG discovery still works.
    let unsigned = exchange(at, &call.write());
    assert_eq!(unsigned.status(), 401);
    let entries = http(at, &request("GET", "/dmsg-discovery/entries", &host, "")).json();
    assert_eq!(entries, serde_json::json!([]));
}

#[test]
fn without_being_one_there_are_no_services() {
    let home = TempDir::new();
    let discovery = discovery(&home, &[]);
    let at = discovery.text("url").strip_prefix("http://").unwrap();
    for path in ["/api/services?type=vpn", "/security/nonces/x"] {
        let answer = http(at, &request("GET", path, &[("Host", at)], ""));
        assert_eq!(answer.status, 404, "{path}");
    }
}
