//! Services of a visor: salt `svc`, and `svc:TYPE`, which upstream used for a few days in April
//! 2026 (specification of discovery, §5 and §7).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize, Serializer};
use skydht_core::key::PublicKey;

use super::at_most::AtMost;
use super::lenient::{Object, is_empty, or_default};
use super::transport::MOST_TEXT;
use super::{ElementError, Record, RecordError, ServiceAddress, go_json, malformed};

/// Maximum number of services of a key. Go has no limit.
pub const MOST_SERVICES: usize = 256;
/// Maximum number of local addresses of a visor.
const MOST_LOCAL_IPS: usize = 64;

/// Kind of a service.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ServiceKind {
    /// A SOCKS proxy; also called `proxy`.
    Skysocks,
    /// A VPN server.
    Vpn,
    /// A public visor, which accepts transports from any visor.
    Visor,
    /// Any other kind.
    Other(String),
}

impl ServiceKind {
    /// The first kind in the sort order.
    pub(crate) const FIRST: Self = Self::Skysocks;

    /// Parses a kind; never fails.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match text {
            "skysocks" | "proxy" => Self::Skysocks,
            "vpn" => Self::Vpn,
            "visor" => Self::Visor,
            other => Self::Other(other.to_owned()),
        }
    }

    /// Returns the name used in records.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Skysocks => "skysocks",
            Self::Vpn => "vpn",
            Self::Visor => "visor",
            Self::Other(text) => text,
        }
    }
}

/// A service, with Go's order of members.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Service {
    /// Address of the service.
    pub address: ServiceAddress,
    /// The kind as stated by the visor; see [`Service::kind`].
    #[serde(default, rename = "type")]
    pub type_text: String,
    /// Geographical location of the visor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geo: Option<Geo>,
    /// Whether the visor's IP address may be published.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub display_node_ip: bool,
    /// Version of the visor.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_empty"
    )]
    pub version: String,
    /// Addresses of the visor in its local networks.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_empty"
    )]
    pub local_ips: Vec<String>,
    /// Statistics of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<ServiceInfo>,
}

/// A geographical location; zero and empty members are omitted.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Geo {
    /// Latitude in degrees north.
    #[serde(
        default,
        skip_serializing_if = "is_empty",
        serialize_with = "go_json::float"
    )]
    pub lat: f64,
    /// Longitude in degrees east.
    #[serde(
        default,
        skip_serializing_if = "is_empty",
        serialize_with = "go_json::float"
    )]
    pub lon: f64,
    /// Country code of two letters.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub country: String,
    /// Region within the country.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub region: String,
}

/// Statistics that a service reports; zero members are omitted.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct ServiceInfo {
    /// Latency in milliseconds.
    #[serde(
        default,
        skip_serializing_if = "is_empty",
        serialize_with = "go_json::float"
    )]
    pub latency: f64,
    /// Uptime in percent.
    #[serde(
        default,
        skip_serializing_if = "is_empty",
        serialize_with = "go_json::float"
    )]
    pub uptime: f64,
    /// Current number of clients.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub connections: i64,
}

impl Service {
    /// Creates a service without optional members.
    #[must_use]
    pub fn new(address: ServiceAddress, kind: &ServiceKind) -> Self {
        Self {
            address,
            type_text: kind.as_str().to_owned(),
            geo: None,
            display_node_ip: false,
            version: String::new(),
            local_ips: Vec::new(),
            info: None,
        }
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> ServiceKind {
        ServiceKind::of(&self.type_text)
    }

    /// Encodes the service as JSON in Go's format.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        go_json::text(self)
    }

    /// Validates the address and the lengths of texts; returns the key in the address.
    ///
    /// # Errors
    /// [`ElementError`].
    pub fn validate(&self) -> Result<PublicKey, ElementError> {
        let key = self.address.validate()?;
        let geo = self.geo.iter();
        let geo = geo.flat_map(|geo| [("country", &geo.country), ("region", &geo.region)]);
        let texts = [("type", &self.type_text), ("version", &self.version)];
        for (name, text) in texts.into_iter().chain(geo) {
            if text.len() > MOST_TEXT {
                return Err(ElementError::TooLong(name));
            }
        }
        let is_long = |ip: &String| ip.len() > MOST_TEXT;
        if self.local_ips.len() > MOST_LOCAL_IPS || self.local_ips.iter().any(is_long) {
            return Err(ElementError::TooLong("local_ips"));
        }
        Ok(key)
    }
}

/// The services of a key.
#[derive(Clone, PartialEq, Debug)]
pub struct Services {
    /// The services in the order of the value, without duplicates of address and kind.
    pub list: Vec<Service>,
}

impl Services {
    /// Encodes the value for the salt `svc`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        struct List<'a>(&'a [Service]);
        impl Serialize for List<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0)
            }
        }
        go_json::text(&List(&self.list))
    }
}

/// Parses the value under `svc`.
pub(super) fn read(owner: &PublicKey, value: &[u8]) -> Result<Record, RecordError> {
    let list = serde_json::from_slice(value).map_err(|error| malformed(&error))?;
    let AtMost::<Object<Service>, MOST_SERVICES>(list) = list;
    let list: Vec<Service> = list.into_iter().map(|it| it.0).collect();
    let mut seen = BTreeSet::new();
    for (index, service) in list.iter().enumerate() {
        let key = service.validate().map_err(|why| why.at(index))?;
        if key != *owner {
            return Err(ElementError::ForeignKey.at(index));
        }
        if !seen.insert((service.address, service.kind())) {
            return Err(ElementError::Twice.at(index));
        }
    }
    Ok(Record::Services(Services { list }))
}

/// Upstream's first format: one service under a salt with its type. Its member `addr` is ignored,
/// as it has no equivalent in [`Service`].
#[derive(Deserialize)]
struct Early {
    pk: PublicKey,
    port: u16,
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    type_text: String,
    #[serde(default, deserialize_with = "or_default")]
    version: String,
}

/// Parses the value under `svc:TYPE`.
pub(super) fn read_early(
    kind: &[u8],
    owner: &PublicKey,
    value: &[u8],
) -> Result<Record, RecordError> {
    let Object::<Early>(early) =
        serde_json::from_slice(value).map_err(|error| malformed(&error))?;
    if early.pk != *owner {
        return Err(ElementError::ForeignKey.into());
    }
    let type_text = match early.type_text.is_empty() {
        true => String::from_utf8_lossy(kind).into_owned(),
        false => early.type_text,
    };
    let address = ServiceAddress {
        key: Some(early.pk),
        port: early.port,
    };
    let service = Service {
        type_text,
        version: early.version,
        ..Service::new(address, &ServiceKind::Visor)
    };
    service.validate()?;
    Ok(Record::Services(Services {
        list: vec![service],
    }))
}
