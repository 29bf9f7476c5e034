//! Adverts: how full nodes announce themselves to upstream's nodes and to nodes that have never met
//! them. An advert is an item of the node itself under the salt `fullnode`. Only its signer is
//! believed, not the key in its value.

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

/// The salt that upstream uses.
const SALT: &str = "fullnode";
/// Interval between adverts of a full node.
const ADVERT_EVERY: Duration = Duration::from_secs(5 * 60);
/// Delay before the first advert.
const ADVERT_SOON: Duration = Duration::from_secs(10);
/// Maximum age of an advert, as in upstream.
const ADVERT_LIFE: Duration = Duration::from_secs(30 * 60);

/// Schedules the first advert.
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
    // Readers judge the age of an advert by the time in it.
    if !now.unix.is_set() {
        return;
    }
    let (key, items, time) = (base.cx.public, base.items.store.fill().items, now.unix.0);
    let value = format!(r#"{{"pk":"{key}","stored_items":{items},"full_node":true,"ts":{time}}}"#);
    publish_value(base, queries, Value::new(value.as_bytes()));
}

/// Deletes the node's own advert when it stops being a full node.
pub(crate) fn withdraw(base: &mut Base, queries: &mut Queries) {
    let target = Target::of(&base.cx.public, SALT.as_bytes());
    let held = base.items.store.get(base.cx.now, &target);
    if held.is_some_and(|held| !held.is_tombstone()) {
        publish_value(base, queries, Value::new(b""));
    }
}

/// Signs a value for the advert and publishes it once.
fn publish_value(base: &mut Base, queries: &mut Queries, value: Value) {
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

/// The signers of stored adverts that are not too old, at most `max`.
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
