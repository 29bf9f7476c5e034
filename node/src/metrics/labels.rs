//! Label values defined by the program; the others are defined by the core.

use skydht_core::label_names;
use skydht_core::node::{Counter, Label, Limit};

/// Role of a node in its network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Node,
    FullNode,
    DmsgServer,
}

label_names!(Role {
    Node => "node",
    FullNode => "full_node",
    DmsgServer => "dmsg_server",
});

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BootstrapState {
    Reachable,
    Unreachable,
}

label_names!(BootstrapState {
    Reachable => "reachable",
    Unreachable => "unreachable",
});

/// Kind of a protocol violation by a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WireError {
    FrameLength,
    FrameTruncated,
    UnknownMethod,
    Undecodable,
    InvalidKey,
    WrongMethod,
    SlowRequest,
    SlowReader,
}

label_names!(WireError {
    FrameLength => "frame_length",
    FrameTruncated => "frame_truncated",
    UnknownMethod => "unknown_method",
    Undecodable => "undecodable",
    InvalidKey => "invalid_key",
    WrongMethod => "wrong_method",
    SlowRequest => "slow_request",
    SlowReader => "slow_reader",
});

impl WireError {
    pub(super) const fn counter(self) -> Counter {
        match self {
            Self::FrameLength => Counter::FrameLength,
            Self::FrameTruncated => Counter::FrameTruncated,
            Self::UnknownMethod => Counter::UnknownMethod,
            Self::Undecodable => Counter::Undecodable,
            Self::InvalidKey => Counter::InvalidKeys,
            Self::WrongMethod => Counter::WrongMethod,
            Self::SlowRequest => Counter::SlowRequests,
            Self::SlowReader => Counter::SlowReaders,
        }
    }
}

/// Kind of a false statement by a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lie {
    ForgedSender,
    ForgedItem,
    WrongItem,
    LyingId,
    TooManyNewcomers,
    CallerCut,
    ForgerCut,
}

label_names!(Lie {
    ForgedSender => "forged_sender",
    ForgedItem => "forged_item",
    WrongItem => "wrong_item",
    LyingId => "lying_id",
    TooManyNewcomers => "too_many_newcomers",
    CallerCut => "caller_cut",
    ForgerCut => "forger_cut",
});

impl Lie {
    pub(super) const fn counter(self) -> Counter {
        match self {
            Self::ForgedSender => Counter::ForgedSenders,
            Self::ForgedItem => Counter::ForgedItems,
            Self::WrongItem => Counter::WrongItems,
            Self::LyingId => Counter::LyingIds,
            Self::TooManyNewcomers => Counter::NewcomersCut,
            Self::CallerCut => Counter::CallersCut,
            Self::ForgerCut => Counter::ForgersCut,
        }
    }
}

/// Transport of the DHT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Transport {
    Tcp,
    Dmsg,
}

label_names!(Transport {
    Tcp => "tcp",
    Dmsg => "dmsg",
});

/// Result of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Done {
    Ok,
    Failed,
}

label_names!(Done {
    Ok => "ok",
    Failed => "failed",
});

/// Kind of a change to the routing table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RoutingChange {
    Added,
    Removed,
    Replaced,
}

label_names!(RoutingChange {
    Added => "added",
    Removed => "removed",
    Replaced => "replaced",
});

impl RoutingChange {
    pub(super) const fn counter(self) -> Counter {
        match self {
            Self::Added => Counter::PeersAdded,
            Self::Removed => Counter::PeersRemoved,
            Self::Replaced => Counter::PingEvictions,
        }
    }
}

/// Class of stored items, by their publisher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StoreClass {
    Public,
    Whitelisted,
    Trusted,
    Mirror,
}

label_names!(StoreClass {
    Public => "public",
    Whitelisted => "whitelisted",
    Trusted => "trusted",
    Mirror => "mirror",
});

/// Why an item left the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Removal {
    Expired,
    Evicted,
}

