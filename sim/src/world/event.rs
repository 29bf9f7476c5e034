//! What an observer learns of a run.

use std::sync::Arc;

use serde::Serialize;
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
        /// Which.
        host: HostId,
        /// 1 for the first time, then counting.
        life: u32,
    },
    /// A host has shut down and gone, as [`World::stop`] asked.
    Stopped {
        /// Which.
        host: HostId,
    },
    /// A host is gone without a word.
    Crashed {
        /// Which.
        host: HostId,
        /// How its peers notice.
        how: Departure,
        /// Operations that will never finish.
        abandoned: Vec<OperationId>,
    },
    /// A host stands still.
    Suspended {
        /// Which.
        host: HostId,
    },
    /// A suspended host goes on.
    Resumed {
        /// Which.
        host: HostId,
    },
    /// An operation finished.
    Finished {
        /// At which host.
        host: HostId,
        /// Which.
        op: OperationId,
        /// How.
        outcome: Outcome,
    },
    /// A host's event.
    Event {
        /// At which host.
        host: HostId,
        /// What.
        event: Event,
    },
    /// A change reached a host's storage, or was lost on the way.
    Stored {
        /// At which host.
        host: HostId,
        /// What.
        change: StoreChange,
        /// Whether it is durable.
        durable: bool,
    },
    /// Bytes reached a host. Only when watched.
    Delivered {
        /// Which.
        host: HostId,
        /// Its number for the stream.
        stream: StreamId,
        /// What.
        bytes: Arc<[u8]>,
    },
    /// A host took an input, and everything that it wanted was begun. Only when watched.
    Handled {
        /// Which.
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
