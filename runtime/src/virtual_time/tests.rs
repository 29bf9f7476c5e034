use std::sync::Mutex;
use std::task::Poll;

use futures::future::{join, join_all, pending};
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::Listener as _;

const SECOND: Duration = Duration::from_secs(1);

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn host(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, n).into()
}

#[test]
fn time_jumps_to_timers_in_order() {
    let world = VirtualTime::new(1);
    let runtime = world.runtime();
    let order = Arc::new(Mutex::new(Vec::new()));
    for (name, seconds) in [("c", 3), ("a1", 1), ("a2", 1), ("b", 2)] {
        let (order, sleep) = (Arc::clone(&order), runtime.sleep(SECOND * seconds));
        runtime.spawn(Box::pin(async move {
            sleep.await;
            order.lock().unwrap().push(name);
        }));
    }
    assert_eq!(world.tasks(), 4);
    world.advance(SECOND * 2).unwrap();
    assert_eq!(*order.lock().unwrap(), ["a1", "a2", "b"]);
    assert_eq!((world.now(), world.tasks()), (SECOND * 2, 1));
    world.run_until(runtime.sleep(SECOND)).unwrap();
    assert_eq!(
        (runtime.clocks().unix, world.tasks()),
        (EPOCH + SECOND * 3, 0)
    );
}

