//! The phases of a request on an accepted stream.

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

/// Overhead of an item in a request besides its value and salt, in bytes.
const ITEM_BYTES: usize = 256;

/// State of the request on an accepted stream.
#[derive(Default)]
pub(crate) struct RequestState {
    pub(crate) phase: RequestPhase,
    /// Bytes received beyond the current request.
    pub(crate) ahead: Vec<u8>,
    pub(crate) paused: bool,
    /// Method and arrival time of a complete request that has not been answered.
    pub(crate) serving: Option<(Method, Mono)>,
    /// Whether the stream stays open after the answer, because the peer speaks our extensions.
    pub(crate) keep: bool,
    /// Whether the peer can read compact lists of peers.
    pub(crate) compact: bool,
    pub(crate) forgeries: u8,
    /// Whether the request has waited for storage.
    pub(crate) loaded: bool,
    /// Whether the request has waited for a newer item.
    pub(crate) polled: bool,
    /// Maintained by
    /// [`Inbound::set_request_bytes`](crate::node::inbound::state::Inbound::set_request_bytes).
    pub(crate) request_bytes: usize,
    /// Maintained by
    /// [`Inbound::set_answer_bytes`](crate::node::inbound::state::Inbound::set_answer_bytes).
    pub(crate) answer_bytes: usize,
}

impl RequestState {
    /// Whether it holds a slot that closing the stream must release. The slot of a put is released
    /// with the verdict instead, since its item is stored even if the stream has closed.
    pub(crate) const fn holds_slot(&self) -> bool {
        matches!(self.phase, RequestPhase::Batch(_))
    }

    /// The queue in which the request waits, if any.
    pub(crate) const fn queue(&self) -> Option<Queue> {
        match self.phase {
            RequestPhase::Whole(_) | RequestPhase::Decoding(_) | RequestPhase::Page(_) => {
                Some(Queue::Work)
            }
            RequestPhase::Put(_) | RequestPhase::BatchQueued(_) => Some(Queue::Slot),
            RequestPhase::Request(_) | RequestPhase::BatchJudged(_) => Some(Queue::Room),
            RequestPhase::Reading
            | RequestPhase::Loading(..)
            | RequestPhase::Watching(..)
            | RequestPhase::Verifying(_)
            | RequestPhase::Batch(_)
            | RequestPhase::Answering { .. } => None,
        }
    }
}

/// Phase of the request on a stream.
#[derive(Default)]
pub(crate) enum RequestPhase {
    /// No complete request has arrived.
    #[default]
    Reading,
    /// A large request waits to be decoded.
    Whole(Frame),
    /// A batch is being decoded.
    Decoding(Box<BatchDecoder>),
    /// The request waits for storage.
    Loading(Box<RequestMessage>, Need),
    /// The request waits for a newer item at this target.
    Watching(Box<RequestMessage>, Target),
    /// The request waits for room for its answer.
    Request(Box<RequestMessage>),
    /// A page of items is being encoded.
    Page(Box<PageJob>),
    /// A put waits for a slot.
    Put(Box<PutRequest>),
    /// A put's signature is being checked.
    Verifying(Reply),
    /// The batch waits for a slot.
    BatchQueued(Box<Batch>),
    /// Items of the batch are being checked.
    Batch(Box<Batch>),
    /// All items are judged, and the batch waits for room for its answer.
    BatchJudged(Box<Batch>),
    /// The answer is being sent.
    Answering {
        /// Whether the stream stays open afterwards.
        keep: bool,
    },
}

impl RequestPhase {
    /// Memory that the request occupies, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Whole(frame) => frame.body.capacity(),
            Self::Decoding(decoder) => decoder.allocated(),
            Self::Loading(message, _) => content_len(&message.request),
            Self::Put(put) => item_cost(&put.candidate.item),
            Self::BatchQueued(batch) | Self::Batch(batch) | Self::BatchJudged(batch) => batch.bytes,
            Self::Reading
            | Self::Watching(..)
            | Self::Request(_)
            | Self::Page(_)
            | Self::Verifying(_)
            | Self::Answering { .. } => 0,
        }
    }
}

/// Size of the content of a request, in bytes.
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
