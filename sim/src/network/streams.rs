//! Streams: requests of hosts on them.

use std::sync::Arc;
use std::time::Duration;

use skydht_core::node::{StreamEnd, StreamId};

use super::table::{EndState, Ref, end_of};
use super::{Cargo, Delivery, Event, HostId, Network};

/// Maximum number of losses of one message.
const MOST_REPEATS: u32 = 8;

impl Network {
    /// The slot of a host's stream, and the index of the host's end.
    fn find(&self, host: HostId, id: StreamId) -> Option<(u32, usize)> {
        let epoch = self.port(host).epoch;
        let slot = *self.by_id.get(&(host, epoch, id))?;
        let stream = self.streams.get(slot)?;
        let is_acceptor = stream.ends[0].id() != (host, epoch, id);
        Some((slot, usize::from(is_acceptor)))
    }

    pub(super) fn send(&mut self, host: HostId, id: StreamId, bytes: Arc<[u8]>) {
        let Some((slot, end)) = self.find(host, id) else {
            return;
        };
        self.stats.messages += 1;
        self.stats.bytes += bytes.len() as u64;
        if self.window_is_full(slot, end) {
            self.stats.blocked += 1;
            if let Some(stream) = self.streams.get_mut(slot) {
                stream.ends[end].backlog().unsent.push_back(bytes);
            }
            return;
        }
        self.carry(slot, end, Cargo::Bytes(bytes));
        self.say_sent(slot, end);
    }

    /// Whether an end has to wait for its peer to read before it can send.
    fn window_is_full(&self, slot: u32, end: usize) -> bool {
        let Some(stream) = self.streams.get(slot) else {
            return false;
        };
        let window = self.transport.window as usize;
        let unsent = stream.ends[end]
            .backlog
            .as_ref()
            .is_some_and(|backlog| !backlog.unsent.is_empty());
        let unread = stream.ends[1 - end]
            .backlog
            .as_ref()
            .is_some_and(|backlog| backlog.unread_bytes >= window);
        unsent || unread
    }

    /// Informs a host that everything it sent has left, now or when it has.
    fn say_sent(&mut self, slot: u32, end: usize) {
        let Some(stream) = self.streams.get(slot) else {
            return;
        };
        let sender = &stream.ends[end];
        if sender.departed <= self.now {
            let (host, stream) = (sender.host, sender.stream);
            self.deliver(host, Delivery::Sent { stream });
        } else {
            let (at, stream, from) = (sender.departed, self.streams.reference(slot), end as u8);
            self.queue.push(at, Event::Departed { stream, from });
        }
    }

    /// Handles a departure; later bytes may not have left yet.
    pub(super) fn departed(&mut self, slot: u32, end: usize) {
        let all = self.streams.get(slot).is_some_and(|stream| {
            let end = &stream.ends[end];
            let unsent = end.backlog.as_ref().is_some_and(|it| !it.unsent.is_empty());
            end.state == EndState::Open && end.departed <= self.now && !unsent
        });
        if all {
            self.say_sent(slot, end);
        }
    }

    /// Transmits something on a stream.
    pub(super) fn carry(&mut self, slot: u32, end: usize, cargo: Cargo) {
        let message = matches!(cargo, Cargo::Bytes(_));
        let reset_session = message && self.faults.session_reset.hits(&mut self.random);
        let reset_stream = message && self.faults.stream_reset.hits(&mut self.random);
        let Some(stream) = self.streams.get(slot) else {
            return;
        };
        let hosts = [stream.ends[end].host, stream.ends[1 - end].host];
        if reset_session {
            return self.reset_session(stream.session, hosts[0]);
        }
        if reset_stream {
            return self.reset_stream(slot, end);
        }
        let rate = if stream.slow {
            self.faults.slow_bandwidth
        } else {
            self.faults.bandwidth
        };
        let on_the_wire = self.latency(hosts[0], hosts[1]) + self.jitter() + self.repeats();
        let now = self.now;
        let Some(stream) = self.streams.get_mut(slot) else {
            return;
        };
        let deaf = stream.deaf == Some(end as u8);
        let sender = &mut stream.ends[end];
        let mut depart = sender.departed.max(now);
        if let (Cargo::Bytes(bytes), true) = (&cargo, rate > 0) {
            let nanos = (bytes.len() as u128 * 1_000_000_000).div_ceil(u128::from(rate));
            let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
            depart = depart.plus(Duration::from_nanos(nanos));
        }
        sender.departed = depart;
        sender.arrived = depart.plus(on_the_wire).max(sender.arrived);
        let at = sender.arrived;
        if deaf && matches!(cargo, Cargo::Bytes(_) | Cargo::End(_)) {
            return;
        }
        let (stream, from) = (self.streams.reference(slot), end as u8);
        self.queue.push(
            at,
            Event::Arrive {
                stream,
                from,
                cargo,
            },
        );
    }

