use std::sync::Mutex;

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
    world.advance(SECOND * 2).unwrap();
    assert_eq!(*order.lock().unwrap(), ["a1", "a2", "b"]);
    assert_eq!((world.now(), world.tasks()), (SECOND * 2, 1));
    world.run_until(runtime.sleep(SECOND)).unwrap();
    assert_eq!(runtime.clocks().unix, EPOCH + SECOND * 3);
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
}

/// What a busy world did, moment by moment.
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
