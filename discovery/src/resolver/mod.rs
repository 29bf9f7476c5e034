//! The address resolver: addresses at which visors accept connections over TCP, QUIC and
//! WebTransport (specification of discovery, §6; of DMSG in 2026, §6.4). Hole punching over UDP
//! (`sudph`) is not supported.
//!
//! A [`Call`] is a request, and an [`Answer`] or a [`Refusal`] its response. Both are encoded and
//! parsed here. [`AddressResolver`] answers from memory.

mod answer;
mod bindings;
mod call;
mod refusal;

#[cfg(test)]
mod tests;

pub use answer::{Answer, AnswerError};
pub use bindings::{AddressResolver, BINDING_LIFE, Limits, Stats};
pub use call::{Binding, Call, Carrier};
pub use refusal::Refusal;

/// Largest body of a request, in bytes.
pub const MAX_REQUEST: usize = 1 << 16;
