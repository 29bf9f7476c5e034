//! What can be wrong with a message.

use crate::wire::method::Method;

/// Why a body is not the message its method asks for. Upstream closes the stream without an
/// answer; so do we, and count it. Positions are byte offsets in the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Not JSON.
    #[error("no JSON at byte {at}")]
    Syntax {
        /// Offset in the frame's body, in bytes.
        at: usize,
    },
    /// JSON of another type, a number out of range, or text that is no signature, base64 or time.
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
    /// Text that is no public key: neither 66 hexadecimal digits with tag 2 or 3, nor empty, nor
    /// all zeros.
    #[error("no public key at byte {at}")]
    BadKey {
        /// Offset in the frame's body, in bytes.
        at: usize,
    },
    /// More elements than real ones would fit into the largest message.
    #[error("too many elements at byte {at}")]
    TooMany {
        /// Offset in the frame's body, in bytes.
        at: usize,
    },
    /// One element or field of a batch, longer than a whole put may be.
    #[error("an element longer than a put at byte {at}")]
    TooLong {
        /// Offset in the frame's body, in bytes.
        at: usize,
    },
    /// A renewal's fixed part is cut off.
    #[error("renewal of {len} bytes")]
    ShortRenewal {
        /// Bytes in the body.
        len: usize,
    },
    /// A reconciliation message is shorter than it says.
    #[error("reconciliation of {len} bytes")]
    ShortReconcile {
        /// Bytes in the body.
        len: usize,
    },
}

/// A message above its method's limit, which the receiver would drop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{method} message of {len} bytes, at most {max} are allowed")]
pub struct EncodeError {
    /// Of which method.
    pub method: Method,
    /// The frame's `length` field: method byte and body.
    pub len: usize,
    /// The largest allowed.
    pub max: usize,
}
