//! Serving reconciliation: the answer is computed immediately, but leaves only after the items that
//! came with the request have passed through admission.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::key::PublicKey;
use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::StreamId;
use crate::node::inbound::state::{Inbound, SyncNotice};
use crate::node::inbound::work::Batch;
use crate::node::output::CloseReason;
use crate::node::rpc::callers::JUNK_COST;
use crate::sync::{RequestPart, SyncRequest, respond};
use crate::wire::Response;

/// Room reserved for an answer: a page of items with the item that exceeds it, and the replies for
/// ranges.
pub(crate) const RECONCILE_ROOM: usize = 420 * 1024;

impl Inbound {
    /// Serves a reconciliation message. The caller has checked that there is room for the answer.
    pub(crate) fn serve_reconcile(
        &mut self,
        base: &mut Base,
        id: StreamId,
        message: &[u8],
        peer: &PublicKey,
    ) {
        let Ok(request) = SyncRequest::decode(message) else {
            base.cx.counters.count(Counter::Undecodable);
            self.close(&mut base.cx, id, CloseReason::Protocol);
            return self.note_waste(base, peer, message.len() as u64 + JUNK_COST);
        };
        self.sync_notices.push(sync_notice(peer, &request));
        let view = base.items.store.sync_view(base.cx.now);
        let reply = respond(&view, request);
        let answer = reply.response.encode();
        base.cx.counters.count(Counter::SyncsServed);
        if reply.given.is_empty() {
            return self.answer(base, id, Response::Reconcile { message: answer }, None);
        }
        let batch = Batch::given(reply.given, answer);
        self.start_batch(base, id, Box::new(batch), peer);
    }
}

/// Extracts what a request says about its sender.
fn sync_notice(peer: &PublicKey, request: &SyncRequest) -> SyncNotice {
    let mut sync_notice = SyncNotice {
        peer: *peer,
        compares: false,
        offered: Vec::new(),
    };
    for part in &request.parts {
        match part {
            RequestPart::Offer(stamps) => sync_notice.offered.extend(stamps),
            RequestPart::Give(_) => {}
            RequestPart::Whole(_)
            | RequestPart::Split(..)
            | RequestPart::Ids(..)
            | RequestPart::Want(_)
            | RequestPart::Pull(..) => sync_notice.compares = true,
        }
    }
    sync_notice
}
