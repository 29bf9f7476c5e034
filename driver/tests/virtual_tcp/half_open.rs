//! Tests of connections that never finish their handshake, with honest ones among them.

use super::*;

/// Connections opened in each interval, and the length of an interval: 1,500 a second.
const FLOOD: usize = 15;
const TURN: Duration = Duration::from_millis(10);
/// One-way latency; a round trip takes 80 ms.
const FAR: Duration = Duration::from_millis(40);
/// Number of peers that connect during the flood.
const NEWCOMERS: u8 = 36;

/// Returns a first handshake message to host 1, which can be sent repeatedly.
fn greeting() -> Vec<u8> {
    let ephemeral = Ephemeral::from_entropy(&[9; 32]);
    let mut handshake = Handshake::xk_initiator(&secret(99), &key(1), ephemeral).unwrap();
    let mut message = vec![0; 2];
    handshake.write_message(&mut message).unwrap();
    let len = u16::try_from(message.len() - 2).unwrap();
    message[..2].copy_from_slice(&len.to_be_bytes());
    message
}

/// Opens connections to host 1 until the end of the test, and keeps them as long as it can.
fn flood(host: VirtualRuntime, a_turn: usize, message: Vec<u8>) {
    let flooding = host.clone();
    host.spawn(Box::pin(async move {
        loop {
            for _ in 0..a_turn {
                let (host, message) = (flooding.clone(), message.clone());
                flooding.spawn(Box::pin(async move {
                    let Ok(mut connection) = host.connect(addr(1)).await else {
                        return;
                    };
                    if connection.write_all(&message).await.is_ok() {
                        let _ = connection.read_to_end(&mut Vec::new()).await;
                    }
                }));
            }
            flooding.sleep(TURN).await;
        }
    }));
}

/// Floods host 1 from these hosts while newcomers connect from `honest`. Returns the counters of
/// host 1.
fn flooded(from: &[u8], greets: bool, honest: u8, options: TcpOptions) -> TransportStats {
    let message = if greets { greeting() } else { Vec::new() };
    run(async |world| {
        world.set_latency(FAR, FAR);
        let one = transport(world, 1, options).await;
        for host in from {
            flood(world.host(ip(*host)), FLOOD / from.len(), message.clone());
        }
        let host = world.host(ip(honest));
        // The limit was reached long before.
        host.sleep(SECOND).await;
        let newcomers = join_all((0..NEWCOMERS).map(|n| {
            let host = host.clone();
            async move {
                host.sleep(u32::from(n) * 25 * SECOND / 1_000).await;
                let own = SecretKey::from_entropy(&[100 + n; 32]);
                let starting =
                    TcpTransport::start(host.clone(), own, [n; 32], TcpOptions::default());
                let newcomer = starting.await.unwrap();
                let _ = newcomer.open(key(1), addrs(&[1]), ReuseOrDial).await;
                newcomer
            }
        }));
        let _newcomers = newcomers.await;
        host.sleep(SECOND).await;
        one.stats()
    })
}

#[test]
fn half_open_connections_do_not_keep_newcomers_out() {
    for (from, greets, honest) in [
        // From the flood's own address, from another one, and from one of many that flood.
        (&[2][..], false, 2),
        (&[2], true, 2),
        (&[2], true, 3),
        (&[2, 3, 4], false, 9),
        (&[2, 3, 4, 5, 6], true, 9),
    ] {
        let stats = flooded(from, greets, honest, options(1));
        assert_eq!(
            stats.accepted,
            u64::from(NEWCOMERS),
            "{from:?} {greets}: {stats:?}"
        );
        assert!(stats.handshakes_dropped > 0, "{stats:?}");
        assert_eq!(stats.refused, 0, "{stats:?}");
    }
}

#[test]
fn half_open_connections_are_bounded_in_all_and_by_address() {
    let mut few = options(1);
    few.max_handshakes = 100;
    few.max_handshakes_per_address = 30;
    for (from, most) in [(&[2][..], 30), (&[2, 3], 60), (&[2, 3, 4, 5, 6], 100)] {
        let stats = flooded(from, false, 9, few.clone());
        assert_eq!(stats.handshaking, most, "{from:?}: {stats:?}");
        assert_eq!(stats.accepted, u64::from(NEWCOMERS), "{from:?}: {stats:?}");
    }
}
