//! Complete messages.

mod extensions;
mod leniency;
mod limits;
mod round_trip;
mod two_readings;

use alloc::vec::Vec;

use super::*;
use crate::item::{Item, Salt, Seq, Value};
use crate::key::SecretKey;

fn secret(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32]).unwrap()
}

/// An item with an invalid signature, which these tests do not check.
fn item(value: &[u8]) -> Item {
    Item {
        key: secret(5).public(),
        seq: Seq(1),
        signature: crate::key::Signature::from_bytes([0xab; 65]),
        value: Value::new(value),
        salt: Salt::from("dmsg"),
    }
}

fn request(method: Method, json: &[u8]) -> Result<RequestMessage, WireError> {
    let body = json.to_vec();
    decode_request(&Frame { method, body })
}

fn response(method: Method, json: &[u8]) -> Result<ResponseMessage, WireError> {
    let body = json.to_vec();
    decode_response(&Frame { method, body })
}

fn frame(side: Side, bytes: &[u8]) -> Frame {
    let mut rest = bytes;
    let frame = FrameDecoder::new(side).push(&mut rest).unwrap().unwrap();
    assert!(rest.is_empty());
    frame
}

fn body_of(frame: Vec<u8>) -> Vec<u8> {
    frame[5..].to_vec()
}
