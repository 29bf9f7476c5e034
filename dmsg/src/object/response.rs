//! The response to a request for a stream.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use skydht_core::key::{PublicKey, SecretKey};

use super::{ErrorCode, ObjectError, SignedObject, StreamResponse};
use crate::gob::{self, FIRST_TYPE, GobError};

impl StreamResponse {
    /// Creates a refusal.
    #[must_use]
    pub fn refusal(request_hash: [u8; 32], code: ErrorCode) -> Self {
        Self {
            request_hash,
            error_code: code.number(),
            ..Self::default()
        }
    }

    /// Creates the response to a request for the public address, in the form that upstream sends.
    #[must_use]
    pub fn of_ip(request_hash: [u8; 32], ip: IpAddr) -> Self {
        let octets = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        Self {
            request_hash,
            accepted: true,
            ip: octets.to_vec(),
            ..Self::default()
        }
    }

    /// Decodes a gob stream.
    ///
    /// # Errors
    /// [`GobError`].
    pub fn from_gob(gob: &[u8]) -> Result<Self, GobError> {
        gob::read_response(gob)
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
        gob::write_response(self, first_type)
    }

    /// Encodes and signs it.
    #[must_use]
    pub fn sign(&self, author: &SecretKey) -> SignedObject {
        SignedObject::sign(&self.to_gob(), author)
    }

    /// Returns the public address in it; accepts both forms of an IPv4 address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        if let Ok(v4) = <[u8; 4]>::try_from(&*self.ip) {
            return Some(Ipv4Addr::from(v4).into());
        }
        let v6 = <[u8; 16]>::try_from(&*self.ip).ok()?;
        Some(Ipv6Addr::from(v6).to_canonical())
    }

    /// Returns the reason of a refusal; `None` if it was accepted.
    #[must_use]
    pub fn refused(&self) -> Option<ErrorCode> {
        if self.accepted {
            return None;
        }
        Some(ErrorCode::from_number(self.error_code).unwrap_or(ErrorCode::NoReason))
    }
}

impl SignedObject {
    /// Verifies it as the response of `author` to the request with this hash (specification §5.3).
    /// A refusal is a valid response, too: see [`StreamResponse::refused`].
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn verify_response(
        &self,
        request_hash: &[u8; 32],
        author: &PublicKey,
    ) -> Result<StreamResponse, ObjectError> {
        let response = StreamResponse::from_gob(self.gob())?;
        if response.request_hash != *request_hash {
            return Err(ErrorCode::ResponseHash.into());
        }
        if !self.is_signed_by(author) {
            return Err(ErrorCode::ResponseSignature.into());
        }
        Ok(response)
    }
}
