//! The streams: who holds which, what state each is in, and what each peer uses of them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::key::PublicKey;
use crate::node::ids::{CallId, StreamId};
use crate::node::inbound::Served;
use crate::node::input::Path;
use crate::node::rpc::deadlines::{Deadlines, Wait};
use crate::time::Mono;
use crate::wire::{FrameDecoder, Side};

/// What a stream is doing.
pub(crate) enum State {
    /// Ours, asked for and not yet open; the call waits.
    Opening(CallId),
    /// Ours, a request is out.
    Calling(CallId),
    /// Ours, kept for the next call.
    Kept,
    /// Opened by the peer.
    Served(Served),
}

/// A stream.
pub(crate) struct Stream {
    pub(crate) peer: PublicKey,
    pub(crate) path: Option<Path>,
    pub(crate) decoder: FrameDecoder,
    pub(crate) state: State,
    /// When it is given up; kept in step with [`Deadlines`] by [`Streams::set_deadline`].
    deadline: Option<(Wait, Mono)>,
}

/// What one peer uses.
#[derive(Default)]
pub(crate) struct Usage {
    /// Streams that it opened, oldest first.
    inbound: Vec<StreamId>,
    /// Its requests that hold a slot.
    pub(crate) serving: usize,
    /// Verification jobs for it, waiting or out.
    pub(crate) jobs: usize,
    /// Bytes of its requests, from their first byte to their answer.
    pub(crate) request_bytes: usize,
    /// Bytes of answers to it that have not left.
    pub(crate) answer_bytes: usize,
    /// Streams of ours to it, kept for the next call.
    kept: SmallVec<[StreamId; 2]>,
}

impl Usage {
    /// How many streams it opened.
    pub(crate) fn accepted(&self) -> usize {
        self.inbound.len()
    }

    fn is_empty(&self) -> bool {
        self.inbound.is_empty() && self.serving == 0 && self.jobs == 0 && self.kept.is_empty()
    }
}

/// All streams.
pub(crate) struct Streams {
    /// Boxed, since a hash table keeps room for twice as many as it holds.
    by_id: HashMap<StreamId, Box<Stream>, FixedState>,
    usage: HashMap<PublicKey, Usage, FixedState>,
    next_ours: u64,
    last_theirs: Option<StreamId>,
    kept: usize,
    accepted: usize,
    request_bytes: usize,
    answer_bytes: usize,
    deadlines: Deadlines,
}

impl Streams {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            by_id: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            usage: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            next_ours: 0,
            last_theirs: None,
            kept: 0,
            accepted: 0,
            request_bytes: 0,
            answer_bytes: 0,
            deadlines: Deadlines::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted
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

    /// From now on no stream is given up.
    pub(crate) fn clear_deadlines(&mut self) {
        self.deadlines.clear();
    }

    /// The streams that wait for something, the one due first in front.
    pub(crate) fn waiting_for(&self, wait: Wait) -> impl Iterator<Item = (Mono, StreamId)> {
        self.deadlines.of(wait)
    }

    /// Bytes of all requests, from their first byte to their answer.
    pub(crate) const fn request_bytes(&self) -> usize {
        self.request_bytes
    }

    /// Bytes of all answers that have not left.
    pub(crate) const fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// The streams that a peer opened, oldest first.
    pub(crate) fn inbound_of(&self, peer: &PublicKey) -> Vec<StreamId> {
        let usage = self.usage.get(peer);
        usage.map_or_else(Vec::new, |usage| usage.inbound.clone())
    }

    /// Counts the bytes that the request on a stream takes, in place of what was counted.
    pub(crate) fn set_request_bytes(&mut self, id: StreamId, bytes: usize) {
        let Some(stream) = self.by_id.get_mut(&id) else {
            return;
        };
        let State::Served(served) = &mut stream.state else {
            return;
        };
        let before = core::mem::replace(&mut served.request_bytes, bytes);
        if before != bytes {
            let peer = stream.peer;
            self.request_bytes = self.request_bytes + bytes - before;
            self.usage_mut(peer, |usage| {
                usage.request_bytes = usage.request_bytes + bytes - before;
            });
        }
    }

    /// Counts the bytes of the answer on a stream, in place of what was counted.
    pub(crate) fn set_answer_bytes(&mut self, id: StreamId, bytes: usize) {
        let Some(stream) = self.by_id.get_mut(&id) else {
            return;
        };
        let State::Served(served) = &mut stream.state else {
            return;
        };
        let before = core::mem::replace(&mut served.answer_bytes, bytes);
        if before != bytes {
            let peer = stream.peer;
            self.answer_bytes = self.answer_bytes + bytes - before;
            self.usage_mut(peer, |usage| {
                usage.answer_bytes = usage.answer_bytes + bytes - before;
            });
        }
    }

    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// The number for the next stream of ours.
    fn fresh(&mut self) -> StreamId {
        let id = StreamId(self.next_ours);
        self.next_ours += 2;
        id
    }

