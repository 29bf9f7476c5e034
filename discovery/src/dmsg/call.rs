//! What can be asked of a DMSG discovery.

use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use skydht_core::key::PublicKey;
use skydht_dmsg::entry::SignedEntry;

use super::{MAX_REQUEST, Refusal};
use crate::health;
use crate::web::{self, Request};

/// What all but one path begins with.
const PREFIX: &str = "/dmsg-discovery";

/// One request to a DMSG discovery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// `GET /dmsg-discovery/entry/{pk}`: a key's entry.
    Entry(PublicKey),
    /// `POST /dmsg-discovery/entry/`: the caller's own entry, first or next.
    Publish {
        /// The entry.
        entry: SignedEntry,
        /// Old visors' `?timeout=true`: forget it soon unless it comes again.
        expiring: bool,
    },
    /// `DELETE /dmsg-discovery/entry`: the caller's own entry goes.
    Remove(SignedEntry),
    /// `GET /dmsg-discovery/entries`: all clients' keys.
    Clients,
    /// `GET /dmsg-discovery/visorEntries`: the keys of clients that are visors.
    Visors,
    /// `GET /dmsg-discovery/available_servers`: servers that take clients.
    AvailableServers,
    /// `GET /dmsg-discovery/all_servers`.
    AllServers,
    /// `GET /health`.
    Health,
}

impl Call {
    /// Reads a request, but judges nothing in it.
    ///
    /// # Errors
    /// [`Refusal::NoSuchPath`], [`Refusal::Method`], [`Refusal::BadInput`] for a key,
    /// [`Refusal::TooLong`], [`Refusal::Invalid`] for an entry without owner, [`Refusal::Forbidden`]
    /// for the network monitor's path, or [`Refusal::Unexpected`] for a body that is no entry.
    pub fn read(request: &Request) -> Result<Self, Refusal> {
        let (method, path) = (request.method(), request.uri().path());
        let get = |call| match *method {
            Method::GET => Ok(call),
            _ => Err(Refusal::Method("GET")),
        };
        if path == health::PATH {
            return get(Self::Health);
        }
        let rest = path.strip_prefix(PREFIX).ok_or(Refusal::NoSuchPath)?;
        match rest {
            "/entries" => get(Self::Clients),
            "/visorEntries" => get(Self::Visors),
            "/available_servers" => get(Self::AvailableServers),
            "/all_servers" => get(Self::AllServers),
            "/entry" => match *method {
                Method::DELETE => Ok(Self::Remove(entry(request)?)),
                _ => Err(Refusal::Method("DELETE")),
            },
            "/entry/" => match *method {
                Method::POST => Self::publish(request),
                _ => Err(Refusal::Method("POST")),
            },
            _ if is_deregister(rest) => match *method {
                // Go trusts a list of monitors in its binary; here there is none.
                Method::DELETE => Err(Refusal::Forbidden),
                _ => Err(Refusal::Method("DELETE")),
            },
            _ => {
                let key = rest.strip_prefix("/entry/").ok_or(Refusal::NoSuchPath)?;
                if key.contains('/') {
                    return Err(Refusal::NoSuchPath);
                }
                match *method {
                    Method::GET => Ok(Self::Entry(key.parse().map_err(|_| Refusal::BadInput)?)),
                    // Whatever the key: the entry says whose it is.
                    Method::POST => Self::publish(request),
                    _ => Err(Refusal::Method("GET, POST")),
                }
            }
        }
    }

    fn publish(request: &Request) -> Result<Self, Refusal> {
        let query = request.uri().query().unwrap_or_default();
        Ok(Self::Publish {
            entry: entry(request)?,
            expiring: query.split('&').any(|pair| pair == "timeout=true"),
        })
    }

    /// Writes the request, with a path and no host.
    #[must_use]
    pub fn write(&self) -> Request {
        let get = |path: &str| web::request(Method::GET, path, Vec::new());
        let with = |method, path: &str, entry: &SignedEntry| {
            let mut request = web::request(method, path, entry.json().to_vec());
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
            request
        };
        match self {
            Self::Entry(key) => get(&format!("{PREFIX}/entry/{key}")),
            Self::Publish { entry, expiring } => {
                let query = if *expiring { "?timeout=true" } else { "" };
                with(Method::POST, &format!("{PREFIX}/entry/{query}"), entry)
            }
            Self::Remove(entry) => with(Method::DELETE, &format!("{PREFIX}/entry"), entry),
            Self::Clients => get(&format!("{PREFIX}/entries")),
            Self::Visors => get(&format!("{PREFIX}/visorEntries")),
            Self::AvailableServers => get(&format!("{PREFIX}/available_servers")),
            Self::AllServers => get(&format!("{PREFIX}/all_servers")),
            Self::Health => get(health::PATH),
        }
    }
}

fn is_deregister(rest: &str) -> bool {
    let after = rest.strip_prefix("/deregister");
    after.is_some_and(|after| after.is_empty() || after.starts_with('/'))
}

fn entry(request: &Request) -> Result<SignedEntry, Refusal> {
    let body = request.body();
    if body.len() > MAX_REQUEST {
        return Err(Refusal::TooLong);
    }
    Ok(SignedEntry::from_json(body)?)
}
