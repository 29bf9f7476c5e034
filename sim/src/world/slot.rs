//! What the world keeps of each host.

use std::collections::{BTreeMap, VecDeque};

use skydht_core::id::Target;
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;

use crate::clock::{Clock, SimTime};
use crate::host::{Boot, Host};

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
