//! Servers to link with, and when each is dialled.

use std::collections::BTreeMap;
use std::time::Duration;

use skydht_core::key::PublicKey;

use super::routes::RouteCache;
use crate::discovery::KnownServer;

/// First and longest wait before a server is dialled again; each wait is 1.5 times the last.
pub(super) const REDIAL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// A link that lasted this long resets the wait to the first one.
const GOOD_LINK: Duration = Duration::from_secs(30);
/// Maximum number of servers remembered; a discovery may return as many.
const MAX_SERVERS: usize = 512;
/// Maximum number of concurrent dials.
const MAX_DIALS: usize = 16;

struct LinkTarget {
    server: KnownServer,
    /// When a server that the discovery named is forgotten; `None` for a configured one.
    until: Option<Duration>,
    /// The wait before the current or next dial.
    wait: Duration,
    /// When it may be dialled.
    due: Duration,
    /// Set from [`LinkTable::begin`] to [`LinkTable::ended`], thus also while it is linked.
    dialling: bool,
}

/// The servers to link with, and the routes over them.
#[derive(Default)]
pub(super) struct LinkTable {
    known: BTreeMap<PublicKey, LinkTarget>,
    pub(super) routes: RouteCache,
}

impl LinkTable {
    /// Adds a server or updates its address. `until` is when to forget it; `None` is never.
    pub(super) fn learn(&mut self, server: KnownServer, now: Duration, until: Option<Duration>) {
        if let Some(known) = self.known.get_mut(&server.key) {
            known.server = server;
            known.until = known.until.and(until);
            return;
        }
        if self.known.len() < MAX_SERVERS {
            let known = LinkTarget {
                server,
                until,
                wait: Duration::ZERO,
                due: now,
                dialling: false,
            };
            self.known.insert(server.key, known);
        }
    }

    /// Returns the servers to dial now. They count as being dialled until [`LinkTable::ended`].
    pub(super) fn begin(
        &mut self,
        now: Duration,
        is_linked: impl Fn(&PublicKey) -> bool,
    ) -> Vec<KnownServer> {
        self.known
            .retain(|_, it| it.dialling || it.until.is_none_or(|until| until > now));
        let mut room = MAX_DIALS.saturating_sub(self.dialling(&is_linked));
        let mut begun = Vec::new();
        for known in self.known.values_mut() {
            if room > 0 && !known.dialling && known.due <= now && !is_linked(&known.server.key) {
                room -= 1;
                known.dialling = true;
                begun.push(known.server);
            }
        }
        begun
    }

    /// Counts the servers that are being dialled and not linked yet.
    fn dialling(&self, is_linked: impl Fn(&PublicKey) -> bool) -> usize {
        let dialled = self.known.values().filter(|it| it.dialling);
        dialled.filter(|it| !is_linked(&it.server.key)).count()
    }

    /// Returns when the next server is due.
    pub(super) fn next(&self) -> Option<Duration> {
        let waiting = self.known.values().filter(|it| !it.dialling);
        waiting.map(|it| it.due).min()
    }

    /// Records that a link ended after `lived`, or was not made.
    pub(super) fn ended(&mut self, now: Duration, key: &PublicKey, lived: Duration) {
        let Some(known) = self.known.get_mut(key) else {
            return;
        };
        let longer = (known.wait * 3 / 2).clamp(REDIAL.0, REDIAL.1);
        known.wait = if lived >= GOOD_LINK { REDIAL.0 } else { longer };
        (known.due, known.dialling) = (now + known.wait, false);
    }
}

#[cfg(test)]
mod tests {
    use skydht_core::key::SecretKey;

    use super::*;

    fn server(n: u16) -> KnownServer {
        let mut bytes = [1; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        KnownServer {
            key: SecretKey::from_bytes(&bytes).unwrap().public(),
            address: ([192, 0, 2, 1], 80).into(),
        }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn redial_waits_grow_until_a_link_lasts() {
        let mut links = LinkTable::default();
        links.learn(server(1), at(0), None);
        let (mut now, mut waits) = (at(0), Vec::new());
        for _ in 0..8 {
            assert_eq!(links.begin(now, |_| false), [server(1)]);
            assert_eq!(links.begin(now, |_| false), [], "once at a time");
            links.ended(now, &server(1).key, at(29));
            waits.push((links.next().unwrap() - now).as_millis());
            now = links.next().unwrap();
        }
        assert_eq!(
            waits,
            [5_000, 7_500, 11_250, 16_875, 25_312, 37_968, 56_953, 60_000]
        );
        links.begin(now, |_| false);
        links.ended(now, &server(1).key, GOOD_LINK);
        assert_eq!(links.next(), Some(now + REDIAL.0));
        assert_eq!(
            links.begin(now + REDIAL.0, |_| true),
            [],
            "linked from the other side"
        );
    }

    #[test]
    fn servers_and_dials_are_bounded_and_servers_not_named_are_forgotten() {
        let mut links = LinkTable::default();
        for n in 0..600 {
            links.learn(server(n), at(0), Some(at(5)));
        }
        assert_eq!(links.known.len(), MAX_SERVERS);
        assert_eq!(links.begin(at(0), |_| false).len(), MAX_DIALS);
        assert_eq!(links.begin(at(0), |_| false).len(), 0);
        links.learn(server(3), at(1), None);
        links.begin(at(6), |_| false);
        // Left are the servers being dialled and the configured one.
        assert_eq!(links.known.len(), MAX_DIALS + 1);
    }
}
