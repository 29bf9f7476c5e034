//! Requests and responses as plain data.

use alloc::string::String;
use alloc::vec::Vec;

use crate::id::{NodeId, Target};
use crate::item::Seq;
use crate::key::{PublicKey, Signature};
use crate::wire::extension::{RequestExt, ResponseExt};
use crate::wire::item::WireItem;
use crate::wire::method::{MAX_MESSAGE, Method};
use crate::wire::peer::PeerList;

/// Maximum number of items, targets or verdicts in a list. An item with a key and a signature takes
/// at least 228 bytes of JSON and a comma, so no message of valid items has more. A longer list
/// makes the message invalid.
pub const MAX_ITEMS: usize = MAX_MESSAGE / 229;

/// The sender that a message names. It proves nothing: the transport proves the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sender {
    /// `sender_id` or `responder_id`; possibly not SHA-256 of the key.
    pub id: NodeId,
    /// `sender_pk` or `responder_pk`; `None` is upstream's zero key.
    pub key: Option<PublicKey>,
}

impl Sender {
    /// The correct sender for `key`.
    #[must_use]
    pub fn of(key: &PublicKey) -> Self {
        Self {
            id: key.id(),
            key: Some(*key),
        }
    }
}

/// A request with its sender and extension.
#[derive(Clone, PartialEq, Debug)]
pub struct RequestMessage {
    /// The sender that it names. A [`Request::Renew`] or [`Request::Reconcile`] names none and
    /// decodes with the default, as does a ping whose body is invalid: upstream ignores the body.
    pub sender: Sender,
    /// The extension, which upstream does not know.
    pub ext: Option<RequestExt>,
    /// The request.
    pub request: Request,
}

impl RequestMessage {
    /// The keys that must be on the curve, or upstream refuses the message: the sender's and those
    /// of the items, none for a ping. Decoding checks only the first byte of a key, so the caller
    /// runs [`PublicKey::check_curve`] on these, except on the key that the transport has proven
    /// and on keys whose signature it verifies anyway.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        let (one, many): (_, &[WireItem]) = match &self.request {
            Request::PutValue { item, .. } => (Some(item), &[]),
            Request::PutBatch { items, .. } => (None, items),
            _ => (None, &[]),
        };
        let sender = match &self.request {
            Request::Ping => None,
            _ => self.sender.key.as_ref(),
        };
        let items = one.into_iter().chain(many).filter_map(WireItem::key);
        sender.into_iter().chain(items)
    }
}

/// What a request asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// A sign of life.
    Ping,
    /// The closest peers to `target`.
    FindNode {
        /// The target.
        target: Target,
    },
    /// The item at `target`, and the closest peers.
    GetValue {
        /// The target.
        target: Target,
    },
    /// To store an item.
    PutValue {
        /// The item.
        item: WireItem,
        /// The target, if not the item's own; `None` for upstream's all-zero target.
        mirror_target: Option<Target>,
    },
    /// A page of all stored items.
    GetItems {
        /// Only items with this salt; empty: all items. It is text in upstream's JSON, so only
        /// salts that are UTF-8 can be selected.
        salt: String,
        /// Only items with a sequence above this.
        since_seq: Seq,
        /// Maximum number of items in the page; 1000 if not positive.
        limit: i64,
    },
    /// To store several items.
    PutBatch {
        /// The items.
        items: Vec<WireItem>,
        /// Targets by index of the items; an all-zero or absent one means the item's own target.
        targets: Vec<Target>,
    },
    /// To renew the lifetime of a stored item. Body: target (32) ‖ sequence u64 big-endian ‖
    /// signature (65) ‖ SHA-256(v ‖ salt) (32), 137 bytes, then the extension's JSON object if
    /// there is one.
    Renew {
        /// Target of the item.
        target: Target,
        /// Sequence of the item.
        seq: Seq,
        /// Signature of the item; it may differ from the stored one.
        signature: Signature,
        /// [`Item::content_hash`](crate::item::Item::content_hash) of the item.
        content_hash: [u8; 32],
    },
    /// To find the differences between the items of two nodes. Body of request and response: length
    /// of the message u32 big-endian ‖ message ‖ the extension's JSON object if there is one.
    Reconcile {
        /// A [`SyncRequest`](crate::sync::SyncRequest), which the handler decodes.
        message: Vec<u8>,
    },
}

