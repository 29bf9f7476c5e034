//! Refusals of a transport discovery.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;

use crate::auth::AuthError;
use crate::record::{ElementError, TransportId};
use crate::web::{self, Response};

/// Why a request was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The transport does not exist.
    #[error("no transport with id {0}")]
    NoSuchId(TransportId),
    /// The visor has no transports.
    #[error("no transport of edge {0}")]
    NoneOfEdge(PublicKey),
    /// The path or the body is malformed.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// A transport violates a rule.
    #[error("transport {index}: {error}")]
    Invalid {
        /// Index in the list, from 0.
        index: usize,
        /// The violated rule.
        error: ElementError,
    },
    /// The caller is not an edge of a transport.
    #[error("the caller is not an edge of the transport")]
    ForeignEdge,
    /// The caller is not authenticated.
    #[error(transparent)]
    Unauthorized(AuthError),
    /// The body is too long.
    #[error("body too long")]
    TooLong,
    /// The limit of transports is reached.
    #[error("the transport discovery is full")]
    Full,
    /// The rate limit is exceeded; contains the time until the next request is accepted.
    #[error("rate limit exceeded")]
    TooOften(Duration),
    /// The service no longer supports the request.
    #[error("gone: ask for the transports of edges")]
    Gone,
    /// In a client: the service's own text.
    #[error("{text}")]
    Said {
        /// HTTP status.
        status: u16,
        /// Text of the response.
        text: String,
    },
    /// The path does not exist.
    #[error("404 page not found")]
    NoSuchPath,
    /// The path supports only these methods.
    #[error("this path takes only {0}")]
    Method(&'static str),
}

/// JSON format of a refusal.
#[derive(Serialize, Deserialize)]
pub(super) struct Wrapped {
    pub(super) error: String,
}

impl Refusal {
    /// Returns the HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchId(_) | Self::NoneOfEdge(_) | Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::Malformed(_) | Self::Invalid { .. } | Self::ForeignEdge => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Gone => StatusCode::GONE,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Said { status, .. } => {
                StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// Encodes the response.
    #[must_use]
    pub fn write(&self) -> Response {
        match self {
            Self::NoSuchPath => web::no_such_path(),
            Self::Method(allowed) => web::method_not_allowed(allowed),
            Self::Unauthorized(error) => error.write(),
            Self::TooOften(wait) => {
                let mut response = self.wrapped();
                let seconds = HeaderValue::from(wait.as_secs().max(1));
                response.headers_mut().insert(RETRY_AFTER, seconds);
                response
            }
            _ => self.wrapped(),
        }
    }

    fn wrapped(&self) -> Response {
        let error = self.to_string();
        web::json(self.status(), &Wrapped { error })
    }
}
