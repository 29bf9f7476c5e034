use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use quickcheck::quickcheck;

use super::*;

quickcheck! {
    fn two_sets_become_their_union_with_the_higher_versions(
        a: Vec<(u16, u8)>, b: Vec<(u16, u8)>, shared: u8, salt: u64
    ) -> bool {
        let build = |own: &[(u16, u8)]| {
            let mut set = set((1000..1000 + 10 * u64::from(shared)).map(|n| n % 1700), 100);
            for (number, seq) in own {
                set.insert(item(u64::from(number % 1024), u64::from(*seq), 20));
            }
            set
        };
        let (mut x, mut y) = (build(&a), build(&b));
        let mut naive = BTreeMap::new();
        for item in x.items().chain(y.items()) {
            let seq = naive.entry(item.target()).or_insert(item.seq);
            *seq = item.seq.max(*seq);
        }
        reconcile(&mut x, &mut y, salt).unwrap();
        assert!(equal(&x, &y));
        let got: BTreeMap<_, _> = x.items().map(|item| (item.target(), item.seq)).collect();
        got == naive
    }
}

#[test]
fn equal_sets_cost_two_short_messages() {
    let (mut a, mut b) = (set(0..5000, 1), set(0..5000, 1));
    let (summary, _) = reconcile(&mut a, &mut b, 1).unwrap();
    assert_eq!(summary.rounds, 1);
    assert!(summary.bytes_in + summary.bytes_out <= 64, "{summary:?}");
}

#[test]
fn an_empty_set_pulls_everything_and_is_given_everything() {
    let (mut a, mut b) = (ItemSet::default(), set(0..5200, 1));
    let (summary, _) = reconcile(&mut a, &mut b, 1).unwrap();
    assert!(equal(&a, &b));
    assert_eq!((summary.fetched, summary.given), (5200, 0));
    let beyond = summary.bytes_in + summary.bytes_out - summary.item_bytes;
    assert!(beyond < 3 * 5200, "{summary:?}");
    let (mut a, mut b) = (b, ItemSet::default());
    let (summary, _) = reconcile(&mut a, &mut b, 2).unwrap();
    assert!(equal(&a, &b));
    assert_eq!((summary.fetched, summary.given), (0, 5200));
}

/// Lesson R10: a thousand full-size items, thousands with one sequence, one absurd sequence.
#[test]
fn r10_nothing_is_lost_to_sizes_and_sequences() {
    let mut a = ItemSet::default();
    let mut b = set(0..4000, 7);
    for number in 10_000..10_200 {
        b.insert(item(number, 7, 65_536));
        a.insert(item(number + 1000, 7, 65_536));
    }
    b.insert(item(77, u64::MAX, 1));
    a.insert(item(78, u64::MAX, 1));
    let (summary, _) = reconcile(&mut a, &mut b, 3).unwrap();
    assert!(equal(&a, &b));
    assert_eq!(a.len(), 4400);
    assert!(summary.item_bytes > 400 * 65_536);
}

#[test]
fn both_directions_are_compared_by_sequence() {
    let (mut a, mut b) = (set(0..3000, 5), set(0..3000, 5));
    for number in 0..50 {
        a.insert(item(number, 6, 10));
        b.insert(item(number + 100, 6, 10));
    }
    let (summary, _) = reconcile(&mut a, &mut b, 3).unwrap();
    assert!(equal(&a, &b));
    assert_eq!((summary.fetched, summary.given), (50, 50));
}

#[test]
fn one_sequence_with_two_contents_ends_with_the_same_on_both_sides() {
    let (mut a, mut b) = (set(0..300, 5), set(0..300, 5));
    for number in 0..10 {
        a.insert(item(number + 1000, 6, 10));
        b.insert(item(number + 1000, 6, 11));
    }
    reconcile(&mut a, &mut b, 3).unwrap();
    assert!(equal(&a, &b));
}