impl Request {
    /// The method of this request.
    #[must_use]
    pub const fn method(&self) -> Method {
        match self {
            Self::Ping => Method::Ping,
            Self::FindNode { .. } => Method::FindNode,
            Self::GetValue { .. } => Method::GetValue,
            Self::PutValue { .. } => Method::PutValue,
            Self::GetItems { .. } => Method::GetItems,
            Self::PutBatch { .. } => Method::PutBatch,
            Self::Renew { .. } => Method::Renew,
            Self::Reconcile { .. } => Method::Reconcile,
        }
    }
}

/// A response with its extension.
#[derive(Clone, PartialEq, Debug)]
pub struct ResponseMessage {
    /// The extension, which upstream does not know.
    pub ext: Option<ResponseExt>,
    /// The response.
    pub response: Response,
}

/// What a response contains.
#[derive(Clone, PartialEq, Debug)]
pub enum Response {
    /// A sign of life.
    Ping {
        /// The responder that the message names.
        responder: Sender,
    },
    /// The closest peers.
    FindNode {
        /// The peers, nearest first; upstream's null decodes as empty.
        closest: PeerList,
    },
    /// The item and the closest peers.
    GetValue {
        /// The item; `None` if the responder does not have it.
        item: Option<WireItem>,
        /// The peers, nearest first; empty if absent.
        closest: PeerList,
    },
    /// Whether the item was stored.
    PutValue {
        /// Whether it was stored.
        stored: bool,
        /// The reason if not; empty if absent.
        error: String,
    },
    /// A page of items.
    GetItems {
        /// The items in order of (sequence, target), except from early upstream nodes.
        items: Vec<WireItem>,
        /// Targets by index of the items; empty from early upstream nodes.
        targets: Vec<Target>,
        /// Whether another page follows.
        has_more: bool,
    },
    /// Whether each item was stored.
    PutBatch {
        /// By index of the items.
        stored: Vec<bool>,
        /// The reasons by index of the items, empty texts for stored ones; no entries if all were
        /// stored.
        errors: Vec<String>,
    },
    /// Whether the item was renewed; JSON as for [`Response::PutValue`].
    Renew {
        /// Whether it was renewed.
        stored: bool,
        /// The reason if not; empty if absent.
        error: String,
    },
    /// The responder's message; body as for the request.
    Reconcile {
        /// A [`SyncResponse`](crate::sync::SyncResponse).
        message: Vec<u8>,
    },
}

impl Response {
    /// The peers of a response, if its kind has any.
    #[must_use]
    pub const fn closest(&self) -> Option<&PeerList> {
        match self {
            Self::FindNode { closest } | Self::GetValue { closest, .. } => Some(closest),
            _ => None,
        }
    }

    pub(super) const fn closest_mut(&mut self) -> Option<&mut PeerList> {
        match self {
            Self::FindNode { closest } | Self::GetValue { closest, .. } => Some(closest),
            _ => None,
        }
    }

    /// The method of this response.
    #[must_use]
    pub const fn method(&self) -> Method {
        match self {
            Self::Ping { .. } => Method::Ping,
            Self::FindNode { .. } => Method::FindNode,
            Self::GetValue { .. } => Method::GetValue,
            Self::PutValue { .. } => Method::PutValue,
            Self::GetItems { .. } => Method::GetItems,
            Self::PutBatch { .. } => Method::PutBatch,
            Self::Renew { .. } => Method::Renew,
            Self::Reconcile { .. } => Method::Reconcile,
        }
    }
}
