use alloc::collections::BTreeMap;

use super::*;
use crate::cap::Cap;
use crate::mark::{MarkChange, MarkKind, StoredMark};

const DAY: u64 = 24 * HOUR;

fn tombstone(seq: u64) -> Arc<Item> {
    item(1, seq, b"", "s")
}

#[test]
fn a_tombstone_is_held_like_any_item_and_refuses_what_is_older() {
    let mut store = store();
    put(&mut store, at(0), own(&item(1, 4, b"v", "s"))).unwrap();
    put(&mut store, at(1), own(&tombstone(5))).unwrap();
    assert!(
        store
            .get(at(2), &tombstone(5).target())
            .unwrap()
            .is_tombstone()
    );
    assert_eq!(store.fill().tombstones, 1);
    let back = put(&mut store, at(2), from_peer(2, &item(1, 4, b"v", "s")));
    assert_eq!(back, Err(Refusal::Deleted));
    put(&mut store, at(3), own(&item(1, 6, b"w", "s"))).unwrap();
    assert_eq!(store.fill().tombstones, 0);
}

#[test]
fn an_expired_tombstone_still_refuses_for_a_day() {
    let mut store = store();
    let target = tombstone(5).target();
    put(&mut store, at(0), own(&tombstone(5))).unwrap();
    let (below, equal, above) = (
        item(1, 4, b"v", "s"),
        item(1, 5, b"v", "s"),
        item(1, 6, b"v", "s"),
    );
    let end = 2 * HOUR;
    for swept in [false, true] {
        if swept {
            assert_eq!(store.sweep(at(end), 10), [target]);
            assert_eq!(store.fill().marks, 1);
        }
        for candidate in [own(&below), own(&equal), from_peer(2, &equal)] {
            let refused = store.precheck(at(end), &candidate, 0);
            assert_eq!(refused, Err(Refusal::Deleted), "swept: {swept}");
        }
        let hash = below.content_hash();
        let renewed = store.renew(at(end), &target, Seq(4), &hash, &key(1));
        assert_eq!(renewed, Err(Refusal::Deleted));
        assert!(store.precheck(at(end), &own(&above), 0).is_ok());
    }
    let last = at(end + DAY - 1);
    assert_eq!(put(&mut store, last, own(&equal)), Err(Refusal::Deleted));
    assert_eq!(store.next_expiry(), Some(at(end + DAY).mono));
    // Its time is over when it says so, swept or not.
    let over = store.precheck(at(end + DAY), &own(&equal), 0);
    assert_eq!(over, Ok(Precheck::Verify));
    store.sweep(at(end + DAY), 10);
    assert_eq!((store.fill().marks, store.next_expiry()), (0, None));
    put(&mut store, at(end + DAY), own(&equal)).unwrap();
}

#[test]
fn a_newer_item_clears_the_marker() {
    let mut store = store();
    put(&mut store, at(0), own(&tombstone(5))).unwrap();
    store.sweep(at(2 * HOUR), 10);
    put(&mut store, at(2 * HOUR), own(&item(1, 6, b"v", "s"))).unwrap();
    assert_eq!(store.fill().marks, 0);
}

#[test]
fn a_local_removal_leaves_a_mark_too() {
    let mut store = store();
    let it = item(1, 5, b"v", "s");
    assert!(store.remove_local(at(0), &it.target()).is_none());
    put(&mut store, at(0), own(&it)).unwrap();
    let gone = store.remove_local(at(1), &it.target()).unwrap();
    assert_eq!(gone.item(), &it);
    let back = put(&mut store, at(2), from_peer(2, &it));
    assert_eq!(back, Err(Refusal::Deleted));
    put(&mut store, at(3), own(&item(1, 6, b"v", "s"))).unwrap();
}

