//! What goes wrong that only this depth knows: planned before the second phase.

use super::act::Act;
use super::directory::Presence;
use super::run::{MINUTE, Run};
use crate::clock::SimTime;
use crate::network::HostId;
use crate::network::faults::below;
use crate::network::faults::up_to;
use crate::scenario::run::Action;

impl Run<'_> {
    /// What goes wrong that only this depth knows.
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
                    plan.push((begin.plus(up_to(MINUTE, random)), Act::Break(host)));
                }
                if silent.hits(random) {
                    let at = begin.plus(up_to(MINUTE, random));
                    plan.push((at, Act::Silence(host)));
                    plan.push((at.plus(up_to(MINUTE, random)), Act::Hear(host)));
                }
                if leave.hits(random) {
                    let at = begin.plus(up_to(MINUTE, random));
                    plan.push((at, Act::Leave(host)));
                    let back = at.plus(up_to(MINUTE, random));
                    let wipe = false;
                    plan.push((back, Act::Planned(Action::Start { host, wipe })));
                }
            }
        }
        for (at, act) in plan {
            self.plan(at, act);
        }
    }

    /// Relays die and come back, and their connections break.
    pub(super) fn plan_relay_trouble(&mut self, begin: SimTime, end: SimTime) {
        let program = &self.scenario.program;
        let random = &mut self.random;
        let [crash, cut, away] =
            [&program.relay_crash, &program.cut, &program.discovery_away].map(|it| it.draw(random));
        let minutes = (end.since(begin).as_secs() / 60).max(1);
        let mut plan = Vec::new();
        for minute in 0..minutes {
            let begin = begin.plus(MINUTE * minute as u32);
            for relay in self.relays.ids() {
                if crash.hits(random) {
                    let at = begin.plus(up_to(MINUTE, random));
                    let process = below(random, 2) == 0;
                    plan.push((at, Act::RelayCrash(relay, process)));
                    plan.push((at.plus(up_to(MINUTE, random)), Act::RelayStart(relay)));
                }
                if cut.hits(random) {
                    plan.push((begin.plus(up_to(MINUTE, random)), Act::RelayBreak(relay)));
                }
            }
            if away.hits(random) {
                let at = begin.plus(up_to(MINUTE, random));
                let how = [Presence::Gone, Presence::Silent][below(random, 2) as usize];
                plan.push((at, Act::Discovery(how)));
                let back = at.plus(up_to(MINUTE, random));
                plan.push((back, Act::Discovery(Presence::Here)));
            }
        }
        for (at, act) in plan {
            self.plan(at, act);
        }
    }
}
