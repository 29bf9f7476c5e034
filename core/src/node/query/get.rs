//! Reading an item: of the verified answers, the one of highest rank is the result, with the number
//! of peers that agree. Plain state without I/O: events come in, [`Action`]s go out.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::NodeId;
use crate::item::{Item, Origin, Seq};
use crate::key::PublicKey;
use crate::node::counters::Counter;
use crate::node::ids::JobId;
use crate::node::input::{GetRequest, ReadPolicy};
use crate::node::outcome::{GetOutcome, LookupStats, Source};
use crate::node::query::action::{Action, Outbox, Unverified};
use crate::store::merge::{Judgement, Rank, judge};
use crate::time::{Mono, Time};
use crate::wire::Life;

/// A verified version of the item, and its holders.
pub(crate) struct Version {
    rank: Rank,
    pub(crate) item: Arc<Item>,
    pub(crate) holders: BTreeSet<NodeId>,
    pub(crate) life: Option<Life>,
    /// The peer that returned it first; `None` if only this node's own store or cache has it.
    pub(crate) from: Option<PublicKey>,
}

impl Version {
    pub(crate) fn is_owners(&self) -> bool {
        self.rank.origin() == Origin::Owner
    }
}

/// State of a read.
pub(crate) struct Get {
    pub(crate) request: GetRequest,
    /// Whether the first value is not reported, since the read serves a put or a watch.
    suppress_first_value: bool,
    versions: Vec<Version>,
    /// Answers whose signatures are being checked, with all peers that returned the same item.
    jobs: BTreeMap<JobId, (Unverified, BTreeSet<NodeId>)>,
    /// When the first value was reported.
    first_value: Option<Mono>,
    /// Where the local item came from, if there was one.
    source: Source,
    /// Number of peers that answered.
    asked: u16,
    /// Number of peers that answered without an item.
    pub(crate) without: u16,
}

impl Get {
    pub(crate) fn new(request: GetRequest, suppress_first_value: bool) -> Self {
        Self {
            request,
            suppress_first_value,
            versions: Vec::new(),
            jobs: BTreeMap::new(),
            first_value: None,
            source: Source::Network,
            asked: 0,
            without: 0,
        }
    }

    /// Whether an item may answer the request: the owner's, or a mirror's that the reader accepts.
    pub(crate) fn is_wanted(&self, item: &Item, mirrors: &[PublicKey]) -> bool {
        match item.origin_at(&self.request.target) {
            Origin::Owner => self
                .request
                .owner
                .as_ref()
                .is_none_or(|(key, salt)| item.key == *key && item.salt == *salt),
            Origin::Mirror => self.request.unknown_mirrors || mirrors.contains(&item.key),
        }
    }

    /// Takes the item that this node has stored or cached.
    pub(crate) fn on_local(
        &mut self,
        item: &Arc<Item>,
        life: Life,
        source: Source,
        now: Mono,
        out: &mut Outbox,
    ) {
        self.add(item.clone(), Some(life));
        self.source = source;
        self.note_value(item, None, now, out);
    }

    /// Takes an answer without an item.
    pub(crate) fn on_no_item(&mut self) {
        self.asked = self.asked.saturating_add(1);
        self.without = self.without.saturating_add(1);
    }

    /// Takes an answer with an item. `held` is the verified item in this node's own store, whose
    /// signature is not checked again.
    pub(crate) fn on_item(
        &mut self,
        answer: Unverified,
        mirrors: &[PublicKey],
        held: Option<&Arc<Item>>,
        now: Mono,
        out: &mut Outbox,
    ) {
        self.asked = self.asked.saturating_add(1);
        let Unverified { item, life, from } = &answer;
        if !self.is_wanted(item, mirrors) || item.check_sizes().is_err() {
            return out.push(Action::Count(Counter::WrongItems));
        }
        // The content is equal, so the verified copy counts, whatever the new signature is.
        let same = |known: &&Arc<Item>| known.same_content(item);
        let seen = self.versions.iter().map(|version| &version.item);
        if let Some(known) = seen.chain(held).find(same).cloned() {
            out.push(Action::Count(Counter::VerifySpared));
            let version = self.add(known.clone(), *life);
            version.holders.insert(from.id);
            version.from.get_or_insert(from.key);
            return self.note_value(&known, Some(from.key), now, out);
        }
        // Identical bytes are being verified already, so their verdict decides.
        let same = self.jobs.values_mut().find(|(job, _)| *job.item == **item);
        if let Some((_, holders)) = same {
            holders.insert(from.id);
            return;
        }
        out.push(Action::Verify(answer));
    }

