//! What a transport discovery answers.

use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::{Deserialize, Serialize};

use super::refusal::Wrapped;
use super::{Call, MOST_ANSWERED, Refusal};
use crate::index::Index;
use crate::record::{Transport, go_json};
use crate::web::{self, Response};

/// What came of a [`Call`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Transports: those asked for, or those that were registered.
    List(Vec<Transport>),
    /// One.
    One(Transport),
    /// It is gone.
    Deleted,
    /// So many of a batch are gone.
    Batch {
        /// Were there, and are gone.
        deleted: usize,
        /// Were not there, or not the caller's.
        skipped: usize,
    },
    /// The caller's transports live on.
    Noted,
}

#[derive(Serialize, Deserialize)]
struct Batch {
    deleted: usize,
    skipped: usize,
}

/// Why there is no answer to a call.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The transport discovery refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The answer cannot be read.
    #[error("malformed answer: {0}")]
    Malformed(String),
}

impl Answer {
    /// What a full node's records say; who asks does not matter.
    ///
    /// # Errors
    /// [`Refusal`] of a call that changes something, asks for all, or finds nothing.
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

    /// Writes the response to `call`.
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

    /// Reads the response to `call`. Transports in a list that cannot be read, or that break a rule,
    /// are left out.
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

/// Bare and signed transports, in any mixture.
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
