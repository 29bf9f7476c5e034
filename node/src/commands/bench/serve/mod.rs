//! `skydht bench serve`: one node under load, in a process of its own.
//!
//! The load uses little processor time: frames are encoded before the measurement, one thread sends
//! them directly over the transports, and only the beginning of long answers is read.

mod load;
mod report;
mod requests;
mod start;

use std::sync::Arc;
use std::time::Duration;

use skydht_driver::{Dht, Transport};

use super::process::Processors;
use super::provenance::{Provenance, median};
use super::usage::{cpu_of, own_cpu, resident_mib};
use crate::cli::{Ask, BenchServe, Common, LoadTransport, Mix};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::measure::Latency;
use crate::output;
use crate::signals::Signals;
use crate::temporary_dir::TemporaryDir;

use load::{Loader, Plan, fill, share};
use report::{Report, Row, Served, print};
use start::{Target, dmsg_load, start_measured, tcp_load};

/// Runs the benchmark and prints the report.
pub(super) async fn run(common: &Common, args: BenchServe) -> Result<Exit> {
    let provenance = Provenance::new(common, args.seed)?;
    let mut signals = Signals::new()?;
    let dir = TemporaryDir::new("serve")?;
    let (for_node, for_load) = Processors::split(args.node_processors);
    let node_processors = for_node.count();
    // The child processes are killed when this value is dropped.
    let measured = start_measured(dir.path(), &args, &for_node, &for_load).await?;
    let (target, asked) = (measured.target(), args.clone());
    let load = tokio::task::spawn_blocking(move || {
        for_load.take();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(Code::Local, error))?;
        let rows = runtime.block_on(measure(&asked, &target));
        // The remaining work of the peers is not needed.
        runtime.shutdown_background();
        rows
    });
    let rows = tokio::select! {
        rows = load => rows.map_err(|error| Failure::new(Code::Local, error))??,
        name = signals.next() => return Err(Failure::new(Code::Local, format!("stopped by {name}"))),
    };
    let failures = rows.iter().map(|row| row.failures).sum();
    let report = Report {
        schema: "skydht.bench-serve/1",
        transport: match args.transport {
            LoadTransport::Tcp => "tcp",
            LoadTransport::Dmsg => "dmsg",
        },
        connections: args.connections,
        in_flight: args.in_flight,
        items: args.items,
        value_bytes: args.value_bytes,
        peers: args.peers,
        node_processors,
        duration_s: args.duration.as_secs_f64(),
        warm_up_s: args.warm_up.as_secs_f64(),
        mixes: rows,
        failures,
        provenance,
    };
    drop(measured);
    print(common, &report)?;
    Ok(if report.failures == 0 {
        Exit::Ok
    } else {
        Exit::Partial
    })
}

async fn measure(args: &BenchServe, target: &Target) -> Result<Vec<Row>> {
    if let Some(relay) = &target.relay {
        let (loaders, peers) = dmsg_load(args, target, relay).await?;
        measure_over(args, target, loaders, peers).await
    } else {
        let (loaders, peers) = tcp_load(args, target).await?;
        measure_over(args, target, loaders, peers).await
    }
}

/// Processor time used so far, by process.
struct Meters {
    node: Duration,
    load: Duration,
    relay: Option<Duration>,
}

async fn measure_over<T: Transport>(
    args: &BenchServe,
    target: &Target,
    loaders: Vec<Loader<T>>,
    peers: Vec<Dht>,
) -> Result<Vec<Row>> {
    let mut loaders: Vec<Arc<Loader<T>>> = loaders.into_iter().map(Arc::new).collect();
    fill(&loaders, &target.node).await?;
    output::talk(format_args!(
        "the node holds {} items and was started with {} peers",
        args.items,
        peers.len()
    ));
    let mixes = if args.mix.is_empty() {
        Mix::defaults()
    } else {
        args.mix.clone()
    };
    let mut rows = Vec::new();
    for (number, mix) in mixes.iter().enumerate() {
        let mut samples = Vec::new();
        let mut failures = 0;
        for sample in 1..=args.samples {
            if mix.has(Ask::PutNew) {
                let salts = format!("new-{number}-{sample}");
                sign(&mut loaders, &salts, args).await?;
            }
            let plan = Plan {
                mix,
                in_flight: usize::from(args.in_flight),
                warm_up: args.warm_up,
                duration: args.duration,
                seed: args.seed.wrapping_add(u64::from(sample)),
            };
            let (served, failed) = sample_of(&loaders, target, &plan).await?;
            output::talk(format_args!(
                "{mix}, sample {sample} of {}: {:.0} requests/s, p99 {:.2} ms",
                args.samples, served.requests_per_s, served.latency_ms.p99
            ));
            samples.push(served);
            failures += failed;
        }
        rows.push(Row {
            mix: mix.to_string(),
            median: median(&samples)?,
            samples,
            failures,
        });
    }
    Ok(rows)
}

async fn sample_of<T: Transport>(
    loaders: &[Arc<Loader<T>>],
    target: &Target,
    plan: &Plan<'_>,
) -> Result<(Served, u64)> {
    let taken = load::run(loaders, &target.node, plan, || Meters {
        node: cpu_of(target.node_process),
        load: own_cpu(),
        relay: target.relay.as_ref().map(|relay| cpu_of(relay.process)),
    })
    .await?;
    let requests = taken.latencies.len();
    let seconds = taken.elapsed.as_secs_f64().max(1e-9);
    let (before, after) = taken.meters;
    let each_us = |spent: Duration| spent.as_secs_f64() * 1e6 / requests.max(1) as f64;
    let node = after.node.saturating_sub(before.node);
    let load = after.load.saturating_sub(before.load);
    let relay = after.relay.zip(before.relay);
    let relay = relay.map(|(after, before)| after.saturating_sub(before));
    let served = Served {
        requests: requests as u64,
        seconds,
        requests_per_s: requests as f64 / seconds,
        latency_ms: Latency::of(taken.latencies),
        node_cpu_us: each_us(node),
        node_processors_used: node.as_secs_f64() / seconds,
        load_cpu_us: each_us(load),
        load_processors_used: load.as_secs_f64() / seconds,
        relay_cpu_us: relay.map(each_us),
        rss_mib: resident_mib(target.node_process),
    };
    Ok((served, taken.failures))
}

/// Signs new items for put-new, divided among the connections.
async fn sign<T: Transport>(
    loaders: &mut [Arc<Loader<T>>],
    salts: &str,
    args: &BenchServe,
) -> Result<()> {
    let connections = loaders.len();
    for (number, loader) in loaders.iter_mut().enumerate() {
        let loader = Arc::get_mut(loader)
            .ok_or_else(|| Failure::new(Code::Local, "a request of the last sample still runs"))?;
        let count = share(args.new_items, number, connections);
        let Loader { secret, frames, .. } = loader;
        frames.renew_new(secret, salts, count, args.value_bytes as usize);
        // Yielding lets the sessions send their keep-alives.
        tokio::task::yield_now().await;
    }
    Ok(())
}
