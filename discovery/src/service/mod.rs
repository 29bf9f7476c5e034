//! The service discovery: which visors offer a VPN, a proxy, or themselves (specification of
//! discovery, §5).
//!
//! A [`Call`] is what a request asks for, an [`Answer`] or a [`Refusal`] what comes of it, both read and
//! written here. [`ServiceDiscovery`] answers from memory.

mod answer;
mod call;
mod directory;
mod refusal;
mod table;

#[cfg(test)]
mod tests;

pub use answer::{Answer, AnswerError};
pub use call::Call;
pub use directory::{ServiceDiscovery, Stats};
pub use refusal::Refusal;
pub use table::{Limits, SERVICE_LIFE};

/// The longest body of a request, in bytes; upstream's limit since 2026.
pub const MAX_REQUEST: usize = 1 << 20;
/// Services in one answer.
pub const MOST_ANSWERED: usize = 10_000;
