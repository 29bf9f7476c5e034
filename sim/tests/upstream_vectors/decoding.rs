//! `frames.json`, `decoding` and `frames`: which messages are read and which are refused, as a
//! request to the node and as an answer to it.

use std::borrow::Cow;

use serde::Deserialize;
use skydht_core::id::Target;
use skydht_core::key::PublicKey;
use skydht_core::node::{
    Command, GetRequest, Identity, Input, OperationId, Output, Path, Reach, ReadPolicy, StreamId,
};
use skydht_core::time::{Mono, Time, Unix};
use skydht_sim::host::Host as _;
use skydht_sim::upstream::{UpstreamConfig, UpstreamNode};

use crate::{Hex, assert_none, section, vectors};

#[derive(Deserialize)]
struct Keys {
    #[serde(rename = "A_pk")]
    a: PublicKey,
    #[serde(rename = "B_pk")]
    b: PublicKey,
}

#[derive(Deserialize)]
struct Decoding {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    json: String,
    accepted: bool,
    error: String,
}

#[derive(Deserialize)]
struct FrameVector {
    name: String,
    kind: String,
    method: u8,
    frame: Hex,
}

const PING: u8 = 1;
const FIND_NODE: u8 = 2;
const GET_VALUE: u8 = 3;
const PUT_VALUE: u8 = 4;
const NOW: Time = Time {
    mono: Mono(1),
    unix: Unix::BUILD,
};
const PATH: Path = Path {
    reach: Reach::Relayed,
    remote: None,
};

/// What happened to a message.
#[derive(PartialEq, Eq, Debug)]
enum Fate {
    Taken,
    Refused,
    Crashed,
}

#[test]
fn what_go_reads_and_refuses() {
    let Some(file) = vectors("frames.json") else {
        return;
    };
    let keys: Keys = serde_json::from_value(file["keys"].clone()).expect("keys");
    let mut differences = Vec::new();
    for vector in section::<Decoding>(&file, "decoding") {
        let json = &vector.json;
        let fates = match vector.kind.as_str() {
            "item" => {
                let body = format!(r#"{{"item":{json}}}"#);
                vec![
                    asked(&keys, &frame(PUT_VALUE, &body)),
                    answered(&keys, GET_VALUE, &frame(GET_VALUE, &body)),
                ]
            }
            "peer" => {
                let frame = frame(FIND_NODE, &format!(r#"{{"closest":[{json}]}}"#));
                vec![answered(&keys, FIND_NODE, &frame)]
            }
            "find_node_request" => vec![asked(&keys, &frame(FIND_NODE, json))],
            "find_node_response" => vec![answered(&keys, FIND_NODE, &frame(FIND_NODE, json))],
            "put_value_request" => vec![asked(&keys, &frame(PUT_VALUE, json))],
            other => panic!("unknown type {other}"),
        };
        let theirs = match (vector.accepted, vector.error.starts_with("PANIC")) {
            (_, true) => Fate::Crashed,
            (true, _) => Fate::Taken,
            (false, _) => Fate::Refused,
        };
        if fates.iter().any(|fate| *fate != theirs) {
            differences.push(format!("{}: {fates:?}, not {theirs:?}", vector.name));
        }
    }
    assert_none(&differences);
}

#[test]
fn what_go_writes() {
    let Some(file) = vectors("frames.json") else {
        return;
    };
    let keys: Keys = serde_json::from_value(file["keys"].clone()).expect("keys");
    let mut differences = Vec::new();
    let mut both = [0, 0];
    for vector in section::<FrameVector>(&file, "frames") {
        let request = vector.kind == "request";
        let fate = match (request, vector.method) {
            (true, _) => asked(&keys, &vector.frame.0),
            (false, FIND_NODE | GET_VALUE) => answered(&keys, vector.method, &vector.frame.0),
            _ => continue,
        };
        both[usize::from(request)] += 1;
        if fate != Fate::Taken {
            differences.push(format!("{}: {fate:?}", vector.name));
        }
    }
    assert!(both.iter().all(|count| *count > 0));
    assert_none(&differences);
}

/// The node B, which knows only A.
fn node(keys: &Keys) -> UpstreamNode {
    let config = UpstreamConfig {
        bootstrap: vec![keys.a],
        ..UpstreamConfig::default()
    };
    UpstreamNode::new(config, Identity::PublicOnly(keys.b), NOW)
}

/// A asks B with this frame.
fn asked(keys: &Keys, frame: &[u8]) -> Fate {
    let mut node = node(keys);
    let stream = StreamId(1);
    let peer = keys.a;
    let path = PATH;
    node.handle(NOW, Input::StreamAccepted { stream, peer, path });
    let bytes = Cow::Borrowed(frame);
    node.handle(NOW, Input::Bytes { stream, bytes });
    let outputs = std::iter::from_fn(|| node.poll_output());
    let sends = outputs
        .filter(|it| matches!(it, Output::Send { .. }))
        .count();
    match (node.crashed(), sends) {
        (true, 0) => Fate::Crashed,
        (false, 0) => Fate::Refused,
        (false, 1) => Fate::Taken,
        other => panic!("{other:?}"),
    }
}

/// B asks A, which answers with this frame.
fn answered(keys: &Keys, method: u8, answer: &[u8]) -> Fate {
    let mut node = node(keys);
    node.handle(NOW, Input::TimerFired);
    // First the ping, then the lookup of the own id.
    assert_eq!(reply(&mut node, &frame(PING, "{}")), Some(PING));
    if method == GET_VALUE {
        assert_eq!(reply(&mut node, &frame(FIND_NODE, "{}")), Some(FIND_NODE));
        let get = Command::Get(GetRequest {
            target: Target::default(),
            policy: ReadPolicy::Freshest,
            owner: None,
            unknown_mirrors: false,
            timeout: None,
        });
        let op = OperationId(1);
        node.handle(NOW, Input::Command { op, command: get });
    }
    let failed = node.counters().calls_failed;
    assert_eq!(reply(&mut node, answer), Some(method));
    match (node.crashed(), node.counters().calls_failed - failed) {
        (true, 0) => Fate::Crashed,
        (false, 1) => Fate::Refused,
        (false, 0) => Fate::Taken,
        other => panic!("{other:?}"),
    }
}

/// Answers the only call of the node. Returns the method that it asked with.
fn reply(node: &mut UpstreamNode, answer: &[u8]) -> Option<u8> {
    let path = PATH;
    let mut asked = None;
    while let Some(output) = node.poll_output() {
        match output {
            Output::OpenStream { stream, .. } if asked.is_none() => {
                node.handle(NOW, Input::StreamOpened { stream, path });
            }
            Output::Send { stream, bytes } => {
                asked = bytes.get(4).copied();
                let bytes = Cow::Borrowed(answer);
                node.handle(NOW, Input::Bytes { stream, bytes });
                return asked;
            }
            _ => {}
        }
    }
    asked
}

fn frame(method: u8, body: &str) -> Vec<u8> {
    let mut frame = (body.len() as u32 + 1).to_be_bytes().to_vec();
    frame.push(method);
    frame.extend_from_slice(body.as_bytes());
    frame
}
