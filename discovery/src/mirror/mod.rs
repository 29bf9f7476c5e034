//! Following discovery services, so that what old visors register there is found in the DHT, too.
//!
//! A [`Follower`] asks one service over HTTP, round after round, and says which records have changed:
//! DMSG entries under `dmsg`, each visor's transports under `tp` at both edges, its services under
//! `svc`. A [`Publisher`](crate::publish::Publisher) then publishes these, at their owners' targets.
//!
//! What a service says is checked like any record: entries by their signatures, transports by their
//! ids. A record goes only when the service has answered in full and without it for [`ABSENT`]: a
//! service that lost its memory, or that answers with nothing for a while, takes nothing away.

mod entries;
mod follower;
mod round;
mod services;
mod transports;

#[cfg(test)]
mod tests;

pub use follower::{ABSENT, Ask, Followed, Follower, Stats};
pub use round::RoundError;
