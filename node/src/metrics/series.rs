//! The table of series: name, kind, labels, help text.

/// Kind of a series.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// The current value.
    Gauge,
    /// Cumulative counts of values below bounds.
    Histogram,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! series {
    ($($variant:ident = $name:literal $kind:ident [$($label:literal),*] $help:literal;)*) => {
        /// A family of series.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Series {
            $($variant,)*
        }

        impl Series {
            /// All families, in the order of the output.
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub(super) const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)* }
            }

            pub(super) const fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($label),*],)* }
            }

            pub(super) const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

series! {
    BuildInfo = "skydht_build_info" Gauge ["version"]
        "The program's version; the value is 1.";
    NodeInfo = "skydht_node_info" Gauge ["pk", "role"]
        "The node's own key; 1 for the role that it has now.";
    HealthCheckOk = "skydht_health_check_ok" Gauge ["check"]
        "Whether the verdict has no reason of this kind.";
    BootstrapPeers = "skydht_bootstrap_peers" Gauge ["state"]
        "Configured bootstrap peers.";

    RpcServed = "skydht_rpc_served_total" Counter ["method", "outcome"]
        "Requests of peers that came whole, by what became of them.";
    RpcCalls = "skydht_rpc_calls_total" Counter ["method", "outcome"]
        "Calls to peers that are over.";
    RpcDuration = "skydht_rpc_duration_seconds" Histogram ["direction", "method"]
        "Inbound: from a whole request to its answer; outbound: from the start of a call to its answer.";
    RpcBytes = "skydht_rpc_bytes_total" Counter ["direction", "method"]
        "Bytes of whole messages, requests and answers.";
    RpcInFlight = "skydht_rpc_in_flight" Gauge ["direction"]
        "Requests of peers that are not answered, and calls that are not over.";
    WireErrors = "skydht_wire_errors_total" Counter ["kind"]
        "What peers sent that is not the protocol, or came too slowly.";
    Liars = "skydht_liars_total" Counter ["kind"]
        "What peers sent that is well-formed and not true.";

    Dials = "skydht_dials_total" Counter ["transport", "outcome"]
        "Dials to peers, over all addresses of each.";
    Sessions = "skydht_sessions" Gauge ["transport"]
        "Sessions with peers.";
    Streams = "skydht_streams" Gauge ["direction"]
        "Streams that peers opened and that this node opened.";

    RoutingBucketPeers = "skydht_routing_bucket_peers" Gauge ["bucket"]
        "Peers by the length of the prefix that they share with this node.";
    RoutingReplacements = "skydht_routing_replacements" Gauge []
        "Candidates that wait for a place in a full bucket.";
    RoutingChanges = "skydht_routing_changes_total" Counter ["change"]
        "Peers that entered and left the routing table; replaced ones count as both.";
    NetworkSize = "skydht_network_size_estimate" Gauge []
        "Estimated nodes in the network, this one included.";

    Operations = "skydht_operations_total" Counter ["op", "outcome"]
        "What users of this node asked for, by how it ended.";
    OperationDuration = "skydht_operation_duration_seconds" Histogram ["op"]
        "From command to outcome.";
    FirstValue = "skydht_get_first_value_seconds" Histogram []
        "From the command of a read to its first verified value.";
    LookupHops = "skydht_lookup_hops" Histogram []
        "Referrals between this node and the nearest peer that answered.";
    LookupRequests = "skydht_lookup_requests" Histogram []
        "Requests of a lookup, those that store included.";
    Lookups = "skydht_lookups_total" Counter []
        "Lookups started.";
    LookupsUnconverged = "skydht_lookups_unconverged_total" Counter []
        "Lookups that ended although nearer peers had not answered.";

    PutReplicas = "skydht_put_replicas" Histogram []
        "Peers that hold an item after a put or a renewal.";
    PutAttempts = "skydht_put_attempts_total" Counter ["side"]
        "Items that came to this node, by puts or otherwise, and answers of peers to its own puts.";
    PutRefusals = "skydht_put_refusals_total" Counter ["side", "reason"]
        "Items that this node refused (inbound) and that peers refused (outbound).";
    GetsServed = "skydht_gets_served_total" Counter ["origin", "source"]
        "Reads of this node's users that brought a value.";
    GetItemAge = "skydht_get_item_age_seconds" Histogram ["origin"]
        "Since the signers of such values vouched for them, as far as known.";
    GetRepairs = "skydht_get_repairs_total" Counter ["outcome"]
        "Items given to holders that lag.";

    StoreItems = "skydht_store_items" Gauge ["class"]
        "Items held: owners' by tier, and mirrors.";
    StoreBytes = "skydht_store_bytes" Gauge []
        "Bytes of the items held.";
    StoreLimitBytes = "skydht_store_limit_bytes" Gauge []
        "Bytes that may be held.";
    StoreRemovals = "skydht_store_removals_total" Counter ["reason"]
        "Items that left the store.";
    StoreConflicts = "skydht_store_conflicts_total" Counter []
        "Items with the sequence of one that is held, and another content.";
    OwnItems = "skydht_own_items" Gauge ["state"]
        "This node's own items that it keeps renewed.";
    OwnItemHoldersMin = "skydht_own_item_holders_min" Gauge []
        "Peers that hold the own item with the fewest; 0 without own items.";

    ReplicationRounds = "skydht_replication_rounds_total" Counter ["kind", "outcome"]
        "Sessions of reconciliation that this node started.";
    ReplicationItems = "skydht_replication_items_total" Counter ["direction"]
        "Items that came from and went to other full nodes.";

    QueueLength = "skydht_queue_length" Gauge ["queue"]
        "What is in use of a bounded queue or table; its name is that of the limit.";
    QueueCapacity = "skydht_queue_capacity" Gauge ["queue"]
        "What may be in use; 0 until the node is up.";
    LimitHits = "skydht_limit_hits_total" Counter ["limit"]
        "How often a limit refused something.";

    VerifyJobs = "skydht_verify_jobs_total" Counter ["verdict"]
        "Signatures checked.";
    VerifyDuration = "skydht_verify_duration_seconds" Histogram []
        "From handing a check to a thread to its verdict.";
    BackendUp = "skydht_backend_up" Gauge ["backend"]
        "Whether the storage in use takes changes; 0 for those that are not in use.";
    PersistWrites = "skydht_persist_writes_total" Counter ["outcome"]
        "Writes to storage, each of many changes.";
    PersistPending = "skydht_persist_pending_items" Gauge []
        "Changes that are not written yet.";

    DiscoveryLookups = "skydht_discovery_lookups_total" Counter ["kind", "source"]
        "Questions for DMSG entries, by what answered.";
    TaskLastSuccess = "skydht_task_last_success_timestamp_seconds" Gauge ["task"]
        "When what the node does by itself last succeeded, in this run or before; 0: never.";
    TaskNext = "skydht_task_next_timestamp_seconds" Gauge ["task"]
        "When it comes again; 0: that is not planned.";
    DiscoveryDisagreements = "skydht_discovery_disagreements_total" Counter ["kind"]
        "Questions to which the discovery and the DHT had different answers.";
}
