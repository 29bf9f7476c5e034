//! What a node counts. The core only fills an array; names and labels are made from the enum.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// One thing that is counted.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[non_exhaustive]
        pub enum Counter {
            $($(#[$doc])* $variant,)*
        }

        impl Counter {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Stable name, in snake case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        const COUNT: usize = Counter::ALL.len();
    };
}

counters! {
    /// Requests received whole.
    RequestsServed => "requests_served",
    /// Requests refused because of a limit.
    RequestsOverloaded => "requests_overloaded",
    /// Calls started.
    CallsStarted => "calls_started",
    /// Calls answered.
    CallsAnswered => "calls_answered",
    /// Calls that failed, for any reason.
    CallsFailed => "calls_failed",
    /// Calls repeated because the stream ended before a byte.
    CallsRetried => "calls_retried",
    /// Calls that went over a kept stream.
    CallsOnKeptStream => "calls_on_kept_stream",
    /// Soft deadlines passed.
    CallsSlow => "calls_slow",
    /// Streams that could not be opened.
    OpensFailed => "opens_failed",
    /// Bytes received.
    BytesIn => "bytes_in",
    /// Bytes sent.
    BytesOut => "bytes_out",
    /// Frames with length zero or above the limit of their method.
    FrameLength => "frame_length",
    /// Frames cut off by the end of their stream.
    FrameTruncated => "frame_truncated",
    /// Methods that do not exist.
    UnknownMethod => "unknown_method",
    /// Bodies that do not decode.
    Undecodable => "undecodable",
    /// Keys that are no points on the curve: what kills upstream's process.
    InvalidKeys => "invalid_keys",
    /// Senders named in JSON that are not the proven peer.
    ForgedSenders => "forged_senders",
    /// Answers with another method than asked.
    WrongMethod => "wrong_method",
    /// Requests not complete within their deadline.
    SlowRequests => "slow_requests",
    /// Answers that did not leave in time, or while others waited for the room.
    SlowReaders => "slow_readers",
    /// Streams that made room for others.
    StreamsEvicted => "streams_evicted",
    /// Callers refused for a minute because they wasted much work.
    CallersCut => "callers_cut",
    /// Events for streams that are closed already.
    LateEvents => "late_events",
    /// Clock readings that went back.
    ClockWentBack => "clock_went_back",
    /// Clock jumps of more than a minute.
    ClockJumped => "clock_jumped",
    /// Peers in answers whose id is not that of their key.
    LyingIds => "lying_ids",
    /// Newcomers in answers beyond the limit.
    NewcomersCut => "newcomers_cut",
    /// Answers with an item for another target or owner than asked.
    WrongItems => "wrong_items",
    /// Items whose signature is not valid.
    ForgedItems => "forged_items",
    /// Streams cut because of three forgeries.
    ForgersCut => "forgers_cut",
    /// Verification jobs handed out.
    VerifyJobs => "verify_jobs",
    /// Verifications spared because the same item is held.
    VerifySpared => "verify_spared",
    /// Verifications refused because of a limit.
    VerifyOverloaded => "verify_overloaded",
    /// Items stored anew or in place of lower ranks.
    ItemsStored => "items_stored",
    /// Items whose life was renewed.
    ItemsRenewed => "items_renewed",
    /// Items refused, for any reason.
    ItemsRefused => "items_refused",
    /// Items expired.
    ItemsExpired => "items_expired",
    /// Items evicted for want of room.
    ItemsEvicted => "items_evicted",
    /// Targets that storage was asked for before their turn, while it was read at the start.
    Loads => "loads",
    /// Those among them that storage could not be read for.
    LoadsFailed => "loads_failed",
    /// Requests and operations served from memory because storage did not answer in time.
    LoadsLate => "loads_late",
    /// Changes to own items that storage did not keep.
    NotDurable => "not_durable",
    /// Equal sequences with different content.
    Conflicts => "conflicts",
    /// Mirrors refused because their key is not configured.
    MirrorsRefused => "mirrors_refused",
    /// Owners that replaced a mirror.
    OwnerTakeovers => "owner_takeovers",
    /// Items refused because of a tombstone or its mark.
    DeletedRefused => "deleted_refused",
    /// Peers that entered the table.
    PeersAdded => "peers_added",
    /// Peers that left the table.
    PeersRemoved => "peers_removed",
    /// Oldest peers pinged because their bucket is full.
    EvictionPings => "eviction_pings",
    /// Oldest peers replaced after such a ping.
    PingEvictions => "ping_evictions",
    /// Peers of the table pinged because they were silent for long.
    ProofPings => "proof_pings",
    /// Unknown callers pinged back.
    PingBacks => "ping_backs",
    /// Addresses probed.
    Probes => "probes",
    /// Addresses whose probe failed.
    ProbesFailed => "probes_failed",
    /// Lookups started.
    Lookups => "lookups",
    /// Lookups that ended without convergence.
    LookupsUnconverged => "lookups_unconverged",
    /// Lookups widened because the nearest are too dense.
    LookupsWidened => "lookups_widened",
    /// Operations started.
    Operations => "operations",
    /// Read repairs sent.
    Repairs => "repairs",
    /// Own items renewed.
    Renewals => "renewals",
    /// Reconciliation sessions started.
    SyncsStarted => "syncs_started",
    /// Reconciliation sessions that failed.
    SyncsFailed => "syncs_failed",
    /// Reconciliation requests answered.
    SyncsServed => "syncs_served",
    /// Items that sessions of ours brought.
    SyncFetched => "sync_fetched",
    /// Items that this node gave to full nodes.
    SyncGiven => "sync_given",
    /// Bytes of the messages of sessions of ours, both ways.
    SyncBytes => "sync_bytes",
    /// Requests of peers that waited for a newer item.
    PollsServed => "polls_served",
    /// Items offered to full nodes, once for each.
    Offers => "offers",
    /// Items given to peers that entered the table among the nearest to them.
    Handovers => "handovers",
    /// Peers that entered the table and were handed nothing, since too many waited.
    HandoversSkipped => "handovers_skipped",
}

/// The counts, indexed by [`Counter`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counters([u64; COUNT]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; COUNT])
    }
}

impl Counters {
    /// One count.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// All counts with their names.
    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL
            .iter()
            .map(|counter| (*counter, self.get(*counter)))
    }

    pub(crate) fn add(&mut self, counter: Counter, n: u64) {
        let count = &mut self.0[counter as usize];
        *count = count.saturating_add(n);
    }

    pub(crate) fn count(&mut self, counter: Counter) {
        self.add(counter, 1);
    }
}

impl Serialize for Counters {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(COUNT))?;
        for (counter, n) in self.iter() {
            map.serialize_entry(counter.name(), &n)?;
        }
        map.end()
    }
}
