//! Refusals of an address resolver.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::auth::AuthError;
use crate::web::{self, Response};

/// Why a request was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The visor has bound no address of this type.
    #[error("no address of this visor and type")]
    NotFound,
    /// The path or the body is malformed.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// The port is invalid.
    #[error("port {0:?} is no port")]
    Port(String),
    /// The observed address cannot be dialled by others.
    #[error("{0} is not a public address")]
    NotPublic(std::net::IpAddr),
    /// The observed address is not one of the visor's: it is behind a router.
    #[error("{0} is not among the addresses of the visor")]
    NotListed(std::net::IpAddr),
    /// Neither the connection nor the request contains an address.
    #[error("no public address is known: send SW-PublicIP or public_ip")]
    NoAddress,
    /// The caller is not authenticated.
    #[error(transparent)]
    Unauthorized(AuthError),
    /// The body is too long.
    #[error("body too long")]
    TooLong,
    /// The limit of addresses is reached.
    #[error("the address resolver is full")]
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
    pub(super) error: String,
}

impl Refusal {
    /// Returns the HTTP status.
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

    /// Encodes the response.
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
