//! Faults that exist only at this depth, planned before the second phase.

use std::time::Duration;

use super::action::ProgramAction;
use super::directory::Presence;
use super::state::WholeProgram;
use crate::clock::SimTime;
use crate::network::HostId;
use crate::network::faults::below;
use crate::network::faults::up_to;
use crate::run::{Backend as _, Run};
use crate::scenario::action::Action;

const MINUTE: Duration = Duration::from_secs(60);

impl Run<'_, WholeProgram> {
    /// Makes connecting difficult and ends the last hosts permanently. Returns all hosts.
    pub(super) fn begin_chaos(&mut self, from: SimTime) -> Vec<HostId> {
        let chaos = &self.scenario.chaos;
        let mut rough = self.backend.world.conditions();
        rough.refused_ppm = chaos.dial_refused.draw(&mut self.random).as_ppm();
        rough.lost_ppm = chaos.dial_lost.draw(&mut self.random).as_ppm();
        self.backend.world.set_conditions(rough);
        let hosts: Vec<HostId> = self.hosts().collect();
        let first = hosts
            .len()
            .saturating_sub(self.scenario.program.gone as usize);
        for host in hosts[first..].iter().copied() {
            self.backend.machine_mut(host).gone = true;
            let process = true;
            self.plan(from, Action::Crash { host, process });
        }
        hosts
    }

    /// Plans the faults that exist only at this depth.
    pub(super) fn plan_trouble(&mut self, begin: SimTime, end: SimTime, hosts: &[HostId]) {
        let program = &self.scenario.program;
        let random = &mut self.random;
        let [cut, silent, leave] =
            [&program.cut, &program.silent, &program.leave].map(|it| it.draw(random));
        let minutes = (end.since(begin).as_secs() / 60).max(1);
        let mut plan = Vec::new();
        for minute in 0..minutes {
            let begin = begin.plus(MINUTE * minute as u32);
            for host in hosts.iter().copied() {
                if cut.hits(random) {
                    plan.push((
                        begin.plus(up_to(MINUTE, random)),
                        ProgramAction::Break(host),
                    ));
                }
                if silent.hits(random) {
                    let at = begin.plus(up_to(MINUTE, random));
                    plan.push((at, ProgramAction::Silence(host)));
                    plan.push((at.plus(up_to(MINUTE, random)), ProgramAction::Hear(host)));
                }
                if leave.hits(random) {
                    let at = begin.plus(up_to(MINUTE, random));
                    plan.push((at, ProgramAction::Leave(host)));
                    let back = at.plus(up_to(MINUTE, random));
                    let wipe = false;
                    plan.push((back, ProgramAction::Common(Action::Start { host, wipe })));
                }
            }
        }
        for (at, act) in plan {
            self.backend.plan(at, act);
        }
    }

    /// Plans crashes of relays, their return, and breaks of their connections.
    pub(super) fn plan_relay_trouble(&mut self, begin: SimTime, end: SimTime) {
        let program = &self.scenario.program;
        let random = &mut self.random;
        let [crash, cut, away] =
            [&program.relay_crash, &program.cut, &program.discovery_away].map(|it| it.draw(random));
        let minutes = (end.since(begin).as_secs() / 60).max(1);
        let mut plan = Vec::new();
        for minute in 0..minutes {
            let begin = begin.plus(MINUTE * minute as u32);
            for relay in self.backend.relays.ids() {
                if crash.hits(random) {
                    let at = begin.plus(up_to(MINUTE, random));
                    let process = below(random, 2) == 0;
                    plan.push((at, ProgramAction::RelayCrash(relay, process)));
                    plan.push((
                        at.plus(up_to(MINUTE, random)),
                        ProgramAction::RelayStart(relay),
                    ));
                }
                if cut.hits(random) {
                    plan.push((
                        begin.plus(up_to(MINUTE, random)),
                        ProgramAction::RelayBreak(relay),
                    ));
                }
            }
            if away.hits(random) {
                let at = begin.plus(up_to(MINUTE, random));
                let how = [Presence::Gone, Presence::Silent][below(random, 2) as usize];
                plan.push((at, ProgramAction::Discovery(how)));
                let back = at.plus(up_to(MINUTE, random));
                plan.push((back, ProgramAction::Discovery(Presence::Here)));
            }
        }
        for (at, act) in plan {
            self.backend.plan(at, act);
        }
    }
}
