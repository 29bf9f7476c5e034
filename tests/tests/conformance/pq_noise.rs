//! pq_noise.json: handshakes of 2026, which offer a post-quantum part, with each other and with
//! older sides; and the window of a session's nonces.

use chacha20poly1305::aead::KeyInit;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, Nonce};
use serde::Deserialize;
use serde_json::Value;
use skydht_core::key::SecretKey;
use skydht_dmsg::cipher::{Opener, REPLAY_WINDOW, Sealer, WindowOpener};
use skydht_dmsg::handshake::{
    Ephemeral, Handshake, KK_PROTOCOL, NoiseError, Transport, XK_PROTOCOL,
};
use skydht_dmsg::hybrid::Hybrid;

use crate::hex::{Hex, hex};
use crate::report::Report;

#[derive(Deserialize, Clone, Copy, PartialEq, Debug)]
#[serde(rename_all = "lowercase")]
enum Side {
    Initiator,
    Responder,
}

#[derive(Deserialize)]
struct Party {
    code: String,
    static_sk: Hex,
    ephemeral_sk: Hex,
}

#[derive(Deserialize)]
struct MlKem {
    seed_d_z: Hex,
    encapsulation_randomness: Hex,
}

#[derive(Deserialize)]
struct State {
    h: Hex,
}

#[derive(Deserialize)]
struct Message {
    from: Side,
    message: Hex,
    message_len: usize,
    state_after: State,
}

#[derive(Deserialize)]
struct Keys {
    pq_active: bool,
    send: Hex,
    receive: Hex,
}

#[derive(Deserialize)]
struct Record {
    from: Side,
    plaintext: Hex,
    output: Hex,
    opens_at_the_other_side: bool,
}

#[derive(Deserialize)]
struct Vector {
    pattern: String,
    name: String,
    protocol_name: String,
    initiator: Party,
    responder: Party,
    mlkem: MlKem,
    initial_state: State,
    messages: Vec<Message>,
    handshake_hash: Hex,
    initiator_keys: Keys,
    responder_keys: Keys,
    initiator_warned_of_downgrade: bool,
    transport: Vec<Record>,
}

#[derive(Deserialize)]
struct Strict {
    pattern: String,
    strict_side: Side,
    fails_at: String,
}

#[derive(Deserialize)]
struct Windows {
    size: u64,
    sequences: Vec<Sequence>,
}

#[derive(Deserialize)]
struct Sequence {
    ops: Vec<WindowOp>,
}

#[derive(Deserialize)]
struct WindowOp {
    nonce: String,
    accepted: bool,
}

#[derive(Deserialize)]
struct Objects {
    receive_key: Hex,
    ops: Vec<ObjectOp>,
}

#[derive(Deserialize)]
struct ObjectOp {
    what: String,
    object: Hex,
    accepted: bool,
}

#[derive(Deserialize)]
struct Kem {
    name: String,
    info: String,
    offer_size: usize,
    answer_size: usize,
    shared_secret_size: usize,
}

pub(crate) fn run(file: &Value, report: &mut Report) {
    if let Some(vectors) = report.section::<Vec<Vector>>(file, "handshakes") {
        for vector in &vectors {
            for side in [Side::Initiator, Side::Responder] {
                one_side(vector, side, report);
            }
        }
    }
    if let Some(strict) = report.section::<Vec<Strict>>(file, "require_pq") {
        strict.iter().for_each(|case| require(case, report));
    }
    if let Some(windows) = report.section::<Windows>(file, "nonce_window") {
        nonce_window(&windows, report);
    }
    if let Some(objects) = report.section::<Objects>(file, "nonce_window_and_tag") {
        let mut opener = window(&objects.receive_key);
        for op in &objects.ops {
            let mut case = report.case(format!("nonce_window_and_tag/{}", op.what));
            let opened = opener.open(&mut op.object.0.clone()).is_ok();
            case.check("accepted", opened, op.accepted);
        }
    }
    if let Some(kem) = report.section::<Kem>(file, "kem") {
        let mut case = report.case("kem");
        case.check("name", "ML-KEM-768", kem.name);
        case.check("info", "skywire-pq-hybrid-v1", kem.info);
        let sizes = [kem.offer_size, kem.answer_size, kem.shared_secret_size];
        let [offer, answer] = payload_sizes();
        case.check("sizes", [offer, answer, 32], sizes);
    }
    let mut case = report.case("constants");
    case.check("dh_name", XK_PROTOCOL.split('_').nth(2), &file["dh_name"]);
    case.check("dh_len", 33, &file["dh_len"]);
}

