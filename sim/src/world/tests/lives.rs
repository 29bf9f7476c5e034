//! Hosts start, stop, are suspended, and keep the contents of their disks.

use skydht_core::node::{Event, StoreChange};
use skydht_core::time::Unix;

use super::*;
use crate::network::Departure;
use crate::storage::Setup;

fn with_storage(_: u32, config: &mut Config) {
    config.storage = true;
}

#[test]
fn a_restarted_node_has_what_its_disk_held_and_nothing_after_a_wipe() {
    let mut world = joined(1, 6, WorldConfig::default(), with_storage);
    world.command(HostId(3), put_command("salt", b"1")).unwrap();
    let seen = pass(&mut world, SECOND * 5);
    assert!(seen.iter().any(|event| matches!(
        event,
        SimEvent::Stored {
            count: 1,
            durable: true,
            ..
        }
    )));
    assert!(seen.iter().any(|event| matches!(
        event,
        SimEvent::Changed {
            change: StoreChange::Keep(_),
            ..
        }
    )));
    let host = HostId(5);
    assert_eq!(world.records(host).len(), 1);
    for (wiped, held) in [(false, 1), (true, 0)] {
        world.crash(host, Departure::Process).unwrap();
        assert_eq!(
            world.command(host, get_command(3, "salt")),
            Err(WorldError::NotUp(host))
        );
        if wiped {
            world.wipe(host).unwrap();
        }
        world.start(host).unwrap();
        pass(&mut world, SECOND / 10);
        let fill = world.node(host).unwrap().snapshot().store;
        assert_eq!(fill.items, held);
    }
}

#[test]
fn a_crash_before_the_write_may_lose_it_and_a_full_disk_is_tried_again() {
    let mut config = WorldConfig::default();
    config.hosts.write = Spread::Fixed(SECOND * 100);
    let mut found = [0, 0];
    for seed in 0..8 {
        let mut world = joined(seed, 6, config, with_storage);
        put(&mut world, 3, "salt", b"1");
        pass(&mut world, SECOND);
        world.crash(HostId(5), Departure::Process).unwrap();
        world.start(HostId(5)).unwrap();
        found[world.records(HostId(5)).len()] += 1;
        pass(&mut world, SECOND * 200);
        assert_eq!(world.records(HostId(4)).len(), 1);
    }
    assert!(found[0] > 0 && found[1] > 0, "{found:?}");

    config.hosts.write = Spread::Fixed(SECOND / 1000);
    let mut world = joined(1, 6, config, with_storage);
    assert!(world.set_disk_full(HostId(4), true));
    put(&mut world, 3, "salt", b"1");
    let stored = |seen: &[SimEvent]| {
        let at_4 = |it: &&SimEvent| {
            matches!(
                it,
                SimEvent::Stored {
                    host: HostId(4),
                    ..
                }
            )
        };
        seen.iter().filter(at_4).count()
    };
    assert_eq!(stored(&pass(&mut world, SECOND * 20)), 0);
    assert_eq!(world.records(HostId(4)).len(), 0);
    world.heal();
    assert_eq!(stored(&pass(&mut world, SECOND * 5)), 1);
    assert_eq!(world.records(HostId(4)).len(), 1);
    assert!(world.stats().writes_failed > 3);
}

#[test]
fn a_power_loss_loses_unsynced_records_and_a_shutdown_keeps_everything() {
    for (how, sync, lies, left) in [
        (Departure::Process, false, false, Some(1)),
        (Departure::Machine, false, false, Some(0)),
        (Departure::Machine, true, false, Some(1)),
        (Departure::Machine, true, true, None),
    ] {
        let mut torn = 0;
        for seed in 0..8 {
            let mut config = WorldConfig::default();
            config.hosts.write = Spread::Fixed(SECOND / 1000);
            let mut world = with_hosts(seed, 6, config, with_storage);
            let setup = Setup {
                sync,
                lies,
                shared: false,
            };
            world.set_storage(HostId(5), setup).unwrap();
            for host in world.hosts() {
                world.start(host).unwrap();
            }
            pass(&mut world, SECOND * 60);
            put(&mut world, 3, "salt", b"1234");
            pass(&mut world, SECOND / 2);
            world.crash(HostId(5), how).unwrap();
            let held = world.records(HostId(5)).len();
            assert!(left.is_none_or(|left| left == held), "{how:?} {sync}");
            torn += world.stats().torn;
            world.start(HostId(5)).unwrap();
            pass(&mut world, SECOND / 10);
            let node = world.node(HostId(5)).unwrap();
            let sound = node.store().range(Default::default());
            assert!(
                sound
                    .map(|(_, held)| held.item())
                    .all(|it| it.check().is_ok())
            );
        }
        assert_eq!(torn > 0, lies);
    }
    let mut config = WorldConfig::default();
    config.hosts.write = Spread::Fixed(SECOND * 100);
    let mut world = joined(1, 6, config, with_storage);
    put(&mut world, 3, "salt", b"1");
    world.stop(HostId(5)).unwrap();
    pass(&mut world, SECOND * 3);
    assert_eq!(world.records(HostId(5)).len(), 1);
}

