//! Requests that wait for a newer item at their target (long polls).

use alloc::boxed::Box;
use core::time::Duration;

use crate::id::Target;
use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::StreamId;
use crate::node::inbound::phase::RequestPhase;
use crate::node::inbound::state::Inbound;
use crate::node::limits::Limit;
use crate::node::rpc::deadlines::Wait;
use crate::wire::{Request, RequestMessage};

/// Maximum time that a request waits, whatever it asks for.
const MAX_POLL: Duration = Duration::from_secs(30);

impl Inbound {
    /// Returns the request if its answer is due, otherwise makes it wait for a newer item and
    /// returns `None`.
    pub(super) fn await_newer(
        &mut self,
        base: &mut Base,
        id: StreamId,
        message: RequestMessage,
    ) -> Option<RequestMessage> {
        let poll = message.ext.as_ref().and_then(|ext| ext.poll);
        let (Some(poll), Request::GetValue { target }) = (poll, &message.request) else {
            return Some(message);
        };
        let held = base.items.store.get(base.cx.now, target);
        let news = held.is_some_and(|held| Some(held.item().seq) > poll.after);
        let has_waited = self.request_mut(id).is_none_or(|request| request.polled);
        if news || has_waited || poll.time.is_zero() {
            return Some(message);
        }
        if self.watches.len() >= base.cx.config.limits.watches {
            base.cx.hit(Limit::watches);
            return Some(message);
        }
        base.cx.counters.count(Counter::PollsServed);
        let target = *target;
        self.watches.insert((target, id));
        let until = base.cx.now.mono.plus(poll.time.min(MAX_POLL));
        self.streams.set_deadline(id, Some((Wait::Poll, until)));
        self.set_phase(base, id, RequestPhase::Watching(Box::new(message), target));
        None
    }

    /// The item at a target has changed: resumes the requests that wait for it.
    pub(crate) fn item_changed(&mut self, base: &mut Base, target: Target) {
        while let Some((_, id)) = self
            .watches
            .range((target, StreamId(0))..)
            .next()
            .filter(|(at, _)| *at == target)
            .copied()
        {
            self.end_wait(base, id);
        }
    }
}
