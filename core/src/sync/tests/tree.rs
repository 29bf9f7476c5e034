use alloc::vec::Vec;

use quickcheck::quickcheck;

use super::*;
use crate::id::Target;
use crate::item::Origin;

/// The sum of a range by adding up all of its entries.
fn naive(set: &ItemSet, prefix: &Prefix) -> Sum {
    let mut sum = Sum::default();
    for (target, version) in set.entries(Target::default()) {
        if prefix.contains(&target) {
            sum.add(&version.digest(&target));
        }
    }
    sum
}

fn check(set: &ItemSet, bits: u8, at: u64) {
    let target = item(at, 0, 0).target();
    let prefix = Prefix::of(&target, bits);
    let mut work = 0;
    let sum = set.tree().sum(&prefix, |from| set.entries(from), &mut work);
    assert_eq!(sum, naive(set, &prefix), "{prefix:?}");
}

quickcheck! {
    fn sums_of_ranges_are_those_of_a_naive_set(changes: Vec<(u16, u8, bool)>, bits: u8, at: u64) -> bool {
        let mut set = ItemSet::default();
        for (number, seq, insert) in changes {
            let item = item(u64::from(number % 512), u64::from(seq), 0);
            if insert {
                set.insert(item);
            } else {
                set.remove(&item.target());
            }
        }
        for bits in [0, 1, 4, 5, bits % 16, bits] {
            check(&set, bits, at);
        }
        true
    }
}

#[test]
fn branches_come_and_go_with_the_entries() {
    let mut set = set(0..20_000, 1);
    for bits in 0..20 {
        check(&set, bits, 7);
    }
    let most = set.tree().allocated();
    assert!(most < 20_000 * 17, "{most} bytes");
    for number in 0..19_990 {
        set.remove(&item(number, 1, 0).target());
        if number % 997 == 0 {
            check(&set, 6, number);
        }
    }
    check(&set, 3, 5);
    for number in 0..20_000 {
        set.insert(item(number, 2, 0));
    }
    for bits in 0..20 {
        check(&set, bits, 9);
    }
    // Released blocks are reused.
    assert!(set.tree().allocated() <= most * 3 / 2);
}

#[test]
fn a_crowd_under_one_prefix_is_as_good_as_any() {
    let mut tree = FingerprintTree::default();
    let mut entries: Vec<(Target, Version)> = Vec::new();
    for number in 0..400_u16 {
        let mut bytes = [0xab; 32];
        bytes[30..].copy_from_slice(&number.to_be_bytes());
        let version = Version {
            origin: Origin::Owner,
            seq: Seq(1),
            payload: [0; 32],
        };
        entries.push((Target::from_bytes(bytes), version));
        let (target, version) = &entries[entries.len() - 1];
        tree.insert(target, version, |from| {
            entries
                .iter()
                .copied()
                .filter(move |(target, _)| *target >= from)
        });
    }
    let all = Prefix::of(&entries[0].0, 240);
    let sum = tree.sum(&all, |_| entries.iter().copied(), &mut 0);
    assert_eq!((sum.count(), sum), (400, tree.total()));
    for (target, version) in &entries {
        tree.remove(target, version);
    }
    assert_eq!(tree.total(), Sum::default());
}

#[test]
fn prefixes_split_into_all_their_parts() {
    let prefix = Prefix::of(&item(3, 0, 0).target(), 13);
    for step in 1..=10 {
        let parts: Vec<Prefix> = (0..1 << step)
            .filter_map(|i| prefix.child(step, i))
            .collect();
        assert_eq!(parts.len(), 1 << step);
        assert!(parts.is_sorted());
        for number in 0..500 {
            let target = item(number, 0, 0).target();
            let holds = parts.iter().filter(|part| part.contains(&target)).count();
            assert_eq!(holds, usize::from(prefix.contains(&target)));
        }
    }
    assert_eq!(prefix.child(10, 1 << 10), None);
    assert_eq!(Prefix::of(&item(3, 0, 0).target(), 248).child(1, 0), None);
}
