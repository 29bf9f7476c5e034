//! Requests that wait for storage while it is read at the start, because the answer depends on the
//! record at their target.

use alloc::boxed::Box;

use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::StreamId;
use crate::node::inbound::phase::RequestPhase;
use crate::node::inbound::state::Inbound;
use crate::node::loading::{LOAD_WAIT, Need};
use crate::node::rpc::deadlines::Wait;
use crate::wire::{Request, RequestMessage, Want};

impl Inbound {
    /// Returns the request if what it needs is loaded, otherwise makes it wait and returns `None`.
    pub(super) fn await_load(
        &mut self,
        base: &mut Base,
        id: StreamId,
        message: RequestMessage,
    ) -> Option<RequestMessage> {
        if !base.loading.is_under_way() {
            return Some(message);
        }
        let was_loaded = self.request_mut(id).is_none_or(|request| request.loaded);
        let Some(need) = need_of(&message).filter(|_| !was_loaded) else {
            return Some(message);
        };
        let Some(need) = base.needs(need) else {
            return Some(message);
        };
        self.loads.insert((need, id));
        let until = base.cx.now.mono.plus(LOAD_WAIT);
        self.streams.set_deadline(id, Some((Wait::Load, until)));
        self.set_phase(base, id, RequestPhase::Loading(Box::new(message), need));
        None
    }

    /// Resumes the requests whose need was loaded or given up.
    pub(crate) fn loaded(&mut self, base: &mut Base, need: Need) {
        loop {
            let next = match need {
                Need::All => self.loads.first(),
                Need::At(_) => self.loads.range((need, StreamId(0))..).next(),
            };
            let Some((_, id)) = next.filter(|(of, _)| need == Need::All || *of == need) else {
                return;
            };
            self.end_wait(base, *id);
        }
    }

    /// Serves a request from memory because storage did not answer in time.
    pub(super) fn load_timed_out(&mut self, base: &mut Base, id: StreamId) {
        base.cx.counters.count(Counter::LoadsLate);
        self.end_wait(base, id);
    }
}

/// The records that the answer to a request depends on.
fn need_of(message: &RequestMessage) -> Option<Need> {
    let want = message.ext.as_ref().map_or(Want::All, |ext| ext.want);
    match &message.request {
        Request::Ping | Request::FindNode { .. } => None,
        Request::GetValue { .. } if want == Want::Peers => None,
        Request::GetValue { target } | Request::Renew { target, .. } => Some(Need::At(*target)),
        Request::PutValue {
            item,
            mirror_target,
        } => {
            let own = || item.item().map(|item| item.target());
            mirror_target.or_else(own).map(Need::At)
        }
        Request::GetItems { .. } | Request::Reconcile { .. } | Request::PutBatch { .. } => {
            Some(Need::All)
        }
    }
}