/// Returns to the executor once: wakes itself immediately and is ready at the second poll.
fn yield_once() -> impl Future<Output = ()> {
    let mut polled = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

#[test]
fn a_task_that_spins_is_an_error_but_not_one_that_lets_time_pass() {
    let world = VirtualTime::new(1);
    let runtime = world.runtime();
    let forever = async {
        loop {
            yield_once().await;
        }
    };
    assert_eq!(world.run_until::<_>(forever), Err::<(), _>(Stalled::Busy));
    let patient = async {
        for _ in 0..3 {
            for _ in 0..executor::MAX_POLLS_AT_ONE_MOMENT / 2 {
                yield_once().await;
            }
            runtime.sleep(SECOND).await;
        }
    };
    assert_eq!(world.run_until(patient), Ok(()));
}

#[test]
fn a_future_that_can_never_complete_is_an_error() {
    let world = VirtualTime::new(1);
    assert_eq!(world.run_until(pending::<()>()), Err(Stalled::Idle));
}

#[test]
fn a_dropped_sleep_leaves_no_timer() {
    let world = VirtualTime::new(1);
    let runtime = world.runtime();
    world
        .run_until(async {
            let mut long = runtime.sleep(SECOND * 1000);
            assert!(futures::poll!(&mut long).is_pending());
        })
        .unwrap();
    assert_eq!(world.run_until(pending::<()>()), Err(Stalled::Idle));
    assert_eq!(world.now(), Duration::ZERO);
}

#[test]
fn bytes_cross_the_network_with_its_latency() {
    let world = VirtualTime::new(1);
    world.set_latency(SECOND, SECOND);
    let (a, b) = (world.host(host(1)), world.host(host(2)));
    let seen = world
        .run_until(async {
            let listener = b.listen((Ipv4Addr::UNSPECIFIED, 80).into()).await.unwrap();
            let server = async {
                let (mut conn, from) = listener.accept().await.unwrap();
                assert_eq!((from.ip(), b.clocks().monotonic), (host(1), SECOND));
                let mut got = [0; 5];
                conn.read_exact(&mut got).await.unwrap();
                b.clocks().monotonic
            };
            let client = async {
                let mut conn = a.connect(listener.local_addr()).await.unwrap();
                assert_eq!(a.clocks().monotonic, SECOND * 2);
                conn.write_all(b"hello").await.unwrap();
                conn.close().await.unwrap();
                conn
            };
            join(server, client).await.0
        })
        .unwrap();
    assert_eq!(seen, SECOND * 3);
}

#[test]
fn connecting_fails_as_the_network_would() {
    let world = VirtualTime::new(1);
    let runtime = world.runtime();
    world.set_silent(host(9), true);
    let kinds = world.run_until(async {
        let refused = runtime.connect(local(1)).await;
        let silent = runtime.connect((host(9), 1).into()).await;
        let listener = runtime.listen(local(5)).await.unwrap();
        let taken = runtime.listen(local(5)).await;
        let foreign = runtime.listen((host(3), 5).into()).await;
        drop(listener);
        assert!(runtime.listen(local(5)).await.is_ok());
        [refused.err(), silent.err(), taken.err(), foreign.err()].map(|e| e.map(|e| e.kind()))
    });
    let expected = [
        io::ErrorKind::ConnectionRefused,
        io::ErrorKind::TimedOut,
        io::ErrorKind::AddrInUse,
        io::ErrorKind::AddrNotAvailable,
    ];
    assert_eq!(kinds, Ok(expected.map(Some)));
}

#[test]
fn a_listener_holds_at_most_its_backlog() {
    let world = VirtualTime::new(1);
    let runtime = world.runtime();
    let accepted = world.run_until(async {
        let listener = runtime.listen(local(0)).await.unwrap();
        let dials = (0..130).map(|_| runtime.connect(listener.local_addr()));
        let made = join_all(dials).await;
        made.iter().filter(|made| made.is_ok()).count()
    });
    assert_eq!(accepted, Ok(128));
}

#[test]
fn a_disconnected_host_loses_its_connections_and_no_others() {
    let world = VirtualTime::new(1);
    let server = world.host(host(1));
    let read = world.run_until(async {
        let listener = server.listen((host(1), 80).into()).await.unwrap();
        let connect = |n| world.host(host(n)).connect((host(1), 80).into());
        let mut two = connect(2).await.unwrap();
        let mut three = connect(3).await.unwrap();
        world.disconnect(host(2));
        three.write_all(b"x").await.unwrap();
        let _first = listener.accept().await.unwrap();
        let (mut there, _) = listener.accept().await.unwrap();
        there.read_exact(&mut [0]).await.unwrap();
        two.read(&mut [0]).await.map_err(|e| e.kind())
    });
    assert_eq!(read, Ok(Err(io::ErrorKind::ConnectionReset)));
    assert_eq!(world.network_stats().broken, 1);
}

#[test]
fn a_port_that_was_not_asked_for_is_a_free_one() {
    let world = VirtualTime::new(1);
    let runtime = world.runtime();
    let ports = world.run_until(async {
        let mut listeners = Vec::new();
        for _ in 0..3 {
            listeners.push(runtime.listen(local(0)).await.unwrap());
        }
        let ports = listeners.iter().map(|it| it.local_addr().port());
        ports.collect::<std::collections::BTreeSet<_>>()
    });
    assert_eq!(ports.unwrap().len(), 3);
}

#[test]
fn what_is_written_later_arrives_later_and_an_end_too() {
    let world = VirtualTime::new(1);
    world.set_latency(SECOND, SECOND);
    world
        .run_until(async {
            let (mut near, mut far) = connected(&world).await;
            let begun = world.now();
            let runtime = world.runtime();
            let writer = async {
                for byte in [b"a", b"b"] {
                    near.write_all(byte).await.unwrap();
                    runtime.sleep(SECOND / 2).await;
                }
                near.close().await.unwrap();
            };
            let reader = async {
                let mut read = Vec::new();
                loop {
                    let n = far.read(&mut [0; 8]).await.unwrap();
                    read.push((n, world.now() - begun));
                    if n == 0 {
                        return read;
                    }
                }
            };
            let read = join(writer, reader).await.1;
            assert_eq!(read, [(1, SECOND), (1, SECOND * 3 / 2), (0, SECOND * 2)]);
        })
        .unwrap();
}

#[test]
fn a_reader_is_woken_when_islands_are_joined_again() {
    let world = VirtualTime::new(1);
    let got = Arc::new(Mutex::new(None));
    world
        .run_until(async {
            let (mut near, mut far) = connected(&world).await;
            world.set_island(host(2), 1);
            near.write_all(b"x").await.unwrap();
            let (inside, own) = (Arc::clone(&got), world.host(host(2)));
            world.host(host(2)).spawn(Box::pin(async move {
                far.read_exact(&mut [0]).await.unwrap();
                *inside.lock().unwrap() = Some(own.clocks().monotonic);
            }));
            world.runtime().sleep(SECOND * 60).await;
            assert_eq!(*got.lock().unwrap(), None);
            world.set_island(host(2), 0);
            let back = world.now();
            world.runtime().sleep(SECOND).await;
            assert_eq!(*got.lock().unwrap(), Some(back));
        })
        .unwrap();
}

/// Returns what happened in a busy world, moment by moment.
fn trace(seed: u64) -> Vec<(Duration, usize, u8)> {
    let world = VirtualTime::new(seed);
    let runtime = world.runtime();
    let log = Arc::new(Mutex::new(Vec::new()));
    world
        .run_until(async {
            let listener = runtime.listen(local(7)).await.unwrap();
            let clients = (0..20u8).map(|n| {
                let runtime = runtime.clone();
                async move {
                    let mut conn = runtime.connect(local(7)).await.unwrap();
                    conn.write_all(&[n]).await.unwrap();
                    conn.read_exact(&mut [0]).await.unwrap();
                }
            });
            for client in clients {
                runtime.spawn(Box::pin(client));
            }
            for n in 0..20 {
                let (mut conn, _) = listener.accept().await.unwrap();
                let mut byte = [0];
                conn.read_exact(&mut byte).await.unwrap();
                conn.write_all(&byte).await.unwrap();
                log.lock().unwrap().push((world.now(), n, byte[0]));
            }
        })
        .unwrap();
    Arc::into_inner(log).unwrap().into_inner().unwrap()
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4));
}

