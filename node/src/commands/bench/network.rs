//! `skydht bench network`: measured as other libraries were, all nodes in this process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use skydht_core::item::{Salt, Value};
use skydht_core::node::{Config, GetRequest, PutOptions, ReadPolicy};
use skydht_driver::Dht;

use crate::cli::{BenchNetwork, Common};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::measure::{Latency, each, machine, resident_bytes};
use crate::network::Network;
use crate::{logging, output};

/// Operations of one kind.
struct Measured {
    per_second: f64,
    latency: Latency,
    failures: usize,
    example: Option<String>,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    nodes: u16,
    ops: u32,
    concurrency: u16,
    value_bytes: u32,
    transport: &'static str,
    up_s: f64,
    rss_mib: f64,
    puts_per_s: f64,
    gets_per_s: f64,
    gets_fresh_per_s: f64,
    put_p50_ms: f64,
    put_p99_ms: f64,
    get_p50_ms: f64,
    get_p99_ms: f64,
    get_fresh_p50_ms: f64,
    get_fresh_p99_ms: f64,
    put_latency_ms: Latency,
    get_latency_ms: Latency,
    get_fresh_latency_ms: Latency,
    failures: usize,
    seed: u64,
    machine: String,
    version: &'static str,
    optimised: bool,
    command: String,
}

/// Measures.
pub(super) async fn run(common: &Common, args: BenchNetwork) -> Result<Exit> {
    let filter = common.log.as_deref().unwrap_or("warn");
    logging::start(filter).map_err(|error| Failure::new(Code::Usage, error))?;
    let optimised = !cfg!(debug_assertions);
    if !optimised {
        output::talk("this is a debug build: build with --release for figures that mean something");
    }
    let mut config = Config::default();
    // The store's quotas are not what is measured.
    config.limits.items_per_publisher = 0;
    config.limits.items_per_peer = 0;
    config.limits.public_items = 0;
    config.limits.store_items = 0;
    config.limits.store_bytes = 0;
    let count = usize::from(args.nodes);
    let network = Network::start(count, args.seed, &config, |_| {}).await?;
    output::talk(format_args!(
        "{count} nodes up after {:.1} s",
        network.up.as_secs_f64()
    ));
    let nodes: Arc<[Dht]> = network.nodes.clone().into();
    let puts = puts(&args, &nodes).await;
    let gets = gets(&args, &nodes, ReadPolicy::FirstValid).await;
    let fresh = gets_fresh(&args, &nodes).await;
    let rss = resident_bytes().unwrap_or(0);
    let report = Report {
        schema: "skydht.bench-network/1",
        nodes: args.nodes,
        ops: args.ops,
        concurrency: args.concurrency,
        value_bytes: args.value_bytes,
        transport: "tcp",
        up_s: network.up.as_secs_f64(),
        rss_mib: rss as f64 / f64::from(1 << 20),
        puts_per_s: puts.per_second,
        gets_per_s: gets.per_second,
        gets_fresh_per_s: fresh.per_second,
        put_p50_ms: puts.latency.p50,
        put_p99_ms: puts.latency.p99,
        get_p50_ms: gets.latency.p50,
        get_p99_ms: gets.latency.p99,
        get_fresh_p50_ms: fresh.latency.p50,
        get_fresh_p99_ms: fresh.latency.p99,
        put_latency_ms: puts.latency,
        get_latency_ms: gets.latency,
        get_fresh_latency_ms: fresh.latency,
        failures: puts.failures + gets.failures + fresh.failures,
        seed: args.seed,
        machine: machine(),
        version: env!("CARGO_PKG_VERSION"),
        optimised,
        command: command_line(),
    };
    for (name, measured) in [("put", &puts), ("get", &gets), ("fresh get", &fresh)] {
        if let Some(example) = &measured.example {
            output::talk(format_args!(
                "{} {name}s failed, such as: {example}",
                measured.failures
            ));
        }
    }
    print(common, &report)?;
    Network::stop(network.nodes).await;
    Ok(if report.failures == 0 {
        Exit::Ok
    } else {
        Exit::Partial
    })
}

