//! Maps each series to its values.

use std::borrow::Cow;
use std::time::SystemTime;

use skydht_core::node::{
    BucketFill, Counter, Counters, Direction, Label as _, Limit, LimitUse, Measurements, OwnItem,
    Side, Snapshot, Task,
};
use skydht_driver::transport::TransportStats;

use super::labels::{
    Answerer, Backend, BootstrapState, Bucket, Done, Lie, OwnItemState, Queue, Record, Removal,
    Role, RoutingChange, StoreClass, Transport, WireError,
};
use super::series::Series;
use super::text::Text;
use crate::report::{DiscoveryReport, DmsgReport, StatusReport, StorageState, TaskReport};
use crate::status::Seen;

/// The state of a node at one moment.
pub(super) struct View<'a> {
    status: &'a StatusReport,
    snapshot: Option<&'a Snapshot>,
    counters: Cow<'a, Counters>,
    measured: Cow<'a, Measurements>,
    transport: TransportStats,
    writes: u64,
    own: &'a [OwnItem],
    /// Seconds since the Unix epoch.
    now_s: f64,
}

impl<'a> View<'a> {
    pub(super) fn new(
        status: &'a StatusReport,
        seen: Option<&'a Seen>,
        own: &'a [OwnItem],
    ) -> Self {
        let snapshot = seen.map(|seen| &seen.snapshot);
        let unix = SystemTime::UNIX_EPOCH.elapsed();
        Self {
            status,
            snapshot,
            counters: snapshot.map_or_else(
                || Cow::Owned(Counters::default()),
                |it| Cow::Borrowed(&it.counters),
            ),
            measured: snapshot.map_or_else(
                || Cow::Owned(Measurements::default()),
                |it| Cow::Borrowed(&*it.measured),
            ),
            transport: seen.map(|seen| seen.transport).unwrap_or_default(),
            writes: seen.map_or(0, |seen| seen.storage.writes),
            own,
            now_s: unix.unwrap_or_default().as_secs_f64(),
        }
    }

