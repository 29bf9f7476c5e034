//! Bounds on what a peer can make a lookup store or do.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use quickcheck::quickcheck;

use super::{
    PARAMS, any_candidate, any_target, asked, candidates, millis, named, random, stranger,
};
use crate::id::NodeId;
use crate::lookup::path::CandidateState;
use crate::lookup::{ASKS_PER_CANDIDATE, Learned, Lookup, LookupParams, OPEN_PER_PLACE, Step, Why};

#[test]
fn liars_twins_and_the_local_node_are_dropped() {
    let mut random = random(1);
    let target = any_target(&mut random);
    let all = candidates(&mut random, &target, 6);
    let local = all[5];
    let mut lookup = Lookup::new(target, PARAMS, [all[0], all[0], local], local.id);
    assert_eq!(lookup.counts().known, 1);
    asked(&mut lookup, 0);
    let mut liar = named(&all[1]);
    liar.0 = NodeId::from_bytes(*target.as_bytes());
    let learned = lookup.answered(
        &all[0].id,
        [
            liar,
            named(&local),
            named(&all[0]),
            named(&all[2]),
            named(&all[2]),
            liar,
        ],
    );
    let expected = Learned {
        new: 1,
        lying_ids: 2,
        cut: 0,
    };
    assert_eq!(learned, expected);
    assert_eq!(asked(&mut lookup, 1).0, all[2..3]);
}

/// A lookup that has asked `seed`, and accepts five new candidates per answer.
fn asking_one_for_five(target: crate::id::Target, seed: crate::lookup::Candidate) -> Lookup {
    let params = LookupParams {
        newcomers_per_answer: 5,
        ..PARAMS
    };
    let mut lookup = Lookup::new(target, params, [seed], stranger());
    asked(&mut lookup, 0);
    lookup
}

#[test]
fn one_answer_brings_only_so_many_newcomers() {
    let mut random = random(2);
    let target = any_target(&mut random);
    let seed = any_candidate(&mut random);
    let mut lookup = asking_one_for_five(target, seed);
    let crowd = candidates(&mut random, &target, 70_000);
    let learned = lookup.answered(&seed.id, crowd.iter().map(named));
    let expected = Learned {
        new: 5,
        lying_ids: 0,
        cut: u16::MAX,
    };
    assert_eq!(learned, expected, "counts saturate");
    assert_eq!(lookup.counts().known, 6);
}

#[test]
fn an_answer_full_of_lies_is_not_hashed_to_its_end() {
    let mut random = random(3);
    let target = any_target(&mut random);
    let seed = any_candidate(&mut random);
    let mut lookup = asking_one_for_five(target, seed);
    let lies = candidates(&mut random, &target, 100);
    let lies = lies.iter().map(|it| (seed.id, it.key, None));
    let learned = lookup.answered(&seed.id, lies);
    assert_eq!(
        learned,
        Learned {
            new: 0,
            lying_ids: 20,
            cut: 80
        }
    );
}

#[test]
fn the_farthest_go_first_when_there_are_too_many() {
    let mut random = random(4);
    let target = any_target(&mut random);
    let all = candidates(&mut random, &target, 60);
    let params = LookupParams {
        max_candidates: 30,
        newcomers_per_answer: 60,
        ..PARAMS
    };
    let far = all[40..].iter().copied();
    let mut lookup = Lookup::new(target, params, far, stranger());
    let (first, _) = asked(&mut lookup, 0);
    let learned = lookup.answered(&first[0].id, all[..40].iter().map(named));
    // In order of distance: ten fit, and thirty push others out.
    assert_eq!(learned.new, 40 - learned.cut);
    assert_eq!(lookup.counts().known, 30);
    let kept: BTreeSet<NodeId> = lookup.nearest().map(|it| it.candidate.id).collect();
    let expected = all[..27].iter().chain(&first).map(|it| it.id).collect();
    assert_eq!(
        kept, expected,
        "the nearest, the answered, and the open calls"
    );
}

#[test]
fn answered_peers_among_the_k_nearest_are_never_dropped() {
    let mut random = random(5);
    let target = any_target(&mut random);
    let all = candidates(&mut random, &target, 400);
    let params = LookupParams {
        k: 4,
        max_candidates: 8,
        ..PARAMS
    };
    let mut lookup = Lookup::new(target, params, all[396..].iter().copied(), stranger());
    // Every peer answers and names eight that are a little nearer.
    let mut next = 396;
    let mut answered: Vec<NodeId> = Vec::new();
    for now in 0..200 {
        for peer in asked(&mut lookup, now).0 {
            let from = usize::saturating_sub(next, 8);
            lookup.answered(&peer.id, all[from..next].iter().map(named));
            next = from;
            answered.push(peer.id);
            let mut nearest = answered.clone();
            nearest.sort_by_key(|id| target.distance(id));
            nearest.truncate(4);
            let kept: Vec<NodeId> = lookup.answered_closest().map(|it| it.id).collect();
            assert_eq!(kept, nearest);
        }
    }
    assert!(answered.len() > 8, "some were dropped: {}", answered.len());
}

