//! Go's gob encoding, for the structs that DMSG sends in it.
//!
//! One object is a gob stream of its own: descriptors of every type used, then one value. Type ids
//! differ from process to process, so a reader relies on the descriptors and on field *names*;
//! unknown fields are skipped (specification of DMSG, §5.1).
//!
//! Everything read is borrowed from the input, and no number in the input sizes an allocation: the
//! work is bounded by the input's length times [`error::MAX_DEPTH`].

mod announce;
mod error;
mod layout;
mod read;
mod types;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use announce::{read_announce, write_announce};
pub(crate) use error::FIRST_TYPE;
pub use error::GobError;
pub(crate) use layout::{read_request, read_response, write_request, write_response};
