//! Networks of skydht nodes, upstream's nodes and hostile ones, in virtual time, from one seed.
//!
//! | Question | Module |
//! |---|---|
//! | What can take part in a network? | [`host`] |
//! | What is a skydht node as such? | [`ours`] |
//! | What do hostile peers do? | [`hostile`] |
//! | How does upstream's node behave? | [`upstream`] |
//! | Which hosts are there, what happens, and how is it observed? **Start here.** | [`world`] |
//! | How do sessions and streams work, and what does the network do to them? | [`network`] |
//! | How do disks and a Redis fail? | [`storage`] |
//! | How do true time and hosts' clocks differ? | [`clock`] |
//! | What can a scenario state, and what is drawn from it? | [`scenario`] |
//! | How is the whole program simulated: driver, sessions, handles? | [`program`] |
//! | How is a scenario run, on cores or the whole program? | [`run`](fn@run) |
//! | What are the phases of a run? | `run`, on `cores` or `program` |
//! | Which invariants must hold? | [`oracle`] |
//! | Did the rare events happen? | [`coverage`] |
//! | What did a run find, and how is it kept? | [`figures`] |

pub mod clock;
mod cores;
pub mod coverage;
pub mod figures;
pub mod host;
pub mod hostile;
pub mod network;
pub mod oracle;
pub mod ours;
mod play;
pub mod program;
mod run;
pub mod scenario;
pub mod storage;
#[cfg(test)]
mod testbed;
pub mod upstream;
pub mod world;

pub use play::run;
