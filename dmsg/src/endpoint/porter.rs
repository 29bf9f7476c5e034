//! Who has which port: listeners, and the ephemeral ports of those who dial (specification of
//! DMSG, §6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::accept_queue::{AcceptQueue, NoSlot, Slot};
use crate::object::ErrorCode;

/// The lowest ephemeral port. The first given is the one above: the counter moves first.
const FIRST_EPHEMERAL: u16 = 49_152;

struct State<S> {
    listeners: BTreeMap<u16, Arc<AcceptQueue<S>>>,
    leased: BTreeSet<u16>,
    last: u16,
    closed: bool,
}

/// The ports of one key, for streams `S`.
pub(super) struct Porter<S>(Arc<Mutex<State<S>>>);

impl<S> Clone for Porter<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// An ephemeral port, given back on drop.
pub(super) struct Lease<S> {
    porter: Porter<S>,
    pub(super) port: u16,
}

impl<S> Drop for Lease<S> {
    fn drop(&mut self) {
        self.porter.lock().leased.remove(&self.port);
    }
}

impl<S> Porter<S> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            listeners: BTreeMap::new(),
            leased: BTreeSet::new(),
            last: FIRST_EPHEMERAL,
            closed: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next ephemeral port that nobody uses.
    pub(super) fn lease(&self) -> Result<Lease<S>, ErrorCode> {
        let mut state = self.lock();
        if state.closed {
            return Err(ErrorCode::EntityClosed);
        }
        for _ in FIRST_EPHEMERAL..=u16::MAX {
            state.last = state.last.checked_add(1).unwrap_or(FIRST_EPHEMERAL);
            let port = state.last;
            if !state.listeners.contains_key(&port) && state.leased.insert(port) {
                let porter = self.clone();
                return Ok(Lease { porter, port });
            }
        }
        Err(ErrorCode::PortOccupied)
    }

    /// Opens a port to others.
    pub(super) fn listen(
        &self,
        port: u16,
        capacity: usize,
    ) -> Result<Arc<AcceptQueue<S>>, ErrorCode> {
        let mut state = self.lock();
        if state.closed {
            return Err(ErrorCode::EntityClosed);
        }
        if port == 0 || state.leased.contains(&port) || state.listeners.contains_key(&port) {
            return Err(ErrorCode::PortOccupied);
        }
        let queue = Arc::new(AcceptQueue::new(capacity));
        state.listeners.insert(port, Arc::clone(&queue));
        Ok(queue)
    }

    /// Closes a port, if it still has this queue.
    pub(super) fn unlisten(&self, port: u16, queue: &Arc<AcceptQueue<S>>) {
        let mut state = self.lock();
        let known = state.listeners.get(&port);
        if known.is_some_and(|known| Arc::ptr_eq(known, queue)) {
            state.listeners.remove(&port);
        }
    }

    /// Reserves a slot in the queue of whoever listens.
    pub(super) fn reserve(&self, port: u16) -> Result<Slot<S>, ErrorCode> {
        let queue = self.lock().listeners.get(&port).cloned();
        let queue = queue.ok_or(ErrorCode::NoListener)?;
        queue.reserve().map_err(|error| match error {
            NoSlot::Closed => ErrorCode::NoListener,
            NoSlot::Full => ErrorCode::AcceptQueueFull,
        })
    }

    /// Closes all ports and gives out no more.
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
        let porter = Porter::<()>::new();
        let first = porter.lease().unwrap();
        assert_eq!(first.port, 49_153);
        drop(first);
        let held = porter.lease().unwrap();
        assert_eq!(held.port, 49_154);
        for port in 49_155..=u16::MAX {
            assert_eq!(porter.lease().unwrap().port, port);
        }
        assert_eq!(porter.lease().unwrap().port, 49_152);
        assert_eq!(porter.lease().unwrap().port, 49_153);
        assert_eq!(porter.lease().unwrap().port, 49_155);
    }

    #[test]
    fn when_all_ports_are_used_none_is_given() {
        let porter = Porter::<()>::new();
        let mut all: Vec<_> = (0..16_384).map(|_| porter.lease().unwrap()).collect();
        assert_eq!(porter.lease().err(), Some(ErrorCode::PortOccupied));
        let free = all.pop().unwrap().port;
        assert_eq!(porter.lease().unwrap().port, free);
    }

    #[test]
    fn a_port_has_one_listener_and_port_0_none() {
        let porter = Porter::<()>::new();
        let queue = porter.listen(80, 2).unwrap();
        assert_eq!(porter.listen(80, 2).err(), Some(ErrorCode::PortOccupied));
        assert_eq!(porter.listen(0, 2).err(), Some(ErrorCode::PortOccupied));
        assert_eq!(porter.reserve(81).err(), Some(ErrorCode::NoListener));
        let slot = porter.reserve(80).unwrap();
        let _second = porter.reserve(80).unwrap();
        assert_eq!(porter.reserve(80).err(), Some(ErrorCode::AcceptQueueFull));
        drop(slot);
        assert!(porter.reserve(80).is_ok());
        porter.unlisten(80, &queue);
        assert_eq!(porter.reserve(80).err(), Some(ErrorCode::NoListener));
        let again = porter.listen(80, 2).unwrap();
        porter.unlisten(80, &queue); // late: somebody else's port by now
        assert!(porter.reserve(80).is_ok());
        drop(again);
        porter.close();
        assert_eq!(porter.lease().err(), Some(ErrorCode::EntityClosed));
    }
}