#[test]
fn hosts_that_share_a_redis_hold_the_items_of_all_of_them() {
    let mut world = with_hosts(1, 6, WorldConfig::default(), with_storage);
    let shared = Setup {
        shared: true,
        ..Setup::SOUND
    };
    for host in [HostId(4), HostId(5)] {
        world.set_storage(host, shared).unwrap();
    }
    for host in [0, 3, 4] {
        world.start(HostId(host)).unwrap();
    }
    pass(&mut world, SECOND * 60);
    put(&mut world, 3, "salt", b"1");
    pass(&mut world, SECOND);
    assert_eq!(world.records(HostId(5)).len(), 1);
    world.start(HostId(5)).unwrap();
    pass(&mut world, SECOND / 10);
    assert_eq!(world.node(HostId(5)).unwrap().snapshot().store.items, 1);
    // When another host writes, the item is here within a second, whatever the state of the
    // network.
    world.network_mut().set_group(HostId(5), 1);
    world.network_mut().cut(0, 1);
    put(&mut world, 3, "other", b"1");
    pass(&mut world, SECOND);
    assert_eq!(world.node(HostId(5)).unwrap().snapshot().store.items, 2);
    // Items that a failover loses are written again.
    put(&mut world, 3, "third", b"1");
    let lost = world.redis().fail_over(SECOND * 2);
    assert!(!lost.is_empty());
    pass(&mut world, SECOND);
    assert_eq!(world.records(HostId(5)).len(), 3);
    assert!(world.stats().written_again > 0);
}

#[test]
fn a_crash_abandons_operations_and_a_stop_finishes_them() {
    let mut world = joined(1, 6, WorldConfig::default(), |_, _| {});
    let op = world.command(HostId(4), get_command(3, "no")).unwrap();
    world.crash(HostId(4), Departure::Machine).unwrap();
    let seen = pass(&mut world, SECOND);
    let crashed = SimEvent::Crashed {
        host: HostId(4),
        how: Departure::Machine,
        abandoned: vec![op],
    };
    assert!(seen.contains(&crashed));
    assert_eq!(world.operations().count(), 0);

    let op = world.command(HostId(5), get_command(3, "no")).unwrap();
    let stop = world.stop(HostId(5)).unwrap();
    let seen = pass(&mut world, SECOND * 3);
    let finished: Vec<_> = seen
        .iter()
        .filter_map(|event| match event {
            SimEvent::Finished { op, .. } => Some(*op),
            _ => None,
        })
        .collect();
    assert_eq!(finished, [op, stop]);
    assert!(seen.contains(&SimEvent::Stopped { host: HostId(5) }));
    assert!(!world.is_up(HostId(5)));
}

#[test]
fn a_suspended_node_takes_nothing_and_sees_its_clock_jump() {
    let mut world = joined(1, 6, WorldConfig::default(), |_, _| {});
    let host = HostId(5);
    world.suspend(host).unwrap();
    assert_eq!(
        world.command(host, get_command(3, "no")),
        Err(WorldError::NotUp(host))
    );
    let before = world.node(host).unwrap().snapshot();
    pass(&mut world, SECOND * 1000);
    assert_eq!(world.node(host).unwrap().snapshot(), before);
    world.resume(host).unwrap();
    let seen = pass(&mut world, SECOND * 20);
    assert!(seen.contains(&SimEvent::Event {
        host,
        event: Event::ClockJumped
    }));
    assert!(get(&mut world, 5, 3, "no").is_err_and(|error| {
        matches!(error, GetError::NotFound { stats } if stats.answered == 5)
    }));
}

#[test]
fn clocks_drift_and_step_for_one_host_alone() {
    let mut world = joined(1, 3, WorldConfig::default(), |_, _| {});
    let start = world.time_of(HostId(1)).unwrap();
    world
        .change_clock(HostId(1), |clock, now| clock.drift(now, 500_000))
        .unwrap();
    world
        .change_clock(HostId(2), |clock, _| clock.step_back(SECOND * 86_400))
        .unwrap();
    pass(&mut world, SECOND * 100);
    let [right, fast, late] = [0, 1, 2].map(|n| world.time_of(HostId(n)).unwrap());
    assert_eq!(right.mono.since(start.mono), SECOND * 100);
    assert_eq!(fast.mono.since(start.mono), SECOND * 150);
    assert_eq!(late.mono, right.mono);
    assert_eq!(right.unix.since(late.unix), SECOND * 86_400);
    // Sequence numbers of the node follow its wall clock.
    let outcome = put(&mut world, 2, "salt", b"1");
    assert!(Unix(outcome.seq.0) < right.unix.minus(SECOND * 80_000));
}

#[test]
fn impossible_requests_are_refused() {
    let mut world = with_hosts(1, 2, WorldConfig::default(), |n, config| {
        if n == 1 {
            config.k = 0;
        }
    });
    let (zero, one, none) = (HostId(0), HostId(1), HostId(9));
    assert_eq!(world.start(none), Err(WorldError::UnknownHost(none)));
    assert!(matches!(world.start(one), Err(WorldError::Config { .. })));
    assert_eq!(
        world.crash(zero, Departure::Process),
        Err(WorldError::NotUp(zero))
    );
    assert_eq!(world.resume(zero), Err(WorldError::NotSuspended(zero)));
    world.start(zero).unwrap();
    assert_eq!(world.start(zero), Err(WorldError::AlreadyUp(zero)));
    let twin = |n| {
        Box::new(OurNode {
            config: Arc::default(),
            secret: secret(n),
            lies: false,
        })
    };
    let taken = Access::numbered(one);
    let key = secret(0).public();
    assert_eq!(
        world.add(twin(0), Access::relayed()),
        Err(WorldError::DuplicateKey(zero, key))
    );
    let addr = taken.addr.unwrap();
    let duplicate = WorldError::DuplicateAddress(one, addr);
    assert_eq!(world.add(twin(5), taken), Err(duplicate.clone()));
    assert_eq!(world.set_access(zero, taken), Err(duplicate));
    assert_eq!(world.set_access(one, taken), Ok(()));
}
