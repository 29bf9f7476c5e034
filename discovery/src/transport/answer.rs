//! Responses of a transport discovery.

use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::{Deserialize, Serialize};

use super::refusal::Wrapped;
use super::{Call, MOST_ANSWERED, Refusal};
use crate::index::Index;
use crate::record::{Transport, go_json};
use crate::web::{self, Response};

/// Successful response to a [`Call`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Transports: those requested, or those registered.
    List(Vec<Transport>),
    /// A transport.
    One(Transport),
    /// The transport was removed.
    Deleted,
    /// Result of removing a batch.
    Batch {
        /// Number of removed transports.
        deleted: usize,
        /// Number of transports that did not exist, or were not the caller's.
        skipped: usize,
    },
    /// The caller's transports were renewed.
    Noted,
}

#[derive(Serialize, Deserialize)]
struct Batch {
    deleted: usize,
    skipped: usize,
}

/// Why a call has no successful response.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The transport discovery refused the call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The response cannot be parsed.
    #[error("malformed answer: {0}")]
    Malformed(String),
}

impl Answer {
    /// Answers a call from a full node's index, for any caller.
    ///
    /// # Errors
    /// [`Refusal`] if the call is a change, requests all transports, or finds nothing.
    pub fn derived(index: &Index, call: &Call) -> Result<Self, Refusal> {
        let of = |edge| index.transports_of(edge).map(|it| it.transport().clone());
        Ok(match call {
            Call::ById(id) => {
                let found = index.transport(id).ok_or(Refusal::NoSuchId(*id))?;
                Self::One(found.transport().clone())
            }
            Call::ByEdge(edge) => match of(edge).collect::<Vec<_>>() {
                list if list.is_empty() => return Err(Refusal::NoneOfEdge(*edge)),
                list => Self::List(list),
            },
            Call::OfEdge(edge) => Self::List(of(edge).collect()),
            Call::All => return Err(Refusal::Gone),
            _ => return Err(Refusal::Method("GET")),
        })
    }

    /// Encodes the response to `call`.
    #[must_use]
    pub fn write(&self, call: &Call) -> Response {
        let text = match self {
            Self::List(list) => go_json::text(list),
            Self::One(transport) => transport.to_json(),
            Self::Deleted => b"\"transport deleted\"".to_vec(),
            Self::Noted => b"{}".to_vec(),
            Self::Batch { deleted, skipped } => go_json::text(&Batch {
                deleted: *deleted,
                skipped: *skipped,
            }),
        };
        web::json_text(call.success(), text)
    }

    /// Parses the response to `call`. Transports in lists that are unreadable, or violate a rule,
    /// are skipped.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn read(call: &Call, response: &Response) -> Result<Self, AnswerError> {
        let (status, body) = (response.status(), response.body());
        if !status.is_success() {
            return Err(refused(call, response).into());
        }
        let malformed = |error: serde_json::Error| AnswerError::Malformed(error.to_string());
        Ok(match call {
            Call::ById(_) => {
                let transport: Transport = serde_json::from_slice(body).map_err(malformed)?;
                let wrong = |error| AnswerError::Malformed(format!("{error}"));
                transport.validate().map_err(wrong)?;
                Self::One(transport)
            }
            Call::ByEdge(_)
            | Call::OfEdge(_)
            | Call::OfEdges(_)
            | Call::All
            | Call::Register(_)
            | Call::RegisterBare(_) => Self::List(list(body)?),
            Call::Delete(_) => Self::Deleted,
            Call::Heartbeat => Self::Noted,
            Call::DeleteBatch(_) => {
                let batch: Batch = serde_json::from_slice(body).map_err(malformed)?;
                Self::Batch {
                    deleted: batch.deleted,
                    skipped: batch.skipped,
                }
            }
        })
    }
}

/// Parses a list of transports and signed transports.
fn list(body: &[u8]) -> Result<Vec<Transport>, AnswerError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Element {
        Signed { entry: Transport },
        Bare(Transport),
    }
    let texts: Option<Vec<&serde_json::value::RawValue>> =
        serde_json::from_slice(body).map_err(|error| AnswerError::Malformed(error.to_string()))?;
    let texts = texts.unwrap_or_default();
    if texts.len() > MOST_ANSWERED {
        let text = format!("more than {MOST_ANSWERED} transports");
        return Err(AnswerError::Malformed(text));
    }
    let read = |text: &serde_json::value::RawValue| {
        let (Element::Signed { entry } | Element::Bare(entry)) =
            serde_json::from_str(text.get()).ok()?;
        entry.validate().is_ok().then_some(entry)
    };
    Ok(texts.into_iter().filter_map(read).collect())
}

fn refused(call: &Call, response: &Response) -> Refusal {
    let status = response.status();
    match (status, call) {
        (StatusCode::NOT_FOUND, Call::ById(id)) => Refusal::NoSuchId(*id),
        (StatusCode::NOT_FOUND, Call::ByEdge(edge)) => Refusal::NoneOfEdge(*edge),
        (StatusCode::GONE, _) => Refusal::Gone,
        (StatusCode::TOO_MANY_REQUESTS, _) => {
            let after = response.headers().get(RETRY_AFTER);
            let seconds = after.and_then(|it| it.to_str().ok()?.trim().parse().ok());
            Refusal::TooOften(Duration::from_secs(seconds.unwrap_or(1)))
        }
        (status, _) => {
            let said = serde_json::from_slice::<Wrapped>(response.body());
            let text = said.map_or_else(|_| format!("HTTP {status}"), |said| said.error);
            let status = status.as_u16();
            Refusal::Said { status, text }
        }
    }
}
