//! A full node says that it is one: salt `fullnode` (specification of the DHT, §11).

use serde::Deserialize;
use skydht_core::key::PublicKey;

use super::lenient::{Object, or_default};
use super::{ElementError, Record, RecordError, malformed};

/// What it says.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Advert {
    /// The node. Upstream believes this key; here it must be the signer's.
    pub pk: PublicKey,
    /// Items that it holds.
    #[serde(default, deserialize_with = "or_default")]
    pub stored_items: u64,
    /// Whether it is one; false says that it was.
    #[serde(default, deserialize_with = "or_default")]
    pub full_node: bool,
    /// When it said so, in nanoseconds since 1970.
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
