//! Why a DMSG discovery refuses, with upstream's texts and statuses.

use std::time::Duration;

use http::StatusCode;
use http::header::{self, HeaderValue};
use serde::{Deserialize, Serialize};
use skydht_core::key::SignatureError;
use skydht_dmsg::discovery::DiscoveryError;
use skydht_dmsg::entry::EntryError;

use crate::web::{self, Response};

/// Why a request was refused. The texts are upstream's: clients go by them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no entry of that key.
    #[error("entry of public key is not found")]
    NotFound,
    /// There are no servers.
    #[error("no delegated dmsg servers available for remote")]
    NoServers,
    /// The path holds no key.
    #[error("error bad input")]
    BadInput,
    /// The entry is not signed by its owner.
    #[error("invalid signature")]
    Unauthorized,
    /// The entry breaks a rule.
    #[error(transparent)]
    Invalid(EntryError),
    /// The body is no entry; at a client: an unknown answer.
    #[error("something unexpected happened")]
    Unexpected,
    /// The body is too long, or the answer would be.
    #[error("body too long")]
    TooLong,
    /// The caller asks too often.
    #[error("rate limit exceeded")]
    RateLimited {
        /// Seconds after which it may ask again: the header `Retry-After`.
        retry_after: u16,
    },
    /// No more entries fit. Go has no limit.
    #[error("discovery is full")]
    Full,
    /// Only for network monitors.
    #[error("forbidden")]
    Forbidden,
    /// There is no such path.
    #[error("404 page not found")]
    NoSuchPath,
    /// The path takes only these methods.
    #[error("this path takes only {0}")]
    Method(&'static str),
}

/// Seconds after which a caller that asked too often may ask again, if nothing else is said.
pub(super) const RETRY_AFTER: u16 = 1;

/// How answers travel that are only a text.
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

/// What a message can say; [`Refusal::Unexpected`] is everything else.
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
    /// The status of the answer.
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

    /// The answer.
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

    /// What a message of a discovery's says. Go looks at the text alone.
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
