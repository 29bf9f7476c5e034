//! Recent increments of counters that count from the start.

use std::collections::VecDeque;
use std::time::Duration;

/// Length of the window.
pub(crate) const WINDOW: Duration = Duration::from_secs(5 * 60);
/// Minimum interval between two stored samples.
const STEP: Duration = Duration::from_secs(10);

/// Samples of the last [`WINDOW`], and the last one before it.
#[derive(Default)]
pub(crate) struct Window(VecDeque<(Duration, Vec<u64>)>);

impl Window {
    /// Returns the increment of each counter within the window. Counts from before the first call
    /// are treated as if they had happened at that call.
    pub(crate) fn observe(&mut self, now: Duration, counts: &[u64]) -> Vec<u64> {
        let before = now.checked_sub(WINDOW);
        // The last sample before the window is the base of the comparison.
        while before.is_some_and(|before| self.0.get(1).is_some_and(|(at, _)| *at <= before)) {
            self.0.pop_front();
        }
        let base = self.0.front();
        let base = base.filter(|(at, _)| before.is_some_and(|before| *at <= before));
        let recent = counts.iter().enumerate().map(|(index, count)| {
            let old = base.and_then(|(_, counts)| counts.get(index));
            count.saturating_sub(old.copied().unwrap_or(0))
        });
        let recent = recent.collect();
        if self.0.back().is_none_or(|(at, _)| now >= *at + STEP) {
            self.0.push_back((now, counts.to_vec()));
        }
        recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_forgotten_after_the_window_and_a_trickle_is_not() {
        let mut window = Window::default();
        let at = Duration::from_secs;
        let mut count = 0;
        for second in 0..3_600 {
            // 500 events within a second, at the end of the first minute.
            if second == 60 {
                count += 500;
            }
            let recent = window.observe(at(second), &[count, second])[0];
            let expected = if (60..60 + 300).contains(&second) {
                500
            } else {
                0
            };
            // The window's end is accurate to one step.
            let sloppy = (360..=370).contains(&second);
            assert!(recent == expected || sloppy, "{second}: {recent}");
            let trickle = window.observe(at(second), &[count, second])[1];
            assert!(
                trickle.abs_diff(second.min(300)) <= 10,
                "{second}: {trickle}"
            );
            assert!(window.0.len() <= 33);
        }
    }
}
