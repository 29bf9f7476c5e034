//! Hosts come, go, stand still, and keep what their disks hold.

use skydht_core::node::{Event, StoreChange};
use skydht_core::time::Unix;

use super::*;
use crate::network::Departure;

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
            change: StoreChange::Keep(_),
            durable: true,
            ..
        }
    )));
    let host = HostId(5);
    assert_eq!(world.records(host).count(), 1);
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
fn a_crash_before_the_write_loses_it_and_a_lost_write_never_arrives() {
    let mut config = WorldConfig::default();
    config.hosts.write = Spread::Fixed(SECOND * 100);
    let mut world = joined(1, 6, config, with_storage);
    put(&mut world, 3, "salt", b"1");
    pass(&mut world, SECOND);
    world.crash(HostId(5), Departure::Process).unwrap();
    world.start(HostId(5)).unwrap();
    pass(&mut world, SECOND * 200);
    assert_eq!(world.records(HostId(5)).count(), 0);
    assert_eq!(world.records(HostId(4)).count(), 1);

    world.faults_mut().write_lost = Rate::ALWAYS;
    world.faults_mut().write = Spread::Fixed(SECOND / 1000);
    world
        .command(HostId(3), put_command("other", b"1"))
        .unwrap();
    let seen = pass(&mut world, SECOND * 5);
    assert!(
        seen.iter()
            .any(|event| matches!(event, SimEvent::Stored { durable: false, .. }))
    );
    assert_eq!(world.records(HostId(4)).count(), 1);
    assert!(world.stats().writes_lost > 1);
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
    // The node's own sequences follow its wall clock.
    let outcome = put(&mut world, 2, "salt", b"1");
    assert!(Unix(outcome.seq.0) < right.unix.minus(SECOND * 80_000));
}

#[test]
fn what_cannot_be_is_refused() {
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
