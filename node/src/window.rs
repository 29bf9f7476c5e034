//! How often something was counted lately, from counts since the start.

use std::collections::VecDeque;
use std::time::Duration;

/// What is "lately".
pub(crate) const WINDOW: Duration = Duration::from_secs(5 * 60);
/// Counts are kept at most this often.
const STEP: Duration = Duration::from_secs(10);

/// Counts at moments of the last [`WINDOW`], and the last ones before.
#[derive(Default)]
pub(crate) struct Window(VecDeque<(Duration, Vec<u64>)>);

impl Window {
    /// These are the counts now; returns how much of each was added within the window. What was
    /// counted before the first look counts as of that moment.
    pub(crate) fn observe(&mut self, now: Duration, counts: &[u64]) -> Vec<u64> {
        let before = now.checked_sub(WINDOW);
        // The last one before the window is the one to compare with.
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
            // 500 within a second, at the end of the first minute.
            if second == 60 {
                count += 500;
            }
            let recent = window.observe(at(second), &[count, second])[0];
            let expected = if (60..60 + 300).contains(&second) {
                500
            } else {
                0
            };
            // A look may be late by a step.
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
