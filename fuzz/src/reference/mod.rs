//! The messages once more, decoded by serde and judged by plain types.
//!
//! Ours follow Go's `encoding/json`, which reads more than serde does. So what serde accepts, ours
//! must accept, and it must mean the same. What is left out of the comparison, because the two
//! differ on purpose:
//!
//! - Keys in other cases than written: Go matches them, serde calls them unknown.
//! - Equal keys in one object: in Go the last wins; serde refuses known ones, and unknown ones do
//!   not matter to either.
//! - Keys of peers that are no keys: serde's types would drop the message; both sides here drop
//!   the peer alone.
//! - Escapes inside a time: Go does not undo them and refuses.
//! - More than [`MAX_ITEMS`](skydht_core::wire::MAX_ITEMS) elements: ours refuses.
//! - Pings always decode here, since upstream does not look at their bodies.
//!
//! Everything else that only ours accepts (shorter and longer arrays, numbers for base64, invalid
//! UTF-8, nesting below 128 levels, odd times) is Go's leniency; the golden vectors cover it.

mod shape;
mod time;
mod typed;

use skydht_core::wire::{
    Frame, Method, RequestMessage, Response, ResponseMessage, WireError, WirePeer, encode_request,
    encode_response,
};

/// The reference does not accept, or does not compare.
pub(crate) struct Refused;

/// Compares a decoded request with serde's.
pub(crate) fn check_request(frame: &Frame, ours: Result<&RequestMessage, &WireError>) {
    let Ok(expected) = typed::request(frame) else {
        return;
    };
    let ours = ours.unwrap_or_else(|error| panic!("serde accepts, we refuse: {error}"));
    let mut ours = ours.clone();
    // What is no extension for serde may still be one by Go's rules.
    ours.ext = ours.ext.filter(|_| expected.ext.is_some());
    assert_eq!(ours, expected);
    assert_eq!(encode_request(&ours), encode_request(&expected));
}

/// Compares a decoded response with serde's.
pub(crate) fn check_response(frame: &Frame, ours: Result<&ResponseMessage, &WireError>) {
    let Ok((expected, times)) = typed::response(frame) else {
        return;
    };
    let mut ours = match ours {
        Ok(ours) => ours.clone(),
        // A time with an escape in it.
        Err(WireError::Value { .. }) if frame.body.contains(&b'\\') => return,
        Err(error) => panic!("serde accepts, we refuse: {error}"),
    };
    if expected.ext.is_none() && ours.ext.take().is_some_and(|ext| ext.compact) {
        return; // its peers are those of the response
    }
    // Times can only be made from text; they are compared by what they say.
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

/// Where a renewal's extension starts.
const RENEWAL: usize = 137;

/// A reconciliation message and what follows it.
fn counted(body: &[u8]) -> Result<(&[u8], &[u8]), Refused> {
    let (len, rest) = body.split_first_chunk().ok_or(Refused)?;
    rest.split_at_checked(u32::from_be_bytes(*len) as usize)
        .ok_or(Refused)
}

/// The part of a request that is JSON.
fn json(frame: &Frame) -> Result<&[u8], Refused> {
    match frame.method {
        Method::Renew => frame.body.get(RENEWAL..).ok_or(Refused),
        Method::Reconcile => Ok(counted(&frame.body)?.1),
        _ => Ok(&frame.body),
    }
}
