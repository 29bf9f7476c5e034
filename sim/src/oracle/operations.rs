//! Operations finish once, in time.

use std::collections::BTreeMap;
use std::time::Duration;

use skydht_core::node::OperationId;

use super::Violations;
use crate::clock::SimTime;

/// How much later than its deadline an operation may finish: timers of a host are exact, and
/// its clock may run a little wrong.
const SLACK: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Open {
    started: SimTime,
    deadline: SimTime,
    /// Its host stood still meanwhile: then it may be late.
    disturbed: bool,
}

/// Operations without outcome so far.
#[derive(Clone, Debug, Default)]
pub struct Operations {
    open: BTreeMap<OperationId, Open>,
}

impl Operations {
    /// One was started.
    pub fn started(&mut self, now: SimTime, op: OperationId, timeout: Duration) {
        let open = Open {
            started: now,
            deadline: now.plus(timeout).plus(SLACK),
            disturbed: false,
        };
        self.open.insert(op, open);
    }

    /// One finished. Returns how long it took; none, and a violation, when it was not open.
    pub fn finished(
        &mut self,
        now: SimTime,
        op: OperationId,
        violations: &mut Violations,
    ) -> Option<Duration> {
        let Some(open) = self.open.remove(&op) else {
            violations.note(
                now,
                format_args!("operation {op} finished, but was not open"),
            );
            return None;
        };
        let took = now.since(open.started);
        if now > open.deadline && !open.disturbed {
            violations.note(now, format_args!("operation {op} took {took:?}"));
        }
        Some(took)
    }

    /// Some will never finish: their host crashed.
    pub fn abandoned(&mut self, ops: &[OperationId]) {
        for op in ops {
            self.open.remove(op);
        }
    }

    /// The host of these stood still, or its clock was changed.
    pub fn disturbed(&mut self, ops: impl Iterator<Item = OperationId>) {
        for op in ops {
            if let Some(open) = self.open.get_mut(&op) {
                open.disturbed = true;
            }
        }
    }

    /// The same of all that are open.
    pub fn disturbed_all(&mut self) {
        for open in self.open.values_mut() {
            open.disturbed = true;
        }
    }

    /// Those whose deadline has passed.
    pub fn check(&mut self, now: SimTime, violations: &mut Violations) {
        let late: Vec<OperationId> = self
            .open
            .iter()
            .filter(|(_, open)| now > open.deadline && !open.disturbed)
            .map(|(op, _)| *op)
            .collect();
        for op in late {
            self.open.remove(&op);
            violations.note(now, format_args!("operation {op} did not finish in time"));
        }
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
        for op in 1..=5 {
            operations.started(at(0), OperationId(op), timeout);
        }
        operations.finished(at(31), OperationId(1), &mut violations);
        assert_eq!(violations.count(), 0);
        operations.finished(at(31), OperationId(1), &mut violations);
        operations.finished(at(32), OperationId(2), &mut violations);
        assert_eq!(violations.count(), 2);
        operations.disturbed([OperationId(3)].into_iter());
        operations.abandoned(&[OperationId(4)]);
        operations.check(at(32), &mut violations);
        assert_eq!(violations.count(), 3);
        operations.check(at(33), &mut violations);
        assert_eq!(violations.count(), 3);
        assert!(violations.into_words()[2].contains("operation 5"));
    }
}
