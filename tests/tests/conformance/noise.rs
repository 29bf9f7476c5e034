//! noise.json: handshakes, transport records and frames of DMSG, on both sides.

use futures::executor::block_on;
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _, Cursor};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_dmsg::cipher::{CipherError, Sealer};
use skydht_dmsg::frame;
use skydht_dmsg::handshake::{
    Ephemeral, Handshake, KK_PROTOCOL, NoiseError, Transport, XK_PROTOCOL,
};
use skydht_dmsg::secure::Secure;

use crate::hex::{Hex, hex};
use crate::report::{Case, Report};

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Side {
    Initiator,
    Responder,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    static_sk: Hex,
    static_pk: Hex,
    ephemeral_sk: Hex,
    ephemeral_pk: Hex,
}

/// Chaining and cipher keys are not accessible; values derived from them are compared.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    h: Hex,
    #[serde(rename = "ck")]
    _ck: Hex,
    #[serde(rename = "k")]
    _k: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    from: Side,
    message: Hex,
    framed: Hex,
    state_after: State,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    from: Side,
    plaintext: Hex,
    nonce_counter: u64,
    output: Hex,
    framed: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rejection {
    name: String,
    to: Side,
    after_transport: usize,
    ciphertext: Hex,
    decrypt_unsafe_error: String,
    responder_dec_nonce_before: u64,
    responder_dec_nonce_after: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstRejection {
    name: String,
    message: Hex,
    error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DhOutputs {
    ee: Hex,
    es: Hex,
    se: Hex,
    ss: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    pattern: String,
    protocol_name: String,
    protocol_name_hash: Hex,
    prologue: Hex,
    initiator: Keys,
    responder: Keys,
    dh_outputs: DhOutputs,
    initial_state: State,
    initial_state_equal_on_both_sides: bool,
    messages: Vec<Message>,
    handshake_hash: Hex,
    responder_sees_initiator_static: Hex,
    split_first_key: Hex,
    split_second_key: Hex,
    initiator_sends_with: String,
    initiator_sends_with_key: Hex,
    responder_sends_with_key: Hex,
    transport: Vec<Record>,
    rejections: Vec<Rejection>,
    first_message_rejections: Vec<FirstRejection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    prefix_value: u16,
    error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Split {
    pattern: String,
    initiator_static_sk: Hex,
    initiator_ephemeral_sk: Hex,
    responder_static_sk: Hex,
    responder_ephemeral_sk: Hex,
    /// Both static keys, then both ephemeral ones; the initiator's first.
    pks: Vec<Hex>,
    write_rule: String,
    frame_body_sizes: Vec<usize>,
    stream_len: usize,
    stream_sha256: Hex,
}

pub(crate) fn run(file: &Value, report: &mut Report) {
    if let Some(vectors) = report.section::<Vec<Vector>>(file, "handshakes") {
        for (i, vector) in vectors.iter().enumerate() {
            handshake(
                &format!("handshakes/{i} {}", vector.pattern),
                vector,
                report,
            );
        }
    }
    if let Some(limits) = report.section::<Vec<Limit>>(file, "raw_frame_limits") {
        for limit in limits {
            let mut case = report.case(format!("raw_frame_limits/{}", limit.prefix_value));
            let ours = frame::body_len(limit.prefix_value.to_be_bytes());
            case.check("accepted", ours.is_ok(), limit.error.is_empty());
        }
    }
    if let Some(split) = report.section::<Split>(file, "read_writer_split") {
        read_writer_split(&split, report);
    }
    let mut case = report.case("constants");
    case.check(
        "max_prefix_value",
        frame::MAX_BODY,
        &file["max_prefix_value"],
    );
    case.check(
        "max_payload_size",
        frame::MAX_PLAINTEXT,
        &file["max_payload_size"],
    );
    let whole = frame::PREFIX_LEN + frame::MAX_BODY;
    case.check("max_frame_size", whole, &file["max_frame_size"]);
    case.check("dh_name", XK_PROTOCOL.split('_').nth(2), &file["dh_name"]);
    case.check(
        "dh_len",
        dh(&key(&[1; 32]), &key(&[2; 32])).len(),
        &file["dh_len"],
    );
    // The note is prose; the DH outputs of every handshake confirm it.
    let noted = "DH output = SHA256(compressed shared point) followed by one zero byte";
    case.check("scipher_ecdh_note", noted, &file["scipher_ecdh_note"]);
}

fn key(bytes: &[u8]) -> SecretKey {
    SecretKey::from_bytes(bytes).expect("the vectors' secret keys are good")
}

fn dh(secret: &SecretKey, other: &SecretKey) -> Vec<u8> {
    let shared = secret.diffie_hellman(&other.public());
    let mut output = shared.expect("a good key").to_vec();
    output.push(0);
    output
}

/// Returns both sides of a handshake with the vector's ephemeral keys.
fn sides(pattern: &str, keys: [&Hex; 4]) -> [Handshake; 2] {
    let [static_i, ephemeral_i, static_r, ephemeral_r] = keys.map(|sk| key(&sk.0));
    let (public_i, public_r) = (static_i.public(), static_r.public());
    let ephemeral_i = Ephemeral::fixed_for_testing_only(ephemeral_i);
    let ephemeral_r = Ephemeral::fixed_for_testing_only(ephemeral_r);
    match pattern {
        "XK" => [
            Handshake::xk_initiator(&static_i, &public_r, ephemeral_i),
            Handshake::xk_responder(&static_r, ephemeral_r),
        ],
        "KK" => [
            Handshake::kk_initiator(&static_i, &public_r, ephemeral_i),
            Handshake::kk_responder(&static_r, &public_i, ephemeral_r),
        ],
        other => panic!("pattern {other}"),
    }
    .map(|side| side.expect("good keys"))
}

impl Vector {
    fn sides(&self) -> [Handshake; 2] {
        let (i, r) = (&self.initiator, &self.responder);
        let keys = [&i.static_sk, &i.ephemeral_sk, &r.static_sk, &r.ephemeral_sk];
        sides(&self.pattern, keys)
    }

    /// Runs the handshake with this implementation's messages.
    fn transports(&self) -> [Transport; 2] {
        let [mut initiator, mut responder] = self.sides();
        for message in &self.messages {
            let (from, to) = match message.from {
                Side::Initiator => (&mut initiator, &mut responder),
                Side::Responder => (&mut responder, &mut initiator),
            };
            let mut bytes = Vec::new();
            from.write_message(&mut bytes).expect("our turn");
            to.read_message(&bytes).expect("our own message");
        }
        [initiator, responder].map(|side| side.finish().expect("the last message is through"))
    }
}

fn framed(body: &[u8]) -> String {
    let prefix = frame::prefix(body.len()).expect("short enough");
    hex([&prefix[..], body].concat())
}

fn handshake(name: &str, vector: &Vector, report: &mut Report) {
    let mut case = report.case(name);
    keys_and_names(vector, &mut case);
    let [mut initiator, mut responder] = vector.sides();
    case.check("initial h", hex(initiator.hash()), &vector.initial_state.h);
    let equal = initiator.hash() == responder.hash();
    case.check(
        "initial h equal",
        equal,
        vector.initial_state_equal_on_both_sides,
    );
    for (i, message) in vector.messages.iter().enumerate() {
        let (from, to) = match message.from {
            Side::Initiator => (&mut initiator, &mut responder),
            Side::Responder => (&mut responder, &mut initiator),
        };
        let mut bytes = Vec::new();
        let written = from.write_message(&mut bytes);
        case.check(&format!("message {i} written"), written.is_ok(), true);
        case.check(&format!("message {i}"), hex(&bytes), &message.message);
        case.check(
            &format!("message {i} framed"),
            framed(&bytes),
            &message.framed,
        );
        // The other side gets Go's bytes, so that a difference does not propagate.
        let read = to.read_message(&message.message.0);
        case.check(&format!("message {i} read"), read.is_ok(), true);
        for (side, state) in [("writer", &*from), ("reader", &*to)] {
            let field = format!("message {i} h of the {side}");
            case.check(&field, hex(state.hash()), &message.state_after.h);
        }
    }
    let (Ok(initiator), Ok(responder)) = (initiator.finish(), responder.finish()) else {
        return case.fail("the handshake does not finish");
    };
    case.check(
        "handshake_hash",
        hex(initiator.hash),
        &vector.handshake_hash,
    );
    case.check(
        "handshake_hash of the responder",
        hex(responder.hash),
        &vector.handshake_hash,
    );
    let seen = hex(responder.remote.as_bytes());
    case.check(
        "responder_sees_initiator_static",
        seen,
        &vector.responder_sees_initiator_static,
    );
    let dialled = hex(initiator.remote.as_bytes());
    case.check("the initiator's peer", dialled, &vector.responder.static_pk);
    split_keys(vector, &mut case);
    drop(case);
    transport(name, vector, [initiator, responder], report);
    for rejection in &vector.rejections {
        reject(name, vector, rejection, report);
    }
    for rejection in &vector.first_message_rejections {
        let mut case = report.case(format!("{name}/first message: {}", rejection.name));
        let [_, mut responder] = vector.sides();
        let ours = responder.read_message(&rejection.message.0).err();
        case.check("error", ours.map(kind), go_kind(&rejection.error));
    }
}

fn keys_and_names(vector: &Vector, case: &mut Case<'_>) {
    let protocol = match vector.pattern.as_str() {
        "XK" => XK_PROTOCOL,
        _ => KK_PROTOCOL,
    };
    case.check("protocol_name", protocol, &vector.protocol_name);
    let hash = hex(Sha256::digest(protocol));
    case.check("protocol_name_hash", hash, &vector.protocol_name_hash);
    case.check("prologue", "", &vector.prologue);
    let mut secrets = Vec::new();
    for (side, keys) in [
        ("initiator", &vector.initiator),
        ("responder", &vector.responder),
    ] {
        for (what, sk, pk) in [
            ("static", &keys.static_sk, &keys.static_pk),
            ("ephemeral", &keys.ephemeral_sk, &keys.ephemeral_pk),
        ] {
            let secret = key(&sk.0);
            let public = hex(secret.public().as_bytes());
            case.check(&format!("{side} {what}_pk"), public, pk);
            secrets.push(secret);
        }
    }
    let [static_i, ephemeral_i, static_r, ephemeral_r] = &secrets[..] else {
        unreachable!("four keys");
    };
    let outputs = &vector.dh_outputs;
    for (field, a, b, theirs) in [
        ("ee", ephemeral_i, ephemeral_r, &outputs.ee),
        ("es", ephemeral_i, static_r, &outputs.es),
        ("se", static_i, ephemeral_r, &outputs.se),
        ("ss", static_i, static_r, &outputs.ss),
    ] {
        case.check(&format!("dh {field}"), hex(dh(a, b)), theirs);
        case.check(
            &format!("dh {field} of the other side"),
            hex(dh(b, a)),
            theirs,
        );
    }
}

/// The keys are not accessible; records sealed with them are compared.
fn split_keys(vector: &Vector, case: &mut Case<'_>) {
    fn sealed(sealer: &mut Sealer) -> String {
        let mut record = Vec::new();
        sealer
            .seal(b"split", &mut record)
            .expect("the first record");
        hex(record)
    }
    let [mut initiator, mut responder] = vector.transports();
    let (ours_i, ours_r) = (sealed(&mut initiator.sealer), sealed(&mut responder.sealer));
    let with = |key: &Hex| sealed(&mut Sealer::new(&key.array()));
    let (first, second) = (
        with(&vector.split_first_key),
        with(&vector.split_second_key),
    );
    let named = match ours_i {
        ref ours if *ours == first => "split_first_key",
        ref ours if *ours == second => "split_second_key",
        _ => "neither",
    };
    case.check("initiator_sends_with", named, &vector.initiator_sends_with);
    case.check(
        "initiator_sends_with_key",
        ours_i,
        with(&vector.initiator_sends_with_key),
    );
    case.check(
        "responder_sends_with_key",
        ours_r,
        with(&vector.responder_sends_with_key),
    );
}

fn transport(name: &str, vector: &Vector, sides: [Transport; 2], report: &mut Report) {
    let [mut initiator, mut responder] = sides;
    for (i, record) in vector.transport.iter().enumerate() {
        let mut case = report.case(format!("{name}/transport/{i}"));
        let (from, to) = match record.from {
            Side::Initiator => (&mut initiator, &mut responder),
            Side::Responder => (&mut responder, &mut initiator),
        };
        let mut ours = Vec::new();
        let sealed = from.sealer.seal(&record.plaintext.0, &mut ours);
        case.check("sealed", sealed.is_ok(), true);
        case.check("output", hex(&ours), &record.output);
        case.check("framed", framed(&ours), &record.framed);
        let mut theirs = record.output.0.clone();
        let opened = to.opener.open(&mut theirs).map(hex);
        case.check("opened", opened.ok(), Some(&record.plaintext));
        case.check(
            "nonce_counter",
            to.opener.last_nonce(),
            record.nonce_counter,
        );
    }
}

fn reject(name: &str, vector: &Vector, rejection: &Rejection, report: &mut Report) {
    let mut case = report.case(format!("{name}/rejections/{}", rejection.name));
    let [initiator, responder] = vector.transports();
    let mut opener = match rejection.to {
        Side::Initiator => initiator.opener,
        Side::Responder => responder.opener,
    };
    let before = vector.transport.iter().take(rejection.after_transport);
    for record in before.filter(|record| record.from != rejection.to) {
        let opened = opener.open(&mut record.output.0.clone()).is_ok();
        case.check(&format!("record {}", record.nonce_counter), opened, true);
    }
    let nonce = opener.last_nonce();
    case.check(
        "responder_dec_nonce_before",
        nonce,
        rejection.responder_dec_nonce_before,
    );
    let error = opener.open(&mut rejection.ciphertext.0.clone()).err();
    let ours = error.map(|error| match error {
        CipherError::TooShort => "too short",
        CipherError::Forged => "forged",
        CipherError::Replay { .. } => "replay",
        _ => "other",
    });
    case.check(
        "decrypt_unsafe_error",
        ours,
        go_kind(&rejection.decrypt_unsafe_error),
    );
    // Go's counter moves to the nonce of a forged record, so that an attacker can make it reject
    // valid records. This implementation's counter moves only to authenticated nonces.
    let after = match rejection.decrypt_unsafe_error.is_empty() {
        true => rejection.responder_dec_nonce_after,
        false => rejection.responder_dec_nonce_before,
    };
    case.check("responder_dec_nonce_after", opener.last_nonce(), after);
}

fn kind(error: NoiseError) -> &'static str {
    match error {
        NoiseError::Length => "too short",
        NoiseError::InvalidKey => "invalid key",
        NoiseError::Forged => "forged",
        _ => "other",
    }
}

/// Classifies Go's error texts. Where Go panics, this implementation reports an invalid key.
fn go_kind(error: &str) -> Option<&str> {
    [
        ("PANIC: ", "invalid key"),
        ("message authentication failed", "forged"),
        ("is not larger than previous", "replay"),
        ("cannot be less than 8 bytes", "too short"),
        ("message is too short", "too short"),
    ]
    .into_iter()
    .find(|(text, _)| error.contains(text))
    .map(|(_, kind)| kind)
    .or((!error.is_empty()).then_some(error))
}

fn read_writer_split(split: &Split, report: &mut Report) {
    let mut case = report.case("read_writer_split");
    let keys = [
        &split.initiator_static_sk,
        &split.initiator_ephemeral_sk,
        &split.responder_static_sk,
        &split.responder_ephemeral_sk,
    ];
    let publics: Vec<PublicKey> = [0, 2, 1, 3]
        .iter()
        .map(|i| key(&keys[*i].0).public())
        .collect();
    case.check("pks", publics, &split.pks);
    let rule = "10000 bytes, byte i = 7*i mod 256, one Write by the initiator";
    case.check("write_rule", rule, &split.write_rule);
    let data: Vec<u8> = (0..10_000).map(|i| (7 * i % 256) as u8).collect();

    let [mut initiator, mut responder] = sides(&split.pattern, keys);
    let mut bytes = Vec::new();
    initiator.write_message(&mut bytes).expect("our turn");
    responder.read_message(&bytes).expect("our own message");
    bytes.clear();
    responder.write_message(&mut bytes).expect("our turn");
    initiator.read_message(&bytes).expect("our own message");
    let transports = (initiator.finish(), responder.finish());
    let (Ok(initiator), Ok(responder)) = transports else {
        return case.fail("the handshake does not finish");
    };

    let mut stream = Vec::new();
    let mut writer = Secure::new(Cursor::new(&mut stream), initiator);
    let written = block_on(async {
        writer.write_all(&data).await?;
        writer.close().await
    });
    drop(writer);
    case.check("written", written.is_ok(), true);
    case.check("stream_len", stream.len(), split.stream_len);
    case.check(
        "stream_sha256",
        hex(Sha256::digest(&stream)),
        &split.stream_sha256,
    );
    let mut sizes = Vec::new();
    let mut rest = &stream[..];
    while let Some((prefix, after)) = rest.split_first_chunk() {
        let size = frame::body_len(*prefix).expect("our own frame");
        sizes.push(size);
        rest = &after[size..];
    }
    case.check("frame_body_sizes", sizes, &split.frame_body_sizes);
    let mut read = Vec::new();
    let end = block_on(Secure::new(Cursor::new(&mut stream), responder).read_to_end(&mut read));
    case.check("read", end.is_ok() && read == data, true);
}
