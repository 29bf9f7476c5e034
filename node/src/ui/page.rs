//! Content of the status page.

use skydht_core::node::{Measurements, Snapshot};

use crate::recent::Ended;
use crate::report::{ItemsReport, PeersReport, StatusReport};

/// Order of the table of peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Sort {
    #[default]
    Bucket,
    Seen,
    RoundTrip,
    Key,
}

impl Sort {
    /// All orders, as their columns appear.
    pub(super) const ALL: [Self; 4] = [Self::Bucket, Self::Key, Self::Seen, Self::RoundTrip];

    /// Returns the value of the query parameter `sort`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::Seen => "seen",
            Self::RoundTrip => "rtt",
            Self::Key => "key",
        }
    }

    /// Parses a query; `None` if `sort` has an unknown value.
    pub(crate) fn of(query: &str) -> Option<Self> {
        let sort = query.split('&').find_map(|pair| pair.strip_prefix("sort="));
        let Some(name) = sort else {
            return Some(Self::default());
        };
        Self::ALL.into_iter().find(|sort| sort.name() == name)
    }
}

/// The data that the page shows.
pub(crate) struct Page {
    pub(crate) status: StatusReport,
    pub(crate) peers: PeersReport,
    pub(crate) items: ItemsReport,
    /// `None` while the node is starting.
    pub(crate) snapshot: Option<Snapshot>,
    /// The latest reads and puts, newest first.
    pub(crate) recent: Vec<Ended>,
    pub(crate) k: usize,
    pub(crate) sort: Sort,
}

impl Page {
    /// Returns the measurements; `None` while the node is starting.
    pub(super) fn measured(&self) -> Option<&Measurements> {
        self.snapshot.as_ref().map(|snapshot| &*snapshot.measured)
    }
}
