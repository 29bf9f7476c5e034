//! What the operator of a server should read in its log.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use skydht_core::key::PublicKey;

/// How often clients that speak smux are worth a line: each comes back again and again.
const SMUX_EVERY: Duration = Duration::from_secs(60);

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
        /// How many more there were since the last notice.
        others: u64,
    },
    /// The discovery does not know a member of our entry, which is published without such members
    /// from now on.
    PlainEntry,
    /// A server that we are linked with did not answer that we announced ourselves.
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

/// Where notices go; by default nowhere.
#[derive(Clone, Default)]
pub struct Notify(Option<Arc<Receiver>>);

impl Notify {
    /// Calls `notify` with each notice. It must not wait.
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

/// When clients that speak smux were last worth a line, and how many came since.
#[derive(Default)]
pub(super) struct SmuxPace(Mutex<(Option<Duration>, u64)>);

impl SmuxPace {
    /// One more came: how many others to tell of with it, if it is time.
    pub(super) fn due(&self, now: Duration) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, others) = &mut *state;
        if last.is_some_and(|last| now.saturating_sub(last) < SMUX_EVERY) {
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
    fn clients_that_speak_smux_are_worth_a_line_a_minute_with_how_many_they_were() {
        let pace = SmuxPace::default();
        let begin = Duration::from_secs(7);
        assert_eq!(pace.due(begin), Some(0));
        for _ in 0..3 {
            assert_eq!(pace.due(begin + SMUX_EVERY - Duration::from_nanos(1)), None);
        }
        assert_eq!(pace.due(begin + SMUX_EVERY), Some(3));
        assert_eq!(pace.due(begin + 2 * SMUX_EVERY), Some(0));
    }

    #[test]
    fn a_receiver_of_notices_shows_whether_it_is_there() {
        assert_eq!(format!("{:?}", Notify::default()), "Notify(false)");
        assert_eq!(format!("{:?}", Notify::new(|_| ())), "Notify(true)");
    }
}
