//! Writes, loses and loads what hosts persist.

use rand_core::Rng as _;
use skydht_core::mark::MarkChange;
use skydht_core::node::{ChangeId, Input, StoreChange};
use skydht_core::record::StoredRecord;
use skydht_driver::storage::{Storage as _, StorageError};

use super::run::MOMENT;
use super::slot::{Disk, Slot};
use super::{Due, SimEvent, World, WorldError};
use crate::network::faults::{below, up_to};
use crate::network::{Departure, HostId};
use crate::storage::{Engine, POLL, Redis, SYNC_EVERY, Setup};

use std::time::Duration;

impl World {
    /// Sets how a host stores its records, from its first start on.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`].
    pub(crate) fn set_storage(&mut self, host: HostId, setup: Setup) -> Result<(), WorldError> {
        self.slot_mut(host)?.setup = setup;
        Ok(())
    }

    /// How a host stores its records.
    pub(crate) fn storage_of(&self, host: HostId) -> Setup {
        let slot = self.slots.get(host.index());
        slot.map_or(Setup::SOUND, |slot| slot.setup)
    }

    /// Sets whether a host's disk is full. Returns whether it has a disk.
    pub(crate) fn set_disk_full(&mut self, host: HostId, full: bool) -> bool {
        match self.disk_mut(host).map(|disk| &mut disk.engine) {
            Some(Engine::Disk(disk)) => {
                disk.set_full(full);
                true
            }
            _ => false,
        }
    }

    /// The Redis of the hosts that share one.
    pub(crate) fn redis(&self) -> &Redis {
        &self.redis
    }

    /// Sets whether the Redis is unavailable.
    pub(crate) fn set_redis_away(&self, away: bool) {
        let error = || StorageError::Unavailable("the simulated redis is away".to_owned());
        self.redis.set_failing(away.then(error));
    }

    /// Replaces the Redis by its replica, which lacks the writes of a random time up to `lag`.
    pub(crate) fn fail_over(&mut self, lag: Duration) {
        self.redis.set_now(self.now);
        let lost = self.redis.fail_over(up_to(lag, &mut self.random));
        self.emit(SimEvent::FailedOver { lost });
    }

    /// The records in a host's storage, in the order of targets.
    #[must_use]
    pub fn records(&self, host: HostId) -> Vec<StoredRecord> {
        if self.storage_of(host).shared {
            return self.redis.records();
        }
        let disk = self.slots.get(host.index()).and_then(|it| it.disk.as_ref());
        match disk.map(|disk| &disk.engine) {
            Some(Engine::Disk(disk)) => disk.all().into_iter().map(|it| it.record).collect(),
            _ => Vec::new(),
        }
    }

    fn disk_mut(&mut self, host: HostId) -> Option<&mut Disk> {
        let slot = self.slots.get_mut(host.index())?;
        let (setup, redis) = (slot.setup, &self.redis);
        let disk = slot.disk.get_or_insert_with(|| {
            let disk = Disk::new(setup, redis, host);
            Box::new(disk)
        });
        Some(disk)
    }

    /// A node asks to persist a change.
    pub(super) fn persist(
        &mut self,
        host: HostId,
        change: ChangeId,
        what: StoreChange,
        acknowledge: bool,
    ) {
        self.emit(SimEvent::Changed {
            host,
            change: what.clone(),
        });
        if let Some(disk) = self.disk_mut(host) {
            disk.queue.add(change, what, acknowledge);
        }
        self.write_on(host);
    }

    /// A node asks to persist a mark.
    pub(super) fn persist_mark(&mut self, host: HostId, change: MarkChange) {
        if let Some(disk) = self.disk_mut(host) {
            disk.queue.add_mark(change);
        }
        self.write_on(host);
    }

    /// Begins the next write of a host if changes wait.
    fn write_on(&mut self, host: HostId) {
        if self.disk_mut(host).is_some_and(|disk| disk.queue.begin()) {
            self.jobs += 1;
            let takes = self.config.hosts.write.at(self.random.next_u64());
            self.schedule(self.now.plus(takes), host, Due::Written);
        }
    }

    fn write(
        &mut self,
        host: HostId,
        changes: &[StoreChange],
        marks: &[MarkChange],
        sync: bool,
    ) -> Result<(), StorageError> {
        let now = self.now;
        let Some(Slot {
            clock,
            disk: Some(disk),
            ..
        }) = self.slots.get_mut(host.index())
        else {
            return Ok(());
        };
        if let Engine::Redis(client) = &mut disk.engine {
            self.redis.set_now(now);
            client.set_clock(clock.read(now).unix);
        }
        disk.engine.write(changes, marks, sync)
    }

    /// A write ends.
    pub(super) fn written(&mut self, host: HostId) {
        let sync = self.storage_of(host).sync;
        let Some(disk) = self.disk_mut(host) else {
            return;
        };
        let (changes, marks) = (disk.queue.writing(), disk.queue.marks());
        let result = self.write(host, &changes, &marks, sync);
        let Some(disk) = self.disk_mut(host) else {
            return;
        };
        if result.is_err() {
            let pause = disk.queue.failed();
            self.jobs += 1;
            self.stats.writes_failed += 1;
            return self.schedule(self.now.plus(pause), host, Due::Retry);
        }
        let acknowledge = disk.queue.wrote(sync);
        let plans = disk.queue.plan_sync();
        self.stats.writes += changes.len() as u64;
        self.emit(SimEvent::Stored {
            host,
            count: changes.len(),
            changes,
            durable: sync,
        });
        if plans {
            self.schedule(self.now.plus(SYNC_EVERY), host, Due::Sync);
        }
        for change in acknowledge {
            let durable = sync;
            self.feed(host, Input::Persisted { change, durable });
        }
        self.write_on(host);
    }

