//! What puts were promised, and what reads must therefore find.

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

/// How much later than TTL the items of the dead may disappear: replicas that were stored late,
/// and clocks that run wrong.
const SLACK: Duration = Duration::from_secs(60);

/// An acknowledged put.
#[derive(Clone, Debug)]
struct Promise {
    seq: Seq,
    tombstone: bool,
    /// When it was asked for: the first holders have it from then on.
    at: SimTime,
    /// The count that the publisher was given.
    holders: u16,
    /// Who of ours held it soon after, and has not failed since.
    standing: Option<BTreeSet<HostId>>,
    /// How many held it then.
    stood: usize,
    /// Its signer published it itself; what others publish lives as long as they can prove.
    vouched: bool,
}

/// One item, from its owner's side.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// Who signs it.
    pub owner: HostId,
    /// Its key.
    pub key: PublicKey,
    /// Where it is.
    pub target: Target,
    promises: Vec<Promise>,
    /// A put whose fate is not known, or two values of one sequence: anything may win.
    unsure: bool,
    /// The highest sequence that another node published.
    elsewhere: Seq,
}

/// What a promise depends on.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// How long an item lives, with some room for late replicas.
    pub life: Duration,
    /// Only nodes of ours take part, so that the count given to a publisher must be that of
    /// holders, but for those that crashed.
    pub all_ours: bool,
    /// Crashes so far.
    pub crashes: u64,
    /// Whether any node evicted anything: then holders may lack it.
    pub evicted: bool,
}

/// How a read of the checked phase was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The freshest, or what may count as such.
    Right,
    /// Not found, or older, or no answer.
    Wrong,
    /// Nothing was promised, so nothing can be said.
    Unknown,
}

impl Tracked {
    /// An item that is not published yet.
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

    /// A put that was asked for at `at` was acknowledged.
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

    /// Another node published what the owner's key signed, with this sequence. It may take the
    /// place of anything with a lower one, or the same, and may live shorter.
    pub fn elsewhere(&mut self, seq: Seq) {
        for promise in &mut self.promises {
            promise.vouched &= promise.seq > seq;
        }
        self.elsewhere = self.elsewhere.max(seq);
        self.unsure = true;
    }

    /// A put ended without a promise, yet may have reached a peer.
    pub fn unsure(&mut self) {
        self.unsure = true;
    }

    /// A host failed: it crashed, or its disk was lost.
    pub fn failed(&mut self, host: HostId) {
        for promise in &mut self.promises {
            if let Some(standing) = &mut promise.standing {
                standing.remove(&host);
            }
        }
    }

    /// The highest sequence promised.
    #[must_use]
    pub fn floor(&self) -> Option<Seq> {
        self.promises.iter().map(|promise| promise.seq).max()
    }

    fn newest(&self) -> Option<&Promise> {
        let vouched = self.promises.iter().filter(|promise| promise.vouched);
        vouched.max_by_key(|promise| promise.seq)
    }

    /// Looks at the holders of every promise.
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
                    // Those with a newer one hold that from now on.
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

    /// Whether a read found any of the owner's versions, as one for the first valid value may,
    /// or one of a mirror where nodes accept some. A tombstone is a value like any other: the first
    /// found may be an older one.
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

    /// Judges what a read found. `reachable`: a standing holder is where a reader looks.
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
            // A put of unknown fate may have deleted it.
            None if self.unsure => Verdict::Unknown,
            None if newest.tombstone => Verdict::Right,
            _ if !alive || !held() => Verdict::Unknown,
            _ => Verdict::Wrong,
        }
    }

    /// Whether a host still holds the item although its owner left too long ago.
    #[must_use]
    pub fn outlived(&self, now: SimTime, owner_left: SimTime, ttl: Duration) -> bool {
        now.since(owner_left) > ttl + SLACK
    }
}
