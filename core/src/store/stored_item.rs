//! An item as the store holds it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

use crate::item::{Item, Origin};
use crate::key::{PublicKey, Signature};
use crate::store::config::Tier;
use crate::store::merge::Rank;
use crate::time::{Mono, Time, Unix};

/// Eviction classes, first to go first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Class {
    /// Items at another key's target.
    Mirror,
    /// Owner items outside the tiers that their signer has not renewed here yet.
    Public,
    /// Owner items outside the tiers that their signer keeps alive, see [`Standing`]. Keys are
    /// cheap and targets near a node are found in seconds; what a flood cannot have is a past.
    Established,
    /// Owner items of the tiers, and whatever this node put itself: never evicted.
    Exempt,
}

impl Class {
    /// Those that may be evicted, first to go first.
    pub(super) const EVICTABLE: [Self; 3] = [Self::Mirror, Self::Public, Self::Established];
}

/// How long an owner has kept an item alive here. A later version inherits it, also a deletion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Standing {
    /// When the first version arrived, on the monotonic clock, which may not have started then.
    since: i64,
    /// The signer vouched for it once more, a quarter of TTL after that or later.
    established: bool,
}

impl Standing {
    /// Of an item whose first version arrived at `since`.
    pub(super) const fn new(since: i64) -> Self {
        Self {
            since,
            established: false,
        }
    }

    /// When it began, down to a seventh of a second, in four bytes; saturates after nine years.
    fn rounded(self) -> i32 {
        let units = self.since >> SINCE_BITS;
        i32::try_from(units.clamp(i32::MIN.into(), i32::MAX.into())).unwrap_or_default()
    }

    /// The signer vouches for the item, now.
    pub(super) fn vouch(&mut self, now: Mono, ttl: Duration) {
        let age = signed(now).saturating_sub(self.since);
        self.established |= i128::from(age) * 4 >= ttl.as_nanos() as i128;
    }
}

/// An item as the store holds it. There are millions of these: what follows from the item is made
/// when it is asked for, and nothing takes more bytes than it has to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredItem {
    pub(super) item: Arc<Item>,
    content_hash: [u8; 32],
    bound: Option<Box<Signature>>,
    /// Shared by all items that are charged to the same peer.
    pub(super) charged: Option<Arc<PublicKey>>,
    /// Never: [`NEVER`].
    expires: Mono,
    /// On the monotonic clock, which may not have started then: hence the sign. Not known:
    /// [`UNKNOWN`].
    vouched: i64,
    /// [`Standing::since`], in units of 2^27 ns.
    since: i32,
    established: bool,
    origin: Origin,
    pub(super) tier: Tier,
    pub(super) pinned: bool,
}

/// Bits of a time that are not kept of when an item's standing began.
const SINCE_BITS: u32 = 27;
/// Stands for an expiry that never comes.
const NEVER: Mono = Mono(u64::MAX);
/// Stands for a time that is not known.
const UNKNOWN: i64 = i64::MIN;

impl StoredItem {
    /// An item of this rank, which never expires.
    pub(super) fn new(item: Arc<Item>, rank: &Rank, tier: Tier, standing: Standing) -> Self {
        Self {
            item,
            content_hash: *rank.content_hash(),
            bound: None,
            charged: None,
            expires: NEVER,
            vouched: UNKNOWN,
            since: standing.rounded(),
            established: standing.established,
            origin: rank.origin(),
            tier,
            pinned: false,
        }
    }

    /// The item.
    #[must_use]
    pub const fn item(&self) -> &Arc<Item> {
        &self.item
    }

    /// Owner or mirror.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// Where it stands in the merge rule.
    #[must_use]
    pub fn rank(&self) -> Rank {
        Rank::known(self.origin, self.content_hash, &self.item)
    }

    /// SHA-256(v ‖ salt).
    #[must_use]
    pub const fn content_hash(&self) -> &[u8; 32] {
        &self.content_hash
    }

