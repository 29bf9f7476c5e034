//! Upkeep of the table: bootstrap, self-lookups, stale buckets; and of the store: expiry.

pub(crate) mod fill;

use core::time::Duration;

use crate::id::{NodeId, Target};
use crate::key::PublicKey;
use crate::lookup::{Candidate, Lookup};
use crate::node::Node;
use crate::node::counters::Counter;
use crate::node::ids::{CallTag, StopReason};
use crate::node::output::Event;
use crate::node::query::{Query, QueryKind};
use crate::node::timers::Timer;
use crate::node::upkeep::fill::BucketFiller;
use crate::wire::Request;

/// The first pause between bootstrap attempts while the table is empty; doubles.
const BOOTSTRAP_FIRST: Duration = Duration::from_secs(1);
/// The longest pause between bootstrap attempts while the table is empty.
const BOOTSTRAP_MAX: Duration = Duration::from_secs(30);
/// Some bootstrap peers are asked again this often while the table is not empty: heals partitions.
const BOOTSTRAP_AGAIN: Duration = Duration::from_secs(5 * 60);
/// The first pause between self-lookups after joining; doubles.
const SELF_LOOKUP_FIRST: Duration = Duration::from_secs(1);
/// Self-lookups that bring nobody among the k nearest, after which the neighbourhood counts as known.
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
/// these name somebody new among them.
const CONFIRMING: usize = 8;
/// Bootstrap peers asked at a time while the table is not empty, in turn.
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
    bootstrap_out: usize,
    /// Whom to ask next; none while all are asked.
    bootstrap_from: Option<usize>,
    bootstrap_reachable: alloc::collections::BTreeSet<crate::key::PublicKey>,
    looking_around: bool,
    /// The nearest peers when the self-lookup under way began.
    nearest_before: alloc::vec::Vec<NodeId>,
    quiet_rounds: u8,
    self_lookup_pause: Duration,
    pub(crate) filling: BucketFiller,
    pub(crate) ready: bool,
}

impl Upkeep {
    /// Whether bootstrap peers are being asked right now.
    pub(crate) fn is_bootstrapping(&self) -> bool {
        self.bootstrap_out > 0
    }

    pub(crate) fn reachable(&self) -> usize {
        self.bootstrap_reachable.len()
    }

    /// The bootstrap peers whose last call succeeded.
    pub(crate) fn reached(&self) -> impl Iterator<Item = crate::key::PublicKey> {
        self.bootstrap_reachable.iter().copied()
    }
}

impl Node {
    /// The first input has come: start to join.
    pub(crate) fn start_upkeep(&mut self) {
        self.bootstrap();
        let refresh = self.base.cx.random.maintenance.jitter(REFRESH_EVERY);
        self.base
            .cx
            .timers
            .set(Timer::Refresh, self.base.cx.now.mono.plus(refresh));
        if self.base.cx.config.bootstrap.is_empty() {
            self.become_ready();
        }
    }

    /// Pings all bootstrap peers at once, or the next few once they have been asked.
    pub(crate) fn bootstrap(&mut self) {
        let peers = self.base.cx.config.bootstrap.clone();
        let from = self.upkeep.bootstrap_from.unwrap_or(0);
        let step = match self.upkeep.bootstrap_from {
            Some(_) => BOOTSTRAP_STEP.min(peers.len()),
            None => peers.len(),
        };
        if let Some(from) = &mut self.upkeep.bootstrap_from {
            *from = (*from + step) % peers.len().max(1);
        }
        for peer in peers.into_iter().cycle().skip(from).take(step) {
            if peer.key == self.base.cx.public {
                continue;
            }
            let id = peer.key.id();
            let candidate = Candidate {
                key: peer.key,
                id,
                addr: peer.addrs.first().copied(),
            };
            let call = self.base.ask(candidate, Request::Ping, CallTag::Bootstrap);
            if call.is_some() {
                self.upkeep.bootstrap_out += 1;
            }
        }
        if self.upkeep.bootstrap_out == 0 {
            self.bootstrap_round_over();
        }
    }

    /// A bootstrap peer answered or failed.
    pub(crate) fn bootstrap_ended(&mut self, peer: &PublicKey, answered: bool) {
        self.upkeep.bootstrap_out -= 1;
        if answered {
            self.upkeep.bootstrap_reachable.insert(*peer);
            self.resume_waiting();
            if !self.upkeep.ready {
                self.look_around();
            }
        } else {
            self.upkeep.bootstrap_reachable.remove(peer);
        }
        if self.upkeep.bootstrap_out == 0 {
            self.bootstrap_round_over();
        }
    }

    fn bootstrap_round_over(&mut self) {
        let pause = if self.base.peers.table.is_empty() {
            let pause = self
                .upkeep
                .bootstrap_pause
                .map_or(BOOTSTRAP_FIRST, |pause| (pause * 2).min(BOOTSTRAP_MAX));
            self.upkeep.bootstrap_pause = Some(pause);
            self.upkeep.bootstrap_from = None;
            pause
        } else {
            self.upkeep.bootstrap_pause = None;
            self.upkeep.bootstrap_from.get_or_insert(0);
            BOOTSTRAP_AGAIN
        };
        if !self.upkeep.ready && !self.base.peers.table.is_empty() {
            // No bootstrap peer answers, but others have found us.
            self.look_around();
        }
        self.resume_waiting();
        if !self.base.cx.config.bootstrap.is_empty() {
            let pause = self.base.cx.random.maintenance.jitter(pause);
            self.base
                .cx
                .timers
                .set(Timer::Bootstrap, self.base.cx.now.mono.plus(pause));
        }
    }

