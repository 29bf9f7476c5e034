//! Decoding of frames to messages, by Go's rules.

use alloc::string::String;
use alloc::vec::Vec;

use crate::id::{ID_LEN, Target};
use crate::item::Seq;
use crate::key::{SIGNATURE_LEN, Signature};
use crate::wire::batch::BatchDecoder;
use crate::wire::envelope::{Envelope, SenderParts, target};
use crate::wire::error::WireError;
use crate::wire::extension::{RequestExt, ResponseExt};
use crate::wire::frame::Frame;
use crate::wire::item::{ItemParts, WireItem};
use crate::wire::json::{Reader, Result};
use crate::wire::key::read_key;
use crate::wire::message::{MAX_ITEMS, Request, RequestMessage, Response, ResponseMessage, Sender};
use crate::wire::method::Method;
use crate::wire::peer::PeerList;

/// Decodes a request. Public keys have a valid tag afterwards, but may not be on the curve, see
/// [`RequestMessage::keys`]. A ping always decodes: upstream does not look at its body.
///
/// # Errors
/// [`WireError`]: close the stream without an answer.
pub fn decode_request(frame: &Frame) -> Result<RequestMessage, WireError> {
    let body = &frame.body;
    match frame.method {
        Method::Ping => {
            let nothing_else = read_request(body, |_, _| Ok(false));
            Ok(nothing_else.unwrap_or_default().with(Request::Ping))
        }
        Method::FindNode => {
            let (envelope, target) = read_target(body)?;
            Ok(envelope.with(Request::FindNode { target }))
        }
        Method::GetValue => {
            let (envelope, target) = read_target(body)?;
            Ok(envelope.with(Request::GetValue { target }))
        }
        Method::PutValue => read_put(body),
        Method::GetItems => read_get_items(body),
        Method::PutBatch => read_batch(body),
        Method::Renew => read_renewal(body),
        Method::Reconcile => {
            let (message, ext) = read_counted(body)?;
            let (sender, ext) = (Sender::default(), RequestExt::read(ext));
            Ok(Envelope { sender, ext }.with(Request::Reconcile { message }))
        }
    }
}

