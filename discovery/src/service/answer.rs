//! Responses of a service discovery.

use http::StatusCode;

use super::refusal::Wrapped;
use super::{Call, MOST_ANSWERED, Refusal};
use crate::index::{Index, ServiceQuery};
use crate::record::{Service, Services};
use crate::web::{self, Response};

/// Successful response to a [`Call`].
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// Services.
    List(Vec<Service>),
    /// A service, as stored.
    One(Box<Service>),
    /// The service was removed.
    Deregistered,
}

/// Why a call has no successful response.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The service discovery refused the call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The response cannot be parsed.
    #[error("malformed answer: {0}")]
    Malformed(String),
}

impl Answer {
    /// Answers a call from a full node's index; `None` if the index does not answer such calls.
    #[must_use]
    pub fn derived(index: &Index, call: &Call) -> Option<Self> {
        match call {
            Call::List {
                kind,
                version,
                country,
                quantity,
            } => {
                let query = ServiceQuery {
                    kind: kind.clone(),
                    version: version.clone(),
                    country: country.clone(),
                };
                let most = quantity.unwrap_or(MOST_ANSWERED).min(MOST_ANSWERED);
                let list = index.services(&query).take(most).cloned().collect();
                Some(Self::List(list))
            }
            // A single service is read from its owner's record, without an index.
            Call::One(..) | Call::Register(_) | Call::Deregister(..) => None,
        }
    }

    /// Encodes the response.
    #[must_use]
    pub fn write(&self) -> Response {
        match self {
            Self::List(list) => {
                let list = Services { list: list.clone() };
                web::json_text(StatusCode::OK, list.to_json())
            }
            Self::One(service) => web::json_text(StatusCode::OK, service.to_json()),
            Self::Deregistered => web::json_text(StatusCode::OK, b"true".to_vec()),
        }
    }

    /// Parses the response to `call`. Unreadable services in lists are skipped.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn read(call: &Call, response: &Response) -> Result<Self, AnswerError> {
        let (status, body) = (response.status(), response.body());
        let malformed = |error: serde_json::Error| AnswerError::Malformed(error.to_string());
        if status != StatusCode::OK {
            let said = serde_json::from_slice::<Wrapped>(body);
            let text = said.map_or_else(|_| format!("HTTP {status}"), |said| said.error);
            let refusal = match status {
                StatusCode::NOT_FOUND if matches!(call, Call::One(..)) => Refusal::NotFound,
                status => Refusal::Said {
                    status: status.as_u16(),
                    text,
                },
            };
            return Err(refusal.into());
        }
        match call {
            Call::List { .. } => {
                let texts: Option<Vec<&serde_json::value::RawValue>> =
                    serde_json::from_slice(body).map_err(malformed)?;
                let texts = texts.unwrap_or_default();
                if texts.len() > MOST_ANSWERED {
                    let text = format!("more than {MOST_ANSWERED} services");
                    return Err(AnswerError::Malformed(text));
                }
                let read = |text: &serde_json::value::RawValue| {
                    let service = serde_json::from_str::<Service>(text.get()).ok()?;
                    service.validate().is_ok().then_some(service)
                };
                Ok(Self::List(texts.into_iter().filter_map(read).collect()))
            }
            Call::One(..) | Call::Register(_) => {
                let service = serde_json::from_slice(body).map_err(malformed)?;
                Ok(Self::One(Box::new(service)))
            }
            Call::Deregister(..) => Ok(Self::Deregistered),
        }
    }
}
