//! Authentication of requests to the transport discovery, the service discovery and the address
//! resolver (specification of discovery, §3; of DMSG in 2026, §6.1).
//!
//! Over plain HTTP, a request contains the caller's key, a nonce, and a signature over body and
//! nonce. The nonce is the number of the key's requests that the service has answered with exactly
//! 200. Method and path are not signed, so that an observer can use a request's nonce for another
//! path. Over DMSG, the caller is the key of the stream, and the headers are ignored.
//!
//! [`Nonces`] is the service's side. [`SignedCall`] is the caller's side, a state machine without
//! I/O.

mod call;
mod headers;
mod nonces;

#[cfg(test)]
mod tests;

pub use call::{SignedCall, Step};
pub use headers::{AuthError, Claim, NONCE, PUBLIC, PUBLIC_IP, SIGNATURE};
pub use nonces::Nonces;
