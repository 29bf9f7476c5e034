//! Maintenance of the routing table: bootstrap, self-lookups, stale buckets.

pub(crate) mod fill;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::{NodeId, Target};
use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::{CallTag, StopReason};
use crate::node::measurements::Task;
use crate::node::output::Event;
use crate::node::query::{Ended, Queries, QueryKind};
use crate::node::timers::Timer;
use crate::node::upkeep::fill::BucketFiller;
use crate::wire::Request;

/// First pause between bootstrap attempts while no peer answers; doubles.
const BOOTSTRAP_FIRST: Duration = Duration::from_secs(1);
/// Maximum pause between bootstrap attempts while no peer answers.
const BOOTSTRAP_MAX: Duration = Duration::from_secs(30);
/// Interval between pings of some bootstrap peers while others answer, to heal partitions.
const BOOTSTRAP_AGAIN: Duration = Duration::from_secs(5 * 60);
/// First pause between self-lookups after joining; doubles.
const SELF_LOOKUP_FIRST: Duration = Duration::from_secs(1);
/// Number of consecutive self-lookups without a new peer among the k nearest after which the
/// neighbourhood counts as known.
const QUIET_ROUNDS: u8 = 2;
/// First pause between self-lookups once the neighbourhood is known; doubles.
const SELF_LOOKUP_AGAIN: Duration = Duration::from_secs(5 * 60);
/// Maximum pause between self-lookups.
const SELF_LOOKUP_MAX: Duration = Duration::from_secs(30 * 60);
/// Time without a lookup after which a bucket is stale.
const BUCKET_AGE: Duration = Duration::from_secs(60 * 60);
/// Interval between searches for stale buckets.
const REFRESH_EVERY: Duration = Duration::from_secs(5 * 60);
/// Maximum number of stale buckets looked up at a time.
const REFRESH_STEP: usize = 4;
/// Number of nearest peers that a later self-lookup asks; it asks the rest of the k nearest only if
/// these name a new peer among them.
const CONFIRMING: usize = 8;
/// Number of bootstrap peers pinged at a time, in turn, while others answer.
const BOOTSTRAP_STEP: usize = 3;
/// Delay after joining before buckets are filled, and pause between the steps.
const FILL_SOON: Duration = Duration::from_secs(2);
/// Maximum number of failing peers of the table pinged at a time. Lookups no longer ask these.
const RECHECK_STEP: usize = 16;
/// Time after a clock jump during which nothing expires, so that renewals come first.
const JUMP_GRACE: Duration = Duration::from_secs(60);

/// The buckets of one step.
type Buckets = smallvec::SmallVec<[u8; REFRESH_STEP]>;

/// State of the maintenance.
#[derive(Default)]
pub(crate) struct Upkeep {
    bootstrap_pause: Option<Duration>,
    /// Index of the next bootstrap peer to ping; `None` while all are pinged.
    bootstrap_from: Option<usize>,
    bootstrap_reachable: BTreeSet<PublicKey>,
    /// Whether the node was isolated at the last bootstrap, and no bootstrap peer has answered
    /// since.
    cut_off: bool,
    looking_up_self: bool,
    /// The nearest peers when the current self-lookup began.
    nearest_before: Vec<NodeId>,
    quiet_rounds: u8,
    self_lookup_pause: Duration,
    pub(crate) filler: BucketFiller,
    ready: bool,
}

impl Upkeep {
    /// Whether the table is not empty and the first self-lookups are complete.
    pub(crate) const fn is_ready(&self) -> bool {
        self.ready
    }

    pub(crate) fn reachable(&self) -> usize {
        self.bootstrap_reachable.len()
    }

    /// The bootstrap peers whose last call succeeded.
    pub(crate) fn reached(&self) -> impl Iterator<Item = PublicKey> {
        self.bootstrap_reachable.iter().copied()
    }

    /// Schedules what follows the first round of bootstrap.
    pub(crate) fn start(&mut self, base: &mut Base) {
        let cx = &mut base.cx;
        let refresh = cx.random.maintenance.jitter(REFRESH_EVERY);
        cx.timers.set(Timer::Refresh, cx.now.mono.plus(refresh));
        if cx.config.bootstrap.is_empty() {
            self.become_ready(base);
        }
    }

