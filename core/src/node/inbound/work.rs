//! What is kept of a request until it is answered.

use crate::id::Target;
use crate::item::{Life, Seq};
use crate::node::items::intake::Rejection;
use crate::store::{Candidate, PageReader};
use crate::sync::FetchedItem;
use crate::wire::{PageEncoder, RequestExt, Want, WireItem};
use alloc::vec;
use alloc::vec::Vec;

/// What the answer to a put depends on, besides the result.
#[derive(Clone, Copy)]
pub(crate) struct Reply {
    pub(super) target: Target,
    pub(super) seq: Seq,
    pub(super) want: Want,
    /// Whether the request was a [`Request::Renew`](crate::wire::Request::Renew).
    pub(super) renewal: bool,
}

/// A put that arrived on a stream.
pub(crate) struct PutRequest {
    pub(crate) candidate: Candidate,
    pub(super) reply: Reply,
}

impl PutRequest {
    pub(crate) fn new(candidate: Candidate, want: Want, renewal: bool) -> Self {
        let reply = Reply {
            target: candidate.target,
            seq: candidate.item.seq,
            want,
            renewal,
        };
        Self { candidate, reply }
    }
}

/// A page that is being encoded.
pub(crate) struct PageJob {
    pub(super) reader: PageReader,
    pub(super) encoder: PageEncoder,
}

/// Overhead of an item in a batch besides its value and salt, in bytes.
const ITEM_BYTES: usize = 256;

/// A `PutBatch` request, or the items of a reconciliation message, in progress.
pub(crate) struct Batch {
    /// An item taken from `items` that has to wait for a free verification job.
    pub(super) put_back: Option<(WireItem, Option<Target>)>,
    pub(super) items: vec::IntoIter<WireItem>,
    pub(super) targets: vec::IntoIter<Target>,
    /// The result of each item taken so far, in order; `Ok` while its signature is being checked.
    pub(super) results: Vec<Result<(), Rejection>>,
    /// Number of items whose signatures are being checked.
    pub(super) pending: usize,
    pub(super) ext: Option<RequestExt>,
    /// Lifetimes of the items, in order, if they came with reconciliation; otherwise empty.
    lives: Vec<Life>,
    /// The reconciliation message to answer with instead of results, if the items came with
    /// reconciliation.
    pub(super) answer: Option<Vec<u8>>,
    /// Memory that the batch occupies until it is answered, in bytes.
    pub(crate) bytes: usize,
}

impl Batch {
    pub(crate) fn new(items: Vec<WireItem>, targets: Vec<Target>, ext: Option<RequestExt>) -> Self {
        let contents = |item: &WireItem| ITEM_BYTES + item.content_len();
        Self {
            bytes: items.iter().map(contents).sum::<usize>() + targets.len() * size_of::<Target>(),
            results: Vec::with_capacity(items.len()),
            put_back: None,
            items: items.into_iter(),
            targets: targets.into_iter(),
            pending: 0,
            ext,
            lives: Vec::new(),
            answer: None,
        }
    }

    /// Creates a batch of items that came with reconciliation; `answer` is sent when all have a
    /// result.
    pub(crate) fn given(items: Vec<FetchedItem>, answer: Vec<u8>) -> Self {
        let lives = items.iter().map(|(_, life)| *life).collect();
        let items = items.iter().map(|(item, _)| item.into()).collect();
        let mut batch = Self::new(items, Vec::new(), None);
        batch.bytes += answer.len();
        (batch.lives, batch.answer) = (lives, Some(answer));
        batch
    }

    /// The lifetime stated for the next item without a result, if any.
    pub(super) fn next_life(&self) -> Option<Life> {
        self.lives.get(self.results.len()).copied()
    }

    /// Takes the next item with its target; `None` as the target means the item's own.
    pub(super) fn next(&mut self) -> Option<(WireItem, Option<Target>)> {
        self.put_back.take().or_else(|| {
            let item = self.items.next()?;
            // Upstream sends zeros, or no target, for "at its own target".
            let target = self.targets.next();
            Some((item, target.filter(|target| *target != Target::default())))
        })
    }

    /// Whether every item has been taken. Results are final once none is pending either.
    pub(super) fn is_judged(&self) -> bool {
        self.put_back.is_none() && self.items.len() == 0
    }

    /// Upper bound on the size of its answer, in bytes.
    pub(super) fn answer_len(&self) -> usize {
        if let Some(answer) = &self.answer {
            return 512 + answer.len();
        }
        let texts = self.results.iter().map(|result| match result {
            Ok(()) => 10,
            Err(refused) => 10 + refused.text().len(),
        });
        512 + texts.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Refusal;

    #[test]
    fn the_length_of_a_batchs_answer_is_not_underestimated() {
        let mut batch = Batch::new(Vec::new(), Vec::new(), None);
        assert_eq!(batch.answer_len(), 512);
        let refused = Rejection::Store(Refusal::Older);
        let text = refused.text().len();
        batch.results = vec![Ok(()), Err(refused), Ok(())];
        assert_eq!(batch.answer_len(), 512 + 3 * 10 + text);
        let given = Batch::given(Vec::new(), vec![7; 300]);
        assert_eq!((given.answer_len(), given.bytes), (812, 300));
    }
}
