//! Tests of lesson R8 of upstream's DHT, as far as it concerns records larger than an item.

use std::time::Duration;

use futures::future::{Either, join, join_all, select};
use skydht_core::item::{Salt, Value};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::large::Manifest;
use skydht_core::node::{GetRequest, PutOptions, ReadPolicy};
use skydht_driver::large::{self, ReadError};
use skydht_driver::testing::Testnet;
use skydht_driver::{Dht, TcpNode, Verifier};
use skydht_runtime::Runtime as _;
use skydht_runtime::virtual_time::{VirtualRuntime, VirtualTime};

const SALT: &str = "tp";
/// All transports of upstream's network, here on one edge: 1.1 MB.
const MANY: u32 = 4_615;

fn salt() -> Salt {
    Salt::from(SALT)
}

/// Returns bare transport entries, as many as upstream's largest edge could not hold: 250 bytes
/// each, all with the number of their version.
fn transports(version: u32, many: u32) -> Vec<u8> {
    let entries: Vec<String> = (0..many)
        .map(|n| {
            let entry = format!("{{\"v\":{version},\"id\":\"{n:08}\",\"label\":\"");
            format!("{entry:x<247}\"}}")
        })
        .collect();
    format!("[{}]", entries.join(",")).into_bytes()
}

async fn publish(writer: &Dht, bytes: &[u8]) {
    let mut chunks = bytes.chunks(65_536);
    let source = async || Ok(chunks.next().unwrap_or_default().to_vec());
    let (salt, options) = (salt(), PutOptions::default());
    let written = large::write(writer, writer.key(), &salt, &options, source);
    written.await.unwrap();
}

/// Returns what a reader gets that waits after each chunk; `None` if the record was replaced
/// meanwhile, as the error says.
async fn read(
    runtime: &VirtualRuntime,
    reader: &Dht,
    owner: PublicKey,
    pause: Duration,
) -> Option<Vec<u8>> {
    let request = GetRequest::of(owner, salt(), ReadPolicy::Freshest);
    let found = reader.get(request).await.unwrap();
    let manifest = Manifest::decode(found.item.value.as_bytes()).unwrap();
    let mut whole = Vec::new();
    let sink = async |bytes: &[u8]| {
        whole.extend_from_slice(bytes);
        runtime.sleep(pause).await;
        Ok(())
    };
    match large::read(reader, owner, &salt(), manifest.unwrap(), sink).await {
        Ok(_) => Some(whole),
        Err(ReadError::Replaced) => None,
        Err(error) => panic!("{error}"),
    }
}

fn configure(node: &mut TcpNode) {
    node.options.verifier = Verifier::inline();
    // Each node stores everything, although it is all of one publisher.
    node.config.limits.items_per_publisher = Default::default();
}

async fn network(runtime: VirtualRuntime, n: u8) -> Testnet {
    let mut next = 0;
    let entropy = move || {
        next += 1;
        Ok([next; 32])
    };
    let net = Testnet::start(runtime, usize::from(n), entropy, |_, node| configure(node));
    net.await.unwrap()
}

#[test]
fn r8_as_many_transports_as_upstream_has_on_one_edge_are_read_whole_while_they_are_rewritten() {
    let world = VirtualTime::new(8);
    let runtime = world.runtime();
    world
        .run_until(async {
            let net = network(runtime.clone(), 6).await;
            let [writer, others @ ..] = net.nodes() else {
                unreachable!()
            };
            let owner = writer.key();
            publish(writer, &transports(0, MANY)).await;
            let rewrite = async {
                // As fast as possible: with two slots for chunks, a slow reader meets the version
                // after the next.
                for version in 1..90 {
                    publish(writer, &transports(version, MANY)).await;
                }
            };
            let reads = async {
                let (mut whole, mut pauses) = (Vec::new(), 0);
                loop {
                    for reader in others {
                        let pause = Duration::from_millis(pauses % 7 * 40);
                        pauses += 1;
                        whole.extend(read(&runtime, reader, owner, pause).await);
                    }
                    if pauses > 110 {
                        return whole;
                    }
                }
            };
            let (mut rewrite, mut reads) = (Box::pin(rewrite), Box::pin(reads));
            let whole = match select(&mut rewrite, &mut reads).await {
                Either::Left(((), reads)) => reads.await,
                Either::Right((whole, rewrite)) => {
                    rewrite.await;
                    whole
                }
            };
            let mut versions = std::collections::BTreeSet::new();
            for bytes in &whole {
                // Every entry is there and of one version, in a complete array.
                let text = std::str::from_utf8(bytes).unwrap();
                let version = text[6..].split(',').next().unwrap();
                let version: u32 = version.parse().unwrap();
                assert!(*bytes == transports(version, MANY), "a mix");
                versions.insert(version);
            }
            assert!(versions.len() > 5, "{versions:?}");
            net.stop_all().await;
        })
        .unwrap();
}

#[test]
fn r8_what_shrinks_after_a_restart_leaves_no_ghosts() {
    let world = VirtualTime::new(9);
    let runtime = world.runtime();
    world
        .run_until(async {
            let net = network(runtime.clone(), 5).await;
            let others = net.nodes();
            let secret = SecretKey::from_entropy(&[99; 32]);
            let start = async |n: u8| {
                let listen = ([127, 0, 0, 1], 0).into();
                let mut node = TcpNode::new(secret.clone(), Some(listen));
                node.config.bootstrap = net.bootstrap(0).into_iter().collect();
                configure(&mut node);
                let node = node.start_on(runtime.clone(), move || Ok([n; 32]));
                let node = node.await.unwrap();
                node.ready().await.unwrap();
                node
            };
            let before = start(1).await;
            publish(&before, &transports(1, MANY)).await;
            publish(&before, &transports(2, MANY)).await;
            before.shutdown().await;
            let after = start(2).await;
            for version in 3..6 {
                publish(&after, &transports(version, 10)).await;
                let reads = others
                    .iter()
                    .map(|node| read(&runtime, node, after.key(), Duration::ZERO));
                for whole in join_all(reads).await {
                    assert_eq!(whole, Some(transports(version, 10)));
                }
            }
            // Chunks of the long versions in the two slots are deleted as the slots are reused.
            let left = |n: u32, slot: u32| {
                let salt = Salt::from(format!("{SALT}/{slot}/{n}").as_str());
                let request = GetRequest::of(after.key(), salt, ReadPolicy::Freshest);
                others[1].get(request)
            };
            for slot in 0..2 {
                assert!(left(0, slot).await.is_ok(), "slot {slot} is used");
                for n in 1..18 {
                    assert!(left(n, slot).await.is_err(), "{slot}/{n} is still there");
                }
            }
            let last = Value::new(b"");
            let put = after.put(salt(), last, PutOptions::default());
            join(put, net.stop_all()).await.0.ok();
        })
        .unwrap();
}
