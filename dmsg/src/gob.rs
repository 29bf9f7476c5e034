//! Go's gob encoding, for the structs that DMSG sends in it.
//!
//! One object is a gob stream of its own: descriptors of every type used, then one value. Type
//! numbers differ from process to process, so a reader goes by the descriptors and by field
//! *names*; fields that it does not know are skipped (specification of DMSG, §5.1).
//!
//! Everything read is borrowed from the input, and no number in it sizes anything: the work is
//! bounded by the input's length times [`MAX_DEPTH`].

mod announce;
mod layout;
mod read;
mod types;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use announce::{read_announce, write_announce};
pub(crate) use layout::{read_request, read_response, write_request, write_response};

/// How deep values may nest.
const MAX_DEPTH: usize = 8;
/// How many types one stream may describe. Ours need three.
const MAX_TYPES: usize = 32;
/// How many fields one struct may have. Ours have up to ten.
const MAX_FIELDS: usize = 64;
/// The first number that a process gives a type of its own.
pub(crate) const FIRST_TYPE: u32 = 64;

/// Why bytes are not a gob stream of the struct that was expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GobError {
    /// The bytes end too early, or a length says more than there is.
    #[error("gob stream ends inside a value")]
    Truncated,
    /// A number takes more than 8 bytes, or does not fit its type.
    #[error("gob number out of range")]
    Number,
    /// A message holds more than its value.
    #[error("gob message longer than its value")]
    Trailing,
    /// A descriptor is malformed, describes a type twice, or re-defines a built-in one.
    #[error("malformed gob type descriptor")]
    Descriptor,
    /// A value's type was never described.
    #[error("gob type {0} is not described")]
    UnknownType(i64),
    /// A field has another kind than it must.
    #[error("gob field `{0}` has another type than expected")]
    FieldType(&'static str),
    /// A field number beyond the struct's fields.
    #[error("gob field number out of range")]
    FieldNumber,
    /// More types, fields or nesting than a stream of these structs can need.
    #[error("gob stream exceeds a limit")]
    Limit,
    /// An interface value: its size cannot be told from its descriptor.
    #[error("gob interface values are not read")]
    Interface,
}
