//! Scenarios: who takes part, what goes wrong, what users do and what must hold, as files; and
//! their runs.
//!
//! A run has phases. Hosts join and settle; items are published; things go wrong while users
//! update, delete and read; all is healed; everything is read and must be right; and the items of
//! those who left must disappear. Safety is checked all the time, liveness after healing.

mod act;
pub(crate) mod cast;
pub(crate) mod chaos;
pub(crate) mod clocks;
mod drawn;
mod file;
mod learn;
mod playable;
pub(crate) mod run;
mod variant;
pub(crate) mod verdict;
mod whole_program;
pub(crate) mod work;
mod worlds;

pub use cast::Kind;
pub use drawn::Drawn;
pub use file::{
    Bound, Chaos, Depth, Expect, Items, Phases, Population, Reached, Scenario, ScenarioError, Work,
};
pub use run::{Outcome, Progress, RunError};
pub use variant::Variant;
pub use whole_program::Program;
