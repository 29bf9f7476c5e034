//! For tests, of users too: networks in one call, and checks for transports and runtimes of
//! one's own.

mod conformance;
mod runtime;
mod storage;
mod testnet;

pub use conformance::{Pair, conformance};
pub use runtime::{Over, RuntimeSuite};
pub use storage::{record, storage_conformance};
pub use testnet::{Testnet, TestnetError};
