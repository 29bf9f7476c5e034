//! The address resolver: where visors take connections over TCP and what is made of it (specification of discovery,
//! §6; of DMSG in 2026, §6.4). Hole punching over UDP (`sudph`) is not part of it.
//!
//! A [`Call`] is what a request asks for, an [`Answer`] or a [`Refusal`] what comes of it, both read and
//! written here. [`AddressResolver`] answers from memory.

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

/// The longest body of a request, in bytes.
pub const MAX_REQUEST: usize = 1 << 16;
