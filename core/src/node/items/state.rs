//! What the node holds and publishes, and how the store changes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::cap::Cap;
use crate::id::Target;
use crate::item::{Item, Origin, Seq};
use crate::key::PublicKey;
use crate::mark::{MarkKind, StoredMark};
use crate::node::context::Context;
use crate::node::counters::Counter;
use crate::node::ids::{ChangeId, JobId};
use crate::node::items::cache::{ReadCache, RepairLog};
use crate::node::items::own::OwnItems;
use crate::node::output::{Output, StoreChange};
use crate::node::timers::Timer;
use crate::store::{Candidate, Held, Refusal, Reservation, Store, StoreConfig};
use crate::time::{Mono, Time};
use crate::wire::Life;

/// Items expired in one `handle`.
const EXPIRE_STEP: usize = 256;

/// Items that a node which is no full node any more lets go in one `handle`, and the pause before
/// the next ones: what storage forgets in that time.
const TRIM_STEP: usize = 128;
const TRIM_PAUSE: Duration = Duration::from_millis(4);

/// An item whose signature is being checked.
pub(super) struct Pending {
    pub(super) candidate: Candidate,
    /// Of what peers send of their own accord.
    pub(super) reservation: Option<Reservation>,
}

/// An item that is new in the store of a full node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) target: Target,
    pub(crate) from: ChangeFrom,
}

/// Whence a new item is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChangeFrom {
    /// This node's own, or of a user of it.
    Here,
    /// A peer sent it of its own accord.
    Peer(PublicKey),
    /// Storage, of an earlier run or of another node that shares it.
    Storage,
}

/// What the node holds and publishes.
pub(crate) struct Items {
    pub(crate) store: Store,
    pub(crate) own: OwnItems,
    pub(crate) cache: ReadCache,
    pub(crate) repaired: RepairLog,
    /// Items whose signatures are being checked.
    pub(super) pending: BTreeMap<JobId, Pending>,
    last_change: u64,
    no_expiry_before: Mono,
    /// What is new since it was last asked for; only on a full node.
    pub(super) changes: Vec<Change>,
    /// Targets whose item is another one than before.
    pub(super) news: Vec<Target>,
}

impl Items {
    pub(crate) fn new(cx: &Context) -> Self {
        let (config, limits) = (&cx.config, &cx.config.limits);
        let (max_items, public_items) = item_limits(cx);
        let mut store = Store::new(StoreConfig {
            local: cx.id,
            k: config.k,
            ttl: config.item_ttl,
            full_node: config.full_node,
            whitelisted: config.whitelisted.iter().copied().collect(),
            trusted: config.trusted.iter().copied().collect(),
            mirrors: config.mirrors.iter().copied().collect(),
            mirror_relays: config.mirror_relays.iter().copied().collect(),
            max_items,
            max_bytes: limits.store_bytes,
            public_items,
            items_per_publisher: limits.items_per_publisher,
            items_per_peer: limits.items_per_peer,
            deletion_marks: limits.deletion_marks,
        });
        let mut own = OwnItems::new(limits.own_items);
        if config.storage {
            store.note_mark_changes();
            own.note_changes();
        }
        Self {
            store,
            own,
            cache: ReadCache::new(limits.cached_items),
            repaired: RepairLog::default(),
            pending: BTreeMap::new(),
            last_change: 0,
            no_expiry_before: Mono::default(),
            changes: Vec::new(),
            news: Vec::new(),
        }
    }

    /// The highest verified sequence that this node knows for `target`.
    pub(crate) fn known_seq(&self, now: Time, target: &Target) -> Option<Seq> {
        self.own.seq(target).max(self.held_owner_seq(now, target))
    }

    /// The automatic sequence: the clock's, but above the highest known; none at the end.
    pub(crate) fn next_seq(&self, now: Time, target: &Target) -> Option<Seq> {
        let next = match self.known_seq(now, target) {
            Some(known) => Seq(known.0.checked_add(1)?),
            None => Seq(1),
        };
        let clock = now.unix.is_set().then_some(Seq(now.unix.0));
        Some(next.max(clock.unwrap_or_default()))
    }

    /// What this node itself holds, or published and keeps alive. Puts of one item take turns, so
    /// that this decides a comparison at one node, whatever the others answered.
    pub(crate) fn own_version(&self, now: Time, target: &Target) -> Option<Seq> {
        let kept = self.own.kept_seq(target);
        kept.max(self.held_owner_seq(now, target))
    }

    fn held_owner_seq(&self, now: Time, target: &Target) -> Option<Seq> {
        let held = self.store.get(now, target)?;
        (held.origin() == Origin::Owner).then(|| held.item().seq)
    }

    /// The life that this node can pass on with an item of another publisher.
    pub(crate) fn carried_life(&self, now: Time, item: &Item) -> Option<Life> {
        let held = self.store.get(now, &item.target())?;
        held.remaining(now)?;
        held.item().same_content(item).then(|| held_life(held, now))
    }

    /// Whether a change with this number was handed out.
    pub(crate) fn is_change(&self, change: ChangeId) -> bool {
        (1..=self.last_change).contains(&change.0)
    }

