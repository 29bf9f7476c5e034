//! Tests of the whole driver in virtual time, over the in-memory transport.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{join_all, join3, select};
use skydht_core::Seed;
use skydht_core::id::Target;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, SecretKey, Signature};
use skydht_core::large::Manifest;
use skydht_core::node::{
    Addrs, BootstrapPeer, Config, Deadline, GetError, GetRequest, Identity, Input, OpenFailure,
    OperationError, Output, Path, PingError, PutError, PutOptions, ReadPolicy, SessionUse,
    SyncError, SyncFailure,
};
use skydht_core::store::Filter;
use skydht_core::time::Time;
use skydht_driver::testing::{Pair, conformance};
use skydht_driver::transport::memory::{MemoryNetwork, MemoryTransport};
use skydht_driver::{
    Accepted, Dht, GetEvent, Recorder, StartError, StartOptions, Stopped, Transport, Verifier,
    large,
};
use skydht_runtime::virtual_time::VirtualTime;
use skydht_runtime::{BoxFuture, within};

fn secret(n: u64) -> SecretKey {
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_entropy(&entropy)
}

fn key(n: u64) -> PublicKey {
    secret(n).public()
}

/// A virtual time with a memory network.
struct Bench {
    world: VirtualTime,
    network: MemoryNetwork,
}

impl Bench {
    fn new(seed: u64) -> Self {
        Self {
            world: VirtualTime::new(seed),
            network: MemoryNetwork::new(),
        }
    }

    /// Starts node `n`, which bootstraps from node 0.
    fn node(&self, n: u64, recorder: Option<Box<dyn Recorder>>) -> Dht {
        let mut config = Config::default();
        if n > 0 {
            config.bootstrap = vec![BootstrapPeer {
                key: key(0),
                addrs: Vec::new(),
            }];
        }
        let options = StartOptions {
            verifier: Verifier::inline(),
            recorder,
            ..StartOptions::default()
        };
        Dht::start_with(
            self.world.runtime(),
            self.network.transport(key(n)),
            config,
            Identity::Keyed(secret(n)),
            Seed::from_number(n),
            options,
        )
        .unwrap()
    }

    /// Starts `n` nodes and waits until they are ready.
    fn nodes(&self, n: u64) -> Vec<Dht> {
        let nodes: Vec<_> = (0..n).map(|n| self.node(n, None)).collect();
        let ready = join_all(nodes.iter().map(Dht::ready));
        assert!(self.run(ready).iter().all(Result::is_ok));
        nodes
    }

    /// Runs until `future` completes; fails after a day.
    #[track_caller]
    fn run<F: Future>(&self, future: F) -> F::Output {
        let runtime = self.world.runtime();
        let limited = within(&runtime, Duration::from_secs(24 * 3600), future);
        let done = self.world.run_until(limited).expect("the world goes on");
        done.expect("not within a day")
    }
}

fn get(owner: u64, policy: ReadPolicy) -> GetRequest {
    GetRequest::of(key(owner), Salt::from("dmsg"), policy)
}

async fn put(node: &Dht, value: &[u8]) -> Result<skydht_core::node::PutOutcome, PutError> {
    node.put(Salt::from("dmsg"), Value::new(value), PutOptions::default())
        .await
}

#[test]
fn a_value_put_at_one_node_is_read_at_another() {
    let bench = Bench::new(1);
    let nodes = bench.nodes(30);
    bench.run(async {
        let stored = put(&nodes[3], b"hello").await.unwrap();
        assert_eq!(stored.replicas.acknowledged(), 20);
        let read = nodes[17].get(get(3, ReadPolicy::Freshest)).await.unwrap();
        assert_eq!(read.item.value.as_bytes(), b"hello");
        assert_eq!(read.item.seq, stored.seq);
        let found = nodes[5].find_node(key(9).id().into()).await.unwrap();
        assert_eq!(found.closest[0], key(9));
        let snapshot = nodes[5].snapshot().await.unwrap();
        assert_eq!(snapshot.peers, nodes[5].peers().await.unwrap().len());
        assert_eq!(nodes[5].driver_stats().await.unwrap().misuse, 0);
    });
}

#[test]
fn a_node_is_made_a_full_node_and_a_regular_one_again_through_its_handle() {
    let bench = Bench::new(1);
    let nodes = bench.nodes(3);
    bench.run(async {
        for full_node in [true, true, false] {
            nodes[1].set_full_node(full_node).await.unwrap();
            let snapshot = nodes[1].snapshot().await.unwrap();
            assert_eq!(snapshot.full_node, full_node);
        }
        nodes[1].shutdown().await;
        assert_eq!(nodes[1].set_full_node(true).await, Err(Stopped));
    });
}

