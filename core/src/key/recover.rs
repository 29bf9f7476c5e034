//! Recovery of the signer's key from a recoverable signature, by k256 or, with the feature
//! `libsecp256k1`, by that library. Both accept the same signatures, including high s.

/// A compressed point.
type Point = [u8; 33];

/// Recovers with k256. Some 58 µs.
#[cfg(any(test, not(feature = "libsecp256k1")))]
fn by_k256(digest: &[u8; 32], rs: &[u8], id: u8) -> Option<Point> {
    use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};

    let id = RecoveryId::from_byte(id)?;
    let signature = Signature::from_slice(rs).ok()?;
    let key = VerifyingKey::recover_from_prehash(digest, &signature, id);
    let point = key.ok()?.to_sec1_point(true);
    point.as_bytes().try_into().ok()
}

/// Recovers with libsecp256k1, in some 55 % of the time.
#[cfg(feature = "libsecp256k1")]
fn by_libsecp256k1(digest: &[u8; 32], rs: &[u8], id: u8) -> Option<Point> {
    use secp256k1::Message;
    use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};

    let id = RecoveryId::try_from(i32::from(id)).ok()?;
    let signature = RecoverableSignature::from_compact(rs, id).ok()?;
    let key = signature.recover(Message::from_digest(*digest)).ok()?;
    Some(key.serialize())
}

/// Returns the key for which r and s (64 bytes) and a recovery id below 4 sign `digest`; `None` if
/// r or s is out of range, or r is not a point.
pub(super) fn recover(digest: &[u8; 32], rs: &[u8], id: u8) -> Option<Point> {
    #[cfg(not(feature = "libsecp256k1"))]
    let key = by_k256(digest, rs, id);
    #[cfg(feature = "libsecp256k1")]
    let key = by_libsecp256k1(digest, rs, id);
    key
}

#[cfg(all(test, feature = "libsecp256k1"))]
mod tests;
