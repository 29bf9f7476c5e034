//! Responses of an address resolver.

use http::StatusCode;

use super::refusal::Wrapped;
use super::{Call, Refusal};
use crate::record::VisorAddress;
use crate::web::{self, Response};

/// Successful response to a [`Call`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The visor's address: as stored, or as requested.
    Address(VisorAddress),
    /// The address was removed.
    Unbound,
}

/// Why a call has no successful response.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The address resolver refused the call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The response cannot be parsed.
    #[error("malformed answer: {0}")]
    Malformed(String),
}

impl Answer {
    /// Encodes the response.
    #[must_use]
    pub fn write(&self) -> Response {
        match self {
            Self::Address(visor) => web::json_text(StatusCode::OK, visor.to_json()),
            Self::Unbound => web::json_text(StatusCode::OK, b"{}".to_vec()),
        }
    }

    /// Parses the response to `call`. For [`Call::Bind`], the body may be invalid.
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
