//! The measurement: a network goes up, is warmed up, takes puts and then gets.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::measure::{Latency, each, machine, own_cpu, resident_mib, value};
use crate::report::{Cost, Measured, Report};
use crate::{Bench as Options, Result};

/// Up to so many pairs of nodes are given a session before anything is measured.
pub(crate) const WARM_PAIRS: usize = 20_000;
/// Pairs that meet at the same time.
pub(crate) const WARM_CONCURRENCY: usize = 16;

/// What a get has found.
pub(crate) struct Found {
    pub(crate) value: Vec<u8>,
    /// The node that was asked held it, and asked no other.
    pub(crate) local: bool,
}

/// What can be said of a network from outside.
#[derive(Clone, Copy, Default)]
pub(crate) struct Facts {
    /// Sessions, those at both ends counted twice.
    pub(crate) sessions: usize,
    /// Entries of all routing tables.
    pub(crate) known_peers: usize,
    /// Copies of all values so far.
    pub(crate) copies: usize,
}

/// A network of another library, all its nodes in this process.
pub(crate) trait Network: Sized + Send + Sync + 'static {
    /// The library, as Cargo.lock names it.
    const CRATE: &'static str;
    const TRANSPORT: &'static str;

    /// Starts the nodes.
    fn start(options: &Options) -> impl Future<Output = Result<Self>> + Send;

    /// Lets the nodes meet: sessions between all pairs, if there are sessions and not too many pairs.
    fn meet(self: &Arc<Self>) -> impl Future<Output = Result<()>> + Send;

    /// Publishes a value of the node with that index.
    fn put(
        &self,
        node: usize,
        salt: &str,
        value: Vec<u8>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Reads what `owner` has published, and stops at the first value.
    fn get(
        &self,
        node: usize,
        owner: usize,
        salt: &str,
    ) -> impl Future<Output = Result<Found>> + Send;

    fn facts(&self) -> impl Future<Output = Result<Facts>> + Send;
}

/// Measures.
pub(crate) async fn run<N: Network>(options: Options) -> Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: build with --release for figures that mean something");
    }
    let begun = Instant::now();
    let network = Arc::new(N::start(&options).await?);
    let up_s = begun.elapsed().as_secs_f64();
    eprintln!("{} nodes up after {up_s:.1} s", options.nodes);
    let bench = Bench { network, options };

    let begun = Instant::now();
    bench.network.meet().await?;
    if bench.options.warm_up > 0 {
        bench.sample("warm-up", bench.options.warm_up).await?;
    }
    let warm_up_s = begun.elapsed().as_secs_f64();
    let warm = bench.network.facts().await?;
    eprintln!("warm after {warm_up_s:.1} s");

    let options = &bench.options;
    let sample = bench.sample("bench-1", options.ops).await?;
    let (rss_mib, rss_peak_mib) = resident_mib();
    let done = bench.network.facts().await?;
    let per_node = |count: usize| count as f64 / f64::from(options.nodes);
    let (put, get) = (&sample.put, &sample.get);
    let report = Report {
        schema: "skydht.side-by-side/1",
        peer: crate::report::version_of(N::CRATE),
        nodes: options.nodes,
        ops: options.ops,
        concurrency: options.concurrency,
        value_bytes: options.value_bytes,
        transport: N::TRANSPORT,
        up_s,
        warm_up_s,
        sessions: warm.sessions,
        known_peers: per_node(warm.known_peers),
        rss_mib,
        rss_peak_mib,
        puts_per_s: put.per_second,
        gets_per_s: get.per_second,
        put_p50_ms: put.latency_ms.p50,
        put_p99_ms: put.latency_ms.p99,
        get_p50_ms: get.latency_ms.p50,
        get_p99_ms: get.latency_ms.p99,
        put: *put,
        get: *get,
        holders: (done.copies - warm.copies) as f64 / f64::from(options.ops),
        local_gets: f64::from(sample.local_gets) / f64::from(options.ops),
        failures: sample.failures.len(),
        seed: options.seed,
        machine: machine(),
        optimised: !cfg!(debug_assertions),
        command: std::env::args().collect::<Vec<_>>().join(" "),
    };
    report.print(options.json)?;
    match sample.failures.first() {
        None => Ok(()),
        Some(example) => Err(format!(
            "{} of {} operations failed, such as: {example}",
            sample.failures.len(),
            2 * options.ops
        )),
    }
}

