//! `skydht bench store`: how fast items are stored, read, expired, and loaded at start-up.
//!
//! Signatures are neither made nor checked: their cost does not depend on the storage.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use skydht_core::cap::Cap;
use skydht_core::id::{NodeId, Target};
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{SecretKey, Signature};
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;
use skydht_core::store::{Candidate, Store, StoreConfig};
use skydht_core::time::{Mono, Time, Unix, nanos};
use skydht_driver::storage::{FileStorage, RedisStorage, Storage, StorageError};

use super::provenance::Provenance;
use crate::cli::{BenchStore, Common, StoreBackend};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::measure::resident_bytes;
use crate::output;
use crate::report::ms;

/// Changes per write. Each write is durable before the next one, as in a busy node.
const BATCH: usize = 4_096;
/// Number of reads.
const GETS: usize = 100_000;
/// Records per page.
const PAGE: usize = 1_024;
/// Items expired in one step, as in the node.
const SWEEP_STEP: usize = 256;
/// Lifetime of the items, in Redis, too.
const TTL: Duration = Duration::from_secs(600);

/// The report.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    backend: &'static str,
    items: u32,
    value_bytes: u32,
    /// With the memory backend: puts into the core's store. Otherwise: writes to storage, in
    /// batches that are each durable before the next.
    puts_per_s: f64,
    /// Reads of random items, one after the other.
    gets_per_s: f64,
    /// Memory or disk space beyond the value's own bytes.
    bytes_per_item: Option<f64>,
    /// Expiry of all items, in steps of the node's size.
    sweep_ms: f64,
    /// The longest of these steps.
    sweep_step_ms: f64,
    /// Time to open storage and load all items into the core's store; `None` with the memory
    /// backend.
    reopen_ms: Option<f64>,
    /// Time to open storage and read one item.
    first_answer_ms: Option<f64>,
    #[serde(flatten)]
    provenance: Provenance,
}

/// Runs the benchmark and prints the report.
pub(super) fn run(common: &Common, args: &BenchStore) -> Result<Exit> {
    let provenance = Provenance::new(common, args.seed)?;
    let items = Items::new(args);
    let mut report = Report {
        schema: "skydht.bench-store/1",
        backend: args.backend.name(),
        items: args.items,
        value_bytes: args.value_bytes,
        puts_per_s: 0.0,
        gets_per_s: 0.0,
        bytes_per_item: None,
        sweep_ms: 0.0,
        sweep_step_ms: 0.0,
        reopen_ms: None,
        first_answer_ms: None,
        provenance,
    };
    let mut store = items.store();
    match args.backend {
        StoreBackend::Memory => in_memory(args, &items, &mut store, &mut report),
        StoreBackend::Redb => {
            let dir = TempDir::new()?;
            let path = dir.0.join("items.redb");
            let secret = SecretKey::from_entropy(&[1; 32]);
            let open = || {
                FileStorage::open(&path, &secret).map_err(|error| Failure::new(Code::Local, error))
            };
            in_storage(args, &items, &mut store, &mut report, open)?;
            let size = std::fs::metadata(&path).map(|it| it.len()).ok();
            report.bytes_per_item = size.map(|size| items.overhead(size));
        }
        StoreBackend::Redis => {
            let url = args.url.as_ref().ok_or_else(|| {
                Failure::new(Code::Usage, "it is not said which Redis")
                    .hint("name one with an empty database: --url redis://127.0.0.1:6379")
            })?;
            let url = url
                .parse()
                .map_err(|error| Failure::new(Code::Usage, error))?;
            let open = || {
                let storage = RedisStorage::new(Clone::clone(&url), TTL, false);
                Ok(storage)
            };
            in_storage(args, &items, &mut store, &mut report, open)?;
        }
    }
    sweep(&items, &mut store, &mut report);
    print(common, &report)?;
    Ok(Exit::Ok)
}

/// The items to store, each under a salt of its own.
struct Items {
    count: u32,
    value: Value,
    key: skydht_core::key::PublicKey,
    now: Time,
    /// Seed of the random targets.
    seed: u64,
}

impl Items {
    fn new(args: &BenchStore) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            count: args.items,
            value: Value::from(vec![0x5a; args.value_bytes as usize]),
            key: SecretKey::from_entropy(&[2; 32]).public(),
            now: Time {
                mono: Mono(1_000_000_000),
                unix: Unix(nanos(since.unwrap_or_default())),
            },
            seed: args.seed,
        }
    }

    fn record(&self, n: u32) -> StoredRecord {
        let salt = Salt::from(format!("bench-{n}").as_str());
        let item = Item {
            key: self.key,
            seq: Seq(1),
            signature: Signature::default(),
            value: Value::new(self.value.as_bytes()),
            salt,
        };
        StoredRecord {
            target: item.target(),
            item,
            vouched: self.now.unix,
            expires: Some(self.now.unix.plus(TTL)),
            bound: None,
        }
    }

    /// Returns random targets of stored items.
    fn random_targets(&self) -> Vec<Target> {
        let mut state = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            u32::try_from(state % u64::from(self.count)).unwrap_or_default()
        };
        let count = GETS.min(self.count as usize);
        (0..count).map(|_| self.record(draw()).target).collect()
    }

    fn store(&self) -> Store {
        Store::new(StoreConfig {
            full_node: true,
            deletion_marks: Cap::new(1),
            ..StoreConfig::unlimited(NodeId::from_bytes([7; 32]), TTL)
        })
    }

    /// Returns the bytes per item beyond its value.
    fn overhead(&self, bytes: u64) -> f64 {
        bytes as f64 / f64::from(self.count) - self.value.as_bytes().len() as f64
    }

    fn per_second(count: usize, begun: Instant) -> f64 {
        count as f64 / begun.elapsed().as_secs_f64()
    }
}

