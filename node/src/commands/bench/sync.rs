//! `skydht bench sync`: the cost for two full nodes of finding and exchanging their differences.
//!
//! Two real nodes in this process, over TCP on loopback, load the same items from a storage in
//! memory. Then each loads some that the other lacks or has in an older version. These come as
//! changes of a shared storage, which nodes do not announce. Finally one node reconciles with the
//! other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use skydht_core::cap::Cap;
use skydht_core::id::Target;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{SecretKey, Signature};
use skydht_core::node::{BootstrapPeer, PeerSync, StoreChange};
use skydht_core::record::StoredRecord;
use skydht_core::time::{Unix, nanos};
use skydht_driver::Dht;
use skydht_driver::storage::{Durability, Kept, News, Page, Persistence, Storage, StorageError};
use skydht_tokio::TcpNode;

use super::provenance::Provenance;
use super::sockets::CountedRuntime;
use super::usage::own_cpu;
use crate::cli::{BenchSync, Common};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::output;
use crate::report::ms;
use crate::start::start_node_on;

/// Longest wait for any step; not reached on a working machine.
const DEADLINE: Duration = Duration::from_secs(600);
/// Interval between two checks of a node's progress.
const POLL: Duration = Duration::from_millis(20);
/// Maximum number of sessions until both nodes store the same items, including their address
/// adverts.
const MOST_SESSIONS: u32 = 100;

/// The report.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    items: u32,
    differences: u32,
    value_bytes: u32,
    /// Bytes on both nodes' sockets during the reconciliation, with encryption and framing.
    bytes: u64,
    /// The part of `bytes` that is the items themselves.
    item_bytes: u64,
    /// `bytes` minus `item_bytes`.
    beyond_bytes: u64,
    /// Bytes of the session's messages.
    message_bytes: u64,
    round_trips: u32,
    fetched: u64,
    given: u64,
    ms: f64,
    /// Processor time of both nodes.
    cpu_ms: f64,
    /// Bytes on the sockets for a session without differences.
    equal_bytes: u64,
    equal_message_bytes: u64,
    /// Whether both nodes stored the same items afterwards.
    converged: bool,
    #[serde(flatten)]
    provenance: Provenance,
}

/// Runs the benchmark and prints the report.
pub(super) async fn run(common: &Common, args: &BenchSync) -> Result<Exit> {
    let provenance = Provenance::new(common, args.seed)?;
    let items = Arc::new(Items::new(args));
    let runtime = CountedRuntime::default();
    let first = Source::new(&items);
    let second = Source::new(&items);
    let a = node(&runtime, 1, &first, None).await?;
    let b = node(&runtime, 2, &second, Some(a.as_bootstrap())).await?;
    for node in [&a, &b] {
        node.ready().await?;
        loaded(node, u64::from(args.items)).await?;
    }
    output::talk("both have read the same items");
    let (equal_bytes, equal) = equal(&runtime, &b, &a).await?;

    let (mut at_first, mut at_second) = (0, 0);
    for n in 0..args.differences {
        let (source, count) = match n % 2 {
            0 => (&first, &mut at_first),
            _ => (&second, &mut at_second),
        };
        // Alternates between an item that the other node lacks and a newer version of one that it
        // has.
        source.add(items.difference(n));
        *count += 1;
    }
    loaded(&a, u64::from(args.items) + at_first).await?;
    loaded(&b, u64::from(args.items) + at_second).await?;
    let (before, cpu, begun) = (runtime.counts().bytes, own_cpu(), Instant::now());
    let done = session(&b, &a).await?;
    let (elapsed, cpu) = (begun.elapsed(), own_cpu().saturating_sub(cpu));
    let bytes = runtime.counts().bytes - before;
    // The node admits items that it was given before it sends its last answer, and those that it
    // fetched before the session ends.
    let after = session(&b, &a).await?;
    let item_bytes = done.progress.item_bytes;
    let report = Report {
        schema: "skydht.bench-sync/1",
        items: args.items,
        differences: args.differences,
        value_bytes: args.value_bytes,
        bytes,
        item_bytes,
        beyond_bytes: bytes.saturating_sub(item_bytes),
        message_bytes: done.progress.bytes,
        round_trips: done.progress.rounds,
        fetched: done.progress.fetched,
        given: done.progress.given,
        ms: ms(elapsed),
        cpu_ms: ms(cpu),
        equal_bytes,
        equal_message_bytes: equal.progress.bytes,
        converged: is_equal(&after),
        provenance,
    };
    for node in [a, b] {
        node.shutdown().await;
    }
    print(common, &report)?;
    Ok(match report.converged {
        true => Exit::Ok,
        false => Exit::Partial,
    })
}

/// Starts a full node that loads its items from `source`.
async fn node(
    runtime: &CountedRuntime,
    n: u8,
    source: &Source,
    from: Option<BootstrapPeer>,
) -> Result<Dht> {
    let loopback = ([127, 0, 0, 1], 0).into();
    let mut node = TcpNode::new(SecretKey::from_entropy(&[n; 32]), Some(loopback));
    node.config.full_node = true;
    node.config.bootstrap.extend(from);
    // The store's limits are not measured.
    node.config.limits.items_per_publisher = Cap::UNLIMITED;
    node.config.limits.store_bytes = Cap::UNLIMITED;
    node.options.storage = Some(Persistence::new(source.clone(), Durability::Async));
    start_node_on(runtime.clone(), node).await
}

