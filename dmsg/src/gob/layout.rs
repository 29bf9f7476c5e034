//! Gob encoding of requests and responses (specification of DMSG, §5.1).

use skydht_core::key::PUBLIC_KEY_LEN;

use super::error::{FIRST_TYPE, GobError, MAX_DEPTH};
use super::read::Reader;
use super::types::{BOOL, BYTES, Field, INT, Type, Types, UINT};
use super::write::{Fields, Writer, describe, describe_struct};
use crate::message::{RawAddress, StreamRequest, StreamResponse};

/// Positions in Go's `wireType`, counted from 1.
const ARRAY: u64 = 1;
pub(super) const BINARY_MARSHALER: u64 = 6;

/// A field of a struct being decoded, with the descriptors of its stream.
pub(super) struct Found<'t, 'a> {
    types: &'t Types<'a>,
    pub(super) field: Field<'a>,
}

impl<'a> Found<'_, 'a> {
    /// Checks that the field has this built-in type.
    pub(super) fn expect(&self, ty: i64, name: &'static str) -> Result<(), GobError> {
        if self.field.ty == ty {
            Ok(())
        } else {
            Err(GobError::FieldType(name))
        }
    }

    pub(super) fn skip(&self, value: &mut Reader<'a>) -> Result<(), GobError> {
        self.types.skip(self.field.ty, value, 0)
    }
}

/// Decodes a struct of type `number`, calling `field` for each field that is present.
pub(super) fn read_struct<'a>(
    types: &Types<'a>,
    number: i64,
    name: &'static str,
    value: &mut Reader<'a>,
    mut field: impl FnMut(&Found<'_, 'a>, &mut Reader<'a>) -> Result<(), GobError>,
) -> Result<(), GobError> {
    let known = match types.get(number) {
        Some(Type::Struct(fields)) => fields,
        None if number >= FIRST_TYPE.into() => return Err(GobError::UnknownType(number)),
        _ => return Err(GobError::FieldType(name)),
    };
    value.fields(|index, value| {
        let found = Found {
            types,
            field: *known.get(index).ok_or(GobError::FieldNumber)?,
        };
        field(&found, value)
    })
}

/// Decodes a request.
pub(crate) fn read_request(gob: &[u8]) -> Result<StreamRequest, GobError> {
    let (types, number, mut value) = Types::read(gob)?;
    let mut request = StreamRequest::default();
    read_struct(
        &types,
        number,
        "StreamRequest",
        &mut value,
        |found, value| {
            match found.field.name {
                b"Timestamp" => {
                    found.expect(INT, "Timestamp")?;
                    request.timestamp = value.int()?;
                }
                b"SrcAddr" => request.source = read_address(found, value)?,
                b"DstAddr" => request.destination = read_address(found, value)?,
                b"IPinfo" => {
                    found.expect(BOOL, "IPinfo")?;
                    request.ip_info = value.bool()?;
                }
                b"NoiseMsg" => {
                    found.expect(BYTES, "NoiseMsg")?;
                    request.noise = value.bytes()?.to_vec();
                }
                _ => found.skip(value)?,
            }
            Ok(())
        },
    )?;
    value.finish()?;
    Ok(request)
}

fn read_address<'a>(found: &Found<'_, 'a>, value: &mut Reader<'a>) -> Result<RawAddress, GobError> {
    let mut address = RawAddress::default();
    read_struct(
        found.types,
        found.field.ty,
        "Addr",
        value,
        |found, value| {
            match found.field.name {
                b"PK" => address.key = read_key(found, "PK", value)?,
                b"Port" => {
                    found.expect(UINT, "Port")?;
                    address.port = value.u16()?;
                }
                _ => found.skip(value)?,
            }
            Ok(())
        },
    )?;
    Ok(address)
}

/// Decodes a key, which marshals itself.
pub(super) fn read_key(
    found: &Found<'_, '_>,
    name: &'static str,
    value: &mut Reader<'_>,
) -> Result<[u8; PUBLIC_KEY_LEN], GobError> {
    let Some(Type::Opaque) = found.types.get(found.field.ty) else {
        return Err(GobError::FieldType(name));
    };
    let key = <[u8; PUBLIC_KEY_LEN]>::try_from(value.bytes()?);
    key.map_err(|_| GobError::FieldType(name))
}

