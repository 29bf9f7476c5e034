//! The window: which peers are asked when, and the effect of slow calls.

use alloc::vec::Vec;
use core::time::Duration;

use super::{
    HARD, PARAMS, SOFT, any_target, asked, candidates, millis, named, random, step, stranger,
};
use crate::lookup::{
    Candidate, Counts, Lookup, LookupParams, MAX_WIDTH, OPEN_PER_PLACE, PATIENCE, SILENT_PER_CALL,
    Step, Why,
};

/// A lookup with the `n` candidates, nearest first, as its seeds.
fn seeded(params: LookupParams, n: usize) -> (Lookup, Vec<Candidate>) {
    let mut random = random(n as u64);
    let target = any_target(&mut random);
    let all = candidates(&mut random, &target, n);
    (
        Lookup::new(target, params, all.iter().copied().rev(), stranger()),
        all,
    )
}

const NO_PEERS: [(
    crate::id::NodeId,
    crate::key::PublicKey,
    Option<core::net::SocketAddr>,
); 0] = [];

#[test]
fn the_alpha_nearest_are_asked_first_and_each_answer_makes_room() {
    let (mut lookup, all) = seeded(PARAMS, 10);
    let (first, wait) = asked(&mut lookup, 0);
    assert_eq!(first, all[..3]);
    assert_eq!(wait, Step::Wait(millis(1_000)));
    lookup.answered(&all[1].id, NO_PEERS);
    assert_eq!(asked(&mut lookup, 10).0, all[3..4]);
    lookup.failed(&all[2].id);
    assert_eq!(asked(&mut lookup, 20).0, all[4..5]);
}

#[test]
fn of_the_nearest_known_the_quickest_are_asked_first_until_a_peer_answers() {
    let (mut lookup, all) = seeded(PARAMS, 10);
    let rank = |peer: &Candidate| all.iter().position(|it| it == peer).unwrap();
    // The farther, the quicker; but only the four nearest are eligible.
    let soft = |peer: &Candidate| Some(Duration::from_millis(1_000 - 50 * rank(peer) as u64));
    let ask = |lookup: &mut Lookup| match lookup.next(millis(0), soft) {
        Step::Ask(peer) => rank(&peer),
        _ => usize::MAX,
    };
    assert_eq!(
        [ask(&mut lookup), ask(&mut lookup), ask(&mut lookup)],
        [3, 4, 5]
    );
    assert_eq!(ask(&mut lookup), usize::MAX);
    lookup.answered(&all[5].id, NO_PEERS);
    assert_eq!(ask(&mut lookup), 0);
}

#[test]
fn calls_to_peers_that_are_no_longer_near_do_not_occupy_the_window() {
    let (mut lookup, all) = seeded(PARAMS, PARAMS.alpha);
    let target = lookup.target();
    let near = candidates(&mut random(77), &target, 20_000);
    let near = &near[..PARAMS.k];
    assert!(target.distance(&near[PARAMS.k - 1].id) < target.distance(&all[0].id));
    asked(&mut lookup, 0);
    lookup.answered(&all[1].id, near.iter().map(named));
    assert_eq!(asked(&mut lookup, 10).0, near[..PARAMS.alpha]);
}

#[test]
fn when_the_nearest_answered_the_rest_of_the_k_nearest_are_asked_together() {
    let (mut lookup, all) = seeded(PARAMS, PARAMS.k + 5);
    asked(&mut lookup, 0);
    for (n, peer) in all[1..3].iter().enumerate() {
        lookup.answered(&peer.id, NO_PEERS);
        assert_eq!(asked(&mut lookup, 10).0, all[3 + n..4 + n]);
    }
    lookup.answered(&all[0].id, NO_PEERS);
    assert_eq!(asked(&mut lookup, 20).0, all[5..PARAMS.k]);
    // One of them knows a peer that is nearer still, which is asked immediately.
    let target = lookup.target();
    let near = candidates(&mut random(77), &target, 40_000)[0];
    assert!(target.distance(&near.id) < target.distance(&all[0].id));
    lookup.answered(&all[7].id, [named(&near)]);
    assert_eq!(asked(&mut lookup, 30).0, [near]);
}

#[test]
fn nearer_newcomers_are_asked_before_older_candidates() {
    let (mut lookup, all) = seeded(PARAMS, 4);
    let target = lookup.target();
    let mut random = random(77);
    let near = candidates(&mut random, &target, 4_000)[0];
    assert!(target.distance(&near.id) < target.distance(&all[0].id));
    asked(&mut lookup, 0);
    let learned = lookup.answered(&all[2].id, [named(&near)]);
    assert_eq!(learned.new, 1);
    assert_eq!(asked(&mut lookup, 10).0, [near]);
    assert_eq!(lookup.hops(), 0);
    lookup.answered(&near.id, NO_PEERS);
    assert_eq!(lookup.hops(), 1);
}

