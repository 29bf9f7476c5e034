//! Tests of runs: that they work, are repeatable, and become quiet.

use super::*;
use crate::network::Rate;

/// A run in which everything that uses randomness does so.
fn digest_of(seed: u64) -> WorldDigest {
    let mut config = WorldConfig::default();
    config.network.latency = Spread::LogNormal {
        median: SECOND / 20,
    };
    config.network.jitter = SECOND / 100;
    config.network.loss = Rate::percent(2);
    let mut world = joined(seed, 12, config, |_, _| {});
    put(&mut world, 3, "salt", b"1");
    get(&mut world, 9, 3, "salt").unwrap();
    world.digest()
}

#[test]
fn nodes_join_and_find_what_others_put() {
    let mut world = joined(1, 30, WorldConfig::default(), |_, _| {});
    for host in world.hosts() {
        let peers = world.node(host).unwrap().snapshot().peers;
        assert!(peers >= 19, "{host} has {peers} peers");
    }
    let outcome = put(&mut world, 3, "salt", b"1");
    assert_eq!(outcome.replicas.acknowledged(), 20);
    let found = get(&mut world, 20, 3, "salt").unwrap();
    assert_eq!(found.item.value.as_bytes(), b"1");
    // 100 ms are one round trip: there is latency but no other delay.
    assert!(found.first_value >= SECOND / 10 && found.first_value < SECOND);
}

#[test]
fn the_same_seed_gives_the_same_digest_and_another_another() {
    assert_eq!(digest_of(1), digest_of(1));
    assert_ne!(digest_of(1), digest_of(2));
}

#[test]
fn what_is_watched_does_not_change_the_digest() {
    let run = |watch| {
        let mut world = with_hosts(1, 5, WorldConfig::default(), |_, _| {});
        world.watch(watch);
        for host in world.hosts() {
            world.start(host).unwrap();
        }
        let seen = pass(&mut world, SECOND * 5);
        (world.digest(), seen.len())
    };
    let (all, none) = (
        Watch {
            events: true,
            deliveries: true,
            inputs: true,
        },
        Watch {
            events: false,
            deliveries: false,
            inputs: false,
        },
    );
    let (with, without) = (run(all), run(none));
    assert_eq!(with.0, without.0);
    assert!(with.1 > without.1 && without.1 == 5, "{without:?}");
}

#[test]
fn a_joined_network_goes_quiet() {
    let mut world = joined(1, 40, WorldConfig::default(), |_, _| {});
    put(&mut world, 3, "salt", b"1");
    let before = world.now();
    let mut budget = 5_000;
    while world.step_until_quiet(&mut budget).unwrap().is_some() {}
    assert!(world.now().since(before) < SECOND * 5);
    // A world with work in progress is not quiet.
    world.command(HostId(7), put_command("more", b"2")).unwrap();
    let mut budget = 10;
    let busy = loop {
        match world.step_until_quiet(&mut budget) {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert!(matches!(busy, Err(NotQuiet { operations: 1, .. })));
}

#[test]
fn a_script_is_woken_in_order_and_can_act() {
    let mut world = with_hosts(1, 1, WorldConfig::default(), |_, _| {});
    world.wake_at(SimTime::ZERO.plus(SECOND * 2), 2);
    world.wake_at(SimTime::ZERO.plus(SECOND), 1);
    let mut seen = Vec::new();
    world.run_for(SECOND * 3, &mut |world: &mut World, event| match event {
        SimEvent::Woke { token } => {
            seen.push((world.now(), token));
            if token == 2 {
                world.start(HostId(0)).unwrap();
            }
        }
        SimEvent::Started { host, life } => assert_eq!((host.0, life), (0, 1)),
        _ => {}
    });
    let at = |n| SimTime::ZERO.plus(SECOND * n);
    assert_eq!(seen, [(at(1), 1), (at(2), 2)]);
    assert!(world.is_up(HostId(0)));
    assert_eq!(world.now(), at(3));
}

#[test]
fn verdicts_are_computed_once_and_cost_time_everywhere() {
    let config = WorldConfig {
        verify: SECOND,
        ..WorldConfig::default()
    };
    let mut world = joined(1, 12, config, |_, _| {});
    let outcome = put(&mut world, 3, "salt", b"1");
    let stats = world.stats();
    assert_eq!((stats.jobs, stats.jobs_run), (11, 1));
    // The replicas verified concurrently, for one second each.
    assert!(outcome.stats.elapsed > SECOND && outcome.stats.elapsed < SECOND * 4);
}
