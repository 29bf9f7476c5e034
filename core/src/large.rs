//! Large records: values above the size of one item, split into numbered chunks.
//!
//! There are two forms. The first has a manifest at the record's salt, with the hashes of its
//! chunks. The chunks of a version are under salts that the previous version does not use, and the
//! manifest, put last, switches between the versions: a reader sees one version or the other, never
//! a mix. The second form, lists as upstream's programs keep them ([`list`]), has no manifest.
//!
//! # A manifest
//!
//! Integers big-endian:
//!
//! | Bytes | Field |
//! |---|---|
//! | 16 | `\0skydht-large-1\n` |
//! | 8 | generation: 1, and one more with each version |
//! | 8 | length of the whole, at most [`MAX_LARGE`] |
//! | 1 | slot: 0 or 1, in turn |
//! | 2 | chunks that the version before has in the other slot |
//! | 32 × n | SHA-256 of each chunk; all but the last have [`MAX_VALUE_LEN`] bytes |
//!
//! Chunk n lies at the salt of the record, `/`, the slot, `/`, and n in decimal digits.

pub mod list;

use alloc::format;
use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use crate::item::{MAX_SALT_LEN, MAX_VALUE_LEN, Salt};

/// Maximum length of a large record, in bytes.
pub const MAX_LARGE: usize = 16 << 20;
/// Maximum number of chunks of a large record.
pub const MAX_CHUNKS: usize = MAX_LARGE.div_ceil(MAX_VALUE_LEN);
/// Maximum length of the salt of a large record: a chunk's number must fit after it.
pub const MAX_LARGE_SALT: usize = MAX_SALT_LEN - "/0/255".len();

const MAGIC: &[u8; 16] = b"\0skydht-large-1\n";
const HEAD: usize = 16 + 8 + 8 + 1 + 2;
const HASH: usize = 32;

/// The manifest of a large record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    generation: u64,
    length: u64,
    slot: u8,
    /// Number of chunks of the previous version, in the other slot.
    before: u16,
    hashes: Vec<[u8; HASH]>,
}

/// A value that begins like a manifest is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the manifest of the large record is damaged: have it put again")]
pub struct ManifestError;

/// The next version of a large record, while its chunks are added.
#[derive(Clone, Debug)]
pub struct Draft {
    manifest: Manifest,
    /// Number of chunks that an older version left in this slot.
    stale: u16,
}

/// A large record exceeds [`MAX_LARGE`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a large record has at most {MAX_LARGE} bytes")]
pub struct TooLarge;

impl Draft {
    /// Creates the version after `current`, or the first version.
    #[must_use]
    pub fn after(current: Option<&Manifest>) -> Self {
        let chunks = |manifest: &Manifest| u16::try_from(manifest.hashes.len()).unwrap_or(u16::MAX);
        Self {
            manifest: Manifest {
                generation: current.map_or(1, |current| current.generation.saturating_add(1)),
                length: 0,
                slot: current.map_or(0, |current| 1 - current.slot),
                before: current.map_or(0, chunks),
                hashes: Vec::new(),
            },
            stale: current.map_or(0, |current| current.before),
        }
    }

    /// Adds a chunk and returns its number. All but the last must have [`MAX_VALUE_LEN`] bytes, and
    /// none may be empty.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn push(&mut self, chunk: &[u8]) -> Result<u16, TooLarge> {
        let manifest = &mut self.manifest;
        let n = manifest.hashes.len();
        let whole = manifest.length == (n * MAX_VALUE_LEN) as u64;
        if n >= MAX_CHUNKS || !whole || chunk.is_empty() || chunk.len() > MAX_VALUE_LEN {
            return Err(TooLarge);
        }
        manifest.hashes.push(Sha256::digest(chunk).into());
        manifest.length += chunk.len() as u64;
        u16::try_from(n).map_err(|_| TooLarge)
    }

    /// The salt of chunk `n`.
    #[must_use]
    pub fn salt(&self, record: &Salt, n: u16) -> Salt {
        self.manifest.salt(record, n)
    }

    /// Returns the manifest, to be put after all chunks, and the salts of chunks left by an older
    /// version, to be deleted after that.
    #[must_use]
    pub fn finish(self, record: &Salt) -> (Manifest, Vec<Salt>) {
        let Self { manifest, stale } = self;
        let first = u16::try_from(manifest.hashes.len()).unwrap_or(u16::MAX);
        let left = (first..stale).map(|n| manifest.salt(record, n)).collect();
        (manifest, left)
    }
}

impl Manifest {
    /// The generation: 1 for the first version, one more with each.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Length of the record in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Number of chunks.
    #[must_use]
    pub fn chunks(&self) -> u16 {
        u16::try_from(self.hashes.len()).unwrap_or(u16::MAX)
    }

    /// The salt of chunk `n`.
    #[must_use]
    pub fn salt(&self, record: &Salt, n: u16) -> Salt {
        let mut salt = record.as_bytes().to_vec();
        salt.extend_from_slice(format!("/{}/{n}", self.slot).as_bytes());
        Salt::new(&salt)
    }

    /// Every salt under which this version or the previous one has a chunk.
    pub fn salts(&self, record: &Salt) -> impl Iterator<Item = Salt> {
        let other = Self {
            slot: 1 - self.slot,
            hashes: Vec::new(),
            ..*self
        };
        let ours = (0..self.chunks()).map(|n| self.salt(record, n));
        ours.chain((0..self.before).map(move |n| other.salt(record, n)))
    }

