//! frames.json without the handlers: messages that Go writes are read, and written again byte for
//! byte; messages that Go refuses are refused.

use serde::Deserialize;
use serde_json::Value as Json;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::wire::{
    self, Frame, FrameDecoder, MAX_MESSAGE, Method, RequestMessage, Response, ResponseMessage,
    Side, WireError,
};

use crate::hex::{Hex, hex};
use crate::report::{Case, Report};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(rename = "A_sk")]
    a_sk: Hex,
    #[serde(rename = "A_pk")]
    a_pk: Hex,
    #[serde(rename = "A_id")]
    a_id: Hex,
    #[serde(rename = "B_pk")]
    b_pk: Hex,
    #[serde(rename = "B_id")]
    b_id: Hex,
    #[serde(rename = "C_sk")]
    c_sk: Hex,
    #[serde(rename = "C_pk")]
    c_pk: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FrameVector {
    name: String,
    kind: Kind,
    method: u8,
    frame: Hex,
    json: String,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Request,
    Response,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecodingVector {
    name: String,
    #[serde(rename = "type")]
    kind: Type,
    json: String,
    accepted: bool,
    /// Go's error text; this implementation's errors are typed.
    #[serde(rename = "error")]
    _error: String,
    reencoded: String,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Type {
    Peer,
    Item,
    FindNodeRequest,
    FindNodeResponse,
    PutValueRequest,
}

/// frames.json: `keys`, `max_frame_length`, `frames`, `decoding`.
pub(crate) fn run(file: &Json, report: &mut Report) {
    if let Some(keys) = report.section::<Keys>(file, "keys") {
        check_keys(&keys, &mut report.case("keys"));
    }
    if let Some(limit) = report.section::<usize>(file, "max_frame_length") {
        let mut case = report.case("max_frame_length");
        case.check("bytes", MAX_MESSAGE, limit);
    }
    let frames: Vec<FrameVector> = report.section(file, "frames").unwrap_or_default();
    for (i, vector) in frames.iter().enumerate() {
        check_frame(
            vector,
            &mut report.case(format!("frames/{i} {}", vector.name)),
        );
    }
    let decoding: Vec<DecodingVector> = report.section(file, "decoding").unwrap_or_default();
    for vector in &decoding {
        check_decoding(
            vector,
            &mut report.case(format!("decoding/{}", vector.name)),
        );
    }
}

fn check_keys(keys: &Keys, case: &mut Case<'_>) {
    for (name, secret, public) in [
        ("A_pk", &keys.a_sk, &keys.a_pk),
        ("C_pk", &keys.c_sk, &keys.c_pk),
    ] {
        let secret = SecretKey::from_bytes(&secret.0).expect("a good secret key");
        case.check(name, secret.public(), public);
    }
    for (name, public, id) in [
        ("A_id", &keys.a_pk, &keys.a_id),
        ("B_id", &keys.b_pk, &keys.b_id),
    ] {
        let public = PublicKey::from_bytes(&public.0).expect("a good public key");
        case.check(name, public.id(), id);
    }
}

fn check_frame(vector: &FrameVector, case: &mut Case<'_>) {
    let side = match vector.kind {
        Kind::Request => Side::Request,
        Kind::Response => Side::Response,
    };
    let frame = match frame_in_pieces(&vector.frame.0, side) {
        Ok(frame) => frame,
        Err(error) => return case.fail(error),
    };
    case.check("method", frame.method.as_byte(), vector.method);
    case.check("json", String::from_utf8_lossy(&frame.body), &vector.json);
    let again = match vector.kind {
        Kind::Request => wire::decode_request(&frame).map(|it| wire::encode_request(&it)),
        Kind::Response => wire::decode_response(&frame).map(|it| wire::encode_response(&it)),
    };
    match again {
        Ok(Ok(again)) => {
            let expected = whole_frame(vector.method, &written_again(&vector.json));
            case.check("encoded again", hex(again), hex(expected));
        }
        Ok(Err(error)) => case.fail(error),
        Err(error) => case.fail(error),
    }
}

fn check_decoding(vector: &DecodingVector, case: &mut Case<'_>) {
    let json = vector.json.as_bytes();
    let decoded = match vector.kind {
        Type::Peer => wire::decode_peer(json).map(|peer| {
            let on_curve = on_curve(peer.key.as_ref());
            (on_curve, wire::encode_peer(&peer))
        }),
        Type::Item => wire::decode_item(json).map(|item| {
            let on_curve = on_curve(item.key());
            (on_curve, wire::encode_item(&item))
        }),
        Type::FindNodeRequest => request(Method::FindNode, json),
        Type::PutValueRequest => request(Method::PutValue, json),
        Type::FindNodeResponse => response(Method::FindNode, json),
    };
    // Keys are validated in two steps; a message is accepted if it passes both.
    let accepted = matches!(decoded, Ok((true, _)));
    if case.check("accepted", accepted, vector.accepted)
        && accepted
        && let Ok((_, again)) = decoded
    {
        let again = String::from_utf8_lossy(&again);
        case.check("reencoded", again, written_again(&vector.reencoded));
    }
}

/// Whether the keys are on the curve, and the re-encoded body of the message.
type Decoded = Result<(bool, Vec<u8>), WireError>;

fn request(method: Method, json: &[u8]) -> Decoded {
    let body = json.to_vec();
    let message: RequestMessage = wire::decode_request(&Frame { method, body })?;
    let on_curve = message.keys().all(|key| on_curve(Some(key)));
    let again = wire::encode_request(&message).expect("no longer than what was read");
    Ok((on_curve, again[5..].to_vec()))
}

fn response(method: Method, json: &[u8]) -> Decoded {
    let body = json.to_vec();
    let message: ResponseMessage = wire::decode_response(&Frame { method, body })?;
    let on_curve = match &message.response {
        Response::FindNode { closest } => {
            let mut keys = closest.peers.iter().map(|peer| peer.key.as_ref());
            keys.all(on_curve)
        }
        other => panic!("no FindNode response: {other:?}"),
    };
    let again = wire::encode_response(&message).expect("no longer than what was read");
    Ok((on_curve, again[5..].to_vec()))
}

fn on_curve(key: Option<&PublicKey>) -> bool {
    key.is_none_or(|key| key.check_curve().is_ok())
}

/// Reads a frame in one piece, and byte by byte.
fn frame_in_pieces(bytes: &[u8], side: Side) -> Result<Frame, String> {
    let whole = decode_pieces(bytes, bytes.len().max(1), side)?;
    let by_bytes = decode_pieces(bytes, 1, side)?;
    match whole == by_bytes {
        true => Ok(whole),
        false => Err("another frame when read byte by byte".to_owned()),
    }
}

fn decode_pieces(bytes: &[u8], size: usize, side: Side) -> Result<Frame, String> {
    let mut decoder = FrameDecoder::new(side);
    let mut frames = Vec::new();
    for mut piece in bytes.chunks(size) {
        frames.extend(decoder.push(&mut piece).map_err(|e| e.to_string())?);
        if !piece.is_empty() {
            return Err(format!("{} bytes left over", piece.len()));
        }
    }
    match frames.pop() {
        Some(frame) if frames.is_empty() && !decoder.is_mid_frame() => Ok(frame),
        _ => Err("not one whole frame".to_owned()),
    }
}

fn whole_frame(method: u8, json: &str) -> Vec<u8> {
    let length = u32::try_from(1 + json.len()).expect("short");
    [&length.to_be_bytes()[..], &[method], json.as_bytes()].concat()
}

/// Returns the expected re-encoding. Go writes a nil slice as null, while this implementation
/// writes an empty array, as Go does for a slice that is empty but not nil (specification §5). For
/// bytes that are not UTF-8, Go writes an escape, while this implementation writes the character
/// itself.
fn written_again(json: &str) -> String {
    let lists = ["closest", "items", "stored"];
    let json = lists.iter().fold(json.to_owned(), |json, list| {
        json.replace(&format!("\"{list}\":null"), &format!("\"{list}\":[]"))
    });
    json.replace("\\ufffd", "\u{fffd}")
}
