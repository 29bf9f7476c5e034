//! The headers of a signed request.

use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use skydht_core::key::{PublicKey, SecretKey, Signature};

use crate::web::{self, Request, Response};

/// The caller's key, in hex.
pub const PUBLIC: HeaderName = HeaderName::from_static("sw-public");
/// The number, in decimal.
pub const NONCE: HeaderName = HeaderName::from_static("sw-nonce");
/// The signature over SHA-256(body ‖ the text of the number), in hex.
pub const SIGNATURE: HeaderName = HeaderName::from_static("sw-sig");
/// The caller's public address, where it says one.
pub const PUBLIC_IP: HeaderName = HeaderName::from_static("sw-publicip");

/// Upstream's text; its clients go by it.
const MISMATCH: &str = "SW-Nonce does not match";

/// Why a caller is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// A header is missing, or there twice, or is none.
    #[error("{0} is missing or malformed")]
    Header(&'static str),
    /// The number is not the next one.
    #[error("SW-Nonce does not match")]
    Nonce,
    /// The key did not sign this body with this number.
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
    /// The answer: 401.
    #[must_use]
    pub fn write(self) -> Response {
        let status = StatusCode::UNAUTHORIZED;
        let error = Message {
            message: self.to_string(),
            code: status.as_u16(),
        };
        web::json(status, &Wrapped { error })
    }

    /// Whether a response says that the number is not the next one.
    pub(super) fn is_mismatch(response: &Response) -> bool {
        response.status() == StatusCode::UNAUTHORIZED
            && serde_json::from_slice::<Wrapped>(response.body())
                .is_ok_and(|said| said.error.message == MISMATCH)
    }
}

/// What a request says of its caller. The signature is not checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Whose it is.
    pub key: PublicKey,
    /// The number.
    pub nonce: u64,
    signature: Signature,
}

impl Claim {
    /// Reads the headers.
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

    /// Checks the signature over a body.
    ///
    /// # Errors
    /// [`AuthError::Signature`].
    pub fn verify(&self, body: &[u8]) -> Result<(), AuthError> {
        let digest = digest(body, self.nonce);
        let holds = self.key.verify(&digest, &self.signature);
        holds.map_err(|_| AuthError::Signature)
    }
}

/// Signs a request with a number, in place of what it had.
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
