//! Operations of users: each ends in exactly one `Finished`.

mod commands;
mod loads;
mod put;
mod queries;
mod state;
mod sync;
mod watches;

pub(crate) use state::Operations;
