//! A table of streams: to whom each runs, what has come on it, when it is given up. What a stream
//! is doing is its user's business.

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

/// A stream, in a state of its user's.
pub(crate) struct Stream<S> {
    pub(crate) peer: PublicKey,
    pub(crate) path: Option<Path>,
    pub(crate) decoder: FrameDecoder,
    pub(crate) state: S,
    /// When it is given up; kept in step with [`Deadlines`] by [`StreamTable::set_deadline`].
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

/// The streams of one user. Those of all users share one limit, by [`Context::open_streams`].
pub(crate) struct StreamTable<S> {
    /// Boxed, since a hash table keeps room for twice as many as it holds.
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

    /// Sets when a stream is given up, in place of what was set.
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

    /// The next stream to give up.
    pub(crate) const fn next_deadline(&self) -> Option<(Mono, StreamId)> {
        self.deadlines.first()
    }

    /// The streams that wait for something, the one due first in front.
    pub(crate) fn waiting_for(&self, wait: Wait) -> impl Iterator<Item = (Mono, StreamId)> {
        self.deadlines.of(wait)
    }

    /// All numbers, in no order: to be sorted.
    #[allow(
        clippy::disallowed_methods,
        reason = "sorted before anything sees the order"
    )]
    pub(crate) fn unordered_ids(&self) -> Vec<StreamId> {
        self.by_id.keys().copied().collect()
    }
}
