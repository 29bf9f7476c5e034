//! The signed objects that open a stream: a request or a server's announcement, and the response.
//!
//! An object is a signature (65 bytes) ‖ a gob stream, signed by its author over the SHA-256 of
//! the gob bytes (specification of DMSG, §5). It is kept as the bytes that came: relays forward
//! it unchanged, and neither signature nor hash is ever taken of something encoded anew.

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

/// The longest object, in bytes: what a sealed one may hold (specification §3).
pub const MAX_OBJECT: usize = 65_535 - crate::cipher::RECORD_OVERHEAD;

/// Why an object was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// A rule of the protocol is broken.
    #[error(transparent)]
    Code(#[from] ErrorCode),
    /// The gob stream cannot be read.
    #[error(transparent)]
    Gob(#[from] GobError),
}

impl ObjectError {
    /// The code of the protocol; an unreadable object is an invalid one.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Code(code) => *code,
            Self::Gob(_) => ErrorCode::InvalidObject,
        }
    }
}

/// One end of a stream: a key and a port, both valid in form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// Key of the client or server.
    pub key: PublicKey,
    /// Which service of theirs, or the dialler's ephemeral port; not 0.
    pub port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.key, self.port)
    }
}

impl RawAddress {
    /// Whether there is no key.
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

/// An object as it travels: signature ‖ gob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedObject(Vec<u8>);

impl SignedObject {
    /// Takes the bytes of an object; nothing but the length is checked.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidObject`] when there is nothing behind the signature, or more than
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

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The SHA-256 of the whole object, by which a response names its request.
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
