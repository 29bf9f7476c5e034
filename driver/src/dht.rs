//! The handle that users hold.

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
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The thread that runs storage cannot be started.
    #[error("cannot start a thread for storage: {0}")]
    StorageThread(std::io::ErrorKind),
    /// The transport proves another key than the node has: peers would not find it.
    #[error("the transport proves {transport}, but the node is {node}")]
    OtherKey {
        /// The transport's.
        transport: PublicKey,
        /// The identity's.
        node: PublicKey,
    },
}

/// The node behind this handle has stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the node has stopped")]
pub struct Stopped;

impl From<Stopped> for OperationError {
    fn from(_: Stopped) -> Self {
        Self::ShuttingDown
    }
}

/// Stops the node when the last handle goes.
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
        // An error means that it has stopped already.
        let _ = self.mailbox.command(Command::Shutdown, reply);
    }
}

/// A running node. Cheap to clone; all clones are the same node.
///
/// Every future is cancel-safe: dropping one cancels its operation in the node, and leaves
/// whatever peers were already told. When the last handle is dropped, the node shuts down by
/// itself; [`Dht::shutdown`] does so and waits.
#[derive(Clone)]
pub struct Dht(Arc<Inner>);

/// A handle that does not keep its node running; see [`Dht::downgrade`].
#[derive(Clone)]
pub struct WeakDht(Weak<Inner>);

impl WeakDht {
    /// The node, if some [`Dht`] still holds it.
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
    /// Starts a node: makes it, and spawns the loop that runs it.
    ///
    /// `seed` is all the randomness that the node ever uses: draw it from the operating system,
    /// or repeat one to repeat a run.
    ///
    /// # Errors
    /// A field of `config` that cannot be, or a transport that proves another key.
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

    /// As [`Dht::start`], with [`StartOptions`].
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

    /// Signs `value` with the node's own key and publishes it under `salt`. An empty value
    /// deletes. The node renews it until it is deleted or [`PutOptions::once`] was set.
    ///
    /// Cancel-safe: a drop stops the spreading; peers that have the item keep it.
    ///
    /// # Errors
    /// See [`PutError`]; a partial result is inside.
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

    /// Publishes an item signed by any key, at its signer's own target; verified first.
    ///
    /// Cancel-safe, as [`Dht::put`].
    ///
    /// # Errors
    /// See [`PutError`]; a partial result is inside.
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
    /// Cancel-safe: a drop ends the search.
    ///
    /// # Errors
    /// See [`GetError`]; the best value found in time is inside.
    pub async fn get(&self, request: GetRequest) -> Result<GetOutcome, GetError> {
        match self.run(Command::Get(request))?.await? {
            Outcome::Get(result) => result,
            other => Err(mismatch(&other).into()),
        }
    }

    /// Reads an item and shows how: the first verified value as soon as it is there, each
    /// step of the search, then the outcome.
    ///
    /// # Errors
    /// The node has stopped or is too busy to begin.
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
    /// Cancel-safe: a drop ends the search.
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

    /// Asks one peer for a sign of life, dialling `addr` if there is no session.
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

