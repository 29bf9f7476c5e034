//! The routing table: who is known, how near, and how many there are.
//!
//! A Kademlia table (Maymounkov & Mazières 2002, §2.2, §2.4, §4.1): one bucket for each
//! length of the prefix shared with the local id, least recently seen first, long-lived
//! peers preferred. Upstream drops the newcomer on a full bucket and never removes the dead
//! (`spec/dht.md` §14 row 1); here a full bucket asks for a ping of its oldest peer and
//! replaces it when that fails.
//!
//! [`Table`] only remembers and decides. It sends nothing, holds no clock, and knows of
//! peers what its caller proved: a transport showed the key, and the peer answered us.

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
