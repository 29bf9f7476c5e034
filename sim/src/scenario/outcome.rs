//! Progress and results of a run.

use std::time::Duration;

use super::file::ScenarioError;
use crate::coverage::Coverage;
use crate::figures::Report;
use crate::world::WorldError;

/// Reason why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The world refused something.
    #[error(transparent)]
    World(#[from] WorldError),
    /// `population.limits` names a limit that does not exist.
    #[error("population.limits: there is no limit {0:?}; `skydht status --limits` lists them")]
    UnknownLimit(String),
    /// A world that the seed chose is invalid.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A node of the whole program did not start.
    #[error("a node did not start: {0}")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Progress of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Name of the current phase.
    pub phase: &'static str,
    /// Virtual time so far.
    pub done: Duration,
    /// Approximate total virtual time.
    pub total: Duration,
}

/// Result of a run.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// Figures, violations and digest.
    pub report: Report,
    /// How often each counted event happened.
    pub coverage: Coverage,
}
