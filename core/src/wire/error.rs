//! Errors of decoding and encoding messages.

use crate::wire::method::Method;

/// Why a body is not a valid message of its method. Upstream closes the stream without an answer;
/// so does this node, and counts it. Positions are byte offsets in the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Not JSON.
    #[error("no JSON at byte {at}")]
    Syntax {
        /// Offset in the frame's body, in bytes.
        at: usize,
    },
    /// JSON of another type, a number out of range, or text that is not a signature, base64 or a
    /// time.
    #[error("a JSON value of the wrong kind at byte {at}")]
    Value {
        /// Offset in the frame's body, in bytes.
        at: usize,
    },
    /// Objects and arrays nested deeper than upstream allows, 10,000 levels.
    #[error("JSON nested too deeply at byte {at}")]
    Depth {
        /// Offset in the frame's body, in bytes.
        at: usize,
    },
    /// Text that is not a public key: neither 66 hexadecimal digits with tag 2 or 3, nor empty, nor
    /// all zeros.
    #[error("no public key at byte {at}")]
    BadKey {
        /// Offset in the frame's body, in bytes.
        at: usize,
    },
    /// More elements than valid ones would fit into the largest message.
    #[error("too many elements at byte {at}")]
    TooMany {
        /// Offset in the frame's body, in bytes.
        at: usize,
    },
    /// An element or field of a batch is longer than a whole put may be.
    #[error("an element longer than a put at byte {at}")]
    TooLong {
        /// Offset in the frame's body, in bytes.
        at: usize,
    },
    /// The fixed part of a renewal is truncated.
    #[error("renewal of {len} bytes")]
    ShortRenewal {
        /// Bytes in the body.
        len: usize,
    },
    /// A reconciliation message is shorter than its stated length.
    #[error("reconciliation of {len} bytes")]
    ShortReconcile {
        /// Bytes in the body.
        len: usize,
    },
}

/// A message exceeds its method's limit, so the receiver would drop it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{method} message of {len} bytes, at most {max} are allowed")]
pub struct EncodeError {
    /// Method of the message.
    pub method: Method,
    /// Value of the frame's `length` field: method byte and body.
    pub len: usize,
    /// The maximum.
    pub max: usize,
}
