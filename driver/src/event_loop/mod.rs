//! The event loop: one task that owns the node and polls everything around it.
//!
//! A turn handles the requests of handles, verdicts of the verifier, streams that peers opened, and
//! streams that were woken. After each input it drains the node's outputs. Then it sleeps until the
//! node's deadline or the next wake. A turn is bounded, so that a busy node lets other tasks run.

mod streams;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use futures::task::AtomicWaker;
use skydht_core::Node;
use skydht_core::id::Target;
use skydht_core::node::{
    ChangeId, Command, Event, Input, JobId, OpenFailure, OperationId, Outcome, Output, ProbeId,
    StoreChange, StreamId, Verdict,
};
use skydht_core::time::{Mono, Time, Unix, nanos};
use skydht_runtime::{BoxFuture, Runtime};

use crate::events::RingSender;
use crate::mailbox::{Mailbox, Phase, Reply, Request};
use crate::options::StartOptions;
use crate::recorder::Recorder;
use crate::stats::DriverStats;
use crate::storage::{Answer, Kept, Loaded, StorageQueue};
use crate::transport::{Accepted, Transport};
use crate::verifier::VerifyQueue;
use streams::{Step, Streams};

/// Maximum number of inputs handled in one turn.
const TURN_INPUTS: usize = 256;
/// Maximum number of steps in one visit of a stream.
const VISIT_STEPS: usize = 8;
/// Received bytes that count as one further step.
const BYTES_A_STEP: usize = 16 * 1024;
/// Size of the buffer for reads from streams, in bytes.
const READ_BUFFER: usize = 64 * 1024;
/// Maximum number of records from storage that the node receives in one turn.
const LOADED_A_TURN: usize = 64;
/// Maximum number of unverified records among them that wait for verification: fewer than the node
/// accepts on its own behalf.
const UNPROVEN: usize = 32;
/// How long a shutdown waits for streams to flush, and for storage to write its queue.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Returns the runtime's clocks as the core's time.
pub(crate) fn time<R: Runtime>(runtime: &R) -> Time {
    let clocks = runtime.clocks();
    Time {
        mono: Mono(nanos(clocks.monotonic)),
        unix: Unix(nanos(clocks.unix)),
    }
}

/// Spawns the task that runs `node`.
pub(crate) fn spawn<R: Runtime, T: Transport>(
    runtime: R,
    transport: Arc<T>,
    node: Node,
    mailbox: Arc<Mailbox>,
    options: StartOptions,
    storage: Option<StorageQueue>,
) {
    let spawner = runtime.clone();
    let mut event_loop = EventLoop::new(runtime, transport, node, mailbox, options, storage);
    spawner.spawn(Box::pin(std::future::poll_fn(move |cx| {
        event_loop.poll(cx)
    })));
}

type Probing = BoxFuture<'static, (ProbeId, Result<(), OpenFailure>)>;

