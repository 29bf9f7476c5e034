//! Handshakes with and without a post-quantum half: current clients and servers, those of 2024, and
//! those that require it.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_dmsg::client::ClientConfig;
use skydht_dmsg::handshake::Handshake;
use skydht_dmsg::hybrid::Hybrid;
use skydht_runtime::Runtime as _;

use crate::raw::{classical, fresh};
use crate::world::{PORT, World, at, ip, key, secret};

fn next(handshake: &mut Handshake) -> Vec<u8> {
    let mut message = Vec::new();
    handshake.write_message(&mut message).unwrap();
    [&(message.len() as u16).to_be_bytes(), &message[..]].concat()
}

/// Like those of 2024 and of June 2026: a peer that offers nothing gets an empty payload.
#[test]
fn an_offer_in_the_handshake_is_answered_and_no_offer_is_not() {
    let world = World::new();
    let server = world.server(1);
    for (n, ephemeral, second) in [(2, classical(2), 49), (3, fresh(3), 49 + 1088)] {
        let host = world.host(n);
        world.run(async {
            let mut tcp = host.connect(SocketAddr::new(ip(1), PORT)).await.unwrap();
            let mut handshake = Handshake::xk_initiator(&secret(n), &key(1), ephemeral).unwrap();
            tcp.write_all(&next(&mut handshake)).await.unwrap();
            let mut message = vec![0; 2 + second];
            tcp.read_exact(&mut message).await.unwrap();
            assert_eq!(message[..2], u16::try_from(second).unwrap().to_be_bytes());
            handshake.read_message(&message[2..]).unwrap();
            tcp.write_all(&next(&mut handshake)).await.unwrap();
            assert_eq!(handshake.finish().unwrap().is_hybrid, n == 3);
            // Keep it open until the server has counted both.
            world.host(n).sleep(Duration::from_secs(1)).await;
            let stats = server.hybrid_stats();
            assert_eq!(
                (stats.sessions, stats.hybrid_sessions),
                (1, usize::from(n == 3))
            );
        });
    }
}

/// Sessions and streams of current parties, of those of 2024, and of those that require the
/// post-quantum half.
#[test]
fn parties_are_hybrid_whenever_both_can_be() {
    let world = World::new();
    let server = world.server(1);
    let client = |n, hybrid| {
        let mut config = ClientConfig::default();
        config.hybrid = hybrid;
        world.client_with(n, config)
    };
    let (new, old) = (client(2, Hybrid::Offer), client(3, Hybrid::Never));
    let strict = client(4, Hybrid::Require);
    for client in [&new, &old, &strict] {
        world.echo(client.listen(7).unwrap());
    }
    assert_eq!(server.hybrid_stats().hybrid_sessions, 2);
    for (from, to, hybrid) in [
        (&new, 4, true),
        (&strict, 2, true),
        (&new, 3, false),
        (&old, 2, false),
    ] {
        let stream = world.dial(from, at(to, 7));
        assert_eq!(stream.is_hybrid(), hybrid, "to {to}");
    }
    for (from, to) in [(&strict, 3), (&old, 4)] {
        assert!(world.run(from.dial(at(to, 7))).is_err());
    }
    let stats = new.hybrid_stats();
    assert_eq!((stats.sessions, stats.hybrid_sessions), (1, 1));
    assert_eq!((stats.streams, stats.hybrid_streams), (4, 2));
}