    /// Records that the signature of an answer is being checked.
    pub(crate) fn verifying(&mut self, job: JobId, answer: Unverified) {
        let holders = BTreeSet::from([answer.from.id]);
        self.jobs.insert(job, (answer, holders));
    }

    /// Takes a verdict.
    pub(crate) fn on_verdict(&mut self, job: JobId, valid: bool, now: Mono, out: &mut Outbox) {
        let Some((answer, holders)) = self.jobs.remove(&job) else {
            return;
        };
        if !valid {
            return out.push(Action::Count(Counter::ForgedItems));
        }
        let version = self.add(answer.item.clone(), answer.life);
        version.holders.extend(holders);
        version.from.get_or_insert(answer.from.key);
        self.note_value(&answer.item, Some(answer.from.key), now, out);
    }

    /// Reports a verified item if it is the first that is not a deletion, unless reports are
    /// suppressed.
    fn note_value(
        &mut self,
        item: &Arc<Item>,
        from: Option<PublicKey>,
        now: Mono,
        out: &mut Outbox,
    ) {
        if self.first_value.is_none() && !self.suppress_first_value && !item.reads_as_deleted() {
            self.first_value = Some(now);
            let item = item.clone();
            out.push(Action::FirstValue { item, from });
        }
    }

    /// Adds a verified version, or finds the one with the same content.
    fn add(&mut self, item: Arc<Item>, life: Option<Life>) -> &mut Version {
        let mut versions = self.versions.iter();
        let at = versions.position(|version| version.item.same_content(&item));
        let at = at.unwrap_or_else(|| {
            self.versions.push(Version {
                rank: Rank::of(&self.request.target, &item),
                item,
                holders: BTreeSet::new(),
                life: None,
                from: None,
            });
            self.versions.len() - 1
        });
        let version = &mut self.versions[at];
        // A peer's claim may only shorten a lifetime.
        version.life = match (version.life, life) {
            (Some(a), Some(b)) => Some(if a.left < b.left { a } else { b }),
            (a, b) => a.or(b),
        };
        version
    }

    /// The version with the highest rank.
    pub(crate) fn best(&self) -> Option<&Version> {
        self.versions
            .iter()
            .reduce(|best, version| match judge(&best.rank, &version.rank) {
                Judgement::Newer { .. } => version,
                Judgement::Same | Judgement::Older { .. } => best,
            })
    }

    /// The verified sequences of the owner, each with its number of holders.
    pub(crate) fn owner_seqs(&self) -> impl Iterator<Item = (Seq, usize)> {
        let versions = self.versions.iter().filter(|version| version.is_owners());
        versions.map(|version| (version.item.seq, version.holders.len()))
    }

    /// Whether a pending verdict may complete the read.
    pub(crate) fn awaits_deciding_verdict(&self) -> bool {
        self.request.policy == ReadPolicy::FirstValid && !self.jobs.is_empty()
    }

    /// Whether the policy is met, or the lookup has ended and no verdict is pending.
    pub(crate) fn is_complete(&self, lookup_over: bool) -> bool {
        let met = match self.request.policy {
            ReadPolicy::Freshest | ReadPolicy::Local => false,
            ReadPolicy::FirstValid => !self.versions.is_empty(),
            ReadPolicy::Quorum(n) => self
                .best()
                .is_some_and(|best| best.holders.len() >= usize::from(n)),
        };
        met || (lookup_over && self.jobs.is_empty())
    }

    /// The best version, as reported to the caller; `None` if there is none.
    pub(crate) fn outcome(
        &self,
        started: Mono,
        stats: LookupStats,
        now: Time,
    ) -> Option<GetOutcome> {
        let best = self.best()?;
        let item = best.item.clone();
        let by_clock = || {
            let vouched = item.seq.as_time()?;
            now.unix.is_set().then(|| now.unix.since(vouched))
        };
        let age = best.life.map(|life| life.age).or_else(by_clock);
        Some(GetOutcome {
            target: self.request.target,
            origin: best.rank.origin(),
            age,
            source: if best.holders.is_empty() {
                self.source
            } else {
                Source::Network
            },
            agree: u16::try_from(best.holders.len()).unwrap_or(u16::MAX),
            asked: self.asked,
            first_value: self
                .first_value
                .map_or(stats.elapsed, |at| at.since(started)),
            stats,
            item,
        })
    }
}
