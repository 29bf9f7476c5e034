//! The services of one visor: salt `svc`, and of April 2026's first days `svc:TYPE`
//! (specification of discovery, §5 and §7).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize, Serializer};
use skydht_core::key::PublicKey;

use super::at_most::AtMost;
use super::lenient::{Object, is_empty, or_default};
use super::transport::MOST_TEXT;
use super::{ElementError, Record, RecordError, ServiceAddress, go_json, malformed};

/// Services of one key that are read. Go has no limit.
pub const MOST_SERVICES: usize = 256;
/// Addresses on its own networks that a visor says.
const MOST_LOCAL_IPS: usize = 64;

/// What a service is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ServiceKind {
    /// A SOCKS proxy; `proxy` is another word for it.
    Skysocks,
    /// A VPN server.
    Vpn,
    /// A visor that takes transports from everywhere.
    Visor,
    /// Any other word.
    Other(String),
}

impl ServiceKind {
    /// Before all others.
    pub(crate) const FIRST: Self = Self::Skysocks;

    /// What a text says.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match text {
            "skysocks" | "proxy" => Self::Skysocks,
            "vpn" => Self::Vpn,
            "visor" => Self::Visor,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The word that is written.
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

/// One service, in the order of Go's members.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Service {
    /// Where it answers.
    pub address: ServiceAddress,
    /// What it is, as it was said: see [`Service::kind`].
    #[serde(default, rename = "type")]
    pub type_text: String,
    /// Where its visor is on Earth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geo: Option<Geo>,
    /// Whether the visor's own address may be shown.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub display_node_ip: bool,
    /// Version of the visor.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_empty"
    )]
    pub version: String,
    /// Addresses on the visor's own networks.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_empty"
    )]
    pub local_ips: Vec<String>,
    /// How it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<ServiceInfo>,
}

/// A place; what is 0 or empty is left out.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Geo {
    /// Degrees north.
    #[serde(
        default,
        skip_serializing_if = "is_empty",
        serialize_with = "go_json::float"
    )]
    pub lat: f64,
    /// Degrees east.
    #[serde(
        default,
        skip_serializing_if = "is_empty",
        serialize_with = "go_json::float"
    )]
    pub lon: f64,
    /// Two letters.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub country: String,
    /// Within the country.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub region: String,
}

/// What a service says of itself; what is 0 is left out.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct ServiceInfo {
    /// In milliseconds.
    #[serde(
        default,
        skip_serializing_if = "is_empty",
        serialize_with = "go_json::float"
    )]
    pub latency: f64,
    /// In percent.
    #[serde(
        default,
        skip_serializing_if = "is_empty",
        serialize_with = "go_json::float"
    )]
    pub uptime: f64,
    /// Clients now.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub connections: i64,
}

impl Service {
    /// A service of which no more is known.
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

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> ServiceKind {
        ServiceKind::of(&self.type_text)
    }

    /// Its JSON, as Go writes it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        go_json::text(self)
    }

    /// Checks that it has an address, and that its texts are short.
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

/// All services of a key.
#[derive(Clone, PartialEq, Debug)]
pub struct Services {
    /// In the order of the value, each address and kind once.
    pub list: Vec<Service>,
}

impl Services {
    /// The value to put under `svc`.
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

/// Reads the value under `svc`.
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

/// Upstream's first form: one service under a salt that names its type. Its `addr` says nothing that
/// a service has.
#[derive(Deserialize)]
struct Early {
    pk: PublicKey,
    port: u16,
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    type_text: String,
    #[serde(default, deserialize_with = "or_default")]
    version: String,
}

/// Reads the value under `svc:TYPE`.
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
