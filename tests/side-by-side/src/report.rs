//! What is said of a measurement; `skydht bench network --json` has the same names.

use serde::Serialize;

use crate::Result;
use crate::measure::Latency;

/// Operations of one kind.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) latency_ms: Latency,
    pub(crate) each: Cost,
}

/// What one operation costs all nodes together, on average.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Cost {
    pub(crate) cpu_ms: f64,
}

/// All of it.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) schema: &'static str,
    /// The library and its version.
    pub(crate) peer: String,
    pub(crate) nodes: u16,
    pub(crate) ops: u32,
    pub(crate) concurrency: u16,
    pub(crate) value_bytes: u32,
    pub(crate) transport: &'static str,
    pub(crate) up_s: f64,
    pub(crate) warm_up_s: f64,
    /// Sessions when the measurement began, those at both ends counted twice.
    pub(crate) sessions: usize,
    /// Entries of a routing table then, on average.
    pub(crate) known_peers: f64,
    pub(crate) rss_mib: f64,
    /// The most resident memory of the process.
    pub(crate) rss_peak_mib: f64,
    pub(crate) puts_per_s: f64,
    pub(crate) gets_per_s: f64,
    pub(crate) put_p50_ms: f64,
    pub(crate) put_p99_ms: f64,
    pub(crate) get_p50_ms: f64,
    pub(crate) get_p99_ms: f64,
    pub(crate) put: Measured,
    pub(crate) get: Measured,
    /// Nodes that hold a value, on average, the one that published it included.
    pub(crate) holders: f64,
    /// The share of gets that the node answered from its own store.
    pub(crate) local_gets: f64,
    pub(crate) failures: usize,
    pub(crate) seed: u64,
    pub(crate) machine: String,
    pub(crate) optimised: bool,
    pub(crate) command: String,
}

impl Report {
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        if json {
            let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
            println!("{text}");
            return Ok(());
        }
        println!(
            "{:9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "OPERATION", "OPS/S", "P50 MS", "P99 MS", "MAX MS", "CPU MS"
        );
        for (name, measured) in [("put", &self.put), ("get", &self.get)] {
            let latency = &measured.latency_ms;
            println!(
                "{name:9} {:>9.0} {:>9.2} {:>9.2} {:>9.2} {:>9.3}",
                measured.per_second, latency.p50, latency.p99, latency.max, measured.each.cpu_ms
            );
        }
        println!(
            "{}: {} nodes on {}, up in {:.1} s, warm after {:.1} s with {} sessions, {:.1} peers known to each; {:.0} MiB, {:.0} at most",
            self.peer,
            self.nodes,
            self.transport,
            self.up_s,
            self.warm_up_s,
            self.sessions / 2,
            self.known_peers,
            self.rss_mib,
            self.rss_peak_mib,
        );
        println!(
            "{} operations each, {} concurrently, {} bytes; {:.1} holders a value, {:.0} % of the gets from the node's own store; {} failed\n{}, seed {}",
            self.ops,
            self.concurrency,
            self.value_bytes,
            self.holders,
            self.local_gets * 100.0,
            self.failures,
            self.machine,
            self.seed,
        );
        Ok(())
    }
}

/// A library with the version that this program is built with.
pub(crate) fn version_of(name: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let package = format!("name = \"{name}\"\nversion = \"");
    let version = lock
        .split_once(&package)
        .and_then(|(_, rest)| rest.split('"').next());
    format!("{name} {}", version.unwrap_or("of unknown version"))
}
