use super::*;
use crate::cap::Cap;

fn tiered() -> Store {
    Store::new(StoreConfig {
        whitelisted: BTreeSet::from([key(1)]),
        trusted: BTreeSet::from([key(2)]),
        max_items: Cap::new(2),
        public_items: Cap::new(2),
        items_per_publisher: Cap::new(1),
        items_per_peer: Cap::new(1),
        ..config()
    })
}

#[test]
fn tiers_have_no_expiry_no_quota_and_no_eviction() {
    let mut store = tiered();
    for signer in [1, 2] {
        for salt in ["a", "b", "c"] {
            let done = put(&mut store, at(0), own(&item(signer, 1, b"v", salt))).unwrap();
            assert_eq!((done.expires, done.evicted.len()), (None, 0));
        }
    }
    let fill = store.fill();
    assert_eq!((fill.items, fill.whitelisted, fill.trusted), (6, 3, 3));
    // They fill the store: others find no room.
    let refused = put(&mut store, at(0), own(&item(3, 1, b"v", "s")));
    assert_eq!(refused, Err(Refusal::Full));
    assert_eq!(store.sweep(at(1000 * HOUR), 10), []);
    assert_eq!(store.fill().items, 6);
}

#[test]
fn a_tiers_item_that_an_old_sequence_dates_is_taken_from_anyone() {
    let mut store = tiered();
    let old = item(1, seq_at(0), b"v", "s");
    let done = put(&mut store, at(100 * HOUR), from_peer(9, &old)).unwrap();
    assert_eq!(done.expires, None);
}

#[test]
fn tombstones_of_the_tiers_do_not_expire() {
    let mut store = tiered();
    put(&mut store, at(0), own(&item(1, 1, b"v", "s"))).unwrap();
    let tombstone = item(1, 2, b"", "s");
    put(&mut store, at(1), own(&tombstone)).unwrap();
    let late = at(10_000 * HOUR);
    assert_eq!(store.sweep(late, 10), []);
    let refused = put(&mut store, late, from_peer(9, &item(1, 1, b"v", "s")));
    assert_eq!(refused, Err(Refusal::Deleted));
}

#[test]
fn changed_trust_changes_the_lives_of_what_is_held() {
    let mut store = store();
    let (a, b) = (item(1, 1, b"v", "s"), item(2, 1, b"v", "s"));
    put(&mut store, at(0), own(&a)).unwrap();
    put(&mut store, at(0), own(&b)).unwrap();
    store.set_trust(at(60), BTreeSet::from([key(1)]), BTreeSet::new());
    store.check_invariants();
    assert_eq!(remaining(&store, at(60), &a), None);
    assert_eq!(remaining(&store, at(60), &b), Some(2 * HOUR - 60));
    store.set_trust(at(HOUR), BTreeSet::new(), BTreeSet::from([key(2)]));
    store.check_invariants();
    assert_eq!(remaining(&store, at(HOUR), &a), Some(HOUR));
    assert_eq!(remaining(&store, at(HOUR), &b), None);
    let fill = store.fill();
    assert_eq!((fill.public, fill.whitelisted, fill.trusted), (1, 0, 1));
}

#[test]
fn trust_does_not_revive_the_expired() {
    let mut store = store();
    let it = item(1, 1, b"v", "s");
    put(&mut store, at(0), own(&it)).unwrap();
    store.set_trust(at(3 * HOUR), BTreeSet::from([key(1)]), BTreeSet::new());
    assert!(store.get(at(3 * HOUR), &it.target()).is_none());
    assert_eq!(store.sweep(at(3 * HOUR), 10), [it.target()]);
}

#[test]
fn an_item_of_unknown_age_leaves_a_tier_with_half_a_life() {
    let mut store = tiered();
    let it = item(1, 1, b"v", "s");
    put(&mut store, at(0), from_peer(9, &it)).unwrap();
    store.set_trust(at(100 * HOUR), BTreeSet::new(), BTreeSet::new());
    store.check_invariants();
    assert_eq!(remaining(&store, at(100 * HOUR), &it), Some(HOUR));
}