#[test]
fn a_removed_mirror_does_not_lock_out_the_owner() {
    let mut store = Store::new(StoreConfig {
        mirrors: BTreeSet::from([key(7)]),
        ..config()
    });
    let owners = item(1, 1, b"v", "s");
    let mirrored = mirror(owners.target(), &item(7, 9, b"m", "s"));
    put(&mut store, at(0), mirrored.clone()).unwrap();
    store.remove_local(at(1), &owners.target()).unwrap();
    assert_eq!(put(&mut store, at(2), mirrored), Err(Refusal::Deleted));
    put(&mut store, at(2), own(&owners)).unwrap();
}

#[test]
fn a_mirror_does_not_come_over_a_tombstone_or_its_marker() {
    let mut store = Store::new(StoreConfig {
        mirrors: BTreeSet::from([key(7)]),
        ..config()
    });
    put(&mut store, at(0), own(&tombstone(5))).unwrap();
    let mirrored = mirror(tombstone(5).target(), &item(7, 9, b"m", "s"));
    for now in [at(1), at(2 * HOUR), at(10 * HOUR)] {
        let refused = put(&mut store, now, mirrored.clone());
        assert_eq!(refused, Err(Refusal::Deleted));
        store.sweep(now, 10);
    }
}

#[test]
fn an_evicted_tombstone_leaves_a_marker() {
    let mut store = Store::new(StoreConfig {
        full_node: true,
        max_items: Cap::new(1),
        ..config()
    });
    put(&mut store, at(0), own(&tombstone(5))).unwrap();
    let done = put(&mut store, at(1), own(&item(2, 1, b"v", "s"))).unwrap();
    assert_eq!(done.evicted, [tombstone(5).target()]);
    assert_eq!(store.fill().marks, 1);
    let back = put(&mut store, at(2), from_peer(2, &item(1, 4, b"v", "s")));
    assert_eq!(back, Err(Refusal::Deleted));
}

#[test]
fn marks_are_bounded_and_the_oldest_goes() {
    let mut store = Store::new(StoreConfig {
        deletion_marks: Cap::new(2),
        ..config()
    });
    for (i, salt) in ["a", "b", "c"].into_iter().enumerate() {
        put(&mut store, at(i as u64), own(&item(1, 5, b"v", salt))).unwrap();
        store
            .remove_local(at(i as u64), &item(1, 5, b"v", salt).target())
            .unwrap();
        store.check_invariants();
    }
    assert_eq!(store.fill().marks, 2);
    let back = |store: &mut Store, salt| put(store, at(9), own(&item(1, 5, b"v", salt)));
    assert!(back(&mut store, "a").is_ok());
    assert_eq!(back(&mut store, "b"), Err(Refusal::Deleted));
    assert_eq!(back(&mut store, "c"), Err(Refusal::Deleted));
}

#[test]
fn what_merely_expired_does_not_crowd_out_the_deleted() {
    let mut store = Store::new(StoreConfig {
        deletion_marks: Cap::new(1),
        ..config()
    });
    put(&mut store, at(0), own(&tombstone(5))).unwrap();
    put(&mut store, at(1), own(&item(2, 1, b"v", "s"))).unwrap();
    assert_eq!(store.sweep(at(3 * HOUR), 10).len(), 2);
    // Each kind has the limit for itself.
    assert_eq!((store.fill().marks, store.fill().expired_marks), (1, 1));
    let back = put(&mut store, at(3 * HOUR), own(&item(1, 5, b"v", "s")));
    assert_eq!(back, Err(Refusal::Deleted));
}

/// What storage would hold of a store's markers.
fn kept(store: &mut Store, now: Time) -> BTreeMap<(MarkKind, Target), StoredMark> {
    let mut kept = BTreeMap::new();
    for change in store.take_marker_changes(now) {
        match change {
            MarkChange::Keep(marker) => drop(kept.insert(change.place(), marker)),
            MarkChange::Forget(..) => drop(kept.remove(&change.place())),
        }
    }
    kept
}

