//! Runs many operations concurrently, and summarises their durations.

use std::cmp::Ordering;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::report::ms;

/// Calls `make` with 0 to `count` − 1, runs at most `concurrency` of the futures at a time, and
/// returns the results in that order.
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

/// Summary of durations, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
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
    /// Summarises durations; all zero if there are none.
    pub(crate) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        let (Some(min), Some(max)) = (durations.first(), durations.last()) else {
            return Self::default();
        };
        let total: Duration = durations.iter().sum();
        let at = |mille| ms(nearest_rank(&durations, mille).copied().unwrap_or_default());
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

/// Returns a percentile of a sorted list by nearest rank.
pub(crate) fn rank<T>(sorted: &[T], percent: usize) -> Option<&T> {
    nearest_rank(sorted, percent * 10)
}

fn nearest_rank<T>(sorted: &[T], mille: usize) -> Option<&T> {
    let rank = (sorted.len() * mille).div_ceil(1_000);
    sorted.get(rank.saturating_sub(1))
}

/// Returns the median of each number in samples of the same structure; other values are those of
/// the first sample.
pub(crate) fn median<T: Serialize + DeserializeOwned>(samples: &[T]) -> serde_json::Result<T> {
    let samples: Vec<Value> = samples
        .iter()
        .map(serde_json::to_value)
        .collect::<serde_json::Result<_>>()?;
    serde_json::from_value(median_of(&samples.iter().collect::<Vec<_>>()))
}

fn median_of(samples: &[&Value]) -> Value {
    match samples.first() {
        Some(Value::Number(_)) => {
            let mut sorted = samples.to_vec();
            sorted.sort_by(|a, b| {
                a.as_f64()
                    .partial_cmp(&b.as_f64())
                    .unwrap_or(Ordering::Equal)
            });
            (*rank(&sorted, 50).unwrap_or(&&Value::Null)).clone()
        }
        Some(Value::Object(fields)) => fields
            .keys()
            .map(|key| {
                let of_each: Vec<_> = samples.iter().filter_map(|it| it.get(key)).collect();
                (key.clone(), median_of(&of_each))
            })
            .collect(),
        Some(first) => (*first).clone(),
        None => Value::Null,
    }
}

/// Returns the resident memory of this process, in bytes.
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Resets the peak of resident memory.
pub(crate) fn forget_peak() {
    // Linux: "5" resets VmHWM (proc_pid_clear_refs(5)). Elsewhere the peak is not reset.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Returns the peak of resident memory, in bytes.
pub(crate) fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Describes the machine in one line.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let durations: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        let latency = Latency::of(durations);
        let expected = Latency {
            min: 1.0,
            avg: 50.5,
            p50: 50.0,
            p95: 95.0,
            p99: 99.0,
            p999: 100.0,
            max: 100.0,
        };
        assert_eq!(latency, expected);
        assert_eq!(Latency::of(vec![Duration::from_millis(7)]).p99, 7.0);
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }

    #[test]
    fn medians_are_taken_number_by_number() {
        let sample = |p50, avg| {
            let latency = Latency {
                p50,
                avg,
                ..Latency::default()
            };
            (Some(latency), "text".to_owned())
        };
        let samples = [sample(3.0, 1.0), sample(1.0, 2.0), sample(2.0, 9.0)];
        // Lists, such as a pair, are taken from the first sample.
        assert_eq!(median(&samples).unwrap(), samples[0]);
        let latencies = samples.map(|(latency, _)| latency.unwrap());
        let found = median(&latencies).unwrap();
        assert_eq!((found.p50, found.avg), (2.0, 2.0));
    }

    #[test]
    fn every_index_is_done_once_and_the_order_is_kept() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        for concurrency in [0, 1, 7, 100] {
            let results = runtime.block_on(each(20, concurrency, |n| async move { n * n }));
            assert_eq!(results, (0..20).map(|n| n * n).collect::<Vec<_>>());
        }
        assert!(
            runtime
                .block_on(each(0, 4, |n| async move { n }))
                .is_empty()
        );
    }

    #[test]
    fn the_machine_is_known() {
        // Other tests may allocate between the two readings.
        let resident = resident_bytes();
        assert!(resident.unwrap() > 100_000);
        assert!(peak_bytes() >= resident);
        assert!(machine().contains("cores"));
    }
}
