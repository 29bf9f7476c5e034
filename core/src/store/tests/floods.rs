//! Floods of cheap keys: what an owner keeps alive outlasts them.

use super::stored_item::Class;
use super::*;
use crate::cap::Cap;

const FULL: usize = 8;

/// The owner's item, put at 0 and renewed half an hour later.
fn established(store: &mut Store, item: &Arc<Item>) {
    put(store, at(0), own(item)).unwrap();
    put(store, at(1800), own(item)).unwrap();
}

/// Items of many keys that are nearer to the node than `than`, each over its own stream.
fn nearer_than(than: &Item, count: usize) -> Vec<Arc<Item>> {
    let far = than.target();
    let tries = (0..100_000u32).map(|n| item(100 + (n % 100) as u8, 1, b"v", &n.to_string()));
    let near: Vec<_> = tries.filter(|it| it.target() < far).take(count).collect();
    assert_eq!(near.len(), count, "the owner's item is too near for this");
    near
}

fn crowded(full_node: bool) -> Store {
    Store::new(StoreConfig {
        full_node,
        max_items: Cap::new(FULL),
        ..config()
    })
}

#[test]
fn a_flood_of_nearer_keys_does_not_evict_what_an_owner_keeps_alive() {
    for full_node in [false, true] {
        let owners = item(1, 1, b"mine", "dmsg");
        let mut store = crowded(full_node);
        established(&mut store, &owners);
        for it in nearer_than(&owners, 10 * FULL) {
            let _ = put(&mut store, at(1801), own(&it));
        }
        assert!(store.get(at(1802), &owners.target()).is_some());
        assert_eq!(store.fill().items, FULL);
    }
}

#[test]
fn an_item_never_renewed_goes_as_before() {
    let owners = item(1, 1, b"mine", "dmsg");
    let mut store = crowded(false);
    put(&mut store, at(0), own(&owners)).unwrap();
    for it in nearer_than(&owners, FULL) {
        let _ = put(&mut store, at(1801), own(&it));
    }
    assert!(store.get(at(1802), &owners.target()).is_none());
}

#[test]
fn a_renewal_too_soon_or_by_another_establishes_nothing() {
    let owners = item(1, 1, b"mine", "dmsg");
    for (when, renewal) in [(1799, own(&owners)), (1800, from_peer(9, &owners))] {
        let mut store = crowded(false);
        put(&mut store, at(0), own(&owners)).unwrap();
        put(&mut store, at(when), renewal).unwrap();
        for it in nearer_than(&owners, FULL) {
            let _ = put(&mut store, at(1801), own(&it));
        }
        assert!(store.get(at(1802), &owners.target()).is_none());
    }
}

#[test]
fn a_later_version_inherits_what_the_earlier_ones_earned() {
    let owners = item(1, 1, b"mine", "dmsg");
    let mut store = crowded(false);
    established(&mut store, &owners);
    // By another hand: it earns nothing, and loses nothing either.
    let later = item(1, 2, b"mine, too", "dmsg");
    put(&mut store, at(1801), from_peer(9, &later)).unwrap();
    // Go's owners write a higher sequence instead of renewing.
    let gos = item(2, 1, b"go's", "dmsg");
    put(&mut store, at(0), own(&gos)).unwrap();
    put(&mut store, at(1800), own(&item(2, 2, b"go's", "dmsg"))).unwrap();
    for it in nearer_than(&owners, 10 * FULL) {
        let _ = put(&mut store, at(1802), own(&it));
    }
    for it in [&owners, &gos] {
        assert!(store.get(at(1803), &it.target()).is_some());
    }
}

#[test]
fn what_was_not_renewed_goes_before_what_is_farther() {
    let mut items: Vec<_> = (0..4).map(|n| item(n, 1, b"v", "s")).collect();
    items.sort_by_key(|item| item.target());
    let mut store = Store::new(StoreConfig {
        max_items: Cap::new(3),
        ..config()
    });
    for it in &items[1..] {
        put(&mut store, at(0), own(it)).unwrap();
    }
    for it in &items[2..] {
        put(&mut store, at(1800), own(it)).unwrap();
    }
    // The one that was not renewed makes room, though it is the nearest of the three ...
    let done = put(&mut store, at(1801), own(&items[0])).unwrap();
    assert_eq!(done.evicted, [items[1].target()]);
    // ... and when all are established a stranger finds none.
    put(&mut store, at(3601), own(&items[0])).unwrap();
    let refused = put(&mut store, at(3602), own(&item(7, 1, b"v", "s")));
    assert_eq!(refused, Err(Refusal::Distance));
}

#[test]
fn deleting_in_a_flood_does_not_bring_back_what_an_owner_deleted() {
    let owners = item(1, 1, b"mine", "dmsg");
    let mut store = Store::new(StoreConfig {
        deletion_marks: Cap::new(4),
        ..config()
    });
    established(&mut store, &owners);
    put(&mut store, at(1801), own(&item(1, 2, b"", "dmsg"))).unwrap();
    let swept = at(1801 + 2 * HOUR + 1);
    store.sweep(swept, 10);
    assert_eq!(store.fill().marks, 1);
    let later = at(1802 + 2 * HOUR + 1);
    for n in 10..30 {
        let it = item(n, 1, b"v", "s");
        put(&mut store, later, own(&it)).unwrap();
        store.remove_local(later, &it.target()).unwrap();
    }
    store.check_invariants();
    assert_eq!(store.fill().marks, 4);
    let back = put(&mut store, later, from_peer(2, &owners));
    assert_eq!(back, Err(Refusal::Deleted));
}

/// 5,000 keys with ten items each against a store of 5,000.
#[test]
fn fifty_thousand_items_leave_what_was_established() {
    let mut store = Store::new(StoreConfig {
        public_items: Cap::new(5_000),
        items_per_publisher: Cap::new(50),
        items_per_peer: Cap::new(2_500),
        ..config()
    });
    let owners: Vec<_> = (1..=100).map(|n| item(n, 1, b"mine", "dmsg")).collect();
    for it in &owners {
        store.admit(at(0), own(it), 0).unwrap();
        store.admit(at(1800), own(it), 0).unwrap();
    }
    for n in 0..50_000u32 {
        let mut bytes = [0x77; 33];
        bytes[0] = 3;
        bytes[1..5].copy_from_slice(&(n / 10).to_be_bytes());
        let flooding = Arc::new(Item {
            key: PublicKey::from_bytes(&bytes).unwrap(),
            ..Item::clone(&item(1, 1, b"flood", &n.to_string()))
        });
        let _ = store.admit(at(1801), own(&flooding), 0);
    }
    store.check_invariants();
    assert_eq!(store.fill().items, 5_000);
    for it in &owners {
        assert!(store.get(at(1802), &it.target()).is_some());
    }
}

#[test]
fn what_storage_says_of_the_time_before_a_restart_counts() {
    for (age, expected) in [(1800, Class::Established), (1799, Class::Public)] {
        let owners = item(1, 1, b"mine", "dmsg");
        let mut store = crowded(false);
        let loaded = Candidate::of_owner(
            owners.clone(),
            Via::Storage {
                vouched: at(0).unix,
                expires: Some(at(0).unix.plus(TTL)),
            },
        );
        put(&mut store, at(age), loaded).unwrap();
        let class = |store: &Store| store.get(at(age), &owners.target()).unwrap().class();
        assert_eq!(class(&store), Class::Public);
        put(&mut store, at(age), own(&owners)).unwrap();
        assert_eq!(class(&store), expected);
    }
}
