//! The handle of a running node.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures::channel::oneshot;
use skydht_core::id::Target;
use skydht_core::item::{Item, Origin, Salt, Value};
use skydht_core::journal::Header;
use skydht_core::key::PublicKey;
use skydht_core::node::{
    BootstrapPeer, Command, Config, ConfigError, Event, FindNodeOutcome, GetError, GetOutcome,
    GetRequest, HopResult, Identity, OperationError, OperationId, Outcome, OwnItem, PeerInfo,
    PingError, PingOutcome, PutError, PutOptions, PutOutcome, Snapshot,
};
use skydht_core::{Node, Seed};
use skydht_runtime::Runtime;

use crate::event_loop;
use crate::events::{self, EventStream, Lagged, RingReceiver};
use crate::mailbox::{Mailbox, Phase, Reply, Request};
use crate::options::StartOptions;
use crate::stats::DriverStats;
use crate::storage::StorageStats;
use crate::transport::{DialFailure, Transport, TransportStats};

/// Why a node could not be started.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The thread for storage cannot be started.
    #[error("cannot start a thread for storage: {0}")]
    StorageThread(std::io::ErrorKind),
    /// The transport proves another key than the node's, so peers would not find the node.
    #[error("the transport proves {transport}, but the node is {node}")]
    OtherKey {
        /// The key that the transport proves.
        transport: PublicKey,
        /// The key of the node's identity.
        node: PublicKey,
    },
}

/// The node of this handle has stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the node has stopped")]
pub struct Stopped;

impl From<Stopped> for OperationError {
    fn from(_: Stopped) -> Self {
        Self::ShuttingDown
    }
}

/// Shared by all handles; dropping it shuts the node down.
struct Inner {
    mailbox: Arc<Mailbox>,
    transport: Box<dyn Fn() -> TransportStats + Send + Sync>,
    failures: Box<dyn Fn() -> Vec<DialFailure> + Send + Sync>,
    key: PublicKey,
    local_addr: Option<SocketAddr>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let (outcome, _) = oneshot::channel();
        let reply = Reply {
            outcome,
            events: None,
        };
        // An error means that the node has stopped already.
        let _ = self.mailbox.command(Command::Shutdown, reply);
    }
}

/// A running node. Cheap to clone; all clones refer to the same node.
///
/// Every future is cancel-safe: dropping it cancels its operation in the node; what was sent to
/// peers remains. Dropping the last handle shuts the node down; [`Dht::shutdown`] does so and waits
/// for it.
#[derive(Clone)]
pub struct Dht(Arc<Inner>);

/// A handle that does not keep its node running; see [`Dht::downgrade`].
#[derive(Clone)]
pub struct WeakDht(Weak<Inner>);

impl WeakDht {
    /// Returns the node, if a [`Dht`] still refers to it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Dht> {
        self.0.upgrade().map(Dht)
    }
}

const _: () = {
    const fn handle<T: Clone + Send + Sync + 'static>() {}
    handle::<Dht>();
};

impl Dht {
    /// Creates a node and spawns the event loop that runs it.
    ///
    /// `seed` determines all randomness that the node ever uses: draw it from the operating system,
    /// or reuse one to reproduce a run.
    ///
    /// # Errors
    /// If a field of `config` is invalid, or the transport proves another key.
    pub fn start<R: Runtime, T: Transport>(
        runtime: R,
        transport: T,
        config: Config,
        identity: Identity,
        seed: Seed,
    ) -> Result<Self, StartError> {
        let options = StartOptions::default();
        Self::start_with(runtime, transport, config, identity, seed, options)
    }

