//! The routing table: known peers by distance, and an estimate of the network's size.
//!
//! A Kademlia table (Maymounkov & Mazières 2002, §2.2, §2.4, §4.1): one bucket per length of the
//! prefix shared with the local id, ordered from the least recently seen, with preference for
//! long-lived peers. Upstream drops the new peer if its bucket is full, and never removes dead
//! peers (`spec/dht.md` §14 row 1); here a full bucket requests a ping of its oldest peer and
//! replaces it if that fails.
//!
//! [`Table`] only stores and decides. It sends nothing, has no clock, and accepts only what its
//! caller has proven: a transport proved the key, and the peer answered.

mod bucket;
mod closest;
mod contact;
mod size;
mod table;
#[cfg(test)]
mod tests;

pub use contact::{Contact, PeerUpdate};
pub use table::{
    Blame, Candidacy, FAILURES_KEPT, FAILURES_KEPT_ALONE, Failed, InsertResult, PING_AGE, Table,
};
