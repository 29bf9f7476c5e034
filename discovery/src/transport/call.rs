//! Requests to a transport discovery.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;

use super::{MAX_REQUEST, MOST_ASKED, Refusal};
use crate::record::{AtMost, Object, SignedTransport, Transport, TransportId, go_json};
use crate::web::{self, Request};

/// A request to a transport discovery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// `GET /transports/id:{id}`: returns one transport. Signed.
    ById(TransportId),
    /// `GET /transports/edge:{pk}`: lists a visor's transports; an error if there are none. Signed.
    ByEdge(PublicKey),
    /// `GET /v3/transports/edge:{pk}`: lists a visor's transports, which may be none.
    OfEdge(PublicKey),
    /// `POST /transports/edges` with a list of keys: lists the transports of these visors, without
    /// duplicates.
    OfEdges(Vec<PublicKey>),
    /// `GET /all-transports`: lists all transports. Upstream has refused it since autumn 2026.
    All,
    /// `POST /transports/`: registers the caller's transports, which contain signatures of their
    /// edges. Signed.
    Register(Vec<SignedTransport>),
    /// `POST /v3/transports/`: registers the caller's transports, without signatures of edges;
    /// transports of others are ignored. Signed.
    RegisterBare(Vec<Transport>),
    /// `DELETE /transports/id:{id}`: removes one of the caller's transports. Signed.
    Delete(TransportId),
    /// `POST /transports/delete-batch` with a list of ids: removes those of the caller. Signed.
    DeleteBatch(Vec<TransportId>),
    /// `GET /v4/update`: renews the caller's transports. Signed.
    Heartbeat,
}

/// A list of ids or edges, in the formats of old and new clients.
#[derive(Deserialize)]
#[serde(untagged)]
enum Listed<T> {
    List(Vec<T>),
    Ids { ids: Vec<T> },
    Edges { edges: Vec<T> },
}

impl<T> Listed<T> {
    fn into_list(self) -> Vec<T> {
        match self {
            Self::List(list) | Self::Ids { ids: list } | Self::Edges { edges: list } => list,
        }
    }
}

impl Call {
    /// Returns whether the caller must be authenticated.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        !matches!(self, Self::OfEdge(_) | Self::OfEdges(_) | Self::All)
    }

    /// Returns whether a path belongs to one of these calls.
    pub(super) fn has_path(path: &str) -> bool {
        path == "/all-transports"
            || path == "/v4/update"
            || path == "/statuses"
            || ["/transports", "/v3/transports"].iter().any(|prefix| {
                let rest = path.strip_prefix(prefix);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }

    /// Parses a request without applying any rules.
    ///
    /// # Errors
    /// [`Refusal::NoSuchPath`], [`Refusal::Method`], [`Refusal::Malformed`] or
    /// [`Refusal::TooLong`].
    pub fn read(request: &Request) -> Result<Self, Refusal> {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let body = request.body();
        if body.len() > MAX_REQUEST {
            return Err(Refusal::TooLong);
        }
        let only = |allowed: &'static str| Err(Refusal::Method(allowed));
        match (path, method) {
            ("/all-transports", "GET") => return Ok(Self::All),
            ("/v4/update", "GET") => return Ok(Self::Heartbeat),
            ("/all-transports" | "/v4/update", _) => return only("GET"),
            ("/statuses", _) => return Err(Refusal::Gone),
            _ => {}
        }
        if let Some(rest) = path.strip_prefix("/v3/transports") {
            return match (rest, method) {
                ("" | "/", "POST") => Ok(Self::RegisterBare(list(body)?)),
                ("" | "/", _) => only("POST"),
                (rest, method) => {
                    let edge = rest.strip_prefix("/edge:").ok_or(Refusal::NoSuchPath)?;
                    match method {
                        "GET" => Ok(Self::OfEdge(parsed(edge)?)),
                        _ => only("GET"),
                    }
                }
            };
        }
        let rest = path.strip_prefix("/transports");
        match (rest.ok_or(Refusal::NoSuchPath)?, method) {
            ("" | "/", "POST") => Ok(Self::Register(list(body)?)),
            ("/edges", "POST") => Ok(Self::OfEdges(names(body)?)),
            ("/delete-batch", "POST") => Ok(Self::DeleteBatch(names(body)?)),
            ("" | "/" | "/edges" | "/delete-batch", _) => only("POST"),
            (rest, method) => {
                if let Some(edge) = rest.strip_prefix("/edge:") {
                    return match method {
                        "GET" => Ok(Self::ByEdge(parsed(edge)?)),
                        _ => only("GET"),
                    };
                }
                let id = rest.strip_prefix("/id:").ok_or(Refusal::NoSuchPath)?;
                match method {
                    "GET" => Ok(Self::ById(parsed(id)?)),
                    "DELETE" => Ok(Self::Delete(parsed(id)?)),
                    _ => only("GET, DELETE"),
                }
            }
        }
    }

    /// Encodes the request, with a path, without a host and signature.
    #[must_use]
    pub fn write(&self) -> Request {
        let get = |path: &str| web::request(Method::GET, path, Vec::new());
        match self {
            Self::ById(id) => get(&format!("/transports/id:{id}")),
            Self::ByEdge(edge) => get(&format!("/transports/edge:{edge}")),
            Self::OfEdge(edge) => get(&format!("/v3/transports/edge:{edge}")),
            Self::All => get("/all-transports"),
            Self::Heartbeat => get("/v4/update"),
            Self::Delete(id) => {
                web::request(Method::DELETE, &format!("/transports/id:{id}"), Vec::new())
            }
            Self::OfEdges(edges) => post("/transports/edges", edges),
            Self::Register(list) => post("/transports/", list),
            Self::RegisterBare(list) => post("/v3/transports/", list),
            Self::DeleteBatch(ids) => post("/transports/delete-batch", ids),
        }
    }

    /// Returns the status of a successful response. Registrations have status 201, which does not
    /// increment the caller's nonce.
    pub(super) const fn success(&self) -> StatusCode {
        match self {
            Self::Register(_) | Self::RegisterBare(_) => StatusCode::CREATED,
            _ => StatusCode::OK,
        }
    }
}

fn post(path: &str, body: &impl Serialize) -> Request {
    let mut request = web::request(Method::POST, path, go_json::text(body));
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, json);
    request
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, Refusal>
where
    T::Err: std::fmt::Display,
{
    let value = text.parse::<T>();
    value.map_err(|error| Refusal::Malformed(error.to_string()))
}

fn malformed(error: &serde_json::Error) -> Refusal {
    Refusal::Malformed(error.to_string())
}

fn list<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, Refusal> {
    let list = serde_json::from_slice::<AtMost<Object<T>, MOST_ASKED>>(body);
    let list = list.map_err(|error| malformed(&error))?;
    Ok(list.0.into_iter().map(|Object(one)| one).collect())
}

fn names<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, Refusal> {
    let names = serde_json::from_slice::<Listed<T>>(body);
    let names = names.map_err(|error| malformed(&error))?.into_list();
    match names.len() <= MOST_ASKED {
        true => Ok(names),
        false => Err(Refusal::Malformed(format!("more than {MOST_ASKED}"))),
    }
}
