//! Invariants that must hold after every input.

use std::collections::BTreeSet;

use skydht_core::item::{Item, Origin};
use skydht_core::node::{Counter, GetError, Limit, Limits, Outcome, StreamId};
use skydht_core::wire::{
    Frame, Method, Request, RequestMessage, Response, ResponseMessage, Side, WireItem, WirePeer,
    decode_request, decode_response,
};

use super::cast::{CAST, OWN_TARGETS};
use super::world::World;
use crate::messages::only_frame;

/// Maximum number of timers fired in one `handle`. Each may cause a few outputs.
const TIMER_STEP: usize = 256;

/// Maximum number of outputs of one input: a term for each bounded resource.
pub(super) fn most_outputs(limits: &Limits) -> usize {
    let things = limits.streams
        + limits.calls
        + limits.operations
        + limits.verify_jobs
        + limits.probes
        + limits.own_items;
    8 * things + 4 * TIMER_STEP
}

/// Compares the node with what its driver knows.
pub(super) fn check(world: &World) {
    let snapshot = world.node.snapshot();
    for usage in &snapshot.limits {
        let (limit, used, max) = (usage.limit, usage.used, usage.max);
        let exempt = match limit {
            Limit::store_items | Limit::public_items => exempt(world),
            _ => 0,
        };
        let fits = max.is_none_or(|max| used <= max + exempt);
        assert!(fits, "{}: {used} of {max:?} and {exempt}", limit.name());
    }
    let used = |limit: Limit| {
        let usage = snapshot.limits.iter().find(|usage| usage.limit == limit);
        usage.expect("every limit is there").used
    };
    let running = world
        .operations
        .values()
        .filter(|finished| !**finished)
        .count();
    assert_eq!(used(Limit::streams), world.streams.len(), "streams");
    assert_eq!(used(Limit::verify_window), world.jobs.len(), "jobs");
    assert_eq!(used(Limit::probes), world.probes.len(), "probes");
    assert_eq!(used(Limit::operations), running, "operations");
    assert_eq!(used(Limit::outputs), 0, "outputs");

    let count = |counter| snapshot.counters.get(counter);
    let tally = &world.tally;
    assert_eq!(count(Counter::BytesIn), tally.bytes_in);
    assert_eq!(count(Counter::BytesOut), tally.bytes_out);
    assert_eq!(count(Counter::VerifyJobs), tally.jobs);
    assert_eq!(count(Counter::Probes), tally.probes);
    assert_eq!(count(Counter::Operations), tally.commands);
    assert_eq!(count(Counter::PeersAdded), tally.added);
    assert_eq!(count(Counter::PeersRemoved), tally.removed);
    let ended = count(Counter::CallsAnswered) + count(Counter::CallsFailed);
    assert!(ended <= count(Counter::CallsStarted));

    let peers = world.node.peers();
    let keys: BTreeSet<_> = peers.iter().map(|peer| peer.key).collect();
    assert_eq!(keys.len(), peers.len(), "a peer twice");
    assert!(!keys.contains(&world.node.public_key()), "itself");
    assert!(
        keys.is_subset(&world.answered),
        "a peer that never answered"
    );
    assert_eq!(snapshot.peers, peers.len());
    assert_eq!(snapshot.peers as u64, tally.added - tally.removed);
    let in_buckets = snapshot
        .buckets
        .iter()
        .map(|bucket| usize::from(bucket.peers));
    assert_eq!(in_buckets.sum::<usize>(), peers.len());
    for bucket in &snapshot.buckets {
        assert!(usize::from(bucket.peers) <= world.config.k);
        assert!(usize::from(bucket.replacements) <= world.config.limits.replacements);
    }

    let store = &snapshot.store;
    let tiers = store.public + store.whitelisted + store.trusted + store.mirrors;
    assert_eq!(tiers, store.items, "{store:?}");
    assert!(store.tombstones <= store.items);
    if world.config.storage {
        let most = store.items + world.given.len();
        assert!(
            (store.items..=most).contains(&world.storage.len()),
            "storage holds {} of {} items, {} were given",
            world.storage.len(),
            store.items,
            world.given.len()
        );
    }
}

