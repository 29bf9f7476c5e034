//! A table of streams with peer, received bytes and deadline of each. What a stream is used for is
//! the owner's state.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::key::PublicKey;
use crate::node::context::Context;
use crate::node::ids::StreamId;
use crate::node::input::Path;
use crate::node::rpc::deadlines::{Deadlines, Wait};
use crate::time::Mono;
use crate::wire::{FrameDecoder, Side};

/// A stream with the state of its owner.
pub(crate) struct Stream<S> {
    pub(crate) peer: PublicKey,
    pub(crate) path: Option<Path>,
    pub(crate) decoder: FrameDecoder,
    pub(crate) state: S,
    /// Deadline of the stream; [`StreamTable::set_deadline`] keeps it in step with [`Deadlines`].
    deadline: Option<(Wait, Mono)>,
}

impl<S> Stream<S> {
    pub(crate) fn new(peer: PublicKey, path: Option<Path>, side: Side, state: S) -> Self {
        Self {
            peer,
            path,
            decoder: FrameDecoder::new(side),
            state,
            deadline: None,
        }
    }
}

/// The streams of one owner. All tables share one limit, by [`Context::open_streams`].
pub(crate) struct StreamTable<S> {
    /// Boxed, since a hash table has room for twice as many entries as it holds.
    by_id: HashMap<StreamId, Box<Stream<S>>, FixedState>,
    deadlines: Deadlines,
}

impl<S> StreamTable<S> {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            by_id: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            deadlines: Deadlines::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn get(&self, id: StreamId) -> Option<&Stream<S>> {
        self.by_id.get(&id).map(Box::as_ref)
    }

    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream<S>> {
        self.by_id.get_mut(&id).map(Box::as_mut)
    }

    pub(crate) fn insert(&mut self, cx: &mut Context, id: StreamId, stream: Stream<S>) {
        cx.open_streams += 1;
        self.by_id.insert(id, Box::new(stream));
    }

    pub(crate) fn remove(&mut self, cx: &mut Context, id: StreamId) -> Option<Box<Stream<S>>> {
        let stream = self.by_id.remove(&id)?;
        cx.open_streams -= 1;
        if let Some((wait, at)) = stream.deadline {
            self.deadlines.remove(wait, at, id);
        }
        Some(stream)
    }

    /// Sets or clears the deadline of a stream.
    pub(crate) fn set_deadline(&mut self, id: StreamId, deadline: Option<(Wait, Mono)>) {
        let Some(stream) = self.by_id.get_mut(&id) else {
            return;
        };
        if let Some((wait, at)) = core::mem::replace(&mut stream.deadline, deadline) {
            self.deadlines.remove(wait, at, id);
        }
        if let Some((wait, at)) = deadline {
            self.deadlines.add(wait, at, id);
        }
    }

    /// The stream with the earliest deadline.
    pub(crate) const fn next_deadline(&self) -> Option<(Mono, StreamId)> {
        self.deadlines.first()
    }

    /// The streams with a deadline of this kind, the earliest first.
    pub(crate) fn waiting_for(&self, wait: Wait) -> impl Iterator<Item = (Mono, StreamId)> {
        self.deadlines.of(wait)
    }

    /// All numbers in arbitrary order; the caller sorts them.
    #[allow(
        clippy::disallowed_methods,
        reason = "sorted before anything sees the order"
    )]
    pub(crate) fn unordered_ids(&self) -> Vec<StreamId> {
        self.by_id.keys().copied().collect()
    }
}
