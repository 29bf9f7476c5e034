//! Hosts are added, start, work, are suspended and stop.

use skydht_core::Seed;
use skydht_core::node::{Command, Input, OperationId};

use super::slot::{Slot, State};
use super::{Boot, SimEvent, Start, World, WorldError};
use crate::clock::{Clock, SimTime};
use crate::network::faults::mix;
use crate::network::{Access, Departure, HostId};
use crate::storage::Setup;

impl World {
    pub(super) fn slot_mut(&mut self, host: HostId) -> Result<&mut Slot, WorldError> {
        self.slots
            .get_mut(host.index())
            .ok_or(WorldError::UnknownHost(host))
    }

    pub(super) fn check_address(
        &self,
        access: &Access,
        except: Option<HostId>,
    ) -> Result<(), WorldError> {
        let Some(addr) = access.addr else {
            return Ok(());
        };
        match self.network.at(&addr) {
            Some(there) if Some(there) != except => Err(WorldError::DuplicateAddress(there, addr)),
            _ => Ok(()),
        }
    }

    /// Adds a host, which does not run yet.
    ///
    /// # Errors
    /// [`WorldError::DuplicateKey`], [`WorldError::DuplicateAddress`].
    pub fn add(&mut self, boot: Box<dyn Boot>, access: Access) -> Result<HostId, WorldError> {
        let key = boot.key();
        if let Some(there) = self.network.host_of(&key) {
            return Err(WorldError::DuplicateKey(there, key));
        }
        self.check_address(&access, None)?;
        self.slots.push(Slot {
            boot,
            host: None,
            clock: Clock::new(),
            state: State::Down,
            life: 0,
            timer: None,
            busy_until: SimTime::ZERO,
            setup: Setup::SOUND,
            disk: None,
        });
        Ok(self.network.add_host(key, access))
    }

    /// Starts a host, for the first time or again, with the contents of its disk.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`], [`WorldError::AlreadyUp`], [`WorldError::Config`].
    pub fn start(&mut self, host: HostId) -> Result<(), WorldError> {
        let (now, world_seed) = (self.now, self.seed);
        let slot = self.slot_mut(host)?;
        if slot.state != State::Down {
            return Err(WorldError::AlreadyUp(host));
        }
        let life = slot.life + 1;
        let number = mix(world_seed ^ mix(u64::from(host.0) << 32 | u64::from(life)));
        let start = Start {
            now: slot.clock.read(now),
            seed: Seed::from_number(number),
            life,
        };
        let booted = slot.boot.boot(start);
        slot.host = Some(booted.map_err(|error| WorldError::Config { host, error })?);
        slot.life = life;
        slot.state = State::Up;
        slot.timer = None;
        slot.busy_until = now;
        self.network.arrive_host(host);
        self.emit(SimEvent::Started { host, life });
        self.feed(host, Input::TimerFired);
        self.begin_loading(host);
        Ok(())
    }

    /// Removes a host's disk, whether the host runs or not. A shared Redis is not affected.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`].
    pub fn wipe(&mut self, host: HostId) -> Result<(), WorldError> {
        self.slot_mut(host)?.disk = None;
        Ok(())
    }

    /// Gives a command to a running host. The outcome comes as [`SimEvent::Finished`].
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`], [`WorldError::NotUp`].
    pub fn command(&mut self, host: HostId, command: Command) -> Result<OperationId, WorldError> {
        if self.slot_mut(host)?.state != State::Up {
            return Err(WorldError::NotUp(host));
        }
        self.last_operation += 1;
        let op = OperationId(self.last_operation);
        self.operations.insert(op, host);
        self.feed(host, Input::Command { op, command });
        Ok(op)
    }

    /// Cancels an operation. Unless it has finished, it finishes as cancelled. Has no effect on
    /// operations of a suspended host.
    pub fn cancel(&mut self, op: OperationId) {
        if let Some(host) = self.operations.get(&op).copied() {
            self.feed(host, Input::Cancel { op });
        }
    }

    /// Shuts a host down properly. [`SimEvent::Stopped`] follows when it has ended.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`], [`WorldError::NotUp`].
    pub fn stop(&mut self, host: HostId) -> Result<OperationId, WorldError> {
        let op = self.command(host, Command::Shutdown)?;
        let slot = self.slot_mut(host)?;
        if slot.state == State::Up {
            slot.state = State::Stopping;
        }
        Ok(op)
    }

    /// Ends a running or suspended host without a shutdown.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`], [`WorldError::NotUp`].
    pub fn crash(&mut self, host: HostId, how: Departure) -> Result<(), WorldError> {
        if self.slot_mut(host)?.state == State::Down {
            return Err(WorldError::NotUp(host));
        }
        let abandoned = self.end(host, how);
        self.emit(SimEvent::Crashed {
            host,
            how,
            abandoned,
        });
        Ok(())
    }

    /// Ends a host. Returns its unfinished operations.
    pub(super) fn end(&mut self, host: HostId, how: Departure) -> Vec<OperationId> {
        if let Some(slot) = self.slots.get_mut(host.index()) {
            slot.host = None;
            slot.state = State::Down;
            slot.timer = None;
        }
        self.lose_storage(host, how);
        self.network.depart_host(host, how);
        let open = self.operations.iter().filter(|(_, at)| **at == host);
        let abandoned: Vec<_> = open.map(|(op, _)| *op).collect();
        for op in &abandoned {
            self.operations.remove(op);
        }
        abandoned
    }

    /// Suspends a host: its clocks continue, but it processes no input. Peers give up its sessions
    /// after [`Transport::session_timeout`](crate::network::Transport).
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`], [`WorldError::NotUp`].
    pub fn suspend(&mut self, host: HostId) -> Result<(), WorldError> {
        let slot = self.slot_mut(host)?;
        if slot.state != State::Up {
            return Err(WorldError::NotUp(host));
        }
        slot.state = State::Suspended;
        slot.timer = None;
        self.network.suspend_host(host);
        self.emit(SimEvent::Suspended { host });
        Ok(())
    }

    /// Resumes a suspended host.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`], [`WorldError::NotSuspended`].
    pub fn resume(&mut self, host: HostId) -> Result<(), WorldError> {
        let slot = self.slot_mut(host)?;
        if slot.state != State::Suspended {
            return Err(WorldError::NotSuspended(host));
        }
        slot.state = State::Up;
        self.network.resume_host(host);
        self.emit(SimEvent::Resumed { host });
        self.set_timer(host);
        Ok(())
    }
}