    /// Whether `chunk` is chunk `n` of this version.
    #[must_use]
    pub fn is_chunk(&self, n: u16, chunk: &[u8]) -> bool {
        self.hashes
            .get(usize::from(n))
            .is_some_and(|hash| *hash == <[u8; HASH]>::from(Sha256::digest(chunk)))
    }

    /// Encodes the manifest.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.hashes.len() * HASH);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.length.to_be_bytes());
        bytes.push(self.slot);
        bytes.extend_from_slice(&self.before.to_be_bytes());
        bytes.extend(self.hashes.iter().flatten());
        bytes
    }

    /// Decodes a value; `None` if it is not a manifest.
    ///
    /// # Errors
    /// The value begins like a manifest but is invalid.
    pub fn decode(value: &[u8]) -> Result<Option<Self>, ManifestError> {
        let Some(rest) = value.strip_prefix(MAGIC) else {
            return Ok(None);
        };
        Self::read(rest).map(Some).ok_or(ManifestError)
    }

    fn read(rest: &[u8]) -> Option<Self> {
        let (generation, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let ([slot], rest) = rest.split_first_chunk()?;
        let (before, rest) = rest.split_first_chunk()?;
        let (hashes, left) = rest.as_chunks::<HASH>();
        let length = u64::from_be_bytes(*length);
        let before = u16::from_be_bytes(*before);
        let chunks = length.div_ceil(MAX_VALUE_LEN as u64);
        let possible = length <= MAX_LARGE as u64
            && *slot <= 1
            && usize::from(before) <= MAX_CHUNKS
            && left.is_empty()
            && chunks == hashes.len() as u64;
        possible.then(|| Self {
            generation: u64::from_be_bytes(*generation),
            length,
            slot: *slot,
            before,
            hashes: hashes.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use quickcheck::quickcheck;

    fn version(before: Option<&Manifest>, bytes: &[u8], record: &Salt) -> (Manifest, Vec<Salt>) {
        let mut draft = Draft::after(before);
        for (n, chunk) in (0..).zip(bytes.chunks(MAX_VALUE_LEN)) {
            assert_eq!(draft.push(chunk), Ok(n));
        }
        draft.finish(record)
    }

    #[test]
    fn versions_take_slots_in_turn_and_say_what_they_leave_behind() {
        let record = Salt::from("film");
        let bytes = vec![7; 3 * MAX_VALUE_LEN + 1];
        let (first, left) = version(None, &bytes, &record);
        assert_eq!((first.generation(), first.chunks(), left.len()), (1, 4, 0));
        assert_eq!(first.salt(&record, 3), Salt::from("film/0/3"));
        let (second, left) = version(Some(&first), b"short", &record);
        assert_eq!((second.slot, second.before, left.len()), (1, 4, 0));
        let all: Vec<Salt> = second.salts(&record).collect();
        let names = ["film/1/0", "film/0/0", "film/0/1", "film/0/2", "film/0/3"];
        assert_eq!(all, names.map(Salt::from));
        // The third version uses the slot of the first; chunks beyond its end are left over.
        let (third, left) = version(Some(&second), &bytes[..MAX_VALUE_LEN + 1], &record);
        assert_eq!((third.generation(), third.slot, third.before), (3, 0, 1));
        assert_eq!(left, ["film/0/2", "film/0/3"].map(Salt::from));
        assert!(third.is_chunk(1, &[7]) && !third.is_chunk(1, &[8]) && !third.is_chunk(2, &[7]));
    }

    #[test]
    fn the_largest_fits_into_one_manifest_and_no_more_is_taken() {
        let record = Salt::new(&[b's'; MAX_LARGE_SALT]);
        let mut draft = Draft::after(None);
        let chunk = vec![1; MAX_VALUE_LEN];
        for _ in 0..MAX_CHUNKS {
            draft.push(&chunk).unwrap();
        }
        assert_eq!(draft.push(&[1]), Err(TooLarge));
        let (manifest, _) = draft.finish(&record);
        assert_eq!(manifest.length(), MAX_LARGE as u64);
        assert!(manifest.encode().len() <= MAX_VALUE_LEN);
        let longest = manifest.salt(&record, manifest.chunks() - 1);
        assert_eq!(longest.as_bytes().len(), MAX_SALT_LEN);
        // A shorter chunk is the last one, and an empty one is refused.
        let mut draft = Draft::after(None);
        assert_eq!(draft.push(&[]), Err(TooLarge));
        draft.push(&[1]).unwrap();
        assert_eq!(draft.push(&[1]), Err(TooLarge));
    }

    #[test]
    fn ordinary_values_are_no_manifests() {
        for value in [&b""[..], b"hello", b"\0skydht-large-2\n", &MAGIC[..15]] {
            assert_eq!(Manifest::decode(value), Ok(None));
        }
        assert_eq!(Manifest::decode(MAGIC), Err(ManifestError));
    }

    quickcheck! {
        fn manifests_round_trip_and_damage_is_an_error(bytes: Vec<u8>, generation: u64, damage: Vec<(usize, u8)>) -> bool {
            let (mut manifest, _) = version(None, &bytes, &Salt::default());
            manifest.generation = generation;
            let mut encoded = manifest.encode();
            let whole = Manifest::decode(&encoded) == Ok(Some(manifest));
            let cut = Manifest::decode(&encoded[..encoded.len() - 1]);
            for (at, new) in damage {
                let at = at % encoded.len();
                encoded[at] = new;
            }
            let same = match Manifest::decode(&encoded) {
                Ok(Some(read)) => read.encode() == encoded,
                Ok(None) | Err(ManifestError) => true,
            };
            whole && cut.is_err() && same
        }
    }
}
