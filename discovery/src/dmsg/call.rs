//! Requests to a DMSG discovery.

use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use skydht_core::key::PublicKey;
use skydht_dmsg::entry::SignedEntry;

use super::{MAX_REQUEST, MOST_ASKED, Refusal};
use crate::health;
use crate::web::{self, Request};

/// Path prefix of all calls but one.
const PREFIX: &str = "/dmsg-discovery";

/// A request to a DMSG discovery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// `GET /dmsg-discovery/entry/{pk}`: the entry of a key.
    Entry(PublicKey),
    /// `POST /dmsg-discovery/entry/`: stores the caller's own entry, the first or a newer one.
    Publish {
        /// The signed entry.
        entry: SignedEntry,
        /// Old visors' `?timeout=true`: removes the entry soon unless it is published again.
        expiring: bool,
    },
    /// `DELETE /dmsg-discovery/entry`: removes the caller's own entry.
    Remove(SignedEntry),
    /// `GET /dmsg-discovery/entries`: keys of all clients.
    Clients,
    /// `GET /dmsg-discovery/visorEntries`: keys of clients that are visors.
    Visors,
    /// `GET /dmsg-discovery/available_servers`: servers that accept clients.
    AvailableServers,
    /// `GET /dmsg-discovery/all_servers`: all servers.
    AllServers,
    /// `POST /dmsg-discovery/entries/batch`: entries of several keys, at most [`MOST_ASKED`].
    Batch(Vec<PublicKey>),
    /// `GET /dmsg-discovery/servers/clients`: clients by the server that their entries name.
    ClientsByServer,
    /// `GET /dmsg-discovery/server/{pk}/clients`: clients whose entries name one server.
    ClientsOf(PublicKey),
    /// `GET /health`: health of the service.
    Health,
}

impl Call {
    /// Parses a request without applying any rules.
    ///
    /// # Errors
    /// [`Refusal::NoSuchPath`], [`Refusal::Method`], [`Refusal::BadInput`] for a key or keys,
    /// [`Refusal::TooLong`], [`Refusal::Invalid`] for an entry without owner,
    /// [`Refusal::Forbidden`] for the network monitor's path, or [`Refusal::Unexpected`] for a body
    /// that is no entry.
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
            "/servers/clients" => get(Self::ClientsByServer),
            "/entries/batch" => match *method {
                Method::POST => Self::batch(request),
                _ => Err(Refusal::Method("POST")),
            },
            "/entry" => match *method {
                Method::DELETE => Ok(Self::Remove(entry(request)?)),
                _ => Err(Refusal::Method("DELETE")),
            },
            "/entry/" => match *method {
                Method::POST => Self::publish(request),
                _ => Err(Refusal::Method("POST")),
            },
            _ if is_deregister(rest) => match *method {
                // Go's service trusts the monitors in a built-in list; here there are none.
                Method::DELETE => Err(Refusal::Forbidden),
                _ => Err(Refusal::Method("DELETE")),
            },
            _ => {
                if let Some(server) = server_of_clients(rest) {
                    let server = server.parse().map_err(|_| Refusal::BadInput);
                    return server.and_then(|server| get(Self::ClientsOf(server)));
                }
                let key = rest.strip_prefix("/entry/").ok_or(Refusal::NoSuchPath)?;
                if key.contains('/') {
                    return Err(Refusal::NoSuchPath);
                }
                match *method {
                    Method::GET => Ok(Self::Entry(key.parse().map_err(|_| Refusal::BadInput)?)),
                    // The key in the path is ignored: the entry contains it.
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

    fn batch(request: &Request) -> Result<Self, Refusal> {
        let keys: Vec<PublicKey> =
            serde_json::from_slice(body(request)?).map_err(|_| Refusal::BadInput)?;
        if keys.len() > MOST_ASKED {
            return Err(Refusal::BadInput);
        }
        Ok(Self::Batch(keys))
    }

    /// Encodes the request, with a path and without a host.
    #[must_use]
    pub fn write(&self) -> Request {
        let get = |path: &str| web::request(Method::GET, path, Vec::new());
        let send = |method, path: &str, body| {
            let mut request = web::request(method, path, body);
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
            request
        };
        let with =
            |method, path: &str, entry: &SignedEntry| send(method, path, entry.json().to_vec());
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
            Self::Batch(keys) => {
                let keys = serde_json::to_vec(keys).expect("keys are always JSON");
                send(Method::POST, &format!("{PREFIX}/entries/batch"), keys)
            }
            Self::ClientsByServer => get(&format!("{PREFIX}/servers/clients")),
            Self::ClientsOf(server) => get(&format!("{PREFIX}/server/{server}/clients")),
            Self::Health => get(health::PATH),
        }
    }
}

fn is_deregister(rest: &str) -> bool {
    let after = rest.strip_prefix("/deregister");
    after.is_some_and(|after| after.is_empty() || after.starts_with('/'))
}

/// Returns the key in `/server/{pk}/clients`.
fn server_of_clients(rest: &str) -> Option<&str> {
    let key = rest.strip_prefix("/server/")?.strip_suffix("/clients")?;
    (!key.contains('/')).then_some(key)
}

fn body(request: &Request) -> Result<&[u8], Refusal> {
    match request.body() {
        body if body.len() > MAX_REQUEST => Err(Refusal::TooLong),
        body => Ok(body),
    }
}

fn entry(request: &Request) -> Result<SignedEntry, Refusal> {
    Ok(SignedEntry::from_json(body(request)?)?)
}
