//! What an address resolver answers.

use http::StatusCode;

use super::refusal::Wrapped;
use super::{Call, Refusal};
use crate::record::VisorAddress;
use crate::web::{self, Response};

/// What came of a [`Call`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Where the visor listens: as it is kept, or as was asked for.
    Address(VisorAddress),
    /// It listens there no more.
    Unbound,
}

/// Why there is no answer to a call.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The address resolver refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The answer cannot be read.
    #[error("malformed answer: {0}")]
    Malformed(String),
}

impl Answer {
    /// Writes the response.
    #[must_use]
    pub fn write(&self) -> Response {
        match self {
            Self::Address(visor) => web::json_text(StatusCode::OK, visor.to_json()),
            Self::Unbound => web::json_text(StatusCode::OK, b"{}".to_vec()),
        }
    }

    /// Reads the response to `call`. The body of an answer to a binding is not needed.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn read(call: &Call, response: &Response) -> Result<Self, AnswerError> {
        let (status, body) = (response.status(), response.body());
        if !status.is_success() {
            let said = serde_json::from_slice::<Wrapped>(body);
            let text = said.map_or_else(|_| format!("HTTP {status}"), |said| said.error);
            let refusal = match (status, call) {
                (StatusCode::NOT_FOUND, Call::Resolve(..)) => Refusal::NotFound,
                _ => Refusal::Said {
                    status: status.as_u16(),
                    text,
                },
            };
            return Err(refusal.into());
        }
        match call {
            Call::Bind(_, binding) => Ok(Self::Address(
                serde_json::from_slice(body).unwrap_or_else(|_| binding.visor.clone()),
            )),
            Call::Unbind(_) => Ok(Self::Unbound),
            Call::Resolve(..) => {
                let visor = serde_json::from_slice(body);
                let malformed = |error: serde_json::Error| error.to_string();
                let visor = visor.map_err(|error| AnswerError::Malformed(malformed(error)))?;
                Ok(Self::Address(visor))
            }
        }
    }
}
