//! State of each host in the world.

use std::collections::VecDeque;

use skydht_driver::storage::Kept;

use crate::clock::{Clock, SimTime};
use crate::host::{Boot, Host};
use crate::network::HostId;
use crate::storage::{Engine, FaultyDisk, Queue, Redis, Setup};

/// Whether a host runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Down,
    Up,
    /// The host ends when its shutdown has finished.
    Stopping,
    Suspended,
}

/// A host.
pub(super) struct Slot {
    pub(super) boot: Box<dyn Boot>,
    pub(super) host: Option<Box<dyn Host>>,
    pub(super) clock: Clock,
    pub(super) state: State,
    /// Number of starts.
    pub(super) life: u32,
    /// When the current timer is due; other timers are obsolete.
    pub(super) timer: Option<SimTime>,
    /// When the last verification ends. Verifications run one after the other.
    pub(super) busy_until: SimTime,
    pub(super) setup: Setup,
    pub(super) disk: Option<Box<Disk>>,
}

/// A host's storage. It outlives the host.
pub(super) struct Disk {
    pub(super) engine: Engine,
    pub(super) queue: Queue,
    /// Records still to be given to the node.
    pub(super) loading: VecDeque<Kept>,
    /// A record is being loaded.
    pub(super) is_loading: bool,
}

impl Disk {
    pub(super) fn new(setup: Setup, redis: &Redis, host: HostId) -> Self {
        let engine = if setup.shared {
            Engine::Redis(redis.client(host.0))
        } else {
            Engine::Disk(FaultyDisk::new(setup.lies))
        };
        Self {
            engine,
            queue: Queue::default(),
            loading: VecDeque::new(),
            is_loading: false,
        }
    }
}
