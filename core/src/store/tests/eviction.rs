use super::*;
use crate::cap::Cap;

/// Items of these signers, farthest from the store's node (at zero) first.
fn by_distance(signers: core::ops::Range<u8>) -> Vec<Arc<Item>> {
    let mut items: Vec<_> = signers.map(|n| item(n, 1, b"v", "s")).collect();
    items.sort_by_key(|item| core::cmp::Reverse(item.target()));
    items
}

fn small(limit: usize) -> StoreConfig {
    StoreConfig {
        max_items: Cap::new(limit),
        ..config()
    }
}

#[test]
fn a_regular_node_evicts_the_farthest() {
    let items = by_distance(0..4);
    let mut store = Store::new(small(3));
    for item in [&items[0], &items[2], &items[3]] {
        put(&mut store, at(0), own(item)).unwrap();
    }
    let done = put(&mut store, at(1), own(&items[1])).unwrap();
    assert_eq!(done.evicted, [items[0].target()]);
}

#[test]
fn a_regular_node_refuses_what_would_be_the_farthest() {
    let items = by_distance(0..4);
    let mut store = Store::new(small(3));
    for item in &items[1..] {
        put(&mut store, at(0), own(item)).unwrap();
    }
    let refused = put(&mut store, at(1), own(&items[0]));
    assert_eq!(refused, Err(Refusal::Distance));
    assert_eq!(store.fill().items, 3);
}

#[test]
fn a_full_node_evicts_the_soonest_to_expire() {
    let items = by_distance(0..4);
    let mut store = Store::new(StoreConfig {
        full_node: true,
        ..small(3)
    });
    put(&mut store, at(0), own(&items[1])).unwrap();
    put(&mut store, at(1), own(&items[0])).unwrap();
    put(&mut store, at(2), own(&items[2])).unwrap();
    // Renewed, so the second is now the oldest.
    put(&mut store, at(3), own(&items[1])).unwrap();
    let done = put(&mut store, at(4), own(&items[3])).unwrap();
    assert_eq!(done.evicted, [items[0].target()]);
    // With half a life it would itself be the first to go.
    let refused = put(&mut store, at(5), from_peer(9, &items[0]));
    assert_eq!(refused, Err(Refusal::Full));
}

#[test]
fn mirrors_go_first_and_never_push_an_owner_out() {
    for full_node in [false, true] {
        let items = by_distance(0..4);
        let mut store = Store::new(StoreConfig {
            full_node,
            mirrors: BTreeSet::from([key(200)]),
            ..small(2)
        });
        // The nearest place of all, and the last to expire.
        let place = Target::from_bytes([0; 32]);
        let mirrored = mirror(place, &item(200, 1, b"m", "s"));
        put(&mut store, at(0), own(&items[2])).unwrap();
        put(&mut store, at(1), mirrored.clone()).unwrap();
        let done = put(&mut store, at(2), own(&items[1])).unwrap();
        assert_eq!(done.evicted, [place]);
        let expected = match full_node {
            true => Refusal::Full,
            false => Refusal::Distance,
        };
        assert_eq!(put(&mut store, at(3), mirrored), Err(expected));
    }
}

#[test]
fn mirrors_count_against_the_public_pool() {
    let mut store = Store::new(StoreConfig {
        full_node: true,
        public_items: Cap::new(2),
        mirrors: BTreeSet::from([key(200)]),
        ..config()
    });
    for n in 0..5 {
        let place = Target::from_bytes([n; 32]);
        put(
            &mut store,
            at(n.into()),
            mirror(place, &item(200, 1, b"m", "s")),
        )
        .unwrap();
        assert!(store.fill().mirrors <= 2);
    }
}

#[test]
fn this_nodes_own_items_are_never_evicted() {
    for full_node in [false, true] {
        let items = by_distance(0..3);
        let mut store = Store::new(StoreConfig {
            full_node,
            ..small(1)
        });
        let mine = Candidate::of_owner(items[0].clone(), Via::Local);
        put(&mut store, at(0), mine).unwrap();
        let refused = put(&mut store, at(1), own(&items[1]));
        assert_eq!(refused, Err(Refusal::Full));
        assert!(store.get(at(1), &items[0].target()).is_some());
    }
}

