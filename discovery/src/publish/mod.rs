//! Keeps the DHT at what a program wants it to say: changes alone go out, each key's latest state
//! only, so many at a time, again after a failure.
//!
//! [`Publisher`] is a state machine: [`Publisher::set`] says what is wanted, [`Publisher::poll_output`]
//! what to publish now, and [`Publisher::finished`] what came of it. Its owner signs and puts; renewing
//! what stands is the DHT node's. Used for records of a program's own and for those that it mirrors.

mod content;
mod state;

#[cfg(test)]
mod tests;

pub use content::{Content, RecordId};
pub use state::{Failure, Limits, Publication, Publisher, SetError, Stats};
