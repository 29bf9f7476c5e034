//! Description of a DMSG server: salt `dmsg-server` (specification of discovery, §7).

use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;

use super::lenient::{Object, or_default};
use super::{ElementError, Record, RecordError, go_json, malformed};

/// Longest address or type, in bytes, which is enough for any host name.
const MOST_ADDRESS: usize = 300;

/// The record, with Go's order of members.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServerRecord {
    /// Key of the server.
    pub pk: PublicKey,
    /// Address at which it listens, `host:port`.
    #[serde(default, deserialize_with = "or_default")]
    pub address: String,
    /// Maximum number of client sessions.
    #[serde(default, deserialize_with = "or_default")]
    pub max_sessions: i64,
    /// `official` or `community`.
    #[serde(default, deserialize_with = "or_default")]
    pub server_type: String,
    /// Whether the server is a bootstrap node of the DHT.
    #[serde(default, deserialize_with = "or_default")]
    pub dht_bootstrap: bool,
}

impl ServerRecord {
    /// Encodes the record as JSON in Go's format.
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
