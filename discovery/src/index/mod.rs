//! What a full node derives from the records that it holds: who offers a service, and which
//! transports there are.
//!
//! A record can only lie under its publisher's key, so "who offers a VPN in this country" has no
//! key to ask for (specification of lessons, R14). [`Index`] is told of each record that comes,
//! changes or goes ([`Index::update`]) and answers such questions. It is nothing but derived: built
//! anew from the same records ([`Index::rebuild`]) it says the same.
//!
//! What is missing is said: records that cannot be read and those for which there was no room make
//! [`Index::is_complete`] false.

mod bounds;
mod services;
mod transports;

#[cfg(test)]
mod tests;

use skydht_core::item::Seq;
use skydht_core::key::PublicKey;

use crate::record::{Record, RecordError, Service, TransportId, read};
use services::ServiceIndex;
use transports::TransportIndex;

pub use bounds::{IndexLimits, IndexStats};
pub use services::ServiceQuery;
pub use transports::{Claim, Standing};

/// Services by kind and country, transports by id and by edge.
#[derive(Debug)]
pub struct Index {
    services: ServiceIndex,
    transports: TransportIndex,
}

impl Index {
    /// An empty one.
    #[must_use]
    pub fn new(limits: IndexLimits) -> Self {
        Self {
            services: ServiceIndex::new(limits),
            transports: TransportIndex::new(limits),
        }
    }

    /// One of all these records: salt, owner, sequence and value of each. What cannot be read is
    /// counted in [`Index::stats`].
    #[must_use]
    pub fn rebuild<'a>(
        limits: IndexLimits,
        records: impl IntoIterator<Item = (&'a [u8], PublicKey, Seq, &'a [u8])>,
    ) -> Self {
        let mut index = Self::new(limits);
        for (salt, owner, seq, value) in records {
            // Counted: the index says that it is not complete.
            let _ = index.update(salt, &owner, Some((seq, value)));
        }
        index
    }

    /// Takes what an owner has under a salt from now on; `None`: no record any more. Of the salts
    /// of which there is no index nothing is taken.
    ///
    /// # Errors
    /// [`RecordError`] of a record that cannot be read; what the owner had there before is gone.
    pub fn update(
        &mut self,
        salt: &[u8],
        owner: &PublicKey,
        now: Option<(Seq, &[u8])>,
    ) -> Result<(), RecordError> {
        let is_service = salt == b"svc" || salt.starts_with(b"svc:");
        let chunk = chunk_number(salt);
        if !is_service && chunk.is_none() {
            return Ok(());
        }
        let seq = now.map_or(Seq(0), |(seq, _)| seq);
        let record = now.map(|(_, value)| read(salt, owner, value));
        // A salt that no reader knows is not there.
        if record == Some(Err(RecordError::UnknownSalt)) {
            return Err(RecordError::UnknownSalt);
        }
        let error = match &record {
            Some(Err(error)) => Some(error.clone()),
            Some(Ok(_)) | None => None,
        };
        if let Some(chunk) = chunk {
            let chunk_now = record.map(|record| match record {
                Ok(Record::Transports(transports)) => (seq, Some(transports.list)),
                Ok(_) => (seq, Some(Vec::new())),
                Err(_) => (seq, None),
            });
            self.transports.update(owner, chunk, chunk_now);
        } else {
            let services = record.map(|record| match record {
                Ok(Record::Services(services)) => Some(services.list),
                Ok(_) => Some(Vec::new()),
                Err(_) => None,
            });
            self.services.update(owner, salt, services);
        }
        error.map_or(Ok(()), Err)
    }

    /// Services, in the order of their addresses.
    pub fn services<'a>(
        &'a self,
        query: &'a ServiceQuery,
    ) -> impl Iterator<Item = &'a Service> + 'a {
        self.services.find(query)
    }

    /// The transport with an id.
    #[must_use]
    pub fn transport(&self, id: &TransportId) -> Option<&Claim> {
        self.transports.by_id(id)
    }

    /// The transports of an edge, listed by it or by the other edge, in the order of their ids.
    pub fn transports_of(&self, edge: &PublicKey) -> impl Iterator<Item = &Claim> {
        self.transports.by_edge(edge)
    }

    /// Whether it has all that its records say.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let stats = self.stats();
        stats.left_out == 0 && stats.unreadable_services == 0 && stats.unsettled_lists == 0
    }

    /// What it holds.
    #[must_use]
    pub fn stats(&self) -> IndexStats {
        let mut stats = IndexStats::default();
        self.services.count(&mut stats);
        self.transports.count(&mut stats);
        stats
    }
}

/// Which chunk of a list of transports a salt is.
fn chunk_number(salt: &[u8]) -> Option<u16> {
    match salt.strip_prefix(b"tp")? {
        [] => Some(0),
        [b':', digits @ ..] => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}
