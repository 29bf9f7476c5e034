//! Requests to a service discovery.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Uri};

use super::{MAX_REQUEST, Refusal};
use crate::record::{Service, ServiceAddress, ServiceKind};
use crate::web::{self, Request};

const SERVICES: &str = "/api/services";

/// A request to a service discovery.
#[derive(Clone, PartialEq, Debug)]
pub enum Call {
    /// `GET /api/services?type=T`: lists services of a kind.
    List {
        /// Kind of the services.
        kind: ServiceKind,
        /// Only services of this version.
        version: Option<String>,
        /// Only services in this country.
        country: Option<String>,
        /// Maximum number of services.
        quantity: Option<usize>,
    },
    /// `GET /api/services/{pk:port}?type=T`: returns one service.
    One(ServiceAddress, ServiceKind),
    /// `POST /api/services`: registers the caller's own service. Signed.
    Register(Box<Service>),
    /// `DELETE /api/services/{pk:port}?type=T`: removes the caller's own service. Signed.
    Deregister(ServiceAddress, ServiceKind),
}

impl Call {
    /// Returns whether the caller must be authenticated.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        matches!(self, Self::Register(_) | Self::Deregister(..))
    }

    /// Returns whether a path belongs to one of these calls.
    pub(super) fn has_path(path: &str) -> bool {
        let rest = path.strip_prefix(SERVICES);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Parses a request without applying any rules.
    ///
    /// # Errors
    /// [`Refusal::NoSuchPath`], [`Refusal::Method`], [`Refusal::NoType`], [`Refusal::Malformed`],
    /// [`Refusal::TooLong`], or [`Refusal::Forbidden`] for the network monitor's path.
    pub fn read(request: &Request) -> Result<Self, Refusal> {
        let (method, path) = (request.method(), request.uri().path());
        let rest = path.strip_prefix(SERVICES).ok_or(Refusal::NoSuchPath)?;
        match (rest, method.as_str()) {
            ("" | "/", "GET") => Self::list(request.uri()),
            ("" | "/", "POST") => Self::register(request.body()),
            ("" | "/", _) => Err(Refusal::Method("GET, POST")),
            (rest, method) => {
                let address = rest.strip_prefix('/').ok_or(Refusal::NoSuchPath)?;
                if address.starts_with("deregister/") {
                    return match method {
                        // Go's service trusts the monitors in a built-in list; here there are none.
                        "DELETE" => Err(Refusal::Forbidden),
                        _ => Err(Refusal::Method("DELETE")),
                    };
                }
                if address.contains('/') {
                    return Err(Refusal::NoSuchPath);
                }
                let address = decoded(address)?.parse::<ServiceAddress>();
                let address = address.map_err(|error| Refusal::Malformed(error.to_string()))?;
                let kind = kind(request.uri())?.ok_or(Refusal::NoType)?;
                match method {
                    "GET" => Ok(Self::One(address, kind)),
                    "DELETE" => Ok(Self::Deregister(address, kind)),
                    _ => Err(Refusal::Method("GET, DELETE")),
                }
            }
        }
    }

    fn list(uri: &Uri) -> Result<Self, Refusal> {
        let quantity = match parameter(uri, "quantity")? {
            None => None,
            Some(text) if text.is_empty() => None,
            Some(text) => {
                let wrong = || Refusal::Malformed(format!("quantity {text:?} is no number"));
                Some(text.parse().map_err(|_| wrong())?)
            }
        };
        let given = |text: String| (!text.is_empty()).then_some(text);
        Ok(Self::List {
            kind: kind(uri)?.ok_or(Refusal::NoType)?,
            version: parameter(uri, "version")?.and_then(given),
            country: parameter(uri, "country")?.and_then(given),
            quantity,
        })
    }

    fn register(body: &[u8]) -> Result<Self, Refusal> {
        if body.len() > MAX_REQUEST {
            return Err(Refusal::TooLong);
        }
        // Serde would accept a list of the members, too.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(Refusal::Malformed("not an object".to_owned()));
        }
        let service = serde_json::from_slice(body);
        let service = service.map_err(|error| Refusal::Malformed(error.to_string()))?;
        Ok(Self::Register(Box::new(service)))
    }

    /// Encodes the request, with a path, without a host and signature.
    #[must_use]
    pub fn write(&self) -> Request {
        let of = |address: &ServiceAddress, kind: &ServiceKind| {
            format!("{SERVICES}/{address}?type={}", escaped(kind.as_str()))
        };
        match self {
            Self::List {
                kind,
                version,
                country,
                quantity,
            } => {
                let mut path = format!("{SERVICES}?type={}", escaped(kind.as_str()));
                let texts = [("version", version), ("country", country)];
                for (name, text) in texts {
                    if let Some(text) = text {
                        path.push_str(&format!("&{name}={}", escaped(text)));
                    }
                }
                if let Some(quantity) = quantity {
                    path.push_str(&format!("&quantity={quantity}"));
                }
                web::request(Method::GET, &path, Vec::new())
            }
            Self::One(address, kind) => web::request(Method::GET, &of(address, kind), Vec::new()),
            Self::Deregister(address, kind) => {
                web::request(Method::DELETE, &of(address, kind), Vec::new())
            }
            Self::Register(service) => {
                let mut request = web::request(Method::POST, SERVICES, service.to_json());
                let json = HeaderValue::from_static("application/json");
                request.headers_mut().insert(CONTENT_TYPE, json);
                request
            }
        }
    }
}

fn kind(uri: &Uri) -> Result<Option<ServiceKind>, Refusal> {
    let text = parameter(uri, "type")?;
    Ok(text
        .filter(|text| !text.is_empty())
        .map(|text| ServiceKind::of(&text)))
}

/// Returns the first value of a query parameter.
fn parameter(uri: &Uri, name: &str) -> Result<Option<String>, Refusal> {
    let query = uri.query().unwrap_or_default();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(it, _)| *it == name);
    found.map(|(_, text)| decoded(text)).transpose()
}

fn decoded(text: &str) -> Result<String, Refusal> {
    let bytes = web::percent_decoded(text);
    let text_of = |bytes| String::from_utf8(bytes).ok();
    let wrong = || Refusal::Malformed(format!("{text:?} is badly escaped"));
    bytes.and_then(text_of).ok_or_else(wrong)
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(byte.into());
            }
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}
