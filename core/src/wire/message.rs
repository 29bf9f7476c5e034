//! The messages, as plain data.

use alloc::string::String;
use alloc::vec::Vec;

use crate::id::{NodeId, Target};
use crate::item::Seq;
use crate::key::{PublicKey, Signature};
use crate::wire::extension::{RequestExt, ResponseExt};
use crate::wire::item::WireItem;
use crate::wire::method::{MAX_MESSAGE, Method};
use crate::wire::peer::PeerList;

/// Items, targets or verdicts in one list. An item with a key and a signature takes at least 228
/// bytes of JSON and a comma, so no message of real items holds more. More fail the message.
pub const MAX_ITEMS: usize = MAX_MESSAGE / 229;

/// Who a message says it is from. Proves nothing: the transport's key does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sender {
    /// `sender_id` or `responder_id`; not always SHA-256 of the key.
    pub id: NodeId,
    /// `sender_pk` or `responder_pk`; none is upstream's zero key.
    pub key: Option<PublicKey>,
}

impl Sender {
    /// The honest one for `key`.
    #[must_use]
    pub fn of(key: &PublicKey) -> Self {
        Self {
            id: key.id(),
            key: Some(*key),
        }
    }
}

/// A request with everything that came along.
#[derive(Clone, PartialEq, Debug)]
pub struct RequestMessage {
    /// Who it says it is from. A [`Request::Renew`] or [`Request::Reconcile`] carries none and decodes with the default;
    /// a ping's is the default when its body does not decode, which upstream does not even try.
    pub sender: Sender,
    /// What upstream does not know.
    pub ext: Option<RequestExt>,
    /// What it asks.
    pub request: Request,
}

impl RequestMessage {
    /// The keys that upstream refuses a message for when they are not on the curve: the sender's
    /// and those of the items, none for a ping. Decoding checks tags only; the caller runs
    /// [`PublicKey::check_curve`] on those it has not proven otherwise (the transport's own key,
    /// keys whose signature it verifies anyway).
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

/// What is asked.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// Are you there?
    Ping,
    /// The closest peers to `target`.
    FindNode {
        /// To what.
        target: Target,
    },
    /// The item at `target`, and the closest peers.
    GetValue {
        /// At what.
        target: Target,
    },
    /// Keep an item.
    PutValue {
        /// What to keep.
        item: WireItem,
        /// Where, when not at the item's own target; upstream's all-zero target is none.
        mirror_target: Option<Target>,
    },
    /// A page of all items held.
    GetItems {
        /// Only items with this salt; empty: all. Upstream's text cannot hold other bytes.
        salt: String,
        /// Only items with a higher sequence.
        since_seq: Seq,
        /// Items in the page; not above 0: 1000.
        limit: i64,
    },
    /// Keep many items.
    PutBatch {
        /// What to keep.
        items: Vec<WireItem>,
        /// Where `items[i]` goes; an all-zero or missing one: to its own target.
        targets: Vec<Target>,
    },
    /// Keep an item that is held already for longer. Body: target (32) ‖ sequence u64 big-endian
    /// ‖ signature (65) ‖ SHA-256(v ‖ salt) (32), 137 bytes, then the extension's JSON object if
    /// there is one.
    Renew {
        /// Where it is held.
        target: Target,
        /// Its sequence.
        seq: Seq,
        /// Its signature; it need not be the one held.
        signature: Signature,
        /// Its [`Item::content_hash`](crate::item::Item::content_hash).
        content_hash: [u8; 32],
    },
    /// Find what both hold differently. Body, both ways: length of the message u32 big-endian ‖
    /// message ‖ the extension's JSON object if there is one.
    Reconcile {
        /// A [`SyncRequest`](crate::sync::SyncRequest); decoded by who serves it.
        message: Vec<u8>,
    },
}

impl Request {
    /// Its method.
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

/// A response with everything that came along.
#[derive(Clone, PartialEq, Debug)]
pub struct ResponseMessage {
    /// What upstream does not know.
    pub ext: Option<ResponseExt>,
    /// What it answers.
    pub response: Response,
}

/// What is answered.
#[derive(Clone, PartialEq, Debug)]
pub enum Response {
    /// I am.
    Ping {
        /// Who answers, by its own account.
        responder: Sender,
    },
    /// The closest peers.
    FindNode {
        /// Nearest first; upstream's null reads as empty.
        closest: PeerList,
    },
    /// The item and the closest peers.
    GetValue {
        /// None: not held.
        item: Option<WireItem>,
        /// Nearest first; empty when left out.
        closest: PeerList,
    },
    /// Whether the item is kept.
    PutValue {
        /// Kept.
        stored: bool,
        /// Why not; empty when left out.
        error: String,
    },
    /// A page of items.
    GetItems {
        /// In order of (sequence, target), except from early upstream nodes.
        items: Vec<WireItem>,
        /// Where `items[i]` is held; empty from early upstream nodes.
        targets: Vec<Target>,
        /// Another page is left.
        has_more: bool,
    },
    /// Whether each item is kept.
    PutBatch {
        /// Of `items[i]`.
        stored: Vec<bool>,
        /// Why not; left out when there are none.
        errors: Vec<String>,
    },
    /// Whether the item is kept for longer; JSON as for [`Response::PutValue`].
    Renew {
        /// Renewed.
        stored: bool,
        /// Why not; empty when left out.
        error: String,
    },
    /// The other side's message; body as of the request.
    Reconcile {
        /// A [`SyncResponse`](crate::sync::SyncResponse).
        message: Vec<u8>,
    },
}

impl Response {
    /// The peers that it names, of the kinds that name some.
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

    /// Its method.
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
