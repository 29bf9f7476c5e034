//! The request for a stream.

use skydht_core::key::SecretKey;

use super::{Address, ErrorCode, ObjectError, SignedObject, StreamRequest};
use crate::gob::{self, FIRST_TYPE, GobError};

impl StreamRequest {
    /// Decodes a gob stream.
    ///
    /// # Errors
    /// [`GobError`].
    pub fn from_gob(gob: &[u8]) -> Result<Self, GobError> {
        gob::read_request(gob)
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
        gob::write_request(self, first_type)
    }

    /// Encodes and signs it.
    #[must_use]
    pub fn sign(&self, source: &SecretKey) -> SignedObject {
        SignedObject::sign(&self.to_gob(), source)
    }
}

/// A request that passed all checks of [`SignedObject::verify_request`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedRequest {
    /// When it was made, in nanoseconds since the Unix epoch. Only known to be positive.
    pub timestamp: i64,
    /// The source, which has signed it.
    pub source: Address,
    /// The destination.
    pub destination: Address,
    /// Whether it asks for the source's public address.
    pub ip_info: bool,
    /// The first message of the KK handshake, not read yet.
    pub noise: Vec<u8>,
    /// The hash that the response must contain.
    pub hash: [u8; 32],
}

impl SignedObject {
    /// Verifies it as a request, in upstream's order (specification §5.3). Replays must be detected
    /// by the caller.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn verify_request(&self) -> Result<VerifiedRequest, ObjectError> {
        let request = StreamRequest::from_gob(self.gob())?;
        let (source, destination) = (request.source, request.destination);
        let check = |ok: bool, code| if ok { Ok(()) } else { Err(code) };
        check(!source.is_null(), ErrorCode::RequestSourceKey)?;
        check(source.port != 0, ErrorCode::RequestSourcePort)?;
        let destination_key = destination
            .public_key()
            .ok_or(ErrorCode::RequestDestinationKey)?;
        check(destination.port != 0, ErrorCode::RequestDestinationPort)?;
        check(request.timestamp > 0, ErrorCode::RequestTimestamp)?;
        // A key that is not on the curve cannot have signed anything.
        let source_key = source
            .public_key()
            .filter(|key| self.is_signed_by(key))
            .ok_or(ErrorCode::RequestSignature)?;
        Ok(VerifiedRequest {
            timestamp: request.timestamp,
            source: Address {
                key: source_key,
                port: source.port,
            },
            destination: Address {
                key: destination_key,
                port: destination.port,
            },
            ip_info: request.ip_info,
            noise: request.noise,
            hash: self.hash(),
        })
    }
}
