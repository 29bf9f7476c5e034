//! The DMSG discovery: entries of clients and servers, compatible with upstream's service
//! (specification of discovery, §1 and §2).
//!
//! A [`Call`] is a request, and an [`Answer`] or a [`Refusal`] its response. Both are encoded and
//! parsed here, so that server and client agree. [`Rules`] validates single entries, an
//! [`EntryTable`] stores them in memory, and [`DmsgDiscovery`] combines both and counts requests. A
//! different back-end replaces only the table.
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

/// Maximum number of keys in a batch request. Go's limit is unknown.
pub const MOST_ASKED: usize = 512;
/// Maximum number of bytes of entries in a response.
pub const MOST_ANSWERED: usize = 4 << 20;
/// Largest body of a request, in bytes: one entry.
pub const MAX_REQUEST: usize = skydht_dmsg::entry::MAX_ENTRY;
