use super::*;
use crate::wire::method::MAX_SMALL_REQUEST;
use alloc::string::ToString;
use alloc::vec;
use quickcheck::quickcheck;

fn raw(method: Method, body: &[u8]) -> Vec<u8> {
    let mut out = (1 + body.len() as u32).to_be_bytes().to_vec();
    out.push(method.as_byte());
    out.extend_from_slice(body);
    out
}

fn header(len: usize, method: u8) -> [u8; 5] {
    let [a, b, c, d] = (len as u32).to_be_bytes();
    [a, b, c, d, method]
}

fn push(decoder: &mut FrameDecoder, mut bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    decoder.push(&mut bytes)
}

#[test]
fn every_limit_is_accepted_and_one_more_refused() {
    for side in [Side::Request, Side::Response] {
        for method in Method::ALL {
            let max = side.limit(method);
            assert!(max <= MAX_MESSAGE);
            let mut decoder = FrameDecoder::new(side);
            let at_limit = header(max, method.as_byte());
            assert_eq!(push(&mut decoder, &at_limit), Ok(None));
            let body = vec![b' '; max - 1];
            assert_eq!(push(&mut decoder, &body), Ok(Some(Frame { method, body })));

            let above = header(max + 1, method.as_byte());
            let error = push(&mut FrameDecoder::new(side), &above).unwrap_err();
            assert_eq!(
                error.to_string(),
                alloc::format!("dht rpc: invalid message length {}", max + 1)
            );
        }
    }
}

#[test]
fn lengths_that_no_method_has_fail_before_the_method_is_there() {
    for (len, expected) in [
        (0, FrameError::ZeroLength),
        (
            MAX_MESSAGE as u32 + 1,
            FrameError::TooLong {
                len: MAX_MESSAGE as u32 + 1,
                max: MAX_MESSAGE as u32,
            },
        ),
        (
            u32::MAX,
            FrameError::TooLong {
                len: u32::MAX,
                max: MAX_MESSAGE as u32,
            },
        ),
    ] {
        let mut decoder = FrameDecoder::new(Side::Request);
        assert_eq!(push(&mut decoder, &len.to_be_bytes()), Err(expected));
    }
}

#[test]
fn unknown_methods_fail_at_their_byte() {
    for byte in (0..=255).filter(|byte| Method::from_byte(*byte).is_none()) {
        let mut decoder = FrameDecoder::new(Side::Request);
        let bytes = header(1_000, byte);
        assert_eq!(
            push(&mut decoder, &bytes),
            Err(FrameError::UnknownMethod(byte))
        );
    }
}

#[test]
fn a_failed_decoder_stays_failed_and_takes_nothing() {
    let mut decoder = FrameDecoder::new(Side::Request);
    let error = push(&mut decoder, &[0; 4]).unwrap_err();
    let bytes = raw(Method::Ping, b"{}");
    let mut rest = bytes.as_slice();
    assert_eq!(decoder.push(&mut rest), Err(error));
    assert_eq!(rest.len(), bytes.len());
    assert!(!decoder.is_mid_frame());
    assert_eq!(decoder.buffered(), 0);
}

#[test]
fn memory_grows_with_what_arrived_not_with_what_was_announced() {
    let mut decoder = FrameDecoder::new(Side::Request);
    let announced = header(MAX_MESSAGE, Method::PutBatch.as_byte());
    assert_eq!(push(&mut decoder, &announced), Ok(None));
    assert_eq!(push(&mut decoder, &[b'['; 100]), Ok(None));
    let DecoderState::Body { frame, .. } = &decoder.state else {
        panic!("no body: {decoder:?}");
    };
    assert!(frame.body.capacity() < 1_000);
    assert_eq!(decoder.buffered(), 105);
}

#[test]
fn limits_differ_by_side_and_method() {
    let bytes = header(MAX_SMALL_REQUEST + 1, Method::FindNode.as_byte());
    assert!(push(&mut FrameDecoder::new(Side::Request), &bytes).is_err());
    assert!(push(&mut FrameDecoder::new(Side::Response), &bytes).is_ok());
    let too_large_a_value = header(4 * 65_540 / 3 + 1_000, Method::PutValue.as_byte());
    assert!(push(&mut FrameDecoder::new(Side::Request), &too_large_a_value).is_ok());
}

#[test]
fn an_empty_body_is_a_frame() {
    let mut decoder = FrameDecoder::new(Side::Request);
    let frame = push(&mut decoder, &raw(Method::Ping, b"")).unwrap();
    assert_eq!(frame.map(|frame| frame.body), Some(Vec::new()));
    assert!(!decoder.is_mid_frame());
}

quickcheck! {
    /// Any fragmentation gives the same frames, and the decoder knows when it is inside one.
    fn fragmentation_does_not_matter(bodies: Vec<Vec<u8>>, cuts: Vec<u8>) -> bool {
        let stream: Vec<u8> = bodies.iter().flat_map(|b| raw(Method::PutBatch, b)).collect();
        let mut decoder = FrameDecoder::new(Side::Request);
        let mut frames = Vec::new();
        let mut left = stream.as_slice();
        let mut cuts = cuts.iter().cycle();
        while !left.is_empty() {
            let cut = cuts.next().map_or(1, |cut| usize::from(*cut % 9).max(1)).min(left.len());
            let (mut piece, rest) = left.split_at(cut);
            left = rest;
            while !piece.is_empty() {
                if let Some(frame) = decoder.push(&mut piece).unwrap() {
                    if decoder.is_mid_frame() || decoder.buffered() > 0 {
                        return false;
                    }
                    frames.push(frame.body);
                } else if !decoder.is_mid_frame() || !piece.is_empty() {
                    return false;
                }
            }
        }
        frames == bodies && !decoder.is_mid_frame()
    }

    /// No bytes cause a panic or occupy more memory than arrived.
    fn arbitrary_bytes_are_harmless(bytes: Vec<u8>, pieces: u8) -> bool {
        let mut decoder = FrameDecoder::new(Side::Response);
        for mut piece in bytes.chunks(usize::from(pieces % 7) + 1) {
            while let Ok(Some(_)) = decoder.push(&mut piece) {}
            if decoder.buffered() > bytes.len() {
                return false;
            }
        }
        true
    }
}