/// Puts and gets of the same items.
struct Sample {
    put: Measured,
    get: Measured,
    /// Gets that were answered by the node that was asked.
    local_gets: u32,
    failures: Vec<String>,
}

/// A network that is up.
struct Bench<N> {
    network: Arc<N>,
    options: Options,
}

impl<N: Network> Bench<N> {
    /// Puts items with salts that begin so, and reads them.
    async fn sample(&self, salts: &str, ops: u32) -> Result<Sample> {
        let (put, results) = self.puts(salts, ops).await;
        let mut failures: Vec<String> = results.into_iter().filter_map(Result::err).collect();
        let (get, results) = self.gets(salts, ops).await;
        let mut local_gets = 0;
        for result in results {
            match result {
                Ok(local) => local_gets += u32::from(local),
                Err(error) => failures.push(error),
            }
        }
        if salts == "warm-up"
            && let Some(example) = failures.first()
        {
            return Err(format!("while warming up: {example}"));
        }
        Ok(Sample {
            put,
            get,
            local_gets,
            failures,
        })
    }

    async fn puts(&self, salts: &str, ops: u32) -> (Measured, Vec<Result<()>>) {
        let (network, options) = (Arc::clone(&self.network), self.options.clone());
        let salts = salts.to_owned();
        self.measure(ops, move |index| {
            let network = Arc::clone(&network);
            let value = value(options.seed, index, options.value_bytes as usize);
            let salt = format!("{salts}-{index}");
            let node = index % usize::from(options.nodes);
            async move {
                let put = network.put(node, &salt, value).await;
                put.map_err(|error| format!("put: {error}"))
            }
        })
        .await
    }

    /// Each get starts half a round away from the node that put.
    async fn gets(&self, salts: &str, ops: u32) -> (Measured, Vec<Result<bool>>) {
        let (network, options) = (Arc::clone(&self.network), self.options.clone());
        let salts = salts.to_owned();
        self.measure(ops, move |index| {
            let network = Arc::clone(&network);
            let expected = value(options.seed, index, options.value_bytes as usize);
            let salt = format!("{salts}-{index}");
            let nodes = usize::from(options.nodes);
            let (owner, node) = (index % nodes, (index + nodes / 2) % nodes);
            async move {
                match network.get(node, owner, &salt).await {
                    Ok(found) if found.value == expected => Ok(found.local),
                    Ok(_) => Err("get: another value than was put".into()),
                    Err(error) => Err(format!("get: {error}")),
                }
            }
        })
        .await
    }

    async fn measure<T, F, O>(&self, ops: u32, operation: F) -> (Measured, Vec<T>)
    where
        T: Send + 'static,
        F: Fn(usize) -> O + Send + Sync + 'static,
        O: Future<Output = T> + Send + 'static,
    {
        let (begun, cpu) = (Instant::now(), own_cpu());
        let concurrency = usize::from(self.options.concurrency);
        let results = each(ops as usize, concurrency, move |index| {
            let operation = operation(index);
            async move {
                let begun = Instant::now();
                let result = operation.await;
                (begun.elapsed(), result)
            }
        })
        .await;
        let (elapsed, cpu) = (begun.elapsed(), own_cpu() - cpu);
        let (durations, results): (Vec<Duration>, Vec<T>) = results.into_iter().unzip();
        let measured = Measured {
            per_second: f64::from(ops) / elapsed.as_secs_f64().max(1e-9),
            latency_ms: Latency::of(durations),
            each: Cost {
                cpu_ms: cpu.as_secs_f64() * 1e3 / f64::from(ops),
            },
        };
        (measured, results)
    }
}
