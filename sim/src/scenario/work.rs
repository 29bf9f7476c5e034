//! Operations of users on items.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use skydht_core::item::{Item, Seq, Value};
use skydht_core::node::{Command, GetRequest, PutOptions, ReadPolicy};

use super::draw::PlannedItem;
use super::file::{Scenario, Work};
use crate::clock::SimTime;
use crate::network::HostId;
use crate::network::faults::below;
use crate::network::faults::up_to;

/// An action of a user on an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum UserAction {
    /// The owner publishes a value.
    Put,
    /// The owner deletes the item.
    Delete,
    /// Another node publishes a different value, signed with the owner's key, with this sequence
    /// number.
    PutElsewhere(Seq),
    /// A node reads the item.
    Get {
        /// Required freshness.
        policy: ReadPolicy,
        /// Whether the result must be right.
        checked: bool,
    },
}

impl UserAction {
    /// Whether the action is a put of any kind.
    pub(crate) const fn publishes(self) -> bool {
        !matches!(self, Self::Get { .. })
    }
}

/// Returns the value of this version of the item.
fn value(item: usize, version: u32, bytes: u32) -> Value {
    let mut text = format!("{item}.{version}.").into_bytes();
    text.resize(text.len().max(bytes as usize), b'x');
    Value::new(&text)
}

/// Returns the command for an action on `item`, which is number `index`.
pub(crate) fn command(
    action: UserAction,
    index: usize,
    item: &PlannedItem,
    version: u32,
    work: &Work,
) -> Command {
    let options = PutOptions::default();
    match action {
        UserAction::Put => Command::Put {
            salt: item.salt.clone(),
            value: value(index, version, work.value_bytes),
            options,
        },
        UserAction::Delete => Command::Put {
            salt: item.salt.clone(),
            value: Value::default(),
            options,
        },
        UserAction::PutElsewhere(seq) => {
            let value = value(index, version, work.value_bytes);
            let item = Item::sign(&item.secret, seq, value, item.salt.clone());
            Command::PutSigned {
                item: Box::new(item),
                options,
            }
        }
        UserAction::Get { policy, .. } => Command::Get(GetRequest::of(
            item.secret.public(),
            item.salt.clone(),
            policy,
        )),
    }
}

/// Actions of the second phase, at random times on random items.
pub(crate) fn second_phase(
    scenario: &Scenario,
    from: SimTime,
    time: Duration,
    random: &mut ChaCha8Rng,
) -> Vec<(SimTime, usize, Task)> {
    let mut plan = Vec::new();
    let (work, items) = (&scenario.work, u64::from(scenario.items()));
    for (count, action) in [
        (work.updates, Task::One(UserAction::Put)),
        (work.deletes, Task::One(UserAction::Delete)),
        (work.ties, Task::Tie),
        (
            work.gets,
            Task::One(UserAction::Get {
                policy: ReadPolicy::Freshest,
                checked: false,
            }),
        ),
    ] {
        for _ in 0..count {
            let at = from.plus(up_to(time, random));
            plan.push((at, below(random, items) as usize, action));
        }
    }
    plan
}

/// Reads of the idle phase, at random times of random items.
pub(crate) fn idle_reads(
    scenario: &Scenario,
    from: SimTime,
    time: Duration,
    random: &mut ChaCha8Rng,
) -> Vec<(SimTime, usize, Task)> {
    let items = u64::from(scenario.items());
    let read = Task::One(UserAction::Get {
        policy: ReadPolicy::Freshest,
        checked: false,
    });
    let reads = (0..scenario.work.idle_gets).map(|_| {
        let at = from.plus(up_to(time, random));
        (at, below(random, items) as usize, read)
    });
    reads.collect()
}

/// One action of a user, or two concurrent ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    One(UserAction),
    /// Publishing two values with one sequence number.
    Tie,
}

/// Reads of the checked phase: all items in turn, so that even a short phase reads all.
pub(crate) fn checked_reads(
    scenario: &Scenario,
    from: SimTime,
    time: Duration,
    random: &mut ChaCha8Rng,
) -> Vec<(SimTime, usize, UserAction)> {
    let mut plan = Vec::new();
    for round in 0..scenario.work.reads {
        for item in 0..scenario.items() {
            let policy = match round % 2 {
                0 => ReadPolicy::Freshest,
                _ => ReadPolicy::FirstValid,
            };
            let action = UserAction::Get {
                policy,
                checked: true,
            };
            plan.push((from.plus(up_to(time, random)), item as usize, action));
        }
    }
    plan
}

/// A random element of `from`.
pub(crate) fn any_of(from: &[HostId], random: &mut ChaCha8Rng) -> Option<HostId> {
    let at = below(random, from.len() as u64) as usize;
    from.get(at).copied()
}
