//! Refusals of a service discovery.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::auth::AuthError;
use crate::record::ElementError;
use crate::web::{self, Response};

/// Why a request was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The service does not exist.
    #[error("no service of this address and type")]
    NotFound,
    /// The query contains no type.
    #[error("type is required")]
    NoType,
    /// The path, the query or the body is malformed.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// The service violates a rule.
    #[error(transparent)]
    Invalid(#[from] ElementError),
    /// A VPN or a proxy has no version.
    #[error("a service of this type needs a version")]
    NoVersion,
    /// The service belongs to another key.
    #[error("the service is not the caller's")]
    ForeignKey,
    /// The caller is not authenticated.
    #[error(transparent)]
    Unauthorized(AuthError),
    /// The path is reserved for network monitors.
    #[error("forbidden")]
    Forbidden,
    /// The body is too long.
    #[error("body too long")]
    TooLong,
    /// The limit of services is reached.
    #[error("the service discovery is full")]
    Full,
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
    pub(super) code: u16,
    pub(super) error: String,
}

impl Refusal {
    /// Returns the HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::NoType | Self::Malformed(_) | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::NoVersion | Self::ForeignKey | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
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
            _ => {
                let status = self.status();
                let (code, error) = (status.as_u16(), self.to_string());
                web::json(status, &Wrapped { code, error })
            }
        }
    }
}
