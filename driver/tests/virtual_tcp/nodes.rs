//! Tests of whole nodes over TCP, in virtual time.

use super::*;

async fn node(world: &VirtualTime, n: u8, configure: impl FnOnce(&mut Config)) -> Dht {
    let mut config = Config::default();
    config.advertise = Advertise::Port(4_000);
    if n > 1 {
        config.bootstrap = vec![BootstrapPeer {
            key: key(1),
            addrs: vec![addr(1)],
        }];
    }
    configure(&mut config);
    let mut tcp = options(n);
    tcp.max_streams = 1_024;
    Dht::start_with(
        world.host(ip(n)),
        transport(world, n, tcp).await,
        config,
        Identity::Keyed(secret(n)),
        Seed::from_number(u64::from(n)),
        StartOptions {
            verifier: Verifier::inline(),
            ..StartOptions::default()
        },
    )
    .unwrap()
}

#[test]
fn a_network_over_tcp_stores_reads_and_shuts_down() {
    let world = VirtualTime::new(5);
    world
        .run_until(async {
            let mut nodes = Vec::new();
            for n in 1..=25 {
                nodes.push(node(&world, n, |_| ()).await);
            }
            for node in &nodes {
                node.ready().await.unwrap();
            }
            let value = Value::new(&[7; 60_000]);
            let put = nodes[7].put(Salt::from("s"), value.clone(), PutOptions::default());
            assert_eq!(put.await.unwrap().replicas.acknowledged(), 20);
            let request = GetRequest::of(nodes[7].key(), Salt::from("s"), ReadPolicy::Freshest);
            let got = nodes[20].get(request).await.unwrap();
            assert_eq!(got.item.value, value);
            let pong = nodes[3].ping(key(9), Some(addr(9))).await.unwrap();
            assert_eq!(pong.path.remote.map(|addr| addr.ip()), Some(ip(9)));
            for node in &nodes {
                assert_eq!(node.driver_stats().await.unwrap().misuse, 0);
            }
            join_all(nodes.iter().map(Dht::shutdown)).await;
            assert!(
                nodes
                    .iter()
                    .all(|node| node.transport_stats().sessions == 0)
            );
        })
        .unwrap();
    world.advance(30 * SECOND).unwrap();
    assert_eq!(world.tasks(), 0);
}

/// Makes one call on a stream by hand.
async fn ask(stream: &mut Stream, from: u8, request: Request, keep: bool) -> io::Result<Frame> {
    let message = RequestMessage {
        sender: Sender::of(&key(from)),
        request,
        ext: keep.then(RequestExt::default),
    };
    stream.write_all(&encode_request(&message).unwrap()).await?;
    stream.flush().await?;
    let mut decoder = FrameDecoder::new(Side::Response);
    let mut buffer = [0; 4_096];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(frame) = decoder.push(&mut &buffer[..n]).unwrap() {
            return Ok(frame);
        }
    }
}

#[test]
fn a_thousand_streams_of_one_peer_are_answered() {
    run(async |world| {
        let node = node(world, 1, |config| {
            config.limits.streams_per_peer = 1_000;
            config.limits.serving_per_peer = 1_000;
        })
        .await;
        let mut many = options(2);
        many.max_streams = 1_000;
        let client = transport(world, 2, many).await;
        let exchanges = (0..1_000).map(|_| async {
            let (mut stream, _) = open(&client, 1).await.unwrap();
            for _ in 0..2 {
                let answer = ask(&mut stream, 2, Request::Ping, true).await.unwrap();
                decode_response(&answer).unwrap();
            }
        });
        join_all(exchanges).await;
        let snapshot = node.snapshot().await.unwrap();
        let served = skydht_core::node::Counter::RequestsServed;
        assert_eq!(snapshot.counters.get(served), 2_000);
        assert_eq!(client.stats().dials, 1);
    });
}

#[test]
fn a_slow_reader_holds_up_no_other() {
    run(async |world| {
        let node = node(world, 1, |_| ()).await;
        let local = PutOptions {
            local_only: true,
            ..PutOptions::default()
        };
        let value = Value::new(&[7; 60_000]);
        node.put(Salt::from("s"), value, local).await.unwrap();
        let target = skydht_core::id::Target::of(&key(1), b"s");
        let get = Request::GetValue { target };
        let slow = transport(world, 2, options(2)).await;
        // Asks for megabytes without reading any.
        let mut streams = Vec::new();
        for _ in 0..16 {
            let (mut stream, _) = open(&slow, 1).await.unwrap();
            let message = RequestMessage {
                sender: Sender::of(&key(2)),
                request: get.clone(),
                ext: Some(RequestExt::default()),
            };
            let frame = encode_request(&message).unwrap();
            for _ in 0..50 {
                stream.write_all(&frame).await.unwrap();
            }
            stream.flush().await.unwrap();
            streams.push(stream);
        }
        world.host(ip(9)).sleep(SECOND).await;
        let client = transport(world, 3, options(3)).await;
        let begun = world.now();
        let (mut stream, _) = open(&client, 1).await.unwrap();
        ask(&mut stream, 3, get, false).await.unwrap();
        assert!(world.now() - begun < 2 * SECOND);
        // The window lets three answers through on each stream; then the node waits.
        let served = skydht_core::node::Counter::RequestsServed;
        let counters = node.snapshot().await.unwrap().counters;
        assert!(counters.get(served) < 16 * 10, "{}", counters.get(served));
        // When the peer reads again, everything arrives.
        let mut decoder = FrameDecoder::new(Side::Response);
        let (mut answers, mut buffer) = (0, vec![0; 65_536]);
        while answers < 50 {
            let n = streams[0].read(&mut buffer).await.unwrap();
            assert_ne!(n, 0);
            let mut rest = &buffer[..n];
            while decoder.push(&mut rest).unwrap().is_some() {
                answers += 1;
            }
        }
    });
}
