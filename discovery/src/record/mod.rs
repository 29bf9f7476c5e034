//! Records that keys publish about themselves under the salts of Skywire's discoveries
//! (specification of discovery, §1, §4 to §7): one file per kind, and a table of all ([`SCHEMAS`]).
//!
//! Readers accept every format that upstream has written, and return either the whole record or an
//! error that names the element, but never a part of a list. `{}`, `[]`, `null` and an empty value
//! are deletions. Writers produce a single format, which Go can read, byte for byte as Go's JSON.
//!
//! A record that contains proofs is verified here, wherever it was stored: a DMSG entry by its own
//! signature, a transport by those of its edges, if present. Any other record is as trustworthy as
//! the item that contained it, whose target is bound to the owner's key.

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

/// A parsed value under a known salt.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    /// The owner deleted the record.
    Deleted,
    /// A DMSG entry with a valid signature.
    Entry(Box<SignedEntry>),
    /// A list of transports, or a chunk of it.
    Transports(Transports),
    /// The services of a key.
    Services(Services),
    /// Addresses of a visor.
    Addresses(Addresses),
    /// A DMSG server's description.
    Server(ServerRecord),
    /// The advertisement of a full node.
    Advert(Advert),
}

/// Why a value is not a valid record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The salt is not one of Skywire's discoveries.
    #[error("no salt of a discovery's")]
    UnknownSalt,
    /// The value is longer than its salt allows.
    #[error("{len} bytes, where at most {most} are read")]
    TooLong {
        /// Length of the value, in bytes.
        len: usize,
        /// Longest allowed value, in bytes.
        most: usize,
    },
    /// The value does not have the JSON format of the record.
    #[error("malformed: {0}")]
    Malformed(String),
    /// An element of a list is invalid.
    #[error("element {index}: {why}")]
    Element {
        /// Index of the element, from 0.
        index: usize,
        /// Why it is invalid.
        why: ElementError,
    },
    /// A record that is not a list is invalid.
    #[error(transparent)]
    Wrong(#[from] ElementError),
    /// A DMSG entry is invalid.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A list of transports has an unknown format.
    #[error("matches no known shape of a list of transports")]
    UnknownShape,
}

/// Why a part of a record is invalid.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElementError {
    /// A required member is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// It belongs to another key.
    #[error("it is of another key")]
    ForeignKey,
    /// The owner of the list is not an edge of the transport.
    #[error("the owner of the list is no edge of it")]
    ForeignEdge,
    /// The id does not match the edges and the type.
    #[error("its id is not that of its edges and type")]
    WrongId,
    /// The edges are not in ascending order.
    #[error("its edges are not in ascending order")]
    EdgeOrder,
    /// A signature of the edge with this index is invalid.
    #[error("the signature of edge {0} does not hold")]
    Signature(usize),
    /// A text or list is too long.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// The list contains it twice.
    #[error("it is there twice")]
    Twice,
    /// The key is missing; the text is upstream's.
    #[error("public key cannot be null in address")]
    NoKey,
    /// The port is missing; the text is upstream's.
    #[error("port cannot be 0 in address")]
    NoPort,
}

impl ElementError {
    fn at(self, index: usize) -> RecordError {
        RecordError::Element { index, why: self }
    }
}

/// Parses and validates the value that `owner` published under a salt.
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

/// Returns whether a value is a deletion.
fn is_deleted(value: &[u8]) -> bool {
    // White space as JSON defines it.
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
