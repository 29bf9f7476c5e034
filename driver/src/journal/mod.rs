//! Journals on disk: the header and steps of a run, as [`skydht_core::journal`] defines them, in a
//! file that is readable after any crash.
//!
//! [`FileRecorder`] writes a journal of a running node, on a thread of its own. [`Reader`] reads
//! one from a file or any other source. `docs/journal.md` describes the format.

mod format;
mod read;
mod write;

pub use format::{CONTAINER, End, Ending, JournalError, MAX_RECORD};
pub use read::Reader;
pub use write::{Closed, FileRecorder, MIN_LIMIT, Written};

#[cfg(test)]
mod tests;
