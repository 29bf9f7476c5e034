//! Test support, also for users of this crate: networks with one call, and conformance tests for
//! transports, storages and runtimes.

mod conformance;
mod runtime;
mod storage;
mod testnet;

pub use conformance::{Pair, conformance};
pub use runtime::{Over, RuntimeSuite};
pub use storage::{record, storage_conformance};
pub use testnet::{Testnet, TestnetError};
