//! A renewal is proof: an item equal to the stored one is accepted only with the signature that was
//! checked, or with one that is checked now.

use alloc::sync::Arc;
use alloc::vec;

use super::hand::{Hand, item, key, ours, put};
use crate::id::Target;
use crate::item::Item;
use crate::key::Signature;
use crate::node::*;
use crate::record::StoredRecord;
use crate::time::Unix;
use crate::wire::{Request, RequestExt, Response};

/// The item with a signature that was not made for it.
fn unproven(item: &Item, signature: Signature) -> Arc<Item> {
    Arc::new(Item {
        signature,
        ..item.clone()
    })
}

fn broken(item: &Item) -> [Signature; 2] {
    let mut bytes = *item.signature.as_bytes();
    bytes[7] ^= 1;
    [Signature::from_bytes(bytes), Signature::default()]
}

fn is_stored(hand: &mut Hand, peer: usize, ext: Option<RequestExt>, request: Request) -> bool {
    match hand.ask(peer, ext, request).map(|message| message.response) {
        Some(Response::PutValue { stored, .. } | Response::Renew { stored, .. }) => stored,
        Some(Response::PutBatch { stored, .. }) => stored == [true],
        other => panic!("{other:?}"),
    }
}

fn batch(item: &Arc<Item>, target: Target) -> Request {
    Request::PutBatch {
        items: vec![item.into()],
        targets: vec![target],
    }
}

fn put_at(item: &Arc<Item>, target: Target) -> Request {
    Request::PutValue {
        item: item.into(),
        mirror_target: Some(target),
    }
}

/// Every way in which an item arrives, from its signer (1) and from another peer (2).
#[test]
fn an_equal_item_with_another_signature_is_checked_from_any_peer_in_any_way() {
    let held = item(1, "x", 5, "v");
    let target = held.target();
    let elsewhere = item(3, "y", 5, "w").target();
    for signature in broken(&held) {
        let forged = unproven(&held, signature);
        let renewal = Request::Renew {
            target,
            seq: held.seq,
            signature,
            content_hash: held.content_hash(),
        };
        let mut hand = Hand::new(|config| config.mirrors.push(key(1)));
        assert!(is_stored(&mut hand, 1, None, put(&held)));
        assert!(is_stored(&mut hand, 1, None, put_at(&held, elsewhere)));
        for (peer, request) in [
            (1, put(&forged)),
            (2, put(&forged)),
            (1, batch(&forged, target)),
            (2, batch(&forged, target)),
            (1, put_at(&forged, elsewhere)),
            (1, batch(&forged, elsewhere)),
            (1, renewal),
        ] {
            for ext in [None, ours()] {
                let what = alloc::format!("{peer}: {request:?}");
                assert!(!is_stored(&mut hand, peer, ext, request.clone()), "{what}");
            }
        }
        for target in [target, elsewhere] {
            assert_eq!(hand.held(&target).unwrap().signature, held.signature);
        }
        // It is not only refused, but also not renewed.
        assert_eq!(hand.counter(Counter::ItemsRenewed), 0);
        hand.assert_quiet();
    }
}

#[test]
fn a_user_and_storage_bring_no_unproven_copy_of_what_is_held_either() {
    let held = item(1, "x", 5, "v");
    for signature in broken(&held) {
        let mut hand = Hand::new(|_| {});
        assert!(is_stored(&mut hand, 2, None, put(&held)));
        let forged = unproven(&held, signature);
        let expires = hand
            .node
            .base
            .items
            .store
            .get(hand.time(), &held.target())
            .unwrap();
        let expires = expires.expires();
        let op = hand.command(Command::PutSigned {
            item: alloc::boxed::Box::new((*forged).clone()),
            options: PutOptions::default(),
        });
        hand.run_jobs();
        let ended = hand.finished(op);
        assert!(matches!(ended, Some(Outcome::Put(Err(_)))), "{ended:?}");
        let record = alloc::boxed::Box::new(StoredRecord {
            target: held.target(),
            item: (*forged).clone(),
            vouched: Unix(1_790_000_000_000_000_000),
            expires: None,
            bound: None,
        });
        hand.input(Input::Loaded {
            record,
            proven: false,
        });
        hand.run_jobs();
        assert_eq!(hand.counter(Counter::ForgedItems), 1);
        let now = hand
            .node
            .base
            .items
            .store
            .get(hand.time(), &held.target())
            .unwrap();
        assert_eq!(now.expires(), expires);
    }
}

#[test]
fn a_binding_of_an_item_that_is_held_is_checked_too() {
    let mirrored = item(9, "dmsg", 7, "mirror");
    let target = item(1, "dmsg", 5, "owner").target();
    let good = super::net::secret(9).sign(&mirrored.bind_digest(&target));
    let ext = |bind| {
        Some(RequestExt {
            bind: Some(bind),
            ..RequestExt::default()
        })
    };
    let mut hand = Hand::new(|config| config.mirrors.push(key(9)));
    let request = put_at(&mirrored, target);
    assert!(is_stored(&mut hand, 9, None, request.clone()));
    let jobs = hand.counter(Counter::VerifyJobs);
    assert!(!is_stored(
        &mut hand,
        8,
        ext(mirrored.signature),
        request.clone()
    ));
    assert!(is_stored(&mut hand, 8, ext(good), request.clone()));
    assert_eq!(hand.counter(Counter::VerifyJobs), jobs + 2);
    assert!(
        is_stored(&mut hand, 8, ext(good), request),
        "the same again"
    );
    assert_eq!(hand.counter(Counter::VerifyJobs), jobs + 2);
}

/// Upstream's full nodes pass mirrors on by PutValue and PutBatch, without bindings.
#[test]
fn an_unbound_mirror_is_taken_from_its_signer_and_from_relays_that_are_named() {
    let mirrored = item(9, "dmsg", 7, "mirror");
    let target = item(1, "dmsg", 5, "owner").target();
    for (peer, is_taken) in [(9, true), (8, true), (7, false)] {
        for request in [put_at(&mirrored, target), batch(&mirrored, target)] {
            let mut hand = Hand::new(|config| {
                config.mirrors.push(key(9));
                config.mirror_relays.push(key(8));
            });
            assert_eq!(
                is_stored(&mut hand, peer, None, request),
                is_taken,
                "{peer}"
            );
        }
        // A relay cannot make a mirror of an arbitrary key.
        let mut hand = Hand::new(|config| config.mirror_relays.push(key(8)));
        assert!(!is_stored(&mut hand, peer, None, put_at(&mirrored, target)));
    }
}
