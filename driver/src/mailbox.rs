//! What handles ask of the loop, and what the loop tells all handles.
//!
//! One mutex, held for a few instructions; the loop takes everything that waits in one go.

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

/// Commands that wait for the loop unless
/// [`StartOptions::waiting_commands`](crate::StartOptions::waiting_commands) says otherwise.
const WAITING_COMMANDS: usize = 1_024;

/// Where an operation's results go.
pub(crate) struct Reply {
    pub(crate) outcome: oneshot::Sender<Outcome>,
    /// Its events, for callers that watch.
    pub(crate) events: Option<RingSender<Event>>,
}

/// What a handle asks of the loop.
pub(crate) enum Request {
    Command(OperationId, Command, Reply),
    /// At most one for each operation, hence bounded by them.
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

/// How far a node is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    Running,
    Ready,
    Stopped,
}

struct State {
    requests: VecDeque<Request>,
    commands: usize,
    last_op: u64,
    phase: Phase,
    waiters: Vec<oneshot::Sender<()>>,
}

/// Shared by all handles and the loop.
pub(crate) struct Mailbox {
    /// Commands that wait for the loop at most; then the answer is [`OperationError::Busy`].
    most: usize,
    state: Mutex<State>,
    /// Wakes the loop.
    pub(crate) waker: Arc<AtomicWaker>,
}

impl Mailbox {
    pub(crate) fn new(most: Option<NonZeroUsize>) -> Self {
        Self {
            most: most.map_or(WAITING_COMMANDS, NonZeroUsize::get),
            state: Mutex::new(State {
                requests: VecDeque::new(),
                commands: 0,
                last_op: 0,
                phase: Phase::Running,
                waiters: Vec::new(),
            }),
            waker: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a command and leaves it for the loop.
    pub(crate) fn command(
        &self,
        command: Command,
        reply: Reply,
    ) -> Result<OperationId, OperationError> {
        let mut state = self.lock();
        if state.phase == Phase::Stopped {
            return Err(OperationError::ShuttingDown);
        }
        // A shutdown must get through however busy the node is.
        if state.commands >= self.most && command != Command::Shutdown {
            return Err(OperationError::Busy(self.most));
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

    /// Leaves anything else for the loop. Whether the loop is still there.
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

    /// Swaps what waits with `empty`.
    pub(crate) fn take(&self, empty: &mut VecDeque<Request>) {
        let mut state = self.lock();
        state.commands = 0;
        std::mem::swap(&mut state.requests, empty);
    }

    /// Moves to a later phase and tells who waits. `Stopped` also drops what still waits, which
    /// its callers see as the end.
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

    /// Waits until the phase is at least `wanted`, and says which it is. Cancel-safe.
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
        for n in 1..=WAITING_COMMANDS as u64 {
            assert_eq!(command(&mailbox, find()), Ok(OperationId(n)));
        }
        assert_eq!(
            command(&mailbox, find()),
            Err(OperationError::Busy(WAITING_COMMANDS))
        );
        assert!(command(&mailbox, Command::Shutdown).is_ok());
        mailbox.take(&mut VecDeque::new());
        assert!(command(&mailbox, find()).is_ok());
    }

    #[test]
    fn a_mailbox_takes_as_many_commands_as_it_is_told() {
        for most in [1, 2, 1_024, 2_000] {
            let mailbox = Mailbox::new(NonZeroUsize::new(most));
            for _ in 0..most {
                assert!(command(&mailbox, find()).is_ok());
            }
            let refused = Err(OperationError::Busy(most));
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

    /// Runs the loop's side, which takes what waits whenever it is woken, until it has had `most`
    /// requests. The world stalls if it is not woken.
    async fn serve(mailbox: &Mailbox, most: usize) {
        let mut had = 0;
        let mut taken = VecDeque::new();
        std::future::poll_fn(|cx| {
            mailbox.waker.register(cx.waker());
            mailbox.take(&mut taken);
            had += taken.drain(..).count();
            if had >= most {
                return std::task::Poll::Ready(());
            }
            std::task::Poll::Pending
        })
        .await;
    }

    #[test]
    fn every_waiter_goes_on_when_a_full_mailbox_is_drained() {
        let world = VirtualTime::new(1);
        let runtime = world.runtime();
        let mailbox = Arc::new(Mailbox::new(None));
        for _ in 0..WAITING_COMMANDS {
            assert!(command(&mailbox, find()).is_ok());
        }
        assert!(command(&mailbox, find()).is_err());
        let (asking, clock) = (Arc::clone(&mailbox), runtime.clone());
        runtime.spawn(Box::pin(async move {
            // The loop has taken everything and waits.
            clock.sleep(std::time::Duration::from_secs(1)).await;
            assert!(command(&asking, find()).is_ok());
        }));
        let served = serve(&mailbox, WAITING_COMMANDS + 1);
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
    fn every_waiter_goes_on_when_a_phase_is_reached() {
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
