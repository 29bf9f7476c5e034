//! frames.json, `handler`: bytes sent to a new node, and its responses.
//!
//! A real node is driven by hand: one accepted stream, its bytes, and the verification of
//! signatures. The caller A behaves like a Go node: it answers the node's own calls.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use skydht_core::id::{NodeId, Target};
use skydht_core::item::{Item, MAX_VALUE_LEN, Salt, Seq, Value};
use skydht_core::key::{PublicKey, SecretKey, Signature};
use skydht_core::node::{
    Config, Counter, Identity, Input, Output, Path, Reach, StreamEnd, StreamId,
};
use skydht_core::record::StoredRecord;
use skydht_core::time::{Mono, Time, Unix};
use skydht_core::{Node, Seed};

use crate::hex::Hex;
use crate::items::value_by_rule;
use crate::report::{Case, Report};

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
    /// The whole frame. Its method and JSON are separate fields below, and the codec's vectors
    /// cover the rest.
    #[serde(rename = "response")]
    _response: Option<Hex>,
    response_method: Option<u8>,
    response_json: Option<String>,
    /// Error text of Go's frame reader; this implementation's errors are typed and counted.
    #[serde(rename = "read_error")]
    _read_error: Option<String>,
    caller_in_routing_table_after: Option<bool>,
    routing_table_size_after: Option<usize>,
    store_len_after: Option<usize>,
}

const REST_IS_SPACES: &str = "only the first 64 bytes are listed; the rest are spaces (0x20)";
/// Cases whose bytes are not listed: the value follows the rule of items.json.
const AT_THE_LIMIT: &str = "put_value, 65536 byte value (bytes not listed, rule as in items.json)";
const ABOVE_THE_LIMIT: &str = "put_value, 65537 byte value (bytes not listed)";

/// The method, which is the fifth byte of a frame.
const PING: u8 = 1;
const FIND_NODE: u8 = 2;
const PUT_VALUE: u8 = 4;

const NOW: Unix = Unix(Unix::BUILD.0 + 100 * 24 * 3_600_000_000_000);

pub(crate) fn run(file: &Json, report: &mut Report) {
    let Some(keys) = report.section::<Keys>(file, "keys") else {
        return;
    };
    let vectors: Vec<Vector> = report.section(file, "handler").unwrap_or_default();
    let listed = listed_items(&vectors);
    for vector in &vectors {
        check(vector, &keys, &listed, report);
    }
}

/// Returns the items that the `get_items` cases find, by target: the union of Go's responses.
fn listed_items(vectors: &[Vector]) -> BTreeMap<Target, Item> {
    let mut items = BTreeMap::new();
    for vector in vectors.iter().filter(|v| v.name.starts_with("get_items")) {
        for item in vector.expected()["items"].as_array().into_iter().flatten() {
            let item = item_from(item);
            items.entry(item.target()).or_insert(item);
        }
    }
    items
}

/// Parses an item in Go's JSON without this implementation's codec.
fn item_from(json: &Json) -> Item {
    let base64 = |field: &Json| {
        let text = field.as_str().unwrap_or_default();
        data_encoding::BASE64.decode(text.as_bytes()).unwrap()
    };
    Item {
        key: json["k"].as_str().unwrap().parse().unwrap(),
        seq: Seq(json["seq"].as_u64().unwrap()),
        signature: json["sig"].as_str().unwrap().parse().unwrap(),
        value: Value::from(base64(&json["v"])),
        salt: Salt::new(&base64(&json["salt"])),
    }
}

impl Vector {
    fn expected(&self) -> Json {
        let text = self
            .response_json
            .as_deref()
            .filter(|text| !text.is_empty());
        text.map_or(Json::Null, |text| serde_json::from_str(text).unwrap())
    }

