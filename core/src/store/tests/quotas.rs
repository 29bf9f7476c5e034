use super::*;
use crate::cap::Cap;

#[test]
fn a_publisher_has_so_many_targets_and_updates_them_freely() {
    let mut store = Store::new(StoreConfig {
        items_per_publisher: Cap::new(2),
        ..config()
    });
    let (a, b, c) = (
        item(1, 1, b"v", "a"),
        item(1, 1, b"v", "b"),
        item(1, 1, b"v", "c"),
    );
    put(&mut store, at(0), own(&a)).unwrap();
    put(&mut store, at(0), own(&b)).unwrap();
    assert_eq!(put(&mut store, at(0), own(&c)), Err(Refusal::Quota));
    assert_eq!(
        put(&mut store, at(0), from_peer(9, &c)),
        Err(Refusal::Quota)
    );
    put(&mut store, at(1), own(&item(1, 2, b"w", "a"))).unwrap();
    put(&mut store, at(1), own(&item(2, 1, b"v", "c"))).unwrap();
    // One that has expired gives its own place back at once, swept or not.
    put(&mut store, at(3 * HOUR), own(&a)).unwrap();
    store.sweep(at(3 * HOUR), 10);
    put(&mut store, at(3 * HOUR), own(&c)).unwrap();
}

#[test]
fn taking_over_from_a_mirror_counts_as_a_new_item() {
    let mut store = Store::new(StoreConfig {
        items_per_publisher: Cap::new(1),
        mirrors: BTreeSet::from([key(7)]),
        ..config()
    });
    let (a, b) = (item(1, 1, b"v", "a"), item(1, 1, b"v", "b"));
    put(
        &mut store,
        at(0),
        mirror(b.target(), &item(7, 1, b"m", "x")),
    )
    .unwrap();
    put(
        &mut store,
        at(0),
        mirror(a.target(), &item(7, 2, b"m", "x")),
    )
    .unwrap();
    put(&mut store, at(1), own(&a)).unwrap();
    assert_eq!(put(&mut store, at(1), own(&b)), Err(Refusal::Quota));
}

#[test]
fn this_nodes_own_items_have_no_quota() {
    let mut store = Store::new(StoreConfig {
        local: key(1).id(),
        items_per_publisher: Cap::new(1),
        max_items: Cap::new(2),
        ..config()
    });
    for salt in ["a", "b", "c"] {
        let candidate = Candidate::of_owner(item(1, 1, b"v", salt), Via::Local);
        put(&mut store, at(0), candidate).unwrap();
    }
    assert_eq!(store.fill().items, 3);
}

#[test]
fn a_peer_is_charged_for_what_it_puts_whoever_signed() {
    let mut store = Store::new(StoreConfig {
        items_per_peer: Cap::new(2),
        ..config()
    });
    put(&mut store, at(0), from_peer(9, &item(1, 1, b"v", "s"))).unwrap();
    put(&mut store, at(0), own(&item(9, 1, b"v", "s"))).unwrap();
    let third = item(2, 1, b"v", "s");
    assert_eq!(
        put(&mut store, at(0), from_peer(9, &third)),
        Err(Refusal::Quota)
    );
    // What this node asked for is not charged, and others have their own quota.
    let pulled = Candidate::of_owner(third.clone(), Via::Pulled(key(9)));
    put(&mut store, at(0), pulled).unwrap();
    put(&mut store, at(0), from_peer(8, &item(3, 1, b"v", "s"))).unwrap();
    // The signer taking its item over frees the peer that brought it.
    put(&mut store, at(1), own(&item(1, 1, b"v", "s"))).unwrap();
    put(&mut store, at(1), from_peer(9, &item(4, 1, b"v", "s"))).unwrap();
}

#[test]
fn a_peer_whose_quota_is_used_up_can_bring_newer_versions() {
    let mut store = Store::new(StoreConfig {
        items_per_peer: Cap::new(1),
        ..config()
    });
    put(&mut store, at(0), from_peer(8, &item(1, 1, b"v", "s"))).unwrap();
    put(&mut store, at(0), from_peer(9, &item(2, 1, b"v", "s"))).unwrap();
    put(&mut store, at(1), from_peer(9, &item(1, 2, b"w", "s"))).unwrap();
    let charged = |peer| store.index.peers().get(&key(peer));
    assert_eq!((charged(8), charged(9)), (1, 1));
}

