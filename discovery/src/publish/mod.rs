//! Keeps records in the DHT up to date: publishes changes only, the latest content of each key,
//! with limited concurrency and retries.
//!
//! [`Publisher`] is a state machine: [`Publisher::set`] sets the wanted content,
//! [`Publisher::poll_output`] returns what to publish now, and [`Publisher::finished`] takes the
//! result. Its owner signs and puts the items; the DHT node renews them. It serves records of a
//! program's own as well as mirrored ones.

mod content;
mod state;

#[cfg(test)]
mod tests;

pub use content::{Content, RecordId};
pub use state::{Failure, Limits, Publication, Publisher, SetError, Stats};
