//! The node's counters. The core only fills an array; names and labels are made from the enum.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// A counter of the node.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[non_exhaustive]
        pub enum Counter {
            $($(#[$doc])* $variant,)*
        }

        impl Counter {
            /// All counters, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Stable name in snake case, as metrics and JSON use it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        const COUNT: usize = Counter::ALL.len();
    };
}

counters! {
    /// Complete requests received.
    RequestsServed => "requests_served",
    /// Requests refused because of a limit.
    RequestsOverloaded => "requests_overloaded",
    /// Calls started.
    CallsStarted => "calls_started",
    /// Calls answered.
    CallsAnswered => "calls_answered",
    /// Calls that failed, for any reason.
    CallsFailed => "calls_failed",
    /// Calls repeated because the stream ended before the first byte of an answer.
    CallsRetried => "calls_retried",
    /// Calls sent over a kept stream.
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
    /// Keys that are not points on the curve; they crash upstream's process.
    InvalidKeys => "invalid_keys",
    /// Senders named in JSON that are not the proven peer.
    ForgedSenders => "forged_senders",
    /// Answers with a method other than the request's.
    WrongMethod => "wrong_method",
    /// Requests not complete by their deadline.
    SlowRequests => "slow_requests",
    /// Answers that were not delivered by their deadline, or while other requests waited for room.
    SlowReaders => "slow_readers",
    /// Streams closed to make room for others.
    StreamsEvicted => "streams_evicted",
    /// Callers refused for a minute because they wasted too much work.
    CallersCut => "callers_cut",
    /// Events for streams that are closed already.
    LateEvents => "late_events",
    /// Clock readings that went back.
    ClockWentBack => "clock_went_back",
    /// Clock jumps of more than a minute.
    ClockJumped => "clock_jumped",
    /// Peers in answers whose id is not that of their key.
    LyingIds => "lying_ids",
    /// Previously unknown peers in answers, beyond the limit per answer.
    NewcomersCut => "newcomers_cut",
    /// Answers with an item of another target or owner than requested.
    WrongItems => "wrong_items",
    /// Items whose signature is not valid.
    ForgedItems => "forged_items",
    /// Streams closed after three forged items.
    ForgersCut => "forgers_cut",
    /// Verification jobs passed to the driver.
    VerifyJobs => "verify_jobs",
    /// Verifications skipped because the same item is stored.
    VerifySpared => "verify_spared",
    /// Verifications refused because of a limit.
    VerifyOverloaded => "verify_overloaded",
    /// Items stored anew or in place of an item of lower rank.
    ItemsStored => "items_stored",
    /// Items whose lifetime was renewed.
    ItemsRenewed => "items_renewed",
    /// Items refused, for any reason.
    ItemsRefused => "items_refused",
    /// Items expired.
    ItemsExpired => "items_expired",
    /// Items evicted for lack of room.
    ItemsEvicted => "items_evicted",
    /// Targets requested from storage out of order while storage is read at the start.
    Loads => "loads",
    /// Targets requested out of order that storage could not read.
    LoadsFailed => "loads_failed",
    /// Requests and operations served from memory because storage did not answer in time.
    LoadsLate => "loads_late",
    /// Changes to own items that storage did not make durable.
    NotDurable => "not_durable",
    /// Items with an equal sequence but different content.
    Conflicts => "conflicts",
    /// Mirrored items refused because the mirror's key is not configured.
    MirrorsRefused => "mirrors_refused",
    /// Items of an owner that replaced a mirror's.
    OwnerTakeovers => "owner_takeovers",
    /// Items refused because of a tombstone or of the mark that one left.
    DeletedRefused => "deleted_refused",
    /// Peers that entered the table.
    PeersAdded => "peers_added",
    /// Peers that left the table.
    PeersRemoved => "peers_removed",
    /// Pings of the oldest peer of a full bucket.
    EvictionPings => "eviction_pings",
    /// Oldest peers replaced because they did not answer such a ping.
    PingEvictions => "ping_evictions",
    /// Pings of peers of the table that were silent for long.
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
    /// Lookups widened because the nearest peers are improbably dense.
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
    /// Items that this node's sessions fetched.
    SyncFetched => "sync_fetched",
    /// Items that this node gave to other full nodes.
    SyncGiven => "sync_given",
    /// Bytes of the messages of this node's sessions, both directions.
    SyncBytes => "sync_bytes",
    /// Requests of peers that waited for a newer item (long polls).
    PollsServed => "polls_served",
    /// Items offered to full nodes, counted once per recipient.
    Offers => "offers",
    /// Items given to new peers of the table that are among the nearest to them.
    Handovers => "handovers",
    /// New peers of the table that were given nothing because too many waited.
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
    /// The value of one counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// All counters with their values, in declaration order.
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
