//! What `skydht bench network` measures with, as the node's `measure.rs` and `usage.rs` have it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio::task::JoinSet;

/// Calls `make` with 0 to `count` − 1, `concurrency` at a time, and returns the results in
/// that order.
pub(crate) async fn each<T, F, O>(count: usize, concurrency: usize, make: F) -> Vec<T>
where
    T: Send + 'static,
    F: Fn(usize) -> O + Send + Sync + 'static,
    O: Future<Output = T> + Send + 'static,
{
    let (next, make) = (Arc::new(AtomicUsize::new(0)), Arc::new(make));
    let mut workers = JoinSet::new();
    for _ in 0..concurrency.clamp(1, count.max(1)) {
        let (next, make) = (Arc::clone(&next), Arc::clone(&make));
        workers.spawn(async move {
            let mut results = Vec::new();
            loop {
                let index = next.fetch_add(1, Relaxed);
                if index >= count {
                    return results;
                }
                results.push((index, make(index).await));
            }
        });
    }
    let mut all: Vec<(usize, T)> = workers.join_all().await.into_iter().flatten().collect();
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, result)| result).collect()
}

/// How long things took, in milliseconds.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) min: f64,
    pub(crate) avg: f64,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Latency {
    /// Sums up; zeroes for nothing. Percentiles are by nearest rank.
    pub(crate) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        let (Some(min), Some(max)) = (durations.first(), durations.last()) else {
            return Self::default();
        };
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        let total: Duration = durations.iter().sum();
        let at = |mille: usize| {
            let rank = (durations.len() * mille).div_ceil(1_000);
            ms(durations[rank.saturating_sub(1)])
        };
        Self {
            min: ms(*min),
            avg: ms(total.div_f64(durations.len() as f64)),
            p50: at(500),
            p95: at(950),
            p99: at(990),
            p999: at(999),
            max: ms(*max),
        }
    }
}

/// Processor time of this process, all its threads together.
pub(crate) fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// Resident memory of this process, now and at most, in MiB; zero where there is no /proc.
pub(crate) fn resident_mib() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes: Option<f64> = line
            .and_then(|line| line.split_whitespace().next())
            .and_then(|number| number.parse().ok());
        kibibytes.unwrap_or_default() / 1024.0
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// The machine, in a line.
pub(crate) fn machine() -> String {
    let name = rustix::system::uname();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model.trim());
    format!(
        "{model}, {cores} cores, {} {} {}",
        name.sysname().to_string_lossy(),
        name.release().to_string_lossy(),
        name.machine().to_string_lossy()
    )
}

/// Raises this process's limit of open files as far as the system lets it; fails below `wanted`.
pub(crate) fn open_files(wanted: u64) -> crate::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, most);
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if limit < wanted {
        return Err(format!(
            "this network needs {wanted} open files, this process may have {limit}: \
             run `ulimit -n {wanted}` first, or use fewer nodes"
        ));
    }
    Ok(())
}

/// Bytes that follow from seed and index, the same as ours (xorshift64*).
pub(crate) fn value(seed: u64, index: usize, length: usize) -> Vec<u8> {
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

/// The secret of a node's key, which follows from seed and index as ours does.
pub(crate) fn secret(seed: u64, index: usize) -> [u8; 32] {
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&seed.to_be_bytes());
    entropy[8..16].copy_from_slice(&(index as u64).to_be_bytes());
    entropy
}
