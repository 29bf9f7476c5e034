//! What a node may be started with beyond what every node needs.

use std::num::NonZeroUsize;

use skydht_core::record::StoredRecord;

use crate::recorder::Recorder;
use crate::storage::Persistence;
use crate::verifier::Verifier;

/// What [`Dht::start_with`](crate::Dht::start_with) takes beyond what every node needs.
#[derive(Default)]
pub struct StartOptions {
    /// Where signatures are checked; the process's pool unless told otherwise.
    pub verifier: Verifier,
    /// Watches all inputs and outputs.
    pub recorder: Option<Box<dyn Recorder>>,
    /// Items that an earlier run asked to persist, given to the node at its start. They are
    /// verified like a peer's; those above `limits.verify_jobs` are counted and left out.
    pub records: Vec<StoredRecord>,
    /// Where items are kept across restarts; none: nowhere. Sets [`Config::storage`](skydht_core::node::Config::storage).
    pub storage: Option<Persistence>,
    /// Commands that wait for the node's loop at most; the next is answered with
    /// [`OperationError::Busy`](skydht_core::node::OperationError::Busy). None: 1,024.
    pub waiting_commands: Option<NonZeroUsize>,
}
