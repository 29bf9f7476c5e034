//! secp256k1 keys and recoverable signatures, accepted exactly as the Go network accepts them.
//!
//! A public key is 33 bytes, a compressed point with tag 2 or 3. [`PublicKey::from_bytes`]
//! checks the tag only; the curve equation costs some 6 µs and is checked by
//! [`PublicKey::check_curve`] when a key is used. A signature is 65 bytes,
//! r ‖ s ‖ recovery id, over a SHA-256 digest.

use core::fmt;
use core::str::FromStr;

use alloc::borrow::Cow;
use data_encoding::HEXLOWER;
use k256::ecdsa::{SigningKey, VerifyingKey};
use k256::elliptic_curve::sec1::ToSec1Point as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::id::{NodeId, Target};
use recover::recover;

mod recover;

/// Bytes in a compressed public key.
pub const PUBLIC_KEY_LEN: usize = 33;
/// Bytes in a secret key.
pub const SECRET_KEY_LEN: usize = 32;
/// Bytes in a recoverable signature.
pub const SIGNATURE_LEN: usize = 65;

/// Why bytes or text are not a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum KeyError {
    /// Not the right number of bytes or hexadecimal digits.
    #[error("wrong length or not hexadecimal")]
    Length,
    /// The first byte of a public key is neither 2 nor 3.
    #[error("public key tag is neither 2 nor 3")]
    Tag,
    /// The x coordinate is not below the field prime or has no point on the curve.
    #[error("not a point on secp256k1")]
    Curve,
    /// The secret scalar is zero or not below the group order.
    #[error("secret key is zero or not below the group order")]
    Scalar,
}

/// Why a signature was refused. The texts of the first three are those of the Go code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SignatureError {
    /// r or s out of range, or no point for r.
    #[error("Failed to recover pubkey from signature")]
    Recover,
    /// Signed by another key.
    #[error("Recovered pubkey does not match pubkey")]
    OtherKey,
    /// The top bit of s is set, the recovery id is above 3, or the digest is all zero.
    #[error("VerifySignatureRecoverPubKey, VerifySignatureValidity failed")]
    Form,
    /// The claimed key is not a point on the curve; Go fails to decode it.
    #[error("Invalid public key")]
    InvalidKey,
}

/// A compressed secp256k1 public key with tag 2 or 3. It need *not* be a point on the curve.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; PUBLIC_KEY_LEN]);

impl PublicKey {
    /// Reads a key and checks length and tag, the first of two steps.
    ///
    /// # Errors
    /// [`KeyError::Length`] or [`KeyError::Tag`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: [u8; PUBLIC_KEY_LEN] = bytes.try_into().map_err(|_| KeyError::Length)?;
        // k256 also takes SEC1's "compact" tag 5 at this length; Go does not.
        if bytes[0] != 2 && bytes[0] != 3 {
            return Err(KeyError::Tag);
        }
        Ok(Self(bytes))
    }

    /// Checks that x is below the field prime and on the curve, the second of two steps. Some 6 µs.
    ///
    /// # Errors
    /// [`KeyError::Curve`].
    pub fn check_curve(&self) -> Result<(), KeyError> {
        self.point().map(drop)
    }

    /// The 33 bytes: tag ‖ x, big-endian.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_KEY_LEN] {
        &self.0
    }

    /// The node id of this key.
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId::of(self)
    }

    fn point(&self) -> Result<k256::PublicKey, KeyError> {
        k256::PublicKey::from_sec1_bytes(&self.0).map_err(|_| KeyError::Curve)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;
    /// Parses 66 hexadecimal digits and checks the curve too, since text comes from people.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes: [u8; PUBLIC_KEY_LEN] = parse_hex(text.as_bytes()).ok_or(KeyError::Length)?;
        let key = Self::from_bytes(&bytes)?;
        key.check_curve()?;
        Ok(key)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    /// Checks what [`PublicKey::from_bytes`] checks. The curve is not checked, so that a journal
    /// may contain the invalid keys that peers sent.
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(d)?;
        let bytes: [u8; PUBLIC_KEY_LEN] =
            parse_hex(text.as_bytes()).ok_or_else(|| serde::de::Error::custom(KeyError::Length))?;
        Self::from_bytes(&bytes).map_err(serde::de::Error::custom)
    }
}

