//! What users do: operations on items, and what came of them.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use skydht_core::item::{Item, Seq, Value};
use skydht_core::node::{Command, GetRequest, PutOptions, ReadPolicy};

use super::cast::{Kind, Planned};
use super::file::{Scenario, Work};
use crate::clock::SimTime;
use crate::network::HostId;
use crate::network::faults::below;
use crate::network::faults::up_to;

/// What a user does with an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deed {
    /// Its owner publishes a value.
    Put,
    /// Its owner deletes it.
    Delete,
    /// Its owner's key signs another value with the sequence given, somewhere else.
    PutElsewhere(Seq),
    /// Anybody reads it.
    Get {
        /// How fresh.
        policy: ReadPolicy,
        /// Whether it must be right.
        checked: bool,
    },
}

/// An operation under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doing {
    pub(crate) item: usize,
    pub(crate) deed: Deed,
    pub(crate) started: SimTime,
    pub(crate) first: Option<SimTime>,
}

/// An item's value, `version` and all.
pub(crate) fn value(item: usize, version: u32, bytes: u32) -> Value {
    let mut text = format!("{item}.{version}.").into_bytes();
    text.resize(text.len().max(bytes as usize), b'x');
    Value::new(&text)
}

/// The command that does it.
pub(crate) fn command(
    deed: Deed,
    index: usize,
    item: &Planned,
    version: u32,
    work: &Work,
) -> Command {
    let options = PutOptions::default();
    match deed {
        Deed::Put => Command::Put {
            salt: item.salt.clone(),
            value: value(index, version, work.value_bytes),
            options,
        },
        Deed::Delete => Command::Put {
            salt: item.salt.clone(),
            value: Value::default(),
            options,
        },
        Deed::PutElsewhere(seq) => {
            let value = value(index, version, work.value_bytes);
            let item = Item::sign(&item.secret, seq, value, item.salt.clone());
            Command::PutSigned {
                item: Box::new(item),
                options,
            }
        }
        Deed::Get { policy, .. } => Command::Get(GetRequest::of(
            item.secret.public(),
            item.salt.clone(),
            policy,
        )),
    }
}

/// The longest that an operation of this kind of host takes, by its own default.
pub(crate) const fn timeout(kind: Kind) -> Duration {
    match kind {
        Kind::Ours => skydht_core::node::OPERATION_TIMEOUT,
        Kind::Upstream | Kind::Mirror | Kind::Hostile => Duration::from_secs(300),
    }
}

/// Deeds of the second phase, at random times, on random items.
pub(crate) fn second_phase(
    scenario: &Scenario,
    from: SimTime,
    time: Duration,
    random: &mut ChaCha8Rng,
) -> Vec<(SimTime, usize, Task)> {
    let mut plan = Vec::new();
    let (work, items) = (&scenario.work, u64::from(scenario.items()));
    for (count, deed) in [
        (work.updates, Task::Deed(Deed::Put)),
        (work.deletes, Task::Deed(Deed::Delete)),
        (work.ties, Task::Tie),
        (
            work.gets,
            Task::Deed(Deed::Get {
                policy: ReadPolicy::Freshest,
                checked: false,
            }),
        ),
    ] {
        for _ in 0..count {
            let at = from.plus(up_to(time, random));
            plan.push((at, below(random, items) as usize, deed));
        }
    }
    plan
}

/// Reads of the quiet phase, at random times, of random items.
pub(crate) fn idle_reads(
    scenario: &Scenario,
    from: SimTime,
    time: Duration,
    random: &mut ChaCha8Rng,
) -> Vec<(SimTime, usize, Task)> {
    let items = u64::from(scenario.items());
    let read = Task::Deed(Deed::Get {
        policy: ReadPolicy::Freshest,
        checked: false,
    });
    let reads = (0..scenario.work.idle_gets).map(|_| {
        let at = from.plus(up_to(time, random));
        (at, below(random, items) as usize, read)
    });
    reads.collect()
}

/// A deed, or two at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    /// One.
    Deed(Deed),
    /// Two values under one sequence.
    Tie,
}

/// Reads of the checked phase: each item in turn, so that a short phase reads all.
pub(crate) fn checked_reads(
    scenario: &Scenario,
    from: SimTime,
    time: Duration,
    random: &mut ChaCha8Rng,
) -> Vec<(SimTime, usize, Deed)> {
    let mut plan = Vec::new();
    for round in 0..scenario.work.reads {
        for item in 0..scenario.items() {
            let policy = match round % 2 {
                0 => ReadPolicy::Freshest,
                _ => ReadPolicy::FirstValid,
            };
            let deed = Deed::Get {
                policy,
                checked: true,
            };
            plan.push((from.plus(up_to(time, random)), item as usize, deed));
        }
    }
    plan
}

/// One of `from`, chosen by `random`.
pub(crate) fn any_of(from: &[HostId], random: &mut ChaCha8Rng) -> Option<HostId> {
    let at = below(random, from.len() as u64) as usize;
    from.get(at).copied()
}
