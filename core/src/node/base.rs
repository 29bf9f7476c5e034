//! The layers below requests, queries and operations, which all three use.

use crate::Seed;
use crate::id::{NodeId, Target};
use crate::item::Item;
use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::context::Context;
use crate::node::counters::Counter;
use crate::node::ids::{CallId, CallTag, JobId, QueryId, VerifyTag};
use crate::node::items::Items;
use crate::node::items::intake::Rejection;
use crate::node::loading::{LoadStatus, Loading, Need};
use crate::node::measurements::Task;
use crate::node::output::SessionUse;
use crate::node::peers::Peers;
use crate::node::rpc::callers::Callers;
use crate::node::rpc::calls::Calls;
use crate::node::rpc::fair_queue::Lane;
use crate::node::rpc::jobs::Jobs;
use crate::node::verify::Verdict;
use crate::record::StoredRecord;
use crate::store::Candidate as StoreCandidate;
use crate::wire::{PeerList, Request, RequestExt, WirePeer};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The layers below requests, queries and operations.
pub(crate) struct Base {
    pub(crate) cx: Context,
    pub(crate) calls: Calls,
    pub(crate) jobs: Jobs,
    pub(crate) callers: Callers,
    pub(crate) peers: Peers,
    pub(crate) items: Items,
    pub(crate) loading: Loading,
}

impl Base {
    pub(crate) fn new(cx: Context, seed: &Seed, hash_seed: u64) -> Self {
        let callers = cx.config.limits.callers;
        Self {
            calls: Calls::new(hash_seed),
            jobs: Jobs::new(hash_seed),
            callers: Callers::new(callers, seed.stream("callers").next()),
            peers: Peers::new(&cx, seed.stream("book").next()),
            items: Items::new(&cx),
            loading: Loading::default(),
            cx,
        }
    }

    /// Calls a peer with the usual extension, over its session or a new one. Returns `None` when
    /// the limit on calls is reached.
    pub(crate) fn ask(
        &mut self,
        peer: Candidate,
        request: Request,
        tag: CallTag,
    ) -> Option<CallId> {
        let ext = self.cx.request_ext();
        self.ask_with(peer, request, ext, tag)
    }

    /// Same as [`Base::ask`], with the given extension.
    pub(crate) fn ask_with(
        &mut self,
        peer: Candidate,
        request: Request,
        ext: RequestExt,
        tag: CallTag,
    ) -> Option<CallId> {
        let session = SessionUse::ReuseOrDial;
        let request = (request, ext);
        self.peers
            .call(&mut self.cx, &mut self.calls, peer, request, tag, session)
    }

    /// Ends a call whose answer is not wanted any more.
    pub(crate) fn abandon(&mut self, call: CallId) {
        self.peers.abandon_call(&mut self.cx, &mut self.calls, call);
    }

    /// Pings a peer of the routing table.
    pub(crate) fn ping_contact(&mut self, id: NodeId, tag: CallTag) -> bool {
        self.peers
            .ping_contact(&mut self.cx, &mut self.calls, id, tag)
    }

    /// Whether a peer keeps its share when room is short: it is in the routing table, or recently
    /// took an answer completely.
    pub(crate) fn is_known(&self, peer: &PublicKey) -> bool {
        self.callers.took_answer(peer, self.cx.now.mono)
            || self.peers.table.get(&peer.id()).is_some()
    }

    /// The queue lane in which the requests and jobs of a peer wait.
    pub(crate) fn lane(&self, peer: &PublicKey) -> Lane {
        if *peer == self.cx.public {
            return Lane::Known;
        }
        let known = || self.peers.table.get(&peer.id()).is_some();
        self.callers.lane(peer, self.cx.now.mono, known)
    }

    /// Whether one more signature may be checked on behalf of `peer`.
    pub(crate) fn may_verify(&mut self, peer: &PublicKey) -> bool {
        self.jobs.may_start(&mut self.cx, peer)
    }

    /// The number of live peers known to be nearer to `target` than this node, at most k.
    pub(crate) fn nearer(&self, target: &Target) -> usize {
        let k = self.cx.config.k;
        self.peers.table.nearer_than_local(target, k)
    }

    /// Returns the known full nodes nearest to `target` that are not in back-off, nearest first.
    /// O(m) hashes for m known full nodes.
    pub(crate) fn nearest_full_nodes(&self, target: &Target, most: usize) -> Vec<Candidate> {
        let (now, store) = (self.cx.now.mono, &self.peers.store);
        let known = store.full_nodes().iter();
        let mut near: Vec<Candidate> = known
            .filter(|key| !store.is_paused(key, now))
            .map(|key| Candidate {
                key: *key,
                id: key.id(),
                addr: None,
            })
            .collect();
        near.sort_by_key(|peer| target.distance(&peer.id));
        near.truncate(most);
        near
    }

