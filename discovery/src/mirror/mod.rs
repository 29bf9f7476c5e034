//! Follows discovery services, so that records that old visors register there are published in the
//! DHT.
//!
//! A [`Follower`] asks one service over HTTP, in rounds, and reports changed records: DMSG entries
//! under `dmsg`, each visor's transports under `tp` at both edges, and its services under `svc`. A
//! [`Publisher`](crate::publish::Publisher) then publishes these at their owners' targets. A
//! [`Feed`] reports the same of services in this process, as soon as they change.
//!
//! Records are validated: entries by their signatures, transports by their ids. A record is removed
//! only when the service has answered completely without it for [`ABSENT`], so that a service that
//! lost its data, or temporarily returns empty lists, removes nothing.

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

/// Returns a visor's transports as a record.
#[must_use]
pub fn transports_of(owner: PublicKey, list: &[&Transport]) -> (RecordId, Content) {
    (transports::id_of(owner), transports::list_of(list))
}

/// Returns a visor's services as a record.
#[must_use]
pub fn services_of(owner: PublicKey, list: Vec<Service>) -> (RecordId, Content) {
    (services::id_of(owner), services::list_of(list))
}
