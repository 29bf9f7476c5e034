//! The whole program in virtual time: handles, event loop, sessions (Noise and yamux), verifier and
//! core, on hosts that crash, are suspended or cut off, and come back; over direct TCP, or over
//! DMSG with its clients and relays.
//!
//! While [`crate::world`] runs only cores and models everything else, only the sockets are modelled
//! here, so races between driver, sessions and users can show. The price is scale: tens of nodes. A
//! scenario with `depth = "program"` runs here and is judged by the same oracle.
//!
//! | question | module |
//! |---|---|
//! | settings in a scenario file | [`crate::scenario::Program`] |
//! | phases, in order | [`crate::run`] |
//! | creation of the network | `make` |
//! | creation of a node with a transport | `build` |
//! | one host | `machine` |
//! | DMSG relays | `relays` |
//! | Go nodes that run the DHT over DMSG | `go` |
//! | DMSG discovery, sometimes unavailable | `directory` |
//! | how users give commands, and when they give up | `users` |
//! | inputs and outputs seen at every node | `ledger` |
//! | what the network does for a run | `backend`, `hosts`, `asking` |
//! | planned faults | `trouble` |
//! | invariants | `checks` |

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
