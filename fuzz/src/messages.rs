//! Messages of every method in both directions.

use skydht_core::wire::{
    Frame, FrameDecoder, Method, RequestMessage, Response, ResponseMessage, Side, decode_request,
    decode_response, encode_request, encode_response,
};

use crate::cursor::Cursor;
use crate::reference;

/// Input: a byte (bit 0 is the side, the others select the method), then a body.
///
/// - A message that decodes also encodes, unless it exceeds the limit of its method. The result
///   decodes to the same message, which encodes to the same bytes.
/// - Messages that serde's decoders (see `reference`) accept are accepted with the same meaning.
///   Intended differences are listed there.
pub fn messages(data: &[u8]) {
    let mut input = Cursor::new(data);
    let which = input.byte();
    let frame = Frame {
        method: Method::ALL[usize::from(which >> 1) % Method::ALL.len()],
        body: input.rest().to_vec(),
    };
    if which & 1 == 0 {
        let decoded = decode_request(&frame);
        reference::check_request(&frame, decoded.as_ref());
        if let Ok(message) = decoded {
            request_round_trip(&message);
        }
    } else {
        let decoded = decode_response(&frame);
        reference::check_response(&frame, decoded.as_ref());
        if let Ok(message) = decoded {
            response_round_trip(message);
        }
    }
}

fn request_round_trip(message: &RequestMessage) {
    let keys = message.keys().count();
    match encode_request(message) {
        Ok(bytes) => {
            let again = decode_request(&only_frame(Side::Request, &bytes)).unwrap();
            assert_eq!(again, *message);
            assert_eq!(again.keys().count(), keys);
            assert_eq!(encode_request(&again), Ok(bytes));
        }
        Err(error) => {
            assert_eq!(error.method, message.request.method());
            assert!(error.len > error.max && error.max == error.method.request_limit());
        }
    }
}

fn response_round_trip(mut message: ResponseMessage) {
    // Dropped peers are counted but not kept.
    if let Response::FindNode { closest } | Response::GetValue { closest, .. } =
        &mut message.response
    {
        (closest.bad_keys, closest.excess) = (0, 0);
    }
    if let Some(ext) = &mut message.ext {
        (ext.closest.bad_keys, ext.closest.excess) = (0, 0);
    }
    match encode_response(&message) {
        Ok(bytes) => {
            let again = decode_response(&only_frame(Side::Response, &bytes)).unwrap();
            assert_eq!(again, message);
            assert_eq!(encode_response(&again), Ok(bytes));
        }
        Err(error) => {
            assert_eq!(error.method, message.response.method());
            assert!(error.len > error.max && error.max == error.method.response_limit());
        }
    }
}

/// Checks that encoded bytes are exactly one frame within its limits.
pub(crate) fn only_frame(side: Side, mut bytes: &[u8]) -> Frame {
    let frame = FrameDecoder::new(side).push(&mut bytes).unwrap().unwrap();
    assert!(bytes.is_empty(), "{} bytes after the frame", bytes.len());
    frame
}
