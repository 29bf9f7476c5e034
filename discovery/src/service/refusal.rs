//! Why a service discovery refuses.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::auth::AuthError;
use crate::record::ElementError;
use crate::web::{self, Response};

/// Why a request was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such service.
    #[error("no service of this address and type")]
    NotFound,
    /// The type is not said.
    #[error("type is required")]
    NoType,
    /// The path, the query or the body makes no sense.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// The service breaks a rule.
    #[error(transparent)]
    Invalid(#[from] ElementError),
    /// A VPN or a proxy says no version.
    #[error("a service of this type needs a version")]
    NoVersion,
    /// It is another key's.
    #[error("the service is not the caller's")]
    ForeignKey,
    /// The caller does not prove its key.
    #[error(transparent)]
    Unauthorized(AuthError),
    /// Only for network monitors.
    #[error("forbidden")]
    Forbidden,
    /// The body is too long.
    #[error("body too long")]
    TooLong,
    /// No more services fit.
    #[error("the service discovery is full")]
    Full,
    /// The service's own words, at a client.
    #[error("{text}")]
    Said {
        /// The status.
        status: u16,
        /// The text.
        text: String,
    },
    /// There is no such path.
    #[error("404 page not found")]
    NoSuchPath,
    /// The path takes only these methods.
    #[error("this path takes only {0}")]
    Method(&'static str),
}

/// How a refusal travels.
#[derive(Serialize, Deserialize)]
pub(super) struct Wrapped {
    pub(super) code: u16,
    pub(super) error: String,
}

impl Refusal {
    /// The status of the answer.
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

    /// The answer.
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