#[test]
fn a_slow_call_leaves_the_window_and_still_counts_when_answered() {
    let (mut lookup, all) = seeded(PARAMS, 5);
    asked(&mut lookup, 0);
    assert_eq!(asked(&mut lookup, 999).0, []);
    let (next, _) = asked(&mut lookup, 1_000);
    assert_eq!(next, all[3..5], "two of three places are needed");
    assert_eq!(lookup.counts().slow, 3);
    for peer in &all {
        assert!(lookup.is_waiting(&peer.id));
        lookup.answered(&peer.id, NO_PEERS);
    }
    assert_eq!(step(&mut lookup, 1_100), Step::Done(Why::Converged));
    assert!(lookup.answered_closest().eq(&all));
}

#[test]
fn a_slow_call_among_the_nearest_does_not_hold_up_the_end() {
    let params = LookupParams { k: 2, ..PARAMS };
    let (mut lookup, all) = seeded(params, 3);
    let (first, _) = asked(&mut lookup, 0);
    assert_eq!(first, all[..2], "the third is not among the two nearest");
    lookup.answered(&all[1].id, NO_PEERS);
    assert_eq!(
        asked(&mut lookup, 100),
        (Vec::new(), Step::Wait(millis(1_000)))
    );
    let (next, _) = asked(&mut lookup, 1_000);
    assert_eq!(
        next,
        all[2..],
        "the slow one is not counted among them any more"
    );
    lookup.answered(&all[2].id, NO_PEERS);
    assert_eq!(step(&mut lookup, 1_050), Step::Done(Why::Converged));
    assert!(lookup.answered_closest().eq(&all[1..]));
    // A late answer still counts.
    lookup.answered(&all[0].id, NO_PEERS);
    assert!(lookup.answered_closest().eq(&all[..2]));
}

#[test]
fn slow_calls_are_bounded_and_the_hard_deadline_ends_them() {
    let (mut lookup, all) = seeded(PARAMS, 80);
    let asked = |lookup: &mut Lookup, at: u64| {
        let mut calls = Vec::new();
        loop {
            match lookup.next(millis(at), |_| Some(Duration::from_millis(100))) {
                Step::Ask(peer) => calls.push(peer),
                step => return (calls, step),
            }
        }
    };
    // All peers are silent. This many calls are waited for; three more are made whenever three are
    // past waiting for; and there are at most this many in all.
    let waited_for = PARAMS.alpha * OPEN_PER_PLACE;
    let most = waited_for * SILENT_PER_CALL;
    let mut calls = Vec::new();
    for at in (0..9_900).step_by(100) {
        calls.extend(asked(&mut lookup, at).0);
        let open = lookup.counts().open;
        assert_eq!(open, calls.len().min(most), "{at}");
        if at == 300 {
            assert_eq!(calls.len(), waited_for);
        }
    }
    assert_eq!(calls, all[..most]);
    let (more, wait) = asked(&mut lookup, 9_900);
    assert_eq!((more.len(), wait), (0, Step::Wait(millis(10_000))));
    assert_eq!(asked(&mut lookup, 9_999).0, []);
    assert_eq!(asked(&mut lookup, 10_000).0, all[most..most + 3]);
    assert_eq!(lookup.counts().failed, 3);
    assert!(!lookup.is_waiting(&all[0].id));
    // A late answer counts.
    assert_eq!(lookup.answered(&all[0].id, NO_PEERS), Default::default());
    assert!(lookup.answered_closest().eq(&all[..1]));
    assert_eq!(lookup.counts().failed, 2);
}

#[test]
fn a_peer_that_is_not_expected_to_answer_is_asked_and_not_waited_for() {
    let (mut lookup, all) = seeded(PARAMS, 4);
    let dead = [all[0].id, all[2].id];
    let soft = |it: &Candidate| (!dead.contains(&it.id)).then_some(SOFT);
    let mut calls = Vec::new();
    let wait = loop {
        match lookup.next(millis(0), soft) {
            Step::Ask(peer) => calls.push(peer),
            step => break step,
        }
    };
    // Live peers first, since none has answered; the others in addition to them.
    assert_eq!(calls, [all[1], all[3], all[0], all[2]]);
    assert_eq!(wait, Step::Wait(millis(1_000)));
    lookup.answered(&all[1].id, NO_PEERS);
    lookup.answered(&all[3].id, NO_PEERS);
    assert!(matches!(lookup.next(millis(50), soft), Step::Done(_)));
    // A peer that answers after all counts.
    lookup.answered(&all[0].id, NO_PEERS);
    assert_eq!(lookup.answered_closest().next(), Some(&all[0]));
}

#[test]
fn without_any_other_answer_even_peers_not_expected_to_answer_are_waited_for() {
    let (mut lookup, _) = seeded(PARAMS, 2);
    while let Step::Ask(_) = lookup.next(millis(0), |_| None) {}
    let hard = Step::Wait(millis(HARD.as_millis() as u64));
    assert_eq!(lookup.next(millis(9_000), |_| None), hard);
}

