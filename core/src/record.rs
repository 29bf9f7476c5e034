//! The stored record: an item with its lifetime, as storage keeps it.
//!
//! # Encoding
//!
//! Version 1, integers big-endian, nothing before, between or after:
//!
//! | Bytes | Field |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | flags: 1 it expires, 2 it has a bind signature, 4 the value is null; others are 0 |
//! | 32 | target |
//! | 33 | key |
//! | 8 | sequence |
//! | 65 | signature |
//! | 8 | vouched, Unix nanoseconds |
//! | 8, if flag 1 | expiry, Unix nanoseconds |
//! | 65, if flag 2 | bind signature |
//! | 2 + n | length of the salt, at most 200, and the salt |
//! | 4 + n | length of the value, at most 65536 and 0 if it is null, and the value |
//!
//! Each record has one encoding and each encoding one record. There is no checksum: storage that
//! can be damaged or tampered with adds its own authentication, and the item has its signature.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::id::{ID_LEN, Target};
use crate::item::{Item, MAX_SALT_LEN, MAX_VALUE_LEN, Salt, Seq, Value};
use crate::key::{PUBLIC_KEY_LEN, PublicKey, SIGNATURE_LEN, Signature};
use crate::time::Unix;

const VERSION: u8 = 1;
const EXPIRES: u8 = 1;
const BOUND: u8 = 2;
const NULL: u8 = 4;
const SALT_LEN_BYTES: usize = 2;
const VALUE_LEN_BYTES: usize = 4;

/// Maximum length of an encoded record, in bytes.
pub const MAX_RECORD_LEN: usize = 2
    + ID_LEN
    + PUBLIC_KEY_LEN
    + 3 * 8
    + 2 * SIGNATURE_LEN
    + SALT_LEN_BYTES
    + MAX_SALT_LEN
    + VALUE_LEN_BYTES
    + MAX_VALUE_LEN;

/// An item as storage keeps it: with its target and its lifetime.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredRecord {
    /// The target where it is stored; for a mirror not the item's own.
    pub target: Target,
    /// The item.
    pub item: Item,
    /// When its signer last vouched for it; before [`Unix::BUILD`] if unknown.
    pub vouched: Unix,
    /// When it expires; `None` for keys whose items never do. Before [`Unix::BUILD`] if the clock
    /// was not set.
    pub expires: Option<Unix>,
    /// The signer's signature over target and payload (the `bind` extension), if it came with the
    /// item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Signature>,
}

/// Bytes that are not a valid record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("stored record, byte {offset}: {what}")]
pub struct RecordError {
    /// Offset of the invalid field.
    pub offset: usize,
    /// What is wrong with it.
    pub what: RecordFault,
}

/// What is wrong with a field of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// The bytes end within a field.
    #[error("cut off")]
    Truncated,
    /// Written by a later version.
    #[error("version {0} is not known")]
    Version(u8),
    /// Flags that this version does not have, or that contradict the rest.
    #[error("flags {0:#04x} are not possible")]
    Flags(u8),
    /// The key's tag is neither 2 nor 3.
    #[error("not a public key")]
    Key,
    /// A salt or value longer than an item may have.
    #[error("length {0} is too large")]
    Length(u32),
    /// More bytes follow after the record.
    #[error("{0} more bytes follow")]
    Trailing(usize),
}

impl StoredRecord {
    /// Encodes the record. It decodes again if the item's sizes are within their limits.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "sizes within their limits")]
    pub fn encode(&self) -> Vec<u8> {
        let Item {
            key,
            seq,
            signature,
            value,
            salt,
        } = &self.item;
        let (value_bytes, salt) = (value.as_bytes(), salt.as_bytes());
        let mut out = Vec::with_capacity(MAX_RECORD_LEN - MAX_VALUE_LEN + value_bytes.len());
        out.push(VERSION);
        out.push(
            if self.expires.is_some() { EXPIRES } else { 0 }
                | if self.bound.is_some() { BOUND } else { 0 }
                | if value.is_null() { NULL } else { 0 },
        );
        out.extend_from_slice(self.target.as_bytes());
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(&seq.0.to_be_bytes());
        out.extend_from_slice(signature.as_bytes());
        out.extend_from_slice(&self.vouched.0.to_be_bytes());
        if let Some(expires) = self.expires {
            out.extend_from_slice(&expires.0.to_be_bytes());
        }
        if let Some(bound) = &self.bound {
            out.extend_from_slice(bound.as_bytes());
        }
        out.extend_from_slice(&(salt.len() as u16).to_be_bytes());
        out.extend_from_slice(salt);
        out.extend_from_slice(&(value_bytes.len() as u32).to_be_bytes());
        out.extend_from_slice(value_bytes);
        out
    }

