//! The whole program in virtual time: handles, event loop, sessions (Noise and yamux), verifier
//! and core, on hosts that crash, stand still, are cut off and come back; over direct TCP, or
//! over DMSG with its clients and relays.
//!
//! [`crate::world`] drives cores and plays the rest; here nothing above the sockets is played,
//! so that races between driver, sessions and users show. What it costs is scale: tens of
//! nodes. A scenario with `depth = "program"` runs here, judged by the same oracle.
//!
//! | question | module |
//! |---|---|
//! | what a scenario file may say | [`crate::scenario::Program`] |
//! | phases, in order | [`crate::run`] |
//! | how the network is made | `make` |
//! | how a node is built, over which transport | `build` |
//! | one host | `machine` |
//! | DMSG relays | `relays` |
//! | Go nodes of the DHT's days | `go` |
//! | their discovery, which is away at times | `directory` |
//! | how users ask, and when they give up | `users` |
//! | what was seen at every node's door | `ledger` |
//! | what the network does for a run | `backend`, `hosts`, `asking` |
//! | what goes wrong when | `trouble` |
//! | what must hold | `checks` |

mod action;
mod asking;
mod backend;
mod build;
mod checks;
mod directory;
mod ending;
mod go;
mod hosts;
mod ledger;
mod machine;
mod make;
mod relays;
mod state;
mod trouble;
mod users;

pub use build::BuildError;
pub(crate) use make::run;
