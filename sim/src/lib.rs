//! Networks of skydht nodes, upstream's nodes and hostile ones, in virtual time, from one seed.
//!
//! | question | module |
//! |---|---|
//! | what can take part in a network | [`host`] |
//! | a skydht node as such | [`ours`] |
//! | what do peers that mean harm do | [`hostile`] |
//! | how does a node of upstream's behave | [`upstream`] |
//! | who is there, what happens, and how to watch it: **start here** | [`world`] |
//! | sessions, streams, and what the network does to them | [`network`] |
//! | disks and a Redis that fail | [`storage`] |
//! | true time and hosts' clocks | [`clock`] |
//! | what a scenario may say, and what is drawn from it | [`scenario`] |
//! | the same for the whole program: driver, sessions, handles | [`program`] |
//! | play one: cores, or the whole program | [`run`](fn@run) |
//! | its phases | `run`, on `cores` or `program` |
//! | what must hold, whatever happens | [`oracle`] |
//! | did the rare things happen | [`coverage`] |
//! | what did a run find, and how does one keep it | [`figures`] |

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
