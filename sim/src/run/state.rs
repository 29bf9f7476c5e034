//! State of a run: randomness of the plan, the reference model, and measurements.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use skydht_core::node::{Command, OperationId, StoreChange};
use skydht_core::time::{Unix, nanos};

use crate::clock::SimTime;
use crate::coverage::Coverage;
use crate::figures::{Samples, Unit};
use crate::network::HostId;
use crate::oracle::Violations;
use crate::oracle::durability::Durability;
use crate::oracle::holdings::Holdings;
use crate::oracle::operations::Operations;
use crate::oracle::promises::Tracked;
use crate::scenario::clocks::WallClocks;
use crate::scenario::draw::PlannedItem;
use crate::scenario::work::{self, UserAction};
use crate::scenario::{Progress, Scenario};

/// Interval between checks of the expensive invariants.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(10);
/// Time after a put until its holders are recorded: writes and late replicas are then complete.
pub(crate) const SETTLED: Duration = Duration::from_secs(12);
/// Time after a deletion until an old version is put again.
pub(super) const LATE_WRITE: Duration = Duration::from_secs(20);
/// Time until an owner that is back publishes again, as a visor does.
pub(super) const BACK: Duration = Duration::from_secs(5);
/// Requests and answers without progress are given up within this time.
pub(crate) const DEADLINES: Duration = Duration::from_secs(40);

/// A user's operation in progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserOperation {
    pub(crate) item: usize,
    pub(crate) action: UserAction,
    pub(crate) host: HostId,
    pub(crate) started: SimTime,
    /// Time of the first value, if the network reports it.
    pub(crate) first: Option<SimTime>,
    /// Its host was suspended in the meantime, so the answer may be late.
    pub(crate) disturbed: bool,
}

/// A run on the network `B`.
pub(crate) struct Run<'a, B> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) backend: B,
    pub(crate) random: ChaCha8Rng,
    pub(crate) clocks: WallClocks,
    pub(super) progress: &'a mut dyn FnMut(Progress),
    pub(crate) phase: &'static str,
    pub(crate) items: Vec<PlannedItem>,
    /// Promises and history of each item.
    pub(crate) tracked: Vec<Tracked>,
    /// Number of values of each item that users have tried to publish.
    versions: Vec<u32>,
    pub(crate) deleted: Vec<bool>,
    pub(crate) user_operations: BTreeMap<OperationId, UserOperation>,
    pub(crate) holdings: Holdings,
    pub(crate) durability: Durability,
    pub(crate) operations: Operations,
    pub(crate) violations: Violations,
    pub(crate) coverage: Coverage,
    pub(super) samples: BTreeMap<&'static str, Samples>,
    /// Number of reads that were right, wrong, and that cannot be judged.
    pub(super) verdicts: [u64; 3],
    /// Number of failed hosts so far. Each may have held acknowledged items.
    crashes: u64,
    /// A node has evicted an item.
    pub(crate) evicted: bool,
}

impl<'a, B> Run<'a, B> {
    pub(super) fn new(
        scenario: &'a Scenario,
        (backend, items, random): (B, Vec<PlannedItem>, ChaCha8Rng),
        clocks: WallClocks,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        let track = |it: &PlannedItem| Tracked::new(it.owner, it.secret.public(), it.target);
        Self {
            scenario,
            backend,
            random,
            clocks,
            progress,
            phase: "join",
            tracked: items.iter().map(track).collect(),
            versions: vec![0; items.len()],
            deleted: vec![false; items.len()],
            items,
            user_operations: BTreeMap::new(),
            holdings: Holdings::default(),
            durability: Durability::default(),
            operations: Operations::default(),
            violations: Violations::default(),
            coverage: Coverage::default(),
            samples: BTreeMap::new(),
            verdicts: [0; 3],
            crashes: 0,
            evicted: false,
        }
    }

    /// Number of failed hosts so far.
    pub(super) fn crashes(&self) -> u64 {
        self.crashes
    }

    /// Whether users have tried to publish an item.
    pub(super) fn was_published(&self, item: usize) -> bool {
        self.versions[item] > 0
    }

    /// Returns the command for a user's action. Each action that publishes has its own value.
    pub(crate) fn command(&mut self, item: usize, action: UserAction) -> Command {
        if !matches!(action, UserAction::Get { .. }) {
            self.versions[item] += 1;
        }
        let (planned, version) = (&self.items[item], self.versions[item]);
        work::command(action, item, planned, version, &self.scenario.work)
    }

    pub(crate) fn sample(&mut self, name: &'static str, took: Duration) {
        self.push(name, Unit::Nanoseconds, nanos(took));
    }

    pub(crate) fn sample_count(&mut self, name: &'static str, value: u64) {
        self.push(name, Unit::Count, value);
    }

    fn push(&mut self, name: &'static str, unit: Unit, value: u64) {
        let samples = self.samples.entry(name);
        samples.or_insert_with(|| Samples::new(unit)).push(value);
    }

    /// Records a change of what a host holds while its wall clock shows `clock`.
    pub(crate) fn stored(
        &mut self,
        at: SimTime,
        host: HostId,
        clock: Unix,
        change: &StoreChange,
        evicted: bool,
    ) {
        self.holdings
            .changed(at, host, clock, change, evicted, &mut self.violations);
    }

    /// Records that a host stopped running and lost what it held.
    pub(crate) fn host_failed(&mut self, host: HostId) {
        self.crashes += 1;
        // Items that it loads again may live shorter, because its clock may have been stepped.
        self.holdings.gone(host);
        for tracked in &mut self.tracked {
            tracked.failed(host);
        }
    }

    /// Records that users of a host will get no answers.
    pub(crate) fn users_failed(&mut self, host: HostId) {
        self.operations.abandoned(host);
        let tracked = &mut self.tracked;
        self.user_operations.retain(|_, operation| {
            let stays = operation.host != host;
            if !stays && operation.action.publishes() {
                tracked[operation.item].unsure();
            }
            stays
        });
    }

    /// Records that a host was suspended or its clocks were changed, so its operations may be late.
    pub(crate) fn disturb(&mut self, host: HostId) {
        for operation in self
            .user_operations
            .values_mut()
            .filter(|it| it.host == host)
        {
            operation.disturbed = true;
        }
        self.operations.disturbed(host);
    }
}
