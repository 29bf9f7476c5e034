//! Serving reconciliation: the answer is made immediately, the items that came with the request go their
//! way into the store before it leaves.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::key::PublicKey;
use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::StreamId;
use crate::node::inbound::state::{Heard, Inbound};
use crate::node::inbound::work::Batch;
use crate::node::output::CloseReason;
use crate::node::rpc::callers::JUNK_COST;
use crate::sync::{RequestPart, SyncRequest, respond};
use crate::wire::Response;

/// Room that an answer needs: a page of items and the item that ends it, and what is said of ranges.
pub(crate) const RECONCILE_ROOM: usize = 420 * 1024;

impl Inbound {
    /// A reconciliation message; there is room for the answer.
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
        self.heard.push(heard(peer, &request));
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

/// What a request says of who sent it.
fn heard(peer: &PublicKey, request: &SyncRequest) -> Heard {
    let mut heard = Heard {
        peer: *peer,
        compares: false,
        offered: Vec::new(),
    };
    for part in &request.parts {
        match part {
            RequestPart::Offer(stamps) => heard.offered.extend(stamps),
            RequestPart::Give(_) => {}
            RequestPart::Whole(_)
            | RequestPart::Split(..)
            | RequestPart::Ids(..)
            | RequestPart::Want(_)
            | RequestPart::Pull(..) => heard.compares = true,
        }
    }
    heard
}
