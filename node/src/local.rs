//! Operations on a node in this process, for the control API and for commands that start a node
//! themselves.

mod found;

use std::net::SocketAddr;
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::{Salt, Seq};
use skydht_core::key::PublicKey;
use skydht_core::node::{
    GetError, GetRequest, OpenFailure, OperationError, PingError, PutError, ReadPolicy,
};
use skydht_driver::{Dht, Stopped, large};
use skydht_tokio::Watch;
use tokio::sync::watch;

use crate::api::schema::{
    FullNodeBody, GetBody, ListBody, PingBody, PutRequest, SyncBody, VerifyBody, WatchBody,
};
use crate::condition::Condition;
use crate::failure::{Code, Failure, Result};
use crate::metrics;
use crate::operation_failure;
use crate::read_trace;
use crate::report::{
    FullNodeReport, GetReport, HopReport, ItemsReport, ListReport, PeersReport, PingReport,
    PutReport, StatusReport, SyncReport, SyncsReport, VerifyReport, VersionReport,
};
use crate::status::{About, Seen};
use crate::ui::{Page, Sort};
use crate::verify;

/// Longest wait of an operation for a node that is starting.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// A node in this process, which may still be starting. Clones share it.
#[derive(Clone)]
pub(crate) struct Local {
    about: About,
    condition: Condition,
    up: watch::Sender<Option<Up>>,
}

/// A node that has started.
#[derive(Clone)]
struct Up {
    dht: Dht,
    /// Address at which it listens for peers.
    listen: String,
}

impl From<Stopped> for Box<Failure> {
    fn from(stopped: Stopped) -> Self {
        Failure::new(Code::ShuttingDown, stopped)
    }
}

impl Local {
    /// Creates the state of a node that is about to start.
    pub(crate) fn starting(about: About, condition: Condition) -> Self {
        Self {
            about,
            condition,
            up: watch::Sender::new(None),
        }
    }

    /// Creates the state of a node that has started.
    pub(crate) fn new(dht: Dht, about: About, condition: Condition) -> Self {
        let listen = about.listen.clone();
        let this = Self::starting(about, condition);
        this.is_up(dht, listen);
        this
    }

    /// Sets the node, which listens at `listen`.
    pub(crate) fn is_up(&self, dht: Dht, listen: String) {
        self.up.send_replace(Some(Up { dht, listen }));
    }

    /// Returns the node's key.
    pub(crate) fn key(&self) -> PublicKey {
        self.about.key
    }

    /// Returns the node's surroundings.
    pub(crate) fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Returns the node, if it has started.
    pub(crate) fn dht_now(&self) -> Option<Dht> {
        self.up.borrow().as_ref().map(|up| up.dht.clone())
    }

    /// Returns the node. Waits if it is starting, for at most `time` or [`START_PATIENCE`].
    async fn dht(&self, time: Option<Duration>) -> Result<Dht> {
        let mut up = self.up.subscribe();
        let patience = time.map_or(START_PATIENCE, |time| time.min(START_PATIENCE));
        let waited = tokio::time::timeout(patience, up.wait_for(Option::is_some)).await;
        if let Ok(Ok(up)) = waited
            && let Some(up) = up.as_ref()
        {
            return Ok(up.dht.clone());
        }
        let status = StatusReport::starting(&self.about, &self.condition);
        let waits_for = status.waits_for.unwrap_or_default();
        let text = format!("the node is starting: it waits for {waits_for}");
        Err(Failure::new(Code::NotReady, text)
            .hint("try again when it is up; `skydht status` says how it goes"))
    }

    /// Signs an item and publishes it.
    pub(crate) async fn put(&self, request: &PutRequest) -> Result<PutReport> {
        let result = self.publish(request).await;
        self.condition.recent().put(&request.salt, &result);
        result
    }

    async fn publish(&self, request: &PutRequest) -> Result<PutReport> {
        let (salt, value, options) = request.read()?;
        let dht = self.dht(options.timeout).await?;
        let target = Target::of(&self.key(), salt.as_bytes());
        // Deleting a large record deletes its chunks, too, also those of an earlier run.
        let chunks = match request.delete {
            true => large::chunks_of(&dht, self.key(), &salt).await,
            false => Vec::new(),
        };
        let (record, of_chunks) = (salt.clone(), options.clone());
        let put = dht.put(salt, value, options).await;
        if !chunks.is_empty() && (put.is_ok() || self.is_deleted_here(&dht, record).await) {
            let left = large::delete_chunks(&dht, &chunks, &of_chunks).await;
            if left > 0 {
                let of = chunks.len();
                tracing::warn!("{left} of {of} chunks not deleted: they end with their lives");
            }
            let chunks = chunks.iter();
            let chunks = chunks.filter_map(|salt| str::from_utf8(salt.as_bytes()).ok());
            self.condition.lapsed().ended(chunks).await;
        }
        let wanted = request.wants_renewal();
        let items = dht.own_items().await.unwrap_or_default();
        let renewed = items.into_iter().find(|item| item.target == target);
        if put.is_ok() || renewed.is_some() {
            let lapsed = self.condition.lapsed();
            let is_renewed = wanted && renewed.is_some();
            lapsed.published(&request.salt, is_renewed).await;
        }
        match put {
            Ok(outcome) => {
                let mut report = PutReport::new(&outcome);
                report.renewed = wanted && renewed.is_some();
                Ok(report)
            }
            Err(PutError::Operation(OperationError::NoPeers)) if wanted => Err(match renewed {
                Some(item) => operation_failure::kept(item.seq),
                None => OperationError::NoPeers.into(),
            }),
            Err(error) => {
                let renewed = wanted && renewed.is_some();
                Err(operation_failure::put_failed(&error, request, renewed))
            }
        }
    }

