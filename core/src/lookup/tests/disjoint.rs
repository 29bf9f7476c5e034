//! Several disjoint paths.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Manner, PARAMS, World, any_target, asked, candidates, named, random, step, stranger};
use crate::lookup::{Lookup, LookupParams, Step, Why};

fn with_paths(disjoint_paths: usize) -> LookupParams {
    LookupParams {
        disjoint_paths,
        ..PARAMS
    }
}

#[test]
fn disjoint_paths_find_the_same_nearest() {
    let mut random = random(1);
    let mut world = World::new(&mut random, 400);
    world.fill_tables(&mut random, 20);
    for paths in [2, 3, 8] {
        let target = any_target(&mut random);
        let run = world.run(target, with_paths(paths), &(0..20).collect::<Vec<_>>());
        assert_eq!(run.why, Why::Converged);
        assert_eq!(run.result, world.nearest(&target, 20, |_| true));
    }
}

#[test]
fn seeds_are_dealt_and_each_path_has_its_window() {
    let mut random = random(2);
    let target = any_target(&mut random);
    let all = candidates(&mut random, &target, 20);
    let mut lookup = Lookup::new(target, with_paths(2), all.iter().copied(), stranger());
    let first: BTreeSet<_> = asked(&mut lookup, 0).0.iter().map(|it| it.id).collect();
    let nearest = all[..6].iter().map(|it| it.id).collect();
    assert_eq!(first, nearest, "three of each path");
}

#[test]
fn a_candidate_belongs_to_the_path_that_learned_of_it_first() {
    let mut random = random(3);
    let target = any_target(&mut random);
    let all = candidates(&mut random, &target, 10);
    let params = LookupParams {
        alpha: 1,
        ..with_paths(2)
    };
    let seeds = [all[8], all[9]];
    let mut lookup = Lookup::new(target, params, seeds, stranger());
    assert_eq!(asked(&mut lookup, 0).0, seeds);
    let named_twice = [named(&all[0]), named(&all[1])];
    assert_eq!(lookup.answered(&all[8].id, named_twice).new, 2);
    assert_eq!(lookup.answered(&all[9].id, named_twice).new, 0);
    // One window suffices for both candidates, since both belong to one path.
    assert_eq!(asked(&mut lookup, 1).0, all[..1]);
}

#[test]
fn more_paths_than_seeds_are_as_many_as_seeds() {
    let mut random = random(4);
    let target = any_target(&mut random);
    let all = candidates(&mut random, &target, 2);
    let mut lookup = Lookup::new(target, with_paths(8), all.iter().copied(), stranger());
    assert_eq!(asked(&mut lookup, 0).0, all);
    lookup.answered(&all[0].id, []);
    assert!(
        matches!(step(&mut lookup, 1), Step::Wait(_)),
        "the other path goes on"
    );
    lookup.failed(&all[1].id);
    assert_eq!(step(&mut lookup, 2), Step::Done(Why::Converged));
}

#[test]
fn a_path_that_gave_up_slow_calls_leaves_the_lookup_unconverged() {
    let mut random = random(6);
    let target = any_target(&mut random);
    let all = candidates(&mut random, &target, 4);
    let mut lookup = Lookup::new(target, with_paths(2), all.iter().copied(), stranger());
    assert_eq!(asked(&mut lookup, 0).0.len(), 4);
    for peer in &all[..3] {
        lookup.answered(&peer.id, []);
    }
    assert!(matches!(step(&mut lookup, 2_999), Step::Wait(_)));
    assert_eq!(step(&mut lookup, 3_000), Step::Done(Why::Exhausted));
    lookup.answered(&all[3].id, []);
    assert_eq!(step(&mut lookup, 3_001), Step::Done(Why::Converged));
}

#[test]
fn a_peer_that_one_path_dropped_is_not_asked_again_by_another() {
    let mut random = random(7);
    let target = any_target(&mut random);
    let all = candidates(&mut random, &target, 4);
    let params = LookupParams {
        k: 1,
        alpha: 1,
        max_candidates: 4,
        ..with_paths(2)
    };
    let (dropped, other) = (all[2], all[3]);
    let mut lookup = Lookup::new(target, params, [dropped, other], stranger());
    assert_eq!(asked(&mut lookup, 0).0, [dropped, other]);
    lookup.answered(&dropped.id, [named(&all[1])]);
    assert_eq!(asked(&mut lookup, 1).0, [all[1]]);
    // Each path keeps two candidates: the third pushes out the first.
    lookup.answered(&all[1].id, [named(&all[0])]);
    assert!(!lookup.nearest().any(|it| it.candidate == dropped));
    assert_eq!(lookup.answered(&other.id, [named(&dropped)]).new, 0);
}

/// A hostile seed names forty keys that are nearer than any honest peer, and all of these do the
/// same. A single path never gets beyond them; of two paths, the other one finds the peers that
/// really are nearest.
#[test]
fn a_hostile_seed_steers_its_own_path_only() {
    let mut random = random(5);
    let target = any_target(&mut random);
    let all = candidates(&mut random, &target, 3_000);
    let (ground, rest) = all.split_at(40);
    let mut world = World::new(&mut random, 200);
    for (peer, honest) in world.peers.iter_mut().zip(rest.iter().rev()) {
        peer.me = *honest;
    }
    world.fill_tables(&mut random, 20);
    let honest_nearest = world.nearest(&target, 20, |_| true);
    let liar = |me| super::Peer {
        me,
        manner: Manner::Answers(10),
        knows: (200..200 + ground.len()).collect(),
    };
    world.peers.extend(ground.iter().copied().map(liar));
    let hostile_seed = world.peers.len();
    world.peers.push(liar(rest[100]));
    world.index = (0..)
        .zip(&world.peers)
        .map(|(i, peer)| (peer.me.id, i))
        .collect();
    let found = |paths| {
        let run = world.run(target, with_paths(paths), &[hostile_seed, 0]);
        honest_nearest
            .iter()
            .filter(|id| run.asked.contains(id))
            .count()
    };
    assert_eq!((found(1), found(2)), (0, 20));
}
