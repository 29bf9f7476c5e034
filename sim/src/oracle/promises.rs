//! What acknowledged puts promise, and what reads must therefore find.

use std::collections::BTreeSet;
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::{Origin, Seq};
use skydht_core::key::PublicKey;
use skydht_core::node::{GetError, GetOutcome, PutOutcome};

use super::Violations;
use super::holdings::Holdings;
use crate::clock::SimTime;
use crate::network::HostId;

/// How much later than its TTL an item may disappear after its owner left, because of replicas that
/// were stored late and clocks that are wrong.
const SLACK: Duration = Duration::from_secs(60);

/// An acknowledged put.
#[derive(Clone, Debug)]
struct Promise {
    seq: Seq,
    tombstone: bool,
    /// Time of the request. The first holders may have stored the item from then on.
    at: SimTime,
    /// Number of replicas reported to the publisher.
    holders: u16,
    /// Our hosts that held the item soon afterwards and have not failed since.
    standing: Option<BTreeSet<HostId>>,
    /// Number of our hosts that held it then.
    stood: usize,
    /// The signer published the item itself. Items that others publish live only as long as their
    /// expiry allows.
    vouched: bool,
}

/// The history of one item as its owner knows it.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// Host that signs the item.
    pub owner: HostId,
    /// Key of the owner.
    pub key: PublicKey,
    /// Target of the item.
    pub target: Target,
    promises: Vec<Promise>,
    /// The outcome of a put is unknown, or two values have the same sequence number: a read may
    /// find any of them.
    unsure: bool,
    /// The highest sequence number that another node published.
    elsewhere: Seq,
}

/// Conditions that a promise depends on.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// Lifetime of an item, with some margin for late replicas.
    pub life: Duration,
    /// Only nodes of ours take part. The number of replicas reported to a publisher must then be
    /// the number of holders, except those that crashed.
    pub all_ours: bool,
    /// Number of crashes so far.
    pub crashes: u64,
    /// Whether any node evicted items; holders may then lack the item.
    pub evicted: bool,
}

/// The judgement of a read in the checked phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The newest version, or one that is also acceptable.
    Right,
    /// Not found, an old version, or no answer.
    Wrong,
    /// No promise exists, so the read cannot be judged.
    Unknown,
}

impl Tracked {
    /// An item that has not been published yet.
    #[must_use]
    pub fn new(owner: HostId, key: PublicKey, target: Target) -> Self {
        Self {
            owner,
            key,
            target,
            promises: Vec::new(),
            unsure: false,
            elsewhere: Seq(0),
        }
    }

    /// Records that the put requested at `at` was acknowledged.
    pub fn promised(&mut self, at: SimTime, outcome: &PutOutcome, tombstone: bool) {
        let holders = outcome.replicas.acknowledged();
        if holders == 0 {
            return self.unsure();
        }
        self.promises.push(Promise {
            seq: outcome.seq,
            tombstone,
            at,
            holders,
            standing: None,
            stood: 0,
            vouched: outcome.seq > self.elsewhere,
        });
    }

    /// Records that another node published an item signed by the owner, with this sequence number.
    /// It may replace items with a lower or the same number and may have a shorter lifetime.
    pub fn elsewhere(&mut self, seq: Seq) {
        for promise in &mut self.promises {
            promise.vouched &= promise.seq > seq;
        }
        self.elsewhere = self.elsewhere.max(seq);
        self.unsure = true;
    }

    /// Records that a put ended without a promise but may have reached a peer.
    pub fn unsure(&mut self) {
        self.unsure = true;
    }

    /// Records that a host failed: it crashed, or its disk was lost.
    pub fn failed(&mut self, host: HostId) {
        for promise in &mut self.promises {
            if let Some(standing) = &mut promise.standing {
                standing.remove(&host);
            }
        }
    }

    /// The highest promised sequence number.
    #[must_use]
    pub fn floor(&self) -> Option<Seq> {
        self.promises.iter().map(|promise| promise.seq).max()
    }

    fn newest(&self) -> Option<&Promise> {
        let vouched = self.promises.iter().filter(|promise| promise.vouched);
        vouched.max_by_key(|promise| promise.seq)
    }

