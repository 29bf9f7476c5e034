//! Compatibility with older and newer versions of peers, records and journals.

use skydht_core::journal::{Header, Replay, ReplayError};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{
    Advertise, Command, Config, Identity, Input, OperationId, Output, Path, Reach, StreamEnd,
    StreamId,
};
use skydht_core::record::{RecordFault, StoredRecord};
use skydht_core::time::{Mono, Time, Unix};
use skydht_core::wire::{FrameDecoder, decode_request};
use skydht_core::wire::{Method, Request, Sender, Side};
use skydht_core::{Node, Seed};

const NOW: Time = Time {
    mono: Mono(1_000_000_000),
    unix: Unix(1_790_000_000_000_000_000),
};

fn key(n: u8) -> PublicKey {
    SecretKey::from_entropy(&[n; 32]).public()
}

/// A node that advertises a port.
struct Subject {
    node: Node,
    streams: u64,
}

/// Outputs after one input, as far as these tests need them.
#[derive(Default)]
struct Outputs {
    sent: Vec<(StreamId, Vec<u8>)>,
    closed: Vec<StreamId>,
    opens: Vec<(StreamId, PublicKey)>,
}

impl Outputs {
    fn append(&mut self, mut later: Self) {
        self.sent.append(&mut later.sent);
        self.closed.append(&mut later.closed);
        self.opens.append(&mut later.opens);
    }
}

impl Subject {
    fn new() -> Self {
        let mut config = Config::default();
        config.advertise = Advertise::Port(7070);
        let identity = Identity::Keyed(SecretKey::from_entropy(&[0; 32]));
        let node = Node::new(config, identity, Seed([1; 32]), NOW).unwrap();
        Self { node, streams: 1 }
    }

    /// Passes in one input, and then fires the timers that are due.
    fn input(&mut self, input: Input<'_>) -> Outputs {
        let mut outputs = self.hand_in(input);
        while let Some(deadline) = self.node.next_deadline()
            && deadline.at <= NOW.mono
        {
            outputs.append(self.hand_in(Input::TimerFired));
        }
        for (stream, _) in outputs.sent.clone() {
            outputs.append(self.hand_in(Input::Sent { stream }));
        }
        outputs
    }

    fn hand_in(&mut self, input: Input<'_>) -> Outputs {
        self.node.handle(NOW, input).unwrap();
        let mut outputs = Outputs::default();
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { stream, bytes } => outputs.sent.push((stream, bytes.to_vec())),
                Output::CloseStream { stream, .. } => outputs.closed.push(stream),
                Output::OpenStream { stream, peer, .. } => outputs.opens.push((stream, peer)),
                _ => {}
            }
        }
        outputs
    }

    /// Sends a peer's request on a new stream; returns the response's body, and whether the stream
    /// stays open.
    fn ask(&mut self, peer: u8, method: Method, body: &str) -> (String, bool) {
        let stream = StreamId(self.streams);
        self.streams += 2;
        let path = Path {
            reach: Reach::Relayed,
            remote: None,
        };
        let peer = key(peer);
        self.input(Input::StreamAccepted { stream, peer, path });
        let outputs = self.input(Input::Bytes {
            stream,
            bytes: frame(method, body).into(),
        });
        let (_, answer) = outputs
            .sent
            .iter()
            .find(|(to, _)| *to == stream)
            .expect("an answer");
        assert_eq!(answer[4], method.as_byte());
        let body = String::from_utf8(answer[5..].to_vec()).unwrap();
        (body, !outputs.closed.contains(&stream))
    }

    /// Lets the node ping `peer`, and responds with `answer`; returns whether the node keeps the
    /// stream for its next call.
    fn ping(&mut self, op: u64, peer: u8, answer: &str) -> bool {
        let command = Command::Ping {
            peer: key(peer),
            addr: "192.0.2.9:7070".parse().ok(),
        };
        let op = OperationId(op);
        let outputs = self.input(Input::Command { op, command });
        let (stream, _) = *outputs
            .opens
            .iter()
            .find(|(_, to)| *to == key(peer))
            .unwrap();
        let path = Path {
            reach: Reach::Relayed,
            remote: None,
        };
        let outputs = self.input(Input::StreamOpened { stream, path });
        let mut bytes = &outputs.sent[0].1[..];
        let asked = FrameDecoder::new(Side::Request).push(&mut bytes).unwrap();
        let asked = decode_request(&asked.unwrap()).unwrap();
        assert_eq!(asked.request, Request::Ping);
        // The request contains what upstream needs, whatever follows it.
        assert_eq!(asked.sender, Sender::of(&self.node.public_key()));
        let outputs = self.input(Input::Bytes {
            stream,
            bytes: frame(Method::Ping, answer).into(),
        });
        let kept = !outputs.closed.contains(&stream);
        if kept {
            self.input(Input::StreamClosed {
                stream,
                end: StreamEnd::Finished,
            });
        }
        kept
    }

    fn speaks_ours(&self, peer: u8) -> Option<bool> {
        let peers = self.node.peers();
        peers
            .iter()
            .find(|known| known.key == key(peer))
            .and_then(|known| known.skydht)
    }
}

