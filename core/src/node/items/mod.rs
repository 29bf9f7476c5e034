//! Items: their way into the store and out of it, the node's own ones, and what was read lately.

pub(crate) mod cache;
pub(crate) mod intake;
pub(crate) mod own;
pub(crate) mod placed;
mod renewal;
mod state;

pub(crate) use state::{Change, ChangeFrom, Items, held_life};
