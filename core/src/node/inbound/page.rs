//! Serving a page of items, in steps, since a page of 3 MiB takes milliseconds to encode.

use alloc::boxed::Box;

use crate::item::Seq;
use crate::key::PublicKey;
use crate::node::base::Base;
use crate::node::ids::StreamId;
use crate::node::inbound::phase::RequestPhase;
use crate::node::inbound::state::Inbound;
use crate::node::inbound::work::PageJob;
use crate::node::output::CloseReason;
use crate::store::PageReader;
use crate::wire::{PageEncoder, encoded_item_len, encoded_target_len};

/// Maximum encoded size of one page of items, in bytes.
const PAGE_BYTES: usize = 3 * 1024 * 1024;
/// Room reserved while the answer is made: a page, and the item that exceeds it.
pub(crate) const PAGE_ROOM: usize = PAGE_BYTES + 128 * 1024;
/// Maximum number of items visited, and of bytes encoded, in one step.
const STEP_ITEMS: usize = 256;
const STEP_BYTES: usize = 64 * 1024;

impl Inbound {
    /// Starts a page. The caller has checked that there is room for it.
    pub(crate) fn start_page(
        &mut self,
        base: &mut Base,
        id: StreamId,
        salt: Option<&[u8]>,
        since: Seq,
        limit: i64,
    ) {
        let page = PageJob {
            reader: PageReader::new(salt, since, limit, PAGE_BYTES),
            encoder: PageEncoder::new(),
        };
        self.set_answer_bytes(id, PAGE_ROOM);
        self.set_phase(base, id, RequestPhase::Page(Box::new(page)));
    }

    /// Encodes the next piece of a page, and sends the page when it is complete. Returns the cost.
    pub(crate) fn advance_page(
        &mut self,
        base: &mut Base,
        id: StreamId,
        mut page: Box<PageJob>,
        peer: &PublicKey,
    ) -> usize {
        let PageJob { reader, encoder } = &mut *page;
        let before = encoder.len();
        let end = base.items.store.read_page(
            base.cx.now,
            reader,
            (STEP_ITEMS, STEP_BYTES),
            |target, item| 2 + encoded_item_len(item) + encoded_target_len(target),
            |target, item| encoder.push(target, item),
        );
        let cost = encoder.len().saturating_sub(before);
        let Some(end) = end else {
            self.set_phase(base, id, RequestPhase::Page(page));
            return cost;
        };
        page.encoder.truncate(end.items);
        let ext = base.cx.response_ext();
        if let Some((keep, ext)) = self.answer_ext(base, id, ext) {
            match page.encoder.finish(end.has_more, ext.as_ref()) {
                Ok(frame) => self.send_answer(base, id, frame, keep),
                Err(_) => self.close(&mut base.cx, id, CloseReason::Protocol),
            }
        }
        // The page is mostly smaller than the room that was reserved for it.
        self.backlog.room.unpark(peer);
        cost
    }
}