    /// Checks the holders of every promise.
    pub fn check(
        &mut self,
        now: SimTime,
        holdings: &Holdings,
        about: &Circumstances,
        is_up: impl Fn(HostId) -> bool,
        violations: &mut Violations,
    ) {
        let Circumstances {
            life: ttl,
            all_ours,
            crashes,
            evicted,
        } = *about;
        let target = self.target;
        for promise in self.promises.iter_mut().filter(|it| it.vouched) {
            let at = |host: HostId| {
                let mut of = holdings.of(&target);
                let rank = of.find(|it| it.0 == host).map(|it| it.1.rank);
                rank.filter(|rank| rank.origin() == Origin::Owner)
                    .map(|rank| rank.seq())
            };
            match &mut promise.standing {
                None => {
                    let of = holdings.of(&target);
                    let life = promise.at.plus(ttl);
                    let standing: BTreeSet<HostId> = of
                        .filter(|(_, holding)| holding.rank.origin() == Origin::Owner)
                        .filter(|(_, holding)| holding.rank.seq() >= promise.seq)
                        .filter(|(_, holding)| holding.until.is_none_or(|until| until >= life))
                        .map(|(host, _)| host)
                        .filter(|host| is_up(*host))
                        .collect();
                    promise.stood = standing.len();
                    let claimed = u64::from(promise.holders);
                    if all_ours && !evicted && claimed > promise.stood as u64 + crashes {
                        violations.note(
                            now,
                            format_args!(
                                "{target}: {claimed} holders acknowledged sequence {}, {} have it",
                                promise.seq, promise.stood
                            ),
                        );
                    }
                    promise.standing = Some(standing);
                }
                Some(standing) if now.since(promise.at) < ttl && !evicted => {
                    // Hosts with a newer version hold that version from now on.
                    standing.retain(|host| at(*host).is_none_or(|seq| seq <= promise.seq));
                    let lost: Vec<HostId> = standing
                        .iter()
                        .copied()
                        .filter(|host| at(*host).is_none())
                        .collect();
                    if let Some(host) = lost.first() {
                        violations.note(
                            now,
                            format_args!(
                                "{target}: {host} lost sequence {}, and {} others",
                                promise.seq,
                                lost.len() - 1
                            ),
                        );
                        promise.standing = Some(BTreeSet::new());
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// Whether a read found any version of the owner, which is enough for a read that takes the
    /// first valid value, or an item of a mirror if nodes accept mirrors. A tombstone counts as a
    /// version: the first one found may be an old tombstone.
    #[must_use]
    pub fn is_found(&self, mirrors: bool, read: &Result<GetOutcome, GetError>) -> bool {
        match read {
            Ok(outcome) => {
                outcome.item.key == self.key || (mirrors && outcome.origin == Origin::Mirror)
            }
            Err(GetError::Deleted { .. }) => true,
            Err(_) => false,
        }
    }

    /// Judges the result of a read. `reachable`: a host that still holds the item is among those
    /// that a reader asks.
    pub fn judge(
        &self,
        now: SimTime,
        ttl: Duration,
        owner_up: bool,
        reachable: impl Fn(&BTreeSet<HostId>) -> bool,
        read: &Result<GetOutcome, GetError>,
    ) -> Verdict {
        let Some(newest) = self.newest() else {
            return Verdict::Unknown;
        };
        let alive = owner_up || now.since(newest.at) + SLACK < ttl;
        let standing = newest.standing.as_ref();
        let held = || standing.is_none_or(&reachable);
        let found = match read {
            Ok(outcome) => Some((outcome.item.seq, outcome.item.key == self.key)),
            Err(GetError::Deleted { seq, .. }) => Some((*seq, true)),
            Err(_) => None,
        };
        match found {
            Some((seq, true)) if seq >= newest.seq => Verdict::Right,
            // The put with unknown outcome may have deleted the item.
            None if self.unsure => Verdict::Unknown,
            None if newest.tombstone => Verdict::Right,
            _ if !alive || !held() => Verdict::Unknown,
            _ => Verdict::Wrong,
        }
    }

    /// Whether a host holds the item although its owner left longer ago than the TTL allows.
    #[must_use]
    pub fn outlived(&self, now: SimTime, owner_left: SimTime, ttl: Duration) -> bool {
        now.since(owner_left) > ttl + SLACK
    }
}
