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
//! | how a node is built, over which transport | `build` |
//! | one host | `machine` |
//! | DMSG relays | `relays` |
//! | Go nodes of the DHT's days | `go` |
//! | their discovery, which is away at times | `directory` |
//! | what users ask for, and when they give up | `users` |
//! | what was seen at every node's door | `ledger` |
//! | phases, in order | `run` |
//! | what happens to hosts, and what users do | `act` |
//! | what goes wrong when | `trouble` |
//! | what must hold | `checks` |

mod act;
mod build;
mod checks;
mod directory;
mod go;
mod ledger;
mod machine;
mod relays;
mod run;
mod trouble;
mod users;

pub use build::BuildError;
pub use run::run;
