//! Notices for the operator of a server, meant for its log.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use skydht_core::key::PublicKey;

/// Minimum interval between two notices about clients that use smux: each of them reconnects again
/// and again.
const SMUX_NOTICE_INTERVAL: Duration = Duration::from_secs(60);

/// Something that the operator should know.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A client's session was refused because it multiplexes with smux.
    Smux {
        /// The client.
        key: PublicKey,
        /// Where it connected from.
        address: SocketAddr,
        /// How many more such sessions were refused since the last notice.
        others: u64,
    },
    /// The discovery does not know a member of our entry. The entry is published without later
    /// members from now on.
    PlainEntry,
    /// A server that we are linked with did not answer our announcement.
    Unanswered {
        /// The server.
        key: PublicKey,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smux {
                key,
                address,
                others,
            } => {
                write!(
                    f,
                    "refused the session of {key} from {address}: it multiplexes with smux, which \
                     this server does not speak; set \"protocol\" to \"yamux\" in its configuration"
                )?;
                match others {
                    0 => Ok(()),
                    others => write!(f, " ({others} more since the last such line)"),
                }
            }
            Self::Unanswered { key } => write!(
                f,
                "the DMSG server {key} did not answer our announcement: it may be older than \
                 August 2026, and then passes on nothing"
            ),
            Self::PlainEntry => f.write_str(
                "the discovery did not accept the signature of this server's entry: it is older \
                 than the member dht_bootstrap; the entry is published without it",
            ),
        }
    }
}

type Receiver = dyn Fn(&Notice) + Send + Sync;

/// Receiver of notices; the default ignores them.
#[derive(Clone, Default)]
pub struct Notify(Option<Arc<Receiver>>);

impl Notify {
    /// Calls `notify` with each notice. It must not block.
    pub fn new(notify: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(notify)))
    }

    pub(super) fn call(&self, notice: &Notice) {
        if let Some(notify) = &self.0 {
            notify(notice);
        }
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Notify").field(&self.0.is_some()).finish()
    }
}

/// When the last notice about smux was due, and how many refusals followed since.
#[derive(Default)]
pub(super) struct SmuxPace(Mutex<(Option<Duration>, u64)>);

impl SmuxPace {
    /// Records a refusal. Returns how many others to report with it, or `None` if no notice is due.
    pub(super) fn due(&self, now: Duration) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, others) = &mut *state;
        if last.is_some_and(|last| now.saturating_sub(last) < SMUX_NOTICE_INTERVAL) {
            *others += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smux_notices_are_limited_to_one_a_minute_and_count_the_rest() {
        let pace = SmuxPace::default();
        let begin = Duration::from_secs(7);
        assert_eq!(pace.due(begin), Some(0));
        for _ in 0..3 {
            assert_eq!(
                pace.due(begin + SMUX_NOTICE_INTERVAL - Duration::from_nanos(1)),
                None
            );
        }
        assert_eq!(pace.due(begin + SMUX_NOTICE_INTERVAL), Some(3));
        assert_eq!(pace.due(begin + 2 * SMUX_NOTICE_INTERVAL), Some(0));
    }

    #[test]
    fn a_receiver_of_notices_shows_whether_it_is_there() {
        assert_eq!(format!("{:?}", Notify::default()), "Notify(false)");
        assert_eq!(format!("{:?}", Notify::new(|_| ())), "Notify(true)");
    }
}
