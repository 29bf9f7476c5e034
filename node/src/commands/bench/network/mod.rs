//! `skydht bench network`: puts and gets in a network whose nodes all run in this process.

mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use skydht_core::cap::Cap;
use skydht_core::item::{Salt, Value};
use skydht_core::node::{Config, Counter, GetRequest, PutOptions, ReadPolicy};
use skydht_driver::Dht;

use super::provenance::{Provenance, median};
use super::sockets::{CountedRuntime, SocketCounts};
use super::usage::{own_allocations, own_cpu, own_waits};
use crate::cli::{BenchNetwork, Common};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::measure::{Latency, each, peak_bytes, resident_bytes};
use crate::network::Network;
use crate::output;
use report::{Cost, Measured, Report, Sample, print};

/// Maximum number of pairs of nodes that get a session before the measurement.
const WARM_PAIRS: usize = 20_000;
/// Number of pairs that connect concurrently.
const WARM_CONCURRENCY: usize = 16;

/// Runs the benchmark and prints the report.
pub(super) async fn run(common: &Common, args: BenchNetwork) -> Result<Exit> {
    let provenance = Provenance::new(common, args.seed)?;
    let mut config = Config::default();
    // The store's quotas are not measured.
    config.limits.items_per_publisher = Cap::UNLIMITED;
    config.limits.items_per_peer = Cap::UNLIMITED;
    config.limits.public_items = Cap::UNLIMITED;
    config.limits.store_items = Cap::UNLIMITED;
    config.limits.store_bytes = Cap::UNLIMITED;
    let count = usize::from(args.nodes);
    let runtime = CountedRuntime::default();
    let network = Network::start_on(runtime.clone(), count, args.seed, &config, |_| {}).await?;
    output::talk(format_args!(
        "{count} nodes up after {:.1} s",
        network.up.as_secs_f64()
    ));
    let bench = Bench {
        nodes: network.nodes.clone().into(),
        runtime,
        args,
    };
    let begun = Instant::now();
    bench.warm_up().await?;
    let warm_up_s = begun.elapsed().as_secs_f64();
    let stats = bench.nodes.iter().map(Dht::transport_stats);
    let sessions = stats.map(|stats| stats.sessions).sum();
    output::talk(format_args!("warm after {warm_up_s:.1} s"));

    let mut samples = Vec::new();
    let mut failures = Vec::new();
    for number in 1..=bench.args.samples {
        let (sample, failed) = bench
            .sample(&format!("bench-{number}"), bench.args.ops)
            .await?;
        output::talk(format_args!(
            "sample {number} of {}: {:.0} puts/s, {:.0} gets/s, {:.0} fresh gets/s",
            bench.args.samples,
            sample.put.per_second,
            sample.get.per_second,
            sample.get_fresh.per_second
        ));
        samples.push(sample);
        failures.extend(failed);
    }
    let middle: Sample = median(&samples)?;
    let (put, get, fresh) = (&middle.put, &middle.get, &middle.get_fresh);
    let mib = |bytes: Option<u64>| bytes.unwrap_or(0) as f64 / f64::from(1 << 20);
    let report = Report {
        schema: "skydht.bench-network/2",
        nodes: bench.args.nodes,
        ops: bench.args.ops,
        concurrency: bench.args.concurrency,
        value_bytes: bench.args.value_bytes,
        transport: "tcp",
        up_s: network.up.as_secs_f64(),
        warm_up_s,
        sessions,
        rss_mib: mib(resident_bytes()),
        rss_peak_mib: mib(peak_bytes()),
        puts_per_s: put.per_second,
        gets_per_s: get.per_second,
        gets_fresh_per_s: fresh.per_second,
        put_p50_ms: put.latency_ms.p50,
        put_p99_ms: put.latency_ms.p99,
        get_p50_ms: get.latency_ms.p50,
        get_p99_ms: get.latency_ms.p99,
        get_fresh_p50_ms: fresh.latency_ms.p50,
        get_fresh_p99_ms: fresh.latency_ms.p99,
        median: middle,
        samples,
        failures: failures.len(),
        provenance,
    };
    if let Some(example) = failures.first() {
        output::talk(format_args!(
            "{} failed, such as: {example}",
            output::counted(failures.len() as u64, "operation")
        ));
    }
    print(common, &report)?;
    Network::stop(network.nodes).await;
    Ok(if failures.is_empty() {
        Exit::Ok
    } else {
        Exit::Partial
    })
}

/// A running network.
struct Bench {
    nodes: Arc<[Dht]>,
    runtime: CountedRuntime,
    args: BenchNetwork,
}

/// All counters at one moment.
struct Counts {
    at: Instant,
    cpu: Duration,
    allocations: Option<(u64, u64)>,
    sockets: SocketCounts,
    waits: u64,
    requests: u64,
    message_bytes: u64,
    verifications: u64,
}

impl Bench {
    /// Connects all pairs, if they are not too many, and runs operations that are not measured.
    async fn warm_up(&self) -> Result<()> {
        let count = self.nodes.len();
        let pairs: Vec<(usize, usize)> = (0..count)
            .flat_map(|from| (from + 1..count).map(move |to| (from, to)))
            .take(WARM_PAIRS + 1)
            .collect();
        if pairs.len() <= WARM_PAIRS {
            let nodes = Arc::clone(&self.nodes);
            each(pairs.len(), WARM_CONCURRENCY, move |index| {
                let (from, to) = pairs[index];
                let (from, to) = (nodes[from].clone(), nodes[to].clone());
                // A pair that fails is connected later, by an operation.
                async move { from.ping(to.key(), to.local_addr()).await.is_ok() }
            })
            .await;
        }
        if self.args.warm_up > 0 {
            self.sample("warm-up", self.args.warm_up).await?;
        }
        Ok(())
    }