/// A recoverable signature: r (32) ‖ s (32) ‖ recovery id (1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; SIGNATURE_LEN]);

impl Signature {
    /// Wraps 65 raw bytes. Nothing is checked until [`PublicKey::verify`].
    #[must_use]
    pub const fn from_bytes(bytes: [u8; SIGNATURE_LEN]) -> Self {
        Self(bytes)
    }

    /// The 65 raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; SIGNATURE_LEN] {
        &self.0
    }
}

impl Default for Signature {
    fn default() -> Self {
        Self([0; SIGNATURE_LEN])
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

impl FromStr for Signature {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        parse_hex(text.as_bytes()).map(Self).ok_or(KeyError::Length)
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        deserialize_text(d)
    }
}

/// A secret scalar, zeroised on drop and never printed or serialised.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Reads 32 big-endian bytes.
    ///
    /// # Errors
    /// [`KeyError::Length`], or [`KeyError::Scalar`] for zero and for values not below the order.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() != SECRET_KEY_LEN {
            return Err(KeyError::Length);
        }
        SigningKey::from_slice(bytes)
            .map(Self)
            .map_err(|_| KeyError::Scalar)
    }

    /// Makes a key from caller-provided entropy: the first usable SHA-256 of entropy ‖ counter.
    #[must_use]
    pub fn from_entropy(entropy: &[u8; 32]) -> Self {
        let mut counter = 0u32;
        loop {
            let mut hash = Sha256::new();
            hash.update(entropy);
            hash.update(counter.to_be_bytes());
            let scalar = Zeroizing::new(<[u8; 32]>::from(hash.finalize()));
            if let Ok(key) = Self::from_bytes(&*scalar) {
                return key;
            }
            counter += 1; // needed with a probability of 2^-128
        }
    }

    /// The 32 big-endian bytes, for the key file.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; SECRET_KEY_LEN]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        compress(self.0.verifying_key())
    }

    /// Signs a SHA-256 digest by RFC 6979, so that a signature is a pure function, with low s.
    #[must_use]
    pub fn sign(&self, digest: &[u8; 32]) -> Signature {
        let mut out = [0; SIGNATURE_LEN];
        let (signature, recovery) = self.0.sign_prehash_recoverable(digest);
        out[..64].copy_from_slice(&signature.to_bytes());
        out[64] = recovery.to_byte();
        Signature(out)
    }

    /// Computes a Diffie-Hellman secret as DMSG does: SHA-256 of the shared point, compressed to 33
    /// bytes.
    ///
    /// # Errors
    /// [`KeyError::Curve`] if `other` is not a point on the curve.
    pub fn diffie_hellman(&self, other: &PublicKey) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let point = other.point()?;
        let shared = point.to_projective() * **self.0.as_nonzero_scalar();
        let bytes = Zeroizing::new(
            <[u8; PUBLIC_KEY_LEN]>::try_from(shared.to_affine().to_sec1_point(true).as_bytes())
                .map_err(|_| KeyError::Curve)?,
        );
        Ok(Zeroizing::new(Sha256::digest(*bytes).into()))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

impl PublicKey {
    /// Checks that this key signed `digest`, exactly as Go does: recover, compare, then check the
    /// form. Some 58 µs, or 55 % of that with the feature `libsecp256k1`.
    ///
    /// # Errors
    /// The error that Go would report, in Go's order.
    pub fn verify(&self, digest: &[u8; 32], signature: &Signature) -> Result<(), SignatureError> {
        // Go decodes the key before it looks at the signature.
        self.check_signature(digest, signature)
            .map_err(|error| match self.check_curve() {
                Ok(()) => error,
                Err(_) => SignatureError::InvalidKey,
            })
    }

    fn check_signature(
        &self,
        digest: &[u8; 32],
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        let (rs, id) = signature.0.split_at(64);
        // Go uses only the low two bits to recover and refuses higher ones afterwards.
        let signer = recover(digest, rs, id[0] & 3).ok_or(SignatureError::Recover)?;
        if signer != self.0 {
            return Err(SignatureError::OtherKey);
        }
        if rs[32] & 0x80 != 0 || id[0] > 3 || digest.iter().all(|b| *b == 0) {
            return Err(SignatureError::Form);
        }
        Ok(())
    }
}