    /// Returns the bytes to send.
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
        let item = Item::sign(&secret, Seq(7), value_by_rule(length), Salt::from("svc"));
        let request = json!({"item": {
            "k": item.key,
            "seq": item.seq,
            "sig": item.signature,
            "v": data_encoding::BASE64.encode(item.value.as_bytes()),
            "salt": data_encoding::BASE64.encode(item.salt.as_bytes()),
        }});
        frame(PUT_VALUE, &request)
    }

    /// Returns the items that the node stores before, according to the case's name.
    fn held(&self, listed: &BTreeMap<Target, Item>) -> Vec<Item> {
        if self.name == "get_value, present" {
            vec![item_from(&self.expected()["item"])]
        } else if self.name == "put_value, same seq again" {
            let sent = self.bytes_sent.as_ref().unwrap();
            let request: Json = serde_json::from_slice(&sent.0[5..]).unwrap();
            vec![item_from(&request["item"])]
        } else if self.name.starts_with("get_items") && self.store_len_after > Some(0) {
            assert_eq!(Some(listed.len()), self.store_len_after);
            listed.values().cloned().collect()
        } else {
            Vec::new()
        }
    }
}

fn frame(method: u8, body: &Json) -> Vec<u8> {
    let body = body.to_string();
    let mut out = (body.len() as u32 + 1).to_be_bytes().to_vec();
    out.push(method);
    out.extend_from_slice(body.as_bytes());
    out
}

fn check(vector: &Vector, keys: &Keys, listed: &BTreeMap<Target, Item>, report: &mut Report) {
    let mut driver = Driver::new(keys, vector.held(listed));
    driver.accept(&vector.bytes(keys), vector.client_closes_after_writing);
    let mut case = report.case(format!("handler/{}", vector.name));

    case.check("outcome", driver.outcome(), &vector.outcome);
    if vector.outcome.starts_with("PANIC") && driver.count(Counter::InvalidKeys) == 0 {
        case.fail("kills Go's process, and yet invalid_keys is not counted");
    }
    if let (Some(ours), Some(theirs)) = (driver.answer.get(4), vector.response_method) {
        case.check("response_method", ours, theirs);
    }
    if let Some(length) = driver.answer.first_chunk() {
        let rest = driver.answer.len() - length.len();
        case.check("frame length", u32::from_be_bytes(*length), rest);
    }
    if vector.outcome == "answered" && !driver.answer.is_empty() {
        let ours = serde_json::from_slice(&driver.answer[5..]);
        compare_bodies(&mut case, ours.unwrap_or(Json::Null), vector.expected());
    }
    let known = vector.expected()["closest"].as_array().map(Vec::len);
    if known.is_some_and(|peers| peers > 0) && !driver.answer.is_empty() {
        // By now the caller has answered the node's ping, as it had in Go before its first request.
        driver.ask_again(&vector.bytes(keys));
        let ours = driver.answer.get(5..).unwrap_or_default();
        let ours: Json = serde_json::from_slice(ours).unwrap_or_default();
        let theirs = vector.expected();
        let (ours, theirs) = (comparable(&ours), comparable(&theirs));
        case.check("response, asked again", ours, theirs);
    }
    let in_table = driver.node.peers().iter().any(|peer| peer.key == keys.a);
    if let Some(theirs) = vector.caller_in_routing_table_after {
        case.check("caller_in_routing_table_after", in_table, theirs);
    }
    let snapshot = driver.node.snapshot();
    if let Some(theirs) = vector.routing_table_size_after {
        case.check("routing_table_size_after", snapshot.peers, theirs);
    }
    if let Some(theirs) = vector.store_len_after {
        case.check("store_len_after", snapshot.store.items, theirs);
    }
    if vector.outcome == "waits_for_more" {
        driver.wait();
        if !driver.closed {
            case.fail("an unfinished request holds its stream for ever");
        }
    }
}

/// Compares field by field, so that a difference can be stated without concrete keys.
fn compare_bodies(case: &mut Case<'_>, ours: Json, theirs: Json) {
    let (Json::Object(ours), Json::Object(theirs)) = (ours, theirs) else {
        case.fail("a body is not a JSON object");
        return;
    };
    let names = |map: &Map<String, Json>| map.keys().cloned().collect::<Vec<_>>();
    case.check("fields", names(&ours), names(&theirs));
    for (name, theirs) in &theirs {
        if let Some(ours) = ours.get(name) {
            let field = format!("response.{name}");
            case.check(&field, comparable(ours), comparable(theirs));
        }
    }
}

