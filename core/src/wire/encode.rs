//! Encoding of messages to frames, byte for byte as Go prints them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::Target;
use crate::item::{Item, Seq};
use crate::wire::error::EncodeError;
use crate::wire::extension::ResponseExt;
use crate::wire::frame;
use crate::wire::item::WireItem;
use crate::wire::json::Writer;
use crate::wire::key::write_key;
use crate::wire::message::{Request, RequestMessage, Response, ResponseMessage, Sender};
use crate::wire::method::{Method, Side};

/// Encodes a request to a complete frame, length included.
///
/// # Errors
/// [`EncodeError`] if it exceeds the method's limit; the receiver would drop it.
pub fn encode_request(message: &RequestMessage) -> Result<Vec<u8>, EncodeError> {
    let method = message.request.method();
    let mut out = Writer::new(frame::start(method, request_size(&message.request)));
    if let Request::Renew {
        target,
        seq,
        signature,
        content_hash,
    } = &message.request
    {
        out.bytes(target.as_bytes());
        out.bytes(&seq.0.to_be_bytes());
        out.bytes(signature.as_bytes());
        out.bytes(content_hash);
        if let Some(ext) = &message.ext {
            ext.write(&mut out);
        }
    } else if let Request::Reconcile { message: bytes } = &message.request {
        counted(&mut out, bytes);
        if let Some(ext) = &message.ext {
            ext.write(&mut out);
        }
    } else {
        out.raw("{");
        sender(&mut out, "sender_id", "sender_pk", &message.sender);
        request_fields(&mut out, &message.request);
        if let Some(ext) = &message.ext {
            ext.write(out.field("ext"));
        }
        out.raw("}");
    }
    frame::finish(out.finish(), method, Side::Request)
}

/// Encodes a response to a complete frame, length included.
///
/// # Errors
/// [`EncodeError`] if it exceeds the method's limit; the receiver would drop it.
pub fn encode_response(message: &ResponseMessage) -> Result<Vec<u8>, EncodeError> {
    let method = message.response.method();
    let mut out = Writer::new(frame::start(method, response_size(&message.response)));
    let compact = message.ext.as_ref().is_some_and(|ext| ext.compact);
    if let Response::Reconcile { message: bytes } = &message.response {
        counted(&mut out, bytes);
        if let Some(ext) = &message.ext {
            ext.write(&mut out, None);
        }
        return frame::finish(out.finish(), method, Side::Response);
    }
    out.raw("{");
    response_fields(&mut out, &message.response, compact);
    if let Some(ext) = &message.ext {
        ext.write(out.field("ext"), message.response.closest());
    }
    out.raw("}");
    frame::finish(out.finish(), method, Side::Response)
}

/// A [`Response::GetItems`] that is encoded item by item.
pub struct PageEncoder {
    out: Writer,
    /// End offset of each item.
    ends: Vec<usize>,
    targets: Vec<Target>,
}

