//! The service discovery: visors that offer a VPN, a proxy, or public transports (specification of
//! discovery, §5).
//!
//! A [`Call`] is a request, and an [`Answer`] or a [`Refusal`] its response. Both are encoded and
//! parsed here. [`ServiceDiscovery`] answers from memory.

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

/// Largest body of a request, in bytes; upstream's limit since 2026.
pub const MAX_REQUEST: usize = 1 << 20;
/// Maximum number of services in a response.
pub const MOST_ANSWERED: usize = 10_000;