label_names!(Removal {
    Expired => "expired",
    Evicted => "evicted",
});

impl Removal {
    pub(super) const fn counter(self) -> Counter {
        match self {
            Self::Expired => Counter::ItemsExpired,
            Self::Evicted => Counter::ItemsEvicted,
        }
    }
}

/// State of an own item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OwnItemState {
    /// Peers store it.
    Held,
    /// It was published, but no peer stored or renewed it last time.
    Unheld,
    /// It has not reached any peer yet.
    Unpublished,
}

label_names!(OwnItemState {
    Held => "held",
    Unheld => "unheld",
    Unpublished => "unpublished",
});

/// Bounded queues and tables, each with its limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Queue {
    Streams,
    Serving,
    Calls,
    Operations,
    VerifyJobs,
    RequestBytes,
    AnswerBytes,
    Outputs,
    KnownPeers,
    Loads,
    Offers,
    Watches,
}

label_names!(Queue {
    Streams => "streams",
    Serving => "serving",
    Calls => "calls",
    Operations => "operations",
    VerifyJobs => "verify_jobs",
    RequestBytes => "request_bytes",
    AnswerBytes => "answer_bytes",
    Outputs => "outputs",
    KnownPeers => "known_peers",
    Loads => "loads",
    Offers => "offers",
    Watches => "watches",
});

impl Queue {
    pub(super) const fn limit(self) -> Limit {
        match self {
            Self::Streams => Limit::streams,
            Self::Serving => Limit::serving,
            Self::Calls => Limit::calls,
            Self::Operations => Limit::operations,
            Self::VerifyJobs => Limit::verify_jobs,
            Self::RequestBytes => Limit::request_bytes,
            Self::AnswerBytes => Limit::answer_bytes,
            Self::Outputs => Limit::outputs,
            Self::KnownPeers => Limit::known_peers,
            Self::Loads => Limit::loads,
            Self::Offers => Limit::offers,
            Self::Watches => Limit::watches,
        }
    }
}

/// Storage of items across restarts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Backend {
    File,
    Redis,
}

label_names!(Backend {
    File => "file",
    Redis => "redis",
});

/// Kind of record that is looked up in a discovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Record {
    DmsgEntry,
}

label_names!(Record {
    DmsgEntry => "dmsg_entry",
});

/// Source of the answer to a lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answerer {
    /// The DHT had the record.
    Dht,
    /// The discovery had the record.
    Http,
    /// The discovery answered that there is none.
    HttpMiss,
    /// Neither source could be asked.
    Unknown,
}

label_names!(Answerer {
    Dht => "dht",
    Http => "http",
    HttpMiss => "http_miss",
    Unknown => "unknown",
});

/// A bucket of the routing table. Those that only a network of billions of peers fills are
/// combined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bucket(u8);

const BUCKETS: usize = 33;

impl Bucket {
    /// Returns the bucket of peers that share a prefix of this length.
    pub(super) fn of(index: u8) -> Self {
        Self(index.min(BUCKETS as u8 - 1))
    }
}

impl Label for Bucket {
    const ALL: &'static [Self] = &{
        let mut all = [Self(0); BUCKETS];
        let mut index = 0;
        while index < BUCKETS {
            all[index] = Self(index as u8);
            index += 1;
        }
        all
    };

    fn name(self) -> &'static str {
        const NAMES: [&str; BUCKETS] = [
            "0",
            "1",
            "2",
            "3",
            "4",
            "5",
            "6",
            "7",
            "8",
            "9",
            "10",
            "11",
            "12",
            "13",
            "14",
            "15",
            "16",
            "17",
            "18",
            "19",
            "20",
            "21",
            "22",
            "23",
            "24",
            "25",
            "26",
            "27",
            "28",
            "29",
            "30",
            "31",
            "32_and_more",
        ];
        NAMES[self.index()]
    }

    fn index(self) -> usize {
        self.0.into()
    }
}
