//! Who a request to the transport discovery, the service discovery or the address resolver is from
//! (specification of discovery, §3; of DMSG in 2026, §6.1).
//!
//! In clear HTTP a request carries its key, a number and a signature over its body and that number;
//! the number is the service's count of what it answered with exactly 200. Method and path are not
//! signed: a stranger who sees a request can spend its number on another path. Over DMSG the stream's
//! key is the caller, and the headers are not looked at.
//!
//! [`Nonces`] is the service's side, [`SignedCall`] the caller's, a state machine without sockets.

mod call;
mod headers;
mod nonces;

#[cfg(test)]
mod tests;

pub use call::{SignedCall, Step};
pub use headers::{AuthError, Claim, NONCE, PUBLIC, PUBLIC_IP, SIGNATURE};
pub use nonces::Nonces;
