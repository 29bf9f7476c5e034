//! The transport discovery: transports between visors (specification of discovery, §4; of DMSG in
//! 2026, §6.2).
//!
//! A [`Call`] is a request, and an [`Answer`] or a [`Refusal`] its response. Both are encoded and
//! parsed here. [`TransportDiscovery`] answers from memory.

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

/// Largest body of a request, in bytes.
pub const MAX_REQUEST: usize = 1 << 20;
/// Maximum number of transports, ids or edges in a request.
pub const MOST_ASKED: usize = 2_048;
/// Maximum number of transports in a response.
pub const MOST_ANSWERED: usize = 100_000;