    /// Writes the values of one family. A new [`Series`] needs a case here.
    pub(super) fn write(&self, series: Series, text: &mut Text) {
        let measured = &*self.measured;
        match series {
            Series::BuildInfo => text.value(series, &[&self.status.version], 1),
            Series::NodeInfo => {
                let (pk, now) = (self.status.key.to_string(), self.role());
                for role in Role::ALL {
                    text.value(series, &[&pk, role.name()], u8::from(*role == now));
                }
            }
            Series::HealthCheckOk => text.each(series, |check| {
                let reasons = &self.status.reasons;
                u8::from(!reasons.iter().any(|reason| reason.check == Some(check)))
            }),
            Series::BootstrapPeers => text.each(series, |state| {
                let bootstrap = &self.status.bootstrap;
                match state {
                    BootstrapState::Reachable => bootstrap.reachable,
                    BootstrapState::Unreachable => {
                        bootstrap.configured.saturating_sub(bootstrap.reachable)
                    }
                }
            }),
            Series::RpcServed => text.each_pair(series, |m, o| *measured.served.of((m, o))),
            Series::RpcCalls => text.each_pair(series, |m, o| *measured.calls.of((m, o))),
            Series::RpcDuration => {
                for side in Side::ALL {
                    let times = match side {
                        Side::Inbound => &measured.served_time,
                        Side::Outbound => &measured.call_time,
                    };
                    for method in skydht_core::wire::Method::ALL {
                        let labels = [side.name(), method.name()];
                        text.histogram(series, &labels, times.of(method));
                    }
                }
            }
            Series::RpcBytes => text.each_pair(series, |d, m| *measured.message_bytes.of((d, m))),
            Series::RpcInFlight => text.each(series, |side| match side {
                Side::Inbound => self.now(|it| it.requests_in_flight),
                Side::Outbound => self.now(|it| it.calls_in_flight),
            }),
            Series::WireErrors => text.each(series, |kind: WireError| self.count(kind.counter())),
            Series::Liars => text.each(series, |kind: Lie| self.count(kind.counter())),
            Series::Dials => text.each_pair(series, |transport, done| {
                self.if_on(
                    transport,
                    match done {
                        Done::Ok => self.transport.dials,
                        Done::Failed => self.transport.dials_failed,
                    },
                )
            }),
            Series::Sessions => text.each(series, |transport| {
                self.if_on(transport, self.transport.sessions as u64)
            }),
            Series::Streams => text.each(series, |side| match side {
                Side::Inbound => self.now(|it| it.accepted_streams),
                Side::Outbound => self.now(|it| it.opened_streams),
            }),
            Series::RoutingBucketPeers => text.each(series, |bucket: Bucket| {
                let in_it = |fill: &&BucketFill| Bucket::of(fill.index) == bucket;
                self.buckets()
                    .iter()
                    .filter(in_it)
                    .map(|fill| usize::from(fill.peers))
                    .sum::<usize>()
            }),
            Series::RoutingReplacements => {
                let waiting = self.buckets().iter().map(|it| usize::from(it.replacements));
                text.value(series, &[], waiting.sum::<usize>());
            }
            Series::RoutingChanges => {
                text.each(series, |it: RoutingChange| self.count(it.counter()));
            }
            Series::NetworkSize => text.value(series, &[], self.status.network_size),
            Series::Operations => text.each_pair(series, |o, e| *measured.operations.of((o, e))),
            Series::OperationDuration => {
                for kind in skydht_core::node::OperationKind::ALL {
                    let time = measured.operation_time.of(*kind);
                    text.histogram(series, &[kind.name()], time);
                }
            }
            Series::FirstValue => text.histogram(series, &[], &measured.first_value_time),
            Series::LookupHops => text.histogram(series, &[], &measured.lookup_hops),
            Series::LookupRequests => text.histogram(series, &[], &measured.lookup_requests),
            Series::Lookups => text.value(series, &[], self.count(Counter::Lookups)),
            Series::LookupsUnconverged => {
                text.value(series, &[], self.count(Counter::LookupsUnconverged));
            }
            Series::PutReplicas => text.histogram(series, &[], &measured.put_replicas),
            Series::PutAttempts => text.each(series, |side| match side {
                Side::Inbound => [
                    Counter::ItemsStored,
                    Counter::ItemsRenewed,
                    Counter::ItemsRefused,
                ]
                .map(|counter| self.count(counter))
                .iter()
                .sum(),
                Side::Outbound => measured.replicas_asked,
            }),
            Series::PutRefusals => text.each_pair(series, |s, r| *measured.refusals.of((s, r))),
            Series::GetsServed => text.each_pair(series, |o, s| *measured.reads.of((o, s))),
            Series::GetItemAge => {
                for origin in skydht_core::item::Origin::ALL {
                    text.histogram(series, &[origin.name()], measured.read_age.of(*origin));
                }
            }
            Series::GetRepairs => text.each(series, |outcome| *measured.repairs.of(outcome)),
            Series::StoreItems => text.each(series, |class| {
                let store = &self.status.store;
                match class {
                    StoreClass::Public => store.public,
                    StoreClass::Whitelisted => store.whitelisted,
                    StoreClass::Trusted => store.trusted,
                    StoreClass::Mirror => store.mirrors,
                }
            }),
            Series::StoreBytes => text.value(series, &[], self.status.store.bytes),
            Series::StoreLimitBytes => {
                let limit = self.limit(Limit::store_bytes).and_then(|it| it.max);
                text.value(series, &[], limit.unwrap_or(0));
            }
            Series::StoreRemovals => text.each(series, |it: Removal| self.count(it.counter())),
            Series::StoreConflicts => text.value(series, &[], self.count(Counter::Conflicts)),
            Series::OwnItems => text.each(series, |state: OwnItemState| {
                let items = self.own.iter();
                items.filter(|item| OwnItemState::of(item) == state).count()
            }),
            Series::OwnItemHoldersMin => {
                let fewest = self.own.iter().map(|item| item.holders).min();
                text.value(series, &[], fewest.unwrap_or(0));
            }
            Series::ReplicationRounds => text.each_pair(series, |k, r| *measured.syncs.of((k, r))),
            Series::ReplicationItems => text.each(series, |direction| match direction {
                Direction::Received => self.count(Counter::SyncFetched),
                Direction::Sent => self.count(Counter::SyncGiven),
            }),
            Series::QueueLength => text.each(series, |queue: Queue| {
                self.limit(queue.limit()).map_or(0, |it| it.used)
            }),
            Series::QueueCapacity => text.each(series, |queue: Queue| {
                let limit = self.limit(queue.limit());
                limit.and_then(|it| it.max).unwrap_or(0)
            }),
            Series::LimitHits => text.each(series, |limit: Limit| {
                self.limit(limit).map_or(0, |it| it.hits)
            }),
            Series::VerifyJobs => text.each(series, |outcome| *measured.verified.of(outcome)),
            Series::VerifyDuration => text.histogram(series, &[], &measured.verify_time),
            Series::BackendUp => text.each(series, |backend: Backend| {
                let storage = &self.status.storage;
                let is_up = match storage.health {
                    StorageState::Loading | StorageState::Good => true,
                    StorageState::None | StorageState::Failing => false,
                };
                u8::from(is_up && storage.kind == backend.name())
            }),
            Series::PersistWrites => text.each(series, |done| match done {
                Done::Ok => self.writes,
                Done::Failed => self.status.storage.failures,
            }),
            Series::PersistPending => text.value(series, &[], self.status.storage.waiting),
            Series::DiscoveryLookups => text.each_pair(series, |record, answerer| {
                let Record::DmsgEntry = record;
                let lookups = self.discovery().map(|it| it.lookups).unwrap_or_default();
                match answerer {
                    Answerer::Dht => lookups.lookup_dht_hits,
                    Answerer::Http => lookups.lookup_http_hits,
                    Answerer::HttpMiss => lookups.lookup_http_misses,
                    Answerer::Unknown => lookups.unknown,
                }
            }),
            Series::TaskLastSuccess => text.each(series, |task: Task| {
                let ago = self.task(task).and_then(|it| it.last_ok_ms);
                ago.map_or(0.0, |ms| (self.now_s - ms / 1e3).round())
            }),
            Series::TaskNext => text.each(series, |task: Task| {
                let left = self.task(task).and_then(|it| it.next_ms);
                left.map_or(0.0, |ms| (self.now_s + ms / 1e3).round())
            }),
            Series::DiscoveryDisagreements => text.each(series, |record| {
                let Record::DmsgEntry = record;
                self.discovery().map_or(0, |it| it.lookups.disagreements)
            }),
        }
    }

