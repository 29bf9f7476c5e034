//! The queue of requests from handles to the event loop, and the phase that the loop reports to
//! them.
//!
//! One mutex, held for a few instructions; the loop takes all waiting requests in one step.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;
use futures::task::AtomicWaker;
use skydht_core::id::Target;
use skydht_core::node::{
    Command, Event, OperationError, OperationId, Outcome, OwnItem, PeerInfo, Snapshot,
};
use skydht_core::store::{Filter, ListPage};

use crate::events::RingSender;
use crate::stats::DriverStats;
use crate::storage::StorageStats;

/// Default of [`StartOptions::waiting_commands`](crate::StartOptions::waiting_commands).
const DEFAULT_WAITING_COMMANDS: usize = 1_024;

/// Where the results of an operation are sent.
pub(crate) struct Reply {
    pub(crate) outcome: oneshot::Sender<Outcome>,
    /// Receives the operation's events; `None` if the caller does not watch them.
    pub(crate) events: Option<RingSender<Event>>,
}

/// A request of a handle to the event loop.
pub(crate) enum Request {
    Command(OperationId, Command, Reply),
    /// At most one for each operation, which bounds their number.
    Cancel(OperationId),
    Snapshot(oneshot::Sender<Snapshot>),
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    OwnItems(oneshot::Sender<Vec<OwnItem>>),
    Stats(oneshot::Sender<DriverStats>),
    Storage(oneshot::Sender<StorageStats>),
    Subscribe(RingSender<Event>),
    SetFullNode(bool, oneshot::Sender<()>),
    List(Filter, Target, usize, oneshot::Sender<ListPage>),
}

/// The phase that a node is in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    Running,
    Ready,
    Stopped,
}

struct MailboxState {
    requests: VecDeque<Request>,
    commands: usize,
    last_op: u64,
    phase: Phase,
    waiters: Vec<oneshot::Sender<()>>,
}

/// State shared by all handles and the event loop.
pub(crate) struct Mailbox {
    /// Maximum number of waiting commands; further ones fail with [`OperationError::Busy`].
    max_commands: usize,
    state: Mutex<MailboxState>,
    /// Wakes the event loop.
    pub(crate) waker: Arc<AtomicWaker>,
}

