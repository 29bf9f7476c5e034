//! `frames.json`: raw bytes to a new node, and its answers, compared byte for byte.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use skydht_core::item::{Item, MAX_VALUE_LEN, Salt, Seq, Value};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{Identity, Input, Output, Path, Reach, StreamEnd, StreamId};
use skydht_core::time::{Mono, Time, Unix};
use skydht_core::wire::{WireItem, decode_item};
use skydht_sim::host::Host as _;
use skydht_sim::upstream::{UpstreamConfig, UpstreamNode};

use crate::{Hex, assert_none, section, vectors};

#[derive(Deserialize)]
struct Keys {
    #[serde(rename = "A_pk")]
    a: PublicKey,
    #[serde(rename = "B_pk")]
    b: PublicKey,
    #[serde(rename = "C_sk")]
    c_secret: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    outcome: String,
    bytes_sent: Option<Hex>,
    bytes_sent_note: Option<String>,
    bytes_sent_total: Option<usize>,
    #[serde(default)]
    client_closes_after_writing: bool,
    response: Option<Hex>,
    response_method: Option<u8>,
    response_json: Option<String>,
    #[serde(rename = "read_error")]
    _read_error: Option<String>,
    caller_in_routing_table_after: Option<bool>,
    routing_table_size_after: Option<usize>,
    store_len_after: Option<usize>,
}

const REST_IS_SPACES: &str = "only the first 64 bytes are listed; the rest are spaces (0x20)";
/// Cases whose bytes are in no file: a value made by the rule of items.json.
const AT_THE_LIMIT: &str = "put_value, 65536 byte value (bytes not listed, rule as in items.json)";
const ABOVE_THE_LIMIT: &str = "put_value, 65537 byte value (bytes not listed)";
const PUT_VALUE: u8 = 4;

#[test]
fn every_answer_is_gos() {
    let Some(file) = vectors("frames.json") else {
        return;
    };
    let keys: Keys = serde_json::from_value(file["keys"].clone()).expect("keys");
    let vectors: Vec<Vector> = section(&file, "handler");
    let listed = listed_items(&vectors);
    let mut differences = Vec::new();
    let mut crashes = 0;
    for vector in &vectors {
        crashes += usize::from(vector.outcome.starts_with("PANIC"));
        check(vector, &keys, &listed, &mut differences);
    }
    assert!(crashes > 0, "no case ends Go's process");
    assert_none(&differences);
}

/// The items that the `get_items` cases find: the union of Go's answers.
fn listed_items(vectors: &[Vector]) -> Vec<WireItem> {
    let mut items = BTreeMap::new();
    for vector in vectors.iter().filter(|v| v.name.starts_with("get_items")) {
        let answer = vector.response_json.as_deref().filter(|it| !it.is_empty());
        let answer: Json = answer.map_or(Json::Null, |it| serde_json::from_str(it).unwrap());
        for item in answer["items"].as_array().into_iter().flatten() {
            let item = item_from(item);
            let target = item.item().map(|it| it.target());
            items.entry(target).or_insert(item);
        }
    }
    items.into_values().collect()
}

fn item_from(json: &Json) -> WireItem {
    decode_item(json.to_string().as_bytes()).expect("Go's own item")
}

impl Vector {
    /// The bytes to send.
    fn bytes(&self, keys: &Keys) -> Vec<u8> {
        let length = match self.name.as_str() {
            AT_THE_LIMIT => MAX_VALUE_LEN,
            ABOVE_THE_LIMIT => MAX_VALUE_LEN + 1,
            _ => {
                let mut bytes = self.bytes_sent.clone().expect("bytes or a rule").0;
                if let Some(total) = self.bytes_sent_total {
                    assert_eq!(self.bytes_sent_note.as_deref(), Some(REST_IS_SPACES));
                    bytes.resize(total, b' ');
                }
                return bytes;
            }
        };
        let secret = SecretKey::from_bytes(&keys.c_secret.0).unwrap();
        let value = (0..length).map(|i| (i * 31 + i / 256 + 7) as u8);
        let value = Value::from(value.collect::<Vec<_>>());
        let item = Item::sign(&secret, Seq(7), value, Salt::from("svc"));
        let body = json!({"item": {
            "k": item.key,
            "seq": item.seq,
            "sig": item.signature,
            "v": data_encoding::BASE64.encode(item.value.as_bytes()),
            "salt": data_encoding::BASE64.encode(item.salt.as_bytes()),
        }});
        let body = body.to_string();
        let mut frame = (body.len() as u32 + 1).to_be_bytes().to_vec();
        frame.push(PUT_VALUE);
        frame.extend_from_slice(body.as_bytes());
        frame
    }

    /// The items that the node holds beforehand, by the name of the case.
    fn held(&self, listed: &[WireItem]) -> Vec<WireItem> {
        let json = |text: &[u8]| serde_json::from_slice::<Json>(text).expect("JSON");
        if self.name == "get_value, present" {
            let answer = self.response_json.as_deref().expect("an answer");
            vec![item_from(&json(answer.as_bytes())["item"])]
        } else if self.name == "put_value, same seq again" {
            let sent = self.bytes_sent.as_ref().expect("a request");
            vec![item_from(&json(&sent.0[5..])["item"])]
        } else if self.name.starts_with("get_items") && self.store_len_after > Some(0) {
            assert_eq!(Some(listed.len()), self.store_len_after);
            listed.to_vec()
        } else {
            Vec::new()
        }
    }
}

