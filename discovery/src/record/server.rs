//! What a DMSG server says of itself: salt `dmsg-server` (specification of discovery, §7).

use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;

use super::lenient::{Object, or_default};
use super::{ElementError, Record, RecordError, go_json, malformed};

/// The longest address or type that is read, in bytes; a host name may be as long.
const MOST_ADDRESS: usize = 300;

/// The record, in the order of its members.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServerRecord {
    /// The server.
    pub pk: PublicKey,
    /// Where it listens, `host:port`.
    #[serde(default, deserialize_with = "or_default")]
    pub address: String,
    /// Clients that it takes.
    #[serde(default, deserialize_with = "or_default")]
    pub max_sessions: i64,
    /// `official` or `community`.
    #[serde(default, deserialize_with = "or_default")]
    pub server_type: String,
    /// Whether it is a bootstrap node of the DHT.
    #[serde(default, deserialize_with = "or_default")]
    pub dht_bootstrap: bool,
}

impl ServerRecord {
    /// Its JSON, as Go writes it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        go_json::text(self)
    }
}

pub(super) fn read(owner: &PublicKey, value: &[u8]) -> Result<Record, RecordError> {
    let Object::<ServerRecord>(record) =
        serde_json::from_slice(value).map_err(|error| malformed(&error))?;
    if record.pk != *owner {
        return Err(ElementError::ForeignKey.into());
    }
    for (name, text) in [
        ("address", &record.address),
        ("server_type", &record.server_type),
    ] {
        if text.len() > MOST_ADDRESS {
            return Err(ElementError::TooLong(name).into());
        }
    }
    if record.address.is_empty() {
        return Err(ElementError::Missing("address").into());
    }
    Ok(Record::Server(record))
}
