//! How upstream's full nodes compare their stores: they pull with a cursor on the sequence number,
//! then push what they did not see.
//!
//! The cursor skips items that arrive late with a low sequence number (defect 18), a page above 4
//! MiB brings nothing (19), batches are bounded before base64 (20), newer versions of seen items
//! are not pushed (21).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use skydht_core::id::Target;
use skydht_core::item::{Item, Seq};
use skydht_core::key::PublicKey;
use skydht_core::node::OperationError;
use skydht_core::wire::{Method, Request, RequestMessage, Response, Sender, WireItem};

use super::config::{ADVERT_SALT, PAGE_TIMEOUT, RPC_TIMEOUT};
use super::frame;
use super::state::{CallFailure, Reply, Timer, UpstreamNode};
use super::table::Contact;
use super::task::{Purpose, Reconcile, TaskId, Work};

const FIRST: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_secs(3_600);
const PER_PEER: Duration = Duration::from_secs(300);
const ADVERT_AGE: Duration = Duration::from_secs(1_800);
/// Maximum number of raw bytes in a batch. 200 bytes are added for each item.
const BATCH: usize = 3 << 20;

/// Value of an announcement.
#[derive(Deserialize)]
struct Advert {
    pk: PublicKey,
    #[serde(default)]
    ts: u64,
}

impl UpstreamNode {
    pub(super) fn start_full_node(&mut self) {
        let first = self.now.mono.plus(FIRST);
        self.timers.set(Timer::Advert, first);
        // Without bootstrap peers the loop never starts.
        if !self.config.bootstrap.is_empty() {
            self.timers.set(Timer::Reconcile, first);
        }
    }

    pub(super) fn reconcile(&mut self) {
        self.timers
            .set(Timer::Reconcile, self.now.mono.plus(INTERVAL));
        let pass = Reconcile {
            left: self.full_nodes(),
            ..Reconcile::default()
        };
        let task = self.task(Purpose::FullNode, None);
        self.insert(task, Purpose::FullNode, Work::Reconcile(Box::new(pass)));
        self.next_full_node(task);
    }

    /// Bootstrap peers, then nodes that announced themselves in the last half hour. The key in the
    /// value is accepted with any signer (defect 28).
    fn full_nodes(&self) -> VecDeque<PublicKey> {
        let bootstrap: BTreeSet<PublicKey> = self.config.bootstrap.iter().copied().collect();
        let mut announced = BTreeMap::new();
        for (_, item) in self.store.iter() {
            if item.salt.as_bytes() != ADVERT_SALT.as_bytes() {
                continue;
            }
            let Ok(advert) = serde_json::from_slice::<Advert>(item.value.as_bytes()) else {
                continue;
            };
            let age = Duration::from_nanos(self.now.unix.0.saturating_sub(advert.ts));
            if advert.pk != self.key && !bootstrap.contains(&advert.pk) && age <= ADVERT_AGE {
                announced.insert(advert.pk, ());
            }
        }
        let bootstrap = self.config.bootstrap.iter().filter(|key| **key != self.key);
        bootstrap.copied().chain(announced.into_keys()).collect()
    }

    fn pass(&mut self, id: TaskId) -> Option<&mut Reconcile> {
        match &mut self.tasks.get_mut(&id)?.work {
            Work::Reconcile(pass) => Some(pass),
            _ => None,
        }
    }

    fn next_full_node(&mut self, id: TaskId) {
        let deadline = self.now.mono.plus(PER_PEER);
        let Some(pass) = self.pass(id) else { return };
        let Some(peer) = pass.left.pop_front() else {
            self.tasks.remove(&id);
            return self.end(id, Purpose::FullNode, None);
        };
        *pass = Reconcile {
            left: std::mem::take(&mut pass.left),
            peer: Some(peer),
            deadline,
            ..Reconcile::default()
        };
        self.timers.set(Timer::Task(id), deadline);
        self.pull(id, peer, Seq(0));
    }

