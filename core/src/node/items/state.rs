//! The items that the node stores and publishes, and how changes reach storage.

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
use crate::store::{Candidate, Refusal, Reservation, Store, StoreConfig, StoredItem};
use crate::time::{Mono, Time};
use crate::wire::Life;

/// Maximum number of items expired in one `handle`.
const EXPIRE_STEP: usize = 256;

/// Maximum number of items dropped in one `handle` after the node stopped being a full node, and
/// the pause before the next step, in which storage can remove as many.
const TRIM_STEP: usize = 128;
const TRIM_PAUSE: Duration = Duration::from_millis(4);

/// An item whose signature is being checked.
pub(super) struct Pending {
    pub(super) candidate: Candidate,
    /// Quota reserved for an item that a peer sent; `None` for other items.
    pub(super) reservation: Option<Reservation>,
}

/// An item that is new in the store of a full node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) target: Target,
    pub(crate) from: ChangeFrom,
}

/// Origin of a new item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChangeFrom {
    /// This node or one of its users.
    Here,
    /// A peer that sent it unasked.
    Peer(PublicKey),
    /// Storage: an earlier run, or another node that shares the storage.
    Storage,
}

/// The items that the node stores and publishes.
pub(crate) struct Items {
    pub(crate) store: Store,
    pub(crate) own: OwnItems,
    pub(crate) cache: ReadCache,
    pub(crate) repaired: RepairLog,
    /// Items whose signatures are being checked.
    pub(super) pending: BTreeMap<JobId, Pending>,
    /// Number of the last change handed to the driver.
    last_change: u64,
    no_expiry_before: Mono,
    /// New items since the last [`Items::take_changes`]; only on a full node.
    pub(super) changes: Vec<Change>,
    /// Targets whose item has been replaced by another.
    pub(super) changed_targets: Vec<Target>,
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
            store.note_marker_changes();
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
            changed_targets: Vec::new(),
        }
    }

    /// The highest verified sequence that this node knows for `target`.
    pub(crate) fn known_seq(&self, now: Time, target: &Target) -> Option<Seq> {
        self.own.seq(target).max(self.held_owner_seq(now, target))
    }

    /// The automatic sequence: the wall clock, but above the highest known one. `None` if that is
    /// the maximum.
    pub(crate) fn next_seq(&self, now: Time, target: &Target) -> Option<Seq> {
        let next = match self.known_seq(now, target) {
            Some(known) => Seq(known.0.checked_add(1)?),
            None => Seq(1),
        };
        let clock = now.unix.is_set().then_some(Seq(now.unix.0));
        Some(next.max(clock.unwrap_or_default()))
    }

    /// The sequence that this node stores, or publishes and keeps renewed. Puts of one item run one
    /// after another, so a comparison with it is exact on one node, whatever other holders answer.
    pub(crate) fn own_version(&self, now: Time, target: &Target) -> Option<Seq> {
        let kept = self.own.kept_seq(target);
        kept.max(self.held_owner_seq(now, target))
    }

    fn held_owner_seq(&self, now: Time, target: &Target) -> Option<Seq> {
        let held = self.store.get(now, target)?;
        (held.origin() == Origin::Owner).then(|| held.item().seq)
    }

    /// The remaining lifetime that this node can state for an item of another publisher.
    pub(crate) fn carried_life(&self, now: Time, item: &Item) -> Option<Life> {
        let held = self.store.get(now, &item.target())?;
        held.remaining(now)?;
        held.item()
            .same_content(item)
            .then(|| stored_life(held, now))
    }

    /// Whether a change with this number was passed to the driver.
    pub(crate) fn is_change(&self, change: ChangeId) -> bool {
        (1..=self.last_change).contains(&change.0)
    }

    /// Passes a change to storage, if there is any. The driver must acknowledge changes to the
    /// node's own items, since no other node may have them.
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

    /// Passes changed marks and sequences to storage.
    pub(crate) fn persist_marks(&mut self, cx: &mut Context) {
        if !cx.config.storage {
            return;
        }
        let changes = self.store.take_marker_changes(cx.now);
        for change in changes.into_iter().chain(self.own.take_changes()) {
            cx.output(Output::PersistMark { change });
        }
    }

    /// Restores a mark or a sequence of an earlier run.
    pub(crate) fn load_mark(&mut self, cx: &mut Context, mark: &StoredMark) {
        match mark.kind {
            MarkKind::Own => self.own.load(mark.target, mark.seq, cx.now.mono),
            MarkKind::Deleted | MarkKind::Expired => self.store.load_marker(cx.now, mark),
        }
        self.schedule_expiry(cx);
    }

    /// Handles a record from storage that was not admitted: it has expired, is invalid, or is older
    /// than the stored item. In the last case storage has been sent the newer item; otherwise the
    /// record is removed.
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

    /// Renews an item that its signer identifies by sequence and hash alone.
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

    /// Returns the new items since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        core::mem::take(&mut self.changes)
    }

    /// Returns a target whose item has changed, once for each change.
    pub(crate) fn pop_changed_target(&mut self) -> Option<Target> {
        self.changed_targets.pop()
    }

    /// Applies the rules of a full node or of a regular node, according to the current
    /// configuration.
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

    /// Drops items that only a full node stores, a bounded number at a time.
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

    /// Suspends expiry until `at`.
    pub(crate) fn suspend_expiry(&mut self, at: Mono) {
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

/// The limits on all items and on those of the public tier. A full node is bounded by bytes only.
fn item_limits(cx: &Context) -> (Cap, Cap) {
    match cx.config.full_node {
        true => (Cap::UNLIMITED, Cap::UNLIMITED),
        false => (cx.config.limits.store_items, cx.config.limits.public_items),
    }
}

/// The lifetime of a stored item as sent on the wire.
pub(crate) fn stored_life(stored: &StoredItem, now: Time) -> Life {
    Life {
        age: stored.age(now).unwrap_or_default(),
        left: stored.remaining(now).unwrap_or(Duration::MAX),
    }
}