#[test]
fn a_dropped_world_drops_its_tasks() {
    let world = VirtualTime::new(1);
    let runtime = world.runtime();
    let held = Arc::new(());
    let (inside, own) = (Arc::clone(&held), runtime.clone());
    runtime.spawn(Box::pin(async move {
        own.sleep(SECOND).await;
        drop(inside);
    }));
    world.advance(Duration::ZERO).unwrap();
    drop(world);
    assert_eq!(Arc::strong_count(&held), 1);
}

/// Opens a connection from host 1 to host 2 and returns both ends.
async fn connected(world: &VirtualTime) -> (Pipe, Pipe) {
    let listener = world.host(host(2)).listen((host(2), 80).into()).await;
    let listener = listener.unwrap();
    let near = world.host(host(1)).connect(listener.local_addr()).await;
    (near.unwrap(), listener.accept().await.unwrap().0)
}

#[test]
fn between_islands_bytes_wait_and_no_connection_is_made() {
    let world = VirtualTime::new(1);
    world
        .run_until(async {
            let (mut near, mut far) = connected(&world).await;
            near.write_all(b"a").await.unwrap();
            world.set_island(host(2), 7);
            near.write_all(b"b").await.unwrap();
            let mut got = [0; 2];
            let mut read = far.read(&mut got);
            world.runtime().sleep(SECOND * 60).await;
            assert!(futures::poll!(&mut read).is_pending());
            let refused = world.host(host(1)).connect((host(2), 80).into()).await;
            assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::TimedOut);
            world.set_island(host(1), 7);
            assert_eq!(read.await.unwrap(), 2);
            far.write_all(b"c").await.unwrap();
            near.read_exact(&mut [0]).await.unwrap();
        })
        .unwrap();
    assert_eq!(world.network_stats().lost, 1);
}

#[test]
fn a_writer_does_not_notice_an_end_on_another_island() {
    let world = VirtualTime::new(1);
    world
        .run_until(async {
            let (mut near, far) = connected(&world).await;
            world.set_island(host(2), 1);
            drop(far);
            near.write_all(b"x").await.unwrap();
            world.runtime().sleep(SECOND * 60).await;
            near.write_all(b"x").await.unwrap();
            assert_eq!(world.connections(), [[host(1), host(2)]]);
            world.set_island(host(2), 0);
            let written = near.write_all(b"x").await.map_err(|e| e.kind());
            assert_eq!(written, Err(io::ErrorKind::BrokenPipe));
        })
        .unwrap();
    assert!(world.connections().is_empty());
}

/// Spawns a task on host `n` that counts seconds. Returns the times at which it counted.
fn counting(world: &VirtualTime, n: u8) -> Arc<Mutex<Vec<Duration>>> {
    let runtime = world.host(host(n));
    let seconds = Arc::<Mutex<Vec<Duration>>>::default();
    let inside = Arc::clone(&seconds);
    let own = runtime.clone();
    runtime.spawn(Box::pin(async move {
        loop {
            own.sleep(SECOND).await;
            inside.lock().unwrap().push(own.clocks().monotonic);
        }
    }));
    seconds
}

#[test]
fn a_suspended_host_runs_no_task_and_then_sees_the_time_that_has_passed() {
    let world = VirtualTime::new(1);
    let (one, two) = (counting(&world, 1), counting(&world, 2));
    world.advance(SECOND * 2).unwrap();
    world.suspend(host(1));
    world.advance(SECOND * 10).unwrap();
    assert_eq!(
        (one.lock().unwrap().len(), two.lock().unwrap().len()),
        (2, 12)
    );
    let polls = [1, 2].map(|n| world.polls_of(host(n)));
    assert_eq!((polls, world.polls()), ([3, 13], 16));
    world.resume(host(1));
    world.advance(SECOND).unwrap();
    assert_eq!(one.lock().unwrap()[2..], [SECOND * 12, SECOND * 13]);
}