    fn pull(&mut self, id: TaskId, peer: PublicKey, since_seq: Seq) {
        let message = RequestMessage {
            sender: Sender::of(&self.key),
            ext: None,
            request: Request::GetItems {
                salt: String::new(),
                since_seq,
                limit: 1_000,
            },
        };
        if let Ok(bytes) = skydht_core::wire::encode_request(&message) {
            let contact = Contact::of(&peer, self.now.unix);
            self.call_raw(id, contact, Method::GetItems, bytes, PAGE_TIMEOUT);
        }
    }

    pub(super) fn reconciled(&mut self, id: TaskId, result: Result<Reply, CallFailure>) {
        let now = self.now.mono;
        let Some(pass) = self.pass(id) else { return };
        let (peer, late) = (pass.peer, now >= pass.deadline);
        match (result.map(|reply| reply.response), peer) {
            (
                Ok(Response::GetItems {
                    items,
                    targets,
                    has_more,
                }),
                Some(peer),
            ) if !late => self.pulled(id, peer, &items, &targets, has_more),
            (Ok(Response::PutBatch { .. }), Some(peer)) if !late => self.push_batch(id, peer),
            _ => self.next_full_node(id),
        }
    }

    fn pulled(
        &mut self,
        id: TaskId,
        peer: PublicKey,
        items: &[WireItem],
        targets: &[Target],
        has_more: bool,
    ) {
        let now = self.now.mono;
        let (mut top, mut seen) = (Seq(0), Vec::new());
        for (i, item) in items.iter().enumerate() {
            let Some(keyed) = item.item() else { continue };
            top = top.max(keyed.seq);
            match targets.get(i) {
                Some(target) => {
                    seen.push(*target);
                    self.counters.pulled += u64::from(self.store.put_mirror(now, *target, item));
                }
                None => {
                    seen.push(keyed.target());
                    self.counters.pulled += u64::from(self.store.put(now, item).is_ok());
                }
            }
        }
        let Some(pass) = self.pass(id) else { return };
        pass.seen.extend(seen);
        let advanced = top > pass.cursor;
        pass.cursor = pass.cursor.max(top);
        if has_more && !items.is_empty() && advanced {
            let cursor = pass.cursor;
            return self.pull(id, peer, cursor);
        }
        let seen = std::mem::take(&mut pass.seen);
        let unseen = self.store.iter().filter(|(it, _)| !seen.contains(*it));
        let unseen = unseen
            .map(|(target, item)| (*target, item.clone()))
            .collect();
        if let Some(pass) = self.pass(id) {
            pass.to_push = Some(unseen);
        }
        self.push_batch(id, peer);
    }

    fn push_batch(&mut self, id: TaskId, peer: PublicKey) {
        let Some(pass) = self.pass(id) else { return };
        let mut batch: Vec<(Target, Arc<Item>)> = Vec::new();
        let mut raw = 0;
        while let Some((_, item)) = pass.to_push.as_ref().and_then(VecDeque::front) {
            let size = item.value.as_bytes().len() + item.salt.as_bytes().len() + 200;
            if !batch.is_empty() && raw + size > BATCH {
                break;
            }
            raw += size;
            batch.extend(pass.to_push.as_mut().and_then(VecDeque::pop_front));
        }
        if batch.is_empty() {
            return self.next_full_node(id);
        }
        self.counters.pushed += batch.len() as u64;
        let bytes = frame::batch_request(&self.key, &batch);
        let contact = Contact::of(&peer, self.now.unix);
        self.call_raw(id, contact, Method::PutBatch, bytes, RPC_TIMEOUT);
    }

    /// The five minutes for the current peer are over: continues with the next.
    pub(super) fn task_timed_out(&mut self, id: TaskId) {
        if self.pass(id).is_some() {
            self.cancel_calls(id);
            return self.next_full_node(id);
        }
        self.cut(id, OperationError::Timeout);
    }
}
