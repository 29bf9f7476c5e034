//! The ports of one key: listeners, and the ephemeral ports of dialled streams (specification of
//! DMSG, §6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::accept_queue::{AcceptQueue, NoSlot, Slot};
use crate::object::ErrorCode;

/// The lowest ephemeral port. The first one acquired is the next higher, since the counter is
/// advanced before use.
const FIRST_EPHEMERAL: u16 = 49_152;

struct PortState<S> {
    listeners: BTreeMap<u16, Arc<AcceptQueue<S>>>,
    acquired: BTreeSet<u16>,
    /// The ephemeral port that was acquired last.
    last: u16,
    closed: bool,
}

/// The ports of one key, for streams `S`.
pub(super) struct PortTable<S>(Arc<Mutex<PortState<S>>>);

impl<S> Clone for PortTable<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// An acquired ephemeral port, released on drop.
pub(super) struct PortGuard<S> {
    ports: PortTable<S>,
    pub(super) port: u16,
}

impl<S> Drop for PortGuard<S> {
    fn drop(&mut self) {
        self.ports.lock().acquired.remove(&self.port);
    }
}

impl<S> PortTable<S> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(PortState {
            listeners: BTreeMap::new(),
            acquired: BTreeSet::new(),
            last: FIRST_EPHEMERAL,
            closed: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, PortState<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acquires the next free ephemeral port.
    pub(super) fn acquire(&self) -> Result<PortGuard<S>, ErrorCode> {
        let mut state = self.lock();
        if state.closed {
            return Err(ErrorCode::EntityClosed);
        }
        for _ in FIRST_EPHEMERAL..=u16::MAX {
            state.last = state.last.checked_add(1).unwrap_or(FIRST_EPHEMERAL);
            let port = state.last;
            if !state.listeners.contains_key(&port) && state.acquired.insert(port) {
                let ports = self.clone();
                return Ok(PortGuard { ports, port });
            }
        }
        Err(ErrorCode::PortOccupied)
    }

    /// Opens a port for inbound streams.
    pub(super) fn listen(
        &self,
        port: u16,
        capacity: usize,
    ) -> Result<Arc<AcceptQueue<S>>, ErrorCode> {
        let mut state = self.lock();
        if state.closed {
            return Err(ErrorCode::EntityClosed);
        }
        if port == 0 || state.acquired.contains(&port) || state.listeners.contains_key(&port) {
            return Err(ErrorCode::PortOccupied);
        }
        let queue = Arc::new(AcceptQueue::new(capacity));
        state.listeners.insert(port, Arc::clone(&queue));
        Ok(queue)
    }

    /// Closes a port, unless another listener has opened it again.
    pub(super) fn unlisten(&self, port: u16, queue: &Arc<AcceptQueue<S>>) {
        let mut state = self.lock();
        let known = state.listeners.get(&port);
        if known.is_some_and(|known| Arc::ptr_eq(known, queue)) {
            state.listeners.remove(&port);
        }
    }

    /// Reserves a slot in the listener's queue.
    pub(super) fn reserve(&self, port: u16) -> Result<Slot<S>, ErrorCode> {
        let queue = self.lock().listeners.get(&port).cloned();
        let queue = queue.ok_or(ErrorCode::NoListener)?;
        queue.reserve().map_err(|error| match error {
            NoSlot::Closed => ErrorCode::NoListener,
            NoSlot::Full => ErrorCode::AcceptQueueFull,
        })
    }

    /// Closes all ports, and gives out no more.
    pub(super) fn close(&self) {
        let listeners = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.listeners)
        };
        listeners.values().for_each(|queue| queue.close());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ephemeral_ports_start_at_49153_wrap_and_skip_used_ones() {
        let ports = PortTable::<()>::new();
        let first = ports.acquire().unwrap();
        assert_eq!(first.port, 49_153);
        drop(first);
        let held = ports.acquire().unwrap();
        assert_eq!(held.port, 49_154);
        for port in 49_155..=u16::MAX {
            assert_eq!(ports.acquire().unwrap().port, port);
        }
        assert_eq!(ports.acquire().unwrap().port, 49_152);
        assert_eq!(ports.acquire().unwrap().port, 49_153);
        assert_eq!(ports.acquire().unwrap().port, 49_155);
    }

    #[test]
    fn when_all_ports_are_used_none_is_given() {
        let ports = PortTable::<()>::new();
        let mut all: Vec<_> = (0..16_384).map(|_| ports.acquire().unwrap()).collect();
        assert_eq!(ports.acquire().err(), Some(ErrorCode::PortOccupied));
        let free = all.pop().unwrap().port;
        assert_eq!(ports.acquire().unwrap().port, free);
    }

    #[test]
    fn a_port_has_one_listener_and_port_0_none() {
        let ports = PortTable::<()>::new();
        let queue = ports.listen(80, 2).unwrap();
        assert_eq!(ports.listen(80, 2).err(), Some(ErrorCode::PortOccupied));
        assert_eq!(ports.listen(0, 2).err(), Some(ErrorCode::PortOccupied));
        assert_eq!(ports.reserve(81).err(), Some(ErrorCode::NoListener));
        let slot = ports.reserve(80).unwrap();
        let _second = ports.reserve(80).unwrap();
        assert_eq!(ports.reserve(80).err(), Some(ErrorCode::AcceptQueueFull));
        drop(slot);
        assert!(ports.reserve(80).is_ok());
        ports.unlisten(80, &queue);
        assert_eq!(ports.reserve(80).err(), Some(ErrorCode::NoListener));
        let again = ports.listen(80, 2).unwrap();
        ports.unlisten(80, &queue); // late: another listener has the port by now
        assert!(ports.reserve(80).is_ok());
        drop(again);
        ports.close();
        assert_eq!(ports.acquire().err(), Some(ErrorCode::EntityClosed));
    }
}