/// Progress of the shutdown.
enum Ending {
    No,
    /// The node has shut down; streams may flush until this time.
    Flushing(Mono),
    /// The transport is closing.
    Closing(BoxFuture<'static, ()>),
}

struct EventLoop<R: Runtime, T: Transport> {
    runtime: R,
    transport: Arc<T>,
    node: Node,
    mailbox: Arc<Mailbox>,
    waker: Arc<AtomicWaker>,
    recorder: Option<Box<dyn Recorder>>,
    streams: Streams<T::Stream>,
    verify: VerifyQueue,
    /// Address probes in progress; bounded by the core.
    probes: FuturesUnordered<Probing>,
    /// Whether a probe was added that has never been polled.
    has_new_probes: bool,
    operations: HashMap<OperationId, Reply>,
    subscribers: Vec<RingSender<Event>>,
    storage: Option<StorageQueue>,
    /// Changes to acknowledge to the node, and whether they are durable.
    persisted: Vec<(ChangeId, bool)>,
    /// The current sleep, and when it ends.
    alarm: Option<(Mono, BoxFuture<'static, ()>)>,
    next_accepted: u64,
    ending: Ending,
    stats: DriverStats,
    /// Number of inputs left in this turn.
    budget: usize,
    // Kept to reuse their allocations.
    requests: VecDeque<Request>,
    verdicts: Vec<(JobId, Verdict)>,
    ready: Vec<usize>,
    busy: Vec<usize>,
    buffer: Vec<u8>,
}

impl<R: Runtime, T: Transport> EventLoop<R, T> {
    fn new(
        runtime: R,
        transport: Arc<T>,
        node: Node,
        mailbox: Arc<Mailbox>,
        options: StartOptions,
        storage: Option<StorageQueue>,
    ) -> Self {
        let waker = Arc::clone(&mailbox.waker);
        let mut event_loop = Self {
            streams: Streams::new(Arc::clone(&waker)),
            verify: options.verifier.queue(Arc::clone(&waker)),
            recorder: options.recorder,
            runtime,
            transport,
            node,
            mailbox,
            waker,
            probes: FuturesUnordered::new(),
            has_new_probes: false,
            operations: HashMap::new(),
            subscribers: Vec::new(),
            storage,
            persisted: Vec::new(),
            alarm: None,
            next_accepted: 1,
            ending: Ending::No,
            stats: DriverStats::default(),
            budget: 0,
            requests: VecDeque::new(),
            verdicts: Vec::new(),
            ready: Vec::new(),
            busy: Vec::new(),
            buffer: vec![0; READ_BUFFER],
        };
        // The node expects a firing timer as its first input.
        event_loop.feed(Input::TimerFired);
        if event_loop.storage.is_some() {
            let next = Some(Target::default());
            event_loop.feed(Input::LoadedUpTo { next });
        }
        for record in options.records {
            let record = Box::new(record);
            event_loop.feed(Input::Loaded {
                record,
                proven: false,
            });
        }
        event_loop
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Register before checking anything, so that no wake before the sleep is lost.
        self.waker.register(cx.waker());
        self.budget = TURN_INPUTS;
        loop {
            self.take_requests();
            self.take_verdicts();
            self.acknowledge();
            let has_more = self.take_loaded();
            self.poll_accept(cx);
            self.poll_probes(cx);
            while self.budget > 0 && self.streams.has_ready() {
                self.visit_streams();
            }
            self.fire();
            if self.poll_ending(cx).is_ready() {
                return Poll::Ready(());
            }
            if self.budget == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // What comes from outside wakes the task. What this turn itself made does not.
            let goes_on = has_more
                || self.streams.has_ready()
                || self.has_new_probes
                || !self.persisted.is_empty();
            if !goes_on && self.poll_alarm(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Passes one input to the node and applies its outputs.
    fn feed(&mut self, input: Input<'_>) {
        self.budget = self.budget.saturating_sub(1);
        let now = time(&self.runtime);
        if let Some(recorder) = &mut self.recorder {
            recorder.input(now, &input);
        }
        if let Err(misuse) = self.node.handle(now, input) {
            debug_assert!(false, "misuse of the node: {misuse}");
            self.stats.misuse += 1;
        }
        while let Some(output) = self.node.poll_output() {
            if let Some(recorder) = &mut self.recorder {
                recorder.output(&output);
            }
            self.apply(now, output);
        }
        if let Some(recorder) = &mut self.recorder {
            let signed = self.node.take_signatures();
            recorder.drained(self.node.next_deadline(), signed);
        }
    }

    /// Applies one output. Must not call the node again: results are passed to it in later inputs.
    fn apply(&mut self, now: Time, output: Output) {
        match output {
            Output::OpenStream {
                stream,
                peer,
                addrs,
                session,
            } => {
                let opening = self.transport.open(peer, addrs, session);
                self.streams.open(stream, opening);
            }
            Output::Send { stream, bytes } => self.streams.send(stream, bytes),
            Output::CloseStream { stream, reason } => {
                self.streams.close(stream, reason.is_graceful());
            }
            Output::PauseReading { stream } => self.streams.set_paused(stream, true),
            Output::ResumeReading { stream } => self.streams.set_paused(stream, false),
            Output::Probe { probe, peer, addr } => {
                let probing = self.transport.probe(peer, addr);
                self.probes
                    .push(Box::pin(async move { (probe, probing.await) }));
                self.has_new_probes = true;
            }
            Output::Verify { job, work } => self.verify.submit(job, work),
            Output::Persist {
                change,
                what,
                acknowledge,
            } => match &self.storage {
                Some(storage) => storage.submit(change, what, acknowledge),
                // Without storage, a change that asks for durability is acknowledged as not
                // durable.
                None if acknowledge => self.persisted.push((change, false)),
                None => {}
            },
            Output::PersistMark { change } => {
                if let Some(storage) = &self.storage {
                    storage.submit_mark(change);
                }
            }
            Output::LoadTarget { target } => {
                if let Some(storage) = &self.storage {
                    storage.ask(target);
                }
            }
            Output::Finished { op, outcome } => {
                if matches!((&outcome, &self.ending), (Outcome::Shutdown, Ending::No)) {
                    self.ending = Ending::Flushing(now.mono.plus(SHUTDOWN_GRACE));
                    if let Some(storage) = &self.storage {
                        storage.end();
                    }
                }
                if let Some(reply) = self.operations.remove(&op) {
                    // An error means that the caller has dropped the future.
                    let _ = reply.outcome.send(outcome);
                }
            }
            Output::Event(event) => self.publish(event),
        }
    }

    fn publish(&mut self, event: Event) {
        match &event {
            Event::FirstValue { op, .. } | Event::Hop { op, .. } => {
                let watcher = self.operations.get(op);
                if let Some(events) = watcher.and_then(|reply| reply.events.as_ref()) {
                    events.push(event.clone());
                }
            }
            Event::Ready { .. } => self.mailbox.advance(Phase::Ready),
            Event::PeerRefused { peer, until } => {
                let now = time(&self.runtime).mono;
                self.transport.refuse(*peer, until.since(now));
            }
            _ => {}
        }
        self.subscribers
            .retain(|subscriber| subscriber.push(event.clone()));
    }

    fn take_requests(&mut self) {
        let mut requests = std::mem::take(&mut self.requests);
        self.mailbox.take(&mut requests);
        for request in requests.drain(..) {
            match request {
                Request::Command(op, command, reply) => {
                    if command == Command::Shutdown && !matches!(self.ending, Ending::No) {
                        continue; // it is under way
                    }
                    self.operations.insert(op, reply);
                    self.feed(Input::Command { op, command });
                }
                Request::Cancel(op) => self.feed(Input::Cancel { op }),
                Request::Snapshot(reply) => {
                    let now = time(&self.runtime);
                    drop(reply.send(self.node.snapshot_at(now)));
                }
                Request::Peers(reply) => {
                    let now = time(&self.runtime).mono;
                    drop(reply.send(self.node.peers_at(now)));
                }
                Request::OwnItems(reply) => {
                    let now = time(&self.runtime).mono;
                    let _ = reply.send(self.node.own_items(now));
                }
                Request::Stats(reply) => drop(reply.send(self.stats())),
                Request::Storage(reply) => {
                    let stats = self.storage.as_ref().map(StorageQueue::stats);
                    drop(reply.send(stats.unwrap_or_default()));
                }
                Request::Subscribe(subscriber) => self.subscribers.push(subscriber),
                Request::List(filter, from, most, reply) => {
                    let now = time(&self.runtime);
                    let _ = reply.send(self.node.store().list(now, &filter, from, most));
                }
                Request::SetFullNode(full_node, reply) => {
                    self.feed(Input::SetFullNode { full_node });
                    let _ = reply.send(());
                }
            }
        }
        self.requests = requests;
    }

    fn stats(&self) -> DriverStats {
        DriverStats {
            streams: self.streams.len(),
            lingering: self.streams.lingering(),
            lingering_bytes: self.streams.lingering_bytes(),
            unsent_bytes: self.streams.unsent(),
            operations: self.operations.len(),
            verifying: self.verify.len(),
            probes: self.probes.len(),
            lingering_cut: self.streams.cut_count(),
            ..self.stats
        }
    }

    fn take_verdicts(&mut self) {
        let mut verdicts = std::mem::take(&mut self.verdicts);
        self.verify.take(&mut verdicts);
        for (job, verdict) in verdicts.drain(..) {
            self.feed(Input::Verified { job, verdict });
        }
        self.verdicts = verdicts;
    }

    fn acknowledge(&mut self) {
        let mut persisted = std::mem::take(&mut self.persisted);
        if let Some(storage) = &self.storage
            && persisted.is_empty()
        {
            storage.take_done(&mut persisted);
        }
        for (change, durable) in persisted.drain(..) {
            self.feed(Input::Persisted { change, durable });
        }
        if self.persisted.is_empty() {
            self.persisted = persisted;
        }
    }

    /// Passes results of storage to the node, a limited number per turn, answers to its requests
    /// first; and writes records again that storage has lost.
    /// Returns whether there may be more.
    fn take_loaded(&mut self) -> bool {
        for _ in 0..LOADED_A_TURN {
            let Some(storage) = &self.storage else {
                return false;
            };
            if let Some(mark) = storage.next_mark() {
                self.feed(Input::MarkLoaded { mark });
                continue;
            }
            if let Some(Answer { target, kept, read }) = storage.next_answer() {
                if let Some(kept) = kept {
                    self.load(kept);
                }
                self.feed(Input::TargetLoaded { target, read });
                continue;
            }
            if let Some(target) = storage.next_wanted() {
                let (now, store) = (time(&self.runtime), self.node.store());
                let record = store
                    .get(now, &target)
                    .and_then(|_| store.record(now, &target));
                if let Some(record) = record {
                    let keep = StoreChange::Keep(Box::new(record));
                    storage.submit(ChangeId(0), keep, false);
                }
                continue;
            }
            // The node would drop further unverified records.
            let unproven = self.verify.len() < UNPROVEN;
            match storage.next_loaded(unproven) {
                Some(Loaded::Record(kept)) => self.load(kept),
                Some(Loaded::UpTo(next)) => self.feed(Input::LoadedUpTo { next }),
                None => return false,
            }
        }
        true
    }

    fn load(&mut self, kept: Kept) {
        self.feed(Input::Loaded {
            record: Box::new(kept.record),
            proven: kept.proven,
        });
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) {
        while self.budget > 0 && matches!(self.ending, Ending::No) {
            let Poll::Ready(Some(accepted)) = self.transport.poll_accept(cx) else {
                return;
            };
            let Accepted { peer, path, stream } = accepted;
            let id = StreamId(self.next_accepted);
            self.next_accepted += 2;
            self.streams.accept(id, stream);
            self.feed(Input::StreamAccepted {
                stream: id,
                peer,
                path,
            });
        }
    }

    fn poll_probes(&mut self, cx: &mut Context<'_>) {
        self.has_new_probes = false;
        while let Poll::Ready(Some((probe, result))) = self.probes.poll_next_unpin(cx) {
            self.feed(Input::Probed { probe, result });
        }
    }

    fn visit_streams(&mut self) {
        let now = time(&self.runtime).mono;
        let mut ready = std::mem::take(&mut self.ready);
        let mut buffer = std::mem::take(&mut self.buffer);
        self.streams.take_ready(&mut ready);
        let mut busy = std::mem::take(&mut self.busy);
        for index in ready.drain(..) {
            if self.budget == 0 {
                self.streams.revisit(index);
                continue;
            }
            let mut steps = VISIT_STEPS.min(self.budget);
            loop {
                if steps == 0 {
                    busy.push(index);
                    break;
                }
                steps -= 1;
                let input = match self.streams.step(index, now, &mut buffer) {
                    Step::Idle => break,
                    Step::Opened(stream, path) => Input::StreamOpened { stream, path },
                    Step::Failed(stream, reason) => Input::StreamFailed { stream, reason },
                    Step::Bytes(stream, n) => {
                        steps = steps.saturating_sub(n / BYTES_A_STEP);
                        self.budget = self.budget.saturating_sub(n / BYTES_A_STEP);
                        let bytes = Cow::Borrowed(&buffer[..n]);
                        Input::Bytes { stream, bytes }
                    }
                    Step::Sent(stream) => Input::Sent { stream },
                    Step::Closed(stream, end) => Input::StreamClosed { stream, end },
                };
                self.feed(input);
            }
        }
        // Busy streams come after those that had no visit in this turn.
        for index in busy.drain(..) {
            self.streams.revisit(index);
        }
        self.busy = busy;
        self.ready = ready;
        self.buffer = buffer;
    }

    /// Fires the node's timer if it is due, and resets streams that linger too long.
    fn fire(&mut self) {
        let now = time(&self.runtime).mono;
        self.streams.cut_overdue(now);
        if self.node.next_deadline().is_some_and(|due| due.at <= now) {
            self.feed(Input::TimerFired);
        }
    }

    fn next_wake(&self) -> Option<Mono> {
        let node = self.node.next_deadline().map(|deadline| deadline.at);
        let ending = match self.ending {
            Ending::Flushing(until) => Some(until),
            Ending::No | Ending::Closing(_) => None,
        };
        [node, self.streams.next_overdue(), ending]
            .into_iter()
            .flatten()
            .min()
    }

    /// Completes when something is due. A sleep that ends before the deadline is kept: deadlines
    /// mostly move to later, and one unnecessary wake is cheaper than a new sleep for each input.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(wake) = self.next_wake() else {
            return Poll::Pending;
        };
        loop {
            let now = time(&self.runtime).mono;
            if wake <= now {
                return Poll::Ready(());
            }
            if self.alarm.as_ref().is_none_or(|(at, _)| *at > wake) {
                self.alarm = Some((wake, self.runtime.sleep(wake.since(now))));
            }
            if let Some((_, sleep)) = &mut self.alarm {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.alarm = None;
            }
        }
    }

    /// Completes when everything is closed.
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Ending::Flushing(until) = self.ending {
            let written = self.storage.as_ref().is_none_or(StorageQueue::has_ended);
            if (self.streams.len() > 0 || !written) && time(&self.runtime).mono < until {
                return Poll::Pending;
            }
            self.streams.clear();
            self.ending = Ending::Closing(self.transport.close());
        }
        let Ending::Closing(closing) = &mut self.ending else {
            return Poll::Pending;
        };
        std::task::ready!(closing.as_mut().poll(cx));
        self.subscribers.clear();
        self.operations.clear();
        self.mailbox.advance(Phase::Stopped);
        Poll::Ready(())
    }
}

impl<R: Runtime, T: Transport> Drop for EventLoop<R, T> {
    fn drop(&mut self) {
        // The executor may drop the task: waiters must not wait forever.
        self.mailbox.advance(Phase::Stopped);
    }
}

#[cfg(test)]
mod tests;