    /// Starts a node like [`Dht::start`], with [`StartOptions`].
    ///
    /// # Errors
    /// As [`Dht::start`].
    pub fn start_with<R: Runtime, T: Transport>(
        runtime: R,
        transport: T,
        config: Config,
        identity: Identity,
        seed: Seed,
        options: StartOptions,
    ) -> Result<Self, StartError> {
        let key = identity.public();
        if transport.local_key() != key {
            return Err(StartError::OtherKey {
                transport: transport.local_key(),
                node: key,
            });
        }
        let now = event_loop::time(&runtime);
        let (mut config, mut options) = (config, options);
        config.storage |= options.storage.is_some();
        let header = options
            .recorder
            .is_some()
            .then(|| Header::new(config.clone(), key, seed, now));
        let mut node = Node::new(config, identity, seed, now)?;
        if let (Some(recorder), Some(header)) = (&mut options.recorder, header) {
            node.record_signatures();
            recorder.start(header);
        }
        let mailbox = Arc::new(Mailbox::new(options.waiting_commands));
        let storage = options.storage.take();
        let storage = storage.map(|storage| storage.start(Arc::clone(&mailbox.waker)));
        let storage = storage
            .transpose()
            .map_err(|error| StartError::StorageThread(error.kind()))?;
        let transport = Arc::new(transport);
        let inner = Inner {
            mailbox: Arc::clone(&mailbox),
            key,
            local_addr: transport.local_addr(),
            failures: Box::new({
                let transport = Arc::clone(&transport);
                move || transport.dial_failures()
            }),
            transport: Box::new({
                let transport = Arc::clone(&transport);
                move || transport.stats()
            }),
        };
        event_loop::spawn(runtime, transport, node, mailbox, options, storage);
        Ok(Self(Arc::new(inner)))
    }

    /// Signs `value` with the node's own key and publishes it under `salt`. An empty value deletes
    /// the item. The node renews it until it is deleted, unless [`PutOptions::once`] is set.
    ///
    /// Cancel-safe: dropping the future stops the publication; peers that have the item keep it.
    ///
    /// # Errors
    /// See [`PutError`], which contains the partial result.
    pub async fn put(
        &self,
        salt: Salt,
        value: Value,
        options: PutOptions,
    ) -> Result<PutOutcome, PutError> {
        let command = Command::Put {
            salt,
            value,
            options,
        };
        self.put_command(command).await
    }

    /// Publishes an item signed by any key, at its signer's own target. The signature is verified
    /// first.
    ///
    /// Cancel-safe, like [`Dht::put`].
    ///
    /// # Errors
    /// See [`PutError`], which contains the partial result.
    pub async fn put_signed(
        &self,
        item: Item,
        options: PutOptions,
    ) -> Result<PutOutcome, PutError> {
        let item = Box::new(item);
        self.put_command(Command::PutSigned { item, options }).await
    }

    async fn put_command(&self, command: Command) -> Result<PutOutcome, PutError> {
        match self.run(command)?.await? {
            Outcome::Put(result) => result,
            other => Err(mismatch(&other).into()),
        }
    }

    /// Reads an item.
    ///
    /// Cancel-safe: dropping the future ends the query.
    ///
    /// # Errors
    /// See [`GetError`], which contains the best value found in time.
    pub async fn get(&self, request: GetRequest) -> Result<GetOutcome, GetError> {
        match self.run(Command::Get(request))?.await? {
            Outcome::Get(result) => result,
            other => Err(mismatch(&other).into()),
        }
    }

    /// Reads an item and reports the progress: the first verified value as soon as it was received,
    /// each step of the lookup, then the outcome.
    ///
    /// # Errors
    /// If the node has stopped or is too busy to start.
    pub fn get_with_events(&self, request: GetRequest) -> Result<GetProgress, OperationError> {
        let (sender, events) = events::ring();
        let operation = self.submit(Command::Get(request), Some(sender))?;
        Ok(GetProgress {
            events,
            operation: Some(operation),
        })
    }

