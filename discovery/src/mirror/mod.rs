//! Following discovery services, so that what old visors register there is found in the DHT, too.
//!
//! A [`Follower`] asks one service over HTTP, round after round, and says which records have changed:
//! DMSG entries under `dmsg`, each visor's transports under `tp` at both edges, its services under
//! `svc`. A [`Publisher`](crate::publish::Publisher) then publishes these, at their owners' targets.
//!
//! A [`Feed`] says the same of services in this process, as soon as they change.
//!
//! What a service says is checked like any record: entries by their signatures, transports by their
//! ids. A record goes only when the service has answered in full and without it for [`ABSENT`]: a
//! service that lost its memory, or that answers with nothing for a while, takes nothing away.

mod changes;
mod compare;
mod entries;
mod feed;
mod follower;
mod round;
mod services;
mod transports;

#[cfg(test)]
mod tests;

use skydht_core::key::PublicKey;

use crate::publish::{Content, RecordId};
use crate::record::{Service, Transport};

pub use changes::REFRESH;
pub use compare::{Difference, compare};
pub use feed::Feed;
pub use follower::{ABSENT, Ask, Followed, Follower, Stats};
pub use round::RoundError;

/// A visor's transports as a record.
#[must_use]
pub fn transports_of(owner: PublicKey, list: &[&Transport]) -> (RecordId, Content) {
    (transports::id_of(owner), transports::list_of(list))
}

/// A visor's services as a record.
#[must_use]
pub fn services_of(owner: PublicKey, list: Vec<Service>) -> (RecordId, Content) {
    (services::id_of(owner), services::list_of(list))
}
