//! Items: their way into the store, the node's own ones, and what was read lately.

pub(crate) mod cache;
pub(crate) mod intake;
pub(crate) mod own;