    /// Pings all bootstrap peers, or the next few if all have been pinged before.
    pub(crate) fn bootstrap(&mut self, base: &mut Base) {
        let peers = base.cx.config.bootstrap.clone();
        if !peers.is_empty() {
            let now = base.cx.now.mono;
            base.cx.measured.task_started(Task::Bootstrap, now);
        }
        if base.peers.is_cut_off() {
            self.bootstrap_from = None;
            self.cut_off = true;
        }
        let from = self.bootstrap_from.unwrap_or(0);
        let step = match self.bootstrap_from {
            Some(_) => BOOTSTRAP_STEP.min(peers.len()),
            None => peers.len(),
        };
        if let Some(from) = &mut self.bootstrap_from {
            *from = (*from + step) % peers.len().max(1);
        }
        for peer in peers.into_iter().cycle().skip(from).take(step) {
            if peer.key == base.cx.public {
                continue;
            }
            let candidate = Candidate {
                key: peer.key,
                id: peer.key.id(),
                addr: peer.addrs.first().copied(),
            };
            let call = base.ask(candidate, Request::Ping, CallTag::Bootstrap);
            if call.is_some() {
                base.peers.probing.bootstrapping += 1;
            }
        }
    }

    /// Takes the result of a ping of a bootstrap peer.
    pub(crate) fn bootstrap_ended(&mut self, base: &mut Base, peer: &PublicKey, answered: bool) {
        base.peers.probing.bootstrapping -= 1;
        if answered {
            let now = base.cx.now.mono;
            base.cx.measured.task_succeeded(Task::Bootstrap, now);
            self.bootstrap_reachable.insert(*peer);
            if core::mem::take(&mut self.cut_off) && self.ready {
                self.restart_self_lookups(base);
            }
        } else {
            self.bootstrap_reachable.remove(peer);
        }
    }

    /// Ends a round of bootstrap pings. Returns the pause before the next.
    pub(crate) fn end_bootstrap_round(&mut self, base: &Base) -> Duration {
        if base.peers.is_cut_off() {
            let next = |pause: Duration| (pause * 2).min(BOOTSTRAP_MAX);
            let pause = self.bootstrap_pause.map_or(BOOTSTRAP_FIRST, next);
            self.bootstrap_pause = Some(pause);
            self.bootstrap_from = None;
            pause
        } else {
            self.bootstrap_pause = None;
            self.bootstrap_from.get_or_insert(0);
            BOOTSTRAP_AGAIN
        }
    }

    /// Schedules the next bootstrap, if there are bootstrap peers.
    pub(crate) fn schedule_bootstrap(&self, base: &mut Base, pause: Duration) {
        let cx = &mut base.cx;
        if !cx.config.bootstrap.is_empty() {
            let pause = cx.random.maintenance.jitter(pause);
            cx.timers.set(Timer::Bootstrap, cx.now.mono.plus(pause));
        }
    }

    /// Starts a self-lookup.
    pub(crate) fn look_up_self(&mut self, base: &mut Base, queries: &mut Queries) {
        let cx = &mut base.cx;
        if self.looking_up_self || cx.stopping {
            return;
        }
        if !base.peers.table.has_live() {
            // Retries later, since other peers may find this node meanwhile.
            let pause = cx.random.maintenance.jitter(SELF_LOOKUP_FIRST * 8);
            return cx.timers.set(Timer::SelfLookup, cx.now.mono.plus(pause));
        }
        self.looking_up_self = true;
        let now = base.cx.now.mono;
        base.cx.measured.task_started(Task::SelfLookup, now);
        self.nearest_before = nearest(base).collect();
        let (own, now) = (Target::from(base.cx.id), base.cx.now.mono);
        let width = self.self_lookup_width(base);
        let kind = QueryKind::Neighbourhood { width };
        queries.start(base, kind, None, own, now);
    }

    /// Number of nearest peers that a self-lookup asks.
    fn self_lookup_width(&self, base: &Base) -> usize {
        if self.self_lookup_pause.is_zero() {
            base.cx.config.k
        } else {
            base.cx.config.k.min(CONFIRMING)
        }
    }

