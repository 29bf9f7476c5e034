//! Tests of why bootstrap peers are not reached, and of how old the knowledge of peers is.

use super::*;

#[test]
fn a_failed_dial_of_a_bootstrap_peer_has_a_cause_for_each_address() {
    run(async |world| {
        let _other = transport(world, 1, options(1)).await;
        let mut watching = options(2);
        watching.bootstrap = [key(3)].into();
        let node = transport(world, 2, watching).await;
        for peer in [3, 4] {
            let opened = node.open(key(peer), addrs(&[1, 9]), ReuseOrDial).await;
            assert!(opened.is_err());
        }
        let failures = node.dial_failures();
        let seen: Vec<_> = failures.iter().map(|it| (it.peer, it.addr)).collect();
        // Nothing is kept of peers that are not watched.
        assert_eq!(seen, [(key(3), Some(addr(1))), (key(3), Some(addr(9)))]);
        assert!(failures[0].cause.contains("another key"), "{failures:?}");
        assert!(failures[1].cause.contains("refused"), "{failures:?}");
        let there = transport(world, 3, options(3)).await;
        let opened = node.open(key(3), addrs(&[3]), ReuseOrDial).await;
        assert!(opened.is_ok());
        assert_eq!(node.dial_failures(), []);
        drop(there);
    });
}

#[test]
fn what_is_known_of_peers_is_as_old_as_it_is_now() {
    run(async |world| {
        let mut nodes = Vec::new();
        for n in 1..=2 {
            let mut node = TcpNode::new(secret(n), Some(addr(n)));
            if n == 2 {
                node.config.bootstrap = vec![BootstrapPeer {
                    key: key(1),
                    addrs: vec![addr(1)],
                }];
            }
            node.options.verifier = Verifier::inline();
            let started = node.start_on(world.host(ip(n)), || Ok([n; 32]));
            nodes.push(started.await.unwrap());
        }
        nodes[1].ready().await.unwrap();
        world.host(ip(9)).sleep(10 * SECOND).await;
        let mut before = nodes[1].peers().await.unwrap()[0].last_seen;
        // No input is needed within most of these steps.
        let mut grown = 0;
        for _ in 0..60 {
            world.host(ip(9)).sleep(SECOND).await;
            let now = nodes[1].peers().await.unwrap()[0].last_seen;
            let sign = nodes[1].snapshot().await.unwrap().last_sign_of_life;
            assert_eq!(sign, Some(now));
            grown += u32::from(now == before + SECOND);
            before = now;
        }
        assert!(grown >= 50, "{grown}");
    });
}

#[test]
fn a_bootstrap_peer_whose_address_comes_later_is_joined_by() {
    run(async |world| {
        let mut first = TcpNode::new(secret(1), Some(addr(1)));
        first.options.verifier = Verifier::inline();
        let starting = first.start_on(world.host(ip(1)), || Ok([1; 32]));
        let first = starting.await.unwrap();
        let mut late = TcpNode::new(secret(2), Some(addr(2)));
        late.config.bootstrap = vec![BootstrapPeer {
            key: key(1),
            addrs: Vec::new(),
        }];
        late.options.verifier = Verifier::inline();
        let starting = late.start_on(world.host(ip(2)), || Ok([2; 32]));
        let late = starting.await.unwrap();
        world.host(ip(9)).sleep(40 * SECOND).await;
        assert!(late.peers().await.unwrap().is_empty() && !late.is_ready());
        // A name resolved at last, at first to a wrong address.
        assert!(late.ping(key(1), Some(addr(7))).await.is_err());
        late.ping(key(1), Some(addr(1))).await.unwrap();
        let ready = std::pin::pin!(late.ready());
        let limit = world.host(ip(9)).sleep(5 * SECOND);
        assert!(matches!(select(ready, limit).await, Either::Left(_)));
        assert_eq!(late.snapshot().await.unwrap().peers_proven, 1);
        drop(first);
    });
}