    /// The signer's signature over target and payload, if it came with one.
    #[must_use]
    pub fn bound(&self) -> Option<&Signature> {
        self.bound.as_deref()
    }

    /// When it expires; none for owner items of the tiers.
    #[must_use]
    pub fn expires(&self) -> Option<Mono> {
        (self.expires != NEVER).then_some(self.expires)
    }

    pub(super) fn set_expires(&mut self, expires: Option<Mono>) {
        let last = Mono(NEVER.0 - 1);
        self.expires = expires.map_or(NEVER, |expires| expires.min(last));
    }

    /// When its signer last vouched for it, on the monotonic clock.
    pub(super) fn vouched_at(&self) -> Option<i64> {
        (self.vouched != UNKNOWN).then_some(self.vouched)
    }

    pub(super) fn set_vouched(&mut self, vouched: Option<i64>) {
        self.vouched = vouched.map_or(UNKNOWN, |vouched| vouched.max(UNKNOWN + 1));
    }

    pub(super) const fn standing(&self) -> Standing {
        Standing {
            since: (self.since as i64) << SINCE_BITS,
            established: self.established,
        }
    }

    pub(super) fn set_standing(&mut self, standing: Standing) {
        (self.since, self.established) = (standing.rounded(), standing.established);
    }

    /// Since its signer vouched for it, as far as known.
    #[must_use]
    pub fn age(&self, now: Time) -> Option<Duration> {
        let vouched = self.vouched_at()?;
        let age = signed(now.mono).saturating_sub(vouched);
        Some(Duration::from_nanos(u64::try_from(age).unwrap_or(0)))
    }

    /// Until it expires; none for owner items of the tiers.
    #[must_use]
    pub fn remaining(&self, now: Time) -> Option<Duration> {
        self.expires().map(|expires| expires.since(now.mono))
    }

    /// The wall-clock time at which its signer vouched for it; none when that or the time now
    /// is not known.
    #[must_use]
    pub fn vouched(&self, now: Time) -> Option<Unix> {
        let age = self.age(now)?;
        now.unix.is_set().then(|| now.unix.minus(age))
    }

    /// The owner deleted the item.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.origin() == Origin::Owner && self.item.is_tombstone()
    }

    /// Whether it has not expired.
    #[must_use]
    pub fn is_live(&self, now: Time) -> bool {
        self.expires().is_none_or(|expires| now.mono < expires)
    }

    /// Keeps the signature that lets a mirror travel.
    pub(super) fn bind(&mut self, bound: Signature) {
        if self.origin() == Origin::Mirror {
            self.bound = Some(Box::new(bound));
        }
    }

    /// Lives at least as long as a lower sequence of its signer's, whatever a third party said of
    /// it: the signer vouched for this one later.
    pub(super) fn outlive(&mut self, before: &Self) {
        if self.item.key == before.item.key && self.item.seq > before.item.seq {
            self.set_expires(self.expires().max(before.expires()));
            self.set_vouched(self.vouched_at().max(before.vouched_at()));
        }
    }

    /// An owner's item of a tier.
    pub(super) fn is_permanent(&self) -> bool {
        self.origin() == Origin::Owner && self.tier != Tier::Public
    }

    pub(super) fn class(&self) -> Class {
        if self.pinned || self.is_permanent() {
            Class::Exempt
        } else if self.origin() == Origin::Mirror {
            Class::Mirror
        } else if self.established {
            Class::Established
        } else {
            Class::Public
        }
    }

    /// Whose quota it counts against.
    pub(super) fn publisher(&self) -> Option<PublicKey> {
        (self.origin() == Origin::Owner && self.tier == Tier::Public).then_some(self.item.key)
    }
}

/// A monotonic reading as a signed number of nanoseconds; saturates after 292 years.
pub(super) fn signed(mono: Mono) -> i64 {
    i64::try_from(mono.0).unwrap_or(i64::MAX)
}
