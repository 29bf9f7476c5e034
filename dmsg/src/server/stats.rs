//! What a server counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::table::Table;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a server counts; all since its start, except `sessions`, `streams`, `links`,
        /// `handshaking`, `relaying` and `unread_bytes`.
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        #[non_exhaustive]
        pub struct ServerStats {
            /// Sessions now.
            pub sessions: usize,
            /// Streams of these sessions, in both directions, those being opened included.
            pub streams: usize,
            /// Servers that are linked now, by a session from either side.
            pub links: usize,
            /// Handshakes of sessions under way now.
            pub handshaking: usize,
            /// Streams that are relayed now, or about to be.
            pub relaying: usize,
            /// Bytes of data that came and were not read or passed on, with what they take here.
            pub unread_bytes: usize,
            /// Streams that were reset because too many such bytes were held.
            pub cut_streams: u64,
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        impl Counters {
            /// With the sessions that there are now; what else there is now is left at zero.
            pub(super) fn snapshot(&self, table: &Table) -> ServerStats {
                ServerStats {
                    sessions: table.session_count(),
                    streams: table.streams(),
                    links: table.links(None).len(),
                    $($name: self.$name.get(),)*
                    ..ServerStats::default()
                }
            }
        }
    };
}

counters! {
    /// Sessions that were made.
    accepted,
    /// Sessions that a newer one of the same key replaced.
    superseded,
    /// Sessions that were refused because of the limit.
    refused_sessions,
    /// Sessions that made room for others.
    displaced_sessions,
    /// Sessions that were refused because their clients multiplex with smux.
    refused_smux,
    /// Connections that failed their handshake or did not finish it in time.
    handshakes_failed,
    /// Connections that the other side closed during the handshake: probes and port scans.
    handshakes_abandoned,
    /// Handshakes that made room for others.
    handshakes_dropped,
    /// Sessions that ended by silence or a violation.
    lost,
    /// Streams that were relayed.
    relayed,
    /// Bytes that were relayed.
    relayed_bytes,
    /// Requests that were malformed, badly signed, of another source, repeated, or too late.
    invalid_requests,
    /// Pings that were answered.
    pings,
    /// Announcements of servers that were accepted.
    peers_accepted,
    /// Announcements of servers that were refused because of the limit.
    peers_refused,
    /// Requests that servers passed on to us, or clients in another's name.
    passed_on,
    /// Streams of our clients that another server took on.
    forwarded,
    /// Links to other servers that were made.
    links_made,
    /// Links to other servers that could not be made.
    links_failed,
    /// Links whose server did not answer that we announced ourselves.
    links_unanswered,
    /// Links whose server does not let us pass on requests.
    links_refused,
    /// Requests to keys that no server had just before.
    remembered_missing,
    /// Streams that waited because their session opened too many a second.
    paced,
    /// Requests to keys that have no session here.
    no_destination,
    /// Requests beyond the limits on a session's streams and on relayed ones.
    over_capacity,
    /// Requests of a source that had its share of the destination's streams.
    over_share,
    /// Relayed streams that made room for others.
    displaced_streams,
    /// Requests that the destination's session did not take or answer well.
    failed_destinations,
    /// Refusals that destinations signed and that were passed on.
    refusals,
    /// Questions for the public address.
    ip_lookups,
    /// Streams to our own key that were accepted.
    own_accepted,
    /// Streams to our own key that were refused.
    own_refused,
    /// Times that our entry was published.
    published,
    /// Times that the discovery turned out not to know a member of our entry, so that it is
    /// published without such.
    plain_entries,
    /// Times that the discovery did not take it.
    publish_failed,
}

#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn count(&self) {
        self.add(1);
    }
}
