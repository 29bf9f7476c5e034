//! Items in messages.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::item::{self, Item, ItemError, Salt, Seq, Value};
use crate::key::{PUBLIC_KEY_LEN, PublicKey, SIGNATURE_LEN, Signature};
use crate::wire::error::WireError;
use crate::wire::json::{Reader, Result, Writer};
use crate::wire::key::{read_key, read_signature, write_key};

/// An item in a message. Shared, so that stored items are sent, and received items are stored,
/// without a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WireItem {
    /// An item with a key, of which only the tag is checked.
    Keyed(Arc<Item>),
    /// An item with upstream's zero key, for which no signature is valid.
    Keyless(KeylessItem),
}

/// An item whose key is upstream's zero key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeylessItem {
    /// `seq`.
    pub seq: Seq,
    /// `sig`.
    pub signature: Signature,
    /// `v`.
    pub value: Value,
    /// `salt`.
    pub salt: Salt,
}

impl WireItem {
    /// The item, if it has a key.
    #[must_use]
    pub const fn item(&self) -> Option<&Arc<Item>> {
        match self {
            Self::Keyed(item) => Some(item),
            Self::Keyless(_) => None,
        }
    }

    /// The item, if it has a key.
    #[must_use]
    pub fn into_item(self) -> Option<Arc<Item>> {
        match self {
            Self::Keyed(item) => Some(item),
            Self::Keyless(_) => None,
        }
    }

    /// Bytes of value and salt.
    #[must_use]
    pub fn content_len(&self) -> usize {
        let (value, salt) = match self {
            Self::Keyed(item) => (&item.value, &item.salt),
            Self::Keyless(item) => (&item.value, &item.salt),
        };
        value.as_bytes().len() + salt.as_bytes().len()
    }

    /// The key of the item, if it has one.
    #[must_use]
    pub fn key(&self) -> Option<&PublicKey> {
        self.item().map(|item| &item.key)
    }

    /// Same as [`Item::check_sizes`]; the check precedes that of the signature also without a key.
    ///
    /// # Errors
    /// [`ItemError::ValueTooLarge`] or [`ItemError::SaltTooLong`].
    pub fn check_sizes(&self) -> Result<(), ItemError> {
        match self {
            Self::Keyed(item) => item.check_sizes(),
            Self::Keyless(item) => item::check_sizes(&item.value, &item.salt),
        }
    }
}

impl From<Arc<Item>> for WireItem {
    fn from(item: Arc<Item>) -> Self {
        Self::Keyed(item)
    }
}

impl From<&Arc<Item>> for WireItem {
    fn from(item: &Arc<Item>) -> Self {
        Self::Keyed(Arc::clone(item))
    }
}

impl From<Item> for WireItem {
    fn from(item: Item) -> Self {
        Self::Keyed(Arc::new(item))
    }
}

/// An item while it is read: upstream decodes a repeated one into the same memory.
#[derive(Default)]
pub(super) struct ItemParts {
    key: Option<PublicKey>,
    rest: KeylessItem,
}

impl ItemParts {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let Self { key, rest } = self;
        reader.object(|reader, name| {
            match name {
                "k" => read_key(reader, key)?,
                "seq" => rest.seq = reader.unsigned()?.map_or(rest.seq, Seq),
                "sig" => read_signature(reader, &mut rest.signature)?,
                "v" => rest.value = reader.blob()?.map_or(Value::null(), Value::from),
                "salt" => rest.salt = Salt::new(&reader.blob()?.unwrap_or_default()),
                _ => reader.skip()?,
            }
            Ok(())
        })
    }
}

impl From<ItemParts> for WireItem {
    fn from(parts: ItemParts) -> Self {
        let ItemParts { key, rest } = parts;
        let Some(key) = key else {
            return Self::Keyless(rest);
        };
        Self::from(Item {
            key,
            seq: rest.seq,
            signature: rest.signature,
            value: rest.value,
            salt: rest.salt,
        })
    }
}

impl WireItem {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut parts = ItemParts::default();
        parts.read(reader)?;
        Ok(parts.into())
    }

    /// Length in bytes of what [`WireItem::write`] writes.
    pub(super) fn encoded_len(&self) -> usize {
        match self {
            Self::Keyed(item) => encoded_item_len(item),
            Self::Keyless(item) => encoded_len(item.seq, &item.value, &item.salt),
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        let (key, seq, signature, value, salt) = match self {
            Self::Keyed(i) => (Some(&i.key), i.seq, &i.signature, &i.value, &i.salt),
            Self::Keyless(i) => (None, i.seq, &i.signature, &i.value, &i.salt),
        };
        out.raw("{");
        write_key(out.field("k"), key);
        out.field("seq").display(seq);
        out.field("sig").hex(signature.as_bytes());
        if value.is_null() {
            out.field("v").raw("null");
        } else {
            out.field("v").base64(value.as_bytes());
        }
        if !salt.as_bytes().is_empty() {
            out.field("salt").base64(salt.as_bytes());
        }
        out.raw("}");
    }
}

/// Encoded size of `item` in a list of items, without the comma, in bytes: for pages and batches
/// that must stay below a limit.
#[must_use]
pub fn encoded_item_len(item: &Item) -> usize {
    encoded_len(item.seq, &item.value, &item.salt)
}

fn encoded_len(seq: Seq, value: &Value, salt: &Salt) -> usize {
    const FIXED: usize =
        r#"{"k":"","seq":,"sig":"","v":}"#.len() + 2 * (PUBLIC_KEY_LEN + SIGNATURE_LEN);
    let digits = seq.0.checked_ilog10().unwrap_or_default() as usize + 1;
    let value = match value.is_null() {
        true => "null".len(),
        false => Writer::base64_len(value.as_bytes()),
    };
    let salt = match salt.as_bytes() {
        [] => 0,
        bytes => r#","salt":"#.len() + Writer::base64_len(bytes),
    };
    FIXED + digits + value + salt
}

/// Decodes a single item, as Redis and bbolt store it. Its key has a valid tag afterwards, but may
/// not be on the curve.
///
/// # Errors
/// [`WireError`].
pub fn decode_item(json: &[u8]) -> Result<WireItem, WireError> {
    let mut reader = Reader::new(json);
    let item = WireItem::read(&mut reader)?;
    reader.end()?;
    Ok(item)
}

/// Encodes a single item, as Redis and bbolt store it.
#[must_use]
pub fn encode_item(item: &WireItem) -> Vec<u8> {
    let mut out = Writer::new(Vec::with_capacity(item.encoded_len()));
    item.write(&mut out);
    out.finish()
}