    /// Puts items with salts that start with `salts`, and reads them twice. Also returns the
    /// failures.
    async fn sample(&self, salts: &str, ops: u32) -> Result<(Sample, Vec<String>)> {
        let (put, mut failures) = self.puts(salts, ops).await?;
        let (get, more) = self.gets(salts, ops, ReadPolicy::FirstValid).await?;
        failures.extend(more);
        let (get_fresh, more) = self.gets(salts, ops, ReadPolicy::Freshest).await?;
        failures.extend(more);
        let sample = Sample {
            put,
            get,
            get_fresh,
        };
        Ok((sample, failures))
    }

    async fn puts(&self, salts: &str, ops: u32) -> Result<(Measured, Vec<String>)> {
        let (nodes, args) = (Arc::clone(&self.nodes), self.args.clone());
        let salts = salts.to_owned();
        self.measure(ops, move |index| {
            let dht = nodes[index % nodes.len()].clone();
            let value = Value::from(value(args.seed, index, args.value_bytes as usize));
            let salt = salt(&salts, index);
            // Renewal is not measured.
            let options = PutOptions {
                once: true,
                ..PutOptions::default()
            };
            async move {
                match dht.put(salt, value, options).await {
                    Ok(_) => None,
                    Err(error) => Some(format!("put: {error}")),
                }
            }
        })
        .await
    }

    /// Reads each item from a node half of the network away from the one that put it.
    async fn gets(
        &self,
        salts: &str,
        ops: u32,
        policy: ReadPolicy,
    ) -> Result<(Measured, Vec<String>)> {
        let (nodes, args) = (Arc::clone(&self.nodes), self.args.clone());
        let salts = salts.to_owned();
        self.measure(ops, move |index| {
            let owner = nodes[index % nodes.len()].key();
            let dht = nodes[(index + nodes.len() / 2) % nodes.len()].clone();
            let expected = value(args.seed, index, args.value_bytes as usize);
            let request = GetRequest::of(owner, salt(&salts, index), policy);
            async move {
                match dht.get(request).await {
                    Ok(found) if found.item.value.as_bytes() == expected => None,
                    Ok(_) => Some("get: another value than was put".into()),
                    Err(error) => Some(format!("get: {error}")),
                }
            }
        })
        .await
    }

    async fn measure<F, O>(&self, ops: u32, operation: F) -> Result<(Measured, Vec<String>)>
    where
        F: Fn(usize) -> O + Send + Sync + 'static,
        O: Future<Output = Option<String>> + Send + 'static,
    {
        let before = self.counts().await?;
        let concurrency = usize::from(self.args.concurrency);
        let results = each(ops as usize, concurrency, move |index| {
            let operation = operation(index);
            async move {
                let begun = Instant::now();
                let failure = operation.await;
                (begun.elapsed(), failure)
            }
        })
        .await;
        let elapsed = before.at.elapsed();
        let after = self.counts().await?;
        let (durations, failures): (Vec<Duration>, Vec<Option<String>>) =
            results.into_iter().unzip();
        let measured = Measured {
            per_second: f64::from(ops) / elapsed.as_secs_f64().max(1e-9),
            latency_ms: Latency::of(durations),
            each: after.since(&before, ops),
        };
        Ok((measured, failures.into_iter().flatten().collect()))
    }

    async fn counts(&self) -> Result<Counts> {
        let (mut requests, mut message_bytes, mut verifications) = (0, 0, 0);
        for dht in &*self.nodes {
            let snapshot = dht.snapshot().await.map_err(Box::<Failure>::from)?;
            requests += snapshot.counters.get(Counter::CallsStarted);
            message_bytes += snapshot.counters.get(Counter::BytesOut);
            verifications += snapshot.counters.get(Counter::VerifyJobs);
        }
        Ok(Counts {
            at: Instant::now(),
            cpu: own_cpu(),
            allocations: own_allocations(),
            sockets: self.runtime.counts(),
            waits: own_waits(),
            requests,
            message_bytes,
            verifications,
        })
    }
}

impl Counts {
    /// Returns the mean cost of each of `ops` operations since `earlier`.
    fn since(&self, earlier: &Self, ops: u32) -> Cost {
        let per = |now: u64, then: u64| now.saturating_sub(then) as f64 / f64::from(ops);
        let allocations = self.allocations.zip(earlier.allocations);
        Cost {
            cpu_ms: (self.cpu - earlier.cpu).as_secs_f64() * 1e3 / f64::from(ops),
            allocations: allocations.map(|((now, _), (then, _))| per(now, then)),
            allocated_bytes: allocations.map(|((_, now), (_, then))| per(now, then)),
            socket_reads: per(self.sockets.reads, earlier.sockets.reads),
            socket_writes: per(self.sockets.writes, earlier.sockets.writes),
            socket_bytes: per(self.sockets.bytes, earlier.sockets.bytes),
            waits: per(self.waits, earlier.waits),
            requests: per(self.requests, earlier.requests),
            message_bytes: per(self.message_bytes, earlier.message_bytes),
            verifications: per(self.verifications, earlier.verifications),
        }
    }
}

fn salt(beginning: &str, index: usize) -> Salt {
    Salt::from(format!("{beginning}-{index}").as_str())
}

/// Generates bytes from seed and index (xorshift64*).
pub(super) fn value(seed: u64, index: usize, length: usize) -> Vec<u8> {
    let mut state = seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state |= u64::from(state == 0);
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ_and_repeat() {
        assert_eq!(value(1, 2, 500).len(), 500);
        assert_eq!(value(1, 2, 500), value(1, 2, 500));
        assert_ne!(value(1, 2, 500), value(1, 3, 500));
        assert_ne!(value(0, 0, 16), vec![0; 16]);
    }
}
