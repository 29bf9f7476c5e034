//! What upstream does without a command: bootstrap, sweep, publish again, announce.

use std::collections::VecDeque;
use std::time::Duration;

use skydht_core::item::{Salt, Seq, Value};
use skydht_core::node::PutOptions;
use skydht_core::time::Mono;
use skydht_core::wire::{Request, WireItem};

use super::config::{ADVERT_SALT, BOOTSTRAP_AGAIN, BOOTSTRAP_EMPTY, MIRROR_TIMEOUT, TICK};
use super::state::{Timer, UpstreamNode};
use super::table::Contact;
use super::task::{Purpose, Push, TaskId, Then, Work, next_seq};

/// Interval between announcements of a full node.
const ADVERT: Duration = Duration::from_secs(300);

impl UpstreamNode {
    pub(super) fn start_timers(&mut self) {
        let now = self.now.mono;
        self.timers.set(Timer::Bootstrap, now);
        self.timers.set(Timer::Tick, now.plus(TICK));
        if let Some(interval) = self.config.republish {
            self.timers.set(Timer::Republish, now.plus(interval));
        }
        if let Some(mirror) = &self.config.mirror {
            self.timers.set(Timer::Mirror, now.plus(mirror.every));
        }
        if self.config.full_node {
            self.start_full_node();
        }
    }

    pub(super) fn bootstrap(&mut self) {
        let left: VecDeque<_> = self.config.bootstrap.iter().copied().collect();
        let left = left.into_iter().filter(|key| *key != self.key).collect();
        let task = self.task(Purpose::Bootstrap, None);
        let work = Work::Bootstrap { left, any: false };
        self.insert(task, Purpose::Bootstrap, work);
        self.bootstrap_next(task);
    }

    /// Sends the next ping, one at a time. If any was answered, a lookup of the own id follows.
    /// After that no bucket is ever refreshed (defect 2).
    pub(super) fn bootstrap_next(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let Work::Bootstrap { left, any } = &mut task.work else {
            return;
        };
        if let Some(key) = left.pop_front() {
            let contact = Contact::of(&key, self.now.unix);
            return self.call(id, contact, Request::Ping);
        }
        let any = *any;
        self.tasks.remove(&id);
        match any {
            true => {
                let target = self.id.into();
                self.look(id, Purpose::Bootstrap, target, false, Then::FindNode);
            }
            false => self.end(id, Purpose::Bootstrap, None),
        }
    }

    pub(super) fn bootstrapped(&mut self) {
        if self.config.bootstrap.is_empty() || self.is_over() {
            return;
        }
        let wait = match self.table.is_empty() {
            true => BOOTSTRAP_EMPTY,
            false => BOOTSTRAP_AGAIN,
        };
        self.timers.set(Timer::Bootstrap, self.now.mono.plus(wait));
    }

    pub(super) fn tick(&mut self) {
        let now = self.now.mono;
        self.store.sweep(now);
        // Upstream keeps these for ever, but entries that have run out have no effect.
        self.no_dht.retain(|_, until| *until > now);
        self.timers.set(Timer::Tick, now.plus(TICK));
    }

    /// Publishes everything again, one item after another, signed again whether or not it changed.
    pub(super) fn republish(&mut self) {
        let repeated = self.own.iter().filter(|(_, own)| own.repeated);
        self.to_republish = repeated.map(|(salt, _)| salt.clone()).collect();
        self.republish_due = self.now.mono;
        self.republishing = true;
    }

    pub(super) fn republish_next(&mut self) {
        if self.is_over() {
            return;
        }
        while let Some(salt) = self.to_republish.pop_front() {
            let own = self.own.get(&salt);
            let seq = next_seq(own, self.now.unix.0);
            let value = own.map(|own| own.item.value.clone()).unwrap_or_default();
            if let Some(item) = self.sign(seq, value, &salt) {
                self.own_item(salt, item.clone(), true);
                self.counters.republished += 1;
                return self.publish(Purpose::Republish, item, &PutOptions::default());
            }
        }
        if let Some(interval) = self.config.republish {
            let next = next_tick(self.republish_due, interval, self.now.mono);
            self.timers.set(Timer::Republish, next);
        }
    }

    /// Begins a round of mirroring, with one signature for all targets.
    pub(super) fn mirror(&mut self) {
        let Some(mirror) = self.config.mirror.clone() else {
            return;
        };
        let now = self.now;
        self.to_mirror = mirror.targets.into();
        self.mirror_item = self.sign(Seq(now.unix.0), mirror.value, &mirror.salt);
        self.mirror_until = now.mono.plus(MIRROR_TIMEOUT);
        self.mirroring = true;
        self.timers.set(Timer::Mirror, now.mono.plus(mirror.every));
    }

    /// Writes to the next target, unless the time for all of them is over.
    pub(super) fn mirror_next(&mut self) {
        if self.is_over() || self.now.mono >= self.mirror_until {
            self.to_mirror.clear();
        }
        let (Some(target), Some(item)) = (self.to_mirror.pop_front(), self.mirror_item.clone())
        else {
            return;
        };
        self.counters.mirrored += 1;
        let now = self.now.mono;
        let local = self.store.put_mirror(now, target, &WireItem::from(&item));
        let mut push = Box::new(Push::new(item, local));
        push.mirror_target = Some(target);
        let task = self.task(Purpose::Mirror, None);
        self.timers.set(Timer::Task(task), self.mirror_until);
        self.look(task, Purpose::Mirror, target, false, Then::Push(push));
    }

    /// Announces to the network that this is a full node. The sequence number starts at 1 in each
    /// process (defect 28).
    pub(super) fn advertise(&mut self) {
        let value = format!(
            r#"{{"pk":"{}","stored_items":{},"full_node":true,"ts":{}}}"#,
            self.key,
            self.store.len(),
            self.now.unix.0
        );
        let salt = Salt::from(ADVERT_SALT);
        let seq = self
            .own
            .get(&salt)
            .map_or(Seq(1), |own| Seq(own.item.seq.0 + 1));
        let value = Value::new(value.as_bytes());
        if let Some(item) = self.sign(seq, value, &salt) {
            self.own_item(salt, item.clone(), false);
            self.publish(Purpose::FullNode, item, &PutOptions::default());
        }
        self.timers.set(Timer::Advert, self.now.mono.plus(ADVERT));
    }
}

/// The first tick after `now` of a ticker that was due at `last` and drops missed ticks.
fn next_tick(last: Mono, interval: Duration, now: Mono) -> Mono {
    let missed = now.since(last).as_nanos() / interval.as_nanos().max(1);
    let missed = u32::try_from(missed).unwrap_or(u32::MAX);
    last.plus(interval.saturating_mul(missed.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_round_of_publishing_skips_ticks() {
        let at = |seconds| Mono::default().plus(Duration::from_secs(seconds));
        let minute = Duration::from_secs(60);
        assert_eq!(next_tick(at(60), minute, at(60)), at(120));
        assert_eq!(next_tick(at(60), minute, at(119)), at(120));
        assert_eq!(next_tick(at(60), minute, at(260)), at(300));
    }
}