#[test]
fn a_full_node_reconciles_when_it_is_asked_to_and_lists_what_it_holds() {
    let bench = Bench::new(1);
    let nodes = bench.nodes(4);
    bench.run(async {
        let refused = nodes[1].sync(None, None).await;
        assert_eq!(refused, Err(SyncError::NotFullNode));
        put(&nodes[0], b"value").await.unwrap();
        for node in [1, 2] {
            nodes[node].set_full_node(true).await.unwrap();
        }
        let synced = nodes[1].sync(Some(key(2)), None).await.unwrap();
        assert_eq!(synced.peers.len(), 1);
        assert_eq!(
            (synced.peers[0].peer, synced.peers[0].result),
            (key(2), Ok(()))
        );
        let other = nodes[1].sync(Some(key(3)), None).await.unwrap();
        assert_eq!(other.peers[0].result, Err(SyncFailure::NotFullNode));
        let filter = Filter {
            signer: Some(key(0)),
            ..Filter::default()
        };
        let page = nodes[2].list(filter, Target::default(), 9).await.unwrap();
        assert_eq!((page.items.len(), page.next), (1, None));
        assert_eq!(page.items[0].item.value.as_bytes(), b"value");
    });
}

#[test]
fn a_signed_item_of_another_key_can_be_put_and_a_forged_one_not() {
    let bench = Bench::new(1);
    let nodes = bench.nodes(5);
    let mut item = Item::sign(&secret(99), Seq(5), Value::new(b"x"), Salt::from("dmsg"));
    bench.run(async {
        let options = PutOptions::default();
        assert!(
            nodes[1]
                .put_signed(item.clone(), options.clone())
                .await
                .is_ok()
        );
        let read = nodes[2].get(get(99, ReadPolicy::FirstValid)).await.unwrap();
        assert_eq!(read.item.seq, Seq(5));
        item.seq = Seq(6);
        let forged = nodes[1].put_signed(item, options).await;
        assert!(matches!(forged, Err(PutError::Item(_))), "{forged:?}");
    });
}

#[test]
fn a_watched_get_shows_the_value_before_the_outcome() {
    let bench = Bench::new(1);
    let nodes = bench.nodes(30);
    bench.run(async {
        put(&nodes[3], b"hello").await.unwrap();
        let reader = bench.node(1_000, None);
        reader.ready().await.unwrap();
        let mut progress = reader
            .get_with_events(get(3, ReadPolicy::Freshest))
            .unwrap();
        let mut order = Vec::new();
        while let Some(event) = progress.next().await {
            match event {
                GetEvent::FirstValue { item, .. } => {
                    assert_eq!(item.value.as_bytes(), b"hello");
                    order.push("value");
                }
                GetEvent::Finished(result) => {
                    assert!(result.is_ok());
                    order.push("finished");
                }
                _ => {}
            }
        }
        assert_eq!(order, ["value", "finished"]);
    });
}

#[test]
fn no_peers_is_distinguished_from_not_found() {
    let bench = Bench::new(1);
    let nodes = bench.nodes(3);
    let alone = bench.node(0, None);
    bench.run(async {
        let nothing = nodes[1].get(get(77, ReadPolicy::Freshest)).await;
        assert!(matches!(nothing, Err(GetError::NotFound { .. })));
        let failure = alone.get(get(77, ReadPolicy::Freshest)).await;
        let no_peers = Err(GetError::Operation(OperationError::NoPeers));
        assert_eq!(failure, no_peers);
        let unreachable = nodes[1].ping(key(55), None).await;
        let expected = Err(PingError::Open(OpenFailure::Unreachable));
        assert_eq!(unreachable, expected);
        assert!(nodes[1].ping(key(2), None).await.is_ok());
    });
}

/// Records inputs and outputs as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Recorder for Log {
    fn input(&mut self, now: Time, input: &Input<'_>) {
        self.0.lock().unwrap().push(format!("{now:?} in {input:?}"));
    }
    fn output(&mut self, output: &Output) {
        self.0.lock().unwrap().push(format!("out {output:?}"));
    }
    fn drained(&mut self, deadline: Option<Deadline>, _: Vec<Signature>) {
        self.0.lock().unwrap().push(format!("until {deadline:?}"));
    }
}

impl Log {
    fn count(&self, what: &str) -> usize {
        let log = self.0.lock().unwrap();
        log.iter().filter(|line| line.contains(what)).count()
    }
}

