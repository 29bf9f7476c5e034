//! What the world keeps of each host.

use std::collections::{BTreeMap, VecDeque};

use skydht_core::key::PublicKey;
use skydht_core::node::{ConfigError, StoreChange};
use skydht_core::record::StoredRecord;
use skydht_core::time::Time;
use skydht_core::{Seed, id::Target};

use crate::clock::{Clock, SimTime};
use crate::host::Host;

/// What a host is told when it starts.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Its clock.
    pub now: Time,
    /// Where its randomness comes from; another in each life.
    pub seed: Seed,
    /// 1 for the first time, then counting.
    pub life: u32,
}

/// Makes a host each time it starts: at first, and after a stop or a crash.
pub trait Boot {
    /// The key that the host's transport proves, the same in every life.
    fn key(&self) -> PublicKey;

    /// Starts it.
    ///
    /// # Errors
    /// A configuration that cannot be.
    fn boot(&mut self, start: Start) -> Result<Box<dyn Host>, ConfigError>;
}

/// Whether a host runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Down,
    Up,
    /// It ends when its shutdown has finished.
    Stopping,
    Suspended,
}

/// A host.
pub(super) struct Slot {
    pub(super) boot: Box<dyn Boot>,
    pub(super) host: Option<Box<dyn Host>>,
    pub(super) clock: Clock,
    pub(super) state: State,
    /// Counts starts.
    pub(super) life: u32,
    /// When its timer is set; other timers are stale.
    pub(super) timer: Option<SimTime>,
    /// When its last verification ends: one after the other.
    pub(super) busy_until: SimTime,
    pub(super) disk: Option<Box<Disk>>,
}

/// A host's storage: it outlives the host.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) records: BTreeMap<Target, StoredRecord>,
    /// To be loaded after a start.
    pub(super) loading: VecDeque<StoredRecord>,
}

impl Disk {
    pub(super) fn write(&mut self, change: &StoreChange) {
        match change {
            StoreChange::Keep(record) => {
                self.records
                    .insert(record.target, StoredRecord::clone(record));
            }
            StoreChange::Forget(target) => {
                self.records.remove(target);
            }
        }
    }
}
