//! A server's announcement: the first object on a link between two servers.

use skydht_core::key::{PUBLIC_KEY_LEN, PublicKey, SecretKey};

use super::{ErrorCode, ObjectError, PeerAnnounce, SignedObject};
use crate::gob::{self, FIRST_TYPE, GobError};

impl PeerAnnounce {
    /// Reads a gob stream. One of another struct's reads as an announcement without a source.
    ///
    /// # Errors
    /// [`GobError`].
    pub fn from_gob(gob: &[u8]) -> Result<Self, GobError> {
        gob::read_announce(gob)
    }

    /// Writes it as Go does.
    #[must_use]
    pub fn to_gob(&self) -> Vec<u8> {
        self.to_gob_numbered(FIRST_TYPE)
    }

    /// Writes it as a Go process does that numbers its types from `first_type` on: at least 64,
    /// by what the process encoded before.
    #[must_use]
    pub fn to_gob_numbered(&self, first_type: u32) -> Vec<u8> {
        gob::write_announce(self, first_type)
    }

    /// Makes the object.
    #[must_use]
    pub fn sign(&self, source: &SecretKey) -> SignedObject {
        SignedObject::sign(&self.to_gob(), source)
    }
}

impl SignedObject {
    /// Checks whether it is the announcement of the server `remote`. `None` for an object that
    /// announces no peer: then it is a request (specification of DMSG in 2026, §2.3).
    ///
    /// # Errors
    /// [`ErrorCode::RequestSourceKey`] for one in another server's name,
    /// [`ErrorCode::RequestSignature`] for one that `remote` did not sign.
    pub fn verify_announce(&self, remote: &PublicKey) -> Result<Option<PeerAnnounce>, ObjectError> {
        let announce = match PeerAnnounce::from_gob(self.gob()) {
            Ok(announce) if announce.source != [0; PUBLIC_KEY_LEN] => announce,
            _ => return Ok(None),
        };
        if announce.source != *remote.as_bytes() {
            return Err(ErrorCode::RequestSourceKey.into());
        }
        if !self.is_signed_by(remote) {
            return Err(ErrorCode::RequestSignature.into());
        }
        Ok(Some(announce))
    }
}
