//! Tracks what has been loaded while storage is read at the start: a request for a target that has
//! not been loaded requests it from storage and waits.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::Target;
use crate::node::context::Context;
use crate::node::counters::Counter;
use crate::node::limits::Limit;
use crate::node::output::Output;
use crate::time::Mono;

/// Maximum time that a request waits for storage. Then it is served from memory.
pub(crate) const LOAD_WAIT: Duration = Duration::from_secs(4);
/// If storage has not been read completely after this time, it is slow or unavailable: from then on
/// no request waits for all of it.
const LOAD_ALL: Duration = Duration::from_secs(60);
/// Targets requested from the driver and not yet answered. Together with the records that come in
/// their order, fewer than the signatures that may be checked in the node's own name.
const WINDOW: usize = 64;
/// Maximum number of targets remembered as loaded out of order. Beyond it the highest are forgotten
/// and requested again if needed.
const MOST_AHEAD: usize = 65_536;

/// Whether a target has been loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LoadStatus {
    /// It has been.
    Loaded,
    /// It has been requested; [`Loading::take_ended`] reports when it is loaded.
    Requested,
    /// Too many targets are requested: wait until everything is loaded.
    Full,
}

/// What a request needs to be loaded from storage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Need {
    /// Everything.
    All,
    /// The record at a target.
    At(Target),
}

/// Tracks what has been loaded from storage.
#[derive(Default)]
pub(crate) struct Loading {
    /// The lowest target that storage has not reached yet; `None`: it has passed every record.
    next: Option<Target>,
    /// Targets requested and not loaded yet, with whether storage has answered.
    requested: BTreeMap<Target, bool>,
    /// Requested targets that the driver has not been asked for yet.
    queue: VecDeque<Target>,
    /// Targets at or beyond `next` that were loaded out of order.
    ahead: BTreeSet<Target>,
    /// Number of records per target whose signatures are being checked.
    checking: BTreeMap<Target, usize>,
    /// When reading began; `None` before.
    since: Option<Mono>,
    /// Needs that were met or given up since the last `take_ended`.
    ended: Vec<Need>,
}

impl Loading {
    /// Whether records are still to come or being checked.
    pub(crate) fn is_under_way(&self) -> bool {
        self.next.is_some() || !self.checking.is_empty()
    }

    /// Whether everything is likely to be loaded soon.
    pub(crate) fn is_worth_waiting(&self, now: Mono) -> bool {
        let since = self.since.unwrap_or(now);
        self.is_under_way() && now.since(since) < LOAD_ALL
    }

    /// Number of targets requested and not loaded.
    pub(crate) fn requested(&self) -> usize {
        self.requested.len()
    }

    /// Notes that storage has passed every record below `next`, or all of them if `None`.
    pub(crate) fn advance(&mut self, cx: &mut Context, next: Option<Target>) {
        self.next = next;
        self.since.get_or_insert(cx.now.mono);
        while let Some(first) = self.ahead.first()
            && next.is_none_or(|next| *first < next)
        {
            self.ahead.pop_first();
        }
        if next.is_none() {
            for target in core::mem::take(&mut self.queue) {
                self.answered(cx, target, true);
            }
        }
        self.note_end();
    }

    /// Requests a target unless it has been loaded.
    pub(crate) fn request(&mut self, cx: &mut Context, target: Target) -> LoadStatus {
        let is_checked = !self.checking.contains_key(&target);
        let was_given = self.next.is_none_or(|next| target < next) || self.ahead.contains(&target);
        if was_given && is_checked {
            return LoadStatus::Loaded;
        }
        if self.requested.contains_key(&target) {
            return LoadStatus::Requested;
        }
        if self.requested.len() >= cx.config.limits.loads {
            cx.hit(Limit::loads);
            return LoadStatus::Full;
        }
        self.requested.insert(target, was_given);
        if !was_given {
            self.queue.push_back(target);
            self.ask(cx);
        }
        LoadStatus::Requested
    }

    fn ask(&mut self, cx: &mut Context) {
        while self.requested.len() - self.queue.len() < WINDOW {
            let Some(target) = self.queue.pop_front() else {
                return;
            };
            cx.counters.count(Counter::Loads);
            cx.output(Output::LoadTarget { target });
        }
    }

    /// Notes that storage has answered for a target. Its record, if any, came before; `read` is
    /// false if storage could not be read.
    pub(crate) fn answered(&mut self, cx: &mut Context, target: Target, read: bool) {
        let Some(answered) = self.requested.get_mut(&target) else {
            return cx.counters.count(Counter::LateEvents);
        };
        *answered = true;
        if !read || !self.checking.contains_key(&target) {
            self.end(cx, target, read);
        }
    }

    /// Notes that a record's signature is being checked.
    pub(crate) fn check_started(&mut self, target: Target) {
        if self.is_under_way() {
            *self.checking.entry(target).or_default() += 1;
        }
    }

    /// Notes that a record's signature has been checked.
    pub(crate) fn check_ended(&mut self, cx: &mut Context, target: Target) {
        let Some(count) = self.checking.get_mut(&target) else {
            return;
        };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.checking.remove(&target);
        if self.requested.get(&target) == Some(&true) {
            self.end(cx, target, true);
        }
        self.note_end();
    }

    /// Gives up on a record that cannot be checked now: requests for it are served from memory.
    pub(crate) fn skip(&mut self, cx: &mut Context, target: Target) {
        if self.requested.contains_key(&target) {
            self.end(cx, target, false);
        }
    }

    fn end(&mut self, cx: &mut Context, target: Target, read: bool) {
        self.requested.remove(&target);
        if !read {
            cx.counters.count(Counter::LoadsFailed);
        } else if self.next.is_some_and(|next| target >= next) {
            self.ahead.insert(target);
            if self.ahead.len() > MOST_AHEAD {
                self.ahead.pop_last();
            }
        }
        self.ended.push(Need::At(target));
        self.ask(cx);
    }

    fn note_end(&mut self) {
        if !self.is_under_way() {
            self.ended.push(Need::All);
        }
    }

    /// Returns the needs that were met or given up since the last call.
    pub(crate) fn take_ended(&mut self) -> Vec<Need> {
        core::mem::take(&mut self.ended)
    }
}