/// The goal for two full nodes, here with a tenth of the items (`examples/reconcile.rs` uses all):
/// bytes besides the items, and round trips.
#[test]
fn a_hundred_differences_cost_little_and_few_round_trips() {
    let (mut a, mut b) = (set(0..10_000, 5), set(0..10_000, 5));
    for number in 0..100 {
        b.insert(item(number * 97, 6, 300));
    }
    let (summary, work) = reconcile(&mut a, &mut b, 3).unwrap();
    assert!(equal(&a, &b));
    let beyond = summary.bytes_in + summary.bytes_out - summary.item_bytes;
    assert!(
        beyond <= 16 * 1024 && summary.rounds <= 4,
        "{beyond} {summary:?}"
    );
    assert!(work <= MAX_RESPOND_WORK);
}

/// Lesson R10 again: puts on both sides between any two messages; after they stop, one more session
/// makes the sets equal.
#[test]
fn r10_sets_that_change_meanwhile_converge_in_the_next_session() {
    let (mut a, mut b) = (set(0..2000, 5), set(0..2000, 5));
    for round in 0..50_u64 {
        let mut session =
            Session::start(&a, round.to_be_bytes(), SessionLimits::default()).unwrap();
        let mut done = false;
        while !done {
            let mut answers = Vec::new();
            while let Some(output) = session.poll_output() {
                match output {
                    SessionOutput::Send(bytes) => {
                        b.insert(item(round * 31 % 2500, 6 + round, 9));
                        let reply = respond(&b, SyncRequest::decode(&bytes).unwrap());
                        for (item, _) in reply.given {
                            b.insert(item);
                        }
                        answers.push(reply.response.encode());
                    }
                    SessionOutput::Item(received) => {
                        a.insert(received.item);
                    }
                    SessionOutput::Finished(_) => done = true,
                }
            }
            a.insert(item(round * 17 % 2600, 6 + round, 8));
            for answer in answers {
                session.handle(&a, &answer).unwrap();
            }
        }
    }
    reconcile(&mut a, &mut b, 99).unwrap();
    assert!(equal(&a, &b));
}

#[test]
fn offers_are_wanted_when_they_are_newer() {
    let (a, b) = (set(0..20, 5), set(0..10, 6));
    let stamps = a.entries(crate::id::Target::default());
    let stamps: Vec<Stamp> = stamps
        .map(|(target, version)| version.stamp(&target))
        .collect();
    let request = SyncRequest {
        salt: [0; 8],
        parts: alloc::vec![RequestPart::Offer(stamps.clone())],
    };
    let reply = respond(&b, request);
    let lacked: u64 = (0..20)
        .map(|place| {
            let held = b
                .items()
                .any(|item| Lead::of(&item.target()) == stamps[place].lead);
            u64::from(!held) << place
        })
        .sum();
    assert_eq!(reply.response.parts, [ResponsePart::Wanted(lacked)]);
    let stamps: Vec<Stamp> = b
        .entries(crate::id::Target::default())
        .map(|(target, version)| version.stamp(&target))
        .collect();
    let request = SyncRequest {
        salt: [0; 8],
        parts: alloc::vec![RequestPart::Offer(stamps)],
    };
    let reply = respond(&a, request);
    assert_eq!(reply.response.parts, [ResponsePart::Wanted(0b11_1111_1111)]);
}

/// Lesson R1: 100,000 items, one in a hundred of which differs.
#[test]
fn r1_one_difference_in_a_hundred_costs_less_than_3_percent_of_a_full_copy() {
    let (mut a, mut b) = (ItemSet::default(), ItemSet::default());
    let mut copy = 0;
    for number in 0..100_000 {
        let item = item(number, 1, 300);
        copy += item_bytes(&item) as u64;
        a.insert(item.clone());
        b.insert(item);
    }
    for number in (0..100_000).step_by(100) {
        match number % 200 {
            0 => a.insert(item(number, 2, 300)),
            _ => b.insert(item(number, 2, 300)),
        };
    }
    let (summary, _) = reconcile(&mut a, &mut b, 4).unwrap();
    assert!(equal(&a, &b));
    let bytes = summary.bytes_in + summary.bytes_out;
    assert!(bytes * 100 < 3 * copy, "{bytes} of {copy}");
    assert!(summary.rounds <= 20, "{summary:?}");
}
