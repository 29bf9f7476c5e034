//! A second decoder of the messages, based on serde and plain types.
//!
//! Our decoder follows Go's `encoding/json`, which accepts more than serde. Messages that serde
//! accepts must therefore be accepted by ours with the same meaning. Intended differences that are
//! not compared:
//!
//! - Object keys in another case: Go matches them, serde treats them as unknown.
//! - Equal keys in one object: in Go the last one wins; serde refuses known duplicates, and neither
//!   uses unknown ones.
//! - Peers with invalid keys: serde's types would drop the message; both sides here only drop the
//!   peer.
//! - Escapes inside a time: Go does not decode them and refuses the time.
//! - More than [`MAX_ITEMS`](skydht_core::wire::MAX_ITEMS) elements: ours refuses them.
//! - Pings always decode here, because upstream ignores their bodies.
//!
//! Everything else that only our decoder accepts (shorter and longer arrays, numbers for base64,
//! invalid UTF-8, nesting below 128 levels, unusual times) is also accepted by Go; the golden
//! vectors cover it.

mod shape;
mod time;
mod typed;

use skydht_core::wire::{
    Frame, Method, RequestMessage, Response, ResponseMessage, WireError, WirePeer, encode_request,
    encode_response,
};

/// The reference refuses the message or does not compare it.
pub(crate) struct Refused;

/// Compares a decoded request with serde's result.
pub(crate) fn check_request(frame: &Frame, ours: Result<&RequestMessage, &WireError>) {
    let Ok(expected) = typed::request(frame) else {
        return;
    };
    let ours = ours.unwrap_or_else(|error| panic!("serde accepts, we refuse: {error}"));
    let mut ours = ours.clone();
    // Values that serde does not read as an extension may still be one by Go's rules.
    ours.ext = ours.ext.filter(|_| expected.ext.is_some());
    assert_eq!(ours, expected);
    assert_eq!(encode_request(&ours), encode_request(&expected));
}

/// Compares a decoded response with serde's result.
pub(crate) fn check_response(frame: &Frame, ours: Result<&ResponseMessage, &WireError>) {
    let Ok((expected, times)) = typed::response(frame) else {
        return;
    };
    let mut ours = match ours {
        Ok(ours) => ours.clone(),
        // A time that contains an escape.
        Err(WireError::Value { .. }) if frame.body.contains(&b'\\') => return,
        Err(error) => panic!("serde accepts, we refuse: {error}"),
    };
    if expected.ext.is_none() && ours.ext.take().is_some_and(|ext| ext.compact) {
        return; // its peers are those of the response
    }
    // Times can only be created from text, so their values are compared.
    let told = peers(&mut ours).map(|peer| std::mem::take(&mut peer.last_seen).unix());
    assert_eq!(told.collect::<Vec<_>>(), times);
    assert_eq!(ours, expected);
    assert_eq!(encode_response(&ours), encode_response(&expected));
}

/// All peers of a response, those of the extension last.
fn peers(message: &mut ResponseMessage) -> impl Iterator<Item = &mut WirePeer> {
    let closest = match &mut message.response {
        Response::FindNode { closest } | Response::GetValue { closest, .. } => Some(closest),
        _ => None,
    };
    let ext = message.ext.as_mut().map(|ext| &mut ext.closest);
    closest
        .into_iter()
        .chain(ext)
        .flat_map(|list| &mut list.peers)
}

/// Offset of a renewal's extension.
const RENEWAL: usize = 137;

/// A reconciliation message and the data after it.
fn counted(body: &[u8]) -> Result<(&[u8], &[u8]), Refused> {
    let (len, rest) = body.split_first_chunk().ok_or(Refused)?;
    rest.split_at_checked(u32::from_be_bytes(*len) as usize)
        .ok_or(Refused)
}

/// The JSON part of a request.
fn json(frame: &Frame) -> Result<&[u8], Refused> {
    match frame.method {
        Method::Renew => frame.body.get(RENEWAL..).ok_or(Refused),
        Method::Reconcile => Ok(counted(&frame.body)?.1),
        _ => Ok(&frame.body),
    }
}