#[test]
fn short_of_k_a_slow_call_is_waited_for_with_patience() {
    let (mut lookup, all) = seeded(PARAMS, 2);
    asked(&mut lookup, 0);
    lookup.answered(&all[0].id, NO_PEERS);
    assert_eq!(step(&mut lookup, 500), Step::Wait(millis(1_000)));
    let patience = u64::from(PATIENCE) * 1_000;
    assert_eq!(step(&mut lookup, 1_000), Step::Wait(millis(patience)));
    assert_eq!(step(&mut lookup, patience), Step::Done(Why::Exhausted));
    lookup.answered(&all[1].id, NO_PEERS);
    assert_eq!(step(&mut lookup, patience), Step::Done(Why::Converged));
}

#[test]
fn without_any_answer_slow_calls_are_waited_for_to_the_hard_deadline() {
    let (mut lookup, all) = seeded(PARAMS, 2);
    asked(&mut lookup, 0);
    let hard = millis(HARD.as_millis() as u64);
    assert_eq!(step(&mut lookup, 3_000), Step::Wait(hard));
    assert_eq!(step(&mut lookup, 10_000), Step::Done(Why::Exhausted));
    assert_eq!(lookup.answered_closest().count(), 0);
    lookup.answered(&all[0].id, NO_PEERS);
    assert_eq!(step(&mut lookup, 10_001), Step::Done(Why::Converged));
}

#[test]
fn without_seeds_the_lookup_ends_immediately() {
    let (mut lookup, _) = seeded(PARAMS, 0);
    assert_eq!(step(&mut lookup, 0), Step::Done(Why::Exhausted));
}

#[test]
fn the_soft_deadline_is_the_peers_own_and_never_beyond_the_hard_one() {
    let (mut lookup, all) = seeded(LookupParams { alpha: 1, ..PARAMS }, 3);
    let quick = all[0].id;
    let soft = |it: &Candidate| match it.id == quick {
        true => Some(Duration::from_millis(5)),
        false => Some(Duration::MAX),
    };
    assert_eq!(lookup.next(millis(0), soft), Step::Ask(all[0]));
    assert_eq!(lookup.next(millis(0), soft), Step::Wait(millis(5)));
    assert_eq!(lookup.next(millis(5), soft), Step::Ask(all[1]));
    assert_eq!(lookup.next(millis(5), soft), Step::Wait(millis(10_000)));
}

#[test]
fn unexpected_reports_are_ignored() {
    let (mut lookup, all) = seeded(PARAMS, 5);
    let mut random = random(9);
    let extra = candidates(&mut random, &lookup.target(), 3);
    // Not asked yet, and unknown to the lookup.
    for id in [all[0].id, extra[0].id] {
        assert_eq!(
            lookup.answered(&id, extra.iter().map(named)),
            Default::default()
        );
        lookup.failed(&id);
    }
    assert_eq!(
        lookup.counts(),
        Counts {
            known: 5,
            ..Counts::default()
        }
    );
    asked(&mut lookup, 0);
    // A repeated answer; a failure after an answer; an answer after a failure.
    lookup.answered(&all[0].id, NO_PEERS);
    lookup.failed(&all[1].id);
    let before = lookup.counts();
    lookup.failed(&all[0].id);
    assert_eq!(
        lookup.answered(&all[0].id, extra.iter().map(named)),
        Default::default()
    );
    assert_eq!(
        lookup.answered(&all[1].id, extra.iter().map(named)),
        Default::default()
    );
    assert_eq!(lookup.counts(), before);
    assert!(lookup.answered_closest().eq(&all[..1]));
}

#[test]
fn the_nearest_known_are_those_that_did_not_fail() {
    let (mut lookup, all) = seeded(PARAMS, 6);
    asked(&mut lookup, 0);
    lookup.failed(&all[1].id);
    assert!(lookup.is_among_closest(&all[0].id, 1));
    assert!(!lookup.is_among_closest(&all[1].id, 6), "it failed");
    assert!(lookup.is_among_closest(&all[2].id, 2));
    assert!(!lookup.is_among_closest(&all[3].id, 2));
    // The local node, which is not a candidate, is judged by its distance.
    let target = lookup.target();
    let local = stranger();
    let nearer = all
        .iter()
        .enumerate()
        .filter(|(i, it)| *i != 1 && target.distance(&it.id) < target.distance(&local))
        .count();
    assert!(lookup.is_among_closest(&local, nearer + 1));
    assert!(!lookup.is_among_closest(&local, nearer));
}

#[test]
fn widening_goes_on_after_the_end_and_stops_at_64() {
    let (mut lookup, all) = seeded(LookupParams { k: 2, ..PARAMS }, 5);
    for peer in asked(&mut lookup, 0).0 {
        lookup.answered(&peer.id, NO_PEERS);
    }
    assert_eq!(step(&mut lookup, 1), Step::Done(Why::Converged));
    lookup.widen(4);
    assert_eq!(asked(&mut lookup, 2).0, all[2..4]);
    lookup.widen(3);
    assert_eq!(lookup.width(), 4, "never narrower");
    lookup.widen(1_000);
    assert_eq!(lookup.width(), MAX_WIDTH);
    assert_eq!(asked(&mut lookup, 3).0, all[4..]);
}
