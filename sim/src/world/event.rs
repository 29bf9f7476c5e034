//! What an observer learns of a run.

use std::sync::Arc;

use serde::Serialize;
use skydht_core::id::Target;
use skydht_core::node::{Event, OperationId, Outcome, StoreChange, StreamId};

use crate::network::{Departure, HostId};
use crate::world::World;

/// Something that happened. The time is [`World::now`].
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SimEvent {
    /// A host came, for the first time or again.
    Started {
        /// The host that it is about.
        host: HostId,
        /// 1 for the first time, then counting.
        life: u32,
    },
    /// A host has shut down and gone, as [`World::stop`] asked.
    Stopped {
        /// The host that it is about.
        host: HostId,
    },
    /// A host is gone without a word.
    Crashed {
        /// The host that it is about.
        host: HostId,
        /// How its peers notice.
        how: Departure,
        /// Operations that will never finish.
        abandoned: Vec<OperationId>,
    },
    /// A host stands still.
    Suspended {
        /// The host that it is about.
        host: HostId,
    },
    /// A suspended host goes on.
    Resumed {
        /// The host that it is about.
        host: HostId,
    },
    /// An operation finished.
    Finished {
        /// The host where it happened.
        host: HostId,
        /// Number that [`World::command`] gave.
        op: OperationId,
        /// Result of the operation.
        outcome: Outcome,
    },
    /// A host's event.
    Event {
        /// The host where it happened.
        host: HostId,
        /// The event, as the node reported it.
        event: Event,
    },
    /// A host holds something else from now on, and asked its storage to keep that.
    Changed {
        /// The host where it happened.
        host: HostId,
        /// The change that the node asked to persist.
        change: StoreChange,
    },
    /// Changes reached a host's storage, in one write.
    Stored {
        /// The host where it happened.
        host: HostId,
        /// How many there are.
        count: usize,
        /// The changes, the last of each target.
        #[serde(skip_serializing)]
        changes: Vec<StoreChange>,
        /// Whether the host was told that they are durable.
        durable: bool,
    },
    /// The replica of the shared Redis took its place.
    FailedOver {
        /// Targets whose last writes it did not have.
        lost: Vec<Target>,
    },
    /// Bytes reached a host. Only when watched.
    Delivered {
        /// The host that it is about.
        host: HostId,
        /// Its number for the stream.
        stream: StreamId,
        /// Bytes as they arrived, in one piece of any length.
        bytes: Arc<[u8]>,
    },
    /// A host took an input, and everything that it wanted was begun. Only when watched.
    Handled {
        /// The host that it is about.
        host: HostId,
    },
    /// The time given to [`World::wake_at`] has come.
    Woke {
        /// The number given with it.
        token: u64,
    },
}

/// Which of the frequent events are wanted. Everything goes into the digest, wanted or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watch {
    /// [`SimEvent::Event`].
    pub events: bool,
    /// [`SimEvent::Delivered`].
    pub deliveries: bool,
    /// [`SimEvent::Handled`].
    pub inputs: bool,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            events: true,
            deliveries: false,
            inputs: false,
        }
    }
}

/// Sees everything that happens, and may act on it.
pub trait Observer {
    /// Something happened just now.
    fn observe(&mut self, world: &mut World, event: SimEvent);
}

impl<F: FnMut(&mut World, SimEvent)> Observer for F {
    fn observe(&mut self, world: &mut World, event: SimEvent) {
        self(world, event);
    }
}