    /// Decodes the output of [`StoredRecord::encode`]. The signature is not checked.
    ///
    /// # Errors
    /// The offset of the first invalid field, and what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader { bytes, offset: 0 };
        match reader.array()? {
            [VERSION] => {}
            [other] => return Err(reader.fault(1, RecordFault::Version(other))),
        }
        let [flags] = reader.array()?;
        if flags & !(EXPIRES | BOUND | NULL) != 0 {
            return Err(reader.fault(1, RecordFault::Flags(flags)));
        }
        let target = Target::from_bytes(reader.array()?);
        let key = reader.array::<PUBLIC_KEY_LEN>()?;
        let key = PublicKey::from_bytes(&key)
            .map_err(|_| reader.fault(PUBLIC_KEY_LEN, RecordFault::Key))?;
        let seq = Seq(reader.number()?);
        let signature = Signature::from_bytes(reader.array()?);
        let vouched = Unix(reader.number()?);
        let expires = match flags & EXPIRES {
            0 => None,
            _ => Some(Unix(reader.number()?)),
        };
        let bound = match flags & BOUND {
            0 => None,
            _ => Some(Signature::from_bytes(reader.array()?)),
        };
        let length = u16::from_be_bytes(reader.array::<SALT_LEN_BYTES>()?);
        let salt = reader.field(length.into(), MAX_SALT_LEN, SALT_LEN_BYTES)?;
        let salt = Salt::new(salt);
        let length = u32::from_be_bytes(reader.array::<VALUE_LEN_BYTES>()?);
        let value = reader.field(length, MAX_VALUE_LEN, VALUE_LEN_BYTES)?;
        let value = match (flags & NULL, value) {
            (0, value) => Value::new(value),
            (_, []) => Value::null(),
            _ => {
                let (offset, what) = (1, RecordFault::Flags(flags));
                return Err(RecordError { offset, what });
            }
        };
        match reader.bytes.len() {
            0 => Ok(Self {
                target,
                item: Item {
                    key,
                    seq,
                    signature,
                    value,
                    salt,
                },
                vouched,
                expires,
                bound,
            }),
            more => Err(reader.fault(0, RecordFault::Trailing(more))),
        }
    }
}

