//! Upkeep of the table: bootstrap, self-lookups, stale buckets; and of the store: expiry.

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

/// The first pause between bootstrap attempts while no peer answers; doubles.
const BOOTSTRAP_FIRST: Duration = Duration::from_secs(1);
/// The longest pause between bootstrap attempts while no peer answers.
const BOOTSTRAP_MAX: Duration = Duration::from_secs(30);
/// Some bootstrap peers are asked again this often while others answer: heals partitions.
const BOOTSTRAP_AGAIN: Duration = Duration::from_secs(5 * 60);
/// The first pause between self-lookups after joining; doubles.
const SELF_LOOKUP_FIRST: Duration = Duration::from_secs(1);
/// Self-lookups that bring no new peer among the k nearest, after which the neighbourhood counts
/// as known.
const QUIET_ROUNDS: u8 = 2;
/// The pause between self-lookups once the neighbourhood is known; doubles.
const SELF_LOOKUP_AGAIN: Duration = Duration::from_secs(5 * 60);
/// The longest pause between self-lookups.
const SELF_LOOKUP_MAX: Duration = Duration::from_secs(30 * 60);
/// A bucket without lookup for this long is stale.
const BUCKET_AGE: Duration = Duration::from_secs(60 * 60);
/// How often stale buckets are looked for.
const REFRESH_EVERY: Duration = Duration::from_secs(5 * 60);
/// Stale buckets looked up at a time.
const REFRESH_STEP: usize = 4;
/// A later self-lookup asks so many of the nearest, and the rest of the k nearest only when
/// these name a new peer among them.
const CONFIRMING: usize = 8;
/// Bootstrap peers asked at a time while others answer, in turn.
const BOOTSTRAP_STEP: usize = 3;
/// How soon after joining, and how fast one after the other.
const FILL_SOON: Duration = Duration::from_secs(2);
/// Failing peers of the table that are pinged at a time. Lookups no longer ask them.
const RECHECK_STEP: usize = 16;
/// After a clock jump nothing expires for about this long: renewals come first.
const JUMP_GRACE: Duration = Duration::from_secs(60);

/// The buckets of one step.
type Buckets = smallvec::SmallVec<[u8; REFRESH_STEP]>;

/// Where upkeep stands.
#[derive(Default)]
pub(crate) struct Upkeep {
    bootstrap_pause: Option<Duration>,
    /// Whom to ask next; none while all are asked.
    bootstrap_from: Option<usize>,
    bootstrap_reachable: BTreeSet<PublicKey>,
    /// No peer answered when bootstrap peers were last asked, and none of these has since.
    cut_off: bool,
    looking_up_self: bool,
    /// The nearest peers when the self-lookup under way began.
    nearest_before: Vec<NodeId>,
    quiet_rounds: u8,
    self_lookup_pause: Duration,
    pub(crate) filler: BucketFiller,
    ready: bool,
}

impl Upkeep {
    /// Whether the table is not empty and the first self-lookups are done.
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

    /// Plans what follows the first round of bootstrap.
    pub(crate) fn start(&mut self, base: &mut Base) {
        let cx = &mut base.cx;
        let refresh = cx.random.maintenance.jitter(REFRESH_EVERY);
        cx.timers.set(Timer::Refresh, cx.now.mono.plus(refresh));
        if cx.config.bootstrap.is_empty() {
            self.become_ready(base);
        }
    }

    /// Pings all bootstrap peers, or the next few once they have been asked.
    pub(crate) fn bootstrap(&mut self, base: &mut Base) {
        let peers = base.cx.config.bootstrap.clone();
        if !peers.is_empty() {
            let now = base.cx.now.mono;
            base.cx.measured.task_ran(Task::Bootstrap, now);
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

    /// A bootstrap peer answered or failed.
    pub(crate) fn bootstrap_ended(&mut self, base: &mut Base, peer: &PublicKey, answered: bool) {
        base.peers.probing.bootstrapping -= 1;
        if answered {
            let now = base.cx.now.mono;
            base.cx.measured.task_did(Task::Bootstrap, now);
            self.bootstrap_reachable.insert(*peer);
            if core::mem::take(&mut self.cut_off) && self.ready {
                self.look_around_anew(base);
            }
        } else {
            self.bootstrap_reachable.remove(peer);
        }
    }

    /// All bootstrap peers asked have answered or failed: how long until the next are asked.
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

    /// Sets when bootstrap peers are asked again, if there are any.
    pub(crate) fn schedule_bootstrap(&self, base: &mut Base, pause: Duration) {
        let cx = &mut base.cx;
        if !cx.config.bootstrap.is_empty() {
            let pause = cx.random.maintenance.jitter(pause);
            cx.timers.set(Timer::Bootstrap, cx.now.mono.plus(pause));
        }
    }

    /// Looks up the own id.
    pub(crate) fn look_up_self(&mut self, base: &mut Base, queries: &mut Queries) {
        let cx = &mut base.cx;
        if self.looking_up_self || cx.stopping {
            return;
        }
        if !base.peers.table.has_live() {
            // Found by others later: look then.
            let pause = cx.random.maintenance.jitter(SELF_LOOKUP_FIRST * 8);
            return cx.timers.set(Timer::SelfLookup, cx.now.mono.plus(pause));
        }
        self.looking_up_self = true;
        let now = base.cx.now.mono;
        base.cx.measured.task_ran(Task::SelfLookup, now);
        self.nearest_before = nearest(base).collect();
        let (own, now) = (Target::from(base.cx.id), base.cx.now.mono);
        let width = self.self_lookup_width(base);
        let kind = QueryKind::Neighbourhood { width };
        queries.start(base, kind, None, own, now);
    }

    /// How many of the nearest a self-lookup asks.
    fn self_lookup_width(&self, base: &Base) -> usize {
        if self.self_lookup_pause.is_zero() {
            base.cx.config.k
        } else {
            base.cx.config.k.min(CONFIRMING)
        }
    }

    /// A self-lookup is over.
    pub(crate) fn self_lookup_ended(&mut self, base: &mut Base, ended: &Ended) {
        self.looking_up_self = false;
        if ended.reason != StopReason::Done {
            return;
        }
        // Only neighbours are news: elsewhere strangers call all the time.
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
            base.cx.measured.task_did(Task::SelfLookup, now);
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

    /// Looks up a few stale buckets, and asks peers that failed last whether they are back.
    pub(crate) fn refresh(&mut self, base: &mut Base, queries: &mut Queries) {
        let now = base.cx.now.mono;
        base.cx.measured.task_ran(Task::Refresh, now);
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
                // Nothing to do is done.
                base.cx.measured.task_did(Task::Refresh, now);
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

    /// The monotonic clock jumped (a resumed machine): bootstrap before anything expires.
    pub(crate) fn clock_jumped(&mut self, base: &mut Base) {
        base.cx.counters.count(Counter::ClockJumped);
        base.cx.event(Event::ClockJumped);
        let grace = base.cx.random.maintenance.jitter(JUMP_GRACE);
        base.items.hold_expiry(base.cx.now.mono.plus(grace));
        self.bootstrap_from = None;
        base.cx.timers.set(Timer::Bootstrap, base.cx.now.mono);
        self.look_around_anew(base);
    }

    /// Looks up the own id as at joining: what is known of the neighbourhood is out of date.
    fn look_around_anew(&mut self, base: &mut Base) {
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
