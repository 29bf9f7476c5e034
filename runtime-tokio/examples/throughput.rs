//! Measures the puts and gets of a network of nodes in this process, over loopback TCP.
//!
//! `cargo run --release -p skydht-tokio --example throughput -- [nodes] [operations] [concurrency]`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use skydht_tokio::testing::Testnet;
use skydht_tokio::{Dht, GetRequest, PutOptions, ReadPolicy, Salt, Value};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args()
        .skip(1)
        .map(|arg| arg.parse::<usize>().ok());
    let mut arg = |default| args.next().flatten().unwrap_or(default);
    let (nodes, operations, concurrency) = (arg(100), arg(2_000), arg(16));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let begun = Instant::now();
        let net = Testnet::new(nodes).await?;
        println!("{nodes} nodes up in {:.2?}", begun.elapsed());
        counters(&net).await;
        run(&net, "put", operations, concurrency, put).await;
        counters(&net).await;
        run(&net, "get", operations, concurrency, get).await;
        counters(&net).await;
        Ok(())
    })
}

async fn put(nodes: Arc<Vec<Dht>>, n: usize) -> bool {
    let node = &nodes[n % nodes.len()];
    let salt = Salt::from(format!("item {}", n / nodes.len() % 40).as_str());
    let value = Value::new(&[n as u8; 500]);
    node.put(salt, value, PutOptions::default()).await.is_ok()
}

async fn get(nodes: Arc<Vec<Dht>>, n: usize) -> bool {
    let owner = nodes[n % nodes.len()].key();
    let salt = Salt::from(format!("item {}", n / nodes.len() % 40).as_str());
    let reader = &nodes[(n * 7 + 1) % nodes.len()];
    let request = GetRequest::of(owner, salt, ReadPolicy::Freshest);
    reader.get(request).await.is_ok()
}

async fn run<F: Future<Output = bool> + Send + 'static>(
    net: &Testnet,
    name: &str,
    operations: usize,
    concurrency: usize,
    operation: fn(Arc<Vec<Dht>>, usize) -> F,
) {
    let nodes = Arc::new(net.nodes().to_vec());
    let next = Arc::new(AtomicUsize::new(0));
    let (begun, cpu_before) = (Instant::now(), cpu());
    let workers: Vec<_> = (0..concurrency)
        .map(|_| {
            let (nodes, next) = (Arc::clone(&nodes), Arc::clone(&next));
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut failed = 0;
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= operations {
                        return (times, failed);
                    }
                    let begun = Instant::now();
                    if !operation(Arc::clone(&nodes), n).await {
                        failed += 1;
                    }
                    times.push(begun.elapsed());
                }
            })
        })
        .collect();
    let (mut times, mut failed): (Vec<Duration>, usize) = (Vec::new(), 0);
    for worker in workers {
        if let Ok((some, errors)) = worker.await {
            times.extend(some);
            failed += errors;
        }
    }
    let elapsed = begun.elapsed();
    times.sort_unstable();
    let at = |share: usize| {
        times
            .get(times.len() * share / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{name}: {:.0}/s, {:.2?} CPU each, p50 {:.2?}, p99 {:.2?}, {failed} failed",
        operations as f64 / elapsed.as_secs_f64(),
        (cpu() - cpu_before) / operations.max(1) as u32,
        at(50),
        at(99),
    );
}

async fn counters(net: &Testnet) {
    let mut sums = std::collections::BTreeMap::<&str, u64>::new();
    let mut dials = 0;
    for node in net.nodes() {
        if let Ok(snapshot) = node.snapshot().await {
            for (counter, n) in snapshot.counters.iter() {
                *sums.entry(counter.name()).or_default() += n;
            }
        }
        dials += node.transport_stats().dials;
    }
    sums.retain(|_, n| *n > 0);
    println!("dials {dials}; {sums:?}");
}

/// Returns the CPU time of this process, in steps of 10 ms; zero where there is no /proc.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
