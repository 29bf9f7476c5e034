//! Invariants checked from outside the nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::node::{Counter, Limit, PeerInfo, Snapshot};
use skydht_driver::transport::TransportStats;
use skydht_driver::{Dht, DriverStats};

use super::hosts::RETIRED;
use super::machine::State;
use super::state::WholeProgram;
use crate::clock::SimTime;
use crate::network::{HostId, Rate};
use crate::oracle::bounds;
use crate::run::{DEADLINES, Run, UserOperation};
use crate::scenario::RunError;

/// Maximum number of times per second that the tasks of one host may be polled, on average between
/// two checks.
const POLLS_A_SECOND: u64 = 1_000;
/// The same over DMSG, where the task of one session handles all streams of a host.
const POLLS_A_SECOND_RELAYED: u64 = 4_000;
/// Number of keepalives after which a silent peer must have been given up: three without an answer,
/// the one before, and a handshake that began in the meantime.
const GIVEN_UP: u32 = 5;
/// An answer that comes later than this after the command is a violation.
const ANSWERED: Duration = Duration::from_secs(skydht_core::node::OPERATION_TIMEOUT.as_secs() + 1);
/// Interval between checks until the two sides agree.
const LOOK: Duration = Duration::from_millis(500);
/// Number of streams per session that is sufficient for everything that a small network does.
const AMPLE_STREAMS: u32 = 32;
/// Maximum number of streams that may be finishing.
const MAX_LINGERING: usize = 1_024;

/// A node's report about itself.
struct Status {
    snapshot: Snapshot,
    peers: Vec<PeerInfo>,
    driver: DriverStats,
    transport: TransportStats,
}

async fn status(dht: &Dht) -> Option<Status> {
    Some(Status {
        snapshot: dht.snapshot().await.ok()?,
        peers: dht.peers().await.ok()?,
        driver: dht.driver_stats().await.ok()?,
        transport: dht.transport_stats(),
    })
}

/// Resources that node, loop and transport still count as used, except idle streams and sessions.
fn still_held(status: &Status) -> Option<String> {
    let Status {
        snapshot,
        driver,
        transport,
        ..
    } = status;
    let counts = [
        ("lingering streams", driver.lingering),
        ("bytes of lingering streams", driver.lingering_bytes),
        ("unsent bytes", driver.unsent_bytes),
        ("operations in the loop", driver.operations),
        ("signatures at the verifier", driver.verifying),
        ("probes", driver.probes),
        ("bytes queued in sessions", transport.queued_bytes),
        ("dials", transport.dialling),
        ("handshakes", transport.handshaking),
    ];
    let used = counts.into_iter().filter(|(_, count)| *count > 0);
    let mut held: Vec<String> = used
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    held.extend(bounds::still_held(snapshot, None, true));
    (!held.is_empty()).then(|| held.join(", "))
}

