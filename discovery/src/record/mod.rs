//! What a key publishes of itself under the salts of Skywire's discoveries (specification of
//! discovery, §1, §4 to §7): one file a kind, and one table of all ([`SCHEMAS`]).
//!
//! Each reader takes every shape that upstream has written, and gives the whole of it or an error
//! that names the element: never a part of a list. `{}`, `[]`, `null` and an empty value are
//! deletions, as design rule 6 of docs/architecture.md has it. Each writer writes one shape, which
//! Go reads, in Go's JSON byte by byte.
//!
//! A record that proves its owner is checked here, wherever it was stored: a DMSG entry by its own
//! signature, a transport by those of its edges where it has them. Everything else counts as far
//! as the item that it came in: its target is bound to the owner's key.

mod address;
mod advert;
mod at_most;
pub(crate) mod go_json;
mod lenient;
mod schema;
mod server;
mod service;
mod service_address;
mod transport;
mod transport_id;
mod transport_list;

#[cfg(test)]
mod tests;

use skydht_core::key::PublicKey;
use skydht_dmsg::entry::{EntryError, SignedEntry};

pub use address::{Addresses, Network, VisorAddress};
pub use advert::Advert;
pub(crate) use at_most::AtMost;
pub(crate) use lenient::Object;
pub use schema::{Proof, SCHEMAS, SaltPattern, Schema, schema_of};
pub use server::ServerRecord;
pub use service::{Geo, MOST_SERVICES, Service, ServiceInfo, ServiceKind, Services};
pub use service_address::ServiceAddress;
pub use transport::{Signed, SignedTransport, Transport};
pub use transport_id::TransportId;
pub use transport_list::{CHUNK, ListedTransport, MOST_TRANSPORTS, Shape, Transports, chunks};

/// A value of a known salt.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    /// The owner deleted it.
    Deleted,
    /// A DMSG entry whose signature holds.
    Entry(Box<SignedEntry>),
    /// A list of transports, or one chunk of it.
    Transports(Transports),
    /// All services of a key.
    Services(Services),
    /// Where a visor is reached.
    Addresses(Addresses),
    /// What a DMSG server says of itself.
    Server(ServerRecord),
    /// A full node says that it is one.
    Advert(Advert),
}

/// Why a value is no record of its salt.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// No salt of Skywire's discoveries.
    #[error("no salt of a discovery's")]
    UnknownSalt,
    /// Longer than its salt allows.
    #[error("{len} bytes, where at most {most} are read")]
    TooLong {
        /// Length of the value.
        len: usize,
        /// Longest of the salt.
        most: usize,
    },
    /// Not the JSON of such a record.
    #[error("malformed: {0}")]
    Malformed(String),
    /// An element of a list is wrong.
    #[error("element {index}: {why}")]
    Element {
        /// Which, from 0 on.
        index: usize,
        /// What is wrong with it.
        why: ElementError,
    },
    /// A record that is no list says something wrong.
    #[error(transparent)]
    Wrong(#[from] ElementError),
    /// A DMSG entry that does not hold.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// No known shape of a list of transports.
    #[error("matches no known shape of a list of transports")]
    UnknownShape,
}

/// Why a part of a record is wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElementError {
    /// A member that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// It is of another key.
    #[error("it is of another key")]
    ForeignKey,
    /// The owner of the list is none of the edges.
    #[error("the owner of the list is no edge of it")]
    ForeignEdge,
    /// The id is not that of these edges and this type.
    #[error("its id is not that of its edges and type")]
    WrongId,
    /// The edges are not in order.
    #[error("its edges are not in ascending order")]
    EdgeOrder,
    /// A signature is not the edge's.
    #[error("the signature of edge {0} does not hold")]
    Signature(usize),
    /// A text or list in it is longer than is read.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// It stands there twice.
    #[error("it is there twice")]
    Twice,
    /// Upstream's text.
    #[error("public key cannot be null in address")]
    NoKey,
    /// Upstream's text.
    #[error("port cannot be 0 in address")]
    NoPort,
}

impl ElementError {
    fn at(self, index: usize) -> RecordError {
        RecordError::Element { index, why: self }
    }
}

/// Reads the value that `owner` published under a salt.
///
/// # Errors
/// [`RecordError`].
pub fn read(salt: &[u8], owner: &PublicKey, value: &[u8]) -> Result<Record, RecordError> {
    let schema = schema_of(salt).ok_or(RecordError::UnknownSalt)?;
    if value.len() > schema.longest {
        return Err(RecordError::TooLong {
            len: value.len(),
            most: schema.longest,
        });
    }
    if is_deleted(value) {
        return Ok(Record::Deleted);
    }
    (schema.read)(salt, owner, value)
}

/// Whether a value says that its record is gone.
fn is_deleted(value: &[u8]) -> bool {
    // What JSON has between its signs, and no more.
    let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let before = value.iter().take_while(is_space).count();
    let behind = value.iter().rev().take_while(is_space).count();
    let text = value.get(before..value.len() - behind).unwrap_or_default();
    let is_empty = |inner: &[u8]| inner.iter().all(|byte| is_space(&byte));
    match text {
        [] | b"null" => true,
        [b'{', inner @ .., b'}'] | [b'[', inner @ .., b']'] => is_empty(inner),
        _ => false,
    }
}

fn malformed(error: &serde_json::Error) -> RecordError {
    RecordError::Malformed(error.to_string())
}

fn read_entry(owner: &PublicKey, value: &[u8]) -> Result<Record, RecordError> {
    let entry = SignedEntry::from_json(value)?;
    if entry.entry().key != *owner {
        return Err(ElementError::ForeignKey.into());
    }
    entry.entry().validate()?;
    entry.verify_stored()?;
    Ok(Record::Entry(Box::new(entry)))
}