/// Replaces what varies between runs: times, random signatures (which must be valid), and the cause
/// after `invalid signature`, which depends on the version of Go.
fn comparable(body: &Json) -> Json {
    match body {
        Json::Object(map) => {
            let mut map = map.clone();
            if map.contains_key("sig") {
                let verdict = item_from(body).check();
                map["sig"] = json!(verdict.map_or_else(|e| e.to_string(), |()| "valid".into()));
            }
            if let Some(seen) = map.get_mut("last_seen") {
                *seen = json!(seen.as_str().is_some_and(|text| text.contains('T')));
            }
            map.into_iter().map(|(k, v)| (k, comparable(&v))).collect()
        }
        Json::Array(list) => list.iter().map(comparable).collect(),
        Json::String(text) => match text.split_once("invalid signature: ") {
            Some((before, _)) => json!(format!("{before}invalid signature")),
            None => body.clone(),
        },
        other => other.clone(),
    }
}

/// The node under test and its caller.
struct Driver {
    node: Node,
    now: Time,
    caller: PublicKey,
    /// The stream that the caller opened last.
    stream: StreamId,
    /// Bytes that the node sent to the caller.
    answer: Vec<u8>,
    /// Whether the node closed the caller's stream.
    closed: bool,
    /// Whether the caller closed its stream.
    caller_closed: bool,
    /// The node's own calls to A.
    calls: BTreeMap<StreamId, Vec<u8>>,
}

impl Driver {
    fn new(keys: &Keys, held: Vec<Item>) -> Self {
        let now = Time {
            mono: Mono(0),
            unix: NOW,
        };
        let identity = Identity::PublicOnly(keys.b);
        let node = Node::new(Config::default(), identity, Seed::from_number(1), now).unwrap();
        let mut driver = Self {
            node,
            now,
            caller: keys.a,
            stream: StreamId(1),
            answer: Vec::new(),
            closed: false,
            caller_closed: false,
            calls: BTreeMap::new(),
        };
        for item in held {
            let record = StoredRecord {
                target: item.target(),
                item,
                vouched: now.unix,
                expires: Some(now.unix.plus(Config::default().item_ttl)),
                bound: None,
            };
            driver.input(Input::Loaded {
                record: Box::new(record),
                proven: false,
            });
        }
        driver
    }

    /// Sends the same bytes on a new stream.
    fn ask_again(&mut self, bytes: &[u8]) {
        self.stream.0 += 2;
        self.answer.clear();
        self.closed = false;
        self.accept(bytes, false);
    }

    fn accept(&mut self, bytes: &[u8], close: bool) {
        self.input(Input::StreamAccepted {
            stream: self.stream,
            peer: self.caller,
            path: relayed(),
        });
        // Bytes arrive in pieces, as from a transport.
        for piece in bytes.chunks(64 << 10) {
            if !self.closed {
                self.input(Input::Bytes {
                    stream: self.stream,
                    bytes: Cow::Borrowed(piece),
                });
            }
        }
        self.do_what_is_due();
        if close && !self.closed {
            self.caller_closed = true;
            self.input(Input::StreamClosed {
                stream: self.stream,
                end: StreamEnd::Finished,
            });
        }
    }

    /// Handles work that the node deferred in order to bound the time of a single `handle`.
    fn do_what_is_due(&mut self) {
        while let Some(deadline) = self.node.next_deadline()
            && deadline.at <= self.now.mono
        {
            self.input(Input::TimerFired);
        }
    }

    /// Advances the time beyond the request's read deadline.
    fn wait(&mut self) {
        let end = self.now.mono.plus(2 * Config::default().hard_deadline);
        while let Some(deadline) = self.node.next_deadline() {
            if self.closed || deadline.at > end {
                break;
            }
            let passed = deadline.at.since(self.now.mono);
            self.now = Time {
                mono: self.now.mono.plus(passed),
                unix: self.now.unix.plus(passed),
            };
            self.input(Input::TimerFired);
        }
    }