#[test]
fn what_was_held_for_others_is_pinned_when_this_node_puts_it() {
    let items = by_distance(0..3);
    let mut store = Store::new(small(2));
    put(&mut store, at(0), own(&items[0])).unwrap();
    put(&mut store, at(0), own(&items[1])).unwrap();
    let mine = Candidate::of_owner(items[0].clone(), Via::Local);
    assert_eq!(kind(put(&mut store, at(1), mine)), AdmissionKind::Renewed);
    let done = put(&mut store, at(2), own(&items[2])).unwrap();
    assert_eq!(done.evicted, [items[1].target()]);
}

#[test]
fn bytes_are_a_hard_limit_for_everyone() {
    let cost = item_cost(&item(1, 1, b"v", "s"));
    let mut store = Store::new(StoreConfig {
        max_bytes: Cap::new(2 * cost),
        whitelisted: BTreeSet::from([key(1)]),
        ..config()
    });
    put(&mut store, at(0), own(&item(1, 1, b"v", "a"))).unwrap();
    put(&mut store, at(0), own(&item(2, 1, b"v", "s"))).unwrap();
    let done = put(&mut store, at(0), own(&item(1, 1, b"v", "b"))).unwrap();
    assert_eq!(done.evicted, [item(2, 1, b"v", "s").target()]);
    let refused = put(&mut store, at(0), own(&item(1, 1, b"v", "c")));
    assert_eq!(refused, Err(Refusal::Full));
    let mine = Candidate::of_owner(item(3, 1, b"v", "s"), Via::Local);
    assert_eq!(put(&mut store, at(0), mine), Err(Refusal::Full));
    // An update of equal size fits.
    put(&mut store, at(0), own(&item(1, 2, b"w", "b"))).unwrap();
    assert_eq!(store.fill().bytes, 2 * cost);
}

#[test]
fn one_large_item_takes_the_place_of_many_small_ones_within_the_bound() {
    let large = item(1, 1, &[0; crate::item::MAX_VALUE_LEN], "s");
    let mut store = Store::new(StoreConfig {
        full_node: true,
        max_bytes: Cap::new(item_cost(&large)),
        ..config()
    });
    for n in 0..100 {
        put(
            &mut store,
            at(0),
            own(&item(2, 1, b"", &alloc::format!("{n}"))),
        )
        .unwrap();
    }
    let done = put(&mut store, at(1), own(&large)).unwrap();
    assert_eq!(done.evicted.len(), 100);
    assert!(done.evicted.len() <= MAX_EVICTIONS);
}

#[test]
fn the_most_evictions_are_the_largest_item_for_the_smallest() {
    let salt = alloc::string::String::from_utf8([b's'; MAX_SALT_LEN].to_vec()).unwrap();
    let large = item(1, 1, &[0; MAX_VALUE_LEN], &salt);
    let places = item_cost(&large).div_ceil(RECORD_OVERHEAD);
    let mut store = Store::new(StoreConfig {
        full_node: true,
        max_bytes: Cap::new(places * RECORD_OVERHEAD),
        ..config()
    });
    for signer in 0..places {
        put(&mut store, at(0), own(&item(signer as u8, 1, b"", ""))).unwrap();
    }
    let done = put(&mut store, at(1), own(&large)).unwrap();
    assert_eq!(done.evicted.len(), MAX_EVICTIONS);
}

#[test]
fn a_store_above_its_limits_does_not_grow() {
    for (limits, own_items) in [((10, 0), 0), ((0, 10), 3)] {
        let mut store = Store::new(StoreConfig {
            full_node: true,
            ..config()
        });
        for n in 0..40 {
            let it = item(n, 1, b"v", "s");
            put(&mut store, at(n.into()), own(&it)).unwrap();
        }
        for n in 0..own_items {
            let mine = Candidate::of_owner(item(50 + n, 1, b"v", "mine"), Via::Local);
            put(&mut store, at(40), mine).unwrap();
        }
        store.set_limits(limits.0.into(), limits.1.into());
        let before = store.fill().items;
        for n in 0..5 {
            let done = put(&mut store, at(50), own(&item(60 + n, 1, b"v", "s"))).unwrap();
            assert_eq!(done.evicted.len(), 1);
            assert_eq!(store.fill().items, before);
        }
    }
}

