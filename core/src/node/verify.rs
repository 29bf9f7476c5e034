//! Verification as jobs: signatures cost a hundred times a routing step, so the driver runs them.

use alloc::sync::Arc;

use serde::Serialize;

use crate::id::Target;
use crate::item::{Item, ItemError};
use crate::key::Signature;

/// What a job found.
pub type Verdict = Result<(), ItemError>;

/// Check one item's signature, and a mirror's binding to its target if there is one. Plain
/// data: run it on any thread; the result depends on the data alone, so it may be remembered.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VerifyJob {
    item: Arc<Item>,
    bind: Option<(Target, Signature)>,
}

impl VerifyJob {
    /// A job for `item`, and for its binding to another target if it has one.
    #[must_use]
    pub fn new(item: Arc<Item>, bind: Option<(Target, Signature)>) -> Self {
        Self { item, bind }
    }

    /// Does the work: some 60 µs a signature.
    ///
    /// # Errors
    /// What is wrong with the item, or with its binding.
    pub fn run(&self) -> Verdict {
        self.item.check()?;
        if let Some((target, signature)) = &self.bind {
            self.item
                .key
                .verify(&self.item.bind_digest(target), signature)?;
        }
        Ok(())
    }
}

const _: () = {
    const fn is_send<T: Send + 'static>() {}
    is_send::<VerifyJob>();
};
