//! The report of `bench network`.

use serde::{Deserialize, Serialize};

use super::super::provenance::Provenance;
use crate::cli::Common;
use crate::failure::Result;
use crate::measure::Latency;
use crate::output;

/// Statistics of one kind of operation.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) per_second: f64,
    pub(super) latency_ms: Latency,
    pub(super) each: Cost,
}

/// Mean cost of one operation, over all nodes together.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Cost {
    pub(super) cpu_ms: f64,
    /// `None` unless allocations are counted.
    pub(super) allocations: Option<f64>,
    pub(super) allocated_bytes: Option<f64>,
    /// Reads from sockets, each a system call.
    pub(super) socket_reads: f64,
    /// Writes to sockets, each a system call.
    pub(super) socket_writes: f64,
    /// Bytes written to sockets, encryption and framing included.
    pub(super) socket_bytes: f64,
    /// Times that a thread blocked.
    pub(super) waits: f64,
    /// Requests sent. `message_bytes`: bytes of requests and responses.
    pub(super) requests: f64,
    pub(super) message_bytes: f64,
    pub(super) verifications: f64,
}

/// Statistics of the three kinds of operations.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Sample {
    pub(super) put: Measured,
    pub(super) get: Measured,
    pub(super) get_fresh: Measured,
}

#[derive(Serialize)]
pub(super) struct Report {
    pub(super) schema: &'static str,
    pub(super) nodes: u16,
    pub(super) ops: u32,
    pub(super) concurrency: u16,
    pub(super) value_bytes: u32,
    pub(super) transport: &'static str,
    pub(super) up_s: f64,
    pub(super) warm_up_s: f64,
    /// Sessions at the start of the measurement, counted at both ends.
    pub(super) sessions: usize,
    pub(super) rss_mib: f64,
    /// The most resident memory of the process.
    pub(super) rss_peak_mib: f64,
    pub(super) puts_per_s: f64,
    pub(super) gets_per_s: f64,
    pub(super) gets_fresh_per_s: f64,
    pub(super) put_p50_ms: f64,
    pub(super) put_p99_ms: f64,
    pub(super) get_p50_ms: f64,
    pub(super) get_p99_ms: f64,
    pub(super) get_fresh_p50_ms: f64,
    pub(super) get_fresh_p99_ms: f64,
    /// Medians of the samples.
    #[serde(flatten)]
    pub(super) median: Sample,
    pub(super) samples: Vec<Sample>,
    pub(super) failures: usize,
    #[serde(flatten)]
    pub(super) provenance: Provenance,
}

pub(super) fn print(common: &Common, report: &Report) -> Result<()> {
    if common.json {
        return output::json(report);
    }
    let kinds = [
        ("put", &report.median.put),
        ("get, first valid", &report.median.get),
        ("get, freshest", &report.median.get_fresh),
    ];
    let rows = kinds.map(|(name, measured)| {
        let latency = &measured.latency_ms;
        let figures = [
            latency.min,
            latency.avg,
            latency.p50,
            latency.p95,
            latency.p99,
            latency.max,
        ];
        let mut row = vec![name.to_owned(), format!("{:.0}", measured.per_second)];
        row.extend(figures.iter().map(|ms| format!("{ms:.2}")));
        row
    });
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
    let rows = kinds.map(|(name, measured)| {
        let cost = &measured.each;
        let figures = [
            cost.requests,
            cost.message_bytes,
            cost.verifications,
            cost.socket_reads,
            cost.socket_writes,
            cost.socket_bytes,
            cost.waits,
        ];
        let mut row = vec![name.to_owned(), format!("{:.3}", cost.cpu_ms)];
        row.extend(figures.iter().map(|figure| format!("{figure:.1}")));
        let allocations = cost.allocations;
        row.push(allocations.map_or("not counted".into(), |count| format!("{count:.0}")));
        row
    });
    let head = [
        "EACH COSTS",
        "CPU MS",
        "REQUESTS",
        "MESSAGE BYTES",
        "VERIFICATIONS",
        "READS",
        "WRITES",
        "SOCKET BYTES",
        "WAITS",
        "ALLOCATIONS",
    ];
    output::line(output::table(&head, &rows))?;
    output::line(format_args!(
        "{} nodes on TCP, up in {:.1} s, warm after {:.1} s with {} sessions, {:.0} MiB, {:.0} at most; {} operations each, {} concurrently, {} bytes, median of {}; {} failed\n{}",
        report.nodes,
        report.up_s,
        report.warm_up_s,
        report.sessions / 2,
        report.rss_mib,
        report.rss_peak_mib,
        report.ops,
        report.concurrency,
        report.value_bytes,
        report.samples.len(),
        report.failures,
        report.provenance,
    ))
}