    /// Finds the live peers nearest to `target`.
    ///
    /// Cancel-safe: dropping the future ends the query.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn find_node(&self, target: Target) -> Result<FindNodeOutcome, OperationError> {
        let command = Command::FindNode {
            target,
            timeout: None,
        };
        match self.run(command)?.await? {
            Outcome::FindNode(result) => result,
            other => Err(mismatch(&other)),
        }
    }

    /// Pings one peer, dialling `addr` if there is no session.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`PingError`].
    pub async fn ping(
        &self,
        peer: PublicKey,
        addr: Option<SocketAddr>,
    ) -> Result<PingOutcome, PingError> {
        match self.run(Command::Ping { peer, addr })?.await? {
            Outcome::Ping(result) => result,
            other => Err(mismatch(&other).into()),
        }
    }

    /// Returns current sizes, counters and limits of the node.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn snapshot(&self) -> Result<Snapshot, Stopped> {
        self.ask(Request::Snapshot).await
    }

    /// Returns the peers in the routing table, nearest bucket first.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, Stopped> {
        self.ask(Request::Peers).await
    }

    /// Returns the node's own items that it keeps renewed.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn own_items(&self) -> Result<Vec<OwnItem>, Stopped> {
        self.ask(Request::OwnItems).await
    }

    /// Returns the counters of the event loop.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn driver_stats(&self) -> Result<DriverStats, Stopped> {
        self.ask(Request::Stats).await
    }

    /// Returns the counters of the storage; all zero without storage.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn storage_stats(&self) -> Result<StorageStats, Stopped> {
        self.ask(Request::Storage).await
    }

    /// Returns the counters of the transport, also after the node has stopped.
    #[must_use]
    pub fn transport_stats(&self) -> TransportStats {
        (self.0.transport)()
    }

    /// Returns why bootstrap peers are not reached, for those whose last dial failed.
    #[must_use]
    pub fn dial_failures(&self) -> Vec<DialFailure> {
        (self.0.failures)()
    }

    /// Waits until the routing table is not empty and the first self-lookups are done: from then
    /// on, puts and gets have peers to ask. Cancel-safe.
    ///
    /// # Errors
    /// [`Stopped`] if the node stops first.
    pub async fn ready(&self) -> Result<(), Stopped> {
        match self.0.mailbox.reached(Phase::Ready).await {
            Phase::Stopped => Err(Stopped),
            Phase::Running | Phase::Ready => Ok(()),
        }
    }

    /// Returns a handle that does not keep the node running, for values that the node itself uses.
    #[must_use]
    pub fn downgrade(&self) -> WeakDht {
        WeakDht(Arc::downgrade(&self.0))
    }

    /// Returns whether [`Dht::ready`] would return immediately.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.mailbox.phase() == Phase::Ready
    }

    /// Returns the node's events from now on; see [`EventStream`] for slow readers.
    #[must_use]
    pub fn events(&self) -> EventStream {
        let (sender, receiver) = events::ring();
        // If the node has stopped, the sender is dropped here, which ends the stream.
        self.0.mailbox.ask(Request::Subscribe(sender));
        EventStream(receiver)
    }

    /// Returns the node's key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.0.key
    }

    /// Returns this node as a bootstrap peer for other nodes.
    #[must_use]
    pub fn as_bootstrap(&self) -> BootstrapPeer {
        BootstrapPeer {
            key: self.key(),
            addrs: self.local_addr().into_iter().collect(),
        }
    }

    /// Returns the address at which peers can dial this node directly, if there is one.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local_addr
    }

    /// Ends all operations with [`OperationError::ShuttingDown`], flushes and closes all streams
    /// and sessions, and returns when all are closed. Further calls return immediately or wait for
    /// the first one. Dropping the future does not stop the shutdown.
    pub async fn shutdown(&self) {
        // An error means that the node has stopped already. The outcome is not needed.
        let (outcome, _) = oneshot::channel();
        let reply = Reply {
            outcome,
            events: None,
        };
        let _ = self.0.mailbox.command(Command::Shutdown, reply);
        self.0.mailbox.reached(Phase::Stopped).await;
    }

    pub(crate) async fn ask<A>(
        &self,
        request: impl FnOnce(oneshot::Sender<A>) -> Request,
    ) -> Result<A, Stopped> {
        let (sender, receiver) = oneshot::channel();
        if !self.0.mailbox.ask(request(sender)) {
            return Err(Stopped);
        }
        receiver.await.map_err(|_| Stopped)
    }

    pub(crate) fn run(&self, command: Command) -> Result<Operation, OperationError> {
        self.submit(command, None)
    }

    fn submit(
        &self,
        command: Command,
        events: Option<events::RingSender<Event>>,
    ) -> Result<Operation, OperationError> {
        let (sender, outcome) = oneshot::channel();
        let reply = Reply {
            outcome: sender,
            events,
        };
        let op = self.0.mailbox.command(command, reply)?;
        Ok(Operation {
            // A strong handle, so that the node does not shut down during the operation.
            dht: self.clone(),
            op,
            outcome,
            finished: false,
        })
    }
}

