//! Verification as jobs: signatures cost a hundred times a routing step, so the driver runs them.

use alloc::sync::Arc;

use serde::Serialize;

use crate::item::{Item, ItemError};

/// What a job found.
pub type Verdict = Result<(), ItemError>;

/// Check one item's signature. Plain data: run it on any thread; the result depends on the
/// data alone, so it may be remembered.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VerifyJob {
    pub(crate) item: Arc<Item>,
}

impl VerifyJob {
    /// A job for `item`.
    #[must_use]
    pub fn new(item: Arc<Item>) -> Self {
        Self { item }
    }

    /// Does the work: some 60 µs.
    ///
    /// # Errors
    /// What is wrong with the item.
    pub fn run(&self) -> Verdict {
        self.item.check()
    }
}

const _: () = {
    const fn is_send<T: Send + 'static>() {}
    is_send::<VerifyJob>();
};
