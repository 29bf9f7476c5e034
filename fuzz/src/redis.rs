//! Answers of a Redis, and values that others wrote into it.

use std::io::{BufReader, ErrorKind, Read};

use skydht_core::id::Target;
use skydht_core::record::StoredRecord;
use skydht_core::wire::decode_item;
use skydht_driver::storage::{RedisReply, redis_record, redis_value};

use crate::cursor::Cursor;

/// Input: 0, the size of the pieces in which a connection delivers the rest (0: all of it), and
/// replies; or another byte, a target, and the value at its key.
///
/// - Bytes that are not a reply, exceed a bound or are cut off give a descriptive error, never a
///   panic. Announced lengths do not determine allocations.
/// - The same replies are read whatever the pieces, and no byte after the last reply is consumed.
/// - A reply written again by a simple writer is read as the same.
/// - A value that is a record is also an item for the core's reader, with its own target or a
///   mirror's. Written again, it is read as the same record.
pub fn redis(data: &[u8]) {
    let mut script = Cursor::new(data);
    if script.byte() == 0 {
        let piece = script.byte();
        replies(script.rest(), piece.into());
    } else {
        let target = Target::from_bytes(script.array());
        value(&target, script.rest());
    }
}

fn replies(mut bytes: &[u8], piece: usize) {
    let mut pieces = Pieces { bytes, piece };
    let mut pieces = BufReader::with_capacity(piece.max(1), &mut pieces);
    while !bytes.is_empty() {
        let before = bytes.len();
        let read = RedisReply::read(&mut bytes);
        let again = RedisReply::read(&mut pieces);
        match (read, again) {
            (Ok(reply), Ok(again)) => {
                assert_eq!(reply, again);
                assert!(bytes.len() < before, "nothing was read");
                let mut written = Vec::new();
                if write(&reply, &mut written) {
                    written.extend_from_slice(b"behind");
                    let mut rest = &written[..];
                    assert_eq!(RedisReply::read(&mut rest).unwrap(), reply);
                    assert_eq!(rest, b"behind");
                }
            }
            (Err(error), Err(again)) => {
                assert_eq!(error.kind(), again.kind(), "{error}; {again}");
                let kinds = [ErrorKind::InvalidData, ErrorKind::UnexpectedEof];
                assert!(kinds.contains(&error.kind()), "{error}");
                return;
            }
            (read, again) => panic!("{read:?}, in pieces {again:?}"),
        }
    }
}

/// Writes a reply as Redis does. Returns `false` for skipped data and invalid text.
fn write(reply: &RedisReply, out: &mut Vec<u8>) -> bool {
    let line = |out: &mut Vec<u8>, kind: u8, text: &str| {
        out.push(kind);
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\r\n");
        // Invalid UTF-8 has become longer.
        text.len() < 8_000 && !text.contains('\n')
    };
    match reply {
        RedisReply::Status(text) => line(out, b'+', text),
        RedisReply::Error(text) => line(out, b'-', text),
        RedisReply::Number(number) => line(out, b':', &number.to_string()),
        RedisReply::Nil => line(out, b'$', "-1"),
        RedisReply::Bulk(bytes) => {
            let is_whole = line(out, b'$', &bytes.len().to_string());
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
            is_whole
        }
        RedisReply::Oversized(_) => false,
        RedisReply::List(parts) => {
            let is_whole = line(out, b'*', &parts.len().to_string());
            parts.iter().all(|part| write(part, out)) && is_whole
        }
    }
}

/// Bytes as a connection delivers them, with a maximum size of each piece (0: no maximum).
struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let most = match self.piece {
            0 => into.len(),
            piece => piece.min(into.len()),
        };
        self.bytes.read(&mut into[..most])
    }
}

fn value(target: &Target, json: &[u8]) {
    let Some(record) = redis_record(target, json) else {
        return;
    };
    let item = decode_item(json).expect("an item").into_item();
    assert_eq!(*item.expect("whole"), record.item);
    assert_eq!(record.target, *target);
    let written = redis_value(&record);
    assert_eq!(redis_record(target, &written).as_ref(), Some(&record));
    if record.item.check_sizes().is_ok() {
        let encoded = record.encode();
        assert_eq!(StoredRecord::decode(&encoded).expect("a record"), record);
    }
}
