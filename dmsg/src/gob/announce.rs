//! Gob encoding of a server's announcement (specification of DMSG in 2026, §2.3).

use skydht_core::key::PUBLIC_KEY_LEN;

use super::error::GobError;
use super::layout::{BINARY_MARSHALER, read_key, read_struct};
use super::types::{INT, Types};
use super::write::{Fields, Writer, describe, describe_struct};
use crate::message::PeerAnnounce;

/// Decodes an announcement.
pub(crate) fn read_announce(gob: &[u8]) -> Result<PeerAnnounce, GobError> {
    let (types, number, mut value) = Types::read(gob)?;
    let mut announce = PeerAnnounce::default();
    let (name, read) = ("PeerAnnounce", &mut value);
    read_struct(&types, number, name, read, |found, value| {
        match found.field.name {
            b"Timestamp" => {
                found.expect(INT, "Timestamp")?;
                announce.timestamp = value.int()?;
            }
            b"SrcPK" => announce.source = read_key(found, "SrcPK", value)?,
            _ => found.skip(value)?,
        }
        Ok(())
    })?;
    value.finish()?;
    Ok(announce)
}

/// Encodes an announcement with type ids that start at `first_type`.
pub(crate) fn write_announce(announce: &PeerAnnounce, first_type: u32) -> Vec<u8> {
    let number = i64::from(first_type);
    let key = number + 1;
    let mut out = Writer::default();
    let fields = [("Timestamp", INT), ("SrcPK", key)];
    describe_struct(&mut out, number, "PeerAnnounce", &fields);
    describe(&mut out, key, BINARY_MARSHALER, "PubKey", |_| {});
    let mut body = Writer::default();
    Fields::new(&mut body)
        .field(announce.timestamp != 0, |out| out.int(announce.timestamp))
        .field(announce.source != [0; PUBLIC_KEY_LEN], |out| {
            out.bytes(&announce.source);
        })
        .end();
    out.message(number, &body);
    out.into_bytes()
}
