//! Interoperability with the crate `yamux`.

use std::task::Poll;

use futures::future::poll_fn;

use super::*;

/// Answers our streams and makes calls over its own, until the session ends.
async fn other_side(io: End, mode: yamux::Mode, calls: usize, spawner: LocalSpawner) {
    let mut connection = yamux::Connection::new(io, yamux::Config::default(), mode);
    let mut opened = 0;
    poll_fn(|cx| {
        while opened < calls
            && let Poll::Ready(Ok(mut stream)) = connection.poll_new_outbound(cx)
        {
            opened += 1;
            let asking = async move {
                let request = vec![opened as u8; opened * 777];
                stream.write_all(&request).await.unwrap();
                stream.close().await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer, request);
            };
            spawner.spawn_local(asking).unwrap();
        }
        while let Poll::Ready(next) = connection.poll_next_inbound(cx) {
            let Some(Ok(mut stream)) = next else {
                return Poll::Ready(());
            };
            let answering = async move {
                let mut request = Vec::new();
                // The crate reports a reset as the end.
                if stream.read_to_end(&mut request).await.is_ok() {
                    let _ = stream.write_all(&request).await;
                    let _ = stream.close().await;
                }
            };
            spawner.spawn_local(answering).unwrap();
        }
        Poll::Pending
    })
    .await;
}

#[test]
fn another_implementation_understands_and_is_understood() {
    for (role, mode) in [
        (Role::Client, yamux::Mode::Server),
        (Role::Server, yamux::Mode::Client),
    ] {
        let mut pool = LocalPool::new();
        let spawner = pool.spawner();
        let (near, far) = pipe(10_000);
        let node = start(&spawner, near, role, &SessionConfig::default());
        let other = other_side(far, mode, 100, spawner.clone());
        spawner.spawn_local(other).unwrap();
        let echoing = echo(node.incoming, spawner.clone());
        spawner.spawn_local(echoing).unwrap();
        let session = &node.session;
        pool.run_until(join_all((0..100usize).map(|i| async move {
            // Some are larger than a window.
            let request = vec![i as u8; i * i * 60];
            assert_eq!(call(session, &request).await, request);
            // Drop a stream in the middle.
            let mut left = session.open().await.unwrap();
            left.write_all(b"nothing").await.unwrap();
        })));
        pool.run_until_stalled();
        assert!(!session.is_closed());
        let counters = session.counters();
        assert_eq!((counters.accepted, counters.refused), (100, 0));
        assert_eq!((counters.inbound, counters.outbound), (0, 0));
    }
}