/// Decodes a response.
pub(crate) fn read_response(gob: &[u8]) -> Result<StreamResponse, GobError> {
    let (types, number, mut value) = Types::read(gob)?;
    let mut response = StreamResponse::default();
    read_struct(
        &types,
        number,
        "StreamResponse",
        &mut value,
        |found, value| {
            match found.field.name {
                b"ReqHash" => response.request_hash = read_hash(found, value)?,
                b"Accepted" => {
                    found.expect(BOOL, "Accepted")?;
                    response.accepted = value.bool()?;
                }
                b"IP" => {
                    found.expect(BYTES, "IP")?;
                    response.ip = value.bytes()?.to_vec();
                }
                b"ErrCode" => {
                    found.expect(UINT, "ErrCode")?;
                    response.error_code = value.u16()?;
                }
                b"NoiseMsg" => {
                    found.expect(BYTES, "NoiseMsg")?;
                    response.noise = value.bytes()?.to_vec();
                }
                _ => found.skip(value)?,
            }
            Ok(())
        },
    )?;
    value.finish()?;
    Ok(response)
}

fn read_hash(found: &Found<'_, '_>, value: &mut Reader<'_>) -> Result<[u8; 32], GobError> {
    let Some(Type::Array {
        elem: UINT,
        len: 32,
    }) = found.types.get(found.field.ty)
    else {
        return Err(GobError::FieldType("ReqHash"));
    };
    let mut hash = [0; 32];
    if value.count()? != hash.len() {
        return Err(GobError::FieldType("ReqHash"));
    }
    for byte in &mut hash {
        *byte = u8::try_from(value.uint()?).map_err(|_| GobError::Number)?;
    }
    Ok(hash)
}

/// Encodes a request with type ids that start at `first_type`.
pub(crate) fn write_request(request: &StreamRequest, first_type: u32) -> Vec<u8> {
    let number = i64::from(first_type);
    let (address, key) = (number + 1, number + 2);
    let mut out = Writer::default();
    describe_struct(
        &mut out,
        number,
        "StreamRequest",
        &[
            ("Timestamp", INT),
            ("SrcAddr", address),
            ("DstAddr", address),
            ("IPinfo", BOOL),
            ("NoiseMsg", BYTES),
        ],
    );
    describe_struct(&mut out, address, "Addr", &[("PK", key), ("Port", UINT)]);
    describe(&mut out, key, BINARY_MARSHALER, "PubKey", |_| {});
    let mut body = Writer::default();
    Fields::new(&mut body)
        .field(request.timestamp != 0, |out| out.int(request.timestamp))
        // Go writes a struct even if all its fields are zero.
        .field(true, |out| write_address(&request.source, out))
        .field(true, |out| write_address(&request.destination, out))
        .field(request.ip_info, |out| out.uint(1))
        .field(!request.noise.is_empty(), |out| out.bytes(&request.noise))
        .end();
    out.message(number, &body);
    out.into_bytes()
}

fn write_address(address: &RawAddress, out: &mut Writer) {
    Fields::new(out)
        .field(!address.is_null(), |out| out.bytes(&address.key))
        .field(address.port != 0, |out| out.uint(address.port.into()))
        .end();
}

/// Encodes a response with type ids that start at `first_type`.
pub(crate) fn write_response(response: &StreamResponse, first_type: u32) -> Vec<u8> {
    let number = i64::from(first_type);
    let hash = number + 1;
    let mut out = Writer::default();
    describe_struct(
        &mut out,
        number,
        "StreamResponse",
        &[
            ("ReqHash", hash),
            ("Accepted", BOOL),
            ("IP", BYTES),
            ("ErrCode", UINT),
            ("NoiseMsg", BYTES),
        ],
    );
    describe(&mut out, hash, ARRAY, "SHA256", |rest| {
        rest.field(true, |out| out.int(UINT))
            .field(true, |out| out.int(32));
    });
    let mut body = Writer::default();
    Fields::new(&mut body)
        .field(true, |out| out.byte_array(&response.request_hash))
        .field(response.accepted, |out| out.uint(1))
        .field(!response.ip.is_empty(), |out| out.bytes(&response.ip))
        .field(response.error_code != 0, |out| {
            out.uint(response.error_code.into())
        })
        .field(!response.noise.is_empty(), |out| out.bytes(&response.noise))
        .end();
    out.message(number, &body);
    out.into_bytes()
}

const _: () = assert!(MAX_DEPTH > 3, "a request nests two structs and a key");
