//! A server's announcement: the first object on a link between two servers.

use skydht_core::key::{PUBLIC_KEY_LEN, PublicKey, SecretKey};

use super::{ErrorCode, ObjectError, PeerAnnounce, SignedObject};
use crate::gob::{self, FIRST_TYPE, GobError};

impl PeerAnnounce {
    /// Decodes a gob stream. Another struct decodes to an announcement without a source.
    ///
    /// # Errors
    /// [`GobError`].
    pub fn from_gob(gob: &[u8]) -> Result<Self, GobError> {
        gob::read_announce(gob)
    }

    /// Encodes it as Go does.
    #[must_use]
    pub fn to_gob(&self) -> Vec<u8> {
        self.to_gob_numbered(FIRST_TYPE)
    }

    /// Encodes it like a Go process whose type ids start at `first_type`: at least 64, depending on
    /// what the process encoded before.
    #[must_use]
    pub fn to_gob_numbered(&self, first_type: u32) -> Vec<u8> {
        gob::write_announce(self, first_type)
    }

    /// Encodes and signs it.
    #[must_use]
    pub fn sign(&self, source: &SecretKey) -> SignedObject {
        SignedObject::sign(&self.to_gob(), source)
    }
}

impl SignedObject {
    /// Verifies the announcement of the server `remote`. Returns `None` for any other object, which
    /// is a request (specification of DMSG in 2026, §2.3).
    ///
    /// # Errors
    /// [`ErrorCode::RequestSourceKey`] if it names another server, [`ErrorCode::RequestSignature`]
    /// if `remote` did not sign it.
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
