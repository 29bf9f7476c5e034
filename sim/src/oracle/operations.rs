//! Operations finish once, in time.

use std::collections::BTreeMap;
use std::time::Duration;

use skydht_core::node::OperationId;

use super::Violations;
use crate::clock::SimTime;
use crate::network::HostId;

/// Tolerance for late operations: timers are exact, but a host's clock may be slightly wrong.
const SLACK: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Open {
    started: SimTime,
    deadline: SimTime,
    /// Whether its host was suspended meanwhile, so that it may be late.
    disturbed: bool,
}

/// Unfinished operations by host; their numbers are distinct within one life of a host.
#[derive(Clone, Debug, Default)]
pub struct Operations {
    open: BTreeMap<(HostId, OperationId), Open>,
}

impl Operations {
    /// Records the start of an operation.
    pub fn started(&mut self, now: SimTime, host: HostId, op: OperationId, timeout: Duration) {
        let open = Open {
            started: now,
            deadline: now.plus(timeout).plus(SLACK),
            disturbed: false,
        };
        self.open.insert((host, op), open);
    }

    /// Records the end of an operation. Returns its duration; `None`, with a violation, if it was
    /// not running.
    pub fn finished(
        &mut self,
        now: SimTime,
        host: HostId,
        op: OperationId,
        violations: &mut Violations,
    ) -> Option<Duration> {
        let Some(open) = self.open.remove(&(host, op)) else {
            let what = format_args!("{host}: operation {op} finished, but was not open");
            violations.note(now, what);
            return None;
        };
        let took = now.since(open.started);
        if now > open.deadline && !open.disturbed {
            violations.note(now, format_args!("{host}: operation {op} took {took:?}"));
        }
        Some(took)
    }

    /// Drops the operations of a crashed host.
    pub fn abandoned(&mut self, host: HostId) {
        self.open.retain(|(at, _), _| *at != host);
    }

    /// Records that a host was suspended or its clock changed.
    pub fn disturbed(&mut self, host: HostId) {
        for ((at, _), open) in &mut self.open {
            open.disturbed |= *at == host;
        }
    }

    /// Records a violation for each overdue operation of a host that is awake.
    pub fn check(
        &mut self,
        now: SimTime,
        is_awake: impl Fn(HostId) -> bool,
        violations: &mut Violations,
    ) {
        self.open.retain(|(host, op), open| {
            let late = now > open.deadline && !open.disturbed && is_awake(*host);
            if late {
                let what = format_args!("{host}: operation {op} did not finish in time");
                violations.note(now, what);
            }
            !late
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_twice_and_never_are_violations() {
        let (mut operations, mut violations) = (Operations::default(), Violations::default());
        let at = |s| SimTime::ZERO.plus(Duration::from_secs(s));
        let timeout = Duration::from_secs(30);
        let host = |op: u64| HostId(op as u32);
        for op in 1..=5 {
            operations.started(at(0), host(op), OperationId(op), timeout);
        }
        operations.finished(at(31), host(1), OperationId(1), &mut violations);
        assert_eq!(violations.count(), 0);
        operations.finished(at(31), host(1), OperationId(1), &mut violations);
        operations.finished(at(32), host(2), OperationId(2), &mut violations);
        assert_eq!(violations.count(), 2);
        operations.disturbed(host(3));
        operations.abandoned(host(4));
        operations.check(at(32), |host| host != HostId(5), &mut violations);
        assert_eq!(violations.count(), 2);
        operations.check(at(32), |_| true, &mut violations);
        assert_eq!(violations.count(), 3);
        operations.check(at(33), |_| true, &mut violations);
        assert_eq!(violations.count(), 3);
        assert!(violations.into_words()[2].contains("operation 5"));
    }
}
