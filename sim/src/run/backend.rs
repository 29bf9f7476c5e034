//! What a run needs from the network that it drives.

use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::node::{GetOutcome, OperationId};
use skydht_core::time::Unix;

use super::state::{Run, UserOperation};
use crate::clock::SimTime;
use crate::coverage::Coverage;
use crate::figures::Quantity;
use crate::network::{HostId, Rate};
use crate::oracle::Violations;
use crate::scenario::RunError;
use crate::scenario::action::Action;
use crate::scenario::storage::StorageFault;
use crate::scenario::work::UserAction;

/// A simulated network on which a scenario is run: only cores, or the whole program.
///
/// Functions that take the [`Run`] do the network's part of a phase or action and have access to
/// the reference model.
pub(crate) trait Backend: Sized {
    /// What can be planned: [`Action`], and actions that only this network has.
    type Planned: From<Action>;
    /// Maximum duration of an operation.
    const OPERATION_LIMIT: Duration;

    fn now(&self) -> SimTime;
    fn plan(&mut self, at: SimTime, planned: Self::Planned);
    /// Lets time pass until a planned action is due, and returns it; `None` at `end`.
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
    /// Whether every node of the network is one of ours.
    fn all_ours(&self) -> bool;
    /// Hosts whose users read and publish what others signed.
    fn readers(&self) -> Vec<HostId>;
    /// Time on a host's wall clock.
    fn wall_clock(&self, host: HostId) -> Unix;
    /// Time that a correct wall clock shows.
    fn right_wall_clock(&self) -> Unix;

    // The functions that return a `bool` return whether they had an effect. An earlier action may
    // prevent one, such as the suspension of a host that has crashed.
    fn start(run: &mut Run<'_, Self>, host: HostId, wipe: bool) -> Result<bool, RunError>;
    fn crash(run: &mut Run<'_, Self>, host: HostId, process: bool) -> bool;
    fn suspend(&mut self, host: HostId) -> bool;
    fn resume(&mut self, host: HostId) -> bool;
    fn step_clock(&mut self, host: HostId, by: Duration, forward: bool) -> bool;
    fn drift_clock(&mut self, host: HostId, ppm: i32) -> bool;
    fn storage_fault(&mut self, fault: StorageFault) -> bool;
    /// Divides the network, or ends the division if `share` is [`Rate::NEVER`].
    fn divide(run: &mut Run<'_, Self>, share: Rate, one_way: bool);
    /// Begins a user's operation; `None` if the node does not run.
    fn begin(
        run: &mut Run<'_, Self>,
        host: HostId,
        item: usize,
        action: UserAction,
    ) -> Option<OperationId>;
    /// The two actions that publish two values with one sequence number.
    fn tie(run: &Run<'_, Self>, item: usize) -> [UserAction; 2];

    /// Starts everything that is not a host.
    fn open(run: &mut Run<'_, Self>) -> Result<(), RunError>;
    /// Called when all items are published and there have been no faults yet.
    fn published(run: &mut Run<'_, Self>) -> Result<(), RunError>;
    /// Changes the network for the chaos phase and returns the hosts that faults may affect.
    fn begin_chaos(run: &mut Run<'_, Self>, from: SimTime, to: SimTime) -> Vec<HostId>;
    /// Plans the faults of the chaos phase that only this network has.
    fn plan_chaos(run: &mut Run<'_, Self>, from: SimTime, to: SimTime, victims: &[HostId]);
    /// Ends every fault and starts every host that is to come back.
    fn heal(run: &mut Run<'_, Self>, victims: &[HostId]) -> Result<(), RunError>;
    /// Called at the end of the healing phase.
    fn healed(run: &mut Run<'_, Self>);
    /// Runs the phases after all items have been read.
    fn wind_up(run: &mut Run<'_, Self>) -> Result<(), RunError>;
    /// Checks the expensive invariants of hosts, of all or only of those whose turn it is.
    fn check_hosts(run: &mut Run<'_, Self>, all: bool) -> Result<(), RunError>;
    /// Measures a read that found an item.
    fn sample_read(
        run: &mut Run<'_, Self>,
        operation: &UserOperation,
        at: SimTime,
        found: &GetOutcome,
    );
    /// Ends the network and returns its counts.
    fn totals(self, coverage: &mut Coverage, violations: &mut Violations) -> Totals;
}

/// Final counts of a network.
pub(crate) struct Totals {
    pub(crate) digest: String,
    pub(crate) figures: Vec<(&'static str, Quantity)>,
}