impl Default for PageEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl PageEncoder {
    /// Creates an empty page.
    #[must_use]
    pub fn new() -> Self {
        let mut out = Writer::new(frame::start(Method::GetItems, 0));
        out.raw("{");
        out.field("items").raw("[");
        Self {
            out,
            ends: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// Encoded size so far, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether the page has no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Adds an item.
    pub fn push(&mut self, target: &Target, item: &Arc<Item>) {
        if !self.is_empty() {
            self.out.raw(",");
        }
        WireItem::from(item).write(&mut self.out);
        self.ends.push(self.out.len());
        self.targets.push(*target);
    }

    /// Removes all but the first `items` items.
    pub fn truncate(&mut self, items: usize) {
        if let Some(end) = items.checked_sub(1).and_then(|last| self.ends.get(last)) {
            self.out.truncate(*end);
            self.ends.truncate(items);
            self.targets.truncate(items);
        }
    }

    /// Returns the complete frame, length included.
    ///
    /// # Errors
    /// [`EncodeError`] if it exceeds the method's limit.
    pub fn finish(
        mut self,
        has_more: bool,
        ext: Option<&ResponseExt>,
    ) -> Result<Vec<u8>, EncodeError> {
        let out = &mut self.out;
        out.raw("]");
        write_targets(out, &self.targets);
        if has_more {
            out.field("has_more").raw("true");
        }
        if let Some(ext) = ext {
            ext.write(out.field("ext"), None);
        }
        out.raw("}");
        frame::finish(self.out.finish(), Method::GetItems, Side::Response)
    }
}

/// Encoded size of `target` in a list of targets, without the comma, in bytes.
#[must_use]
pub fn encoded_target_len(target: &Target) -> usize {
    Writer::array32_len(target.as_bytes())
}

/// Estimate of the size of the body, so that most messages need one allocation.
fn request_size(request: &Request) -> usize {
    const FIXED: usize = 1_024;
    match request {
        Request::PutValue { item, .. } => FIXED + item.encoded_len(),
        Request::PutBatch { items, targets } => FIXED + items_size(items, targets),
        Request::Reconcile { message } => FIXED + message.len(),
        _ => FIXED,
    }
}

fn response_size(response: &Response) -> usize {
    const FIXED: usize = 512;
    const PEER: usize = 320;
    match response {
        Response::FindNode { closest } => FIXED + PEER * closest.peers.len(),
        Response::GetValue { item, closest } => {
            FIXED + item.as_ref().map_or(0, WireItem::encoded_len) + PEER * closest.peers.len()
        }
        Response::GetItems { items, targets, .. } => FIXED + items_size(items, targets),
        Response::Reconcile { message } => FIXED + message.len(),
        _ => FIXED,
    }
}

/// Appends a length and the bytes. If the length exceeds 32 bits, the frame exceeds its limit, too.
fn counted(out: &mut Writer, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.bytes(&len.to_be_bytes());
    out.bytes(bytes);
}

fn items_size(items: &[WireItem], targets: &[Target]) -> usize {
    const TARGET: usize = 130;
    items
        .iter()
        .map(|item| 1 + item.encoded_len())
        .sum::<usize>()
        + TARGET * targets.len()
}

fn request_fields(out: &mut Writer, request: &Request) {
    match request {
        Request::Ping | Request::Renew { .. } | Request::Reconcile { .. } => {}
        Request::FindNode { target } | Request::GetValue { target } => {
            out.field("target").array32(target.as_bytes());
        }
        Request::PutValue {
            item,
            mirror_target,
        } => {
            item.write(out.field("item"));
            // Go never omits an array.
            let target = mirror_target.unwrap_or_default();
            out.field("mirror_target").array32(target.as_bytes());
        }
        Request::GetItems {
            salt,
            since_seq,
            limit,
        } => {
            if !salt.is_empty() {
                out.field("salt").string(salt);
            }
            if *since_seq != Seq(0) {
                out.field("since_seq").display(since_seq);
            }
            if *limit != 0 {
                out.field("limit").display(limit);
            }
        }
        Request::PutBatch { items, targets } => {
            out.field("items").array(items, |out, item| item.write(out));
            write_targets(out, targets);
        }
    }
}

/// Writes the fields of a response. With `compact`, the extension contains the peers.
fn response_fields(out: &mut Writer, response: &Response, compact: bool) {
    match response {
        Response::Ping { responder } => sender(out, "responder_id", "responder_pk", responder),
        Response::FindNode { .. } if compact => {}
        Response::FindNode { closest } => closest.write(out.field("closest")),
        Response::GetValue { item, closest } => {
            if let Some(item) = item {
                item.write(out.field("item"));
            }
            if !closest.peers.is_empty() && !compact {
                closest.write(out.field("closest"));
            }
        }
        Response::Reconcile { .. } => {}
        Response::PutValue { stored, error } | Response::Renew { stored, error } => {
            out.field("stored").display(stored);
            if !error.is_empty() {
                out.field("error").string(error);
            }
        }
        Response::GetItems {
            items,
            targets,
            has_more,
        } => {
            out.field("items").array(items, |out, item| item.write(out));
            write_targets(out, targets);
            if *has_more {
                out.field("has_more").raw("true");
            }
        }
        Response::PutBatch { stored, errors } => {
            out.field("stored")
                .array(stored, |out, stored| out.display(stored));
            if !errors.is_empty() {
                out.field("errors")
                    .array(errors, |out, error| out.string(error));
            }
        }
    }
}

fn sender(out: &mut Writer, id: &str, key: &str, sender: &Sender) {
    out.field(id).array32(sender.id.as_bytes());
    write_key(out.field(key), sender.key.as_ref());
}

fn write_targets(out: &mut Writer, targets: &[Target]) {
    if !targets.is_empty() {
        out.field("targets")
            .array(targets, |out, target| out.array32(target.as_bytes()));
    }
}