    /// Delay that retransmissions add to a message.
    pub(super) fn repeats(&mut self) -> Duration {
        let mut added = Duration::ZERO;
        for repeat in 0..MOST_REPEATS {
            if !self.faults.loss.hits(&mut self.random) {
                break;
            }
            self.stats.retransmissions += 1;
            added += self.faults.rto * (1 << repeat.min(6));
        }
        added
    }

    /// Resets a stream by a fault; the end that noticed is informed immediately.
    pub(super) fn reset_stream(&mut self, slot: u32, noticed: usize) {
        self.stats.resets += 1;
        let Some(stream) = self.streams.get(slot) else {
            return;
        };
        let ends = [&stream.ends[noticed], &stream.ends[1 - noticed]];
        let [own, peer] = ends.map(|end| (end.host, end.stream, end.state));
        let news = self.now.plus(self.latency(own.0, peer.0));
        self.free_stream(slot);
        for ((host, stream, state), at) in [(own, None), (peer, Some(news))] {
            let end = StreamEnd::Reset;
            let what = Delivery::Closed { stream, end };
            match (state, at) {
                (EndState::Opening | EndState::Open, Some(at)) => self.notify_at(at, host, what),
                (EndState::Opening | EndState::Open, None) => self.notify(host, what),
                _ => {}
            }
        }
    }

    pub(super) fn close(&mut self, host: HostId, id: StreamId, graceful: bool) {
        let Some((slot, end)) = self.find(host, id) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(slot) else {
            return;
        };
        let opening = stream.ends[end].state == EndState::Opening;
        let alone = stream.ends[1 - end].state == EndState::Closed;
        let unborn = stream.ends[1 - end].state == EndState::Unborn;
        if alone || (unborn && (opening || !graceful)) {
            return self.free_stream(slot);
        }
        let own = &mut stream.ends[end];
        let id = own.id();
        own.state = EndState::Closed;
        self.by_id.remove(&id);
        let waits = own
            .backlog
            .as_mut()
            .filter(|backlog| graceful && !backlog.unsent.is_empty());
        if let Some(backlog) = waits {
            backlog.closing = true;
        } else {
            own.backlog = None;
            self.carry(slot, end, Cargo::End(end_of(graceful)));
        }
    }

    pub(super) fn pause(&mut self, host: HostId, id: StreamId) {
        if let Some((slot, end)) = self.find(host, id)
            && let Some(stream) = self.streams.get_mut(slot)
        {
            stream.ends[end].paused = true;
        }
    }

    pub(super) fn resume_reading(&mut self, host: HostId, id: StreamId) {
        let Some((slot, end)) = self.find(host, id) else {
            return;
        };
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.ends[end].paused = false;
        }
        let (stream, end) = (self.streams.reference(slot), end as u8);
        self.ready.push_back(super::Ready::Read { stream, end });
    }

    /// Delivers the next waiting bytes to a reader that is not paused.
    pub(super) fn read_next(&mut self, reference: Ref, end: u8) {
        if !self.streams.is_current(reference) {
            return;
        }
        let (slot, end) = (reference.slot, usize::from(end));
        let Some(stream) = self.streams.get_mut(slot) else {
            return;
        };
        let reader = &mut stream.ends[end];
        if reader.paused || reader.state != EndState::Open {
            return;
        }
        let (host, id) = (reader.host, reader.stream);
        let Some(backlog) = &mut reader.backlog else {
            return;
        };
        if let Some(bytes) = backlog.unread.pop_front() {
            backlog.unread_bytes -= bytes.len();
            self.deliver(host, Delivery::Bytes { stream: id, bytes });
            self.unblock(slot, 1 - end);
            let (stream, end) = (reference, end as u8);
            self.ready.push_back(super::Ready::Read { stream, end });
        } else if backlog.finished {
            self.free_stream(slot);
            let end = StreamEnd::Finished;
            self.deliver(host, Delivery::Closed { stream: id, end });
        }
    }

    /// Sends what waited for the window after the peer has read.
    fn unblock(&mut self, slot: u32, end: usize) {
        let window = self.transport.window as usize;
        loop {
            let Some(stream) = self.streams.get_mut(slot) else {
                return;
            };
            let unread = stream.ends[1 - end].backlog.as_ref();
            if unread.is_some_and(|backlog| backlog.unread_bytes >= window) {
                return;
            }
            let Some(backlog) = &mut stream.ends[end].backlog else {
                return;
            };
            let Some(bytes) = backlog.unsent.pop_front() else {
                return;
            };
            let last = backlog.unsent.is_empty();
            let closing = backlog.closing;
            self.carry(slot, end, Cargo::Bytes(bytes));
            match (last, closing) {
                (true, true) => return self.carry(slot, end, Cargo::End(StreamEnd::Finished)),
                (true, false) => return self.say_sent(slot, end),
                (false, _) => {}
            }
        }
    }

    /// Removes a stream without informing its ends.
    pub(super) fn free_stream(&mut self, slot: u32) {
        self.leave_session(slot);
        if let Some(stream) = self.streams.remove(slot) {
            for end in &stream.ends {
                if matches!(end.state, EndState::Opening | EndState::Open) {
                    self.by_id.remove(&end.id());
                }
            }
        }
    }
}
