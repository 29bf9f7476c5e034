//! Limits and contents of the index.

/// Limits of an [`Index`](super::Index).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexLimits {
    /// Owners of services, and as many owners of transports.
    pub owners: usize,
    /// Services of all owners. One that is in several records of its owner counts for each.
    pub services: usize,
    /// Transports in all lists. One that both edges list counts twice.
    pub transports: usize,
    /// Transports in the lists of one owner.
    pub transports_of_owner: usize,
}

impl Default for IndexLimits {
    /// Ten times the largest network that upstream had, and twice its largest hub.
    fn default() -> Self {
        Self {
            owners: 50_000,
            services: 100_000,
            transports: 100_000,
            transports_of_owner: 10_000,
        }
    }
}

/// Contents of an [`Index`](super::Index), and what is missing from it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct IndexStats {
    /// Owners of services.
    pub service_owners: usize,
    /// Services in all records.
    pub services: usize,
    /// Owners of transports.
    pub transport_owners: usize,
    /// Transports in all lists.
    pub transports: usize,
    /// Owners of services with an unreadable record.
    pub unreadable_services: usize,
    /// Owners whose chunks are unreadable or of different versions; their previous version is used.
    pub unsettled_lists: usize,
    /// Records omitted because of the limits, since the index was built.
    pub left_out: u64,
}