    fn outcome(&self) -> &'static str {
        if !self.answer.is_empty() {
            "answered"
        } else if self.closed || self.caller_closed {
            "closed_without_answer"
        } else {
            "waits_for_more"
        }
    }

    fn count(&self, counter: Counter) -> u64 {
        self.node.snapshot().counters.get(counter)
    }

    /// Passes in one input and executes the node's outputs.
    fn input(&mut self, input: Input<'_>) {
        self.node.handle(self.now, input).unwrap();
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { stream, bytes } if stream == self.stream => {
                    if self.answer.is_empty() {
                        self.answer = bytes.to_vec();
                    }
                    self.node.handle(self.now, Input::Sent { stream }).unwrap();
                }
                Output::Send { stream, bytes } => self.serve(stream, &bytes),
                Output::CloseStream { stream, .. } if stream == self.stream => self.closed = true,
                Output::CloseStream { stream, .. } => drop(self.calls.remove(&stream)),
                Output::OpenStream { stream, peer, .. } => {
                    assert_eq!(peer, self.caller, "only the caller is known");
                    self.calls.insert(stream, Vec::new());
                    let path = relayed();
                    let opened = Input::StreamOpened { stream, path };
                    self.node.handle(self.now, opened).unwrap();
                }
                Output::Verify { job, work } => {
                    let verdict = work.run();
                    let verified = Input::Verified { job, verdict };
                    self.node.handle(self.now, verified).unwrap();
                }
                Output::Persist { .. }
                | Output::PersistMark { .. }
                | Output::LoadTarget { .. }
                | Output::PauseReading { .. }
                | Output::ResumeReading { .. }
                | Output::Event(_) => {}
                other @ (Output::Probe { .. } | Output::Finished { .. }) => {
                    panic!("unexpected output {other:?}")
                }
            }
        }
    }

    /// Answers a call of the node as A, like a Go node.
    fn serve(&mut self, stream: StreamId, bytes: &[u8]) {
        let Some(received) = self.calls.get_mut(&stream) else {
            return;
        };
        received.extend_from_slice(bytes);
        let answer = match received.get(4) {
            Some(&PING) => {
                let id: NodeId = self.caller.id();
                let body = json!({"responder_id": id.as_bytes(), "responder_pk": self.caller});
                frame(PING, &body)
            }
            Some(&FIND_NODE) => frame(FIND_NODE, &json!({"closest": []})),
            other => panic!("no need to call method {other:?}"),
        };
        let node = &mut self.node;
        node.handle(self.now, Input::Sent { stream }).unwrap();
        let bytes = Cow::Owned(answer);
        node.handle(self.now, Input::Bytes { stream, bytes })
            .unwrap();
        let end = StreamEnd::Finished;
        node.handle(self.now, Input::StreamClosed { stream, end })
            .unwrap();
        self.calls.remove(&stream);
    }
}

/// The path of a stream over DMSG, as are all of Go's streams.
fn relayed() -> Path {
    Path {
        reach: Reach::Relayed,
        remote: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_the_run_is_not_compared() {
        let reason = |why: &str| json!({"error": format!("dht: invalid signature: {why}")});
        assert_eq!(comparable(&reason("a")), comparable(&reason("b")));
        assert_ne!(
            comparable(&json!({"error": "a"})),
            comparable(&json!({"error": "b"}))
        );
        let secret = SecretKey::from_bytes(&[1; 32]).unwrap();
        let mut item = Item::sign(&secret, Seq(1), Value::new(b"v"), Salt::default());
        let text =
            |item: &Item| json!({"k": item.key, "seq": 1, "sig": item.signature, "v": "dg=="});
        let good = comparable(&text(&item));
        item.signature = Signature::default();
        assert_ne!(good, comparable(&text(&item)));
    }
}
