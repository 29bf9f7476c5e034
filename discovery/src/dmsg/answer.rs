//! Responses of a DMSG discovery.

use std::collections::BTreeMap;

use http::{StatusCode, header};
use serde_json::value::RawValue;
use skydht_core::key::PublicKey;
use skydht_dmsg::entry::SignedEntry;

use super::refusal::{Message, RETRY_AFTER};
use super::{Call, Refusal};
use crate::health::Health;
use crate::web::{self, Response};

/// Successful response to a [`Call`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// An entry.
    Entry(SignedEntry),
    /// The first entry of a key was stored.
    Set,
    /// A newer entry of a key was stored.
    Updated,
    /// The entry was removed.
    Removed,
    /// A list of keys.
    Keys(Vec<PublicKey>),
    /// Entries of servers; never empty.
    Servers(Vec<SignedEntry>),
    /// Entries by key.
    Entries(BTreeMap<PublicKey, SignedEntry>),
    /// Clients by the server that their entries name.
    ClientsByServer(BTreeMap<PublicKey, Vec<PublicKey>>),
    /// Clients whose entries name one server; Go encodes an empty list as `null`.
    ClientsOf(Vec<PublicKey>),
    /// Health of the service.
    Health(Health),
}

/// Why a call has no successful response.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The discovery refused the call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The response cannot be parsed.
    #[error("malformed answer: {0}")]
    Malformed(String),
}

const SET: &str = "wrote a new entry";
const UPDATED: &str = "wrote new entry iteration";
const REMOVED: &str = "deleted entry";

impl Answer {
    /// Encodes the response.
    #[must_use]
    pub fn write(&self) -> Response {
        let said = |text: &str| Message::respond(StatusCode::OK, text.to_owned());
        match self {
            Self::Entry(entry) => web::json_text(StatusCode::OK, entry.json().to_vec()),
            Self::Set => said(SET),
            Self::Updated => said(UPDATED),
            Self::Removed => said(REMOVED),
            Self::Keys(keys) => web::json(StatusCode::OK, keys),
            Self::Servers(servers) => {
                let mut text = vec![b'['];
                for (index, server) in servers.iter().enumerate() {
                    if index > 0 {
                        text.push(b',');
                    }
                    text.extend_from_slice(server.json());
                }
                text.push(b']');
                web::json_text(StatusCode::OK, text)
            }
            Self::Entries(entries) => {
                let mut text = vec![b'{'];
                for (index, (key, entry)) in entries.iter().enumerate() {
                    if index > 0 {
                        text.push(b',');
                    }
                    text.extend_from_slice(format!("\"{key}\":").as_bytes());
                    text.extend_from_slice(entry.json());
                }
                text.push(b'}');
                web::json_text(StatusCode::OK, text)
            }
            Self::ClientsByServer(clients) => web::json(StatusCode::OK, clients),
            Self::ClientsOf(clients) => {
                let clients = (!clients.is_empty()).then_some(clients);
                web::json(StatusCode::OK, &clients)
            }
            Self::Health(health) => web::json(StatusCode::OK, health),
        }
    }

    /// Parses the response to `call`. Unreadable entries in lists are skipped. No signature is
    /// verified.
    ///
    /// # Errors
    /// [`AnswerError`]; a refusal with an unknown text is [`Refusal::Unexpected`].
    pub fn read(call: &Call, response: &Response) -> Result<Self, AnswerError> {
        let body = response.body();
        // These statuses are unambiguous, whatever the body contains.
        match response.status() {
            StatusCode::TOO_MANY_REQUESTS => {
                let retry_after = retry_after(response);
                return Err(Refusal::RateLimited { retry_after }.into());
            }
            StatusCode::PAYLOAD_TOO_LARGE => return Err(Refusal::TooLong.into()),
            _ => {}
        }
        if response.status() != StatusCode::OK {
            let status = response.status();
            let message = read::<Message>(body).map_err(|_| {
                AnswerError::Malformed(format!(
                    "HTTP {status}, and no reason as a discovery gives it"
                ))
            })?;
            return Err(Refusal::of_message(&message.message).into());
        }
        match call {
            Call::Entry(_) => SignedEntry::from_json(body)
                .map(Self::Entry)
                .map_err(|error| AnswerError::Malformed(error.to_string())),
            // Go's client checks only the status.
            Call::Publish { .. } => match read::<Message>(body) {
                Ok(message) if message.message == UPDATED => Ok(Self::Updated),
                _ => Ok(Self::Set),
            },
            Call::Remove(_) => Ok(Self::Removed),
            Call::Clients | Call::Visors => Ok(Self::Keys(read(body)?)),
            Call::AvailableServers | Call::AllServers => {
                let texts: Vec<&RawValue> = read(body)?;
                let entries = texts
                    .into_iter()
                    .filter_map(|text| SignedEntry::from_json(text.get().as_bytes()).ok());
                Ok(Self::Servers(entries.collect()))
            }
            Call::Batch(_) => {
                let texts: BTreeMap<PublicKey, &RawValue> = read(body)?;
                let entries = texts.into_iter().filter_map(|(key, text)| {
                    let entry = SignedEntry::from_json(text.get().as_bytes()).ok()?;
                    (entry.entry().key == key).then_some((key, entry))
                });
                Ok(Self::Entries(entries.collect()))
            }
            Call::ClientsByServer => {
                let clients: BTreeMap<_, Option<Vec<_>>> = read(body)?;
                let clients = clients.into_iter();
                let clients = clients.map(|(server, them)| (server, them.unwrap_or_default()));
                Ok(Self::ClientsByServer(clients.collect()))
            }
            Call::ClientsOf(_) => {
                let clients: Option<_> = read(body)?;
                Ok(Self::ClientsOf(clients.unwrap_or_default()))
            }
            Call::Health => Ok(Self::Health(read(body)?)),
        }
    }
}

/// Returns the seconds in `Retry-After`, or [`RETRY_AFTER`] if it contains a date or is invalid.
fn retry_after(response: &Response) -> u16 {
    let said = response.headers().get(header::RETRY_AFTER);
    let said = said.and_then(|value| value.to_str().ok());
    said.and_then(|text| text.trim().parse().ok())
        .unwrap_or(RETRY_AFTER)
}

fn read<'b, T: serde::Deserialize<'b>>(body: &'b [u8]) -> Result<T, AnswerError> {
    serde_json::from_slice(body).map_err(|error| {
        // For text that is not JSON, the position of the error would be meaningless.
        let why = match error.classify() {
            serde_json::error::Category::Data => error.to_string(),
            _ => "no JSON: is something else at this address?".to_owned(),
        };
        AnswerError::Malformed(why)
    })
}
