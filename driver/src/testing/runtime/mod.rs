//! Conformance tests of runtimes, with real nodes on real sockets.

mod mute;
mod nodes;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::future::{join, join_all};
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use futures::stream::{FuturesUnordered, StreamExt as _};
use skydht_core::item::{Salt, Value};
use skydht_core::key::PublicKey;
use skydht_core::node::{GetError, GetOutcome, GetRequest, OperationError, PutOptions, ReadPolicy};
use skydht_runtime::{Listener as _, Runtime, within};

use crate::dht::{Dht, Stopped};
pub use nodes::Over;
use nodes::{Entropy, Nodes};

/// Timeout of a test, sufficient on any machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Maximum number of concurrent operations of the overloaded node.
const FEW: usize = 4;
/// Number of operations that it is asked for.
const MANY: usize = 64;

/// Conformance tests of a [`Runtime`], one method each; [`crate::runtime_conformance`] turns them
/// into `#[test]` functions. All run on loopback, wait for events, and end within a minute.
pub struct RuntimeSuite<R> {
    runtime: R,
    entropy: Entropy,
    over: Over,
}

/// Defines the tests of a runtime: `runtime_conformance!(block_on, runtime, entropy)`, where
/// `block_on` runs a future to completion on the runtime, and `entropy` returns 32 secret bytes.
#[macro_export]
macro_rules! runtime_conformance {
    ($block_on:path, $runtime:expr, $entropy:path) => {
        #[test]
        fn connections_and_sleep() {
            use $crate::testing::{Over, RuntimeSuite};
            $block_on(RuntimeSuite::new($runtime, $entropy, Over::Tcp).connections_and_sleep());
        }
        $crate::runtime_conformance!(@over tcp, Tcp, $block_on, $runtime, $entropy);
        $crate::runtime_conformance!(@over dmsg, Dmsg, $block_on, $runtime, $entropy);
    };
    (@over $module:ident, $over:ident, $block_on:path, $runtime:expr, $entropy:path) => {
        mod $module {
            use super::*;
            $crate::runtime_conformance!(@cases $over, $block_on, $runtime, $entropy:
                start put_and_get restart overload shutdown_in_mid_lookup);
        }
    };
    (@cases $over:ident, $block_on:path, $runtime:expr, $entropy:path: $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                use $crate::testing::{Over, RuntimeSuite};
                $block_on(RuntimeSuite::new($runtime, $entropy, Over::$over).$case());
            }
        )*
    };
}

impl<R: Runtime> RuntimeSuite<R> {
    /// Creates the tests of a runtime. `entropy` returns 32 secret bytes from the operating system.
    #[must_use]
    pub fn new(runtime: R, entropy: Entropy, over: Over) -> Self {
        Self {
            runtime,
            entropy,
            over,
        }
    }

    async fn nodes(&self) -> Nodes<R> {
        Nodes::new(self.runtime.clone(), self.entropy, self.over).await
    }

    async fn limited<T>(&self, check: impl Future<Output = T>) -> T {
        let done = within(&self.runtime, LIMIT, check).await;
        done.unwrap_or_else(|| panic!("not within {LIMIT:?}"))
    }

    /// Tests that connections carry bytes in both directions, that each direction ends separately,
    /// that a cancelled accept loses no connection, and that a sleep is long enough.
    ///
    /// # Panics
    /// With the violated rule.
    pub async fn connections_and_sleep(self) {
        self.limited(async {
            let runtime = &self.runtime;
            let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let listener = runtime.listen(loopback).await.expect("loopback is free");
            let addr = listener.local_addr();
            assert_ne!(addr.port(), 0, "the bound port is known");
            let given_up = within(runtime, Duration::from_millis(1), listener.accept()).await;
            assert!(given_up.is_none(), "no peer has connected");
            let connected = join(runtime.connect(addr), listener.accept()).await;
            let mut near = connected.0.expect("a listener is there");
            let (mut far, _) = connected.1.expect("a peer connects");
            let bytes = vec![7; 1_000_000];
            let question = async {
                near.write_all(&bytes).await.expect("far is there");
                near.close().await.expect("near is open");
            };
            let mut got = Vec::new();
            let (read, ()) = join(far.read_to_end(&mut got), question).await;
            read.expect("a closed direction ends in order");
            assert!(got == bytes, "bytes arrive whole");
            far.write_all(b"answer").await.expect("near still reads");
            far.close().await.expect("far is open");
            let mut got = Vec::new();
            near.read_to_end(&mut got).await.expect("far has finished");
            assert_eq!(got, b"answer", "directions end apart");
            drop((near, far, listener));
            assert!(runtime.connect(addr).await.is_err(), "no listener is left");

            let begun = runtime.clocks().monotonic;
            let rest = Duration::from_millis(20);
            runtime.sleep(rest).await;
            assert!(runtime.clocks().monotonic - begun >= rest, "slept enough");
        })
        .await;
    }

