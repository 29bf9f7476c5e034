//! Items: admission to the store and expiry, own items, and recent reads.

pub(crate) mod cache;
pub(crate) mod intake;
pub(crate) mod own;
pub(crate) mod placed;
mod renewal;
mod state;

pub(crate) use state::{Change, ChangeFrom, Items, stored_life};