fn check(vector: &Vector, keys: &Keys, listed: &[WireItem], differences: &mut Vec<String>) {
    let mut driver = Driver::new(keys);
    for item in vector.held(listed) {
        let stored = driver.node.store_mut().put(Mono(0), &item);
        assert_eq!(stored, Ok(()), "{}", vector.name);
    }
    driver.ask(
        keys.a,
        &vector.bytes(keys),
        vector.client_closes_after_writing,
    );
    if vector.outcome == "waits_for_more" {
        // Reads have no deadline, not even after a day.
        driver.wait(Duration::from_secs(24 * 3_600));
    }
    let mut differs = |what: &str, ours: Json, theirs: Json| {
        if ours != theirs {
            let name = &vector.name;
            differences.push(format!("{name}, {what}: {ours}, not {theirs}"));
        }
    };
    let panics = vector.outcome.starts_with("PANIC");
    let outcome = match panics {
        true => "crashed",
        false => &vector.outcome,
    };
    differs("outcome", json!(driver.outcome()), json!(outcome));
    differs("crashed", json!(driver.node.crashed()), json!(panics));
    let (length, answer) = driver.answer.split_at(driver.answer.len().min(4));
    if !answer.is_empty() {
        let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
        differs("length", json!(length), json!(answer.len()));
        let body = String::from_utf8_lossy(&answer[1..]);
        let theirs = vector.response_json.as_deref().unwrap_or_default();
        differs("body", json!(comparable(&body)), json!(comparable(theirs)));
        if let Some(method) = vector.response_method {
            differs("method", json!(answer[0]), json!(method));
        }
        if let Some(whole) = &vector.response {
            let theirs = String::from_utf8_lossy(&whole.0[5..]).into_owned();
            differs(
                "frame",
                json!(comparable(&body)),
                json!(comparable(&theirs)),
            );
        }
    }
    let table = driver.node.table();
    if let Some(theirs) = vector.caller_in_routing_table_after {
        let ours = table.iter().any(|it| it.key == Some(keys.a));
        differs("caller in the table", json!(ours), json!(theirs));
    }
    if let Some(theirs) = vector.routing_table_size_after {
        differs("table size", json!(table.len()), json!(theirs));
    }
    if let Some(theirs) = vector.store_len_after {
        let ours = driver.node.store().len();
        differs("store size", json!(ours), json!(theirs));
    }
}

/// The text without the parts that depend on the run: times, signatures with their random nonces,
/// and the library's reason after `invalid signature`.
fn comparable(text: &str) -> String {
    let mut out = text.to_owned();
    for name in ["\"last_seen\":\"", "\"sig\":\"", "invalid signature: "] {
        let mut rest = out.as_str();
        let mut cut = String::new();
        while let Some(at) = rest.find(name) {
            let (before, after) = rest.split_at(at + name.len());
            cut.push_str(before);
            rest = &after[after.find('"').unwrap_or(after.len())..];
        }
        cut.push_str(rest);
        out = cut;
    }
    out
}

/// The node with its only caller.
struct Driver {
    node: UpstreamNode,
    now: Time,
    answer: Vec<u8>,
    closed: bool,
    caller_closed: bool,
}

const STREAM: StreamId = StreamId(1);

impl Driver {
    fn new(keys: &Keys) -> Self {
        let now = Time {
            mono: Mono(0),
            unix: Unix::BUILD,
        };
        let identity = Identity::PublicOnly(keys.b);
        Self {
            node: UpstreamNode::new(UpstreamConfig::default(), identity, now),
            now,
            answer: Vec::new(),
            closed: false,
            caller_closed: false,
        }
    }

    fn ask(&mut self, peer: PublicKey, bytes: &[u8], close: bool) {
        let path = Path {
            reach: Reach::Relayed,
            remote: None,
        };
        let stream = STREAM;
        self.input(Input::StreamAccepted { stream, peer, path });
        // In pieces, as a transport would deliver them.
        for piece in bytes.chunks(64 << 10) {
            if !self.closed {
                let bytes = Cow::Borrowed(piece);
                self.input(Input::Bytes { stream, bytes });
            }
        }
        if close && !self.closed {
            self.caller_closed = true;
            let end = StreamEnd::Finished;
            self.input(Input::StreamClosed { stream, end });
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now.mono.plus(time);
        while let Some(deadline) = self.node.next_deadline().filter(|it| *it <= end) {
            let passed = deadline.since(self.now.mono);
            self.now.mono = self.now.mono.plus(passed);
            self.now.unix = self.now.unix.plus(passed);
            self.input(Input::TimerFired);
        }
    }

    fn outcome(&self) -> &'static str {
        if self.node.crashed() {
            assert!(self.closed && self.answer.is_empty());
            "crashed"
        } else if !self.answer.is_empty() {
            assert!(self.closed, "one answer, then both close");
            "answered"
        } else if self.closed || self.caller_closed {
            "closed_without_answer"
        } else {
            "waits_for_more"
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.node.handle(self.now, input);
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { stream, bytes } => {
                    assert!(stream == STREAM && self.answer.is_empty() && !self.closed);
                    self.answer = bytes.to_vec();
                }
                Output::CloseStream { stream, .. } => {
                    assert!(stream == STREAM && !self.closed, "closed once");
                    self.closed = true;
                }
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }
}

#[test]
fn what_depends_on_the_run_is_not_compared() {
    let text = |time: &str, why: &str| {
        format!(r#"{{"last_seen":"{time}","error":"dht: invalid signature: {why}"}}"#)
    };
    assert_eq!(comparable(&text("a", "b")), comparable(&text("cc", "d")));
    assert_ne!(comparable(r#"{"v":"a"}"#), comparable(r#"{"v":"b"}"#));
    assert_eq!(comparable(r#"{"sig":"a","v":1}"#), r#"{"sig":"","v":1}"#);
}