fn frame(method: Method, body: &str) -> Vec<u8> {
    let mut frame = u32::try_from(1 + body.len())
        .unwrap()
        .to_be_bytes()
        .to_vec();
    frame.push(method.as_byte());
    frame.extend_from_slice(body.as_bytes());
    frame
}

#[test]
fn a_peer_without_extensions_is_answered_without_and_its_stream_ends() {
    let mut subject = Subject::new();
    for (method, body) in [
        (Method::Ping, "{}"),
        (Method::FindNode, r#"{"target":[1]}"#),
        (Method::GetValue, r#"{"target":[1]}"#),
        (Method::GetItems, "{}"),
        (Method::PutBatch, r#"{"items":[]}"#),
    ] {
        let (answer, stays) = subject.ask(1, method, body);
        assert!(
            !answer.contains("\"ext\"") && !answer.contains("\"addr\""),
            "{answer}"
        );
        assert!(!stays, "{method:?}");
    }
}

#[test]
fn a_later_version_with_unknown_fields_is_served_normally() {
    let mut subject = Subject::new();
    let ext = r#"{"v":9,"serve":true,"want":"everything","also":{"x":[1,null]},"until":1e9}"#;
    let body = format!(r#"{{"target":[1],"later":{{"a":1}},"ext":{ext}}}"#);
    let (answer, stays) = subject.ask(1, Method::FindNode, &body);
    assert!(
        answer.ends_with(r#","ext":{"v":2,"keep":true,"addr":":7070"}}"#),
        "{answer}"
    );
    assert!(stays);
}

#[test]
fn an_extension_of_another_shape_is_none() {
    let mut subject = Subject::new();
    for ext in ["\"v9\"", "[9]", "{\"v\":\"9\"}", "{\"v\":300}", "9"] {
        let body = format!(r#"{{"target":[1],"ext":{ext}}}"#);
        let (answer, stays) = subject.ask(1, Method::FindNode, &body);
        assert!(!answer.contains("\"ext\"") && !stays, "{ext}: {answer}");
    }
}

#[test]
fn what_a_peer_speaks_is_learned_from_its_answers() {
    let mut subject = Subject::new();
    assert!(!subject.ping(1, 1, "{}"));
    assert_eq!(subject.speaks_ours(1), Some(false));
    assert!(subject.ping(2, 2, r#"{"ext":{"v":1,"keep":true}}"#));
    assert_eq!(subject.speaks_ours(2), Some(true));
    assert!(subject.ping(3, 3, r#"{"ext":{"v":9,"keep":true,"later":[1]},"more":2}"#));
    assert_eq!(subject.speaks_ours(3), Some(true));
    // The peer has returned to an older version.
    assert!(!subject.ping(4, 2, "{}"));
    assert_eq!(subject.speaks_ours(2), Some(false));
}

#[test]
fn a_method_of_a_later_version_ends_the_stream_and_nothing_else() {
    let mut subject = Subject::new();
    let stream = StreamId(1);
    subject.streams = 3;
    let (peer, reach, remote) = (key(1), Reach::Relayed, None);
    let path = Path { reach, remote };
    subject.input(Input::StreamAccepted { stream, peer, path });
    let outputs = subject.input(Input::Bytes {
        stream,
        bytes: b"\0\0\0\x03\x41{}".as_slice().into(),
    });
    assert_eq!((outputs.closed, outputs.sent.len()), (vec![stream], 0));
    let (answer, _) = subject.ask(1, Method::Ping, "{}");
    assert!(answer.contains("responder_pk"));
}

#[test]
fn records_of_other_versions_are_named() {
    let item = skydht_core::item::Item::sign(
        &SecretKey::from_entropy(&[1; 32]),
        skydht_core::item::Seq(1),
        skydht_core::item::Value::new(b"v"),
        skydht_core::item::Salt::from("s"),
    );
    let record = StoredRecord {
        target: item.target(),
        item,
        vouched: NOW.unix,
        expires: None,
        bound: None,
    };
    let mut bytes = record.encode();
    for version in [0, 2, 255] {
        bytes[0] = version;
        let error = StoredRecord::decode(&bytes).unwrap_err();
        assert_eq!(
            (error.offset, error.what),
            (0, RecordFault::Version(version))
        );
        let text = format!("stored record, byte 0: version {version} is not known");
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn journals_of_other_formats_are_refused_by_number() {
    let header = Header::new(Config::default(), key(0), Seed([1; 32]), NOW);
    assert!(Replay::new(header.clone()).is_ok());
    for format in [0, header.format + 1] {
        let other = Header {
            format,
            ..header.clone()
        };
        let error = Replay::new(other).err().unwrap();
        assert_eq!(error, ReplayError::Format { got: format });
        assert!(
            error
                .to_string()
                .starts_with(&format!("journal format {format}, "))
        );
    }
}

#[test]
fn a_header_of_an_earlier_program_lacks_what_came_later() {
    // Missing configuration and limits get their defaults.
    let header = Header::new(Config::default(), key(0), Seed([1; 32]), NOW);
    let mut json = serde_json::to_value(&header).unwrap();
    let config = json["config"].as_object_mut().unwrap();
    config.remove("disjoint_paths").unwrap();
    config["limits"]
        .as_object_mut()
        .unwrap()
        .remove("ping_backs")
        .unwrap();
    let read: Header = serde_json::from_value(json).unwrap();
    assert_eq!(read, header);
}
