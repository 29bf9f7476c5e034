//! Frames and messages in exactly Go's JSON, both ways.
//!
//! A [`FrameDecoder`] turns the bytes of a stream into [`Frame`]s, and [`decode_request`] or
//! [`decode_response`] turn a frame into a message; [`encode_request`] and [`encode_response`]
//! return complete frames. What Go emits is read, what Go refuses is refused, and what is written
//! is byte for byte what Go would write, plus one field `ext` at the end for extensions (see
//! [`RequestExt`], [`ResponseExt`], [`WirePeer::addr`]).
//!
//! Differences from upstream: limits are per method ([`Method::request_limit`],
//! [`Method::response_limit`]) and also apply to what is sent; a peer with an invalid key is
//! dropped alone; decoding checks only the tags of keys, the curve is the second step
//! ([`RequestMessage::keys`]); empty lists are written as `[]`, never as `null`.

mod batch;
mod decode;
mod encode;
mod envelope;
mod error;
mod extension;
mod frame;
mod item;
mod json;
mod key;
mod message;
mod method;
mod peer;
mod timestamp;

pub use crate::item::Life;
pub use batch::BatchDecoder;
pub use decode::{decode_request, decode_response};
pub use encode::{PageEncoder, encode_request, encode_response, encoded_target_len};
pub use error::{EncodeError, WireError};
pub use extension::{
    Advertised, COMPACT_SINCE, EXT_VERSION, LongPoll, ParseAdvertisedError, RequestExt,
    ResponseExt, Want,
};
pub use frame::{Frame, FrameDecoder, FrameError};
pub use item::{KeylessItem, WireItem, decode_item, encode_item, encoded_item_len};
pub use message::{MAX_ITEMS, Request, RequestMessage, Response, ResponseMessage, Sender};
pub use method::{
    MAX_FIND_NODE_RESPONSE, MAX_GET_ITEMS_RESPONSE, MAX_GET_VALUE_RESPONSE, MAX_MESSAGE,
    MAX_PUT_BATCH_REQUEST, MAX_PUT_BATCH_RESPONSE, MAX_PUT_VALUE_REQUEST, MAX_RECONCILE,
    MAX_SMALL_REQUEST, MAX_SMALL_RESPONSE, Method, Side,
};
pub use peer::{MAX_PEERS, PeerList, WirePeer, decode_peer, encode_peer};
pub use timestamp::Timestamp;

#[cfg(test)]
mod tests;
