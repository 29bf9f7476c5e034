//! Scenario files: participants, faults, actions of users and expectations; and what is drawn from
//! them.

pub(crate) mod action;
pub(crate) mod chaos;
pub(crate) mod clocks;
pub(crate) mod draw;
mod drawn;
mod file;
mod outcome;
mod playable;
pub(crate) mod storage;
mod variant;
mod whole_program;
pub(crate) mod work;
mod worlds;

pub use drawn::Drawn;
pub use file::{
    Bound, Chaos, Depth, Expect, Items, Phases, Population, Reached, Scenario, ScenarioError, Work,
};
pub use outcome::{Outcome, Progress, RunError};
pub use storage::Storage;
pub use variant::Variant;
pub use whole_program::Program;
