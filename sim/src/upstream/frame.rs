//! Frames as Go reads and writes them: one limit for all methods, any method byte, and no checks by
//! the sender.

use std::sync::Arc;

use skydht_core::id::Target;
use skydht_core::item::Item;
use skydht_core::key::PublicKey;
use skydht_core::wire::{MAX_MESSAGE, Method, WireItem, encode_item};

/// Size of the length field in bytes.
const LENGTH: usize = 4;

/// One message being read. Data after it on the stream is ignored.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrameReader {
    bytes: Vec<u8>,
}

/// State of the reader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// The message is incomplete.
    Incomplete,
    /// The length is 0 or above the limit.
    Invalid,
    /// Method and body.
    Whole(u8, Vec<u8>),
}

impl FrameReader {
    /// Adds received data.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        // Go reads the length first and then exactly that many bytes.
        let limit = LENGTH + MAX_MESSAGE;
        let room = limit.saturating_sub(self.bytes.len());
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Number of buffered bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the state of the reader, with the message once it is complete.
    pub(crate) fn progress(&mut self) -> Progress {
        let Some(length) = self.bytes.first_chunk::<LENGTH>() else {
            return Progress::Incomplete;
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > MAX_MESSAGE {
            return Progress::Invalid;
        }
        if self.bytes.len() < LENGTH + length {
            return Progress::Incomplete;
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.truncate(LENGTH + length);
        let body = bytes.split_off(LENGTH + 1);
        Progress::Whole(bytes[LENGTH], body)
    }
}

fn frame(method: Method, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(1 + body.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(LENGTH + 1 + body.len());
    out.extend_from_slice(&length.to_be_bytes());
    out.push(method.as_byte());
    out.extend_from_slice(body);
    out
}

/// A page of any length. Its reader gets nothing if it exceeds the limit (defect 19).
pub(super) fn page_response(items: &[WireItem], targets: &[Target], has_more: bool) -> Vec<u8> {
    let mut body = b"{".to_vec();
    item_list(&mut body, items);
    if !targets.is_empty() {
        body.push(b',');
        target_list(&mut body, targets);
    }
    if has_more {
        body.extend_from_slice(br#","has_more":true"#);
    }
    body.push(b'}');
    frame(Method::GetItems, &body)
}

/// A batch of any length. Its bound ignores the growth by base64 (defect 20).
pub(super) fn batch_request(sender: &PublicKey, batch: &[(Target, Arc<Item>)]) -> Vec<u8> {
    let mut body = br#"{"sender_id":"#.to_vec();
    array(&mut body, sender.id().as_bytes());
    body.extend_from_slice(format!(r#","sender_pk":"{sender}","#).as_bytes());
    let (targets, items): (Vec<Target>, Vec<WireItem>) = batch
        .iter()
        .map(|(target, item)| (*target, item.into()))
        .unzip();
    item_list(&mut body, &items);
    body.push(b',');
    target_list(&mut body, &targets);
    body.push(b'}');
    frame(Method::PutBatch, &body)
}

fn item_list(body: &mut Vec<u8>, list: &[WireItem]) {
    body.extend_from_slice(br#""items":["#);
    for (i, item) in list.iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&encode_item(item));
    }
    body.push(b']');
}

fn target_list(body: &mut Vec<u8>, list: &[Target]) {
    body.extend_from_slice(br#""targets":["#);
    for (i, target) in list.iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        array(body, target.as_bytes());
    }
    body.push(b']');
}

fn array(body: &mut Vec<u8>, bytes: &[u8; 32]) {
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    body.extend_from_slice(format!("[{}]", numbers.join(",")).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use skydht_core::item::{Salt, Seq, Value};
    use skydht_core::key::SecretKey;
    use skydht_core::wire::{
        Request, RequestMessage, Response, ResponseMessage, Sender, encode_request, encode_response,
    };

    fn read(bytes: &[u8]) -> Progress {
        let mut reader = FrameReader::default();
        for byte in bytes {
            reader.push(&[*byte]);
        }
        reader.progress()
    }

    #[test]
    fn any_method_is_a_frame_and_what_follows_is_ignored() {
        assert_eq!(read(&[0, 0, 0]), Progress::Incomplete);
        assert_eq!(read(&[0, 0, 0, 0]), Progress::Invalid);
        assert_eq!(read(&[0, 0x40, 0, 1]), Progress::Invalid);
        assert_eq!(read(&[0, 0x40, 0, 0]), Progress::Incomplete);
        assert_eq!(read(&[0, 0, 0, 2, 99]), Progress::Incomplete);
        let whole = Progress::Whole(99, vec![b'x']);
        assert_eq!(read(&[0, 0, 0, 2, 99, b'x', b'y']), whole);
    }

    #[test]
    fn a_reader_holds_no_more_than_one_message() {
        let mut reader = FrameReader::default();
        reader.push(&[0, 0x40, 0, 0]);
        for _ in 0..5 {
            reader.push(&vec![0; 1 << 20]);
        }
        assert_eq!(reader.bytes.len(), LENGTH + MAX_MESSAGE);
        assert!(
            matches!(reader.progress(), Progress::Whole(0, body) if body.len() == MAX_MESSAGE - 1)
        );
    }

    #[test]
    fn pages_and_batches_are_those_of_the_codec() {
        let secret = SecretKey::from_bytes(&[7; 32]).unwrap();
        let item = |salt: &str| {
            let item = Item::sign(&secret, Seq(9), Value::new(b"<v>"), Salt::from(salt));
            (item.target(), Arc::new(item))
        };
        for list in [vec![], vec![item("a")], vec![item("a"), item("b")]] {
            let items: Vec<WireItem> = list.iter().map(|(_, item)| item.into()).collect();
            let targets: Vec<Target> = list.iter().map(|(target, _)| *target).collect();
            let has_more = list.len() > 1;
            let message = ResponseMessage {
                ext: None,
                response: Response::GetItems {
                    items: items.clone(),
                    targets: targets.clone(),
                    has_more,
                },
            };
            let theirs = encode_response(&message).unwrap();
            assert_eq!(page_response(&items, &targets, has_more), theirs);
            if !list.is_empty() {
                let message = RequestMessage {
                    sender: Sender::of(&secret.public()),
                    ext: None,
                    request: Request::PutBatch { items, targets },
                };
                let theirs = encode_request(&message).unwrap();
                assert_eq!(batch_request(&secret.public(), &list), theirs);
            }
        }
    }
}