/// Waits until a node has loaded `count` records.
async fn loaded(node: &Dht, count: u64) -> Result<()> {
    let end = Instant::now() + DEADLINE;
    while node.storage_stats().await?.loaded < count {
        if Instant::now() > end {
            let text = format!("a node has not read {count} items in {DEADLINE:?}");
            return Err(Failure::new(Code::Timeout, text).hint("measure with fewer --items"));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Reconciles until a session finds no differences; returns the bytes of that session on the
/// sockets, and its result.
async fn equal(runtime: &CountedRuntime, node: &Dht, other: &Dht) -> Result<(u64, PeerSync)> {
    for _ in 0..MOST_SESSIONS {
        let before = runtime.counts().bytes;
        let done = session(node, other).await?;
        if is_equal(&done) {
            return Ok((runtime.counts().bytes - before, done));
        }
        tokio::time::sleep(POLL).await;
    }
    Err(Failure::new(
        Code::Partial,
        "both nodes read the same items and do not hold the same",
    ))
}

fn is_equal(done: &PeerSync) -> bool {
    let progress = &done.progress;
    (progress.rounds, progress.fetched, progress.given) == (1, 0, 0)
}

/// Runs one session.
async fn session(node: &Dht, other: &Dht) -> Result<PeerSync> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Code::PeerUnreachable, error);
    let done = node.sync(Some(other.key()), Some(DEADLINE)).await;
    let done = done.map_err(|error| failed(&error))?;
    let Some(done) = done.peers.first().copied() else {
        return Err(failed(&"no session"));
    };
    match done.result {
        Ok(()) => Ok(done),
        Err(error) => Err(failed(&error)),
    }
}

/// The items of both nodes, each under a salt of its own.
struct Items {
    secret: SecretKey,
    value: Vec<u8>,
    vouched: Unix,
    /// The items that both nodes have, by target.
    common: BTreeMap<Target, u32>,
}

impl Items {
    fn new(args: &BenchSync) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let secret = SecretKey::from_entropy(&[9; 32]);
        let key = secret.public();
        let target = |n: u32| (Target::of(&key, salt(n).as_bytes()), n);
        Self {
            value: vec![0x5a; args.value_bytes as usize],
            vouched: Unix(nanos(since.unwrap_or_default())),
            common: (0..args.items).map(target).collect(),
            secret,
        }
    }

    fn kept(&self, item: Item) -> Kept {
        let life = Duration::from_secs(7_200);
        Kept {
            record: StoredRecord {
                target: item.target(),
                item,
                vouched: self.vouched,
                expires: Some(self.vouched.plus(life)),
                bound: None,
            },
            proven: true,
        }
    }

    /// Returns an item that both nodes have. It is never sent, so that it needs no signature.
    fn shared(&self, n: u32) -> Kept {
        self.kept(Item {
            key: self.secret.public(),
            seq: Seq(1),
            signature: Signature::default(),
            value: Value::new(&self.value),
            salt: Salt::from(salt(n).as_str()),
        })
    }

    /// Returns a difference: of four in a row, two are new items and two are newer versions.
    fn difference(&self, n: u32) -> Kept {
        let count = u32::try_from(self.common.len()).unwrap_or(u32::MAX);
        let number = match n % 4 {
            0 | 1 => count + n,
            _ => n % count.max(1),
        };
        let (seq, value) = (Seq(2), Value::new(&self.value));
        let salt = Salt::from(salt(number).as_str());
        self.kept(Item::sign(&self.secret, seq, value, salt))
    }
}

fn salt(n: u32) -> String {
    format!("bench-{n}")
}

/// A storage in memory that a node only reads.
#[derive(Clone)]
struct Source {
    items: Arc<Items>,
    news: Arc<Mutex<Vec<Kept>>>,
}

impl Source {
    fn new(items: &Arc<Items>) -> Self {
        Self {
            items: Arc::clone(items),
            news: Arc::default(),
        }
    }

    fn news(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, kept: Kept) {
        self.news().push(kept);
    }
}

impl Storage for Source {
    fn kind(&self) -> &'static str {
        "bench"
    }

    fn page(&mut self, from: Target, most: usize) -> std::result::Result<Page, StorageError> {
        let mut rest = self.items.common.range(from..);
        let kept = rest.by_ref().take(most);
        Ok(Page {
            kept: kept.map(|(_, n)| self.items.shared(*n)).collect(),
            damaged: 0,
            next: rest.next().map(|(target, _)| *target),
        })
    }

    fn get(&mut self, target: &Target) -> std::result::Result<Option<Kept>, StorageError> {
        let found = self.items.common.get(target);
        Ok(found.map(|n| self.items.shared(*n)))
    }

    fn write(&mut self, _: &[StoreChange], _: bool) -> std::result::Result<(), StorageError> {
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn poll_every(&self) -> Option<Duration> {
        Some(POLL)
    }

    fn poll(&mut self) -> std::result::Result<News, StorageError> {
        let mut news = self.news();
        let some = news.len().min(256);
        Ok(News {
            kept: news.drain(..some).collect(),
            more: !news.is_empty(),
            ..News::default()
        })
    }
}

fn print(common: &Common, report: &Report) -> Result<()> {
    if common.json {
        return output::json(report);
    }
    output::line(format_args!(
        "{} items of {} bytes, {} differences: {} bytes, {} of them the items', {} beyond; {} round trips, {:.1} ms, {:.1} ms of processor time\nequal stores: {} bytes\n{}",
        output::count(report.items.into()),
        report.value_bytes,
        output::count(report.differences.into()),
        output::count(report.bytes),
        output::count(report.item_bytes),
        output::count(report.beyond_bytes),
        report.round_trips,
        report.ms,
        report.cpu_ms,
        output::count(report.equal_bytes),
        report.provenance
    ))
}
