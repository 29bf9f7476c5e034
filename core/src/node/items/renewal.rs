//! Keeping own items alive: which are renewed, and with which sequence.

use crate::id::Target;
use crate::item::Item;
use crate::node::context::Context;
use crate::node::ids::PutMode;
use crate::node::items::state::Items;
use crate::node::limits::Limit;
use crate::node::timers::Timer;
use crate::store::{Candidate, Via};
use alloc::sync::Arc;

impl Items {
    /// From now on this item is renewed until it is deleted.
    pub(crate) fn remember_own(&mut self, cx: &mut Context, target: Target, item: Arc<Item>) {
        if self.own.keep(target, item) {
            self.own.schedule_renewal(cx, &target);
        } else {
            cx.hit(Limit::own_items);
        }
    }

    /// From now on only its sequence matters.
    pub(crate) fn forget_own(&mut self, cx: &mut Context, target: &Target) {
        self.own.forget(target);
        cx.timers.cancel(Timer::Renewal(*target));
    }

    /// An own item wants renewing: the same item to our dialect, a higher sequence to Go.
    pub(crate) fn renew_own(
        &mut self,
        cx: &mut Context,
        target: Target,
    ) -> Option<(Arc<Item>, PutMode)> {
        let renew = self.own.items.get(&target)?.renew.as_ref()?;
        let (mut item, by_seq) = (renew.item.clone(), renew.by_seq);
        let mut mode = PutMode::Renew;
        if by_seq
            && let Some(next) = self.next_seq(cx.now, &target)
            && let Some(newer) = cx.sign(next, item.value.clone(), item.salt.clone())
        {
            item = Arc::new(newer);
            mode = PutMode::Publish;
            self.own.raise(target, next, cx.now.mono);
            self.own.keep(target, item.clone());
        }
        let _ = self.admit(cx, Candidate::of_owner(item.clone(), Via::Local), 0);
        // Should this renewal get lost, the next one comes anyway.
        self.own.schedule_renewal(cx, &target);
        Some((item, mode))
    }
}
