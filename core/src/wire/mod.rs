//! Frames and messages: Go's exact JSON, both ways.

mod error;
mod extension;
mod frame;
mod message;
mod method;
mod timestamp;

pub use error::{EncodeError, WireError};
pub use extension::{Advertised, EXT_VERSION, Life, RequestExt, ResponseExt, Want};
pub use frame::{Frame, FrameDecoder, FrameError};
pub use message::{
    KeylessItem, MAX_ITEMS, MAX_PEERS, PeerList, Request, RequestMessage, Response,
    ResponseMessage, Sender, WireItem, WirePeer,
};
pub use method::{
    MAX_FIND_NODE_RESPONSE, MAX_GET_ITEMS_RESPONSE, MAX_GET_VALUE_RESPONSE, MAX_MESSAGE,
    MAX_PUT_BATCH_REQUEST, MAX_PUT_BATCH_RESPONSE, MAX_PUT_VALUE_REQUEST, MAX_SMALL_REQUEST,
    MAX_SMALL_RESPONSE, Method, Side,
};
pub use timestamp::Timestamp;
