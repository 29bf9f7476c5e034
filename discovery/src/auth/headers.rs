//! Headers of signed requests.

use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use skydht_core::key::{PublicKey, SecretKey, Signature};

use crate::web::{self, Request, Response};

/// The caller's public key, in hexadecimal.
pub const PUBLIC: HeaderName = HeaderName::from_static("sw-public");
/// The nonce, in decimal.
pub const NONCE: HeaderName = HeaderName::from_static("sw-nonce");
/// The signature over SHA-256(body ‖ nonce in decimal), in hexadecimal.
pub const SIGNATURE: HeaderName = HeaderName::from_static("sw-sig");
/// The caller's public IP address; optional.
pub const PUBLIC_IP: HeaderName = HeaderName::from_static("sw-publicip");

/// Upstream's error text, which its clients compare.
const MISMATCH: &str = "SW-Nonce does not match";

/// Why a caller is not authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The named header is missing, repeated or malformed.
    #[error("{0} is missing or malformed")]
    Header(&'static str),
    /// The nonce is not the expected one.
    #[error("SW-Nonce does not match")]
    Nonce,
    /// The signature does not match the key, the body and the nonce.
    #[error("SW-Sig does not match")]
    Signature,
}

#[derive(Serialize, Deserialize)]
struct Wrapped {
    error: Message,
}

#[derive(Serialize, Deserialize)]
struct Message {
    message: String,
    code: u16,
}

impl AuthError {
    /// Returns the response, with status 401.
    #[must_use]
    pub fn write(self) -> Response {
        let status = StatusCode::UNAUTHORIZED;
        let error = Message {
            message: self.to_string(),
            code: status.as_u16(),
        };
        web::json(status, &Wrapped { error })
    }

    /// Returns whether a response says that the nonce is not the expected one.
    pub(super) fn is_mismatch(response: &Response) -> bool {
        response.status() == StatusCode::UNAUTHORIZED
            && serde_json::from_slice::<Wrapped>(response.body())
                .is_ok_and(|said| said.error.message == MISMATCH)
    }
}

/// The authentication headers of a request; the signature is not verified yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The claimed key.
    pub key: PublicKey,
    /// The nonce.
    pub nonce: u64,
    signature: Signature,
}

impl Claim {
    /// Parses the headers.
    ///
    /// # Errors
    /// [`AuthError::Header`].
    pub fn read(request: &Request) -> Result<Self, AuthError> {
        fn parsed<T: std::str::FromStr>(
            request: &Request,
            name: &HeaderName,
            shown: &'static str,
        ) -> Result<T, AuthError> {
            let wrong = AuthError::Header(shown);
            let mut values = request.headers().get_all(name).iter();
            let (Some(value), None) = (values.next(), values.next()) else {
                return Err(wrong);
            };
            let text = value.to_str().map_err(|_| wrong)?;
            text.parse().map_err(|_| wrong)
        }
        Ok(Self {
            key: parsed(request, &PUBLIC, "SW-Public")?,
            nonce: parsed(request, &NONCE, "SW-Nonce")?,
            signature: parsed(request, &SIGNATURE, "SW-Sig")?,
        })
    }

    /// Verifies the signature over a body.
    ///
    /// # Errors
    /// [`AuthError::Signature`].
    pub fn verify(&self, body: &[u8]) -> Result<(), AuthError> {
        let digest = digest(body, self.nonce);
        let holds = self.key.verify(&digest, &self.signature);
        holds.map_err(|_| AuthError::Signature)
    }
}

/// Signs a request with a nonce, and replaces existing authentication headers.
pub(super) fn sign(request: &mut Request, secret: &SecretKey, nonce: u64) {
    let signature = secret.sign(&digest(request.body(), nonce));
    let texts = [
        (PUBLIC, secret.public().to_string()),
        (NONCE, nonce.to_string()),
        (SIGNATURE, signature.to_string()),
    ];
    for (name, text) in texts {
        let value = HeaderValue::try_from(text).expect("digits are a header's value");
        request.headers_mut().insert(name, value);
    }
}

fn digest(body: &[u8], nonce: u64) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(body);
    hash.update(nonce.to_string());
    hash.finalize().into()
}
