//! For tests, of users too: networks in one call, and checks for transports of one's own.

mod conformance;
mod testnet;

pub use conformance::{Pair, conformance};
pub use testnet::{Testnet, TestnetError};