#[test]
fn configured_peers_have_no_quota() {
    let mut store = Store::new(StoreConfig {
        items_per_peer: Cap::new(1),
        trusted: BTreeSet::from([key(9)]),
        mirrors: BTreeSet::from([key(8)]),
        ..config()
    });
    for peer in [8, 9] {
        for signer in [1, 2, 3] {
            let salt = ["a", "b"][usize::from(peer - 8)];
            put(
                &mut store,
                at(0),
                from_peer(peer, &item(signer, 1, b"v", salt)),
            )
            .unwrap();
        }
    }
}

#[test]
fn quota_is_held_while_signatures_are_checked() {
    let mut store = Store::new(StoreConfig {
        items_per_publisher: Cap::new(2),
        items_per_peer: Cap::new(3),
        ..config()
    });
    let mut stored = Vec::new();
    for salt in ["a", "b"] {
        let candidate = own(&item(1, 1, b"v", salt));
        assert_eq!(store.precheck(at(0), &candidate, 0), Ok(Precheck::Verify));
        stored.push(store.reserve(&candidate));
    }
    let third = own(&item(1, 1, b"v", "c"));
    assert_eq!(store.precheck(at(0), &third, 0), Err(Refusal::Quota));
    store.release(stored.pop().unwrap());
    assert_eq!(store.precheck(at(0), &third, 0), Ok(Precheck::Verify));
    store.release(stored.pop().unwrap());

    let mut stored = Vec::new();
    for signer in [1, 2, 3] {
        let candidate = from_peer(9, &item(signer, 1, b"v", "s"));
        assert_eq!(store.precheck(at(0), &candidate, 0), Ok(Precheck::Verify));
        stored.push(store.reserve(&candidate));
    }
    let fourth = from_peer(9, &item(4, 1, b"v", "s"));
    assert_eq!(store.precheck(at(0), &fourth, 0), Err(Refusal::Quota));
    for reservation in stored {
        store.release(reservation);
    }
    store.check_invariants();
    assert_eq!(store.reserved, Reserved::default());
}

#[test]
fn forgeries_in_flight_do_not_use_up_a_publishers_quota() {
    let mut store = Store::new(StoreConfig {
        items_per_publisher: Cap::new(1),
        ..config()
    });
    let forged = from_peer(9, &item(1, 1, b"forged", "a"));
    let reservation = store.reserve(&forged);
    let honest = own(&item(1, 1, b"v", "b"));
    assert_eq!(store.precheck(at(0), &honest, 0), Ok(Precheck::Verify));
    store.release(reservation);
}

#[test]
fn bytes_in_flight_are_bounded() {
    let mut store = store();
    let big = |n: u8| from_peer(9, &item(n, 1, &[0; crate::item::MAX_VALUE_LEN], "s"));
    let mut stored = Vec::new();
    while store.precheck(at(0), &big(stored.len() as u8), 0) == Ok(Precheck::Verify) {
        let candidate = big(stored.len() as u8);
        stored.push(store.reserve(&candidate));
        assert!(stored.len() < 1000);
    }
    let refused = store.precheck(at(0), &big(250), 0);
    assert_eq!(refused, Err(Refusal::Busy));
    assert_eq!(stored.len(), MAX_RESERVED_BYTES / item_cost(&big(0).item));
    store.release(stored.pop().unwrap());
    assert_eq!(store.precheck(at(0), &big(250), 0), Ok(Precheck::Verify));
    // One gave back what one takes.
    stored.push(store.reserve(&big(250)));
    let refused = store.precheck(at(0), &big(251), 0);
    assert_eq!(refused, Err(Refusal::Busy));
    // What fills the rest exactly is taken, and not a byte more.
    let rest = MAX_RESERVED_BYTES - stored.len() * item_cost(&big(0).item);
    let fits = rest - item_cost(&item(1, 1, b"", "s"));
    for (len, expected) in [(fits, Ok(Precheck::Verify)), (fits + 1, Err(Refusal::Busy))] {
        let last = from_peer(9, &item(251, 1, &alloc::vec![0; len], "s"));
        assert_eq!(store.precheck(at(0), &last, 0), expected);
    }
}

/// Else who is charged would depend on the order of two puts.
#[test]
fn without_a_limit_who_put_last_is_charged() {
    let mut store = store();
    put(&mut store, at(0), from_peer(8, &item(1, 1, b"v", "s"))).unwrap();
    put(&mut store, at(1), from_peer(9, &item(1, 2, b"v", "s"))).unwrap();
    assert_eq!(store.index.peers().get(&key(8)), 0);
    assert_eq!(store.index.peers().get(&key(9)), 1);
}