    /// Whether `id` may be the number of a newly accepted stream.
    pub(crate) fn is_fresh_theirs(&self, id: StreamId) -> bool {
        !id.is_ours() && self.last_theirs.is_none_or(|last| id > last)
    }

    pub(crate) fn note_theirs(&mut self, id: StreamId) {
        self.last_theirs = Some(id);
    }

    pub(crate) fn open(&mut self, peer: PublicKey, call: CallId) -> StreamId {
        let id = self.fresh();
        self.by_id.insert(
            id,
            Box::new(Stream {
                peer,
                path: None,
                decoder: FrameDecoder::new(Side::Response),
                state: State::Opening(call),
                deadline: None,
            }),
        );
        id
    }

    pub(crate) fn accept(&mut self, id: StreamId, peer: PublicKey, path: Path, served: Served) {
        self.accepted += 1;
        self.usage_mut(peer, |usage| usage.inbound.push(id));
        self.by_id.insert(
            id,
            Box::new(Stream {
                peer,
                path: Some(path),
                decoder: FrameDecoder::new(Side::Request),
                state: State::Served(served),
                deadline: None,
            }),
        );
    }

    pub(crate) fn get(&self, id: StreamId) -> Option<&Stream> {
        self.by_id.get(&id).map(Box::as_ref)
    }

    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.by_id.get_mut(&id).map(Box::as_mut)
    }

    /// The state of an accepted stream.
    pub(crate) fn served_mut(&mut self, id: StreamId) -> Option<&mut Served> {
        match self.get_mut(id) {
            Some(Stream {
                state: State::Served(served),
                ..
            }) => Some(served),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, id: StreamId) -> Option<Box<Stream>> {
        let stream = self.by_id.remove(&id)?;
        if let Some((wait, at)) = stream.deadline {
            self.deadlines.remove(wait, at, id);
        }
        match stream.state {
            State::Kept => {
                self.kept -= 1;
                self.usage_mut(stream.peer, |usage| usage.kept.retain(|kept| *kept != id));
            }
            State::Served(ref served) => {
                self.accepted -= 1;
                self.request_bytes -= served.request_bytes;
                self.answer_bytes -= served.answer_bytes;
                self.usage_mut(stream.peer, |usage| {
                    usage.request_bytes -= served.request_bytes;
                    usage.answer_bytes -= served.answer_bytes;
                    usage.inbound.retain(|other| *other != id);
                });
            }
            State::Opening(_) | State::Calling(_) => {}
        }
        Some(stream)
    }

    /// Keeps a stream of ours for the next call.
    pub(crate) fn keep(&mut self, id: StreamId) {
        let Some(stream) = self.by_id.get_mut(&id) else {
            return;
        };
        stream.state = State::Kept;
        let peer = stream.peer;
        self.kept += 1;
        self.usage_mut(peer, |usage| usage.kept.push(id));
    }

    /// How many streams to `peer` are kept.
    pub(crate) fn kept_for(&self, peer: &PublicKey) -> usize {
        self.usage.get(peer).map_or(0, |usage| usage.kept.len())
    }

    /// Takes a kept stream for a call: the one used last, which is the least likely to be gone.
    pub(crate) fn take_kept(&mut self, peer: &PublicKey, call: CallId) -> Option<StreamId> {
        let id = self.usage.get_mut(peer)?.kept.pop()?;
        self.kept -= 1;
        self.usage_mut(*peer, |_| {});
        self.by_id.get_mut(&id)?.state = State::Calling(call);
        Some(id)
    }

    pub(crate) fn usage(&self, peer: &PublicKey) -> Option<&Usage> {
        self.usage.get(peer)
    }

    /// Changes a peer's use; an entry without use goes.
    pub(crate) fn usage_mut(&mut self, peer: PublicKey, change: impl FnOnce(&mut Usage)) {
        let usage = self.usage.entry(peer).or_default();
        change(usage);
        if usage.is_empty() {
            self.usage.remove(&peer);
        }
    }

    /// All numbers in order, for shutdown.
    #[allow(
        clippy::disallowed_methods,
        reason = "sorted before anybody sees the order"
    )]
    pub(crate) fn ids(&self) -> Vec<StreamId> {
        let mut ids: Vec<_> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        ids
    }
}