impl Mailbox {
    pub(crate) fn new(max_commands: Option<NonZeroUsize>) -> Self {
        Self {
            max_commands: max_commands.map_or(DEFAULT_WAITING_COMMANDS, NonZeroUsize::get),
            state: Mutex::new(MailboxState {
                requests: VecDeque::new(),
                commands: 0,
                last_op: 0,
                phase: Phase::Running,
                waiters: Vec::new(),
            }),
            waker: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, MailboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Assigns an id to a command and queues it.
    pub(crate) fn command(
        &self,
        command: Command,
        reply: Reply,
    ) -> Result<OperationId, OperationError> {
        let mut state = self.lock();
        if state.phase == Phase::Stopped {
            return Err(OperationError::ShuttingDown);
        }
        // A shutdown is accepted however busy the node is.
        if state.commands >= self.max_commands && command != Command::Shutdown {
            return Err(OperationError::Busy(self.max_commands));
        }
        state.commands += 1;
        state.last_op += 1;
        let op = OperationId(state.last_op);
        state
            .requests
            .push_back(Request::Command(op, command, reply));
        drop(state);
        self.waker.wake();
        Ok(op)
    }

    /// Queues any other request. Returns whether the event loop still runs.
    pub(crate) fn ask(&self, request: Request) -> bool {
        let mut state = self.lock();
        if state.phase == Phase::Stopped {
            return false;
        }
        state.requests.push_back(request);
        drop(state);
        self.waker.wake();
        true
    }

    /// Swaps the queue with `empty`.
    pub(crate) fn take(&self, empty: &mut VecDeque<Request>) {
        let mut state = self.lock();
        state.commands = 0;
        std::mem::swap(&mut state.requests, empty);
    }

    /// Moves to a later phase and wakes its waiters. [`Phase::Stopped`] also drops the queued
    /// requests; their callers see closed channels.
    pub(crate) fn advance(&self, phase: Phase) {
        let mut state = self.lock();
        if state.phase >= phase {
            return;
        }
        state.phase = phase;
        let waiters = std::mem::take(&mut state.waiters);
        let requests = match phase {
            Phase::Stopped => std::mem::take(&mut state.requests),
            _ => VecDeque::new(),
        };
        drop(state);
        drop(requests);
        for waiter in waiters {
            let _ = waiter.send(());
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// Waits until the phase is at least `wanted`, and returns it. Cancel-safe.
    pub(crate) async fn reached(&self, wanted: Phase) -> Phase {
        loop {
            let waiter = {
                let mut state = self.lock();
                if state.phase >= wanted {
                    return state.phase;
                }
                let (sender, waiter) = oneshot::channel();
                state.waiters.retain(|waiter| !waiter.is_canceled());
                state.waiters.push(sender);
                waiter
            };
            let _ = waiter.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{join, join_all};
    use skydht_runtime::Runtime as _;
    use skydht_runtime::virtual_time::VirtualTime;

    use super::*;

    fn command(mailbox: &Mailbox, command: Command) -> Result<OperationId, OperationError> {
        let (outcome, _) = oneshot::channel();
        mailbox.command(
            command,
            Reply {
                outcome,
                events: None,
            },
        )
    }

    fn find() -> Command {
        Command::FindNode {
            target: Default::default(),
            timeout: None,
        }
    }

    #[test]
    fn a_full_mailbox_answers_busy_but_takes_a_shutdown() {
        let mailbox = Mailbox::new(None);
        for n in 1..=DEFAULT_WAITING_COMMANDS as u64 {
            assert_eq!(command(&mailbox, find()), Ok(OperationId(n)));
        }
        assert_eq!(
            command(&mailbox, find()),
            Err(OperationError::Busy(DEFAULT_WAITING_COMMANDS))
        );
        assert!(command(&mailbox, Command::Shutdown).is_ok());
        mailbox.take(&mut VecDeque::new());
        assert!(command(&mailbox, find()).is_ok());
    }

    #[test]
    fn a_mailbox_takes_as_many_commands_as_configured() {
        for max_commands in [1, 2, 1_024, 2_000] {
            let mailbox = Mailbox::new(NonZeroUsize::new(max_commands));
            for _ in 0..max_commands {
                assert!(command(&mailbox, find()).is_ok());
            }
            let refused = Err(OperationError::Busy(max_commands));
            assert_eq!(command(&mailbox, find()), refused);
        }
    }

    #[test]
    fn a_stopped_mailbox_takes_nothing_and_drops_what_waits() {
        let mailbox = Mailbox::new(None);
        let (sender, mut receiver) = oneshot::channel();
        assert!(mailbox.ask(Request::Peers(sender)));
        mailbox.advance(Phase::Stopped);
        assert!(receiver.try_recv().is_err());
        assert_eq!(command(&mailbox, find()), Err(OperationError::ShuttingDown));
        assert!(!mailbox.ask(Request::Cancel(OperationId(1))));
    }

    /// Acts as the event loop, which takes all requests whenever it is woken, until it has taken
    /// `max_commands`. The virtual time stalls if it is not woken.
    async fn serve(mailbox: &Mailbox, max_commands: usize) {
        let mut had = 0;
        let mut taken = VecDeque::new();
        std::future::poll_fn(|cx| {
            mailbox.waker.register(cx.waker());
            mailbox.take(&mut taken);
            had += taken.drain(..).count();
            if had >= max_commands {
                return std::task::Poll::Ready(());
            }
            std::task::Poll::Pending
        })
        .await;
    }

    #[test]
    fn waiters_are_woken_when_a_full_mailbox_is_drained() {
        let world = VirtualTime::new(1);
        let runtime = world.runtime();
        let mailbox = Arc::new(Mailbox::new(None));
        for _ in 0..DEFAULT_WAITING_COMMANDS {
            assert!(command(&mailbox, find()).is_ok());
        }
        assert!(command(&mailbox, find()).is_err());
        let (asking, clock) = (Arc::clone(&mailbox), runtime.clone());
        runtime.spawn(Box::pin(async move {
            // By now the loop has taken everything and waits.
            clock.sleep(std::time::Duration::from_secs(1)).await;
            assert!(command(&asking, find()).is_ok());
        }));
        let served = serve(&mailbox, DEFAULT_WAITING_COMMANDS + 1);
        world.run_until(served).unwrap();

        let (asking, clock) = (Arc::clone(&mailbox), runtime.clone());
        runtime.spawn(Box::pin(async move {
            clock.sleep(std::time::Duration::from_secs(1)).await;
            let (sender, _) = oneshot::channel();
            assert!(asking.ask(Request::Peers(sender)));
        }));
        world.run_until(serve(&mailbox, 1)).unwrap();
    }

    #[test]
    fn waiters_are_woken_when_a_phase_is_reached() {
        let world = VirtualTime::new(1);
        let runtime = world.runtime();
        let mailbox = Arc::new(Mailbox::new(None));
        let (advancing, clock) = (Arc::clone(&mailbox), runtime.clone());
        runtime.spawn(Box::pin(async move {
            for phase in [Phase::Ready, Phase::Stopped] {
                clock.sleep(std::time::Duration::from_secs(1)).await;
                advancing.advance(phase);
            }
        }));
        let ready = join_all((0..50).map(|_| mailbox.reached(Phase::Ready)));
        let stopped = join_all((0..50).map(|_| mailbox.reached(Phase::Stopped)));
        let (ready, stopped) = world.run_until(join(ready, stopped)).unwrap();
        assert!(ready.iter().all(|phase| *phase == Phase::Ready));
        assert!(stopped.iter().all(|phase| *phase == Phase::Stopped));
    }
}
