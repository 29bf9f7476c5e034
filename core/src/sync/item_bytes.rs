//! Items as sessions transmit them: at their signer's own target, with their lifetime.
//!
//! | Bytes | Field |
//! |---|---|
//! | 33 | key |
//! | 8 | sequence |
//! | 65 | signature |
//! | 8 | `age` in milliseconds |
//! | 8 | `left` in milliseconds; the largest number: it does not expire there |
//! | 1 | length of the salt, at most 200 |
//! | 3 | length of the value, at most 65,536; the largest number: the value is null |
//! | … | salt, value |

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::item::{Item, Life, MAX_SALT_LEN, MAX_VALUE_LEN, Salt, Seq, Value};
use crate::key::{PUBLIC_KEY_LEN, PublicKey, SIGNATURE_LEN, Signature};
use crate::sync::bytes::{Fault, Reader};

const FIXED: usize = PUBLIC_KEY_LEN + 8 + SIGNATURE_LEN + 8 + 8 + 1 + 3;
/// Maximum encoded length of an item, in bytes.
pub const MAX_ITEM_BYTES: usize = FIXED + MAX_SALT_LEN + MAX_VALUE_LEN;
const NULL: u32 = 0xff_ffff;

/// Encoded length of an item in a message, in bytes.
#[must_use]
pub fn item_bytes(item: &Item) -> usize {
    FIXED + item.salt.as_bytes().len() + item.value.as_bytes().len()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Appends an item. Its sizes must be within their limits.
#[allow(clippy::cast_possible_truncation, reason = "sizes within their limits")]
pub(super) fn write_item(out: &mut Vec<u8>, item: &Item, life: Life) {
    let (salt, value) = (item.salt.as_bytes(), item.value.as_bytes());
    out.extend_from_slice(item.key.as_bytes());
    out.extend_from_slice(&item.seq.0.to_be_bytes());
    out.extend_from_slice(item.signature.as_bytes());
    out.extend_from_slice(&millis(life.age).to_be_bytes());
    out.extend_from_slice(&millis(life.left).to_be_bytes());
    out.push(salt.len() as u8);
    let len = if item.value.is_null() {
        NULL
    } else {
        value.len() as u32
    };
    out.extend_from_slice(&len.to_be_bytes()[1..]);
    out.extend_from_slice(salt);
    out.extend_from_slice(value);
}

/// Reads an item.
pub(super) fn read_item(from: &mut Reader<'_>) -> Result<(Arc<Item>, Life), Fault> {
    let key = PublicKey::from_bytes(from.take(PUBLIC_KEY_LEN)?).map_err(|_| Fault::Key)?;
    let seq = Seq(from.number(8)?);
    let signature = Signature::from_bytes(*from.array()?);
    let life = Life {
        age: Duration::from_millis(from.number(8)?),
        left: Duration::from_millis(from.number(8)?),
    };
    let salt = from.small(1)?;
    let value = from.small(3)?;
    if salt > MAX_SALT_LEN || (value > MAX_VALUE_LEN && value != NULL as usize) {
        return Err(Fault::Length);
    }
    let salt = Salt::new(from.take(salt)?);
    let value = match value == NULL as usize {
        true => Value::null(),
        false => Value::new(from.take(value)?),
    };
    let item = Item {
        key,
        seq,
        signature,
        value,
        salt,
    };
    Ok((Arc::new(item), life))
}