/// Decodes a response. Public keys have a valid tag afterwards, but may not be on the curve: check
/// those that are used. A peer with an invalid key is dropped alone and counted.
///
/// # Errors
/// [`WireError`]: close the stream.
pub fn decode_response(frame: &Frame) -> Result<ResponseMessage, WireError> {
    let body = &frame.body;
    match frame.method {
        Method::Ping => {
            let mut responder = SenderParts::default();
            let ext = read_response(body, |reader, name| {
                match name {
                    "responder_id" => reader.array32(&mut responder.id)?,
                    "responder_pk" => read_key(reader, &mut responder.key)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            let responder = responder.into();
            Ok(with(ext, Response::Ping { responder }))
        }
        Method::FindNode => {
            let mut closest = PeerList::default();
            let ext = read_response(body, |reader, name| {
                match name {
                    "closest" => closest.read(reader)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            Ok(with(ext, Response::FindNode { closest }))
        }
        Method::GetValue => {
            let mut item: Option<ItemParts> = None;
            let mut closest = PeerList::default();
            let ext = read_response(body, |reader, name| {
                match name {
                    "item" if reader.null()? => item = None,
                    "item" => item.get_or_insert_default().read(reader)?,
                    "closest" => closest.read(reader)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            let item = item.map(WireItem::from);
            Ok(with(ext, Response::GetValue { item, closest }))
        }
        Method::PutValue => {
            let (ext, stored, error) = read_verdict(body)?;
            Ok(with(ext, Response::PutValue { stored, error }))
        }
        Method::Renew => {
            let (ext, stored, error) = read_verdict(body)?;
            Ok(with(ext, Response::Renew { stored, error }))
        }
        Method::Reconcile => {
            let (message, ext) = read_counted(body)?;
            let response = Response::Reconcile { message };
            Ok(with(ResponseExt::read(ext), response))
        }
        Method::GetItems => {
            let (mut items, mut targets, mut has_more) = (Vec::new(), Vec::new(), false);
            let ext = read_response(body, |reader, name| {
                match name {
                    "items" => list(reader, &mut items, WireItem::read)?,
                    "targets" => list(reader, &mut targets, target)?,
                    "has_more" => has_more = reader.boolean()?.unwrap_or(has_more),
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            let response = Response::GetItems {
                items,
                targets,
                has_more,
            };
            Ok(with(ext, response))
        }
        Method::PutBatch => {
            let (mut stored, mut errors) = (Vec::new(), Vec::new());
            let ext = read_response(body, |reader, name| {
                match name {
                    "stored" => list(reader, &mut stored, |reader| {
                        Ok(reader.boolean()?.unwrap_or_default())
                    })?,
                    "errors" => list(reader, &mut errors, |reader| {
                        Ok(reader.string()?.unwrap_or_default().into_owned())
                    })?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            Ok(with(ext, Response::PutBatch { stored, errors }))
        }
    }
}

fn read_target(body: &[u8]) -> Result<(Envelope, Target)> {
    let mut target = [0; ID_LEN];
    let envelope = read_request(body, |reader, name| {
        match name {
            "target" => reader.array32(&mut target)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((envelope, Target::from_bytes(target)))
}

fn read_put(body: &[u8]) -> Result<RequestMessage> {
    let (mut item, mut target) = (ItemParts::default(), [0; ID_LEN]);
    let envelope = read_request(body, |reader, name| {
        match name {
            "item" => item.read(reader)?,
            "mirror_target" => reader.array32(&mut target)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(envelope.with(Request::PutValue {
        item: item.into(),
        mirror_target: (target != [0; ID_LEN]).then(|| Target::from_bytes(target)),
    }))
}

fn read_get_items(body: &[u8]) -> Result<RequestMessage> {
    let (mut salt, mut since_seq, mut limit) = (String::new(), 0, 0);
    let envelope = read_request(body, |reader, name| {
        match name {
            "salt" => {
                if let Some(text) = reader.string()? {
                    salt = text.into_owned();
                }
            }
            "since_seq" => since_seq = reader.unsigned()?.unwrap_or(since_seq),
            "limit" => limit = reader.signed()?.unwrap_or(limit),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(envelope.with(Request::GetItems {
        salt,
        since_seq: Seq(since_seq),
        limit,
    }))
}

fn read_batch(body: &[u8]) -> Result<RequestMessage> {
    let mut decoder = BatchDecoder::new(body.to_vec());
    loop {
        if let Some(message) = decoder.step(usize::MAX)? {
            return Ok(message);
        }
    }
}

fn read_renewal(body: &[u8]) -> Result<RequestMessage> {
    let parse = || {
        let (target, rest) = body.split_first_chunk()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (signature, rest) = rest.split_first_chunk::<SIGNATURE_LEN>()?;
        let (content_hash, ext) = rest.split_first_chunk()?;
        let request = Request::Renew {
            target: Target::from_bytes(*target),
            seq: Seq(u64::from_be_bytes(*seq)),
            signature: Signature::from_bytes(*signature),
            content_hash: *content_hash,
        };
        let ext = RequestExt::read(ext);
        let sender = Sender::default();
        Some(Envelope { sender, ext }.with(request))
    };
    let len = body.len();
    parse().ok_or(WireError::ShortRenewal { len })
}

/// Splits a body into the bytes after their length, and the rest.
fn read_counted(body: &[u8]) -> Result<(Vec<u8>, &[u8])> {
    let parse = || {
        let (len, rest) = body.split_first_chunk()?;
        rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
    };
    let len = body.len();
    let (message, ext) = parse().ok_or(WireError::ShortReconcile { len })?;
    Ok((message.to_vec(), ext))
}

fn read_verdict(body: &[u8]) -> Result<(Option<ResponseExt>, bool, String)> {
    let (mut stored, mut error) = (false, String::new());
    let ext = read_response(body, |reader, name| {
        match name {
            "stored" => stored = reader.boolean()?.unwrap_or(stored),
            "error" => {
                if let Some(text) = reader.string()? {
                    error = text.into_owned();
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((ext, stored, error))
}

/// As in Go, a list replaces an earlier one of the same name, and `null` is an empty list.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    into: &mut Vec<T>,
    mut element: impl FnMut(&mut Reader<'a>) -> Result<T>,
) -> Result<()> {
    into.clear();
    reader.array(|reader| {
        if into.len() == MAX_ITEMS {
            let at = reader.position();
            return Err(WireError::TooMany { at });
        }
        into.push(element(reader)?);
        Ok(())
    })
}

fn with(mut ext: Option<ResponseExt>, mut response: Response) -> ResponseMessage {
    if let Some(ext) = ext.as_mut().filter(|ext| ext.compact)
        && let Some(closest) = response.closest_mut()
    {
        *closest = core::mem::take(&mut ext.closest);
    }
    ResponseMessage { ext, response }
}

/// Reads a request. `own` reads the method's own fields and returns whether the name was one of
/// them.
fn read_request(
    body: &[u8],
    mut own: impl FnMut(&mut Reader<'_>, &str) -> Result<bool>,
) -> Result<Envelope> {
    let mut sender = SenderParts::default();
    let ext = read_body(body, |reader, name| {
        match name {
            "sender_id" => reader.array32(&mut sender.id)?,
            "sender_pk" => read_key(reader, &mut sender.key)?,
            _ => return own(reader, name),
        }
        Ok(true)
    })?;
    Ok(Envelope {
        sender: sender.into(),
        ext: ext.and_then(RequestExt::read),
    })
}

fn read_response(
    body: &[u8],
    own: impl FnMut(&mut Reader<'_>, &str) -> Result<bool>,
) -> Result<Option<ResponseExt>> {
    Ok(read_body(body, own)?.and_then(ResponseExt::read))
}

/// Reads a body and returns the JSON text of the extension, if there is one.
fn read_body<'a>(
    body: &'a [u8],
    mut own: impl FnMut(&mut Reader<'a>, &str) -> Result<bool>,
) -> Result<Option<&'a [u8]>> {
    let mut ext = None;
    let mut reader = Reader::new(body);
    reader.object(|reader, name| {
        if name == "ext" {
            ext = Some(reader.raw_value()?);
        } else if !own(reader, name)? {
            reader.skip()?;
        }
        Ok(())
    })?;
    reader.end()?;
    Ok(ext)
}