/// The bytes that have not been read, and the number that have.
struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let Some((head, rest)) = self.bytes.split_first_chunk() else {
            return Err(self.fault(0, RecordFault::Truncated));
        };
        self.bytes = rest;
        self.offset += N;
        Ok(*head)
    }

    fn number(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Reads a field whose length was just read from `prefix` bytes.
    fn field(&mut self, length: u32, max: usize, prefix: usize) -> Result<&'a [u8], RecordError> {
        let n = length as usize;
        if n > max {
            return Err(self.fault(prefix, RecordFault::Length(length)));
        }
        let Some((head, rest)) = self.bytes.split_at_checked(n) else {
            return Err(self.fault(0, RecordFault::Truncated));
        };
        self.bytes = rest;
        self.offset += n;
        Ok(head)
    }

    /// Creates the error for the field that began `back` bytes ago.
    fn fault(&self, back: usize, what: RecordFault) -> RecordError {
        RecordError {
            offset: self.offset - back,
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretKey;
    use quickcheck::quickcheck;

    fn record(value: Value, salt: &[u8]) -> StoredRecord {
        let secret = SecretKey::from_bytes(&[5; 32]).unwrap();
        let item = Item::sign(&secret, Seq(0x0102), value, Salt::new(salt));
        StoredRecord {
            target: item.target(),
            item,
            vouched: Unix(7),
            expires: Some(Unix(8)),
            bound: Some(Signature::from_bytes([9; SIGNATURE_LEN])),
        }
    }

    fn fault(bytes: &[u8]) -> (usize, RecordFault) {
        let error = StoredRecord::decode(bytes).unwrap_err();
        (error.offset, error.what)
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let full = record(Value::new(b"hello"), b"dmsg");
        let bytes = full.encode();
        assert_eq!(bytes[..2], [1, 3]);
        assert_eq!(&bytes[2..34], full.target.as_bytes());
        assert_eq!(&bytes[34..67], full.item.key.as_bytes());
        assert_eq!(bytes[67..75], [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(&bytes[75..140], full.item.signature.as_bytes());
        assert_eq!(
            bytes[140..156],
            [[0, 0, 0, 0, 0, 0, 0, 7], [0, 0, 0, 0, 0, 0, 0, 8]].concat()
        );
        assert_eq!(bytes[156..221], [9; SIGNATURE_LEN]);
        assert_eq!(&bytes[221..], b"\x00\x04dmsg\x00\x00\x00\x05hello");

        let plain = StoredRecord {
            expires: None,
            bound: None,
            ..record(Value::null(), b"")
        };
        let bytes = plain.encode();
        assert_eq!((bytes[1], bytes.len()), (4, 148 + 2 + 4));
        let decoded = StoredRecord::decode(&bytes).unwrap();
        assert!(decoded.item.value.is_null());
        assert_eq!(decoded, plain);
    }

    #[test]
    fn the_largest_record_has_the_largest_length() {
        let largest = record(Value::new(&[1; MAX_VALUE_LEN]), &[2; MAX_SALT_LEN]);
        let bytes = largest.encode();
        assert_eq!(bytes.len(), MAX_RECORD_LEN);
        assert_eq!(StoredRecord::decode(&bytes), Ok(largest));
    }

    #[test]
    fn a_record_cut_anywhere_is_truncated_at_the_field_that_is_cut() {
        let bytes = record(Value::new(b"hello"), b"dmsg").encode();
        let fields = [0, 1, 2, 34, 67, 75, 140, 148, 156, 221, 223, 227, 231];
        for cut in 0..bytes.len() {
            let begins = fields.iter().rfind(|begin| **begin <= cut).unwrap();
            assert_eq!(fault(&bytes[..cut]), (*begins, RecordFault::Truncated));
        }
    }

    #[test]
    fn damage_is_named_with_its_place() {
        let good = record(Value::new(b"hello"), b"dmsg").encode();
        let damaged = |at: usize, new: &[u8]| {
            let mut bytes = good.clone();
            bytes[at..at + new.len()].copy_from_slice(new);
            fault(&bytes)
        };
        assert_eq!(damaged(0, &[2]), (0, RecordFault::Version(2)));
        assert_eq!(damaged(1, &[8]), (1, RecordFault::Flags(8)));
        assert_eq!(damaged(1, &[7]), (1, RecordFault::Flags(7)));
        assert_eq!(damaged(34, &[5]), (34, RecordFault::Key));
        assert_eq!(damaged(221, &[0, 201]), (221, RecordFault::Length(201)));
        assert_eq!(
            damaged(227, &[0, 1, 0, 1]),
            (227, RecordFault::Length(65_537))
        );
        let mut longer = good.clone();
        longer.push(0);
        assert_eq!(fault(&longer), (good.len(), RecordFault::Trailing(1)));
        let text = alloc::string::ToString::to_string(&StoredRecord::decode(&longer).unwrap_err());
        assert_eq!(text, "stored record, byte 236: 1 more bytes follow");
    }

    quickcheck! {
        fn records_round_trip(value: Vec<u8>, salt: Vec<u8>, vouched: u64, expires: Option<u64>, bound: bool, null: bool) -> bool {
            let value = if null { Value::null() } else { Value::from(value) };
            let record = StoredRecord {
                vouched: Unix(vouched),
                expires: expires.map(Unix),
                bound: bound.then(|| Signature::from_bytes([4; SIGNATURE_LEN])),
                ..record(value, &salt[..salt.len().min(MAX_SALT_LEN)])
            };
            let decoded = StoredRecord::decode(&record.encode()).unwrap();
            decoded.item.value.is_null() == null && decoded == record
        }

        fn what_decodes_encodes_to_the_same_bytes(value: Vec<u8>, damage: Vec<(usize, u8)>) -> bool {
            let mut bytes = record(Value::from(value), b"s").encode();
            for (at, new) in damage {
                let at = at % bytes.len();
                bytes[at] = new;
            }
            match StoredRecord::decode(&bytes) {
                Ok(record) => record.encode() == bytes,
                Err(error) => error.offset <= bytes.len(),
            }
        }

        fn any_bytes_decode_without_panic(bytes: Vec<u8>) -> bool {
            let mut versioned = alloc::vec![VERSION, 0];
            versioned.extend_from_slice(&bytes);
            StoredRecord::decode(&bytes).is_err() | StoredRecord::decode(&versioned).is_err()
        }
    }
}