    /// Starts checking the signature of an item on behalf of `peer`.
    pub(crate) fn verify(&mut self, peer: &PublicKey, candidate: StoreCandidate, tag: VerifyTag) {
        let peer = (*peer, self.lane(peer));
        self.items
            .verify(&mut self.cx, &mut self.jobs, peer, candidate, tag);
    }

    /// Stores an item if its signature is valid.
    pub(crate) fn judge(&mut self, job: JobId, verdict: Verdict) -> Result<(), Rejection> {
        let target = self.items.pending_target(job);
        let nearer = target.map_or(0, |target| self.nearer(&target));
        self.items.judge(&mut self.cx, job, verdict, nearer)
    }

    /// Starts checking the signature of an item that a read returned.
    pub(crate) fn verify_read(
        &mut self,
        from: &PublicKey,
        item: Arc<Item>,
        query: QueryId,
    ) -> JobId {
        let peer = (*from, self.lane(from));
        self.jobs
            .start(&mut self.cx, peer, item, None, VerifyTag::Get(query))
    }

    /// What a request or an operation waits for before it can be decided; `None` if all that it
    /// needs is loaded. No request waits for all of a storage that is unreadable for long.
    pub(crate) fn needs(&mut self, need: Need) -> Option<Need> {
        let Self { cx, loading, .. } = self;
        let need = match need {
            Need::All => Need::All,
            Need::At(target) => match loading.request(cx, target) {
                LoadStatus::Loaded => return None,
                LoadStatus::Requested => need,
                LoadStatus::Full => Need::All,
            },
        };
        (need != Need::All || loading.is_worth_waiting(cx.now.mono)).then_some(need)
    }

    /// Takes a record from storage. Its signature is checked unless storage proves the record.
    pub(crate) fn load(&mut self, record: StoredRecord, proven: bool) {
        let public = self.cx.public;
        let target = record.target;
        if record.item.check_sizes().is_err() {
            return self.items.not_loaded(&mut self.cx, target);
        }
        if !proven && !self.may_verify(&public) {
            return self.loading.skip(&mut self.cx, target);
        }
        let candidate = StoreCandidate::recorded(record);
        if !proven {
            self.loading.check_started(target);
            return self.verify(&public, candidate, VerifyTag::Loaded);
        }
        let nearer = self.nearer(&target);
        if let Err(refusal) = self.items.admit(&mut self.cx, candidate, nearer) {
            self.cx.count_refusal(refusal);
            self.items.not_loaded(&mut self.cx, target);
        }
    }

    /// Drops some items that only a full node would store, and reschedules itself while there are
    /// more.
    pub(crate) fn trim_store(&mut self) {
        let (k, table) = (self.cx.config.k, &self.peers.table);
        let nearer = |target: &Target| table.nearer_than_local(target, k);
        self.items.trim(&mut self.cx, nearer);
    }

    pub(crate) fn load_verified(&mut self, job: JobId, verdict: Verdict) {
        let Some(target) = self.items.pending_target(job) else {
            return;
        };
        let judged = self.judge(job, verdict);
        match judged {
            Ok(()) => {}
            Err(Rejection::Store(refusal)) => self.cx.count_refusal(refusal),
            Err(Rejection::Item(_)) => self.cx.counters.count(Counter::ForgedItems),
        }
        if judged.is_err() {
            self.items.not_loaded(&mut self.cx, target);
        }
        self.loading.check_ended(&mut self.cx, target);
    }

    /// Pings the peers of the table that have been silent longest.
    pub(crate) fn prove_peers(&mut self) {
        let now = self.cx.now.mono;
        self.cx.measured.task_started(Task::Prove, now);
        self.peers.prove(&mut self.cx, &mut self.calls);
    }

    /// Drops expired items.
    pub(crate) fn expire(&mut self) {
        let Self { cx, items, .. } = self;
        let now = cx.now.mono;
        cx.measured.task_started(Task::Expiry, now);
        items.expire(cx);
        cx.measured.task_succeeded(Task::Expiry, now);
    }

    /// The nearest peers that others can reach. Addresses are included only for peers that use our
    /// extensions.
    pub(crate) fn closest_for(&self, target: &Target, addresses: bool) -> PeerList {
        let since = self.peers.proven_since(self.cx.now.mono);
        self.peers
            .table
            .closest_where(target, self.cx.config.k, |contact| {
                contact.reachable && contact.is_proven(since)
            })
            .map(|contact| WirePeer {
                id: contact.id,
                key: Some(contact.key),
                last_seen: contact.last_seen.unix.into(),
                addr: contact.addr.filter(|_| addresses),
            })
            .collect::<Vec<_>>()
            .into()
    }
}
