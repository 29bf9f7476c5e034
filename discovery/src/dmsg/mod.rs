//! The DMSG discovery: entries of clients and servers, as upstream's service keeps them
//! (specification of discovery, §1 and §2).
//!
//! A [`Call`] is what a request asks for, an [`Answer`] or a [`Refusal`] what comes of it; both
//! are read and written here, so that server and client cannot disagree. [`Rules`] judges entries
//! by themselves, an [`EntryTable`] keeps them in memory, and [`DmsgDiscovery`] is both with its
//! counters. Another back-end takes the place of the table alone.
//!
//! [`EntryTable`]: skydht_dmsg::discovery::EntryTable

mod answer;
mod call;
mod refusal;
mod rules;
mod service;

#[cfg(test)]
mod tests;

pub use answer::{Answer, AnswerError};
pub use call::Call;
pub use refusal::Refusal;
pub use rules::{MAX_SERVER_ENTRY, Rules};
pub use service::{Caller, DmsgDiscovery, Stats};

/// Most keys in one request for entries. Go has a limit, too, that is not known.
pub const MOST_ASKED: usize = 512;
/// Most bytes of entries in one answer.
pub const MOST_ANSWERED: usize = 4 << 20;
/// The longest body of a request, in bytes: one entry.
pub const MAX_REQUEST: usize = skydht_dmsg::entry::MAX_ENTRY;
