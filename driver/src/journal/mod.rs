//! Journals on disk: a run's header and steps, as [`skydht_core::journal`] makes them, in a
//! file that can be read after any crash.
//!
//! [`FileRecorder`] writes one from a running node, on a thread of its own. [`Reader`] reads
//! one, from a file or any other bytes. The format is described in `docs/journal.md`.

mod format;
mod read;
mod write;

pub use format::{CONTAINER, End, Ending, JournalError, MAX_RECORD};
pub use read::Reader;
pub use write::{Closed, FileRecorder, MIN_LIMIT, Written};

#[cfg(test)]
mod tests;