    /// Returns whether the node itself stores the deletion, even if few peers do.
    async fn is_deleted_here(&self, dht: &Dht, salt: Salt) -> bool {
        let request = GetRequest::of(self.key(), salt, ReadPolicy::Local);
        matches!(dht.get(request).await, Err(GetError::Deleted { .. }))
    }

    /// Reads an item. A value that did not meet the policy in time is in the failure's details.
    pub(crate) async fn get(&self, body: &GetBody) -> Result<GetReport> {
        let (mut result, hops) = self.read(body).await;
        let recent = self.condition.recent();
        recent.get(&body.owner, &body.salt, &result, &hops);
        if body.trace {
            match &mut result {
                Ok(report) => report.trace = hops,
                Err(failure) => failure.add_detail("trace", &hops),
            }
        }
        result
    }

    /// Reads an item and returns each step.
    async fn read(&self, body: &GetBody) -> (Result<GetReport>, Vec<HopReport>) {
        let started = async {
            let request = body.read(self.key())?;
            let dht = self.dht(request.timeout).await?;
            Ok((dht, request))
        };
        let (dht, request) = match started.await {
            Ok(started) => started,
            Err(failure) => return (Err(failure), Vec::new()),
        };
        let (read, hops) = read_trace::follow(&dht, request).await;
        let result = match read {
            Ok(outcome) => Ok(GetReport::new(&outcome, true)),
            Err(GetError::Timeout {
                best: Some(best), ..
            }) => {
                let report = GetReport::new(&best, false);
                Err(Failure::new(
                    Code::Partial,
                    "timed out before the policy was met; this is the best value found so far",
                )
                .details(&report))
            }
            Err(error) => Err(operation_failure::get_failed(&error, body)),
        };
        (result, hops)
    }

    /// Waits for the next version of an item.
    pub(crate) async fn watch(&self, body: &WatchBody) -> Result<VersionReport> {
        let item = body.item();
        let request = item.read(self.key())?;
        let dht = self.dht(request.timeout).await?;
        match dht.next_version(request, body.after).await {
            Ok(found) => Ok(VersionReport::new(&found)),
            Err(GetError::Operation(OperationError::Timeout)) => {
                Err(Failure::new(Code::NothingNew, "nothing newer came in time"))
            }
            Err(error) => Err(operation_failure::get_failed(&error, &item)),
        }
    }

    /// Returns a stream of the versions of an item after `after`.
    pub(crate) async fn versions(&self, item: &GetBody, after: Option<Seq>) -> Result<Watch> {
        let request = item.read(self.key())?;
        let dht = self.dht(request.timeout).await?;
        Ok(dht.watch(request, after))
    }

    /// Pings a peer.
    pub(crate) async fn ping(&self, body: &PingBody) -> Result<PingReport> {
        if body.pk == self.key() {
            return Err(
                Failure::new(Code::Usage, "this is the node's own key: it does not ping itself")
                    .hint("`skydht status` says how it is; `skydht ping self --bootstrap PK@HOST:PORT` says whether others reach it"),
            );
        }
        let dht = self.dht(None).await?;
        let outcome = match dht.ping(body.pk, body.addr).await {
            Ok(outcome) => outcome,
            Err(error) => return Err(self.ping_failed(&dht, body, error).await),
        };
        Ok(PingReport::new(self.key().id(), body.pk, &outcome))
    }