fn key(bytes: &Hex) -> SecretKey {
    SecretKey::from_bytes(&bytes.0).expect("the vectors' secret keys are good")
}

fn handshake(
    pattern: &str,
    side: Side,
    [own, other]: [&SecretKey; 2],
    ephemeral: Ephemeral,
) -> Handshake {
    let other = other.public();
    match (pattern, side) {
        ("XK", Side::Initiator) => Handshake::xk_initiator(own, &other, ephemeral),
        ("XK", Side::Responder) => Handshake::xk_responder(own, ephemeral),
        ("KK", Side::Initiator) => Handshake::kk_initiator(own, &other, ephemeral),
        ("KK", Side::Responder) => Handshake::kk_responder(own, &other, ephemeral),
        (pattern, _) => panic!("pattern {pattern}"),
    }
    .expect("good keys")
}

impl Vector {
    fn party(&self, side: Side) -> (&Party, &Keys) {
        match side {
            Side::Initiator => (&self.initiator, &self.initiator_keys),
            Side::Responder => (&self.responder, &self.responder_keys),
        }
    }

    /// Returns a side of this implementation with the random values of the recorded one; `None`
    /// where the record comes from a bare library and matches no DMSG code.
    fn ours(&self, side: Side) -> Option<Handshake> {
        let (party, _) = self.party(side);
        let hybrid = match party.code.as_str() {
            "2026" => Hybrid::Offer,
            "2024" => Hybrid::Never,
            _ => return None,
        };
        let (seed, statics) = match side {
            Side::Initiator => (
                self.mlkem.seed_d_z.array(),
                [&self.initiator.static_sk, &self.responder.static_sk],
            ),
            Side::Responder => {
                let mut seed = [0; 64];
                seed[..32].copy_from_slice(&self.mlkem.encapsulation_randomness.0);
                (seed, [&self.responder.static_sk, &self.initiator.static_sk])
            }
        };
        let ephemeral = key(&party.ephemeral_sk);
        let ephemeral = Ephemeral::fixed_hybrid_for_testing_only(ephemeral, hybrid, seed);
        let [own, other] = statics.map(key);
        Some(handshake(&self.pattern, side, [&own, &other], ephemeral))
    }
}

/// Runs one side with this implementation, and the other one from the record.
fn one_side(vector: &Vector, side: Side, report: &mut Report) {
    let (Vector { pattern, name, .. }, (_, keys)) = (vector, vector.party(side));
    let who = format!("{side:?}").to_lowercase();
    let mut case = report.case(format!("handshakes/{pattern} {name}, {who}"));
    let protocol = if pattern == "XK" {
        XK_PROTOCOL
    } else {
        KK_PROTOCOL
    };
    case.check("protocol_name", protocol, &vector.protocol_name);
    let Some(mut ours) = vector.ours(side) else {
        return;
    };
    case.check("initial h", hex(ours.hash()), &vector.initial_state.h);
    for (i, message) in vector.messages.iter().enumerate() {
        if message.from == side {
            let mut bytes = Vec::new();
            let written = ours.write_message(&mut bytes);
            case.check(&format!("message {i} written"), written.is_ok(), true);
            case.check(&format!("message {i}"), hex(&bytes), &message.message);
            case.check(
                &format!("message {i} length"),
                bytes.len(),
                message.message_len,
            );
        } else {
            let read = ours.read_message(&message.message.0);
            case.check(&format!("message {i} read"), read.is_ok(), true);
        }
        let field = format!("message {i} h");
        case.check(&field, hex(ours.hash()), &message.state_after.h);
    }
    let Ok(transport) = ours.finish() else {
        return case.fail("the handshake does not finish");
    };
    case.check(
        "handshake_hash",
        hex(transport.hash),
        &vector.handshake_hash,
    );
    case.check("pq_active", transport.is_hybrid, keys.pq_active);
    if side == Side::Initiator && vector.initiator.code == "2026" {
        let warned = vector.initiator_warned_of_downgrade;
        case.check("warned of downgrade", !transport.is_hybrid, warned);
    }
    if transport.is_hybrid != keys.pq_active {
        return; // other keys, as stated
    }
    let Transport {
        mut sealer,
        mut opener,
        ..
    } = transport;
    for (i, record) in vector.transport.iter().enumerate() {
        if record.from == side {
            let (mut sealed, mut with_key) = (Vec::new(), Vec::new());
            let done = sealer.seal(&record.plaintext.0, &mut sealed);
            case.check(&format!("record {i} sealed"), done.is_ok(), true);
            case.check(&format!("record {i}"), hex(&sealed), &record.output);
            if i == 0 {
                let mut fresh = Sealer::new(&keys.send.array());
                fresh
                    .seal(&record.plaintext.0, &mut with_key)
                    .expect("the first");
                case.check("send key", hex(&sealed), hex(with_key));
            }
        } else {
            let mut bytes = record.output.0.clone();
            let opened = opener.open(&mut bytes).map(hex);
            let expected = record.opens_at_the_other_side;
            case.check(&format!("record {i} opens"), opened.is_ok(), expected);
            let mut with_key = Opener::new(&keys.receive.array());
            let theirs = with_key.open(&mut record.output.0.clone()).map(hex);
            case.check(&format!("record {i} opened"), opened.ok(), theirs.ok());
        }
    }
}

