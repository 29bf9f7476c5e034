//! Optional settings of a node's start.

use std::num::NonZeroUsize;

use skydht_core::record::StoredRecord;

use crate::recorder::Recorder;
use crate::storage::Persistence;
use crate::verifier::Verifier;

/// Optional settings of [`Dht::start_with`](crate::Dht::start_with).
#[derive(Default)]
pub struct StartOptions {
    /// Where signatures are verified; by default in the process-wide pool.
    pub verifier: Verifier,
    /// Receives all inputs and outputs of the node.
    pub recorder: Option<Box<dyn Recorder>>,
    /// Items that an earlier run persisted, passed to the node at its start. They are verified like
    /// a peer's; those beyond `limits.verify_jobs` are counted and left out.
    pub records: Vec<StoredRecord>,
    /// Storage that keeps items across restarts; `None` for no storage. Sets
    /// [`Config::storage`](skydht_core::node::Config::storage).
    pub storage: Option<Persistence>,
    /// Maximum number of commands that wait for the node's event loop; further ones fail with
    /// [`OperationError::Busy`](skydht_core::node::OperationError::Busy). `None` is 1,024.
    pub waiting_commands: Option<NonZeroUsize>,
}
