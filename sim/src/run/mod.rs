//! A run of a scenario, on whatever network: phase after phase, with the reference model beside
//! it.
//!
//! Hosts join and settle; items are published; things go wrong while users update, delete and
//! read; all is healed; everything is read and must be right. Safety is checked all the time,
//! liveness after healing. [`crate::cores`] and [`crate::program`] are the networks.

mod act;
mod backend;
mod phases;
mod state;
mod users;
mod verdict;

pub(crate) use backend::{Backend, Totals};
pub(crate) use phases::play;
pub(crate) use state::{DEADLINES, Doing, Run, SETTLED};