impl Run<'_, WholeProgram> {
    /// Status of a running node. It answers immediately, so simulated time does not advance.
    fn status(&mut self, host: HostId) -> Option<Status> {
        let dht = self.backend.machines[host.index()].node()?.clone();
        let before = self.now();
        let status = self.backend.world.run_until(status(&dht));
        let now = self.now();
        if now != before {
            let what = format_args!("{host} took {:?} to say how it is", now.since(before));
            self.violations.note(now, what);
        }
        match status {
            Ok(Some(status)) => Some(status),
            Ok(None) => {
                let what = format_args!("{host} has stopped by itself");
                self.violations.note(now, what);
                None
            }
            Err(stalled) => {
                self.backend.stalled = true;
                self.violations.note(now, stalled);
                None
            }
        }
    }

    /// Adds the counters of a node that is about to end to the coverage.
    pub(super) fn count_node(&mut self, host: HostId) {
        let status = self.status(host);
        // Tasks may have run in the meantime.
        self.process_events();
        let Some(status) = status else {
            return;
        };
        self.coverage.add(&status.snapshot.counters);
        self.coverage.add_limits(&status.snapshot.limits);
        let it = status.transport;
        for (name, count) in [
            ("dials", it.dials),
            ("dials_failed", it.dials_failed),
            ("dials_shared", it.dials_shared),
            ("sessions_accepted", it.accepted),
            ("sessions_superseded", it.superseded),
            ("sessions_idle_closed", it.idle_closed),
            ("sessions_lost", it.lost),
            ("sessions_refused", it.refused),
            ("handshakes_failed", it.handshakes_failed),
            ("handshakes_abandoned", it.handshakes_abandoned),
            ("handshakes_dropped", it.handshakes_dropped),
            ("accepts_held", it.accepts_held),
            ("streams_cut", status.driver.lingering_cut),
        ] {
            self.coverage.count(name, count);
        }
    }

    /// Checks the status of every node, the number of polls, and that all users have their answers.
    pub(super) fn check_nodes(&mut self) {
        let now = self.now();
        let ours = self.backend.machines.iter().map(|it| it.key);
        let existing: BTreeSet<PublicKey> = ours.chain(self.backend.go.keys()).collect();
        for host in self.hosts() {
            if let Some(status) = self.status(host) {
                self.check_one(host, &status, &existing);
            }
        }
        let violations = &mut self.violations;
        self.user_operations.retain(|_, it: &mut UserOperation| {
            let late = now > it.started.plus(ANSWERED) && !it.disturbed;
            if late {
                let (host, action) = (it.host, it.action);
                violations.note(
                    now,
                    format_args!("{host}: a user still waits for {action:?}"),
                );
            }
            !late
        });
        self.check_polls();
    }

    fn check_one(&mut self, host: HostId, status: &Status, existing: &BTreeSet<PublicKey>) {
        let (now, own) = (self.now(), self.backend.machines[host.index()].key);
        let violations = &mut self.violations;
        bounds::limits(now, host, &status.snapshot.limits, violations);
        for peer in &status.peers {
            if !existing.contains(&peer.key) || peer.key == own {
                violations.note(now, format_args!("{host} lists {}", peer.key));
            }
        }
        if status.snapshot.counters.get(Counter::ItemsEvicted) > 0 {
            self.evicted = true;
        }
        let (driver, sessions) = (&status.driver, status.transport.sessions);
        // Sessions use slots only for streams that are held. Over DMSG they also use slots for
        // streams whose handshake is incomplete, see `disagreement`.
        let relayed = self.scenario.program.relays > 0;
        if !relayed && status.transport.streams > driver.streams {
            let (there, here) = (status.transport.streams, driver.streams);
            let what = format_args!("{host}: sessions count {there} streams, the loop {here}");
            violations.note(now, what);
        }
        if driver.misuse > 0 {
            let what = format_args!("{host}: {} inputs were misuse of the node", driver.misuse);
            violations.note(now, what);
        }
        let most = self.scenario.program.max_sessions as usize;
        if sessions > most {
            violations.note(now, format_args!("{host}: {sessions} of {most} sessions"));
        }
        if driver.lingering > MAX_LINGERING {
            let what = format_args!("{host}: {} streams linger", driver.lingering);
            violations.note(now, what);
        }
        let used = |limit| {
            let limits = status.snapshot.limits.iter();
            let used = limits.filter(|it| it.limit == limit).map(|it| it.used);
            used.sum::<usize>()
        };
        // A user that gave up has no operation, and neither has a user that got its answer.
        let asking = self.backend.shared.lock().hosts[host.index()].asking;
        let operations = used(Limit::operations);
        if operations != asking {
            let what = format_args!("{host}: {operations} operations for {asking} users");
            violations.note(now, what);
        }
        // Streams that the node counts as open exist in the loop. Further streams of the loop are
        // finishing.
        let counted = used(Limit::streams);
        let held = driver.streams - driver.lingering;
        if held != counted {
            let what = format_args!("{host}: the loop has {held} streams, the node {counted}");
            violations.note(now, what);
        }
    }

    /// Checks that no host is busy all the time.
    fn check_polls(&mut self) {
        let now = self.now();
        let seconds = now.since(self.backend.looked).as_secs();
        if seconds == 0 {
            return;
        }
        self.backend.looked = now;
        let most = match self.scenario.program.relays {
            0 => POLLS_A_SECOND,
            _ => POLLS_A_SECOND_RELAYED,
        };
        for machine in &mut self.backend.machines {
            let polls = self.backend.world.polls_of(machine.ip);
            let rate = (polls - machine.polls) / seconds;
            machine.polls = polls;
            self.backend.busiest = self.backend.busiest.max(rate);
            if rate > most {
                let host = machine.host;
                let what = format_args!("the tasks of {host} are polled {rate} times a second");
                self.violations.note(now, what);
            }
        }
    }

    /// All traffic of a host has been blocked since `since`. If that is long ago, neither the host
    /// nor its peers may still have sessions with each other.
    pub(super) fn check_given_up(&mut self, host: HostId, since: SimTime) {
        let now = self.now();
        if now.since(since) < GIVEN_UP * self.scenario.program.keepalive {
            return;
        }
        self.coverage.count("long_silences", 1);
        let machine = &self.backend.machines[host.index()];
        for ends in self.backend.world.connections() {
            let (true, Some(other)) = (
                ends.contains(&machine.ip),
                self.backend
                    .machines
                    .iter()
                    .find(|it| it.host != host && ends.contains(&it.ip)),
            ) else {
                continue;
            };
            if machine.was_awake(since) && other.was_awake(since) {
                let what = format_args!("{host} is silent since {since}, and {} waits", other.host);
                self.violations.note(now, what);
            }
        }
    }

    /// Without faults so far, nothing may have failed, and no session may have ended except
    /// replaced and idle ones.
    pub(super) fn check_calm(&mut self) {
        let (program, nodes) = (&self.scenario.program, self.scenario.population.nodes);
        if program.max_sessions < nodes || program.max_streams < AMPLE_STREAMS {
            return; // failures because of a limit are expected
        }
        if !self.scenario.population.limits.is_empty() {
            return;
        }
        if program.go_relays {
            return; // a stream to a host that has not started yet is never answered
        }
        let now = self.now();
        let (mut made, mut accounted) = (0, 0);
        for host in self.hosts() {
            let Some(status) = self.status(host) else {
                continue;
            };
            let (it, counters) = (status.transport, status.snapshot.counters);
            made += it.dials + it.accepted;
            // The other end of a session that was closed as idle need not have noticed it.
            accounted += it.sessions as u64 + it.superseded + 2 * it.idle_closed;
            // Over DMSG a host is unreachable until it has a session, so the first calls may fail.
            let relayed = program.relays > 0;
            for (what, count) in [
                ("calls failed", counters.get(Counter::CallsFailed)),
                ("opens failed", counters.get(Counter::OpensFailed)),
            ] {
                if count > 0 && !relayed {
                    let what = format_args!("{host}: nothing went wrong, yet {count} {what}");
                    self.violations.note(now, what);
                }
            }
            for (what, count) in [
                ("dials failed", it.dials_failed),
                ("handshakes failed", it.handshakes_failed),
                ("handshakes were dropped", it.handshakes_dropped),
                ("sessions were lost", it.lost),
                ("sessions were refused", it.refused),
            ] {
                if count > 0 {
                    let what = format_args!("{host}: nothing went wrong, yet {count} {what}");
                    self.violations.note(now, what);
                }
            }
        }
        let failures = self.backend.relays.totals().failures;
        if failures > 0 {
            let what = format_args!("nothing went wrong, yet the relays count {failures} failures");
            self.violations.note(now, what);
        }
        if accounted < made {
            let gone = made - accounted;
            let what = format_args!("{gone} ends of sessions are gone, and nobody wanted it");
            self.violations.note(now, what);
        }
        for name in ["opens_given_up", "slow_opens"] {
            let count = self.backend.shared.lock().coverage.get(name);
            if count > 0 {
                let what = format_args!("nothing went wrong, yet {name} is {count}");
                self.violations.note(now, what);
            }
        }
    }

    /// Checks the network after a period without faults. Both sides of a session may need time to
    /// agree, at most as long as a replaced session may last.
    pub(super) fn check_settled(&mut self) -> Result<(), RunError> {
        self.check(true)?;
        for machine in &self.backend.machines {
            if !machine.gone && machine.node().is_none_or(|dht| !dht.is_ready()) {
                let what = format_args!("{} is not ready, though all is well", machine.host);
                self.violations.note(self.now(), what);
            }
        }
        self.moved();
        self.all_given_back()?;
        let last = self.now().plus(RETIRED);
        while let Some(what) = self.disagreement() {
            let now = self.now();
            if now >= last || self.backend.stalled {
                self.violations.note(now, what);
                break;
            }
            self.pass("idle", LOOK)?;
        }
        Ok(())
    }

    /// Checks that the hosts that came back on another port are known at that port and no other.
    fn moved(&mut self) {
        if self.scenario.program.moves == Rate::NEVER {
            return;
        }
        let now = self.now();
        for host in self.hosts() {
            let Some(status) = self.status(host) else {
                continue;
            };
            for peer in &status.peers {
                let there = self.backend.machines.iter().find(|it| it.key == peer.key);
                let Some((there, at)) = there.zip(peer.addr) else {
                    continue;
                };
                if peer.proven && there.is_up() && at != there.addr() {
                    let (other, now_at) = (there.host, there.addr());
                    let what = format_args!("{host} lists {other} at {at}, which is at {now_at}");
                    self.violations.note(now, what);
                }
            }
        }
    }

    /// Nodes keep doing maintenance, so they are idle at different times. Each must be seen idle,
    /// and must then count no resources as used.
    fn all_given_back(&mut self) -> Result<(), RunError> {
        let last = self.now().plus(DEADLINES);
        let mut hosts: Vec<HostId> = self.hosts().collect();
        loop {
            let mut held = Vec::new();
            for host in hosts {
                if let Some(status) = self.status(host)
                    && let Some(what) = still_held(&status)
                {
                    held.push((host, what));
                }
            }
            let now = self.now();
            if now >= last || self.backend.stalled || held.is_empty() {
                for (host, what) in held {
                    let what = format_args!("{host}: all is quiet, and yet {what}");
                    self.violations.note(now, what);
                }
                return Ok(());
            }
            hosts = held.into_iter().map(|(host, _)| host).collect();
            self.pass("idle", LOOK)?;
        }
    }

    /// Checks that no host is dialling, every session exists at both ends, and two hosts have at
    /// most one session.
    fn disagreement(&mut self) -> Option<String> {
        let relays = self.backend.relays.totals();
        let (mut ends, mut underway) = (relays.sessions, relays.handshaking);
        let (sessions, dials) = self.backend.go.sessions();
        (ends, underway) = (ends + sessions, underway + dials);
        for host in self.hosts() {
            if let Some(status) = self.status(host) {
                ends += status.transport.sessions;
                underway += status.transport.dialling + status.transport.handshaking;
                let (there, here) = (status.transport.streams, status.driver.streams);
                if there > here {
                    return Some(format!(
                        "{host}: sessions count {there} streams, the loop {here}"
                    ));
                }
            }
        }
        if underway > 0 {
            return Some(format!("{underway} dials and handshakes never end"));
        }
        let mut connections = self.backend.world.connections();
        connections.iter_mut().for_each(|ends| ends.sort());
        connections.sort();
        let twice = connections.windows(2).find(|pair| pair[0] == pair[1]);
        if let Some([[a, b], _]) = twice {
            return Some(format!("{a} and {b} keep two connections"));
        }
        let count = connections.len();
        (ends != 2 * count).then(|| format!("{ends} ends of sessions on {count} connections"))
    }

    /// Checks that nothing is left after all hosts have shut down.
    pub(super) fn nothing_left(&mut self) {
        let now = self.now();
        for machine in &self.backend.machines {
            if !matches!(machine.state, State::Down(_)) {
                let what = format_args!("{} has not shut down", machine.host);
                self.violations.note(now, what);
            }
            let tasks = self.backend.world.tasks_of(machine.ip);
            if tasks > 0 {
                let what = format_args!("{tasks} tasks are left on {}", machine.host);
                self.violations.note(now, what);
            }
        }
        for ip in self.backend.relays.ips().chain(self.backend.go.ips()) {
            let tasks = self.backend.world.tasks_of(ip);
            if tasks > 0 {
                let what = format_args!("{tasks} tasks are left on {ip}");
                self.violations.note(now, what);
            }
        }
        let connections = self.backend.world.connections().len();
        if connections > 0 {
            self.violations
                .note(now, format_args!("{connections} connections are left"));
        }
        if !self.user_operations.is_empty() {
            let count = self.user_operations.len();
            self.violations
                .note(now, format_args!("{count} users still wait"));
        }
    }
}
