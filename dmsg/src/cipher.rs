//! Transport records, which follow a handshake.
//!
//! A record is the nonce (u64, big-endian) ‖ ciphertext ‖ tag (16). Each direction counts from 1;
//! there is no associated data and no rekeying.

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Tag};

use crate::noise::{TAG_LEN, nonce};

/// Length of the nonce that precedes a record, in bytes.
pub const NONCE_LEN: usize = 8;
/// How much longer a record is than its plaintext, in bytes.
pub const RECORD_OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// Why a record was refused, or could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CipherError {
    /// The record is shorter than its nonce.
    #[error("record shorter than its nonce")]
    TooShort,
    /// The nonce is not above the last accepted one, or was accepted before within the window.
    #[error("record nonce {nonce} is not above {last}")]
    Replay {
        /// The record's nonce.
        nonce: u64,
        /// The last accepted nonce; with a window, the highest.
        last: u64,
    },
    /// The tag does not match: forged, damaged, or sealed with another key.
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
    /// Creates the sealer; its first record has nonce 1.
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

    /// Turns `out[start..]`, [`NONCE_LEN`] reserved bytes and the plaintext, into a record.
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
    /// Creates the opener; its first record may have any nonce above 0.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            cipher: ChaCha20Poly1305::new(key.into()),
            last: 0,
        }
    }

    /// Returns the nonce of the last accepted record; 0 before the first.
    #[must_use]
    pub fn last_nonce(&self) -> u64 {
        self.last
    }

    /// Decrypts a record in place and returns its plaintext. Nonces must rise; gaps are accepted.
    /// Unlike in Go, a refused record does not advance the counter, so a forger cannot make the
    /// next valid record look like a replay.
    ///
    /// # Errors
    /// [`CipherError`]; the contents of `record` are then undefined.
    pub fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<&'a mut [u8], CipherError> {
        let (counter, sealed) = split_nonce(record)?;
        if counter <= self.last {
            return Err(CipherError::Replay {
                nonce: counter,
                last: self.last,
            });
        }
        let body = open_sealed(&self.cipher, counter, sealed)?;
        self.last = counter;
        Ok(body)
    }

    /// Converts the opener for records that may arrive out of order.
    #[must_use]
    pub fn into_window(self) -> WindowOpener {
        WindowOpener {
            cipher: self.cipher,
            window: Window::default(),
        }
    }
}

/// Splits the nonce off a record.
fn split_nonce(record: &mut [u8]) -> Result<(u64, &mut [u8]), CipherError> {
    let (counter, sealed) = record
        .split_first_chunk_mut::<NONCE_LEN>()
        .ok_or(CipherError::TooShort)?;
    Ok((u64::from_be_bytes(*counter), sealed))
}

fn open_sealed<'a>(
    cipher: &ChaCha20Poly1305,
    counter: u64,
    sealed: &'a mut [u8],
) -> Result<&'a mut [u8], CipherError> {
    let (body, tag) = sealed
        .split_last_chunk_mut::<TAG_LEN>()
        .ok_or(CipherError::Forged)?;
    cipher
        .decrypt_inout_detached(&nonce(counter), &[], (&mut *body).into(), &Tag::from(*tag))
        .map_err(|_| CipherError::Forged)?;
    Ok(body)
}

/// The receiving direction for records that may arrive out of order, as a session's objects do on
/// their streams: each nonce is accepted once, and none that is [`REPLAY_WINDOW`] or more below the
/// highest (specification of DMSG, §2). The key is zeroised on drop.
pub struct WindowOpener {
    cipher: ChaCha20Poly1305,
    window: Window,
}

impl WindowOpener {
    /// Decrypts a record in place and returns its plaintext. A refused record does not move the
    /// window.
    ///
    /// # Errors
    /// [`CipherError`]; the contents of `record` are then undefined.
    pub fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<&'a mut [u8], CipherError> {
        let (counter, sealed) = split_nonce(record)?;
        if !self.window.is_new(counter) {
            return Err(CipherError::Replay {
                nonce: counter,
                last: self.window.highest,
            });
        }
        let body = open_sealed(&self.cipher, counter, sealed)?;
        self.window.note(counter);
        Ok(body)
    }
}

/// Number of nonces, up to the highest accepted one, among which records may arrive out of order.
pub const REPLAY_WINDOW: u64 = 1024;
#[allow(clippy::cast_possible_truncation, reason = "a constant that fits")]
const WORDS: usize = REPLAY_WINDOW as usize / 64;

/// The accepted nonces of the window, as a ring of bits.
#[derive(Default)]
struct Window {
    highest: u64,
    seen: [u64; WORDS],
}

impl Window {
    fn bit(counter: u64) -> (usize, u64) {
        let place = (counter % REPLAY_WINDOW) as usize;
        (place / 64, 1 << (place % 64))
    }

    fn is_new(&self, counter: u64) -> bool {
        if counter > self.highest {
            return true;
        }
        let (word, bit) = Self::bit(counter);
        counter != 0 && self.highest - counter < REPLAY_WINDOW && self.seen[word] & bit == 0
    }

    fn note(&mut self, counter: u64) {
        if counter > self.highest {
            if counter - self.highest >= REPLAY_WINDOW {
                self.seen = [0; WORDS];
            } else {
                for passed in self.highest + 1..counter {
                    let (word, bit) = Self::bit(passed);
                    self.seen[word] &= !bit;
                }
            }
            self.highest = counter;
        }
        let (word, bit) = Self::bit(counter);
        self.seen[word] |= bit;
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
    fn in_a_window_records_may_overtake_each_other_but_not_repeat() {
        let (records, opener) = records(1100);
        let mut opener = opener.into_window();
        let mut open = |nonce: usize| opener.open(&mut records[nonce - 1].clone()).map(drop);
        let replay = |nonce, last| Err(CipherError::Replay { nonce, last });
        assert_eq!(open(5), Ok(()));
        assert_eq!(open(2), Ok(()));
        assert_eq!(open(2), replay(2, 5));
        assert_eq!(open(5), replay(5, 5));
        assert_eq!(open(1028), Ok(()));
        assert_eq!(open(4), replay(4, 1028)); // 1024 behind
        assert_eq!(open(6), Ok(())); // 1022 behind
        assert_eq!(open(6), replay(6, 1028));
        assert_eq!(open(1027), Ok(()));
        assert_eq!(open(1100), Ok(()));
        assert_eq!(open(1028), replay(1028, 1100));
        assert_eq!(open(1029), Ok(()));
        let mut zero = records[0].clone();
        zero[..NONCE_LEN].fill(0);
        assert_eq!(opener.open(&mut zero).map(drop), replay(0, 1100));
        let mut forged = records[1049].clone();
        forged[0] = 0x7f;
        assert_eq!(opener.open(&mut forged), Err(CipherError::Forged));
        assert!(opener.open(&mut records[1049].clone()).is_ok());
    }

    #[test]
    fn a_window_remembers_exactly_the_last_1024() {
        let mut window = Window::default();
        let mut seen = std::collections::BTreeSet::new();
        let mut random = 1u64;
        let mut base = 0;
        for _ in 0..50_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            base += random >> 61; // up to 7
            if random >> 52 & 0xff == 0 {
                base += 1500;
            }
            let counter = base + (random >> 40) % 2000;
            let highest = seen.last().copied().unwrap_or(0);
            let new = counter != 0
                && !seen.contains(&counter)
                && (counter > highest || highest - counter < REPLAY_WINDOW);
            assert_eq!(window.is_new(counter), new, "{counter} after {highest}");
            if new {
                window.note(counter);
                seen.insert(counter);
            }
        }
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
