//! Events that an observer of a run gets.

use std::sync::Arc;

use serde::Serialize;
use skydht_core::id::Target;
use skydht_core::node::{Event, OperationId, Outcome, StoreChange, StreamId};

use crate::network::{Departure, HostId};
use crate::world::World;

/// An event. Its time is [`World::now`].
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SimEvent {
    /// A host started, for the first time or again.
    Started {
        /// The host that it is about.
        host: HostId,
        /// Number of the life, counted from 1.
        life: u32,
    },
    /// A host has shut down and ended, as requested with [`World::stop`].
    Stopped {
        /// The host that it is about.
        host: HostId,
    },
    /// A host crashed.
    Crashed {
        /// The host that it is about.
        host: HostId,
        /// How the host went down.
        how: Departure,
        /// Operations that will never finish.
        abandoned: Vec<OperationId>,
    },
    /// A host was suspended.
    Suspended {
        /// The host that it is about.
        host: HostId,
    },
    /// A suspended host was resumed.
    Resumed {
        /// The host that it is about.
        host: HostId,
    },
    /// An operation finished.
    Finished {
        /// The host where it happened.
        host: HostId,
        /// Number returned by [`World::command`].
        op: OperationId,
        /// Result of the operation.
        outcome: Outcome,
    },
    /// A node reported an event.
    Event {
        /// The host where it happened.
        host: HostId,
        /// The event, as the node reported it.
        event: Event,
    },
    /// A host changed what it holds and asked its storage to keep the change.
    Changed {
        /// The host where it happened.
        host: HostId,
        /// The change that the node asked to persist.
        change: StoreChange,
    },
    /// A host's storage wrote changes, in one write.
    Stored {
        /// The host where it happened.
        host: HostId,
        /// Number of changes.
        count: usize,
        /// The changes, only the last one of each target.
        #[serde(skip_serializing)]
        changes: Vec<StoreChange>,
        /// Whether the host got the confirmation that they are durable.
        durable: bool,
    },
    /// The replica of the shared Redis replaced the server.
    FailedOver {
        /// Targets whose last writes the replica did not have.
        lost: Vec<Target>,
    },
    /// Bytes reached a host. Emitted only if watched.
    Delivered {
        /// The host that it is about.
        host: HostId,
        /// The receiver's id of the stream.
        stream: StreamId,
        /// The received bytes, in one piece of any length.
        bytes: Arc<[u8]>,
    },
    /// A host handled an input, and all its outputs were started. Emitted only if watched.
    Handled {
        /// The host that it is about.
        host: HostId,
    },
    /// The time given to [`World::wake_at`] has come.
    Woke {
        /// The number given to [`World::wake_at`].
        token: u64,
    },
}

/// Which of the frequent events are emitted. The digest contains all of them in any case.
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

/// Gets every event and may act on the world.
pub trait Observer {
    /// Called when an event happens.
    fn observe(&mut self, world: &mut World, event: SimEvent);
}

impl<F: FnMut(&mut World, SimEvent)> Observer for F {
    fn observe(&mut self, world: &mut World, event: SimEvent) {
        self(world, event);
    }
}
