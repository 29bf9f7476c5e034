//! Hosts, sessions and streams as the network stores them, in slabs: a hundred thousand hosts have
//! millions of streams.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use skydht_core::key::PublicKey;
use skydht_core::node::{StreamEnd, StreamId};

use super::host::{Access, Delivery, HostId};
use crate::clock::SimTime;

/// The index that stands for no slot.
pub(super) const NONE: u32 = u32::MAX;

/// Presence of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    Up,
    /// The machine is up and refuses connections.
    Refusing,
    /// The machine is gone and never answers.
    Silent,
    /// The machine is up but processes nothing.
    Suspended,
}

/// A host of the network.
pub(super) struct Port {
    pub(super) key: PublicKey,
    pub(super) access: Access,
    pub(super) presence: Presence,
    pub(super) group: u8,
    /// Incremented with each start and stop, to detect late events of an earlier life.
    pub(super) epoch: u32,
    /// Number of streams accepted in this life.
    pub(super) accepted: u64,
    pub(super) sessions: BTreeMap<HostId, u32>,
    /// Incremented when it goes silent and when it returns.
    pub(super) absences: u32,
    /// Events to deliver when it resumes.
    pub(super) later: Vec<Delivery>,
}

impl Port {
    /// The source address when this host dials: its own, with a port other than its listener's.
    pub(super) fn dials_from(&self, host: HostId) -> Option<SocketAddr> {
        let port = 0x8000 | (super::faults::mix(u64::from(host.0)) as u16 & 0x7fff);
        self.access
            .addr
            .map(|addr| SocketAddr::new(addr.ip(), port))
    }
}

/// A session between two hosts, which carries streams in both directions.
pub(super) struct Session {
    /// The dialler and the dialled host.
    pub(super) hosts: [HostId; 2],
    pub(super) ready: bool,
    pub(super) relayed: bool,
    pub(super) streams: u32,
    /// The first stream of its list.
    pub(super) first: u32,
    pub(super) idle_since: SimTime,
    pub(super) started: SimTime,
    /// Since when nothing has been delivered, per direction.
    pub(super) stalled: [Option<SimTime>; 2],
}

/// State of an end of a stream, as its host sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EndState {
    /// Requested; the host waits.
    Opening,
    /// Not accepted yet; the host does not know it.
    Unborn,
    Open,
    Closed,
}

/// Bytes that wait at an end.
#[derive(Default)]
pub(super) struct Backlog {
    /// Bytes that arrived while reading was paused.
    pub(super) unread: VecDeque<Arc<[u8]>>,
    pub(super) unread_bytes: usize,
    /// Whether the peer finished after those.
    pub(super) finished: bool,
    /// Bytes that wait because the other end's window is full.
    pub(super) unsent: VecDeque<Arc<[u8]>>,
    /// Whether the host closed after those.
    pub(super) closing: bool,
}

/// Host, epoch of the host, and the host's number of the stream.
pub(super) type EndId = (HostId, u32, StreamId);

/// One end of a stream, with the state of what it sends.
pub(super) struct End {
    pub(super) host: HostId,
    /// The epoch of the host that the stream belongs to.
    pub(super) epoch: u32,
    pub(super) stream: StreamId,
    pub(super) state: EndState,
    pub(super) paused: bool,
    /// When everything sent by this end will have departed.
    pub(super) departed: SimTime,
    /// When everything sent by this end will have arrived; later transmissions do not overtake it.
    pub(super) arrived: SimTime,
    /// Time before which arrivals wait, since an earlier transmission was held up.
    pub(super) hold: SimTime,
    pub(super) backlog: Option<Box<Backlog>>,
}

impl End {
    pub(super) fn new(host: HostId, epoch: u32, stream: StreamId, state: EndState) -> Self {
        Self {
            host,
            epoch,
            stream,
            state,
            paused: false,
            departed: SimTime::ZERO,
            arrived: SimTime::ZERO,
            hold: SimTime::ZERO,
            backlog: None,
        }
    }

    /// The identity of the end, once it is not unborn.
    pub(super) fn id(&self) -> EndId {
        (self.host, self.epoch, self.stream)
    }

    pub(super) fn close(&mut self) {
        self.state = EndState::Closed;
        self.backlog = None;
    }

    pub(super) fn backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_default()
    }
}

/// A stream: the opener's end, then the acceptor's.
pub(super) struct Stream {
    pub(super) ends: [End; 2],
    pub(super) session: u32,
    pub(super) next: u32,
    pub(super) previous: u32,
    pub(super) slow: bool,
    /// Index of the end whose transmissions are lost, if any.
    pub(super) deaf: Option<u8>,
}

/// A reference to a slot; the slot may have been reused since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ref {
    pub(super) slot: u32,
    generation: u32,
}

/// A vector with reusable slots.
pub(super) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    pub(super) fn insert(&mut self, value: T) -> Ref {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.slots[slot as usize];
            entry.1 = Some(value);
            return Ref {
                slot,
                generation: entry.0,
            };
        }
        let slot = self.slots.len() as u32;
        self.slots.push((0, Some(value)));
        Ref {
            slot,
            generation: 0,
        }
    }

    pub(super) fn reference(&self, slot: u32) -> Ref {
        Ref {
            slot,
            generation: self.slots[slot as usize].0,
        }
    }

    pub(super) fn is_current(&self, reference: Ref) -> bool {
        let (generation, value) = &self.slots[reference.slot as usize];
        *generation == reference.generation && value.is_some()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        self.slots.get(slot as usize)?.1.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)?.1.as_mut()
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let entry = self.slots.get_mut(slot as usize)?;
        let value = entry.1.take()?;
        entry.0 = entry.0.wrapping_add(1);
        self.free.push(slot);
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

/// How a stream ends for the peer when this end is closed.
pub(super) const fn end_of(graceful: bool) -> StreamEnd {
    if graceful {
        StreamEnd::Finished
    } else {
        StreamEnd::Reset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_given_again_is_not_the_same() {
        let mut slab = Slab::default();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first.slot), Some('a'));
        assert_eq!(slab.remove(first.slot), None);
        let second = slab.insert('b');
        assert_eq!(second.slot, first.slot);
        assert!(!slab.is_current(first) && slab.is_current(second));
        assert_eq!(slab.len(), 1);
    }
}
