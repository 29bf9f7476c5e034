//! Keys and signatures in JSON: hexadecimal text.

use crate::key::{PUBLIC_KEY_LEN, PublicKey, SIGNATURE_LEN, Signature, parse_hex};
use crate::wire::error::WireError;
use crate::wire::json::{Reader, Result, Writer};

/// Reads a key: 66 digits of either case with a valid tag; the curve is not checked. `null`, empty
/// text and any number of zeros leave `into` unchanged.
pub(super) fn read_key(reader: &mut Reader<'_>, into: &mut Option<PublicKey>) -> Result<()> {
    let at = reader.position();
    let Some(text) = reader.string()? else {
        return Ok(());
    };
    if text.bytes().any(|b| b != b'0') {
        let key = parse_hex::<PUBLIC_KEY_LEN>(text.as_bytes());
        let key = key.and_then(|bytes| PublicKey::from_bytes(&bytes).ok());
        *into = Some(key.ok_or(WireError::BadKey { at })?);
    }
    Ok(())
}

/// Writes a key; `None` is upstream's zero key.
pub(super) fn write_key(out: &mut Writer, key: Option<&PublicKey>) {
    let zero = &[0; PUBLIC_KEY_LEN];
    out.hex(key.map_or(zero, |key| key.as_bytes()));
}

/// Reads 130 digits of either case; `null` leaves `into` unchanged.
pub(super) fn read_signature(reader: &mut Reader<'_>, into: &mut Signature) -> Result<()> {
    let at = reader.position();
    if let Some(text) = reader.string()? {
        let bytes = parse_hex::<SIGNATURE_LEN>(text.as_bytes()).ok_or(WireError::Value { at })?;
        *into = Signature::from_bytes(bytes);
    }
    Ok(())
}