    /// Tests that nodes start, know each other, and stop.
    ///
    /// # Panics
    /// With the violated rule.
    pub async fn start(self) {
        self.limited(async {
            let nodes = self.nodes().await;
            let (first, second) = nodes.two().await;
            assert_eq!(second.local_addr().is_some(), self.over == Over::Tcp);
            let peers = second.peers().await.expect("it runs");
            let known: Vec<_> = peers.iter().map(|peer| peer.key).collect();
            assert_eq!(known, [first.key()], "it knows where it started from");
            second.shutdown().await;
            assert_eq!(second.peers().await.err(), Some(Stopped));
            first.shutdown().await;
        })
        .await;
    }

    /// Tests that all nodes read what one publishes, and the newer version after an update.
    ///
    /// # Panics
    /// With the violated rule.
    pub async fn put_and_get(self) {
        self.limited(async {
            let nodes = self.nodes().await;
            let (first, second) = nodes.two().await;
            for value in ["one", "two"] {
                for writer in [&first, &second] {
                    put(writer, value).await;
                    for reader in [&first, &second] {
                        assert_eq!(get(reader, writer.key()).await, value);
                    }
                }
            }
        })
        .await;
    }

    /// Tests that a node can restart with its key and address: the others have kept its item and
    /// accept a newer one.
    ///
    /// # Panics
    /// With the violated rule.
    pub async fn restart(self) {
        self.limited(async {
            let nodes = self.nodes().await;
            let (first, second) = nodes.two().await;
            put(&second, "before").await;
            let (key, addr) = (second.key(), second.local_addr());
            second.shutdown().await;
            assert_eq!(get(&first, key).await, "before");
            let from = nodes::peer(first.key(), first.local_addr());
            let second = nodes.start(1, addr, |config| config.bootstrap = vec![from]);
            let second = second.await;
            assert_eq!((second.key(), second.local_addr()), (key, addr));
            second.ready().await.expect("it finds the others again");
            assert_eq!(get(&second, key).await, "before");
            put(&second, "after").await;
            assert_eq!(get(&first, key).await, "after");
        })
        .await;
    }

    /// Tests that an overloaded node immediately reports it and continues.
    ///
    /// # Panics
    /// With the violated rule.
    pub async fn overload(self) {
        self.limited(async {
            let nodes = self.nodes().await;
            let mute = nodes.mute().await;
            let node = nodes.starting_from(&mute, |config| config.limits.operations = FEW);
            let node = node.await;
            // The running operations wait for a peer that does not answer.
            let gets = (0..MANY).map(|_| node.get(request(mute.key)));
            let mut gets: FuturesUnordered<_> = gets.collect();
            for _ in FEW..MANY {
                let refused = gets.next().await.and_then(Result::err);
                let busy = GetError::Operation(OperationError::Busy(FEW));
                assert_eq!(refused, Some(busy));
            }
            drop(gets);
            let pong = node.ping(mute.key, mute.addr).await;
            assert!(pong.is_ok(), "there is room again: {pong:?}");
            node.shutdown().await;
        })
        .await;
    }

    /// Tests that a node that shuts down during lookups ends every operation with the reason.
    ///
    /// # Panics
    /// With the violated rule.
    pub async fn shutdown_in_mid_lookup(self) {
        self.limited(async {
            let nodes = self.nodes().await;
            let mut mute = nodes.mute().await;
            let node = nodes.starting_from(&mute, |_| ()).await;
            let key = mute.key;
            let shutdown = async {
                mute.item_requested().await;
                node.shutdown().await;
            };
            let gets = join_all((0..8).map(|_| node.get(request(key))));
            let (gets, ()) = join(gets, shutdown).await;
            for get in gets {
                let ended = GetError::Operation(OperationError::ShuttingDown);
                assert_eq!(get.err(), Some(ended));
            }
            let late = node.get(request(key)).await;
            assert!(late.is_err(), "it has stopped");
        })
        .await;
    }
}

fn salt() -> Salt {
    Salt::from("runtime")
}

fn request(owner: PublicKey) -> GetRequest {
    GetRequest::of(owner, salt(), ReadPolicy::Freshest)
}

async fn put(writer: &Dht, value: &str) {
    let value = Value::new(value.as_bytes());
    let put = writer.put(salt(), value, PutOptions::default()).await;
    let put = put.expect("the others take it");
    assert_eq!(put.replicas.acknowledged(), 1);
}

async fn get(reader: &Dht, owner: PublicKey) -> String {
    let got: Result<GetOutcome, _> = reader.get(request(owner)).await;
    let got = got.expect("a node stores it");
    String::from_utf8_lossy(got.item.value.as_bytes()).into_owned()
}