#[test]
fn no_peer_is_asked_twice_even_when_dropped_and_named_again() {
    let mut random = random(6);
    let target = any_target(&mut random);
    let all = candidates(&mut random, &target, 300);
    let params = LookupParams {
        k: 4,
        max_candidates: 8,
        newcomers_per_answer: 300,
        ..PARAMS
    };
    let mut lookup = Lookup::new(target, params, all[290..].iter().copied(), stranger());
    let mut ever = BTreeSet::new();
    let mut near = 280;
    for now in 0..500 {
        for peer in asked(&mut lookup, now).0 {
            assert!(ever.insert(peer.id), "asked twice");
            // A few nearer ones, then all again, the farthest first.
            let again = all[near..near + 4].iter().chain(all.iter().rev());
            lookup.answered(&peer.id, again.take(200).map(named));
            near = near.saturating_sub(4);
        }
    }
}

#[test]
fn calls_in_all_are_bounded() {
    let mut random = random(7);
    let target = any_target(&mut random);
    let all = candidates(&mut random, &target, 3_000);
    let params = LookupParams {
        k: 4,
        max_candidates: 8,
        ..PARAMS
    };
    let most = 8 * ASKS_PER_CANDIDATE;
    let mut lookup = Lookup::new(target, params, all[2_990..].iter().copied(), stranger());
    // Every call is answered with a peer that is nearer still.
    let (mut asks, mut next) = (0, 2_990);
    for now in 0..1_000 {
        let (calls, last) = asked(&mut lookup, now);
        if let Step::Done(why) = last {
            assert_eq!((why, asks), (Why::Exhausted, most));
            return;
        }
        for peer in calls {
            asks += 1;
            next -= 8;
            lookup.answered(&peer.id, all[next..next + 8].iter().map(named));
        }
    }
    panic!("it goes on for ever: {asks}");
}

quickcheck! {
    /// Reports about any peer in any order at any time: sizes stay within their limits, and the
    /// counters equal those of a recount.
    fn any_history_keeps_the_limits(seed: u64, paths: u8, small: bool, history: Vec<(u8, u16)>) -> bool {
        let mut random = random(seed);
        let target = any_target(&mut random);
        let all = candidates(&mut random, &target, 150);
        let params = LookupParams {
            k: 4,
            disjoint_paths: usize::from(paths % 4) + 1,
            max_candidates: if small { 16 } else { 1_000 },
            newcomers_per_answer: 12,
            ..PARAMS
        };
        let d = params.disjoint_paths;
        let mut lookup = Lookup::new(target, params, all[130..].iter().copied(), stranger());
        let (mut now, mut ever) = (0, BTreeSet::new());
        for (action, which) in history {
            let at = usize::from(which) % all.len();
            now += u64::from(action) * 20;
            match action % 4 {
                0 => lookup.failed(&all[at].id),
                1 => {
                    let learned = lookup.answered(&all[at].id, all.iter().cycle().skip(at).take(30).map(named));
                    assert!(learned.new <= 12);
                }
                _ => match lookup.next(millis(now), |_| Some(super::SOFT)) {
                    Step::Ask(it) => assert!(ever.insert(it.id)),
                    Step::Wait(at) => assert!(at > millis(now) && lookup.counts().open > 0),
                    Step::Done(_) => {}
                },
            }
            let counts = lookup.counts();
            let recount = |states: &[CandidateState]| lookup.nearest().filter(|it| states.contains(&it.state)).count();
            assert_eq!(counts.open, recount(&[CandidateState::Asked, CandidateState::Slow]));
            assert_eq!(counts.known, lookup.nearest().count());
            assert!(counts.open <= params.alpha * OPEN_PER_PLACE * d);
            assert!(counts.known <= params.max_candidates);
            assert_eq!(counts.asked, counts.open + counts.answered + counts.failed);
            assert_eq!(counts.asked, ever.len());
            if !small {
                assert_eq!(counts.answered, recount(&[CandidateState::Answered]));
                assert_eq!(counts.failed, recount(&[CandidateState::Failed, CandidateState::Silent]));
            }
            assert!(lookup.nearest().is_sorted_by(|a, b| a.distance < b.distance));
        }
        true
    }
}
