//! Runs a scenario on any network, phase by phase, together with the reference model.
//!
//! Hosts join and settle; items are published; faults occur while users update, delete and read;
//! all faults end; everything is read and must be correct. Safety is checked all the time, liveness
//! after healing. [`crate::cores`] and [`crate::program`] are the networks.

mod act;
mod backend;
mod phases;
mod state;
mod users;
mod verdict;

pub(crate) use backend::{Backend, Totals};
pub(crate) use phases::play;
pub(crate) use state::{DEADLINES, Run, SETTLED, UserOperation};