    /// Looks up the own id.
    pub(crate) fn look_around(&mut self) {
        if self.upkeep.looking_around || self.base.cx.stopping {
            return;
        }
        if self.base.peers.table.is_empty() {
            // Found by others later: look then.
            let pause = self
                .base
                .cx
                .random
                .maintenance
                .jitter(SELF_LOOKUP_FIRST * 8);
            return self
                .base
                .cx
                .timers
                .set(Timer::SelfLookup, self.base.cx.now.mono.plus(pause));
        }
        self.upkeep.looking_around = true;
        self.upkeep.nearest_before = self.nearest().collect();
        let own = Target::from(self.base.cx.id);
        self.start_query(QueryKind::Neighbourhood, None, own, self.base.cx.now.mono);
    }

    /// How many of the nearest a self-lookup asks.
    pub(crate) fn self_lookup_width(&self) -> usize {
        if self.upkeep.self_lookup_pause.is_zero() {
            self.base.cx.config.k
        } else {
            self.base.cx.config.k.min(CONFIRMING)
        }
    }

    /// Whether a self-lookup that has ended left somebody unknown among the k nearest.
    pub(crate) fn has_found_strangers(&self, lookup: &Lookup) -> bool {
        let k = self.base.cx.config.k;
        let mut unasked = lookup.unasked_among_closest(k);
        lookup.width() < k && unasked.any(|peer| self.base.peers.table.get(&peer.id).is_none())
    }

    /// The k nearest peers of the table.
    fn nearest(&self) -> impl Iterator<Item = NodeId> {
        let own = Target::from(self.base.cx.id);
        let nearest = self.base.peers.table.closest(&own, self.base.cx.config.k);
        nearest.map(|contact| contact.id)
    }

    /// A self-lookup is over.
    pub(crate) fn neighbourhood_found(&mut self, search: &Query, end: StopReason) {
        self.upkeep.looking_around = false;
        if end != StopReason::Done {
            return;
        }
        // Only neighbours are news: elsewhere strangers call all the time.
        let before = core::mem::take(&mut self.upkeep.nearest_before);
        let added = self.nearest().any(|id| !before.contains(&id));
        let upkeep = &mut self.upkeep;
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
        let pause = self.base.cx.random.maintenance.jitter(pause);
        self.base
            .cx
            .timers
            .set(Timer::SelfLookup, self.base.cx.now.mono.plus(pause));
        if joined {
            self.upkeep.filling.begin();
            let soon = self.base.cx.random.maintenance.jitter(FILL_SOON);
            self.base
                .cx
                .timers
                .set_earlier(Timer::Refresh, self.base.cx.now.mono.plus(soon));
        }
        if search.stats(self.base.cx.now.mono).answered > 0 {
            self.become_ready();
        }
    }

    fn become_ready(&mut self) {
        if !self.upkeep.ready {
            self.upkeep.ready = true;
            let peers = self.base.peers.table.len();
            self.base.cx.event(Event::Ready { peers });
            self.base.cx.timers.set_earlier(
                Timer::SelfLookup,
                self.base.cx.now.mono.plus(SELF_LOOKUP_FIRST),
            );
        }
    }

    /// Looks up a few stale buckets, and asks peers that failed last whether they are back.
    pub(crate) fn refresh_buckets(&mut self) {
        let now = self.base.cx.now.mono;
        let failing: alloc::vec::Vec<NodeId> = self
            .base
            .peers
            .table
            .iter()
            .filter(|contact| !contact.is_live())
            .map(|contact| contact.id)
            .take(RECHECK_STEP)
            .collect();
        for id in failing {
            self.base.ping_contact(id, CallTag::Proof);
        }
        let pause = if self.fill_buckets() {
            FILL_SOON
        } else {
            let stale = self.base.peers.table.stale_buckets(now, BUCKET_AGE);
            let stale: Buckets = stale.take(REFRESH_STEP).collect();
            self.look_up_buckets(&stale, QueryKind::Bucket);
            if stale.len() == REFRESH_STEP {
                REFRESH_EVERY / 10
            } else {
                REFRESH_EVERY
            }
        };
        let pause = self.base.cx.random.maintenance.jitter(pause);
        self.base.cx.timers.set(Timer::Refresh, now.plus(pause));
    }

    pub(crate) fn look_up_buckets(&mut self, buckets: &[u8], goal: fn(u8) -> QueryKind) {
        let now = self.base.cx.now.mono;
        for index in buckets {
            let bytes = self.base.cx.random.refresh.bytes();
            let target = self.base.peers.table.random_target_in(*index, bytes);
            // At once, so that a failing search does not come back forever.
            self.base.peers.table.refreshed(*index, now);
            self.start_query(goal(*index), None, target, now);
        }
    }

    /// The monotonic clock jumped (a resumed machine): bootstrap before anything expires.
    pub(crate) fn clock_jumped(&mut self) {
        self.base.cx.counters.count(Counter::ClockJumped);
        self.base.cx.event(Event::ClockJumped);
        let grace = self.base.cx.random.maintenance.jitter(JUMP_GRACE);
        self.base
            .items
            .hold_expiry(self.base.cx.now.mono.plus(grace));
        self.upkeep.bootstrap_from = None;
        self.upkeep.quiet_rounds = 0;
        self.upkeep.filling = BucketFiller::default();
        self.upkeep.self_lookup_pause = Duration::ZERO;
        self.base
            .cx
            .timers
            .set(Timer::Bootstrap, self.base.cx.now.mono);
        self.base.cx.timers.set(
            Timer::SelfLookup,
            self.base.cx.now.mono.plus(SELF_LOOKUP_FIRST),
        );
    }
}
