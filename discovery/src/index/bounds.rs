//! How much the index holds, and how much it does.

/// How much an [`Index`](super::Index) holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexLimits {
    /// Owners of services, and as many of transports.
    pub owners: usize,
    /// Services of all owners; one in several records of its owner counts for each.
    pub services: usize,
    /// Transports in all lists; one that both edges list counts twice.
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

/// What an [`Index`](super::Index) holds, and what it lacks.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct IndexStats {
    /// Owners of services.
    pub service_owners: usize,
    /// Services, in all records.
    pub services: usize,
    /// Owners of transports.
    pub transport_owners: usize,
    /// Transports, in all lists.
    pub transports: usize,
    /// Owners of services one of whose records cannot be read.
    pub unreadable_services: usize,
    /// Owners whose chunks are of several versions, or cannot be read; the version before counts.
    pub unsettled_lists: usize,
    /// Records that there was no room for, since the index was built.
    pub left_out: u64,
}
