//! Addresses of a visor: salts `addr:stcpr`, `addr:sudph`, and `addr` of the documents
//! (specification of discovery, §6 and §7).

use serde::{Deserialize, Deserializer, Serialize};
use skydht_core::key::PublicKey;

use super::at_most::AtMost;
use super::lenient::{Object, is_empty, or_default};
use super::transport::MOST_TEXT;
use super::{ElementError, Record, RecordError, go_json, malformed};

/// Maximum number of addresses of a visor.
const MOST_ADDRESSES: usize = 64;

/// Type of transport for which an address is valid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Network {
    /// TCP.
    Stcpr,
    /// UDP hole punching.
    Sudph,
    /// Not specified.
    Any,
}

/// Response of upstream's address resolver, with its order of members.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct VisorAddress {
    /// The address that the resolver observed.
    #[serde(default, deserialize_with = "or_default")]
    pub remote_addr: String,
    /// Whether the caller is on the visor's network.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_empty"
    )]
    pub is_local: bool,
    /// The port stated by the visor; Go encodes it as a string.
    #[serde(default, deserialize_with = "text_or_number")]
    pub port: String,
    /// Addresses stated by the visor.
    #[serde(default, deserialize_with = "or_default")]
    pub addresses: Vec<String>,
}

/// A record of a visor's addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// Type of transport.
    pub network: Network,
    /// The addresses.
    pub visor: VisorAddress,
}

impl VisorAddress {
    /// Encodes the addresses as JSON in Go's format.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        go_json::text(self)
    }
}

/// Parses a port given as a string or a number.
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

/// The format of the documents, which contains the owner.
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

/// Parses the record of one type of transport.
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