fn compress(key: &VerifyingKey) -> PublicKey {
    let mut out = [0; PUBLIC_KEY_LEN];
    out.copy_from_slice(key.to_sec1_point(true).as_bytes());
    PublicKey(out)
}

pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    write!(f, "{}", HEXLOWER.encode_display(bytes))
}

/// Parses exactly `2 * N` hexadecimal digits of either case.
pub(crate) fn parse_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    data_encoding::HEXLOWER_PERMISSIVE
        .decode_mut(text, &mut out)
        .ok()?;
    Some(out)
}

pub(crate) fn deserialize_text<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    Cow::<str>::deserialize(d)?
        .parse()
        .map_err(serde::de::Error::custom)
}

impl NodeId {
    /// The node id of `key`.
    #[must_use]
    pub fn of(key: &PublicKey) -> Self {
        Self::from_bytes(Sha256::digest(key.as_bytes()).into())
    }
}

impl Target {
    /// The target of the item that `key` signs under `salt`.
    #[must_use]
    pub fn of(key: &PublicKey, salt: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(key.as_bytes());
        hash.update(salt);
        Self::from_bytes(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_bytes(&[byte; 32]).unwrap()
    }

    #[test]
    fn compact_tag_5_is_refused() {
        let mut bytes = *key(7).public().as_bytes();
        bytes[0] = 5;
        assert_eq!(PublicKey::from_bytes(&bytes), Err(KeyError::Tag));
    }

    #[test]
    fn curve_is_the_second_step() {
        let mut bytes = [0xff; 33];
        bytes[0] = 2;
        let beyond_the_prime = PublicKey::from_bytes(&bytes).unwrap();
        assert_eq!(beyond_the_prime.check_curve(), Err(KeyError::Curve));
        assert_eq!(
            key(1).diffie_hellman(&beyond_the_prime).err(),
            Some(KeyError::Curve)
        );
    }

    #[test]
    fn high_s_with_flipped_parity_recovers_but_is_refused_by_its_top_bit() {
        let digest = [9; 32];
        let signature = key(3).sign(&digest);
        assert_eq!(key(3).public().verify(&digest, &signature), Ok(()));
        let parsed = k256::ecdsa::Signature::from_slice(&signature.0[..64]).unwrap();
        let (r, s) = parsed.split_scalars();
        let high = k256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
        let mut bytes = signature.0;
        bytes[..64].copy_from_slice(&high.to_bytes());
        bytes[64] ^= 1;
        assert_eq!(
            key(3).public().verify(&digest, &Signature(bytes)),
            Err(SignatureError::Form)
        );
    }

    #[test]
    fn other_keys_and_recovery_ids_above_three_are_refused() {
        let digest = [9; 32];
        let mut signature = key(3).sign(&digest);
        assert_eq!(
            key(4).public().verify(&digest, &signature),
            Err(SignatureError::OtherKey)
        );
        signature.0[64] |= 4;
        assert_eq!(
            key(3).public().verify(&digest, &signature),
            Err(SignatureError::Form)
        );
    }

    #[test]
    fn an_impossible_key_is_named_whatever_the_signature() {
        let mut bytes = [0xff; 33];
        bytes[0] = 2;
        let impossible = PublicKey::from_bytes(&bytes).unwrap();
        for signature in [Signature::default(), key(3).sign(&[9; 32])] {
            let verdict = impossible.verify(&[9; 32], &signature);
            assert_eq!(verdict, Err(SignatureError::InvalidKey));
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = key(0x42);
        let text = format!("{secret:?}");
        assert!(!text.contains("4242424242"), "{text}");
    }

    #[test]
    fn scalars_out_of_range_are_refused() {
        assert_eq!(
            SecretKey::from_bytes(&[0; 32]).err(),
            Some(KeyError::Scalar)
        );
        assert_eq!(
            SecretKey::from_bytes(&[0xff; 32]).err(),
            Some(KeyError::Scalar)
        );
        assert_eq!(
            SecretKey::from_bytes(&[1; 31]).err(),
            Some(KeyError::Length)
        );
    }
}
