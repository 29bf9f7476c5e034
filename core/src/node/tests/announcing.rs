//! Which items of shared storage full nodes announce, and which of two concurrent sessions
//! continues.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::full_nodes::{full, meet, parts, publish, reconciled, requests};
use super::hand::{Hand, item, key, ours};
use crate::id::Target;
use crate::item::{Item, Origin, Seq};
use crate::node::*;
use crate::record::StoredRecord;
use crate::sync::{Lead, Prefix, RequestPart, ResponsePart, Stamp, SyncRequest};
use crate::wire::Request;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// Loads an item that another node wrote to the shared storage.
fn load(hand: &mut Hand, item: &Arc<Item>) {
    let record = StoredRecord {
        target: item.target(),
        item: Item::clone(item),
        vouched: hand.time().unix,
        expires: Some(hand.time().unix.plus(HOUR)),
        bound: None,
    };
    let record = Box::new(record);
    let proven = true;
    hand.input(Input::Loaded { record, proven });
}

/// The leads that are offered to peer 1 now; it wants none of them.
fn offered(hand: &mut Hand) -> Vec<Lead> {
    let mut leads = Vec::new();
    for (stream, request) in requests(hand, 1) {
        if let Request::Reconcile { .. } = request.request
            && let [RequestPart::Offer(stamps)] = &parts(&request)[..]
        {
            leads.extend(stamps.iter().map(|stamp| stamp.lead));
            reconciled(hand, stream, vec![ResponsePart::Wanted(0)]);
        }
    }
    leads
}

/// Time after which all loaded items must have been offered.
const LATER: Duration = Duration::from_secs(5);

#[test]
fn what_shared_storage_brings_is_announced_unless_another_node_does_so_first() {
    let mut hand = full();
    meet(&mut hand, 1);
    hand.input(Input::LoadedUpTo {
        next: Some(Target::default()),
    });
    load(&mut hand, &item(10, "s", 1, "of an earlier run"));
    hand.input(Input::LoadedUpTo { next: None });
    assert_eq!(hand.used(Limit::offers), 0);
    let news: Vec<_> = (11..16).map(|owner| item(owner, "s", 5, "v")).collect();
    for item in &news {
        load(&mut hand, item);
        load(&mut hand, item);
    }
    assert_eq!(hand.used(Limit::offers), 5);
    hand.pass(Duration::from_millis(999));
    assert_eq!(offered(&mut hand), [], "the writer is first");
    // Another node announces three items: the same version, a newer one, and an older one.
    let stamp = |item: &Arc<Item>, seq| Stamp {
        lead: Lead::of(&item.target()),
        origin: Origin::Owner,
        seq: Seq(seq),
    };
    let offer = SyncRequest {
        salt: [0; 8],
        parts: vec![RequestPart::Offer(vec![
            stamp(&news[0], 5),
            stamp(&news[1], 6),
            stamp(&news[2], 4),
            stamp(&item(99, "unknown", 1, "v"), 1),
        ])],
    };
    let message = offer.encode();
    hand.ask(2, ours(), Request::Reconcile { message }).unwrap();
    assert_eq!(hand.used(Limit::offers), 3);
    let mut leads = Vec::new();
    for _ in 0..50 {
        hand.pass(LATER / 50);
        leads.extend(offered(&mut hand));
    }
    leads.sort_unstable();
    let mut expected: Vec<Lead> = news[2..].iter().map(|it| Lead::of(&it.target())).collect();
    expected.sort_unstable();
    assert_eq!(leads, expected);
    assert_eq!(hand.used(Limit::offers), 0);
}

#[test]
fn no_more_of_shared_storage_waits_than_the_limit_and_what_is_beyond_is_counted() {
    let mut hand = Hand::new(|config| {
        config.full_node = true;
        config.limits.offers = 2;
    });
    for (owner, used, hits) in [(1, 1, 0), (2, 2, 0), (3, 2, 1)] {
        load(&mut hand, &item(owner, "s", 5, "v"));
        let hit = hand.node.base.cx.hits[Limit::offers as usize];
        assert_eq!((hand.used(Limit::offers), hit), (used, hits));
    }
    hand.input(Input::SetFullNode { full_node: false });
    assert_eq!(hand.used(Limit::offers), 0);
}

/// Two full nodes with the same difference to find: their keys determine whose session continues.
#[test]
fn of_two_sessions_between_two_nodes_the_smaller_keys_goes_on() {
    for peer in [1, 2, 3, 4] {
        let mut hand = full();
        meet(&mut hand, peer);
        let own = hand.node.base.cx.public;
        publish(&mut hand, 10, b"v");
        hand.pass(SECOND);
        let mut started = requests(&mut hand, peer);
        started.retain(|(_, request)| {
            let is_session = |part: &RequestPart| matches!(part, RequestPart::Whole(_));
            matches!(request.request, Request::Reconcile { .. })
                && parts(request).iter().any(is_session)
        });
        let [(stream, _)] = &started[..] else {
            panic!("{started:?}");
        };
        // The peer's request arrives first, then its answer to ours.
        let theirs = SyncRequest {
            salt: [1; 8],
            parts: vec![RequestPart::Whole([0; 16])],
        };
        let message = theirs.encode();
        hand.ask(peer, ours(), Request::Reconcile { message })
            .unwrap();
        let prefix = Prefix::ALL;
        reconciled(&mut hand, *stream, vec![ResponsePart::Leaf(prefix)]);
        let goes_on = !requests(&mut hand, peer).is_empty();
        assert_eq!(goes_on, own < key(peer), "{peer}");
        assert_eq!(hand.used(Limit::sync_sessions), usize::from(goes_on));
        assert_eq!(hand.counter(Counter::SyncsFailed), 0);
        if goes_on {
            continue;
        }
        // The session becomes due, but none is started while the peer runs its own.
        for _ in 0..5 {
            hand.pass(30 * SECOND);
            let message = theirs.encode();
            hand.ask(peer, ours(), Request::Reconcile { message })
                .unwrap();
            assert_eq!(hand.counter(Counter::SyncsStarted), 1);
        }
        hand.pass(100 * SECOND);
        assert_eq!(hand.counter(Counter::SyncsStarted), 2);
    }
}
