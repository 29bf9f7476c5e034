//! The incremental frame decoder.

use skydht_core::wire::{Frame, FrameDecoder, FrameError, Side};

use crate::cursor::Cursor;

/// Number of bytes before a frame's body.
const HEADER: usize = 5;

/// Result of decoding a stream.
#[derive(PartialEq, Debug)]
struct Decoded {
    frames: Vec<Frame>,
    error: Option<FrameError>,
    buffered: usize,
    mid_frame: bool,
}

/// Input: a byte (bit 0 is the side, the others the fragmentation), then a stream.
///
/// - Every fragmentation gives the same frames, the same error and the same rest.
/// - Frames and rest together are exactly the bytes of the stream.
/// - Memory use grows with received data, not with the announced length.
/// - After an error nothing more is consumed and the error stays.
pub fn frames(data: &[u8]) {
    let mut input = Cursor::new(data);
    let how = input.byte();
    let side = match how & 1 {
        0 => Side::Request,
        _ => Side::Response,
    };
    let stream = input.rest();
    let whole = decode(side, stream, |left| left);
    check_bytes(&whole, stream);
    assert_eq!(decode(side, stream, |_| 1), whole, "byte by byte");
    let mut state = u32::from(how) | 1;
    let uneven = |left: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as usize % left.min(64) + 1
    };
    assert_eq!(decode(side, stream, uneven), whole, "in uneven pieces");
}

fn decode(side: Side, mut stream: &[u8], mut piece: impl FnMut(usize) -> usize) -> Decoded {
    let mut decoder = FrameDecoder::new(side);
    let mut frames = Vec::new();
    let mut error = None;
    let mut arrived = 0;
    while !stream.is_empty() && error.is_none() {
        let (mut bytes, rest) = stream.split_at(piece(stream.len()));
        stream = rest;
        while !bytes.is_empty() {
            let before = bytes.len();
            let pushed = decoder.push(&mut bytes);
            arrived += before - bytes.len();
            match pushed {
                Ok(Some(frame)) => {
                    arrived = 0;
                    let (len, held) = (frame.body.len(), frame.body.capacity());
                    assert!(held <= 2 * len.max(8), "{held} bytes held for {len}");
                    frames.push(frame);
                }
                Ok(None) => {
                    assert!(bytes.is_empty(), "nothing found, and yet bytes are left");
                    assert_eq!(decoder.buffered(), arrived);
                }
                Err(found) => {
                    error = Some(found);
                    break;
                }
            }
        }
    }
    if let Some(error) = error {
        let mut more = &b"\0\0\0\x03\x01{}"[..];
        assert_eq!(decoder.push(&mut more), Err(error));
        assert_eq!(more.len(), 7, "consumed after an error");
        assert!(!decoder.is_mid_frame());
    }
    Decoded {
        frames,
        error,
        buffered: decoder.buffered(),
        mid_frame: decoder.is_mid_frame(),
    }
}

/// Joins the frames again and compares them with the stream.
fn check_bytes(decoded: &Decoded, stream: &[u8]) {
    let mut at = 0;
    for frame in &decoded.frames {
        let end = at + HEADER + frame.body.len();
        let length = u32::try_from(1 + frame.body.len()).unwrap();
        assert_eq!(stream[at..at + 4], length.to_be_bytes());
        assert_eq!(stream[at + 4], frame.method.as_byte());
        assert_eq!(stream[at + HEADER..end], frame.body[..]);
        at = end;
    }
    let rest = stream.len() - at;
    match decoded.error {
        None => assert_eq!((rest, rest > 0), (decoded.buffered, decoded.mid_frame)),
        // The four bytes of the length are enough for an error.
        Some(_) => assert!(rest >= 4),
    }
}