#[test]
fn a_dropped_future_cancels_its_operation() {
    let bench = Bench::new(1);
    let log = Log::default();
    // Nothing accepts streams at node 0's key, so that the operation cannot end by itself.
    let _silent = bench.network.transport(key(0));
    let node = bench.node(1, Some(Box::new(log.clone())));
    bench.run(async {
        let request = get(3, ReadPolicy::Freshest);
        let sleep =
            skydht_runtime::Runtime::sleep(&bench.world.runtime(), Duration::from_millis(10));
        let _ = select(Box::pin(node.get(request)), sleep).await;
        node.snapshot().await.unwrap();
    });
    assert_eq!(log.count("in Cancel"), 1);
    assert_eq!(log.count("Err(Operation(Cancelled))"), 1);
    // An operation that has ended is not cancelled.
    bench.run(node.ping(key(55), None)).unwrap_err();
    bench.run(node.snapshot()).unwrap();
    assert_eq!(log.count("in Cancel"), 1);
}

#[test]
fn a_shutdown_ends_operations_streams_and_tasks() {
    let bench = Bench::new(1);
    let nodes = bench.nodes(10);
    let silent = bench.network.transport(key(50));
    bench.run(async {
        let node = &nodes[4];
        let mut events = node.events();
        let ping = async { node.ping(key(50), None).await };
        let (ended, ()) = futures::join!(ping, node.shutdown());
        let expected = Err(PingError::Operation(OperationError::ShuttingDown));
        assert_eq!(ended, expected);
        while let Some(event) = events.next().await {
            event.unwrap();
        }
        assert_eq!(node.snapshot().await, Err(Stopped));
        assert_eq!(node.ready().await, Err(Stopped));
        assert_eq!(
            put(node, b"x").await,
            Err(OperationError::ShuttingDown.into())
        );
        assert!(node.events().next().await.is_none());
        node.shutdown().await;
        // Other nodes notice.
        let gone = nodes[5].ping(key(4), None).await;
        assert!(matches!(gone, Err(PingError::Open(_))), "{gone:?}");
        join_all(nodes.iter().map(Dht::shutdown)).await;
    });
    drop(silent);
    assert_eq!(bench.world.tasks(), 0);
}

#[test]
fn the_last_handle_stops_the_node() {
    let bench = Bench::new(1);
    let node = bench.node(0, None);
    let other = node.clone();
    drop(node);
    bench.run(other.snapshot()).unwrap();
    drop(other);
    bench.world.advance(Duration::from_secs(1)).unwrap();
    assert_eq!(bench.world.tasks(), 0);
}

#[test]
fn a_call_on_a_lost_session_is_repeated_or_fails() {
    let bench = Bench::new(1);
    let nodes = bench.nodes(30);
    bench.run(async {
        put(&nodes[3], b"hello").await.unwrap();
        for n in 0..10 {
            let read = nodes[20].get(get(3, ReadPolicy::Freshest));
            let lose = async {
                bench.network.disconnect(&key(n));
                bench.network.disconnect(&key(20));
            };
            let (read, ()) = futures::join!(read, lose);
            assert_eq!(read.unwrap().item.value.as_bytes(), b"hello");
        }
    });
}

#[test]
fn a_run_is_a_function_of_its_seeds() {
    let run = || {
        let bench = Bench::new(1);
        let log = Log::default();
        let nodes = bench.nodes(20);
        let watched = bench.node(100, Some(Box::new(log.clone())));
        bench.run(async {
            watched.ready().await.unwrap();
            put(&nodes[3], b"hello").await.unwrap();
            watched.get(get(3, ReadPolicy::Freshest)).await.unwrap();
        });
        bench.world.advance(Duration::from_secs(3600)).unwrap();
        std::mem::take(&mut *log.0.lock().unwrap())
    };
    let (one, two) = (run(), run());
    assert!(one.len() > 1_000);
    assert!(one == two);
}

#[test]
fn a_transport_with_another_key_is_refused() {
    let bench = Bench::new(1);
    let started = Dht::start(
        bench.world.runtime(),
        bench.network.transport(key(1)),
        Config::default(),
        Identity::Keyed(secret(2)),
        Seed::from_number(1),
    );
    let expected = StartError::OtherKey {
        transport: key(1),
        node: key(2),
    };
    assert_eq!(started.err(), Some(expected));
}

#[test]
fn the_memory_transport_conforms() {
    let network = MemoryNetwork::new();
    let pair = Pair {
        near: network.transport(key(1)),
        far: network.transport(key(2)),
        far_addrs: Default::default(),
        absent: (key(3), Default::default()),
    };
    VirtualTime::new(1).run_until(conformance(pair)).unwrap();
}

/// A transport with one connection per stream, so that nothing can carry a stream back.
struct ConnectionEach(MemoryTransport, bool);

