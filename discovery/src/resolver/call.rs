//! Requests to an address resolver.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;

use super::{MAX_REQUEST, Refusal};
use crate::auth::PUBLIC_IP;
use crate::record::{AtMost, Object, VisorAddress, go_json};
use crate::web::{self, Request};

/// Maximum number of addresses in a binding.
const MOST_ADDRESSES: usize = 64;

/// Type of transport for which an address is bound.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Carrier {
    /// TCP: `stcpr`.
    Tcp,
    /// QUIC: `squicr`; bound at `/bind/quic`.
    Quic,
    /// WebTransport: `swtr`; bound at `/bind/wt`.
    WebTransport,
}

impl Carrier {
    /// Returns the type's name in bind paths.
    pub(super) const fn bind_word(self) -> &'static str {
        match self {
            Self::Tcp => "stcpr",
            Self::Quic => "quic",
            Self::WebTransport => "wt",
        }
    }

    fn of_bind_word(word: &str) -> Option<Self> {
        [Self::Tcp, Self::Quic, Self::WebTransport]
            .into_iter()
            .find(|it| it.bind_word() == word)
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "stcpr",
            Self::Quic => "squicr",
            Self::WebTransport => "swtr",
        })
    }
}

/// Error for a type of transport whose addresses are not stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownCarrier;

impl FromStr for Carrier {
    type Err = UnknownCarrier;

    /// Parses a type; older names are accepted.
    fn from_str(text: &str) -> Result<Self, UnknownCarrier> {
        match text {
            "stcpr" => Ok(Self::Tcp),
            "squicr" | "squic" | "quic" => Ok(Self::Quic),
            "swtr" | "wt" => Ok(Self::WebTransport),
            _ => Err(UnknownCarrier),
        }
    }
}

/// A visor's statement of its addresses.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Binding {
    /// The port and the addresses of its interfaces.
    pub visor: VisorAddress,
    /// The visor's public address, as it states it; over DMSG no other address is known.
    pub public_ip: Option<IpAddr>,
}

/// A request to an address resolver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// `POST /bind/{carrier}`: stores the caller's address. Signed.
    Bind(Carrier, Box<Binding>),
    /// `DELETE /bind/{carrier}`: removes the caller's address. Signed.
    Unbind(Carrier),
    /// `GET /resolve/{type}/{pk}`: returns a visor's address. Signed.
    Resolve(Carrier, PublicKey),
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    port: Option<Port>,
    #[serde(default)]
    addresses: Option<AtMost<String, MOST_ADDRESSES>>,
    #[serde(default)]
    public_ip: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Port {
    Text(String),
    Number(u16),
}

#[derive(Serialize)]
struct Written<'a> {
    port: &'a str,
    addresses: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    public_ip: Option<IpAddr>,
}

impl Call {
    /// Returns whether a path belongs to one of these calls.
    pub(super) fn has_path(path: &str) -> bool {
        path.starts_with("/bind/") || path.starts_with("/resolve/")
    }

    /// Parses a request without applying any rules.
    ///
    /// # Errors
    /// [`Refusal::NoSuchPath`], [`Refusal::Method`], [`Refusal::Malformed`], [`Refusal::TooLong`],
    /// or [`Refusal::NotFound`] for a type whose addresses are not stored.
    pub fn read(request: &Request) -> Result<Self, Refusal> {
        let (method, path) = (request.method().as_str(), request.uri().path());
        if request.body().len() > MAX_REQUEST {
            return Err(Refusal::TooLong);
        }
        if let Some(word) = path.strip_prefix("/bind/") {
            let carrier = Carrier::of_bind_word(word).ok_or(Refusal::NoSuchPath)?;
            return match method {
                "POST" => {
                    let binding = binding(request.headers(), request.body())?;
                    Ok(Self::Bind(carrier, Box::new(binding)))
                }
                "DELETE" => Ok(Self::Unbind(carrier)),
                _ => Err(Refusal::Method("POST, DELETE")),
            };
        }
        let rest = path.strip_prefix("/resolve/").ok_or(Refusal::NoSuchPath)?;
        let (kind, key) = rest.split_once('/').ok_or(Refusal::NoSuchPath)?;
        if method != "GET" {
            return Err(Refusal::Method("GET"));
        }
        let carrier = kind.parse().map_err(|UnknownCarrier| Refusal::NotFound)?;
        let key = key.parse::<PublicKey>();
        let key = key.map_err(|error| Refusal::Malformed(error.to_string()))?;
        Ok(Self::Resolve(carrier, key))
    }

    /// Encodes the request, with a path, without a host and signature.
    #[must_use]
    pub fn write(&self) -> Request {
        match self {
            Self::Bind(carrier, binding) => {
                let written = Written {
                    port: &binding.visor.port,
                    addresses: &binding.visor.addresses,
                    public_ip: binding.public_ip,
                };
                let path = format!("/bind/{}", carrier.bind_word());
                let mut request = web::request(Method::POST, &path, go_json::text(&written));
                let json = HeaderValue::from_static("application/json");
                request.headers_mut().insert(CONTENT_TYPE, json);
                request
            }
            Self::Unbind(carrier) => {
                let path = format!("/bind/{}", carrier.bind_word());
                web::request(Method::DELETE, &path, Vec::new())
            }
            Self::Resolve(carrier, key) => web::request(
                Method::GET,
                &format!("/resolve/{carrier}/{key}"),
                Vec::new(),
            ),
        }
    }
}

fn binding(headers: &HeaderMap, body: &[u8]) -> Result<Binding, Refusal> {
    let malformed = |error: &dyn fmt::Display| Refusal::Malformed(error.to_string());
    let Object::<Body>(body) = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let port = match body.port {
        Some(Port::Text(text)) => text,
        Some(Port::Number(port)) => port.to_string(),
        None => String::new(),
    };
    let header = headers.get(PUBLIC_IP).and_then(|it| it.to_str().ok());
    let said = header.or(body.public_ip.as_deref()).map(str::trim);
    let public_ip = said.filter(|text| !text.is_empty()).map(str::parse);
    Ok(Binding {
        visor: VisorAddress {
            port,
            addresses: body.addresses.map(|list| list.0).unwrap_or_default(),
            ..VisorAddress::default()
        },
        public_ip: public_ip.transpose().map_err(|error| malformed(&error))?,
    })
}
