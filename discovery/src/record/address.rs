//! Where a visor is reached: salts `addr:stcpr`, `addr:sudph`, and `addr` of the documents
//! (specification of discovery, §6 and §7).

use serde::{Deserialize, Deserializer, Serialize};
use skydht_core::key::PublicKey;

use super::at_most::AtMost;
use super::lenient::{Object, is_empty, or_default};
use super::transport::MOST_TEXT;
use super::{ElementError, Record, RecordError, go_json, malformed};

/// Addresses of one visor that are read.
const MOST_ADDRESSES: usize = 64;

/// For which kind of transport an address is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Network {
    /// TCP.
    Stcpr,
    /// UDP hole punching.
    Sudph,
    /// Not said.
    Any,
}

/// What upstream's address resolver answers, in the order of its members.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct VisorAddress {
    /// The address that the resolver saw.
    #[serde(default, deserialize_with = "or_default")]
    pub remote_addr: String,
    /// Whether the asker is on the same network.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_empty"
    )]
    pub is_local: bool,
    /// The port that the visor said; Go writes it as text.
    #[serde(default, deserialize_with = "text_or_number")]
    pub port: String,
    /// Addresses that the visor said.
    #[serde(default, deserialize_with = "or_default")]
    pub addresses: Vec<String>,
}

/// Where a visor is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// For what.
    pub network: Network,
    /// Where.
    pub visor: VisorAddress,
}

impl VisorAddress {
    /// Its JSON, as Go writes it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        go_json::text(self)
    }
}

/// A port as text or as a number.
fn text_or_number<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Port {
        Text(String),
        Number(u16),
    }
    Ok(match Option::deserialize(value)? {
        Some(Port::Text(text)) => text,
        Some(Port::Number(number)) => number.to_string(),
        None => String::new(),
    })
}

/// The documents' record names its owner.
#[derive(Deserialize)]
struct Value {
    #[serde(default)]
    pk: Option<PublicKey>,
    #[serde(default, deserialize_with = "or_default")]
    remote_addr: String,
    #[serde(default, deserialize_with = "or_default")]
    is_local: bool,
    #[serde(default, deserialize_with = "text_or_number")]
    port: String,
    #[serde(default)]
    addresses: Option<AtMost<String, MOST_ADDRESSES>>,
}

/// Reads the value of one network.
pub(super) fn read(
    network: Network,
    owner: &PublicKey,
    value: &[u8],
) -> Result<Record, RecordError> {
    let Object::<Value>(value) =
        serde_json::from_slice(value).map_err(|error| malformed(&error))?;
    if value.pk.is_some_and(|key| key != *owner) {
        return Err(ElementError::ForeignKey.into());
    }
    let visor = VisorAddress {
        remote_addr: value.remote_addr,
        is_local: value.is_local,
        port: value.port,
        addresses: value.addresses.map(|list| list.0).unwrap_or_default(),
    };
    for (name, text) in [("remote_addr", &visor.remote_addr), ("port", &visor.port)] {
        if text.len() > MOST_TEXT {
            return Err(ElementError::TooLong(name).into());
        }
    }
    if visor.addresses.iter().any(|text| text.len() > MOST_TEXT) {
        return Err(ElementError::TooLong("addresses").into());
    }
    Ok(Record::Addresses(Addresses { network, visor }))
}
