//! The signed objects that open a stream: a request or a server's announcement, and the response.
//!
//! An object is a signature (65 bytes) ‖ a gob stream. Its author signs the SHA-256 of the gob
//! bytes (specification of DMSG, §5). The received bytes are kept: relays forward them unchanged,
//! and neither signature nor hash is computed over a new encoding.

mod announce;
mod code;
mod request;
mod response;

#[cfg(test)]
mod tests;

use sha2::{Digest as _, Sha256};
use skydht_core::key::{PUBLIC_KEY_LEN, PublicKey, SIGNATURE_LEN, SecretKey, Signature};

pub use crate::gob::GobError;
pub use crate::message::{PeerAnnounce, RawAddress, StreamRequest, StreamResponse};
pub use code::ErrorCode;
pub use request::VerifiedRequest;

/// Maximum length of an object, in bytes, so that it can be sealed (specification §3).
pub const MAX_OBJECT: usize = 65_535 - crate::cipher::RECORD_OVERHEAD;

/// Why an object was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// It violates a rule of the protocol.
    #[error(transparent)]
    Code(#[from] ErrorCode),
    /// The gob stream cannot be decoded.
    #[error(transparent)]
    Gob(#[from] GobError),
}

impl ObjectError {
    /// Returns the error code of the protocol; an undecodable object is
    /// [`ErrorCode::InvalidObject`].
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Code(code) => *code,
            Self::Gob(_) => ErrorCode::InvalidObject,
        }
    }
}

/// One end of a stream: a key and a port, both syntactically valid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// Key of the client or server.
    pub key: PublicKey,
    /// Port of the service, or the dialer's ephemeral port; never 0.
    pub port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.key, self.port)
    }
}

impl RawAddress {
    /// Returns whether there is no key.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.key == [0; PUBLIC_KEY_LEN]
    }

    fn public_key(&self) -> Option<PublicKey> {
        PublicKey::from_bytes(&self.key).ok()
    }
}

impl From<Address> for RawAddress {
    fn from(address: Address) -> Self {
        Self {
            key: *address.key.as_bytes(),
            port: address.port,
        }
    }
}

/// An object as it is transferred: signature ‖ gob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedObject(Vec<u8>);

impl SignedObject {
    /// Takes the bytes of an object. Only their length is checked.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidObject`] if there is nothing behind the signature, or more than
    /// [`MAX_OBJECT`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ErrorCode> {
        if bytes.len() <= SIGNATURE_LEN || bytes.len() > MAX_OBJECT {
            return Err(ErrorCode::InvalidObject);
        }
        Ok(Self(bytes))
    }

    fn sign(gob: &[u8], author: &SecretKey) -> Self {
        let signature = author.sign(&Sha256::digest(gob).into());
        Self([signature.as_bytes(), gob].concat())
    }

    /// Returns the bytes of the object.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the SHA-256 of the whole object, by which a response refers to its request.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }

    fn gob(&self) -> &[u8] {
        &self.0[SIGNATURE_LEN..]
    }

    fn is_signed_by(&self, author: &PublicKey) -> bool {
        let mut signature = [0; SIGNATURE_LEN];
        signature.copy_from_slice(&self.0[..SIGNATURE_LEN]);
        let digest = Sha256::digest(self.gob()).into();
        author
            .verify(&digest, &Signature::from_bytes(signature))
            .is_ok()
    }
}
