//! Estimates this machine's clock offset from the discovery's and the peers' clocks.

use std::fmt::{self, Display};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use skydht_core::node::PeersClock;
use skydht_runtime::Clocks;

use crate::output::Human;

/// Offset from the discovery's date that counts as wrong. The date has whole seconds, and usually
/// arrives within milliseconds.
const DISCOVERY_TOLERANCE: Duration = Duration::from_secs(60);
/// Offset from the peers' clocks that counts as wrong: their timestamps may be some minutes old.
const PEERS_TOLERANCE: Duration = Duration::from_secs(30 * 60);
/// Age after which a date of the discovery is ignored.
const DATE_LIFE: Duration = Duration::from_secs(10 * 60);
/// How long reports mention a clock that was corrected: items signed meanwhile keep their sequence
/// numbers.
const MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// This machine's clock offset, in reports.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ClockReport {
    /// This clock minus the source's, in seconds; negative if this clock is behind.
    pub(crate) offset_s: i64,
    /// The source: the discovery, or a number of peers.
    pub(crate) source: String,
    /// Whether the offset exceeds the tolerance for its source.
    pub(crate) wrong: bool,
    /// Offset before the clock was corrected, in seconds; `None` unless that happened in this run
    /// within the last day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) was_off_s: Option<i64>,
}

impl Display for ClockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Peers' timestamps are those of contacts some minutes ago, so that their clocks are at
        // least that far.
        let bound = match self.source.ends_with("peers") {
            true if self.offset_s < 0 => "at least ",
            true => "at most ",
            false => "",
        };
        write!(f, "{bound}{}", Off(self.offset_s))?;
        write!(f, ", by {}", self.source)?;
        if let Some(was) = self.was_off_s {
            let was = Off(was);
            write!(
                f,
                " (it was {was} in this run: what was put then has wrong numbers)"
            )?;
        }
        Ok(())
    }
}

/// Formats an offset in seconds, such as "3d0h behind".
pub(crate) struct Off(pub(crate) i64);

impl Display for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.0 < 0 { "behind" } else { "ahead" };
        write!(
            f,
            "{} {side}",
            Human(Duration::from_secs(self.0.unsigned_abs()))
        )
    }
}

/// What is known about the time. Clones share their state.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<Mutex<ClockState>>);

#[derive(Default)]
struct ClockState {
    /// The discovery's clock minus the local monotonic one, in seconds, and when it was received.
    discovery: Option<(i64, Duration)>,
    /// The offset at the last report, if it was wrong.
    wrong: Option<i64>,
    /// The offset before the clock was corrected, and the monotonic time of the correction.
    was_off: Option<(i64, Duration)>,
}

impl Clock {
    fn lock(&self) -> MutexGuard<'_, ClockState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a `Date` header of the discovery, received just now.
    pub(crate) fn note_date(&self, text: &str) {
        let Ok(date) = httpdate::parse_http_date(text) else {
            return;
        };
        let Ok(unix) = date.duration_since(SystemTime::UNIX_EPOCH) else {
            return;
        };
        self.note(unix, Clocks::system());
    }

    fn note(&self, unix: Duration, ours: Clocks) {
        let base = seconds(unix).saturating_sub(seconds(ours.monotonic));
        self.lock().discovery = Some((base, ours.monotonic));
    }

    /// Compares this clock with its sources. Returns `None` while there is no source.
    pub(crate) fn report(&self, peers: Option<PeersClock>) -> Option<ClockReport> {
        self.report_at(peers, Clocks::system())
    }

