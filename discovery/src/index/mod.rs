//! The index that a full node derives from its stored records: who offers a service, and which
//! transports exist.
//!
//! A record is always stored under its publisher's key, so that no key answers "who offers a VPN in
//! this country" (specification of lessons, R14). [`Index::update`] is called for each new, changed
//! or removed record, and the index answers such queries. It contains nothing of its own:
//! [`Index::rebuild`] from the same records gives the same index.
//!
//! Omissions are reported: unreadable records, and records beyond the limits, make
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

/// Services by kind and country, and transports by id and by edge.
#[derive(Debug)]
pub struct Index {
    services: ServiceIndex,
    transports: TransportIndex,
}

impl Index {
    /// Creates an empty index.
    #[must_use]
    pub fn new(limits: IndexLimits) -> Self {
        Self {
            services: ServiceIndex::new(limits),
            transports: TransportIndex::new(limits),
        }
    }

    /// Builds an index from records, each with salt, owner, sequence number and value. Unreadable
    /// records are counted in [`Index::stats`].
    #[must_use]
    pub fn rebuild<'a>(
        limits: IndexLimits,
        records: impl IntoIterator<Item = (&'a [u8], PublicKey, Seq, &'a [u8])>,
    ) -> Self {
        let mut index = Self::new(limits);
        for (salt, owner, seq, value) in records {
            // The index counts the error, and then reports itself as incomplete.
            let _ = index.update(salt, &owner, Some((seq, value)));
        }
        index
    }

    /// Sets an owner's record under a salt; `None` removes it. Records under salts that are not
    /// indexed are ignored.
    ///
    /// # Errors
    /// [`RecordError`] if the record is unreadable; the owner's previous record under this salt is
    /// removed.
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
        // An unknown salt has no record to remove.
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

    /// Returns the matching services, sorted by address.
    pub fn services<'a>(
        &'a self,
        query: &'a ServiceQuery,
    ) -> impl Iterator<Item = &'a Service> + 'a {
        self.services.find(query)
    }

    /// Returns the transport with this id.
    #[must_use]
    pub fn transport(&self, id: &TransportId) -> Option<&Claim> {
        self.transports.by_id(id)
    }

    /// Returns the transports of an edge, listed by it or by the other edge, sorted by id.
    pub fn transports_of(&self, edge: &PublicKey) -> impl Iterator<Item = &Claim> {
        self.transports.by_edge(edge)
    }

    /// Returns whether the index contains everything in its records.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let stats = self.stats();
        stats.left_out == 0 && stats.unreadable_services == 0 && stats.unsettled_lists == 0
    }

    /// Returns the sizes of the index.
    #[must_use]
    pub fn stats(&self) -> IndexStats {
        let mut stats = IndexStats::default();
        self.services.count(&mut stats);
        self.transports.count(&mut stats);
        stats
    }
}

/// Returns the chunk number that a salt of a list of transports encodes.
fn chunk_number(salt: &[u8]) -> Option<u16> {
    match salt.strip_prefix(b"tp")? {
        [] => Some(0),
        [b':', digits @ ..] => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}
