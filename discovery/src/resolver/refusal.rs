//! Why an address resolver refuses.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::auth::AuthError;
use crate::web::{self, Response};

/// Why a request was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The visor has bound nothing.
    #[error("no address of this visor and type")]
    NotFound,
    /// The path or the body makes no sense.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// The port is none.
    #[error("port {0:?} is no port")]
    Port(String),
    /// The address that was seen is not one that others can dial.
    #[error("{0} is not a public address")]
    NotPublic(std::net::IpAddr),
    /// The visor does not have the address that was seen: it is behind a router.
    #[error("{0} is not among the addresses of the visor")]
    NotListed(std::net::IpAddr),
    /// Neither the connection nor the request says an address.
    #[error("no public address is known: send SW-PublicIP or public_ip")]
    NoAddress,
    /// The caller does not prove its key.
    #[error(transparent)]
    Unauthorized(AuthError),
    /// The body is too long.
    #[error("body too long")]
    TooLong,
    /// No more addresses fit.
    #[error("the address resolver is full")]
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
    pub(super) error: String,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::Malformed(_)
            | Self::Port(_)
            | Self::NotPublic(_)
            | Self::NotListed(_)
            | Self::NoAddress => StatusCode::BAD_REQUEST,
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
                let error = self.to_string();
                web::json(self.status(), &Wrapped { error })
            }
        }
    }
}
