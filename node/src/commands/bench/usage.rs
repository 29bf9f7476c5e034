//! Resource usage of processes: processor time, memory, context switches, allocations.

use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

/// Returns the processor time of this process, over all threads.
pub(super) fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// Returns the processor time of another process, in steps of 10 ms; zero without `/proc`.
pub(super) fn cpu_of(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    cpu_in(&stat, clock_ticks_per_second())
}

fn cpu_in(stat: &str, ticks_per_second: u64) -> Duration {
    // The process name, in parentheses, may contain anything, so that fields are counted after it;
    // utime and stime are fields 14 and 15.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_secs_f64(ticks as f64 / ticks_per_second.max(1) as f64)
}

/// Returns the resident memory of another process, in MiB; zero without `/proc`.
pub(super) fn resident_mib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    field(&status, "VmRSS:").unwrap_or_default() as f64 / 1024.0
}

/// Returns how often threads of this process blocked, on sockets, on each other, or on timers; zero
/// without `/proc`.
pub(super) fn own_waits() -> u64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return 0;
    };
    let status = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("status"));
    threads
        .filter_map(|thread| status(thread.ok()?).ok())
        .filter_map(|status| field(&status, "voluntary_ctxt_switches:"))
        .sum()
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns the number of this process's allocations and their bytes; `None` without the feature
/// `count-allocations`.
pub(super) fn own_allocations() -> Option<(u64, u64)> {
    #[cfg(feature = "count-allocations")]
    {
        let stats = stats_alloc::INSTRUMENTED_SYSTEM.stats();
        let count = stats.allocations + stats.reallocations;
        Some((count as u64, stats.bytes_allocated as u64))
    }
    #[cfg(not(feature = "count-allocations"))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 3 0 99";
        assert_eq!(cpu_in(stat, 100), Duration::from_secs(2));
        assert_eq!(cpu_in("", 100), Duration::ZERO);
    }

    #[test]
    fn this_process_is_measured() {
        let begun = own_cpu();
        while own_cpu() == begun {
            std::hint::spin_loop();
        }
        let status = "VmRSS:\t 2048 kB\nvoluntary_ctxt_switches:\t7\n";
        assert_eq!(field(status, "VmRSS:"), Some(2048));
        assert_eq!(field(status, "voluntary_ctxt_switches:"), Some(7));
        assert!(resident_mib(std::process::id()) > 0.1);
        assert_eq!(
            own_allocations().is_some(),
            cfg!(feature = "count-allocations")
        );
    }
}
