//! Tests of peers that run no DHT.

use std::future::poll_fn;

use skydht_core::node::{Addrs, OpenFailure, Reach, SessionUse};
use skydht_driver::Transport as _;
use skydht_driver::transport::dmsg::DmsgOptions;

use crate::world::{World, key};

#[test]
fn they_are_left_alone_until_they_show_a_sign_of_one() {
    let world = World::new();
    world.run(async {
        let _server = world.server(1).await;
        let (near, far) = (world.client(11, &[1]).await, world.client(12, &[1]).await);
        let near = world.transport(11, &near, DmsgOptions::default());
        let open = || near.open(key(12), Addrs::new(), SessionUse::ReuseOrDial);
        assert_eq!(open().await.err(), Some(OpenFailure::Unreachable));
        assert_eq!((near.stats().without_dht, near.stats().avoided), (1, 0));
        let far = world.transport(12, &far, DmsgOptions::default());
        assert_eq!(open().await.err(), Some(OpenFailure::Unreachable));
        assert_eq!(near.stats().avoided, 1);
        let opened = far.open(key(11), Addrs::new(), SessionUse::ReuseOnly).await;
        assert_eq!(opened.unwrap().1.reach, Reach::Relayed);
        let accepted = poll_fn(|cx| near.poll_accept(cx)).await.unwrap();
        assert_eq!(accepted.peer, key(12));
        assert!(open().await.is_ok());
    });
}

#[test]
fn they_are_remembered_for_a_minute_and_bootstrap_peers_not_at_all() {
    let world = World::new();
    world.run(async {
        let _server = world.server(1).await;
        let near = world.client(11, &[1]).await;
        let far = [world.client(12, &[1]).await, world.client(13, &[1]).await];
        let mut options = DmsgOptions::default();
        options.bootstrap = [key(13)].into();
        let near = world.transport(11, &near, options);
        let open = |n| near.open(key(n), Addrs::new(), SessionUse::ReuseOrDial);
        for n in [12, 13] {
            assert_eq!(open(n).await.err(), Some(OpenFailure::Unreachable));
        }
        assert_eq!(near.stats().without_dht, 1);
        let [visor, bootstrap] = far;
        let _listening = [
            world.transport(12, &visor, DmsgOptions::default()),
            world.transport(13, &bootstrap, DmsgOptions::default()),
        ];
        assert!(open(13).await.is_ok());
        world.sleep(55).await;
        assert_eq!(open(12).await.err(), Some(OpenFailure::Unreachable));
        world.sleep(6).await;
        assert!(open(12).await.is_ok());
        assert_eq!((near.stats().without_dht, near.stats().avoided), (0, 1));
    });
}
