use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::join;
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use futures::task::noop_waker_ref;

use super::*;
use crate::virtual_time::VirtualTime;
use crate::{Listener as _, Runtime as _};

#[test]
fn bytes_arrive_in_order_through_a_small_buffer() {
    let (mut a, mut b) = pair(7, OnDrop::Finish);
    let sent: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let mut got = Vec::new();
    block_on(join(
        async {
            a.write_all(&sent).await.unwrap();
            a.close().await.unwrap();
        },
        async { b.read_to_end(&mut got).await.unwrap() },
    ));
    assert_eq!(got, sent);
}

#[test]
fn a_full_buffer_holds_the_writer_back() {
    let (mut a, mut b) = pair(4, OnDrop::Finish);
    let mut cx = Context::from_waker(noop_waker_ref());
    let poll = Pin::new(&mut a).poll_write(&mut cx, b"abcdef");
    assert!(matches!(poll, Poll::Ready(Ok(4))));
    assert!(Pin::new(&mut a).poll_write(&mut cx, b"ef").is_pending());
    block_on(b.read_exact(&mut [0; 3])).unwrap();
    let poll = Pin::new(&mut a).poll_write(&mut cx, b"efgh");
    assert!(matches!(poll, Poll::Ready(Ok(3))));
    block_on(b.read_exact(&mut [0; 2])).unwrap();
    let poll = Pin::new(&mut a).poll_write(&mut cx, b"efgh");
    assert!(matches!(poll, Poll::Ready(Ok(2))));
}

#[test]
fn a_dropped_end_finishes_or_resets_after_its_bytes() {
    for (on_drop, expected) in [
        (OnDrop::Finish, Ok(0)),
        (OnDrop::Reset, Err(io::ErrorKind::ConnectionReset)),
    ] {
        let (mut a, mut b) = pair(16, on_drop);
        block_on(a.write_all(b"last")).unwrap();
        drop(a);
        let mut buf = [0; 16];
        assert_eq!(block_on(b.read(&mut buf)).unwrap(), 4);
        assert_eq!(block_on(b.read(&mut buf)).map_err(|e| e.kind()), expected);
        let write = block_on(b.write(b"x")).map_err(|e| e.kind());
        assert_eq!(write, Err(io::ErrorKind::BrokenPipe));
    }
}

#[test]
fn a_closed_direction_leaves_the_other_open() {
    let (mut a, mut b) = pair(16, OnDrop::Reset);
    block_on(async {
        a.close().await.unwrap();
        assert_eq!(b.read(&mut [0; 4]).await.unwrap(), 0);
        b.write_all(b"answer").await.unwrap();
        drop(b);
        let mut got = [0; 6];
        a.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"answer");
    });
}

#[test]
fn a_cut_loses_bytes_in_transit() {
    let (mut a, mut b) = pair(16, OnDrop::Finish);
    let cutter = a.cutter();
    block_on(a.write_all(b"lost")).unwrap();
    cutter.cut();
    for end in [&mut a, &mut b] {
        let read = block_on(end.read(&mut [0; 4])).map_err(|e| e.kind());
        assert_eq!(read, Err(io::ErrorKind::ConnectionReset));
    }
    drop((a, b));
    assert!(cutter.is_gone());
}

#[test]
fn a_hang_up_delivers_bytes_in_transit() {
    let (mut a, mut b) = pair(16, OnDrop::Finish);
    block_on(a.write_all(b"late")).unwrap();
    block_on(b.close()).unwrap();
    a.cutter().hang_up();
    assert_eq!(block_on(b.read_exact(&mut [0; 4])).ok(), Some(()));
    let read = block_on(b.read(&mut [0])).map_err(|e| e.kind());
    assert_eq!(read, Err(io::ErrorKind::ConnectionReset));
    assert_eq!(block_on(a.read(&mut [0])).unwrap(), 0);
    let write = block_on(a.write(b"x")).map_err(|e| e.kind());
    assert_eq!(write, Err(io::ErrorKind::BrokenPipe));
}

/// Runs `test` on a pipe with and without the delay of a network, in a world that stalls if a
/// waiter is not woken. The writer's end is the first.
fn in_worlds(test: impl AsyncFn(&VirtualTime, Pipe, Pipe)) {
    let world = VirtualTime::new(1);
    let (near, far) = pair(10, OnDrop::Finish);
    world.run_until(test(&world, near, far)).unwrap();

    let world = VirtualTime::new(1);
    let mut conditions = world.conditions();
    conditions.capacity = (10, 10);
    world.set_conditions(conditions);
    let runtime = world.runtime();
    let pipes = world.run_until(async {
        let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let listener = runtime.listen(loopback).await.unwrap();
        let (near, far) = join(runtime.connect(loopback), listener.accept()).await;
        (near.unwrap(), far.unwrap().0)
    });
    let (near, far) = pipes.unwrap();
    world.run_until(test(&world, near, far)).unwrap();
}

/// Spawns a task that fills the pipe and waits for room. Returns the receiver of its result.
fn filling(world: &VirtualTime, mut near: Pipe) -> oneshot::Receiver<io::Result<()>> {
    let (done, ended) = oneshot::channel();
    world.runtime().spawn(Box::pin(async move {
        let written = near.write_all(&[7; 1_000]).await;
        let closed = near.close().await;
        let _ = done.send(written.and(closed));
    }));
    ended
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn waiters_are_woken_when_a_full_pipe_is_drained() {
    in_worlds(async |world, near, mut far| {
        let writer = filling(world, near);
        world.runtime().sleep(SECOND).await;
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        assert_eq!(got.len(), 1_000);
        assert!(writer.await.unwrap().is_ok());
    });
}

#[test]
fn waiters_are_woken_when_the_other_end_of_a_full_pipe_is_dropped() {
    in_worlds(async |world, near, far| {
        let writer = filling(world, near);
        world.runtime().sleep(SECOND).await;
        drop(far);
        assert!(writer.await.unwrap().is_err());
    });
}

#[test]
fn waiters_are_woken_when_a_pipe_is_held_and_released_or_cut() {
    for cut in [false, true] {
        in_worlds(async |world, near, mut far| {
            let cutter = near.cutter();
            cutter.hold(true);
            let writer = filling(world, near);
            let (done, ended) = oneshot::channel();
            world.runtime().spawn(Box::pin(async move {
                let _ = done.send(far.read_to_end(&mut Vec::new()).await);
            }));
            world.runtime().sleep(SECOND).await;
            match cut {
                true => cutter.cut(),
                false => cutter.hold(false),
            }
            let (written, read) = join(writer, ended).await;
            assert_eq!(written.unwrap().is_err(), cut);
            assert_eq!(read.unwrap().is_err(), cut);
        });
    }
}
