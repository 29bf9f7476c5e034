//! Requests for streams of ours, which the driver serves in order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;

use super::config::SessionError;
use super::context::{Permit, SessionContext, Side};
use super::stream::Stream;

/// What waits for the driver, with what else it has in common with the handles.
pub(super) struct Requests {
    pub(super) context: Arc<SessionContext>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: VecDeque<OpenRequest>,
    closing: bool,
}

/// A caller waits for a stream, and holds a place for it.
pub(super) struct OpenRequest {
    pub(super) permit: Permit,
    pub(super) reply: oneshot::Sender<Stream>,
}

impl Requests {
    pub(super) fn new(context: Arc<SessionContext>) -> Self {
        Self {
            context,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a request; the driver answers it.
    pub(super) fn open(&self) -> Result<oneshot::Receiver<Stream>, SessionError> {
        let permit = || self.context.permit(Side::Outbound);
        let permit = permit().or_else(|| {
            self.forget_cancelled();
            permit()
        });
        let (reply, opened) = oneshot::channel();
        {
            let mut state = self.state();
            if !state.closing {
                let permit = permit.ok_or(SessionError::TooManyStreams)?;
                state.open.push_back(OpenRequest { permit, reply });
            }
            // When closing, `reply` is dropped: the caller then learns the reason.
        }
        self.context.driver.wake();
        Ok(opened)
    }

    /// Frees the places of those who no longer wait.
    fn forget_cancelled(&self) {
        self.state()
            .open
            .retain(|request| !request.reply.is_canceled());
    }

    pub(super) fn next(&self) -> Option<OpenRequest> {
        let mut state = self.state();
        loop {
            let next = state.open.pop_front()?;
            if !next.reply.is_canceled() {
                return Some(next);
            }
        }
    }

    /// Puts back a request that cannot be served yet.
    pub(super) fn postpone(&self, request: OpenRequest) {
        self.state().open.push_front(request);
    }

    pub(super) fn close(&self) {
        let refused = {
            let mut state = self.state();
            state.closing = true;
            std::mem::take(&mut state.open)
        };
        drop(refused);
        self.context.driver.wake();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.state().closing
    }
}