    /// Takes the result of a self-lookup.
    pub(crate) fn self_lookup_ended(&mut self, base: &mut Base, ended: &Ended) {
        self.looking_up_self = false;
        if ended.reason != StopReason::Done {
            return;
        }
        // Only new neighbours count: elsewhere in the table, new peers call all the time.
        let before = core::mem::take(&mut self.nearest_before);
        let added = nearest(base).any(|id| !before.contains(&id));
        let upkeep = &mut *self;
        if added {
            upkeep.quiet_rounds = 0;
        } else {
            upkeep.quiet_rounds = upkeep.quiet_rounds.saturating_add(1);
        }
        let joined = upkeep.quiet_rounds == QUIET_ROUNDS;
        let pause = if upkeep.quiet_rounds < QUIET_ROUNDS {
            match upkeep.self_lookup_pause {
                pause if pause.is_zero() || pause >= SELF_LOOKUP_AGAIN => SELF_LOOKUP_FIRST,
                pause => (pause * 2).min(SELF_LOOKUP_AGAIN / 2),
            }
        } else {
            (upkeep.self_lookup_pause * 2).clamp(SELF_LOOKUP_AGAIN, SELF_LOOKUP_MAX)
        };
        upkeep.self_lookup_pause = pause;
        let pause = base.cx.random.maintenance.jitter(pause);
        base.cx
            .timers
            .set(Timer::SelfLookup, base.cx.now.mono.plus(pause));
        if joined {
            self.filler.begin();
            let soon = base.cx.random.maintenance.jitter(FILL_SOON);
            base.cx
                .timers
                .set_earlier(Timer::Refresh, base.cx.now.mono.plus(soon));
        }
        if ended.query.stats(base.cx.now.mono).answered > 0 {
            let now = base.cx.now.mono;
            base.cx.measured.task_succeeded(Task::SelfLookup, now);
            self.become_ready(base);
        }
    }

    fn become_ready(&mut self, base: &mut Base) {
        if !self.ready {
            self.ready = true;
            let peers = base.peers.table.len();
            base.cx.event(Event::Ready { peers });
            base.cx
                .timers
                .set_earlier(Timer::SelfLookup, base.cx.now.mono.plus(SELF_LOOKUP_FIRST));
        }
    }

    /// Looks up a few stale buckets, and pings peers of the table whose last call failed.
    pub(crate) fn refresh(&mut self, base: &mut Base, queries: &mut Queries) {
        let now = base.cx.now.mono;
        base.cx.measured.task_started(Task::Refresh, now);
        let failing: alloc::vec::Vec<NodeId> = base
            .peers
            .table
            .iter()
            .filter(|contact| !contact.is_live())
            .map(|contact| contact.id)
            .take(RECHECK_STEP)
            .collect();
        for id in failing {
            base.ping_contact(id, CallTag::Proof);
        }
        let pause = if self.filler.fill(base, queries) {
            FILL_SOON
        } else {
            let stale = base.peers.table.stale_buckets(now, BUCKET_AGE);
            let stale: Buckets = stale.take(REFRESH_STEP).collect();
            if stale.is_empty() {
                // Nothing was stale, which counts as success.
                base.cx.measured.task_succeeded(Task::Refresh, now);
            }
            queries.look_up_buckets(base, &stale, QueryKind::Bucket);
            if stale.len() == REFRESH_STEP {
                REFRESH_EVERY / 10
            } else {
                REFRESH_EVERY
            }
        };
        let pause = base.cx.random.maintenance.jitter(pause);
        base.cx.timers.set(Timer::Refresh, now.plus(pause));
    }

    /// Bootstraps again after a jump of the monotonic clock (a resumed machine), before anything
    /// expires.
    pub(crate) fn clock_jumped(&mut self, base: &mut Base) {
        base.cx.counters.count(Counter::ClockJumped);
        base.cx.event(Event::ClockJumped);
        let grace = base.cx.random.maintenance.jitter(JUMP_GRACE);
        base.items.suspend_expiry(base.cx.now.mono.plus(grace));
        self.bootstrap_from = None;
        base.cx.timers.set(Timer::Bootstrap, base.cx.now.mono);
        self.restart_self_lookups(base);
    }

    /// Repeats the self-lookups of joining, since the known neighbourhood is out of date.
    fn restart_self_lookups(&mut self, base: &mut Base) {
        self.quiet_rounds = 0;
        self.filler = BucketFiller::default();
        self.self_lookup_pause = Duration::ZERO;
        base.cx
            .timers
            .set(Timer::SelfLookup, base.cx.now.mono.plus(SELF_LOOKUP_FIRST));
    }
}

/// The k nearest peers of the table.
fn nearest(base: &Base) -> impl Iterator<Item = NodeId> {
    let own = Target::from(base.cx.id);
    let nearest = base.peers.table.closest(&own, base.cx.config.k);
    nearest.map(|contact| contact.id)
}
