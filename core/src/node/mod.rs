//! The node: one door in, one door out.
mod config;
mod counters;
mod input;
mod limits;
mod outcome;
mod output;
mod snapshot;
mod verify;
pub use config::*;
pub use counters::*;
pub use input::*;
pub use limits::*;
pub use outcome::*;
pub use output::*;
pub use snapshot::*;
pub use verify::*;
