//! What each node keeps within its bounds.

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use skydht_core::Node;
use skydht_core::key::PublicKey;
use skydht_core::node::{Deadline, LimitUse, WakeReason};

use super::Violations;
use crate::clock::SimTime;
use crate::network::HostId;

/// Every key that somebody has.
pub type Existing = HashSet<PublicKey, FixedState>;

/// Checks one node: every key in its table belongs to somebody who exists and could prove it,
/// under the id that is its own; nothing uses more than its limit.
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

/// Checks that requests hold nothing in a network that has gone quiet. Bytes of requests whose
/// rest was lost stay until their deadline.
pub fn given_back(now: SimTime, host: HostId, node: &Node, violations: &mut Violations) {
    let in_flight = node.in_flight();
    let goes_on = |due: Deadline| due.why == WakeReason::Requests;
    let held = in_flight.slots + in_flight.verify_jobs + in_flight.reserved_bytes;
    let waits = in_flight.waiting_requests > 0 && !node.next_deadline().is_some_and(goes_on);
    if held > 0 || waits {
        violations.note(
            now,
            format_args!("{host}: all is quiet, and yet {in_flight:?}"),
        );
    }
}

/// Checks that nothing uses more than its limit.
pub fn limits(now: SimTime, host: HostId, limits: &[LimitUse], violations: &mut Violations) {
    for limit in limits {
        // Zero is unlimited where it is allowed at all.
        if limit.used > limit.max && limit.max > 0 {
            let (name, used, max) = (limit.limit.name(), limit.used, limit.max);
            violations.note(now, format_args!("{host}: {used} of {max} {name}"));
        }
    }
}
