//! Methods and the limits on the length of their messages.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::sync::MAX_SYNC_MESSAGE;

/// Maximum length of any message, method byte and body; upstream's only limit.
pub const MAX_MESSAGE: usize = 4_194_304;
/// Requests with a target, a page or nothing: upstream's take some 350 bytes, ours with every
/// extension less than 1 KiB. The rest is reserved for future fields.
pub const MAX_SMALL_REQUEST: usize = 8 * KIB;
/// A put: values and salts above their limits must still be decodable, so that they can be answered
/// with the reason.
pub const MAX_PUT_VALUE_REQUEST: usize = 256 * KIB;
/// A batch: upstream fills it with up to 3 MiB of raw values.
pub const MAX_PUT_BATCH_REQUEST: usize = MAX_MESSAGE;
/// Answers to a ping, a put and a renewal: two fields, an error text, and up to 20 peers in the
/// extension.
pub const MAX_SMALL_RESPONSE: usize = 16 * KIB;
/// Twenty peers take some 5 KiB.
pub const MAX_FIND_NODE_RESPONSE: usize = 64 * KIB;
/// A full-size item and 20 peers take some 95 KiB.
pub const MAX_GET_VALUE_RESPONSE: usize = 256 * KIB;
/// A page of items; upstream limits only their number.
pub const MAX_GET_ITEMS_RESPONSE: usize = MAX_MESSAGE;
/// One verdict per item of a batch, each with an error text at worst.
pub const MAX_PUT_BATCH_RESPONSE: usize = 2_048 * KIB;

/// Reconciliation messages, request and response: the longest message, and the rest of the frame.
pub const MAX_RECONCILE: usize = MAX_SYNC_MESSAGE + 16 * KIB;

const KIB: usize = 1_024;

/// Method of a frame: the byte after its length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Method {
    /// A sign of life.
    Ping = 1,
    /// The closest peers to a target.
    FindNode = 2,
    /// The item at a target, and the closest peers.
    GetValue = 3,
    /// To store an item.
    PutValue = 4,
    /// A page of all stored items.
    GetItems = 5,
    /// To store several items.
    PutBatch = 6,
    /// To renew the lifetime of a stored item. An extension; upstream closes the stream.
    Renew = 64,
    /// To find the differences between two sets. An extension, only for peers whose answers say
    /// `full`.
    Reconcile = 65,
}

impl fmt::Display for Method {
    /// The name in the specification, such as `PutValue`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ping => "Ping",
            Self::FindNode => "FindNode",
            Self::GetValue => "GetValue",
            Self::PutValue => "PutValue",
            Self::GetItems => "GetItems",
            Self::PutBatch => "PutBatch",
            Self::Renew => "Renew",
            Self::Reconcile => "Reconcile",
        })
    }
}

impl Method {
    /// All methods, in order of their bytes.
    pub const ALL: [Self; 8] = [
        Self::Ping,
        Self::FindNode,
        Self::GetValue,
        Self::PutValue,
        Self::GetItems,
        Self::PutBatch,
        Self::Renew,
        Self::Reconcile,
    ];

    /// The method of a byte, if there is one.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Ping,
            2 => Self::FindNode,
            3 => Self::GetValue,
            4 => Self::PutValue,
            5 => Self::GetItems,
            6 => Self::PutBatch,
            64 => Self::Renew,
            65 => Self::Reconcile,
            _ => return None,
        })
    }

    /// The method's byte on the wire.
    #[must_use]
    pub const fn as_byte(self) -> u8 {
        self as u8
    }

    /// Maximum `length` (1 for the method, plus the body) of a request.
    #[must_use]
    pub const fn request_limit(self) -> usize {
        match self {
            Self::Ping | Self::FindNode | Self::GetValue | Self::GetItems | Self::Renew => {
                MAX_SMALL_REQUEST
            }
            Self::PutValue => MAX_PUT_VALUE_REQUEST,
            Self::PutBatch => MAX_PUT_BATCH_REQUEST,
            Self::Reconcile => MAX_RECONCILE,
        }
    }

    /// Maximum `length` (1 for the method, plus the body) of a response.
    #[must_use]
    pub const fn response_limit(self) -> usize {
        match self {
            Self::Ping | Self::PutValue | Self::Renew => MAX_SMALL_RESPONSE,
            Self::FindNode => MAX_FIND_NODE_RESPONSE,
            Self::GetValue => MAX_GET_VALUE_RESPONSE,
            Self::GetItems => MAX_GET_ITEMS_RESPONSE,
            Self::PutBatch => MAX_PUT_BATCH_RESPONSE,
            Self::Reconcile => MAX_RECONCILE,
        }
    }
}

/// The direction of a message in an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Sent by the caller.
    Request,
    /// Sent by the server.
    Response,
}

impl Side {
    /// The limit of `method` on this side.
    #[must_use]
    pub const fn limit(self, method: Method) -> usize {
        match self {
            Self::Request => method.request_limit(),
            Self::Response => method.response_limit(),
        }
    }
}
