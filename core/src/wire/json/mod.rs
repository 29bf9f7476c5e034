//! JSON by Go's rules: what `encoding/json` reads and the bytes it writes.
//!
//! Go's reader differs from serde's and from the standard: keys match in any case, `null` leaves a
//! field unchanged, the last of several equal keys wins, arrays may be shorter or longer than their
//! type, invalid UTF-8 becomes U+FFFD, and nesting is limited to 10,000 levels. So messages are
//! read with a cursor that follows those rules and reports positions.

mod read;
mod write;

pub(super) use read::{Reader, Result, plain_array32};
pub(super) use write::Writer;