/// Maximum number of items that the limits on numbers do not count: items of the tiers and this
/// node's own.
fn exempt(world: &World) -> usize {
    let store = world.node.snapshot().store;
    store.whitelisted + store.trusted + OWN_TARGETS + world.puts
}

/// Checks a frame that the node sent: it decodes and contains only true statements.
pub(super) fn sent(world: &mut World, stream: StreamId, bytes: &[u8]) -> Frame {
    if stream.is_ours() {
        let frame = only_frame(Side::Request, bytes);
        let message = decode_request(&frame).unwrap();
        check_ext(&frame, message.ext.is_some());
        request(world, &message);
        frame
    } else {
        let frame = only_frame(Side::Response, bytes);
        let message = decode_response(&frame).unwrap();
        check_ext(&frame, message.ext.is_some());
        response(world, &message);
        frame
    }
}

/// Checks that a written extension is read as one.
fn check_ext(frame: &Frame, read: bool) {
    let written = frame.body.windows(6).any(|part| part == b"\"ext\":");
    let renewal = frame
        .body
        .get(137..)
        .is_some_and(|rest| rest.starts_with(b"{"));
    let written = match frame.method {
        Method::Renew => written || renewal,
        Method::Reconcile => return,
        _ => written,
    };
    assert_eq!(read, written, "{}", frame.body.escape_ascii());
}

fn request(world: &mut World, message: &RequestMessage) {
    if !matches!(message.request.method(), Method::Renew | Method::Reconcile) {
        assert_eq!(message.sender.key, Some(CAST.own_key));
    }
    match &message.request {
        Request::PutValue { item, .. } => wire_item(world, item),
        Request::PutBatch { items, .. } => items.iter().for_each(|item| wire_item(world, item)),
        _ => {}
    }
}

fn response(world: &mut World, message: &ResponseMessage) {
    match &message.response {
        Response::FindNode { closest } => handed_out(world, &closest.peers),
        Response::GetValue { item, closest } => {
            handed_out(world, &closest.peers);
            item.iter().for_each(|item| wire_item(world, item));
        }
        Response::GetItems { items, targets, .. } => {
            assert_eq!(items.len(), targets.len());
            items.iter().for_each(|item| wire_item(world, item));
        }
        _ => {}
    }
    if let Some(ext) = &message.ext {
        handed_out(world, &ext.closest.peers);
    }
}

/// Checks that the peers have answered, occur only once, and have their own id.
fn handed_out(world: &World, peers: &[WirePeer]) {
    let mut seen = BTreeSet::new();
    assert!(peers.len() <= world.config.k.max(20));
    for peer in peers {
        let key = peer.key.expect("a peer without a key");
        assert!(
            world.answered.contains(&key),
            "handed out, but never answered: {key}"
        );
        assert_eq!(peer.id, key.id());
        assert!(seen.insert(key));
    }
}

fn wire_item(world: &mut World, item: &WireItem) {
    authentic(world, item.item().expect("an item without a key"));
}

fn authentic(world: &mut World, item: &Item) {
    if world
        .authentic
        .insert((item.digest(), *item.signature.as_bytes()))
    {
        assert_eq!(item.check(), Ok(()), "{item:?}");
    }
}

/// Checks the result of an operation: a value must be authentic and belong to its target.
pub(super) fn outcome(world: &mut World, outcome: &Outcome) {
    let found = match outcome {
        Outcome::Get(Ok(found)) => found,
        Outcome::Get(Err(GetError::Timeout {
            best: Some(best), ..
        })) => best,
        Outcome::FindNode(Ok(found)) => {
            assert!(found.closest.iter().all(|key| world.answered.contains(key)));
            assert!(!found.closest.is_empty());
            return;
        }
        _ => return,
    };
    authentic(world, &found.item);
    assert!(!found.item.reads_as_deleted());
    if found.origin == Origin::Owner {
        assert_eq!(found.item.target(), found.target);
    }
}