    fn report_at(&self, peers: Option<PeersClock>, ours: Clocks) -> Option<ClockReport> {
        let mut state = self.lock();
        let discovery = state.discovery;
        let fresh = |(_, at): &(i64, Duration)| ours.monotonic.saturating_sub(*at) < DATE_LIFE;
        let discovery = discovery.filter(fresh).map(|(base, _)| {
            let theirs = base.saturating_add(seconds(ours.monotonic));
            seconds(ours.unix).saturating_sub(theirs)
        });
        let peers = peers.map(|it| (-(it.offset / 1_000_000_000), it.peers));
        let is_off = |offset: i64, tolerance: Duration| offset.unsigned_abs() > tolerance.as_secs();
        let (offset_s, source, wrong) = match (peers, discovery) {
            (None, None) => return None,
            // Several peers that agree outvote a single discovery. Its date is preferred only if
            // both are within the peers' tolerance.
            (Some((offset, count)), discovery)
                if is_off(offset, PEERS_TOLERANCE)
                    || discovery.is_none_or(|it| is_off(it, PEERS_TOLERANCE)) =>
            {
                let source = format!("{count} peers");
                (offset, source, is_off(offset, PEERS_TOLERANCE))
            }
            (_, Some(offset)) => {
                let source = "the discovery".to_owned();
                (offset, source, is_off(offset, DISCOVERY_TOLERANCE))
            }
            // The arm with a guard above covers this case.
            (Some(_), None) => return None,
        };
        if wrong {
            state.wrong = Some(offset_s);
        } else if let Some(was) = state.wrong.take() {
            state.was_off = Some((was, ours.monotonic));
        }
        let was_off = state.was_off.filter(|_| !wrong);
        let was_off = was_off.filter(|(_, at)| ours.monotonic.saturating_sub(*at) < MEMORY);
        Some(ClockReport {
            offset_s,
            source,
            wrong,
            was_off_s: was_off.map(|(offset, _)| offset),
        })
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const TRUTH: u64 = 1_790_000_000;

    /// Returns the local clocks after `elapsed` seconds, with a wall clock that is `off` seconds
    /// ahead.
    fn ours(elapsed: u64, off: i64) -> Clocks {
        let unix = (TRUTH + elapsed).checked_add_signed(off).unwrap();
        Clocks {
            monotonic: Duration::from_secs(1_000 + elapsed),
            unix: Duration::from_secs(unix),
        }
    }

    fn peers(offset_s: i64) -> Option<PeersClock> {
        Some(PeersClock {
            offset: offset_s * 1_000_000_000,
            peers: 5,
        })
    }

    #[test]
    fn a_wrong_clock_is_noticed_by_either_source_and_remembered_when_it_is_right_again() {
        for off in [-3 * DAY, 3 * DAY, -DAY / 2] {
            for by_peers in [false, true] {
                let clock = Clock::default();
                let said = |elapsed, off: i64| {
                    clock.report_at(by_peers.then(|| peers(-off).unwrap()), ours(elapsed, off))
                };
                assert_eq!(said(0, off).is_some(), by_peers);
                if !by_peers {
                    clock.note(Duration::from_secs(TRUTH), ours(0, off));
                }
                let report = said(0, off).unwrap();
                assert_eq!((report.offset_s, report.wrong), (off, true));
                assert_eq!(report.was_off_s, None);
                // The correction is noticed without another answer of the source.
                let report = said(5, 0).unwrap();
                assert_eq!((report.offset_s, report.wrong), (0, false));
                assert_eq!(report.was_off_s, Some(off));
            }
        }
    }

    #[test]
    fn several_peers_outvote_a_discovery_and_small_differences_say_nothing() {
        let clock = Clock::default();
        clock.note(
            Duration::from_secs(TRUTH) - Duration::from_secs(3 * 86_400),
            ours(0, 0),
        );
        assert!(clock.report_at(None, ours(0, 0)).unwrap().wrong);
        let clock = Clock::default();
        clock.note(
            Duration::from_secs(TRUTH) - Duration::from_secs(3 * 86_400),
            ours(0, 0),
        );
        let report = clock.report_at(peers(-120), ours(0, 0)).unwrap();
        assert_eq!((report.source.as_str(), report.wrong), ("5 peers", false));
        // Peers' timestamps lag by some minutes, so that the discovery is the better source.
        let clock = Clock::default();
        clock.note(Duration::from_secs(TRUTH), ours(0, 30));
        let report = clock.report_at(peers(-600), ours(0, 30)).unwrap();
        assert_eq!((report.offset_s, report.wrong), (30, false));
        // The date is too old to be used.
        assert_eq!(clock.report_at(None, ours(3_600, 0)), None);
    }

    #[test]
    fn what_only_bounds_the_difference_is_reported_as_a_bound() {
        for (offset_s, source, text) in [
            (38, "4 peers", "at most 38s ahead, by 4 peers"),
            (-3_720, "4 peers", "at least 1h2m behind, by 4 peers"),
            (38, "the discovery", "38s ahead, by the discovery"),
        ] {
            let report = ClockReport {
                offset_s,
                source: source.into(),
                wrong: false,
                was_off_s: None,
            };
            assert_eq!(report.to_string(), text);
        }
    }

    #[test]
    fn dates_are_read_as_http_has_them() {
        let clock = Clock::default();
        for nonsense in ["", "yesterday", "Sat, 99 Nov 2026 11:42:24 GMT"] {
            clock.note_date(nonsense);
            assert!(clock.lock().discovery.is_none());
        }
        clock.note_date("Sat, 28 Nov 2026 11:42:24 GMT");
        assert!(clock.lock().discovery.is_some());
    }
}