    fn role(&self) -> Role {
        let is_server = |dmsg: &DmsgReport| dmsg.clients.is_some();
        if self.status.dmsg.as_ref().is_some_and(is_server) {
            Role::DmsgServer
        } else if self.status.full_node {
            Role::FullNode
        } else {
            Role::Node
        }
    }

    fn count(&self, counter: Counter) -> u64 {
        self.counters.get(counter)
    }

    /// Returns a current number; 0 until the node has started.
    fn now(&self, of: impl Fn(&Snapshot) -> usize) -> usize {
        self.snapshot.map_or(0, of)
    }

    /// Returns the figure if the DHT uses this transport, else 0.
    fn if_on(&self, transport: Transport, figure: u64) -> u64 {
        let is_on = match transport {
            Transport::Tcp => self.status.dmsg.is_none(),
            Transport::Dmsg => self.status.dmsg.is_some(),
        };
        if is_on { figure } else { 0 }
    }

    fn task(&self, task: Task) -> Option<&TaskReport> {
        let mut tasks = self.status.tasks.iter();
        tasks.find(|it| it.task == task.name())
    }

    fn buckets(&self) -> &[BucketFill] {
        self.snapshot.map_or(&[], |it| &it.buckets)
    }

    fn limit(&self, limit: Limit) -> Option<&LimitUse> {
        let limits = &self.snapshot?.limits;
        limits.iter().find(|it| it.limit == limit)
    }

    fn discovery(&self) -> Option<&DiscoveryReport> {
        self.status.dmsg.as_ref()?.discovery.as_ref()
    }
}

impl OwnItemState {
    fn of(item: &OwnItem) -> Self {
        match (item.age, item.holders) {
            (None, _) => Self::Unpublished,
            (Some(_), 0) => Self::Unheld,
            (Some(_), _) => Self::Held,
        }
    }
}