/// Returns the error for an operation that ended with another command's outcome, which the node's
/// contract rules out. Its caller sees a cancelled operation.
pub(crate) fn mismatch(outcome: &Outcome) -> OperationError {
    debug_assert!(false, "the outcome of another command: {outcome:?}");
    OperationError::Cancelled
}

/// An operation in progress. Dropping it before its end cancels it.
pub(crate) struct Operation {
    dht: Dht,
    op: OperationId,
    outcome: oneshot::Receiver<Outcome>,
    finished: bool,
}

impl Future for Operation {
    type Output = Result<Outcome, OperationError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = std::task::ready!(Pin::new(&mut self.outcome).poll(cx));
        self.finished = true;
        // The sender was dropped, so the event loop has ended.
        Poll::Ready(result.map_err(|_| OperationError::ShuttingDown))
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !self.finished {
            self.dht.0.mailbox.ask(Request::Cancel(self.op));
        }
    }
}

/// Progress of a get.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum GetEvent {
    /// The first verified value; a newer one may follow in the outcome.
    FirstValue {
        /// The item that was found.
        item: Arc<Item>,
        /// Whether it came from the owner or a mirror.
        origin: Origin,
        /// The peer that had it; `None` for this node's own store.
        from: Option<PublicKey>,
    },
    /// The lookup heard of a peer, or has an answer from one.
    Hop {
        /// The peer.
        peer: PublicKey,
        /// What was learned about it.
        result: HopResult,
    },
    /// Events were lost because they were not read in time.
    Lagged(Lagged),
    /// The outcome, which is the last event.
    Finished(Result<GetOutcome, GetError>),
}

/// A get that reports its progress; see [`Dht::get_with_events`]. Dropping it before its end ends
/// the query.
pub struct GetProgress {
    events: RingReceiver<Event>,
    operation: Option<Operation>,
}

impl GetProgress {
    /// Returns the next event. [`GetEvent::Finished`] is the last one, then `None`. Cancel-safe.
    pub async fn next(&mut self) -> Option<GetEvent> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Waits for the outcome, skipping all other events.
    ///
    /// # Errors
    /// As [`Dht::get`].
    pub async fn outcome(mut self) -> Result<GetOutcome, GetError> {
        while let Some(event) = self.next().await {
            if let GetEvent::Finished(result) = event {
                return result;
            }
        }
        Err(OperationError::Cancelled.into())
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<GetEvent>> {
        let Some(operation) = &mut self.operation else {
            return Poll::Ready(None);
        };
        loop {
            return match self.events.poll_next(cx) {
                Poll::Ready(Some(Err(lagged))) => Poll::Ready(Some(GetEvent::Lagged(lagged))),
                Poll::Ready(Some(Ok(Event::FirstValue {
                    item, origin, from, ..
                }))) => Poll::Ready(Some(GetEvent::FirstValue { item, origin, from })),
                Poll::Ready(Some(Ok(Event::Hop { peer, result, .. }))) => {
                    Poll::Ready(Some(GetEvent::Hop { peer, result }))
                }
                // Other events do not belong to operations.
                Poll::Ready(Some(Ok(_))) => continue,
                // The event loop drops the sender when the operation has finished.
                Poll::Ready(None) => {
                    let result = match std::task::ready!(Pin::new(operation).poll(cx)) {
                        Ok(Outcome::Get(result)) => result,
                        Ok(other) => Err(mismatch(&other).into()),
                        Err(error) => Err(error.into()),
                    };
                    self.operation = None;
                    Poll::Ready(Some(GetEvent::Finished(result)))
                }
                Poll::Pending => Poll::Pending,
            };
        }
    }
}

impl futures::Stream for GetProgress {
    type Item = GetEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<GetEvent>> {
        self.poll_event(cx)
    }
}
