//! Decoding errors, and the limits of what is decoded.

/// Maximum nesting of values.
pub(super) const MAX_DEPTH: usize = 8;
/// Maximum number of types that one stream may describe. Ours need three.
pub(super) const MAX_TYPES: usize = 32;
/// Maximum number of fields of one struct. Ours have up to ten.
pub(super) const MAX_FIELDS: usize = 64;
/// The first type id that a process gives to a type of its own.
pub(crate) const FIRST_TYPE: u32 = 64;

/// Why bytes are not the gob stream of the expected struct.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GobError {
    /// The bytes end too early, or a length exceeds them.
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
    /// A field has another type than expected.
    #[error("gob field `{0}` has another type than expected")]
    FieldType(&'static str),
    /// A field number beyond the struct's fields.
    #[error("gob field number out of range")]
    FieldNumber,
    /// More types, fields or nesting than the known structs can need.
    #[error("gob stream exceeds a limit")]
    Limit,
    /// An interface value, whose size does not follow from its descriptor.
    #[error("gob interface values are not read")]
    Interface,
}