/// Admits a record to the store, as the node admits a verified one.
fn admit(items: &Items, store: &mut Store, record: StoredRecord) -> bool {
    store
        .admit(items.now, Candidate::recorded(record), 0)
        .is_ok()
}

fn in_memory(args: &BenchStore, items: &Items, store: &mut Store, report: &mut Report) {
    let before = resident_bytes();
    let (mut took, mut taken) = (Duration::ZERO, 0);
    let mut next = 0;
    while next < args.items {
        let end = args.items.min(next + 4_096);
        let batch: Vec<Candidate> = (next..end)
            .map(|n| Candidate::recorded(items.record(n)))
            .collect();
        next = end;
        let begun = Instant::now();
        for candidate in batch {
            taken += usize::from(store.admit(items.now, candidate, 0).is_ok());
        }
        took += begun.elapsed();
    }
    report.puts_per_s = taken as f64 / took.as_secs_f64();
    let grown = resident_bytes().zip(before);
    report.bytes_per_item = grown.map(|(now, before)| items.overhead(now.saturating_sub(before)));
    let random_targets = items.random_targets();
    let begun = Instant::now();
    let found = random_targets
        .iter()
        .filter(|it| store.get(items.now, it).is_some());
    report.gets_per_s = Items::per_second(found.count(), begun);
}

fn in_storage<S: Storage>(
    args: &BenchStore,
    items: &Items,
    store: &mut Store,
    report: &mut Report,
    open: impl Fn() -> Result<S>,
) -> Result<()> {
    let mut storage = open()?;
    let (mut took, mut next) = (Duration::ZERO, 0);
    while next < args.items {
        let end = args.items.min(next.saturating_add(BATCH as u32));
        let keep = |n| StoreChange::Keep(Box::new(items.record(n)));
        let batch: Vec<StoreChange> = (next..end).map(keep).collect();
        next = end;
        let begun = Instant::now();
        storage.write(&batch, true).map_err(failed)?;
        took += begun.elapsed();
    }
    report.puts_per_s = f64::from(args.items) / took.as_secs_f64();
    let random_targets = items.random_targets();
    let (begun, mut found) = (Instant::now(), 0);
    for target in &random_targets {
        found += usize::from(storage.get(target).map_err(failed)?.is_some());
        // Redis answers one request at a time, so that the time is bounded, too.
        if begun.elapsed() > Duration::from_secs(10) {
            break;
        }
    }
    report.gets_per_s = Items::per_second(found, begun);
    drop(storage);

    let begun = Instant::now();
    let mut storage = open()?;
    let first = storage.get(&random_targets[0]).map_err(failed)?;
    let answers = first.is_some_and(|kept| admit(items, store, kept.record));
    report.first_answer_ms = answers.then(|| ms(begun.elapsed()));
    drop(storage);

    let begun = Instant::now();
    let (mut storage, mut from) = (open()?, Some(Target::default()));
    let mut loaded = 0;
    while let Some(target) = from {
        let page = storage.page(target, PAGE).map_err(failed)?;
        for kept in page.kept {
            loaded += u32::from(admit(items, store, kept.record));
        }
        from = page.next;
    }
    if loaded < args.items {
        output::warn(format_args!("{loaded} of {} items came back", args.items));
    }
    report.reopen_ms = Some(ms(begun.elapsed()));
    Ok(())
}

fn sweep(items: &Items, store: &mut Store, report: &mut Report) {
    let end = Time {
        mono: items.now.mono.plus(2 * TTL),
        unix: items.now.unix.plus(2 * TTL),
    };
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    while store.next_expiry().is_some_and(|at| at <= end.mono) {
        let step = Instant::now();
        if store.sweep(end, SWEEP_STEP).is_empty() {
            break;
        }
        longest = longest.max(step.elapsed());
    }
    report.sweep_ms = ms(begun.elapsed());
    report.sweep_step_ms = ms(longest);
}

fn failed(error: StorageError) -> Box<Failure> {
    Failure::new(Code::Local, error)
}

fn print(common: &Common, report: &Report) -> Result<()> {
    if common.json {
        return output::json(report);
    }
    let mut text = format!(
        "{}: {} items of {} bytes\n{:.0} puts/s · {:.0} gets/s · expired in {:.1} ms, {:.2} ms a step at most",
        report.backend,
        output::count(report.items.into()),
        report.value_bytes,
        report.puts_per_s,
        report.gets_per_s,
        report.sweep_ms,
        report.sweep_step_ms
    );
    if let Some(bytes) = report.bytes_per_item {
        let _ = write!(text, "\n{bytes:.0} bytes an item besides its value");
    }
    if let (Some(reopen), Some(first)) = (report.reopen_ms, report.first_answer_ms) {
        let _ = write!(
            text,
            "\nread again in {reopen:.1} ms, first item in {first:.1} ms"
        );
    }
    output::line(format_args!("{text}\n{}", report.provenance))
}

/// A directory that is removed when this is dropped.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Result<Self> {
        let name = format!("skydht-bench-store-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = std::fs::create_dir(&path);
        made.map_err(|error| crate::private_file::failed("make", Path::new(&path), &error))?;
        Ok(Self(path))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
