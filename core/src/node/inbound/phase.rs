//! How far the request on an accepted stream is.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::id::Target;
use crate::node::inbound::queues::Queue;
use crate::node::inbound::work::Batch;
use crate::node::inbound::work::PageJob;
use crate::node::inbound::work::{PutRequest, Reply};
use crate::node::loading::Need;
use crate::store::item_cost;
use crate::time::Mono;
use crate::wire::{BatchDecoder, Frame, Method, Request, RequestMessage};

/// Bytes that an item takes in a request beside its value and salt.
const ITEM_BYTES: usize = 256;

/// An accepted stream.
#[derive(Default)]
pub(crate) struct RequestState {
    pub(crate) phase: Phase,
    /// Bytes of the next request.
    pub(crate) ahead: Vec<u8>,
    pub(crate) paused: bool,
    /// What came whole and is not answered yet, and since when.
    pub(crate) serving: Option<(Method, Mono)>,
    /// The peer speaks our dialect: keep the stream.
    pub(crate) keep: bool,
    /// The peer reads compact lists of peers.
    pub(crate) compact: bool,
    pub(crate) forgeries: u8,
    /// The request has waited for storage.
    pub(crate) loaded: bool,
    /// The request has waited for news.
    pub(crate) polled: bool,
    /// Counted by [`Inbound::set_request_bytes`](crate::node::inbound::state::Inbound::set_request_bytes).
    pub(crate) request_bytes: usize,
    /// Counted by [`Inbound::set_answer_bytes`](crate::node::inbound::state::Inbound::set_answer_bytes).
    pub(crate) answer_bytes: usize,
}

impl RequestState {
    /// Whether it holds a slot. A put's slot is released with its verdict instead, since its
    /// item is kept even if the stream is gone.
    pub(crate) const fn holds_slot(&self) -> bool {
        matches!(self.phase, Phase::Batch(_))
    }

    /// The queue that it stands in.
    pub(crate) const fn queue(&self) -> Option<Queue> {
        match self.phase {
            Phase::Whole(_) | Phase::Decoding(_) | Phase::Page(_) => Some(Queue::Work),
            Phase::Put(_) | Phase::BatchWaits(_) => Some(Queue::Slot),
            Phase::Request(_) | Phase::BatchDone(_) => Some(Queue::Room),
            Phase::Reading
            | Phase::Loading(..)
            | Phase::Watching(..)
            | Phase::Verifying(_)
            | Phase::Batch(_)
            | Phase::Answering { .. } => None,
        }
    }
}

/// How far the request on a stream is.
#[derive(Default)]
pub(crate) enum Phase {
    /// Nothing, or part of a request, has come.
    #[default]
    Reading,
    /// A large request waits to be decoded.
    Whole(Frame),
    /// A batch is being decoded.
    Decoding(Box<BatchDecoder>),
    /// A request waits for what storage has.
    Loading(Box<RequestMessage>, Need),
    /// A request waits for a newer item there.
    Watching(Box<RequestMessage>, Target),
    /// A request waits for room for its answer.
    Request(Box<RequestMessage>),
    /// A page of items is being made.
    Page(Box<PageJob>),
    /// A put waits for a slot.
    Put(Box<PutRequest>),
    /// A put's signature is being checked.
    Verifying(Reply),
    /// A batch waits for a slot.
    BatchWaits(Box<Batch>),
    /// Some items of a batch are being checked.
    Batch(Box<Batch>),
    /// A batch is done and waits for room for its answer.
    BatchDone(Box<Batch>),
    /// An answer is on its way; then the stream is kept, or finished.
    Answering {
        /// Keep it.
        keep: bool,
    },
}

impl Phase {
    /// Bytes that are kept of the request.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Whole(frame) => frame.body.capacity(),
            Self::Decoding(decoder) => decoder.allocated(),
            Self::Loading(message, _) => content_len(&message.request),
            Self::Put(put) => item_cost(&put.candidate.item),
            Self::BatchWaits(batch) | Self::Batch(batch) | Self::BatchDone(batch) => batch.bytes,
            Self::Reading
            | Self::Watching(..)
            | Self::Request(_)
            | Self::Page(_)
            | Self::Verifying(_)
            | Self::Answering { .. } => 0,
        }
    }
}

/// Bytes of what a request carries.
fn content_len(request: &Request) -> usize {
    match request {
        Request::PutValue { item, .. } => ITEM_BYTES + item.content_len(),
        Request::PutBatch { items, targets } => {
            let items = items.iter().map(|item| ITEM_BYTES + item.content_len());
            items.sum::<usize>() + size_of_val(targets.as_slice())
        }
        Request::Reconcile { message } => message.len(),
        _ => 0,
    }
}
