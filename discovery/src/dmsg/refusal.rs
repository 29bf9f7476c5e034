//! Refusals of a DMSG discovery, with upstream's texts and statuses.

use std::time::Duration;

use http::StatusCode;
use http::header::{self, HeaderValue};
use serde::{Deserialize, Serialize};
use skydht_core::key::SignatureError;
use skydht_dmsg::discovery::DiscoveryError;
use skydht_dmsg::entry::EntryError;

use crate::web::{self, Response};

/// Why a request was refused. The texts are upstream's, because clients compare them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The key has no entry.
    #[error("entry of public key is not found")]
    NotFound,
    /// There are no servers.
    #[error("no delegated dmsg servers available for remote")]
    NoServers,
    /// The path contains no valid key.
    #[error("error bad input")]
    BadInput,
    /// The entry is not signed by its owner.
    #[error("invalid signature")]
    Unauthorized,
    /// The entry breaks a rule.
    #[error(transparent)]
    Invalid(EntryError),
    /// The body is not an entry; in a client, also an unknown response.
    #[error("something unexpected happened")]
    Unexpected,
    /// The body is too long, or the response would be.
    #[error("body too long")]
    TooLong,
    /// The caller sends requests too often.
    #[error("rate limit exceeded")]
    RateLimited {
        /// Seconds until the next request is accepted, as in the header `Retry-After`.
        retry_after: u16,
    },
    /// The limit of entries is reached. Go's service has none.
    #[error("discovery is full")]
    Full,
    /// The path is reserved for network monitors.
    #[error("forbidden")]
    Forbidden,
    /// The path does not exist.
    #[error("404 page not found")]
    NoSuchPath,
    /// The path supports only these methods.
    #[error("this path takes only {0}")]
    Method(&'static str),
}

/// Default of `Retry-After`, in seconds.
pub(super) const RETRY_AFTER: u16 = 1;

/// JSON of responses that consist of a text.
#[derive(Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) message: String,
    pub(super) code: u16,
}

impl Message {
    pub(super) fn respond(status: StatusCode, message: String) -> Response {
        let code = status.as_u16();
        web::json(status, &Self { message, code })
    }
}

/// Refusals with a known text; all others are [`Refusal::Unexpected`].
const SAID: &[Refusal] = &[
    Refusal::NotFound,
    Refusal::NoServers,
    Refusal::BadInput,
    Refusal::Unauthorized,
    Refusal::TooLong,
    Refusal::RateLimited {
        retry_after: RETRY_AFTER,
    },
    Refusal::Full,
    Refusal::Invalid(EntryError::NoKey),
    Refusal::Invalid(EntryError::NoSignature),
    Refusal::Invalid(EntryError::NoVersion),
    Refusal::Invalid(EntryError::NoRole),
    Refusal::Invalid(EntryError::NoAddress),
    Refusal::Invalid(EntryError::LoopbackAddress),
    Refusal::Invalid(EntryError::Outdated),
    Refusal::Invalid(EntryError::Sequence),
    Refusal::Invalid(EntryError::Timestamp),
];

impl Refusal {
    /// Returns the HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NoServers | Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::BadInput => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unexpected => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// Encodes the response.
    #[must_use]
    pub fn write(&self) -> Response {
        match self {
            Self::NoSuchPath => web::no_such_path(),
            Self::Method(allowed) => web::method_not_allowed(allowed),
            Self::Forbidden => web::empty(self.status()),
            Self::RateLimited { retry_after } => {
                let mut response = Message::respond(self.status(), self.to_string());
                let wait = HeaderValue::from(*retry_after);
                response.headers_mut().insert(header::RETRY_AFTER, wait);
                response
            }
            _ => Message::respond(self.status(), self.to_string()),
        }
    }

    /// Parses the text of a message, as Go's client does, which ignores the status.
    pub(super) fn of_message(message: &str) -> Self {
        let known = SAID.iter().find(|known| known.to_string() == message);
        known.cloned().unwrap_or(Self::Unexpected)
    }
}

impl From<EntryError> for Refusal {
    fn from(error: EntryError) -> Self {
        match error {
            EntryError::Malformed(_) => Self::Unexpected,
            EntryError::TooLong(_) => Self::TooLong,
            EntryError::SignatureForm | EntryError::Signature(_) => Self::Unauthorized,
            rule => Self::Invalid(rule),
        }
    }
}

impl From<DiscoveryError> for Refusal {
    fn from(error: DiscoveryError) -> Self {
        match error {
            DiscoveryError::NotFound => Self::NotFound,
            DiscoveryError::Refused(error) => error.into(),
            DiscoveryError::Full => Self::Full,
            DiscoveryError::TooLong => Self::TooLong,
            DiscoveryError::TooOften(wait) => Self::RateLimited {
                retry_after: u16::try_from(wait.as_secs()).unwrap_or(u16::MAX),
            },
            _ => Self::Unexpected,
        }
    }
}

impl From<Refusal> for DiscoveryError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NotFound,
            Refusal::Full => Self::Full,
            Refusal::RateLimited { retry_after } => {
                Self::TooOften(Duration::from_secs(retry_after.into()))
            }
            Refusal::TooLong => Self::TooLong,
            Refusal::Invalid(rule) => Self::Refused(rule),
            Refusal::Unauthorized => Self::Refused(SignatureError::OtherKey.into()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}