#[test]
fn marks_of_every_kind_outlast_a_restart_with_what_was_left_of_their_time() {
    let mut store = store();
    store.note_marker_changes();
    let (expired, removed) = (item(1, 4, b"v", "expires"), item(1, 7, b"v", "removed"));
    put(&mut store, at(0), own(&tombstone(5))).unwrap();
    put(&mut store, at(0), own(&expired)).unwrap();
    put(&mut store, at(0), own(&removed)).unwrap();
    store.remove_local(at(1), &removed.target()).unwrap();
    let end = 2 * HOUR;
    assert_eq!(store.sweep(at(end), 10).len(), 2);
    let markers = kept(&mut store, at(end));
    assert_eq!(markers.len(), 3);
    assert!(store.take_marker_changes(at(end)).is_empty(), "each once");

    // Another run, an hour later, on a clock of its own.
    let later = |seconds: u64| Time {
        mono: Mono(seconds * 1_000_000_000),
        unix: at(end + HOUR + seconds).unix,
    };
    let mut store = self::store();
    store.note_marker_changes();
    for marker in markers.values() {
        store.load_marker(later(0), marker);
    }
    assert!(kept(&mut store, later(0)).is_empty(), "storage has them");
    let says_nothing = from_peer(2, &expired);
    for seconds in [0, DAY - HOUR - end - 1] {
        let now = later(seconds);
        let refused = |candidate| store.precheck(now, &candidate, 0);
        assert_eq!(refused(own(&tombstone(5))), Err(Refusal::Deleted));
        assert_eq!(refused(own(&item(1, 5, b"v", "s"))), Err(Refusal::Deleted));
        assert_eq!(refused(own(&removed)), Err(Refusal::Deleted));
        assert_eq!(refused(says_nothing.clone()), Err(Refusal::Expired));
        assert!(refused(own(&item(1, 6, b"v", "s"))).is_ok());
    }
    // Their time is over when it would have been; then storage forgets them, too.
    let now = later(DAY - HOUR);
    assert!(store.precheck(now, &own(&removed), 0).is_ok());
    store.sweep(now, 10);
    assert_eq!((store.fill().marks, store.fill().expired_marks), (0, 0));
    let forgotten = store.take_marker_changes(now);
    assert_eq!(forgotten.len(), 3);
    assert!(
        forgotten
            .iter()
            .all(|it| matches!(it, MarkChange::Forget(..)))
    );

    // After a longer pause they are over when they are loaded; a newer item clears one.
    let mut store = self::store();
    store.note_marker_changes();
    for marker in markers.values() {
        store.load_marker(at(end + DAY), marker);
    }
    assert_eq!(store.fill().marks + store.fill().expired_marks, 0);
    assert_eq!(store.take_marker_changes(at(end + DAY)).len(), 3);
    for marker in markers.values() {
        store.load_marker(later(0), marker);
    }
    put(&mut store, later(1), own(&item(1, 6, b"v", "s"))).unwrap();
    let place = MarkChange::Forget(MarkKind::Deleted, tombstone(5).target());
    assert_eq!(store.take_marker_changes(later(1)), [place]);
}

#[test]
fn a_mark_that_has_to_go_for_another_is_forgotten_by_storage_too() {
    let mut store = Store::new(StoreConfig {
        deletion_marks: Cap::new(2),
        ..config()
    });
    store.note_marker_changes();
    let items: Vec<_> = ["a", "b", "c"].map(|salt| item(1, 5, b"v", salt)).into();
    for (n, item) in (1..).zip(&items) {
        put(&mut store, at(n), own(item)).unwrap();
        store.remove_local(at(n), &item.target()).unwrap();
    }
    let changes = store.take_marker_changes(at(9));
    let kept = changes
        .iter()
        .filter(|it| matches!(it, MarkChange::Keep(_)));
    assert_eq!(kept.count(), 2);
    assert!(changes.contains(&MarkChange::Forget(MarkKind::Deleted, items[0].target())));
}
