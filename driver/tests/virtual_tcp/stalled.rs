//! Tests of peers that do not take the data queued for them.

use super::*;

/// Sends endlessly over streams from host 1 to host 2, which reads none, and runs `then`.
fn sending(then: impl AsyncFnOnce(&VirtualTime, &Tcp, &Tcp)) {
    run(async |world| {
        let one = transport(world, 1, options(1)).await;
        let two = transport(world, 2, options(2)).await;
        let mut accepted = Vec::new();
        for _ in 0..20 {
            let (mut stream, _) = greet(&one, 2).await;
            accepted.push(accept(&two).await);
            world.host(ip(1)).spawn(Box::pin(async move {
                while stream.write_all(&[7; 10_000]).await.is_ok() {}
            }));
        }
        then(world, &one, &two).await;
    });
}

#[test]
fn a_peer_whose_socket_takes_nothing_is_given_up_and_its_memory_comes_back() {
    sending(async |world, one, _| {
        world.suspend(ip(2));
        let clock = world.host(ip(9));
        clock.sleep(5 * SECOND).await;
        let stats = one.stats();
        assert_eq!(stats.sessions, 1);
        assert!(stats.queued_bytes > 100_000, "{stats:?}");
        assert!(stats.queued_bytes < 400_000, "{stats:?}");
        // Keepalives alone take a minute and a half.
        clock.sleep(20 * SECOND).await;
        let stats = one.stats();
        assert_eq!((stats.sessions, stats.lost), (0, 1), "{stats:?}");
        assert_eq!(stats.queued_bytes, 0, "{stats:?}");
        world.resume(ip(2));
    });
}

#[test]
fn a_peer_that_leaves_its_streams_unread_costs_nothing_and_stays() {
    sending(async |world, one, two| {
        world.host(ip(9)).sleep(60 * SECOND).await;
        let stats = one.stats();
        assert_eq!((stats.sessions, stats.queued_bytes), (1, 0), "{stats:?}");
        let _ = greet(two, 1).await;
    });
}