    /// Builds the failure of a ping, with the cause for each address that was dialled, which the
    /// core's error does not contain.
    async fn ping_failed(&self, dht: &Dht, body: &PingBody, error: PingError) -> Box<Failure> {
        let is_unreached = matches!(
            error,
            PingError::Open(OpenFailure::Unreachable | OpenFailure::Timeout)
        );
        if !is_unreached || self.condition.carrier().is_some() {
            return error.into();
        }
        let peers = dht.peers().await.unwrap_or_default();
        let known = peers.into_iter().filter(|peer| peer.key == body.pk);
        let known = known.filter_map(|peer| peer.addr);
        let failures = dht.dial_failures().into_iter();
        let failed = failures
            .filter(|it| it.peer == body.pk)
            .filter_map(|it| it.addr);
        let mut addrs: Vec<SocketAddr> = body.addr.into_iter().collect();
        for addr in known.chain(failed) {
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        operation_failure::unreached(error, &addrs).await
    }

    /// Reports the node's status, even if it is still starting.
    pub(crate) async fn status(&self) -> Result<StatusReport> {
        Ok(self.look().await?.0)
    }

    /// Returns the node's metrics in Prometheus' text format, even if it is still starting.
    pub(crate) async fn metrics(&self) -> Result<String> {
        let (status, seen) = self.look().await?;
        let own = match self.dht_now() {
            Some(dht) => dht.own_items().await?,
            None => Vec::new(),
        };
        Ok(metrics::render(&status, seen.as_ref(), &own))
    }

    /// Returns the content of the status page, even if the node is still starting.
    pub(crate) async fn page(&self, sort: Sort) -> Result<Page> {
        let (status, seen) = self.look().await?;
        let own = match self.dht_now() {
            Some(dht) => dht.own_items().await?,
            None => Vec::new(),
        };
        let k = self.about.k;
        let peers = match &seen {
            Some(seen) => PeersReport::new(&seen.snapshot, &seen.peers, k),
            None => PeersReport::none(self.key()),
        };
        Ok(Page {
            status,
            peers,
            items: ItemsReport::new(self.key(), &own),
            snapshot: seen.map(|seen| seen.snapshot),
            recent: self.condition.recent().all(),
            k,
            sort,
        })
    }

    /// Returns the status, and the observations that it is derived from; the latter are `None`
    /// until the node has started.
    async fn look(&self) -> Result<(StatusReport, Option<Seen>)> {
        let Some(Up { dht, listen }) = self.up.borrow().clone() else {
            let starting = StatusReport::starting(&self.about, &self.condition);
            return Ok((starting, None));
        };
        let seen = Seen {
            snapshot: dht.snapshot().await?,
            peers: dht.peers().await?,
            transport: dht.transport_stats(),
            failures: dht.dial_failures(),
            storage: dht.storage_stats().await?,
        };
        let about = About {
            listen,
            ..self.about.clone()
        };
        let status = StatusReport::new(&seen, &about, &self.condition);
        Ok((status, Some(seen)))
    }

    /// Lists the routing table; it is empty while the node is starting.
    pub(crate) async fn peers(&self) -> Result<PeersReport> {
        let Some(dht) = self.dht_now() else {
            return Ok(PeersReport::none(self.key()));
        };
        let peers = dht.peers().await?;
        let snapshot = dht.snapshot().await?;
        Ok(PeersReport::new(&snapshot, &peers, self.about.k))
    }

    /// Reports whether the node is a full node.
    pub(crate) async fn full_node(&self) -> Result<FullNodeReport> {
        let snapshot = self.dht(None).await?.snapshot().await?;
        Ok(FullNodeReport {
            schema: FullNodeReport::SCHEMA.into(),
            key: snapshot.key,
            full_node: snapshot.full_node,
            items: snapshot.store.items,
            full_nodes: snapshot.full_nodes,
        })
    }

    /// Switches full-node mode on or off.
    pub(crate) async fn set_full_node(&self, body: FullNodeBody) -> Result<FullNodeReport> {
        let dht = self.dht(None).await?;
        dht.set_full_node(body.full_node).await?;
        tracing::info!(full_node = body.full_node, "full-node mode is switched");
        self.full_node().await
    }

    /// Lists the reconciliations in progress.
    pub(crate) async fn syncs(&self) -> Result<SyncsReport> {
        let snapshot = self.dht(None).await?.snapshot().await?;
        Ok(SyncsReport::new(&snapshot.syncs))
    }

    /// Reconciles with other full nodes.
    pub(crate) async fn sync(&self, body: &SyncBody) -> Result<SyncReport> {
        let timeout = body.timeout()?;
        if body.pk == Some(self.key()) {
            return Err(Failure::new(Code::Usage, "this is the node's own key")
                .hint("name another full node, or none for all that are known"));
        }
        let dht = self.dht(Some(timeout)).await?;
        match dht.sync(body.pk, Some(timeout)).await {
            Ok(outcome) => Ok(SyncReport::new(&outcome)),
            Err(error) => Err(operation_failure::sync_failed(error)),
        }
    }

    /// Returns one page of the stored items.
    pub(crate) async fn list(&self, body: &ListBody) -> Result<ListReport> {
        let (filter, from, most) = body.read()?;
        let page = self.dht(None).await?.list(filter, from, most).await?;
        Ok(ListReport::new(&page, body.values))
    }

    /// Reads own items back from the closest peers.
    pub(crate) async fn verify(&self, body: &VerifyBody) -> Result<VerifyReport> {
        let patience = body.timeout()?;
        let dht = self.dht(Some(patience)).await?;
        let items = body.choose(dht.own_items().await?)?;
        let verified = self.condition.verified();
        Ok(verify::read_back(&dht, self.key(), items, patience, verified).await)
    }

    /// Lists the items that the node renews; none while it is starting.
    pub(crate) async fn items(&self) -> Result<ItemsReport> {
        let items = match self.dht_now() {
            Some(dht) => dht.own_items().await?,
            None => Vec::new(),
        };
        Ok(ItemsReport::new(self.key(), &items))
    }
}
