//! What is kept of a request until it is answered.

use crate::id::Target;
use crate::item::{Life, Seq};
use crate::node::items::intake::Rejection;
use crate::store::{Candidate, PageReader};
use crate::sync::FetchedItem;
use crate::wire::{PageEncoder, RequestExt, Want, WireItem};
use alloc::vec;
use alloc::vec::Vec;

/// What the answer to a put depends on, beside how it went.
#[derive(Clone, Copy)]
pub(crate) struct Reply {
    pub(super) target: Target,
    pub(super) seq: Seq,
    pub(super) want: Want,
    /// It came as a [`Request::Renew`](crate::wire::Request::Renew).
    pub(super) renewal: bool,
}

/// A put over a stream.
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

/// A page that is being made.
pub(crate) struct PageJob {
    pub(super) reader: PageReader,
    pub(super) encoder: PageEncoder,
}

/// Bytes that an item takes in a batch beside its value and salt.
const ITEM_BYTES: usize = 256;

/// A batch under way.
pub(crate) struct Batch {
    /// Taken, and found to have to wait.
    pub(super) put_back: Option<(WireItem, Option<Target>)>,
    pub(super) items: vec::IntoIter<WireItem>,
    pub(super) targets: vec::IntoIter<Target>,
    pub(super) results: Vec<Result<(), Rejection>>,
    pub(super) out: usize,
    pub(super) ext: Option<RequestExt>,
    /// Of each item, where the items came with reconciliation.
    lives: Vec<Life>,
    /// The reconciliation message that answers it, in place of verdicts.
    pub(super) answer: Option<Vec<u8>>,
    /// Bytes that it keeps until it is answered.
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
            out: 0,
            ext,
            lives: Vec::new(),
            answer: None,
        }
    }

    /// Items that came with reconciliation; `answer` goes out when they are judged.
    pub(crate) fn given(items: Vec<FetchedItem>, answer: Vec<u8>) -> Self {
        let lives = items.iter().map(|(_, life)| *life).collect();
        let items = items.iter().map(|(item, _)| item.into()).collect();
        let mut batch = Self::new(items, Vec::new(), None);
        batch.bytes += answer.len();
        (batch.lives, batch.answer) = (lives, Some(answer));
        batch
    }

    /// What was said of the life of the item that is judged next.
    pub(super) fn next_life(&self) -> Option<Life> {
        self.lives.get(self.results.len()).copied()
    }

    /// The next item, and where it goes.
    pub(super) fn next(&mut self) -> Option<(WireItem, Option<Target>)> {
        self.put_back.take().or_else(|| {
            let item = self.items.next()?;
            // All zero, like a missing one, is upstream's "at its own target".
            let target = self.targets.next();
            Some((item, target.filter(|target| *target != Target::default())))
        })
    }

    /// Whether every item was taken up.
    pub(super) fn is_judged(&self) -> bool {
        self.put_back.is_none() && self.items.len() == 0
    }

    /// Bytes of its answer, at most.
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
