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

    /// The nonce of the last accepted record; 0 before the first.
    #[must_use]
    pub fn last_nonce(&self) -> u64 {
        self.last
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

#[cfg(test)]
mod tests {
    use super::*;

    fn records(n: usize) -> (Vec<Vec<u8>>, Opener) {
        let mut sealer = Sealer::new(&[7; 32]);
        let records = (0..n).map(|i| {
            let mut out = Vec::new();
            sealer.seal(&[i as u8; 3], &mut out).unwrap();
            out
        });
        (records.collect(), Opener::new(&[7; 32]))
    }

    #[test]
    fn nonces_start_at_one_and_gaps_are_accepted() {
        let (mut records, mut opener) = records(5);
        assert_eq!(records[0][..NONCE_LEN], 1u64.to_be_bytes());
        assert_eq!(records[0].len(), 3 + RECORD_OVERHEAD);
        assert_eq!(opener.open(&mut records[0]).unwrap(), [0; 3]);
        assert_eq!(opener.open(&mut records[4]).unwrap(), [4; 3]);
        assert_eq!(opener.last_nonce(), 5);
    }

    #[test]
    fn repeated_and_reordered_records_are_refused() {
        let (mut records, mut opener) = records(3);
        let mut again = records[1].clone();
        opener.open(&mut records[1]).unwrap();
        for stale in [&mut again, &mut records[0]] {
            let error = opener.open(stale).unwrap_err();
            assert!(matches!(error, CipherError::Replay { last: 2, .. }));
        }
        let mut zero = vec![0; 40];
        assert!(matches!(
            Opener::new(&[7; 32]).open(&mut zero),
            Err(CipherError::Replay { nonce: 0, last: 0 })
        ));
    }

    #[test]
    fn a_forged_record_does_not_move_the_counter() {
        let (mut records, mut opener) = records(2);
        let mut forged = records[1].clone();
        forged[0] = 0x7f; // a far nonce: Go's counter would jump to it
        assert_eq!(opener.open(&mut forged), Err(CipherError::Forged));
        assert_eq!(opener.last_nonce(), 0);
        opener.open(&mut records[0]).unwrap();
        opener.open(&mut records[1]).unwrap();
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let (records, _) = records(1);
        for bit in 0..records[0].len() * 8 {
            let mut record = records[0].clone();
            record[bit / 8] ^= 1 << (bit % 8);
            assert!(Opener::new(&[7; 32]).open(&mut record).is_err(), "{bit}");
        }
        for len in 0..records[0].len() {
            let mut record = records[0][..len].to_vec();
            let expected = match len {
                0..8 => CipherError::TooShort,
                _ => CipherError::Forged,
            };
            assert_eq!(Opener::new(&[7; 32]).open(&mut record), Err(expected));
        }
    }

    #[test]
    fn the_last_nonce_is_never_used() {
        let mut sealer = Sealer::new(&[7; 32]);
        sealer.last = u64::MAX - 2;
        let mut out = vec![1];
        sealer.seal(b"x", &mut out).unwrap();
        let len = out.len();
        assert_eq!(sealer.seal(b"x", &mut out), Err(CipherError::Exhausted));
        assert_eq!(out.len(), len);
    }
}
