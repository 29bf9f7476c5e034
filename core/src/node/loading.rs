//! What storage has been read for, while it is read at the start: a request for a target that has
//! not been asks for it, and waits.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::Target;
use crate::node::context::Context;
use crate::node::counters::Counter;
use crate::node::limits::Limit;
use crate::node::output::Output;
use crate::time::Mono;

/// How long a request waits for storage. Then it is served from memory.
pub(crate) const LOAD_WAIT: Duration = Duration::from_secs(4);
/// Storage of which not everything has been read after this long is away, or slow: no request waits for
/// all of it any more.
const LOAD_ALL: Duration = Duration::from_secs(60);
/// Targets that the driver is asked for at a time: with the records that come in their order,
/// fewer than the signatures that may be checked in the node's own name.
const WINDOW: usize = 64;
/// Targets remembered as loaded before their turn. Beyond, the last ones are forgotten, and asked
/// for again.
const MOST_AHEAD: usize = 65_536;

/// Whether a target has been loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// It has.
    Loaded,
    /// It is being; [`Loading::take_ended`] says when it is.
    Asked,
    /// Too many are: wait until everything is loaded.
    Full,
}

/// What a request needs of storage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Need {
    /// Everything.
    All,
    /// What lies at a target.
    At(Target),
}

/// What storage has been read for.
#[derive(Default)]
pub(crate) struct Loading {
    /// Targets from here on have not been given yet; none: all have.
    next: Option<Target>,
    /// Asked for and not loaded yet; whether storage has answered.
    asked: BTreeMap<Target, bool>,
    /// Those among them that the driver has not been asked for.
    queue: VecDeque<Target>,
    /// Loaded before their turn.
    ahead: BTreeSet<Target>,
    /// Records whose signatures are being checked.
    checking: BTreeMap<Target, usize>,
    /// When it began.
    since: Option<Mono>,
    /// What has been loaded, or given up, and not been taken.
    ended: Vec<Need>,
}

impl Loading {
    /// Whether anything is still to come.
    pub(crate) fn is_under_way(&self) -> bool {
        self.next.is_some() || !self.checking.is_empty()
    }

    /// Whether everything will be loaded soon, as far as one knows.
    pub(crate) fn is_worth_waiting(&self, now: Mono) -> bool {
        let since = self.since.unwrap_or(now);
        self.is_under_way() && now.since(since) < LOAD_ALL
    }

    /// Targets asked for and not loaded.
    pub(crate) fn asked(&self) -> usize {
        self.asked.len()
    }

    /// Everything below `next` has been given, everything if there is none.
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

    /// Asks for a target, unless it has been loaded.
    pub(crate) fn want(&mut self, cx: &mut Context, target: Target) -> Wanted {
        let is_checked = !self.checking.contains_key(&target);
        let was_given = self.next.is_none_or(|next| target < next) || self.ahead.contains(&target);
        if was_given && is_checked {
            return Wanted::Loaded;
        }
        if self.asked.contains_key(&target) {
            return Wanted::Asked;
        }
        if self.asked.len() >= cx.config.limits.loads {
            cx.hit(Limit::loads);
            return Wanted::Full;
        }
        self.asked.insert(target, was_given);
        if !was_given {
            self.queue.push_back(target);
            self.ask(cx);
        }
        Wanted::Asked
    }

    fn ask(&mut self, cx: &mut Context) {
        while self.asked.len() - self.queue.len() < WINDOW {
            let Some(target) = self.queue.pop_front() else {
                return;
            };
            cx.counters.count(Counter::Loads);
            cx.output(Output::LoadTarget { target });
        }
    }

    /// Storage has answered for a target, with its record before if there is one; or could not be
    /// `read`.
    pub(crate) fn answered(&mut self, cx: &mut Context, target: Target, read: bool) {
        let Some(answered) = self.asked.get_mut(&target) else {
            return cx.counters.count(Counter::LateEvents);
        };
        *answered = true;
        if !read || !self.checking.contains_key(&target) {
            self.end(cx, target, read);
        }
    }

    /// The signature of a record is being checked.
    pub(crate) fn check(&mut self, target: Target) {
        if self.is_under_way() {
            *self.checking.entry(target).or_default() += 1;
        }
    }

    /// The signature of a record has been checked.
    pub(crate) fn checked(&mut self, cx: &mut Context, target: Target) {
        let Some(count) = self.checking.get_mut(&target) else {
            return;
        };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.checking.remove(&target);
        if self.asked.get(&target) == Some(&true) {
            self.end(cx, target, true);
        }
        self.note_end();
    }

    /// A record cannot be checked now: who waits for it is served from memory.
    pub(crate) fn left(&mut self, cx: &mut Context, target: Target) {
        if self.asked.contains_key(&target) {
            self.end(cx, target, false);
        }
    }

    fn end(&mut self, cx: &mut Context, target: Target, read: bool) {
        self.asked.remove(&target);
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

    /// What has ended since the last call.
    pub(crate) fn take_ended(&mut self) -> Vec<Need> {
        core::mem::take(&mut self.ended)
    }
}