impl Transport for ConnectionEach {
    type Stream = <MemoryTransport as Transport>::Stream;

    fn local_key(&self) -> PublicKey {
        self.0.local_key()
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }

    fn open(
        &self,
        peer: PublicKey,
        addrs: Addrs,
        session: SessionUse,
    ) -> BoxFuture<'static, Result<(Self::Stream, Path), OpenFailure>> {
        match self.1 {
            true => self.0.open(peer, addrs, session),
            false => Box::pin(std::future::ready(Err(OpenFailure::NoAddress))),
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<Accepted<Self::Stream>>> {
        self.0.poll_accept(cx)
    }

    fn probe(
        &self,
        peer: PublicKey,
        addr: SocketAddr,
    ) -> BoxFuture<'static, Result<(), OpenFailure>> {
        self.0.probe(peer, addr)
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.0.close()
    }
}

#[test]
#[should_panic(expected = "an accepted session carries streams back")]
fn a_transport_that_carries_no_stream_back_does_not_conform() {
    let network = MemoryNetwork::new();
    let pair = Pair {
        near: ConnectionEach(network.transport(key(1)), true),
        far: ConnectionEach(network.transport(key(2)), false),
        far_addrs: Default::default(),
        absent: (key(3), Default::default()),
    };
    VirtualTime::new(1).run_until(conformance(pair)).unwrap();
}

#[test]
fn a_closed_transport_opens_nothing() {
    let network = MemoryNetwork::new();
    let (one, two) = (network.transport(key(1)), network.transport(key(2)));
    futures::executor::block_on(async {
        use skydht_core::node::SessionUse::ReuseOrDial;
        let open = |peer| one.open(peer, Default::default(), ReuseOrDial);
        assert!(open(key(2)).await.is_ok());
        two.close().await;
        assert_eq!(open(key(2)).await.err(), Some(OpenFailure::Unreachable));
        one.close().await;
        assert_eq!(open(key(2)).await.err(), Some(OpenFailure::Closing));
    });
}

/// A writer that stops at any point, with chunks and manifest in transit, between readers that
/// continue: each reads one version or the other, complete, or gets an error.
#[test]
fn a_large_record_that_is_replaced_under_failures_is_never_a_mix() {
    let version = |n: u8| vec![n; 5 * 65_536 + 3];
    let salt = || Salt::from("film");
    let (mut old, mut new, mut failed) = (0, 0, 0);
    for round in 0..24 {
        let bench = Bench::new(round);
        let nodes = bench.nodes(6);
        let (writer, reader) = (&nodes[1], &nodes[2]);
        let put = async |n: u8| {
            let bytes = version(n);
            let mut chunks = bytes.chunks(65_536);
            let source = async || Ok(chunks.next().unwrap_or_default().to_vec());
            let options = PutOptions::default();
            large::write(writer, key(1), &salt(), &options, source).await
        };
        assert_eq!(bench.run(put(1)).unwrap().chunks, 6);
        let stop = async {
            // Stop during the replacement, which takes no time here; another node stops, too.
            let mut left = 1_u32 << (round / 2);
            std::future::poll_fn(|cx| {
                left -= 1;
                cx.waker().wake_by_ref();
                if left == 0 {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            join_all([writer.shutdown(), nodes[5].shutdown()]).await;
        };
        let mut seen = Vec::new();
        let read = async |seen: &mut Vec<Vec<u8>>| {
            let request = GetRequest::of(key(1), salt(), ReadPolicy::Freshest);
            let Ok(found) = reader.get(request).await else {
                return false;
            };
            let manifest = Manifest::decode(found.item.value.as_bytes())
                .unwrap()
                .unwrap();
            let mut whole = Vec::new();
            let sink = async |bytes: &[u8]| {
                whole.extend_from_slice(bytes);
                Ok(())
            };
            let read = large::read(reader, key(1), &salt(), manifest, sink).await;
            let is_whole = read.is_ok();
            if is_whole {
                seen.push(whole);
            }
            is_whole
        };
        let readers = async {
            for _ in 0..4 {
                failed += u32::from(!read(&mut seen).await);
            }
        };
        // An error means that the writer was stopped first.
        let _ = bench.run(join3(put(2), stop, readers));
        failed += u32::from(!bench.run(read(&mut seen)));
        for whole in &seen {
            assert!(
                *whole == version(1) || *whole == version(2),
                "round {round}"
            );
        }
        match seen.last() {
            Some(last) if *last == version(2) => new += 1,
            Some(_) => old += 1,
            None => {}
        }
    }
    assert!(old > 3 && new > 3, "{old} {new} {failed}");
}