    /// The pause after a failed write is over.
    pub(super) fn retry(&mut self, host: HostId) {
        if let Some(disk) = self.disk_mut(host) {
            disk.queue.paused();
        }
        self.write_on(host);
    }

    /// Written data must be synced.
    pub(super) fn sync(&mut self, host: HostId) {
        let due = self.disk_mut(host).is_some_and(|it| it.queue.sync_due());
        if due && self.write(host, &[], &[], true).is_ok() {
            if let Some(disk) = self.disk_mut(host) {
                disk.queue.synced();
            }
        } else if self.disk_mut(host).is_some_and(|it| it.queue.plan_sync()) {
            self.schedule(self.now.plus(SYNC_EVERY), host, Due::Sync);
        }
    }

    /// A host begins to load the records in its storage.
    pub(super) fn begin_loading(&mut self, host: HostId) {
        let (setup, redis) = (self.storage_of(host), self.redis.clone());
        let Some(slot) = self.slots.get_mut(host.index()) else {
            return;
        };
        if setup.shared {
            slot.disk = Some(Box::new(Disk::new(setup, &redis, host)));
            return self.schedule(self.now, host, Due::Poll);
        }
        let mut marks = Vec::new();
        if let Some(disk) = &mut slot.disk
            && let Engine::Disk(engine) = &mut disk.engine
        {
            disk.loading = engine.all().into();
            marks = engine.marks().unwrap_or_default();
        }
        for mark in marks {
            self.feed(host, Input::MarkLoaded { mark });
        }
        self.load_on(host);
    }

    fn load_on(&mut self, host: HostId) {
        let slot = self.slots.get_mut(host.index());
        if let Some(disk) = slot.and_then(|slot| slot.disk.as_mut())
            && !disk.loading.is_empty()
            && !disk.is_loading
        {
            disk.is_loading = true;
            self.schedule(self.now, host, Due::Load);
        }
    }

    /// Loads the next record.
    pub(super) fn load(&mut self, host: HostId) {
        let Some(disk) = self.disk_mut(host) else {
            return;
        };
        let Some(kept) = disk.loading.pop_front() else {
            disk.is_loading = false;
            return;
        };
        let (record, proven) = (Box::new(kept.record), kept.proven);
        self.feed(host, Input::Loaded { record, proven });
        // One after the other, because the node bounds its jobs.
        let at = self.now.plus(self.config.verify + MOMENT);
        self.schedule(at, host, Due::Load);
    }

    /// A host polls the storage that it shares for changes of others.
    pub(super) fn poll_storage(&mut self, host: HostId) {
        self.schedule(self.now.plus(POLL), host, Due::Poll);
        let Some(time) = self.time_of(host) else {
            return;
        };
        self.redis.set_now(self.now);
        let Some(disk) = self.disk_mut(host) else {
            return;
        };
        let Engine::Redis(client) = &mut disk.engine else {
            return;
        };
        client.set_clock(time.unix);
        let Ok(news) = client.poll() else {
            return;
        };
        disk.loading.extend(news.kept);
        self.stats.written_again += news.wanted.len() as u64;
        for target in news.wanted {
            let store = self.node(host).map(|node| node.store());
            let record = store.and_then(|store| {
                let lives = store.get(time, &target);
                lives.and_then(|_| store.record(time, &target))
            });
            if let (Some(record), Some(disk)) = (record, self.disk_mut(host)) {
                let keep = StoreChange::Keep(Box::new(record));
                disk.queue.add(ChangeId(0), keep, false);
            }
        }
        self.write_on(host);
        self.load_on(host);
    }

    /// A host shuts down: waiting changes are written, if possible.
    pub(super) fn flush(&mut self, host: HostId) {
        if let Some(disk) = self.disk_mut(host) {
            let marks = disk.queue.marks();
            let rest = disk.queue.rest();
            if self.write(host, &rest, &marks, true).is_err() {
                self.stats.writes_lost += rest.len() as u64;
            }
        }
    }

    /// A host has ended. The write in progress may or may not have succeeded, and if the machine is
    /// lost, so is everything that was not synced.
    pub(super) fn lose_storage(&mut self, host: HostId, how: Departure) {
        let sync = self.storage_of(host).sync;
        let slot = self.slots.get_mut(host.index());
        let Some(disk) = slot.and_then(|slot| slot.disk.as_mut()) else {
            return;
        };
        let under_way = disk.queue.writing();
        self.stats.writes_lost += disk.queue.len() as u64;
        disk.queue = Default::default();
        disk.loading.clear();
        disk.is_loading = false;
        if !under_way.is_empty() && below(&mut self.random, 2) == 0 {
            // A full disk still refuses it.
            let _ = self.write(host, &under_way, &[], sync);
        }
        let slot = self.slots.get_mut(host.index());
        if how == Departure::Machine
            && let Some(disk) = slot.and_then(|slot| slot.disk.as_mut())
            && let Engine::Disk(engine) = &mut disk.engine
        {
            self.stats.torn += engine.lose_power(&mut self.random);
        }
    }
}
