//! Records the journals that `tests/replay.rs` replays, from real nodes on loopback TCP.
//!
//! ```sh
//! cargo run -p skydht-tests --example record_journals
//! ```
//!
//! `node.journal` is from a node that restarts with the items of an earlier run, serves peers, and
//! executes every kind of command. `client.journal` is from a node that serves nothing, reads,
//! writes and leaves.

#[path = "../tests/replay/kinds.rs"]
mod kinds;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, File};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use skydht_core::item::Origin;
use skydht_core::journal::Header;
use skydht_core::key::Signature;
use skydht_core::mark::{MarkChange, MarkKind, StoredMark};
use skydht_core::node::{Deadline, Input, Output, StoreChange};
use skydht_core::record::StoredRecord;
use skydht_core::time::Time;
use skydht_driver::Recorder;
use skydht_driver::journal::{FileRecorder, Written};
use skydht_driver::storage::{Durability, MemoryStorage, Persistence, Storage as _, StorageError};
use skydht_tokio::{
    BootstrapPeer, Dht, GetRequest, Item, PutOptions, ReadPolicy, Salt, SecretKey, Seed, Seq,
    Start as _, TcpNode, Value,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Longest wait for anything; not reached on a working machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Returns the key of node `n`, 1 to 9.
fn secret(n: u8) -> SecretKey {
    SecretKey::from_entropy(&[n; 32])
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// Returns a node that bootstraps from others.
fn node(n: u8, from: &[&Dht]) -> TcpNode {
    let mut node = TcpNode::new(secret(n), Some(loopback()));
    node.seed = Some(Seed([n; 32]));
    node.config.bootstrap = from
        .iter()
        .map(|peer| BootstrapPeer {
            key: peer.key(),
            addrs: peer.local_addr().into_iter().collect(),
        })
        .collect();
    node
}

/// Awaits `future`, with a timeout.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(DEADLINE, future)
        .await
        .map_err(|_| format!("{what} took too long").into())
}

/// Collects the records that a node persists, as storage would.
#[derive(Clone, Default)]
struct PersistedRecords(Arc<Mutex<Vec<StoredRecord>>>);

impl Recorder for PersistedRecords {
    fn input(&mut self, _: Time, _: &Input<'_>) {}
    fn output(&mut self, output: &Output) {
        if let Output::Persist {
            what: StoreChange::Keep(record),
            ..
        } = output
        {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.retain(|other| other.target != record.target);
            kept.push((**record).clone());
        }
    }
    fn drained(&mut self, _: Option<Deadline>, _: Vec<Signature>) {}
}

/// Writes a journal, and reports the kinds of inputs in it.
struct Watch {
    file: FileRecorder,
    seen: UnboundedSender<&'static str>,
}

impl Recorder for Watch {
    fn start(&mut self, header: Header) {
        self.file.start(header);
    }
    fn input(&mut self, now: Time, input: &Input<'_>) {
        // An error means that the receiver needs no more kinds.
        let _ = self.seen.unbounded_send(kinds::of_input(input));
        if let Input::Command { command, .. } = input {
            let _ = self.seen.unbounded_send(kinds::of_command(command));
        }
        self.file.input(now, input);
    }
    fn output(&mut self, output: &Output) {
        self.file.output(output);
    }
    fn drained(&mut self, deadline: Option<Deadline>, signed: Vec<Signature>) {
        self.file.drained(deadline, signed);
    }
}

/// A journal being written, and the kinds of inputs in it so far.
struct Recording {
    written: Written,
    seen: UnboundedReceiver<&'static str>,
    kinds: BTreeSet<&'static str>,
}

impl Recording {
    fn begin(name: &str, node: &mut TcpNode) -> Result<Self> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("journals");
        fs::create_dir_all(&dir)?;
        let file = File::create(dir.join(name))?;
        let (recorder, written) = FileRecorder::start(file, 1 << 20, |_| {})?;
        let (sender, seen) = unbounded();
        node.options.recorder = Some(Box::new(Watch {
            file: recorder,
            seen: sender,
        }));
        Ok(Self {
            written,
            seen,
            kinds: BTreeSet::new(),
        })
    }

    /// Waits until an input of this kind has been recorded.
    async fn saw(&mut self, kind: &'static str) -> Result<()> {
        let seeing = async {
            while !self.kinds.contains(kind) {
                match self.seen.next().await {
                    Some(kind) => self.kinds.insert(kind),
                    None => return Err(format!("the node ended before {kind:?}")),
                };
            }
            Ok(())
        };
        Ok(soon(kind, seeing).await??)
    }

    /// Waits until every kind of input and command has been recorded.
    async fn saw_all(&mut self) -> Result<()> {
        for kind in kinds::INPUTS.iter().chain(kinds::COMMANDS) {
            self.saw(kind).await?;
        }
        Ok(())
    }

    fn end(self, name: &str) -> Result<()> {
        let closed = self.written.wait()?;
        let end = closed.end?;
        println!(
            "{name}: {} steps, {} bytes, digest {}, {end:?}",
            closed.steps, closed.bytes, closed.digest
        );
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let bob = node(2, &[]).start().await?;
    let carol = node(3, &[&bob]).start().await?;
    soon("carol's start", carol.ready()).await??;
    record_node(&bob, &carol).await?;
    record_client(&bob, &carol).await?;
    for peer in [carol, bob] {
        soon("a shutdown", peer.shutdown()).await?;
    }
    Ok(())
}

/// Runs Alice without a journal; returns the records that she persisted.
async fn earlier_run(bob: &Dht, carol: &Dht) -> Result<Vec<StoredRecord>> {
    let keep = PersistedRecords::default();
    let mut alice = node(1, &[bob, carol]);
    alice.config.storage = true;
    alice.options.recorder = Some(Box::new(keep.clone()));
    let alice = alice.start().await?;
    soon("alice's first start", alice.ready()).await??;
    let options = PutOptions::default();
    for (peer, salt) in [(bob, "bob's"), (carol, "carol's")] {
        let value = Value::new(salt.as_bytes());
        soon("a put", peer.put(Salt::from(salt), value, options.clone())).await??;
    }
    soon("alice's first shutdown", alice.shutdown()).await?;
    let kept = keep
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    if kept.is_empty() {
        return Err("alice kept nothing".into());
    }
    Ok(kept)
}

async fn record_node(bob: &Dht, carol: &Dht) -> Result<()> {
    let name = "node.journal";
    let mut alice = node(1, &[bob]);
    // Nothing listens at the first address any more, and the second one never answers.
    let gone = std::net::TcpListener::bind(loopback())?.local_addr()?;
    let silent = std::net::TcpListener::bind(loopback())?;
    alice.config.storage = true;
    alice.config.bootstrap.push(BootstrapPeer {
        key: secret(8).public(),
        addrs: vec![gone],
    });
    alice.options.records = earlier_run(bob, carol).await?;
    let storage = MemoryStorage::default();
    let mut kept = storage.clone();
    kept.write_marks(&[MarkChange::Keep(StoredMark {
        target: secret(1).public().id().into(),
        kind: MarkKind::Own,
        origin: Origin::Owner,
        seq: Seq(1),
        expires: None,
        lasting: true,
    })])?;
    storage.set_failing(Some(StorageError::Unavailable("it is away".into())));
    alice.options.storage = Some(Persistence::new(storage.clone(), Durability::Async));
    let mut recording = Recording::begin(name, &mut alice)?;
    let alice = alice.start().await?;
    let read = GetRequest::of(alice.key(), Salt::from("greeting"), ReadPolicy::Local);
    if soon("a get", alice.get(read)).await?.is_ok() {
        return Err("found what was never put".into());
    }
    storage.set_failing(None);
    for kind in [
        "timer fired",
        "mark loaded",
        "loaded up to",
        "target loaded",
        "loaded",
        "verified",
        "stream opened",
        "stream failed",
    ] {
        recording.saw(kind).await?;
    }
    soon("alice's start", alice.ready()).await??;

    // A new node bootstraps from her.
    let dave = node(4, &[&alice]).start().await?;
    soon("dave's start", dave.ready()).await??;
    for kind in ["stream accepted", "bytes", "sent", "probed"] {
        recording.saw(kind).await?;
    }
    let (salt, options) = (Salt::from("greeting"), PutOptions::default());
    let put = alice.put(salt.clone(), Value::new(b"hello"), options.clone());
    soon("a put", put).await??;
    recording.saw("persisted").await?;
    let read = GetRequest::of(alice.key(), salt.clone(), ReadPolicy::Freshest);
    soon("dave's get", dave.get(read)).await??;
    // The item is updated, then deleted.
    for value in [&b"hello again"[..], b""] {
        let put = alice.put(salt.clone(), Value::new(value), options.clone());
        soon("a put", put).await??;
    }
    let foreign = Item::sign(
        &secret(9),
        Seq(1),
        Value::new(b"signed elsewhere"),
        Salt::from("x"),
    );
    soon("a signed put", alice.put_signed(foreign, options.clone())).await??;
    for policy in [
        ReadPolicy::Freshest,
        ReadPolicy::FirstValid,
        ReadPolicy::Quorum(2),
    ] {
        let read = GetRequest::of(carol.key(), Salt::from("carol's"), policy);
        soon("a get", alice.get(read.clone())).await??;
        soon("a watch", alice.next_version(read, None)).await??;
    }
    let nothing = GetRequest::of(carol.key(), Salt::from("nothing"), ReadPolicy::Freshest);
    if soon("a get", alice.get(nothing)).await?.is_ok() {
        return Err("found what was never put".into());
    }
    soon("a search", alice.find_node(secret(7).public().id().into())).await??;
    soon("a ping", alice.ping(dave.key(), None)).await??;

    // A ping that is not answered, and that its caller cancels.
    let ping = Box::pin(alice.ping(secret(7).public(), Some(silent.local_addr()?)));
    let snapshot = Box::pin(alice.snapshot());
    drop(futures::future::select(ping, snapshot).await);
    recording.saw("cancel").await?;

    // She is a full node for some time.
    for full_node in [true, false] {
        soon("a switch", alice.set_full_node(full_node)).await??;
        // Reconciliation fails with a regular node, and on one.
        let sync = soon("a sync", alice.sync(Some(bob.key()), None)).await?;
        if sync.is_ok() != full_node {
            return Err("a regular node reconciled".into());
        }
    }

    soon("dave's shutdown", dave.shutdown()).await?;
    recording.saw("stream closed").await?;
    soon("alice's shutdown", alice.shutdown()).await?;
    drop(alice);
    recording.saw_all().await?;
    recording.end(name)
}

async fn record_client(bob: &Dht, carol: &Dht) -> Result<()> {
    let name = "client.journal";
    let mut client = node(5, &[bob, carol]);
    client.tcp.listen = None;
    client.config.serve = false;
    let recording = Recording::begin(name, &mut client)?;
    let client = client.start().await?;
    soon("the client's start", client.ready()).await??;
    let read = GetRequest::of(bob.key(), Salt::from("bob's"), ReadPolicy::FirstValid);
    soon("a get", client.get(read)).await??;
    let options = PutOptions {
        min_replicas: 2,
        once: true,
        ..PutOptions::default()
    };
    let put = client.put(Salt::from("client's"), Value::new(&[7; 2_000]), options);
    soon("a put", put).await??;
    soon("the client's shutdown", client.shutdown()).await?;
    drop(client);
    recording.end(name)
}
