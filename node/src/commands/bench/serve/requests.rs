//! The frames that the load sends, encoded before the measurement.

use std::sync::atomic::{AtomicUsize, Ordering};

use skydht_core::id::Target;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::SecretKey;
use skydht_core::wire::{
    Frame, Method, Request, RequestExt, RequestMessage, Response, Sender, decode_response,
    encode_request,
};
use skydht_runtime::Clocks;

use super::super::network::value;
use crate::cli::Ask;

/// Number of random targets for find-node.
const TARGETS: usize = 256;

/// The frames of one connection.
pub(super) struct Frames {
    ping: Vec<u8>,
    find_node: Vec<Vec<u8>>,
    get_value: Vec<Vec<u8>>,
    put_renewed: Vec<Vec<u8>>,
    renew: Vec<Vec<u8>>,
    put_new: Vec<Vec<u8>>,
    next_new: AtomicUsize,
}

impl Frames {
    /// Encodes the frames of a connection with the key `secret`, for `items` items with values of
    /// `bytes` bytes.
    pub(super) fn new(secret: &SecretKey, seed: u64, items: usize, bytes: usize) -> Self {
        let own = secret.public();
        let frame = |request| frame(secret, request);
        let target = |n: usize| Target::of(&own, format!("{seed}-{n}").as_bytes());
        let items = items_of(secret, "initial_puts", seed, items, bytes);
        let each =
            |make: &dyn Fn(&Item) -> Request| items.iter().map(|item| frame(make(item))).collect();
        Self {
            ping: frame(Request::Ping),
            find_node: (0..TARGETS)
                .map(|n| frame(Request::FindNode { target: target(n) }))
                .collect(),
            get_value: each(&|item| Request::GetValue {
                target: item.target(),
            }),
            put_renewed: each(&put),
            renew: each(&|item| Request::Renew {
                target: item.target(),
                seq: item.seq,
                signature: item.signature,
                content_hash: item.content_hash(),
            }),
            put_new: Vec::new(),
            next_new: AtomicUsize::new(0),
        }
    }

    /// Replaces the remaining new items by `count` freshly signed ones.
    pub(super) fn renew_new(
        &mut self,
        secret: &SecretKey,
        salts: &str,
        count: usize,
        bytes: usize,
    ) {
        let items = items_of(secret, salts, 0, count, bytes);
        self.put_new = items.iter().map(|item| frame(secret, put(item))).collect();
        self.next_new = AtomicUsize::new(0);
    }

    /// Returns the puts of all items that the node is to store.
    pub(super) fn initial_puts(&self) -> &[Vec<u8>] {
        &self.put_renewed
    }

    /// Returns a frame for a request; `None` when the new items are used up.
    pub(super) fn of(&self, ask: Ask, random: u64) -> Option<&[u8]> {
        let any = |frames: &'_ [Vec<u8>]| (random % frames.len().max(1) as u64) as usize;
        let frame = match ask {
            Ask::Ping => Some(&self.ping),
            Ask::FindNode => self.find_node.get(any(&self.find_node)),
            Ask::GetValue => self.get_value.get(any(&self.get_value)),
            Ask::PutRenewed => self.put_renewed.get(any(&self.put_renewed)),
            Ask::Renew => self.renew.get(any(&self.renew)),
            Ask::PutNew => self
                .put_new
                .get(self.next_new.fetch_add(1, Ordering::Relaxed)),
        };
        frame.map(Vec::as_slice)
    }
}

/// Returns whether an answer matches its request. Long answers are not decoded, so that reading
/// them does not limit the measurement.
pub(super) fn is_good(ask: Ask, answer: &Frame) -> bool {
    match ask {
        Ask::Ping => answer.method == Method::Ping,
        Ask::FindNode => answer.method == Method::FindNode,
        Ask::GetValue => answer.method == Method::GetValue && answer.body.starts_with(b"{\"item\""),
        Ask::PutNew | Ask::PutRenewed | Ask::Renew => matches!(
            decode_response(answer).map(|message| message.response),
            Ok(Response::PutValue { stored: true, .. } | Response::Renew { stored: true, .. })
        ),
    }
}

fn items_of(secret: &SecretKey, salts: &str, seed: u64, count: usize, bytes: usize) -> Vec<Item> {
    let now = u64::try_from(Clocks::system().unix.as_nanos()).unwrap_or(u64::MAX);
    let item = |n| {
        let salt = Salt::from(format!("{salts}-{n}").as_str());
        Item::sign(secret, Seq(now), Value::from(value(seed, n, bytes)), salt)
    };
    (0..count).map(item).collect()
}

fn put(item: &Item) -> Request {
    Request::PutValue {
        item: item.clone().into(),
        mirror_target: None,
    }
}

/// Encodes a request of the key `secret`.
fn frame(secret: &SecretKey, request: Request) -> Vec<u8> {
    let message = RequestMessage {
        sender: Sender::of(&secret.public()),
        // This extension announces that the sender speaks this program's dialect, so that streams
        // stay open, and that it serves no requests.
        ext: Some(RequestExt::default()),
        request,
    };
    // The command line bounds the values' sizes, so that encoding succeeds.
    encode_request(&message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_a_frame_and_new_items_end() {
        let secret = SecretKey::from_entropy(&[1; 32]);
        let mut frames = Frames::new(&secret, 1, 3, 100);
        assert_eq!(frames.initial_puts().len(), 3);
        assert!(frames.of(Ask::PutNew, 0).is_none());
        frames.renew_new(&secret, "sample", 2, 100);
        let news = [(); 3].map(|()| frames.of(Ask::PutNew, 0).map(<[u8]>::to_vec));
        assert!(news[0].is_some() && news[1].is_some() && news[0] != news[1]);
        assert_eq!(news[2], None);
        for ask in Ask::ALL.into_iter().filter(|ask| *ask != Ask::PutNew) {
            assert!(
                frames.of(ask, 7).is_some_and(|frame| frame.len() > 5),
                "{ask:?}"
            );
        }
    }
}
