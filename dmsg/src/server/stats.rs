//! Counters of a server.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::table::SessionTable;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of a server, all since its start, except `sessions`, `streams`, `links`,
        /// `handshaking`, `relaying` and `unread_bytes`.
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        #[non_exhaustive]
        pub struct ServerStats {
            /// Sessions that exist now.
            pub sessions: usize,
            /// Streams of these sessions, in both directions, those being opened included.
            pub streams: usize,
            /// Servers that are linked now, whichever side dialled.
            pub links: usize,
            /// Handshakes of sessions in progress now.
            pub handshaking: usize,
            /// Streams that are relayed now, or about to be.
            pub relaying: usize,
            /// Bytes received and not yet read or relayed, counted by the memory that they occupy.
            pub unread_bytes: usize,
            /// Streams that were reset because there were too many such bytes.
            pub cut_streams: u64,
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        impl Counters {
            /// Copies the counters. Of the current values, only those of the session table are set.
            pub(super) fn snapshot(&self, table: &SessionTable) -> ServerStats {
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
    /// Sessions that were refused at the limit.
    refused_sessions,
    /// Sessions that ended to make room for others.
    displaced_sessions,
    /// Sessions that were refused because their clients multiplex with smux.
    refused_smux,
    /// Connections that failed their handshake or did not finish it in time.
    handshakes_failed,
    /// Connections that the peer closed during the handshake: probes and port scans.
    handshakes_abandoned,
    /// Handshakes that ended to make room for others.
    handshakes_dropped,
    /// Sessions that ended because the peer was silent, the connection failed, or the protocol was
    /// violated.
    lost,
    /// Streams that were relayed.
    relayed,
    /// Bytes that were relayed.
    relayed_bytes,
    /// Requests that were malformed, wrongly signed, of another source, replayed, or too late.
    invalid_requests,
    /// Pings that were answered.
    pings,
    /// Announcements of servers that were accepted.
    peers_accepted,
    /// Announcements of servers that were refused, over the limit or not in the list.
    peers_refused,
    /// Requests that servers passed on to us, or that clients sent for another key.
    passed_on,
    /// Streams of our clients that were relayed through another server.
    forwarded,
    /// Links to other servers that were made.
    links_made,
    /// Links to other servers that could not be made.
    links_failed,
    /// Links whose server did not answer our announcement.
    links_unanswered,
    /// Links whose server does not let us pass on requests.
    links_refused,
    /// Requests for keys that no server had a moment ago, so that no link was tried.
    remembered_missing,
    /// Streams that had to wait because their session opened too many per second.
    paced,
    /// Requests for keys that have no session here.
    no_destination,
    /// Requests over the limit of a session's streams or of relayed streams.
    over_capacity,
    /// Requests of sources at their limit of streams to the destination.
    over_share,
    /// Relayed streams that ended to make room for others.
    displaced_streams,
    /// Requests that the destination's session did not accept, or answered wrongly.
    failed_destinations,
    /// Refusals signed by destinations and passed on.
    refusals,
    /// Requests for the client's public address.
    ip_lookups,
    /// Streams to our own key that were accepted.
    own_accepted,
    /// Streams to our own key that were refused.
    own_refused,
    /// Times that the entry was published.
    published,
    /// Times that the discovery turned out not to know a member of the entry, which is then
    /// published without later members.
    plain_entries,
    /// Attempts to publish the entry that failed.
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