    /// Writes a change, if there is storage. What becomes of the node's own items is asked back:
    /// no other node may have them.
    pub(super) fn persist(&mut self, cx: &mut Context, what: StoreChange) {
        if !cx.config.storage {
            return;
        }
        let acknowledge =
            matches!(&what, StoreChange::Keep(record) if record.item.key == cx.public);
        self.last_change += 1;
        cx.output(Output::Persist {
            change: ChangeId(self.last_change),
            what,
            acknowledge,
        });
    }

    /// Has what is remembered of targets beyond their items' lives written, where it has changed.
    pub(crate) fn persist_marks(&mut self, cx: &mut Context) {
        if !cx.config.storage {
            return;
        }
        let changes = self.store.take_mark_changes(cx.now);
        for change in changes.into_iter().chain(self.own.take_changes()) {
            cx.output(Output::PersistMark { change });
        }
    }

    /// Takes what an earlier run remembered of a target.
    pub(crate) fn load_mark(&mut self, cx: &mut Context, mark: &StoredMark) {
        match mark.kind {
            MarkKind::Own => self.own.load(mark.target, mark.seq, cx.now.mono),
            MarkKind::Deleted | MarkKind::Expired => self.store.load_mark(cx.now, mark),
        }
        self.schedule_expiry(cx);
    }

    /// A record of storage's was not taken: it has expired, is invalid or older than what came
    /// meanwhile. In the last case storage has been told of that, else it forgets.
    pub(crate) fn not_loaded(&mut self, cx: &mut Context, target: Target) {
        if self.store.record(cx.now, &target).is_none() {
            self.persist(cx, StoreChange::Forget(target));
        }
    }

    pub(super) fn persist_kept(&mut self, cx: &mut Context, target: &Target) {
        if cx.config.storage
            && let Some(record) = self.store.record(cx.now, target)
        {
            self.persist(cx, StoreChange::Keep(record.into()));
        }
    }

    /// Renews an item that its signer vouches for by sequence and hash alone.
    pub(crate) fn renew(
        &mut self,
        cx: &mut Context,
        target: &Target,
        seq: Seq,
        content_hash: &[u8; 32],
        by: &PublicKey,
    ) -> Result<(), Refusal> {
        self.store.renew(cx.now, target, seq, content_hash, by)?;
        cx.counters.count(Counter::ItemsRenewed);
        self.persist_kept(cx, target);
        Ok(())
    }

    /// What is new since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        core::mem::take(&mut self.changes)
    }

    /// A target whose item has changed; each once.
    pub(crate) fn pop_news(&mut self) -> Option<Target> {
        self.news.pop()
    }

    /// Takes or leaves the rules of a full node, as the configuration says by now.
    pub(crate) fn set_full_node(&mut self, cx: &mut Context) {
        let (max_items, public_items) = item_limits(cx);
        self.store.set_full_node(cx.config.full_node);
        self.store.set_limits(max_items, public_items);
        self.changes.clear();
        if cx.config.full_node {
            cx.timers.cancel(Timer::Trim);
        } else {
            cx.timers.set(Timer::Trim, cx.now.mono);
        }
    }

    /// Lets go of what only a full node would hold, a bounded number at a time.
    pub(crate) fn trim(&mut self, cx: &mut Context, nearer: impl Fn(&Target) -> usize) {
        let gone = self.store.trim(cx.now, TRIM_STEP, nearer);
        cx.counters.add(Counter::ItemsEvicted, gone.len() as u64);
        if gone.len() == TRIM_STEP {
            cx.timers.set(Timer::Trim, cx.now.mono.plus(TRIM_PAUSE));
        }
        for target in gone {
            self.persist(cx, StoreChange::Forget(target));
        }
        self.schedule_expiry(cx);
    }

    /// Nothing expires before `at`.
    pub(crate) fn hold_expiry(&mut self, at: Mono) {
        self.no_expiry_before = at;
    }

    /// Drops what has expired, a bounded number at a time.
    pub(crate) fn expire(&mut self, cx: &mut Context) {
        if cx.now.mono < self.no_expiry_before {
            return cx.timers.set(Timer::Expiry, self.no_expiry_before);
        }
        let expired = self.store.sweep(cx.now, EXPIRE_STEP);
        cx.counters.add(Counter::ItemsExpired, expired.len() as u64);
        for target in expired {
            self.persist(cx, StoreChange::Forget(target));
        }
        self.schedule_expiry(cx);
    }

    /// Sets the timer to the next expiry.
    pub(super) fn schedule_expiry(&self, cx: &mut Context) {
        match self.store.next_expiry() {
            Some(at) => cx.timers.set(Timer::Expiry, at.max(self.no_expiry_before)),
            None => cx.timers.cancel(Timer::Expiry),
        }
    }
}

/// The limits on items in all, and on those of the public tier. A full node takes what its bytes
/// allow.
fn item_limits(cx: &Context) -> (Cap, Cap) {
    match cx.config.full_node {
        true => (Cap::UNLIMITED, Cap::UNLIMITED),
        false => (cx.config.limits.store_items, cx.config.limits.public_items),
    }
}

/// The life of an item held, as it goes on the wire.
pub(crate) fn held_life(held: &Held, now: Time) -> Life {
    Life {
        age: held.age(now).unwrap_or_default(),
        left: held.remaining(now).unwrap_or(Duration::MAX),
    }
}
