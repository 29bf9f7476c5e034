//! Whether this machine's clock is right: compared with what the discovery and the peers say.

use std::fmt::{self, Display};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use skydht_core::node::PeersClock;
use skydht_runtime::Clocks;

use crate::output::Human;

/// The discovery's date has whole seconds and comes within milliseconds, mostly.
const DISCOVERY_TOLERANCE: Duration = Duration::from_secs(60);
/// What peers say may be some minutes old.
const PEERS_TOLERANCE: Duration = Duration::from_secs(30 * 60);
/// A date of the discovery that is older than this no longer counts.
const DATE_LIFE: Duration = Duration::from_secs(10 * 60);
/// How long it is told that the clock was wrong: what was signed then keeps its numbers.
const MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// A clock's difference, as reports have it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ClockReport {
    /// Ours minus theirs, in seconds: below zero, ours is behind.
    pub(crate) offset_s: i64,
    /// Who says so.
    pub(crate) source: String,
    /// Whether that is more than can be explained otherwise.
    pub(crate) wrong: bool,
    /// The difference that there was before the clock was set right, if it was wrong in this run
    /// and within the last day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) was_off_s: Option<i64>,
}

impl Display for ClockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Peers name contacts of some minutes ago: their clocks are no earlier than that.
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

/// "3d0h behind".
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

/// What is known of the time. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The discovery's clock minus our monotonic one, in seconds, and when it said so.
    discovery: Option<(i64, Duration)>,
    /// By how much ours was off when it was looked at last, if it was wrong then.
    wrong: Option<i64>,
    /// By how much it was off before it was set right, and when that was.
    was_off: Option<(i64, Duration)>,
}

impl Clock {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The discovery answered with this date, just now.
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

    /// Compares. `None` while no source has said anything.
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
            // Several agree: a single deviant is wrong.
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
            // Ruled out above.
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

    /// Our clocks, after some time with a wall clock that is off.
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
                // Set right, and noticed without another answer.
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
        // Peers are late by some minutes, as they always are: the discovery is closer.
        let clock = Clock::default();
        clock.note(Duration::from_secs(TRUTH), ours(0, 30));
        let report = clock.report_at(peers(-600), ours(0, 30)).unwrap();
        assert_eq!((report.offset_s, report.wrong), (30, false));
        // Its date is of no use any more.
        assert_eq!(clock.report_at(None, ours(3_600, 0)), None);
    }

    #[test]
    fn what_only_bounds_the_difference_is_told_as_a_bound() {
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
