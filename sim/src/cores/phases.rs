//! Phases that only runs on cores have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::Origin;
use skydht_core::store::merge::Rank;
use skydht_core::time::Unix;

use super::cast::HostKind;
use super::state::{Cores, STEP};
use crate::network::{GROUPS, HostId};
use crate::oracle::bounds;
use crate::run::{Backend as _, DEADLINES, Run};
use crate::scenario::action::Action;
use crate::scenario::draw::shuffled;
use crate::scenario::work;
use crate::scenario::{RunError, chaos};

/// Maximum number of events within which a network must become quiet.
const QUIET_EVENTS: u64 = 2_000_000;
/// Time within which full nodes have reconciled twice.
const RECONCILED: Duration = Duration::from_secs(150);
/// Clocks that differ by less than this agree on which items have expired.
const NEAR: Duration = Duration::from_secs(60);
/// Networks up to this size become quiet, unless a peer attacks; in larger ones some node is always
/// active.
const QUIET_NODES: u32 = 300;

impl Run<'_, Cores> {
    /// Lets users only read for a while, and measures the remaining traffic, which is maintenance.
    pub(super) fn measure_upkeep(&mut self) -> Result<(), RunError> {
        let (scenario, time) = (self.scenario, self.scenario.phases.idle);
        if time.is_zero() {
            return Ok(());
        }
        let before = self.backend.world.network().stats().bytes;
        let begin = self.now();
        for (at, item, task) in work::idle_reads(scenario, begin, time, &mut self.random) {
            self.plan_user(at, item, task);
        }
        self.pass("idle", time)?;
        let bytes = self.backend.world.network().stats().bytes - before;
        let seconds = time.as_secs().max(1) * u64::from(scenario.population.nodes);
        self.backend.upkeep = Some(bytes / seconds);
        Ok(())
    }

    pub(super) fn stop_dead_hosts(&mut self) -> Result<(), RunError> {
        let who = &self.scenario.population;
        let share = self.scenario.chaos.dead.draw(&mut self.random);
        let order = shuffled((who.bootstrap..who.nodes).collect(), &mut self.random);
        let count = u64::from(who.nodes) * u64::from(share.as_ppm()) / 1_000_000;
        for host in order.into_iter().take(count as usize).map(HostId) {
            self.remove(host)?;
        }
        Ok(())
    }

    /// Removes the machine of a host permanently.
    fn remove(&mut self, host: HostId) -> Result<(), RunError> {
        self.backend.dead.insert(host);
        let process = false;
        self.act(Action::Crash { host, process })
    }

    pub(super) fn begin_chaos(&mut self) -> Vec<HostId> {
        let scenario = self.scenario;
        let faults = chaos::faults(&scenario.network, &scenario.chaos, &mut self.random);
        let network = self.backend.world.network_mut();
        *network.faults_mut() = faults;
        if scenario.chaos.blackout {
            for host in self.hosts() {
                let group = (host.0 % u32::from(GROUPS)) as u8;
                self.backend.world.network_mut().set_group(host, group);
            }
            for (from, to) in (0..GROUPS).flat_map(|from| (0..GROUPS).map(move |to| (from, to))) {
                self.backend.world.network_mut().cut_one_way(from, to);
            }
        }
        let dead = &self.backend.dead;
        self.hosts().filter(|it| !dead.contains(it)).collect()
    }

    pub(super) fn wind_up(&mut self) -> Result<(), RunError> {
        if !self.scenario.phases.expiry.is_zero() {
            self.compare_stores()?;
            self.expiry()?;
        }
        self.compare_stores()?;
        self.check(true)?;
        self.check_signatures();
        let (now, redis) = (self.now(), self.backend.world.redis().records());
        self.durability
            .check_shared(now, &redis, &mut self.violations);
        let who = &self.scenario.population;
        if who.nodes <= QUIET_NODES && !who.hostile.is_possible() {
            self.go_quiet(false)?;
            self.backend.digest = Some(self.backend.world.digest().to_string());
            // Incomplete requests and unread answers have deadlines, too.
            self.pass("quiet", DEADLINES)?;
            self.go_quiet(true)?;
        }
        Ok(())
    }

    /// Removes the owners of every second item, and checks that the items are gone one TTL later.
    fn expiry(&mut self) -> Result<(), RunError> {
        let ttl = self.scenario.population.item_ttl;
        let owners = self.tracked.iter().step_by(2).map(|item| item.owner);
        let first = self.scenario.population.bootstrap;
        let gone: BTreeSet<HostId> = owners.filter(|owner| owner.0 >= first).collect();
        for host in &gone {
            self.remove(*host)?;
        }
        let left = self.now();
        self.pass("expiry", ttl + self.scenario.phases.expiry)?;
        let (now, cores) = (self.now(), &self.backend);
        for tracked in &self.tracked {
            if !gone.contains(&tracked.owner) || !tracked.outlived(now, left, ttl) {
                continue;
            }
            let target = tracked.target;
            for host in cores.living(HostKind::Ours) {
                let (Some(node), Some(time)) = (cores.world.node(host), cores.world.time_of(host))
                else {
                    continue;
                };
                let held = node.store().get(time, &target);
                if held.is_some_and(|it| it.is_live(time) && it.item().key == tracked.key) {
                    let what = format_args!("{host} still serves {target} of a dead owner");
                    self.violations.note(now, what);
                }
            }
        }
        Ok(())
    }

    /// Checks that full nodes, and hosts that share a Redis, agree: an item that one has and
    /// another, or the Redis, lacks or has at a lower rank, must not stay so for two rounds of
    /// reconciliation.
    fn compare_stores(&mut self) -> Result<(), RunError> {
        let who = &self.scenario.population;
        let full = who.full_nodes >= 2 && !who.hostile.is_possible() && !who.no_clock.is_possible();
        if !full && self.scenario.storage.redis == 0 {
            return Ok(());
        }
        let differences = |run: &Self| match full {
            true => run.full_node_differences(),
            false => BTreeSet::new(),
        };
        let before = (differences(self), self.lacking_in_redis());
        self.pass("reconcile", RECONCILED)?;
        let now = self.now();
        for (target, holder, other) in differences(self).intersection(&before.0) {
            let what = format_args!("{holder} holds {target}, and {other} still does not");
            self.violations.note(now, what);
        }
        for (target, holder) in self.lacking_in_redis().intersection(&before.1) {
            let what = format_args!("{holder} holds {target}, and the redis still does not");
            self.violations.note(now, what);
        }
        Ok(())
    }

    /// Items that hosts sharing a Redis have and the Redis lacks.
    fn lacking_in_redis(&self) -> BTreeSet<(Target, HostId)> {
        let world = &self.backend.world;
        let redis = world.redis().records().into_iter();
        let redis: BTreeMap<Target, Rank> = redis
            .map(|it| (it.target, Rank::of(&it.target, &it.item)))
            .collect();
        let living = self.backend.living(HostKind::Ours);
        let mut found = BTreeSet::new();
        for host in living.filter(|host| world.storage_of(*host).shared) {
            let (Some(node), Some(time)) = (world.node(host), world.time_of(host)) else {
                continue;
            };
            let held = node.store().range(Target::default());
            let held = held.filter(|(_, held)| held.is_live(time));
            let lacks = |target: &Target, rank: &Rank| redis.get(target).is_none_or(|it| it < rank);
            let lacking = held.filter(|(target, held)| lacks(target, &held.rank()));
            found.extend(lacking.map(|(target, _)| (*target, host)));
        }
        found
    }

    /// Items that a full node has, with the other full nodes that lack them.
    fn full_node_differences(&self) -> BTreeSet<(Target, HostId, HostId)> {
        let (cores, who) = (&self.backend, &self.scenario.population);
        let right = cores.right_wall_clock();
        // A node computes the lifetime of a received item from its sequence and the TTL: an item
        // that its owner renewed without a new sequence lives only at nodes that received the
        // renewal.
        let may_be_taken = right.minus(who.item_ttl.saturating_sub(2 * RECONCILED));
        let full: Vec<HostId> = cores
            .living(HostKind::Ours)
            .filter(|host| host.0 < who.full_nodes - who.liars)
            .filter(|host| is_near(cores.wall_clock(*host), right))
            .collect();
        let mut found = BTreeSet::new();
        for host in &full {
            let (Some(node), Some(time)) = (cores.world.node(*host), cores.world.time_of(*host))
            else {
                continue;
            };
            let held = node.store().range(Target::default());
            let held = held.filter(|(_, held)| held.is_live(time));
            let held = held.filter(|(_, held)| held.origin() == Origin::Owner);
            for (target, held) in held.filter(|(_, it)| it.item().seq.0 >= may_be_taken.0) {
                for other in full.iter().filter(|other| *other != host) {
                    let (Some(node), Some(time)) =
                        (cores.world.node(*other), cores.world.time_of(*other))
                    else {
                        continue;
                    };
                    let store = node.store();
                    let same = store
                        .get(time, target)
                        .is_some_and(|it| it.rank() >= held.rank());
                    let deleted = store.deleted_up_to(time, target) >= Some(held.item().seq);
                    if !same && !deleted {
                        found.insert((*target, *host, *other));
                    }
                }
            }
        }
        found
    }

    /// Waits until no event is pending, and checks that all resources of requests are released.
    fn go_quiet(&mut self, bytes: bool) -> Result<(), RunError> {
        let mut budget = QUIET_EVENTS;
        loop {
            match self.backend.world.step_until_quiet(&mut budget) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    if let Some(action) = self.observe(event) {
                        self.act(action)?;
                    }
                }
                Err(error) => {
                    self.violations.note(self.backend.world.now(), error);
                    return Ok(());
                }
            }
        }
        let now = self.now();
        self.backend.step_end = now.plus(STEP);
        for host in self.hosts() {
            if let Some(node) = self.backend.world.node(host)
                && let Some(held) =
                    bounds::still_held(&node.snapshot(), node.next_deadline(), bytes)
            {
                let what = format_args!("{host}: all is quiet, and yet {held}");
                self.violations.note(now, what);
            }
        }
        Ok(())
    }
}

fn is_near(clock: Unix, right: Unix) -> bool {
    clock.since(right) < NEAR && right.since(clock) < NEAR
}
