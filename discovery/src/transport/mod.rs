//! The transport discovery: which links there are between visors (specification of discovery, §4; of
//! DMSG in 2026, §6.2).
//!
//! A [`Call`] is what a request asks for, an [`Answer`] or a [`Refusal`] what comes of it, both read and
//! written here. [`TransportDiscovery`] answers from memory.

mod answer;
mod call;
mod directory;
mod refusal;
mod table;

#[cfg(test)]
mod tests;

pub use answer::{Answer, AnswerError};
pub use call::Call;
pub use directory::{Rules, Stats, TransportDiscovery};
pub use refusal::Refusal;
pub use table::{Limits, TRANSPORT_LIFE};

/// The longest body of a request, in bytes.
pub const MAX_REQUEST: usize = 1 << 20;
/// Transports, ids or edges in one request.
pub const MOST_ASKED: usize = 2_048;
/// Transports in one answer.
pub const MOST_ANSWERED: usize = 100_000;
