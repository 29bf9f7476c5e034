//! Adverts: how full nodes say that they are, for upstream's and for those that never met them. An
//! item of the node itself under the salt `fullnode`; what its value says of a key is not believed,
//! its signer is.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::sync::Arc;
use core::time::Duration;

use crate::id::Target;
use crate::item::{Origin, Salt, Seq, Value};
use crate::key::PublicKey;
use crate::node::base::Base;
use crate::node::ids::PutMode;
use crate::node::items::placed::Placed;
use crate::node::query::Queries;
use crate::node::timers::Timer;
use crate::store::{Candidate, Via};

/// Upstream's word.
const SALT: &str = "fullnode";
/// How often a full node says that it is one.
const ADVERT_EVERY: Duration = Duration::from_secs(5 * 60);
/// The first time.
const ADVERT_SOON: Duration = Duration::from_secs(10);
/// Older adverts are not believed, as upstream's rule is.
const ADVERT_LIFE: Duration = Duration::from_secs(30 * 60);

/// Plans the first advert.
pub(crate) fn start(base: &mut Base) {
    if base.cx.config.full_node && base.cx.config.serve {
        let soon = base.cx.random.sync.jitter(ADVERT_SOON);
        let at = base.cx.now.mono.plus(soon);
        base.cx.timers.set(Timer::Advert, at);
    }
}

/// Publishes the node's own advert.
pub(crate) fn publish(base: &mut Base, queries: &mut Queries) {
    if !base.cx.config.full_node || base.cx.stopping {
        return;
    }
    let pause = base.cx.random.sync.jitter(ADVERT_EVERY);
    base.cx
        .timers
        .set(Timer::Advert, base.cx.now.mono.plus(pause));
    let now = base.cx.now;
    // Readers judge its age by the time in it.
    if !now.unix.is_set() {
        return;
    }
    let (key, items, time) = (base.cx.public, base.items.store.fill().items, now.unix.0);
    let value = format!(r#"{{"pk":"{key}","stored_items":{items},"full_node":true,"ts":{time}}}"#);
    spread(base, queries, Value::new(value.as_bytes()));
}

/// Deletes the node's own advert: it is no full node any more.
pub(crate) fn withdraw(base: &mut Base, queries: &mut Queries) {
    let target = Target::of(&base.cx.public, SALT.as_bytes());
    let held = base.items.store.get(base.cx.now, &target);
    if held.is_some_and(|held| !held.is_tombstone()) {
        spread(base, queries, Value::new(b""));
    }
}

/// Signs an advert's value and publishes it, once.
fn spread(base: &mut Base, queries: &mut Queries, value: Value) {
    let (now, salt) = (base.cx.now, Salt::from(SALT));
    let target = Target::of(&base.cx.public, salt.as_bytes());
    let Some(seq) = base.items.next_seq(now, &target) else {
        return;
    };
    let Some(item) = base.cx.sign(seq, value, salt) else {
        return;
    };
    let item = Arc::new(item);
    base.items.own.raise(target, seq, now.mono);
    let own = Candidate::of_owner(item.clone(), Via::Local);
    if base.items.admit(&mut base.cx, own, 0).is_ok() {
        queries.renew(base, Placed::own(item), PutMode::Publish);
    }
}

/// The signers of the adverts held that are not too old, at most `max`.
pub(crate) fn signers(base: &Base, max: usize) -> BTreeSet<PublicKey> {
    let now = base.cx.now;
    if !now.unix.is_set() {
        return BTreeSet::new();
    }
    let since = Seq(now.unix.minus(ADVERT_LIFE).0);
    let salt = Salt::from(SALT);
    let adverts = base.items.store.of_salt(&salt, since);
    let adverts = adverts.take(4 * max).filter(|held| {
        held.is_live(now) && held.origin() == Origin::Owner && !held.item().reads_as_deleted()
    });
    let keys = adverts.map(|held| held.item().key);
    keys.filter(|key| *key != base.cx.public)
        .take(max)
        .collect()
}
