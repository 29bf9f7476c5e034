//! What a run needs of the network that it drives.

use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::node::{GetOutcome, OperationId};
use skydht_core::time::Unix;

use super::state::{Doing, Run};
use crate::clock::SimTime;
use crate::coverage::Coverage;
use crate::figures::Quantity;
use crate::network::{HostId, Rate};
use crate::oracle::Violations;
use crate::scenario::RunError;
use crate::scenario::action::Action;
use crate::scenario::storage::StorageFault;
use crate::scenario::work::UserAction;

/// A simulated network on which a scenario is played: cores alone, or the whole program.
///
/// Functions that take the [`Run`] do their own part of a phase or action, with the reference
/// model at hand.
pub(crate) trait Backend: Sized {
    /// What can be planned: [`Action`], and what only this network knows.
    type Planned: From<Action>;
    /// The longest that an operation may take.
    const OPERATION_LIMIT: Duration;

    fn now(&self) -> SimTime;
    fn plan(&mut self, at: SimTime, planned: Self::Planned);
    /// Lets time pass until something planned is due, and returns it; `None` when it is `end`.
    fn next_planned(
        run: &mut Run<'_, Self>,
        end: SimTime,
    ) -> Result<Option<Self::Planned>, RunError>;
    fn carry_out(run: &mut Run<'_, Self>, planned: Self::Planned) -> Result<(), RunError>;

    /// The number of hosts, running or not.
    fn hosts(&self) -> u32;
    fn key(&self, host: HostId) -> PublicKey;
    /// Whether a node runs on a host, suspended or not.
    fn is_up(&self, host: HostId) -> bool;
    /// Whether a node runs on a host and is not suspended.
    fn is_awake(&self, host: HostId) -> bool;
    /// Whether every node of the network is of ours.
    fn all_ours(&self) -> bool;
    /// Hosts whose users read and publish what others signed.
    fn readers(&self) -> Vec<HostId>;
    /// What a host's wall clock shows.
    fn wall_clock(&self, host: HostId) -> Unix;
    /// What it would show if it were right.
    fn right_wall_clock(&self) -> Unix;

    // Those that return a `bool` say whether it had an effect: what was planned may be overtaken by
    // something else, as a host that crashed cannot be suspended.
    fn start(run: &mut Run<'_, Self>, host: HostId, wipe: bool) -> Result<bool, RunError>;
    fn crash(run: &mut Run<'_, Self>, host: HostId, process: bool) -> bool;
    fn suspend(&mut self, host: HostId) -> bool;
    fn resume(&mut self, host: HostId) -> bool;
    fn step_clock(&mut self, host: HostId, by: Duration, forward: bool) -> bool;
    fn drift_clock(&mut self, host: HostId, ppm: i32) -> bool;
    fn storage_fault(&mut self, fault: StorageFault) -> bool;
    /// Divides the network; ends the division where `share` is [`Rate::NEVER`].
    fn divide(run: &mut Run<'_, Self>, share: Rate, one_way: bool);
    /// Begins a user's operation; `None` where the node does not run.
    fn begin(
        run: &mut Run<'_, Self>,
        host: HostId,
        item: usize,
        action: UserAction,
    ) -> Option<OperationId>;
    /// The two steps that publish two values under one sequence.
    fn tie(run: &Run<'_, Self>, item: usize) -> [UserAction; 2];

    /// Starts what is there besides hosts.
    fn open(run: &mut Run<'_, Self>) -> Result<(), RunError>;
    /// All items are published, and nothing has gone wrong yet.
    fn published(run: &mut Run<'_, Self>) -> Result<(), RunError>;
    /// Changes the network for the chaos phase, and returns the hosts that it may touch.
    fn begin_chaos(run: &mut Run<'_, Self>, from: SimTime, to: SimTime) -> Vec<HostId>;
    /// Plans what only this network knows for the chaos phase.
    fn plan_chaos(run: &mut Run<'_, Self>, from: SimTime, to: SimTime, victims: &[HostId]);
    /// Ends every fault, and starts every host that is to come back.
    fn heal(run: &mut Run<'_, Self>, victims: &[HostId]) -> Result<(), RunError>;
    /// The healing phase is over.
    fn healed(run: &mut Run<'_, Self>);
    /// The phases after everything was read.
    fn wind_up(run: &mut Run<'_, Self>) -> Result<(), RunError>;
    /// Checks the expensive invariants of hosts: of all, or of those whose turn it is.
    fn check_hosts(run: &mut Run<'_, Self>, all: bool) -> Result<(), RunError>;
    /// Measures a read that found something.
    fn sample_read(run: &mut Run<'_, Self>, doing: &Doing, at: SimTime, found: &GetOutcome);
    /// Ends the network, and returns what it counted.
    fn totals(self, coverage: &mut Coverage, violations: &mut Violations) -> Totals;
}

/// What a network counted, in the end.
pub(crate) struct Totals {
    pub(crate) digest: String,
    pub(crate) figures: Vec<(&'static str, Quantity)>,
}
