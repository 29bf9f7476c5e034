//! The report of `bench serve`.

use serde::{Deserialize, Serialize};

use super::super::provenance::Provenance;
use crate::cli::Common;
use crate::failure::Result;
use crate::measure::Latency;
use crate::output;

/// Result of one sample of one mix.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Served {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) requests_per_s: f64,
    /// From sending the first byte of a request to reading the last byte of its answer.
    pub(super) latency_ms: Latency,
    /// Processor time of the node per request.
    pub(super) node_cpu_us: f64,
    pub(super) node_processors_used: f64,
    /// Processor time of the load per request. If the load uses nearly one processor, it limits the
    /// figures.
    pub(super) load_cpu_us: f64,
    pub(super) load_processors_used: f64,
    pub(super) relay_cpu_us: Option<f64>,
    /// Resident memory of the node at the end.
    pub(super) rss_mib: f64,
}

#[derive(Serialize)]
pub(super) struct Row {
    pub(super) mix: String,
    #[serde(flatten)]
    pub(super) median: Served,
    pub(super) samples: Vec<Served>,
    /// Unexpected answers, over all samples.
    pub(super) failures: u64,
}

#[derive(Serialize)]
pub(super) struct Report {
    pub(super) schema: &'static str,
    pub(super) transport: &'static str,
    pub(super) connections: u16,
    pub(super) in_flight: u16,
    pub(super) items: u32,
    pub(super) value_bytes: u32,
    pub(super) peers: u16,
    /// Number of processors reserved for the node; `None`: it shared all of them.
    pub(super) node_processors: Option<usize>,
    pub(super) duration_s: f64,
    pub(super) warm_up_s: f64,
    pub(super) mixes: Vec<Row>,
    pub(super) failures: u64,
    #[serde(flatten)]
    pub(super) provenance: Provenance,
}

pub(super) fn print(common: &Common, report: &Report) -> Result<()> {
    if common.json {
        return output::json(report);
    }
    let rows: Vec<_> = report.mixes.iter().map(row).collect();
    let head = [
        "REQUESTS",
        "EACH S",
        "P50 MS",
        "P99 MS",
        "P99.9 MS",
        "NODE CPU US",
        "NODE BUSY",
        "LOAD BUSY",
        "RELAY CPU US",
        "RSS MIB",
    ];
    output::line(output::table(&head, &rows))?;
    let processors = report.node_processors.map_or_else(
        || "no processor to itself".into(),
        |count| format!("{} to itself", output::counted(count as u64, "processor")),
    );
    let samples = report.mixes.first().map_or(0, |row| row.samples.len());
    output::line(format_args!(
        "{}, {} connections, {} in flight on each, {} items of {} bytes, {} peers; a node with {processors}; median of {samples}; {} failed\n{}",
        report.transport,
        report.connections,
        report.in_flight,
        report.items,
        report.value_bytes,
        report.peers,
        report.failures,
        report.provenance,
    ))
}

fn row(row: &Row) -> Vec<String> {
    let served = &row.median;
    let relay = served.relay_cpu_us;
    vec![
        row.mix.clone(),
        output::count(served.requests_per_s as u64),
        format!("{:.2}", served.latency_ms.p50),
        format!("{:.2}", served.latency_ms.p99),
        format!("{:.2}", served.latency_ms.p999),
        format!("{:.1}", served.node_cpu_us),
        format!("{:.0} %", served.node_processors_used * 100.0),
        format!("{:.0} %", served.load_processors_used * 100.0),
        relay.map_or("-".into(), |us| format!("{us:.1}")),
        format!("{:.1}", served.rss_mib),
    ]
}