#[test]
fn a_regular_node_that_fills_up_leaves_new_targets_to_those_nearer() {
    let items = by_distance(0..12);
    let mut store = Store::new(small(10));
    for item in &items[..8] {
        store.admit(at(0), own(item), 20).unwrap();
    }
    let next = own(&items[8]);
    assert_eq!(store.precheck(at(0), &next, 20), Err(Refusal::Distance));
    assert_eq!(store.admit(at(0), next.clone(), 20), Err(Refusal::Distance));
    assert_eq!(store.precheck(at(0), &next, 19), Ok(Precheck::Verify));
    // Updates, this node's own and full nodes are not concerned.
    let update = own(&item(items[0].key.as_bytes()[1], 2, b"w", "s"));
    assert_eq!(update.target, items[0].target());
    assert_eq!(store.precheck(at(0), &update, 20), Ok(Precheck::Verify));
    let mine = Candidate::of_owner(items[9].clone(), Via::Local);
    assert_eq!(store.precheck(at(0), &mine, 20), Ok(Precheck::Verify));
    store.set_full_node(true);
    assert_eq!(store.precheck(at(0), &next, 20), Ok(Precheck::Verify));
}

/// What only a full node holds: when it is none any more, that goes.
#[test]
fn trimming_lets_go_of_the_farthest_in_steps_and_spares_tiers_and_own_items() {
    let items = by_distance(0..40);
    let mut store = Store::new(StoreConfig {
        full_node: true,
        k: 3,
        whitelisted: BTreeSet::from([items[0].key]),
        mirrors: BTreeSet::from([key(200)]),
        ..config()
    });
    for item in &items {
        put(&mut store, at(0), own(item)).unwrap();
    }
    let local = Candidate::of_owner(item(250, 1, b"mine", "s"), Via::Local);
    let mine = local.target;
    put(&mut store, at(0), local).unwrap();
    let near = Target::from_bytes([0; 32]);
    put(&mut store, at(0), mirror(near, &item(200, 1, b"m", "s"))).unwrap();
    let trim = |store: &mut Store, max: usize, nearer: usize| {
        let gone = store.trim(at(1), max, |_| nearer);
        store.check_invariants();
        gone
    };
    // Not while it is a full node, nor without a limit.
    store.set_limits(Cap::new(20), Cap::new(20));
    assert_eq!(trim(&mut store, 99, 3), []);
    store.set_full_node(false);
    store.set_limits(Cap::UNLIMITED, Cap::UNLIMITED);
    assert_eq!(trim(&mut store, 99, 3), []);
    // Mirrors first, then the farthest, a step at a time.
    store.set_limits(Cap::new(20), Cap::UNLIMITED);
    let first = trim(&mut store, 3, 0);
    assert_eq!(first, [near, items[1].target(), items[2].target()]);
    // No peer is nearer: down to the limit and no further.
    assert_eq!(trim(&mut store, 99, 2).len(), 42 - 3 - 20);
    assert_eq!(store.fill().items, 20);
    assert_eq!(trim(&mut store, 99, 2), []);
    // Three are nearer: to below four fifths, where a regular node takes what is far.
    assert_eq!(trim(&mut store, 99, 3).len(), 5);
    assert_eq!(store.fill().items, 15);
    for kept in [items[0].target(), mine, items[39].target()] {
        assert!(store.get(at(1), &kept).is_some());
    }
    let bytes = store.fill().bytes;
    store.config.max_bytes = Cap::new(bytes / 2);
    trim(&mut store, 99, 0);
    assert!(store.fill().bytes <= bytes / 2 && store.fill().items > 5);
}