    /// Sizes, counts and limits at this moment.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn snapshot(&self) -> Result<Snapshot, Stopped> {
        self.ask(Request::Snapshot).await
    }

    /// The peers in the routing table, nearest bucket first.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, Stopped> {
        self.ask(Request::Peers).await
    }

    /// The node's own items that it keeps renewed.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn own_items(&self) -> Result<Vec<OwnItem>, Stopped> {
        self.ask(Request::OwnItems).await
    }

    /// What the loop itself counts.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn driver_stats(&self) -> Result<DriverStats, Stopped> {
        self.ask(Request::Stats).await
    }

    /// How storage does; all zero where there is none.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn storage_stats(&self) -> Result<StorageStats, Stopped> {
        self.ask(Request::Storage).await
    }

    /// What the transport counts; also after the node has stopped.
    #[must_use]
    pub fn transport_stats(&self) -> TransportStats {
        (self.0.transport)()
    }

    /// Why those bootstrap peers are not reached whose last dial failed.
    #[must_use]
    pub fn dial_failures(&self) -> Vec<DialFailure> {
        (self.0.failures)()
    }

    /// Waits until the routing table is not empty and the first self-lookups are done: from
    /// then on, puts and gets have peers to ask. Cancel-safe.
    ///
    /// # Errors
    /// [`Stopped`], if that comes first.
    pub async fn ready(&self) -> Result<(), Stopped> {
        match self.0.mailbox.reached(Phase::Ready).await {
            Phase::Stopped => Err(Stopped),
            Phase::Running | Phase::Ready => Ok(()),
        }
    }

    /// A handle for whatever the node itself uses, so that it still ends with its last user.
    #[must_use]
    pub fn downgrade(&self) -> WeakDht {
        WeakDht(Arc::downgrade(&self.0))
    }

    /// Whether [`Dht::ready`] would return at once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.mailbox.phase() == Phase::Ready
    }

    /// The node's events from now on; see [`EventStream`] for what happens to slow readers.
    #[must_use]
    pub fn events(&self) -> EventStream {
        let (sender, receiver) = events::ring();
        // If the node has stopped, the sender is dropped here and the stream is at its end.
        self.0.mailbox.ask(Request::Subscribe(sender));
        EventStream(receiver)
    }

    /// The node's key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.0.key
    }

    /// This node, as others start from it.
    #[must_use]
    pub fn as_bootstrap(&self) -> BootstrapPeer {
        BootstrapPeer {
            key: self.key(),
            addrs: self.local_addr().into_iter().collect(),
        }
    }

    /// Where others can dial this node directly, if they can.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local_addr
    }

    /// Ends every operation with [`OperationError::ShuttingDown`], flushes and closes every
    /// stream and session, and returns when all is closed. Further calls return at once, or
    /// wait for the first one. Dropping the future does not stop the shutdown.
    pub async fn shutdown(&self) {
        // An error means that it has stopped already. Dropping the reply's receiver is harmless.
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
            // The handle itself: a node does not stop by itself under a running operation.
            dht: self.clone(),
            op,
            outcome,
            finished: false,
        })
    }
}

/// The node answered a command with another command's outcome, which its contract rules out;
/// to the caller this operation ended without a result.
pub(crate) fn mismatch(outcome: &Outcome) -> OperationError {
    debug_assert!(false, "the outcome of another command: {outcome:?}");
    OperationError::Cancelled
}

/// One operation under way; dropped before its end, it is cancelled.
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
        // A dropped sender: the loop is gone.
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

/// What a get shows on its way.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum GetEvent {
    /// The first verified value; a fresher one may follow in the outcome.
    FirstValue {
        /// What was found.
        item: Arc<Item>,
        /// Owner or mirror.
        origin: Origin,
        /// Who had it; none for this node's own store.
        from: Option<PublicKey>,
    },
    /// The search learnt something.
    Hop {
        /// Who was asked.
        peer: PublicKey,
        /// What came of it.
        result: HopResult,
    },
    /// Events were lost because they were not read in time.
    Lagged(Lagged),
    /// The end; nothing follows.
    Finished(Result<GetOutcome, GetError>),
}

/// A get that shows what it does; see [`Dht::get_with_events`]. Dropped before its end, it
/// ends the search.
pub struct GetProgress {
    events: RingReceiver<Event>,
    operation: Option<Operation>,
}

impl GetProgress {
    /// The next event; [`GetEvent::Finished`] is the last one, then none. Cancel-safe.
    pub async fn next(&mut self) -> Option<GetEvent> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Skips everything but the outcome.
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
                // No other event belongs to an operation.
                Poll::Ready(Some(Ok(_))) => continue,
                // The loop drops the sender when the operation has finished.
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
