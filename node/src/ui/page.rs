//! What the page shows.

use skydht_core::node::{Measurements, Snapshot};

use crate::recent::Ended;
use crate::report::{ItemsReport, PeersReport, StatusReport};

/// What the table of peers is ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Sort {
    #[default]
    Bucket,
    Seen,
    RoundTrip,
    Key,
}

impl Sort {
    /// All, in the order of the columns.
    pub(super) const ALL: [Self; 4] = [Self::Bucket, Self::Key, Self::Seen, Self::RoundTrip];

    /// Its name in the page's address.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::Seen => "seen",
            Self::RoundTrip => "rtt",
            Self::Key => "key",
        }
    }

    /// What a query asks for; none where it asks for something else.
    pub(crate) fn of(query: &str) -> Option<Self> {
        let sort = query.split('&').find_map(|pair| pair.strip_prefix("sort="));
        let Some(name) = sort else {
            return Some(Self::default());
        };
        Self::ALL.into_iter().find(|sort| sort.name() == name)
    }
}

/// Everything that the page shows.
pub(crate) struct Page {
    pub(crate) status: StatusReport,
    pub(crate) peers: PeersReport,
    pub(crate) items: ItemsReport,
    /// None until the node is up.
    pub(crate) snapshot: Option<Snapshot>,
    /// Reads and puts that ended last, newest first.
    pub(crate) recent: Vec<Ended>,
    /// Bucket size.
    pub(crate) k: usize,
    pub(crate) sort: Sort,
}

impl Page {
    /// What is measured; nothing until the node is up.
    pub(super) fn measured(&self) -> Option<&Measurements> {
        self.snapshot.as_ref().map(|snapshot| &*snapshot.measured)
    }
}