#[test]
fn a_crash_drops_the_tasks_of_one_host_also_when_it_is_suspended() {
    let world = VirtualTime::new(1);
    let all: Vec<_> = (1..=3).map(|n| counting(&world, n)).collect();
    world.advance(SECOND).unwrap();
    world.suspend(host(2));
    world.advance(SECOND).unwrap();
    world.crash(host(1));
    world.crash(host(2));
    assert_eq!([1, 2, 3].map(|n| world.tasks_of(host(n))), [0, 0, 1]);
    let again = counting(&world, 2);
    world.advance(SECOND).unwrap();
    let counts = |it: &Arc<Mutex<Vec<_>>>| (Arc::strong_count(it), it.lock().unwrap().len());
    assert_eq!(
        all.iter().map(counts).collect::<Vec<_>>(),
        [(1, 2), (1, 1), (2, 3)]
    );
    assert_eq!(counts(&again), (2, 1));
}

#[test]
fn stepping_a_clock_moves_only_the_wall_clock_of_one_host() {
    let world = VirtualTime::new(1);
    world.step_clock(host(1), SECOND * 100, true);
    world.step_clock(host(1), SECOND * 30, false);
    let clocks = |n| world.host(host(n)).clocks();
    assert_eq!(clocks(1).unix, EPOCH + SECOND * 70);
    assert_eq!(
        (clocks(1).monotonic, clocks(2).unix),
        (Duration::ZERO, EPOCH)
    );
    world.step_clock(host(1), Duration::MAX, false);
    assert_eq!(clocks(1).unix, Duration::ZERO);
}

#[test]
fn conditions_refuse_lose_delay_and_narrow() {
    let world = VirtualTime::new(1);
    let mut conditions = Conditions {
        latency: (SECOND, SECOND),
        jitter: SECOND,
        capacity: (3, 5),
        ..Conditions::default()
    };
    world.set_conditions(conditions);
    world.set_latency(SECOND, SECOND);
    assert_eq!(world.conditions(), conditions);
    world
        .run_until(async {
            let (mut near, mut far) = connected(&world).await;
            let begun = world.now();
            let wrote = near.write(b"123456").await.unwrap();
            assert!((3..=5).contains(&wrote));
            assert!(futures::poll!(near.write(b"x")).is_pending());
            far.read_exact(&mut [0; 3]).await.unwrap();
            let took = world.now() - begun;
            assert!(took > SECOND && took <= SECOND * 2, "{took:?}");
            let listener = world
                .host(host(3))
                .listen((host(3), 80).into())
                .await
                .unwrap();
            for (refused, lost, kind) in [
                (1_000_000, 0, io::ErrorKind::ConnectionRefused),
                (0, 1_000_000, io::ErrorKind::TimedOut),
            ] {
                (conditions.refused_ppm, conditions.lost_ppm) = (refused, lost);
                world.set_conditions(conditions);
                let failed = world.host(host(1)).connect(listener.local_addr()).await;
                assert_eq!(failed.err().unwrap().kind(), kind);
            }
        })
        .unwrap();
    let stats = world.network_stats();
    assert_eq!((stats.connected, stats.refused, stats.lost), (1, 1, 1));
    assert_eq!(stats.blocked, 1);
}

#[test]
fn an_end_takes_as_long_to_arrive_as_bytes() {
    let world = VirtualTime::new(1);
    world.set_latency(SECOND, SECOND);
    world
        .run_until(async {
            let (mut near, mut far) = connected(&world).await;
            far.write_all(b"last").await.unwrap();
            drop(far);
            near.write_all(b"unheard").await.unwrap();
            let begun = world.now();
            let mut rest = Vec::new();
            near.read_to_end(&mut rest).await.unwrap();
            assert_eq!((&rest[..], world.now() - begun), (&b"last"[..], SECOND));
            near.write_all(b"unheard").await.unwrap();
            world.runtime().sleep(SECOND).await;
            let written = near.write_all(b"x").await.map_err(|e| e.kind());
            assert_eq!(written, Err(io::ErrorKind::BrokenPipe));
        })
        .unwrap();
}
