//! The queues in which requests wait.

use crate::key::PublicKey;
use crate::node::ids::StreamId;
use crate::node::rpc::fair_queue::{FairQueue, Lane};

/// What a request waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Queue {
    /// Its turn to be worked on.
    Work,
    /// A slot.
    Slot,
    /// Room for its answer.
    Room,
}

/// All waiting requests. Each belongs to a stream, so the limit on streams bounds their number.
#[derive(Default)]
pub(crate) struct Backlog {
    pub(crate) work: FairQueue<StreamId>,
    /// The queue for slots.
    pub(crate) wait_queue: FairQueue<StreamId>,
    pub(crate) room: FairQueue<StreamId>,
    pub(crate) turn: usize,
}

impl Backlog {
    pub(crate) fn queue(&mut self, queue: Queue) -> &mut FairQueue<StreamId> {
        match queue {
            Queue::Work => &mut self.work,
            Queue::Slot => &mut self.wait_queue,
            Queue::Room => &mut self.room,
        }
    }

    pub(crate) fn set_lane(&mut self, peer: &PublicKey, lane: Lane) {
        for queue in [&mut self.work, &mut self.wait_queue, &mut self.room] {
            queue.set_lane(peer, lane);
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.work.len() + self.wait_queue.len() + self.room.len()
    }
}