async fn puts(args: &BenchNetwork, nodes: &Arc<[Dht]>) -> Measured {
    let (nodes, args) = (Arc::clone(nodes), args.clone());
    measure(args.ops, args.concurrency, move |index| {
        let dht = nodes[index % nodes.len()].clone();
        let value = Value::from(value(args.seed, index, args.value_bytes as usize));
        // Renewal is not what is measured.
        let options = PutOptions {
            once: true,
            ..PutOptions::default()
        };
        async move {
            match dht.put(salt(index), value, options).await {
                Ok(_) => None,
                Err(error) => Some(error.to_string()),
            }
        }
    })
    .await
}

async fn gets_fresh(args: &BenchNetwork, nodes: &Arc<[Dht]>) -> Measured {
    gets(args, nodes, ReadPolicy::Freshest).await
}

/// Each get starts half a round away from the node that put.
async fn gets(args: &BenchNetwork, nodes: &Arc<[Dht]>, policy: ReadPolicy) -> Measured {
    let (nodes, args) = (Arc::clone(nodes), args.clone());
    measure(args.ops, args.concurrency, move |index| {
        let owner = nodes[index % nodes.len()].key();
        let dht = nodes[(index + nodes.len() / 2) % nodes.len()].clone();
        let expected = value(args.seed, index, args.value_bytes as usize);
        let request = GetRequest::of(owner, salt(index), policy);
        async move {
            match dht.get(request).await {
                Ok(found) if found.item.value.as_bytes() == expected => None,
                Ok(_) => Some("another value than was put".into()),
                Err(error) => Some(error.to_string()),
            }
        }
    })
    .await
}

async fn measure<F, O>(ops: u32, concurrency: u16, operation: F) -> Measured
where
    F: Fn(usize) -> O + Send + Sync + 'static,
    O: Future<Output = Option<String>> + Send + 'static,
{
    let begun = Instant::now();
    let results = each(ops as usize, usize::from(concurrency), move |index| {
        let operation = operation(index);
        async move {
            let begun = Instant::now();
            let failure = operation.await;
            (begun.elapsed(), failure)
        }
    })
    .await;
    let elapsed = begun.elapsed();
    let (durations, failures): (Vec<Duration>, Vec<Option<String>>) = results.into_iter().unzip();
    let failures: Vec<String> = failures.into_iter().flatten().collect();
    Measured {
        per_second: f64::from(ops) / elapsed.as_secs_f64().max(1e-9),
        latency: Latency::of(durations),
        failures: failures.len(),
        example: failures.into_iter().next(),
    }
}

fn salt(index: usize) -> Salt {
    Salt::from(format!("bench-{index}").as_str())
}

/// Bytes that follow from seed and index (xorshift64*).
fn value(seed: u64, index: usize, length: usize) -> Vec<u8> {
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

fn print(common: &Common, report: &Report) -> Result<()> {
    if common.json {
        return output::json(report);
    }
    let row = |name: &str, per_second: f64, latency: &Latency| {
        let figures = [
            latency.min,
            latency.avg,
            latency.p50,
            latency.p95,
            latency.p99,
            latency.max,
        ];
        let mut row = vec![name.to_owned(), format!("{per_second:.0}")];
        row.extend(figures.iter().map(|ms| format!("{ms:.2}")));
        row
    };
    let rows = [
        row("put", report.puts_per_s, &report.put_latency_ms),
        row(
            "get, first valid",
            report.gets_per_s,
            &report.get_latency_ms,
        ),
        row(
            "get, freshest",
            report.gets_fresh_per_s,
            &report.get_fresh_latency_ms,
        ),
    ];
    let head = [
        "OPERATION",
        "OPS/S",
        "MIN MS",
        "AVG MS",
        "P50 MS",
        "P95 MS",
        "P99 MS",
        "MAX MS",
    ];
    output::line(output::table(&head, &rows))?;
    output::line(format_args!(
        "{} nodes on TCP, up in {:.1} s, {:.0} MiB; {} operations each, {} at once, {} bytes; {} failed\n{}; skydht {}, seed {}\n{}",
        report.nodes,
        report.up_s,
        report.rss_mib,
        report.ops,
        report.concurrency,
        report.value_bytes,
        report.failures,
        report.machine,
        report.version,
        report.seed,
        report.command
    ))
}

/// The words that started this program; what is no text in them is shown as U+FFFD.
fn command_line() -> String {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    words.collect::<Vec<_>>().join(" ")
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
