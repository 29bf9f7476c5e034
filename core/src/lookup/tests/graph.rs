//! Complete lookups over graphs of peers.

use alloc::vec::Vec;
use core::time::Duration;

use quickcheck::quickcheck;

use super::{Manner, PARAMS, World, any_target, millis, random};
use crate::id::{NodeId, Target};
use crate::lookup::Why;
use crate::random::Random;

/// Makes some peers faulty: of every 8, the given numbers are dead, silent or slow.
fn spoil(world: &mut World, random: &mut Random, dead: u64, silent: u64, slow: u64) {
    for peer in &mut world.peers {
        let draw = random.below(8);
        if draw < dead {
            peer.manner = Manner::Fails(random.below(3_000));
        } else if draw < dead + silent {
            peer.manner = Manner::Silent;
        } else if draw < dead + silent + slow {
            peer.manner = Manner::Answers(1_000 + random.below(12_000));
        }
    }
}

fn some_seeds(world: &World, random: &mut Random, n: usize) -> Vec<usize> {
    (0..n)
        .map(|_| random.below(world.peers.len() as u64) as usize)
        .collect()
}

#[test]
fn with_ideal_tables_the_nearest_are_found_in_few_hops() {
    let mut random = random(1);
    let mut world = World::new(&mut random, 1000);
    world.fill_tables(&mut random, 20);
    let (mut asks, runs) = (0, 40);
    for _ in 0..runs {
        let target = any_target(&mut random);
        let seeds = some_seeds(&world, &mut random, 3);
        let run = world.run(target, PARAMS, &seeds);
        assert_eq!(run.why, Why::Converged);
        assert_eq!(run.result, world.nearest(&target, 20, |_| true));
        asks += run.asked.len();
    }
    // The twenty nearest themselves, and few others on the way.
    assert!(asks / runs <= 27, "{}", asks / runs);
}

#[test]
fn a_node_finds_its_own_neighbours() {
    let mut random = random(2);
    let mut world = World::new(&mut random, 300);
    world.fill_tables(&mut random, 20);
    for own in 0..20 {
        let id = world.peers[own].me.id;
        let run = world.run(Target::from(id), PARAMS, &[own + 100]);
        assert_eq!(run.result, world.nearest(&Target::from(id), 20, |_| true));
    }
}

#[test]
fn dead_peers_cost_their_soft_deadline_not_their_hard_one() {
    let mut random = random(3);
    let mut world = World::new(&mut random, 500);
    for peer in &mut world.peers {
        peer.manner = Manner::Answers(150);
    }
    world.fill_tables(&mut random, 20);
    let (mut ends, mut silent) = (Vec::new(), 0);
    for peer in &mut world.peers {
        if random.below(10) == 0 {
            peer.manner = Manner::Silent;
            silent += 1;
        }
    }
    assert!(silent > 30);
    for _ in 0..51 {
        let target = any_target(&mut random);
        let seeds = world.nearest(&target, 500, |peer| peer.manner != Manner::Silent);
        let seeds: Vec<usize> = seeds[300..303].iter().map(|id| world.index[id]).collect();
        let run = world.run(target, PARAMS, &seeds);
        assert!(
            run.result
                .iter()
                .all(|id| { world.peers[world.index[id]].manner != Manner::Silent })
        );
        ends.push(run.end);
    }
    ends.sort_unstable();
    // Upstream's rounds take some 20 s here (two of the nearest twenty peers are silent).
    assert!(ends[25] < millis(3_500), "median {:?}", ends[25]);
    assert!(ends[50] < millis(9_000), "slowest {:?}", ends[50]);
}

#[test]
fn one_dead_node_of_twelve_does_not_delay_lookups() {
    let mut random = random(4);
    let mut world = World::new(&mut random, 12);
    for peer in &mut world.peers {
        peer.manner = Manner::Answers(50);
    }
    world.peers[7].manner = Manner::Silent;
    world.fill_tables(&mut random, 20);
    let target = any_target(&mut random);
    let run = world.run(target, PARAMS, &[0, 7]);
    assert_eq!(run.result.len(), 11);
    assert!(run.end <= millis(3_500), "{:?}", run.end);
}

#[test]
fn a_network_smaller_than_k_converges_on_all_of_it() {
    let mut random = random(5);
    let mut world = World::new(&mut random, 7);
    world.peers[3].manner = Manner::Fails(10);
    world.fill_tables(&mut random, 20);
    let target = any_target(&mut random);
    let run = world.run(target, PARAMS, &[0]);
    assert_eq!(run.why, Why::Converged);
    let alive = world.nearest(&target, 20, |peer| peer.manner != Manner::Fails(10));
    assert_eq!(run.result, alive);
}

quickcheck! {
    // All peers know each other, and answers are long enough to see past the dead.
    fn with_full_knowledge_the_result_is_the_nearest_live(seed: u64, dead: u8, k: u8) -> bool {
        let mut random = random(seed);
        let mut world = World::new(&mut random, 80);
        spoil(&mut world, &mut random, u64::from(dead) % 5, 0, 0);
        world.fill_tables(&mut random, 80);
        world.answer = 80;
        let k = usize::from(k) % 20 + 1;
        let params = crate::lookup::LookupParams { k, newcomers_per_answer: 80, ..PARAMS };
        let target = any_target(&mut random);
        let live = |peer: &super::Peer| matches!(peer.manner, Manner::Answers(_));
        let seed = world.nearest(&target, 80, live).last().map(|id| world.index[id]);
        let run = world.run(target, params, &[seed.unwrap()]);
        run.why == Why::Converged && run.result == world.nearest(&target, k, live)
    }

    // Whatever the graph and the faults: the lookup ends within the bounds that `World::run`
    // checks, and no known node that answers in time and is nearer than the result is left out.
    fn over_any_graph_no_near_peer_is_left_out(seed: u64, edges: u8, dead: u8, silent: u8, slow: u8) -> bool {
        let mut random = random(seed);
        let mut world = World::new(&mut random, 120);
        spoil(&mut world, &mut random, u64::from(dead % 4), u64::from(silent % 3), u64::from(slow % 3));
        for i in 0..world.peers.len() {
            let degree = random.below(u64::from(edges % 24) + 1) as usize;
            world.peers[i].knows = some_seeds(&world, &mut random, degree);
        }
        let target = any_target(&mut random);
        let seeds = some_seeds(&world, &mut random, 5);
        let run = world.run(target, PARAMS, &seeds);
        let distance = |id: &NodeId| target.distance(id);
        assert!(run.result.is_sorted_by_key(distance));
        assert!(run.result.len() == PARAMS.k || run.why == Why::Exhausted || run.asked == run.known);
        let bound = match run.result.len() == PARAMS.k {
            true => run.result.last().map(distance),
            false => None,
        };
        run.known.iter().all(|id| {
            let in_time = match world.peers[world.index[id]].manner {
                Manner::Answers(ms) => Duration::from_millis(ms) < super::SOFT,
                Manner::Fails(_) | Manner::Silent => false,
            };
            !in_time || bound.is_some_and(|far| distance(id) > far) || run.result.contains(id)
        })
    }
}
