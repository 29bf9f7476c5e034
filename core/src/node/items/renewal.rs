//! Renewal of own items: which are renewed, and under which sequence.

use crate::id::Target;
use crate::large::Manifest;
use crate::node::context::Context;
use crate::node::ids::PutMode;
use crate::node::items::placed::Placed;
use crate::node::items::state::Items;
use crate::node::limits::Limit;
use crate::node::timers::Timer;
use crate::store::Via;
use alloc::sync::Arc;

impl Items {
    /// Keeps an item renewed from now on, until it is deleted.
    pub(crate) fn keep_renewed(&mut self, cx: &mut Context, placed: Placed) {
        let target = placed.target;
        if !matches!(Manifest::decode(placed.item.value.as_bytes()), Ok(Some(_))) {
            self.stop_renewing_chunks(cx, &target);
        }
        if self.own.keep(placed) {
            self.own.schedule_renewal(cx, &target);
        } else {
            cx.hit(Limit::own_items);
        }
    }

    /// Stops renewing an item, and its chunks if it is a large record. Its sequence stays
    /// remembered.
    pub(crate) fn stop_renewing(&mut self, cx: &mut Context, target: &Target) {
        self.stop_renewing_chunks(cx, target);
        self.own.forget(target);
        cx.timers.cancel(Timer::Renewal(*target));
    }

    /// Stops renewing the chunks of the large record that is kept at `target`: without its manifest
    /// they have no readers.
    fn stop_renewing_chunks(&mut self, cx: &mut Context, target: &Target) {
        let own = self.own.items.get(target);
        let Some(record) = own.and_then(|own| own.renew.as_ref()) else {
            return;
        };
        if record.placed.is_mirror() {
            return;
        }
        let record = record.placed.item.clone();
        let Ok(Some(manifest)) = Manifest::decode(record.value.as_bytes()) else {
            return;
        };
        for salt in manifest.salts(&record.salt) {
            let chunk = Target::of(&record.key, salt.as_bytes());
            self.own.forget(&chunk);
            cx.timers.cancel(Timer::Renewal(chunk));
        }
    }

    /// Renews an own item: unchanged if all holders speak our extensions, under a higher sequence
    /// if a Go node holds it.
    pub(crate) fn renew_own(
        &mut self,
        cx: &mut Context,
        target: Target,
    ) -> Option<(Placed, PutMode)> {
        let renew = self.own.items.get(&target)?.renew.as_ref()?;
        let (mut placed, by_seq) = (renew.placed.clone(), renew.by_seq);
        let mut mode = PutMode::Renew;
        if by_seq
            && let Some(next) = self.next_seq(cx.now, &target)
            && let Some(newer) = cx.sign(next, placed.item.value.clone(), placed.item.salt.clone())
            && let Some(newer) = Placed::sign(cx, Arc::new(newer), target)
        {
            placed = newer;
            mode = PutMode::Publish;
            self.own.raise(target, next, cx.now.mono);
            self.own.keep(placed.clone());
        }
        let _ = self.admit(cx, placed.candidate(Via::Local), 0);
        // If this renewal is lost, the next one is already scheduled.
        self.own.schedule_renewal(cx, &target);
        Some((placed, mode))
    }
}
