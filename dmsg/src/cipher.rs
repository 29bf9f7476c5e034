//! Transport records: what follows a handshake.
//!
//! A record is the nonce (u64, big-endian) ‖ ciphertext ‖ tag (16). Each direction counts from 1;
//! there is no associated data and no rekeying.

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Tag};

use crate::noise::{TAG_LEN, nonce};

/// Bytes of the nonce in front of a record.
pub const NONCE_LEN: usize = 8;
/// Bytes that a record is longer than its plaintext.
pub const RECORD_OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// Why a record was refused, or could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CipherError {
    /// Shorter than its nonce.
    #[error("record shorter than its nonce")]
    TooShort,
    /// The nonce is not above the last one that was accepted.
    #[error("record nonce {nonce} is not above {last}")]
    Replay {
        /// The record's nonce.
        nonce: u64,
        /// The last accepted one.
        last: u64,
    },
    /// The tag does not fit: forged, damaged, or sealed with another key.
    #[error("record failed authentication")]
    Forged,
    /// All nonces are used up.
    #[error("record nonces exhausted")]
    Exhausted,
}

/// The sending direction. The key is zeroised on drop.
pub struct Sealer {
    cipher: ChaCha20Poly1305,
    last: u64,
}

impl Sealer {
    /// Starts a direction; the first record has nonce 1.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            cipher: ChaCha20Poly1305::new(key.into()),
            last: 0,
        }
    }

    /// Appends the record of `plaintext` to `out`.
    ///
    /// # Errors
    /// [`CipherError::Exhausted`] after 2^64 − 2 records; `out` is then unchanged.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), CipherError> {
        let start = out.len();
        out.extend_from_slice(&[0; NONCE_LEN]);
        out.extend_from_slice(plaintext);
        self.seal_in_place(out, start)
            .inspect_err(|_| out.truncate(start))
    }

    /// Turns `out[start..]`, which is [`NONCE_LEN`] spare bytes and the plaintext, into a record.
    pub(crate) fn seal_in_place(
        &mut self,
        out: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), CipherError> {
        let counter = self
            .last
            .checked_add(1)
            .filter(|n| *n != u64::MAX) // reserved by the Noise document
            .ok_or(CipherError::Exhausted)?;
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce(counter), &[], (&mut out[start + NONCE_LEN..]).into())
            .map_err(|_| CipherError::Exhausted)?;
        out[start..start + NONCE_LEN].copy_from_slice(&counter.to_be_bytes());
        out.extend_from_slice(&tag);
        self.last = counter;
        Ok(())
    }
}

/// The receiving direction. The key is zeroised on drop.
pub struct Opener {
    cipher: ChaCha20Poly1305,
    last: u64,
}

impl Opener {
    /// Starts a direction; any nonce above 0 is fine at first.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            cipher: ChaCha20Poly1305::new(key.into()),
            last: 0,
        }
    }

    /// Decrypts a record in place and returns its plaintext. Nonces must rise; gaps are accepted.
    /// Unlike Go's, a record that is refused does not move the counter, so a forger cannot make
    /// the next good record look like a replay.
    ///
    /// # Errors
    /// [`CipherError`]; the contents of `record` are then undefined.
    pub fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<&'a mut [u8], CipherError> {
        let (counter, sealed) = record
            .split_first_chunk_mut::<NONCE_LEN>()
            .ok_or(CipherError::TooShort)?;
        let counter = u64::from_be_bytes(*counter);
        if counter <= self.last {
            return Err(CipherError::Replay {
                nonce: counter,
                last: self.last,
            });
        }
        let (body, tag) = sealed
            .split_last_chunk_mut::<TAG_LEN>()
            .ok_or(CipherError::Forged)?;
        self.cipher
            .decrypt_inout_detached(&nonce(counter), &[], (&mut *body).into(), &Tag::from(*tag))
            .map_err(|_| CipherError::Forged)?;
        self.last = counter;
        Ok(body)
    }
}
