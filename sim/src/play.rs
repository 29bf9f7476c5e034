//! Runs a scenario at its depth: with cores, or with the whole program.

use crate::scenario::{Depth, Outcome, Progress, RunError, Scenario};
use crate::{cores, program};

/// Runs a scenario with a seed. The same scenario and seed give exactly the same outcome.
///
/// # Errors
/// The scenario is invalid.
pub fn run(
    scenario: &Scenario,
    seed: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, RunError> {
    let (drawn, worlds) = scenario.drawn(seed)?;
    let mut outcome = match drawn.depth {
        Depth::Core => cores::run(&drawn, seed, progress),
        Depth::Program => program::run(&drawn, seed, progress),
    }?;
    for world in worlds {
        outcome.coverage.count(&format!("world_{world}"), 1);
    }
    Ok(outcome)
}
