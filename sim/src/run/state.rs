//! What a run keeps: the plan's randomness, the reference model, and what was measured.

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

/// How often the expensive invariants are checked.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(10);
/// After a put, who holds it is looked up this much later: writes and late replicas are done.
pub(crate) const SETTLED: Duration = Duration::from_secs(12);
/// A stale version is put again this long after a deletion.
pub(super) const LATE_WRITE: Duration = Duration::from_secs(20);
/// An owner that is back publishes again after this, as a visor does.
pub(super) const BACK: Duration = Duration::from_secs(5);
/// Requests and answers that do not move on are given up within this.
pub(crate) const DEADLINES: Duration = Duration::from_secs(40);

/// A user's operation under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doing {
    pub(crate) item: usize,
    pub(crate) action: UserAction,
    pub(crate) host: HostId,
    pub(crate) started: SimTime,
    /// When the first value came, where the network reports that.
    pub(crate) first: Option<SimTime>,
    /// Its host was suspended meanwhile: the answer may be late.
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
    /// What was promised of each item.
    pub(crate) tracked: Vec<Tracked>,
    /// How many values of each item users have tried to publish.
    versions: Vec<u32>,
    pub(crate) deleted: Vec<bool>,
    pub(crate) doing: BTreeMap<OperationId, Doing>,
    pub(crate) holdings: Holdings,
    pub(crate) durability: Durability,
    pub(crate) operations: Operations,
    pub(crate) violations: Violations,
    pub(crate) coverage: Coverage,
    pub(super) samples: BTreeMap<&'static str, Samples>,
    /// Reads that were right, wrong, and of which nothing can be said.
    pub(super) verdicts: [u64; 3],
    /// Hosts that failed so far: each may have held what was acknowledged.
    crashes: u64,
    /// Some node has evicted an item.
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
            doing: BTreeMap::new(),
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

    /// Hosts that failed so far.
    pub(super) fn crashes(&self) -> u64 {
        self.crashes
    }

    /// Whether users have tried to publish an item.
    pub(super) fn was_published(&self, item: usize) -> bool {
        self.versions[item] > 0
    }

    /// Returns the command for a user's step. Each one that publishes has a value of its own.
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

    /// A host holds something else, and its wall clock shows `clock`.
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

    /// A host runs no more: what it held is lost.
    pub(crate) fn host_failed(&mut self, host: HostId) {
        self.crashes += 1;
        // What it loads again may live shorter: its clock may have been stepped.
        self.holdings.gone(host);
        for tracked in &mut self.tracked {
            tracked.failed(host);
        }
    }

    /// Users of a host will get no answers.
    pub(crate) fn users_failed(&mut self, host: HostId) {
        self.operations.abandoned(host);
        let tracked = &mut self.tracked;
        self.doing.retain(|_, doing| {
            let stays = doing.host != host;
            if !stays && doing.action.publishes() {
                tracked[doing.item].unsure();
            }
            stays
        });
    }

    /// A host stands still for a while, or its clocks were changed: its operations may be late.
    pub(crate) fn disturb(&mut self, host: HostId) {
        for doing in self.doing.values_mut().filter(|it| it.host == host) {
            doing.disturbed = true;
        }
        self.operations.disturbed(host);
    }
}