/// Returns the payload sizes of a hybrid handshake, computed from the lengths of its messages.
fn payload_sizes() -> [usize; 2] {
    let [one, other] = [[1; 32], [2; 32]].map(|bytes| key(&Hex(bytes.to_vec())));
    let fresh = |byte| Ephemeral::from_entropy(&[byte; 32]);
    let mut initiator = handshake("KK", Side::Initiator, [&one, &other], fresh(3));
    let mut responder = handshake("KK", Side::Responder, [&other, &one], fresh(4));
    let (mut first, mut second) = (Vec::new(), Vec::new());
    initiator.write_message(&mut first).expect("our turn");
    responder.read_message(&first).expect("our own message");
    responder.write_message(&mut second).expect("our turn");
    [first.len() - 49, second.len() - 49]
}

/// One side requires the post-quantum part, and the other does not support it.
fn require(strict: &Strict, report: &mut Report) {
    let Strict {
        pattern,
        strict_side,
        fails_at,
    } = strict;
    let who = format!("{strict_side:?}").to_lowercase();
    let mut case = report.case(format!("require_pq/{pattern} {who}"));
    let [one, other] = [[1; 32], [2; 32]].map(|bytes| key(&Hex(bytes.to_vec())));
    let of = |side, byte: u8| {
        let ephemeral = key(&Hex([byte; 32].to_vec()));
        let hybrid = if side == *strict_side {
            Hybrid::Require
        } else {
            Hybrid::Never
        };
        Ephemeral::fixed_hybrid_for_testing_only(ephemeral, hybrid, [byte; 64])
    };
    let mut sides = [
        handshake(
            pattern,
            Side::Initiator,
            [&one, &other],
            of(Side::Initiator, 3),
        ),
        handshake(
            pattern,
            Side::Responder,
            [&other, &one],
            of(Side::Responder, 4),
        ),
    ];
    let names = ["initiator", "responder"];
    let messages = if pattern == "XK" { 3 } else { 2 };
    for n in 0..messages {
        let (from, to) = (n % 2, 1 - n % 2);
        let mut bytes = Vec::new();
        if let Err(error) = sides[from].write_message(&mut bytes) {
            let place = format!(
                "{} while writing message {} (nothing is sent)",
                names[from],
                n + 1
            );
            case.check("fails_at", place, fails_at);
            case.check(
                "error",
                error == NoiseError::Classical && bytes.is_empty(),
                true,
            );
            return;
        }
        if let Err(error) = sides[to].read_message(&bytes) {
            let place = format!("{} after reading message {}", names[to], n + 1);
            case.check("fails_at", place, fails_at);
            case.check("error", error == NoiseError::Classical, true);
            return;
        }
    }
    case.fail("nothing fails");
}

fn window(key: &Hex) -> WindowOpener {
    Opener::new(&key.array()).into_window()
}

fn nonce_window(windows: &Windows, report: &mut Report) {
    let mut case = report.case("nonce_window");
    case.check("size", REPLAY_WINDOW, windows.size);
    drop(case);
    let key = [7; 32];
    let cipher = ChaCha20Poly1305::new(&key.into());
    for (i, sequence) in windows.sequences.iter().enumerate() {
        let mut opener = window(&Hex(key.to_vec()));
        for (n, op) in sequence.ops.iter().enumerate() {
            let mut case = report.op(format!("nonce_window/{i}"), n);
            let counter: u64 = op.nonce.parse().expect("a nonce");
            let mut nonce = Nonce::default();
            nonce[4..].copy_from_slice(&counter.to_le_bytes());
            let tag = cipher.encrypt_inout_detached(&nonce, &[], (&mut [][..]).into());
            let tag = tag.expect("an empty record");
            let mut record = [&counter.to_be_bytes()[..], &tag].concat();
            case.check("accepted", opener.open(&mut record).is_ok(), op.accepted);
        }
    }
}
