//! The messages, as plain data.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::id::{NodeId, Target};
use crate::item::{self, Item, ItemError, Salt, Seq, Value};
use crate::key::{PublicKey, Signature};
use crate::wire::extension::{RequestExt, ResponseExt};
use crate::wire::method::{MAX_MESSAGE, Method};
use crate::wire::timestamp::Timestamp;

/// Peers kept of one list; upstream sends 20 at most. More are dropped and counted.
pub const MAX_PEERS: usize = 64;
/// Items, targets or verdicts in one list. An item with a key and a signature takes at least 228
/// bytes of JSON, so no message of real items holds more. More fail the message.
pub const MAX_ITEMS: usize = MAX_MESSAGE / 228;

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
    /// Who it says it is from. A [`Request::Renew`] carries none and decodes with the default;
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
        /// Its [`Item::content_hash`].
        content_hash: [u8; 32],
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
}

impl Response {
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
        }
    }
}

/// A peer in an answer. Hearsay: neither its id nor its key is proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WirePeer {
    /// As told; compute it from the key instead.
    pub id: NodeId,
    /// None is upstream's zero key.
    pub key: Option<PublicKey>,
    /// As told; receivers ignore it.
    pub last_seen: Timestamp,
    /// Where it can be reached directly (ours); left out when not known.
    pub addr: Option<SocketAddr>,
}

impl WirePeer {
    /// The honest one for `key`.
    #[must_use]
    pub fn new(key: &PublicKey, last_seen: Timestamp, addr: Option<SocketAddr>) -> Self {
        Self {
            id: key.id(),
            key: Some(*key),
            last_seen,
            addr,
        }
    }
}

/// The peers of an answer, and what was dropped from it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeerList {
    /// At most [`MAX_PEERS`] when decoded.
    pub peers: Vec<WirePeer>,
    /// Entries dropped because of their key. Upstream drops the whole message.
    pub bad_keys: u32,
    /// Entries dropped beyond [`MAX_PEERS`].
    pub excess: u32,
}

impl From<Vec<WirePeer>> for PeerList {
    fn from(peers: Vec<WirePeer>) -> Self {
        Self {
            peers,
            bad_keys: 0,
            excess: 0,
        }
    }
}

/// An item in a message. Shared, so that what is held goes out, and what comes in is held,
/// without a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WireItem {
    /// With a key, of which only the tag is checked.
    Keyed(Arc<Item>),
    /// With upstream's zero key: no signature can be valid.
    Keyless(KeylessItem),
}

/// An item whose key is upstream's zero key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeylessItem {
    /// `seq`.
    pub seq: Seq,
    /// `sig`.
    pub signature: Signature,
    /// `v`.
    pub value: Value,
    /// `salt`.
    pub salt: Salt,
}

impl WireItem {
    /// The item, if it has a key.
    #[must_use]
    pub const fn item(&self) -> Option<&Arc<Item>> {
        match self {
            Self::Keyed(item) => Some(item),
            Self::Keyless(_) => None,
        }
    }

    /// The item, if it has a key.
    #[must_use]
    pub fn into_item(self) -> Option<Arc<Item>> {
        match self {
            Self::Keyed(item) => Some(item),
            Self::Keyless(_) => None,
        }
    }

    /// Its key, if it has one.
    #[must_use]
    pub fn key(&self) -> Option<&PublicKey> {
        self.item().map(|item| &item.key)
    }

    /// As [`Item::check_sizes`], which comes before the signature also when there is no key.
    ///
    /// # Errors
    /// [`ItemError::ValueTooLarge`] or [`ItemError::SaltTooLong`].
    pub fn check_sizes(&self) -> Result<(), ItemError> {
        match self {
            Self::Keyed(item) => item.check_sizes(),
            Self::Keyless(item) => item::check_sizes(&item.value, &item.salt),
        }
    }
}

impl From<Arc<Item>> for WireItem {
    fn from(item: Arc<Item>) -> Self {
        Self::Keyed(item)
    }
}

impl From<&Arc<Item>> for WireItem {
    fn from(item: &Arc<Item>) -> Self {
        Self::Keyed(Arc::clone(item))
    }
}

impl From<Item> for WireItem {
    fn from(item: Item) -> Self {
        Self::Keyed(Arc::new(item))
    }
}
