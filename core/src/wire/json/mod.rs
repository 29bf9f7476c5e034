//! JSON by Go's rules: what `encoding/json` reads and the bytes it writes.
//!
//! Go's reader is neither serde's nor the standard's: keys match in any case, `null` leaves a
//! field as it is, the last of several equal keys wins, arrays may be shorter or longer than
//! their type, invalid UTF-8 becomes U+FFFD, nesting ends at 10,000 levels. So the messages are
//! read with a cursor that follows those rules and gives positions.

mod read;
mod write;

pub(super) use read::{Reader, Result, plain_array32};
pub(super) use write::Writer;
