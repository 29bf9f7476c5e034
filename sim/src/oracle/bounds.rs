//! Bounds of each node.

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use skydht_core::Node;
use skydht_core::key::PublicKey;
use skydht_core::node::{Deadline, Limit, LimitUse, Snapshot, WakeReason};

use super::Violations;
use crate::clock::SimTime;
use crate::network::HostId;

/// The keys of all hosts.
pub type Existing = HashSet<PublicKey, FixedState>;

/// Checks one node: every key in its table belongs to a host that exists and could prove it, under
/// its own id; nothing exceeds its limit.
pub fn check(
    now: SimTime,
    host: HostId,
    node: &Node,
    existing: &Existing,
    violations: &mut Violations,
) {
    for contact in node.table().iter() {
        if !existing.contains(&contact.key) {
            let key = contact.key;
            violations.note(now, format_args!("{host} lists {key}, which nobody proved"));
        }
        if contact.id != contact.key.id() {
            let id = contact.id;
            violations.note(now, format_args!("{host} lists {} as {id}", contact.key));
        }
        if contact.key == node.public_key() {
            violations.note(now, format_args!("{host} lists itself"));
        }
    }
    limits(now, host, &node.snapshot().limits, violations);
}

/// Describes the resources that requests of peers still hold at an idle node; `None` if there are
/// none. With `bytes`, the deadlines of incomplete requests and unread answers have passed, too.
#[must_use]
pub fn still_held(snapshot: &Snapshot, due: Option<Deadline>, bytes: bool) -> Option<String> {
    let in_flight = snapshot.in_flight;
    if due.is_some_and(|due| due.why == WakeReason::Requests) {
        return None; // it is about to go on with a request that has just come
    }
    let mut held = in_flight.slots + in_flight.verify_jobs + in_flight.reserved_bytes;
    if bytes {
        held += in_flight.request_bytes + in_flight.answer_bytes;
    }
    held += in_flight.waiting_requests;
    let used = |limit: &&LimitUse| RELEASED.contains(&limit.limit) && limit.used > 0;
    let limits = || snapshot.limits.iter().filter(used);
    (held > 0 || limits().next().is_some()).then(|| {
        let names: Vec<&str> = limits().map(|it| it.limit.name()).collect();
        format!("{in_flight:?}, {names:?}")
    })
}

/// Limits of which nothing is in use at an idle node.
const RELEASED: [Limit; 4] = [
    Limit::operations,
    Limit::outputs,
    Limit::verify_window,
    Limit::watches,
];

/// Checks that nothing exceeds its limit.
pub fn limits(now: SimTime, host: HostId, limits: &[LimitUse], violations: &mut Violations) {
    for limit in limits {
        if let Some(max) = limit.max
            && limit.used > max
        {
            let (name, used) = (limit.limit.name(), limit.used);
            violations.note(now, format_args!("{host}: {used} of {max} {name}"));
        }
    }
}
