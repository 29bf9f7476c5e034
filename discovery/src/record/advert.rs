//! Advertisement of a full node: salt `fullnode` (specification of the DHT, §11).

use serde::Deserialize;
use skydht_core::key::PublicKey;

use super::lenient::{Object, or_default};
use super::{ElementError, Record, RecordError, malformed};

/// The record.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Advert {
    /// Key of the node. Upstream trusts this key; here it must be the owner's.
    pub pk: PublicKey,
    /// Number of stored items.
    #[serde(default, deserialize_with = "or_default")]
    pub stored_items: u64,
    /// Whether the node is a full node; `false` if it no longer is.
    #[serde(default, deserialize_with = "or_default")]
    pub full_node: bool,
    /// Time of the record, in nanoseconds since the Unix epoch.
    #[serde(default, deserialize_with = "or_default")]
    pub ts: i64,
}

pub(super) fn read(owner: &PublicKey, value: &[u8]) -> Result<Record, RecordError> {
    let Object::<Advert>(advert) =
        serde_json::from_slice(value).map_err(|error| malformed(&error))?;
    if advert.pk != *owner {
        return Err(ElementError::ForeignKey.into());
    }
    Ok(Record::Advert(advert))
}
