//! Events that are due: arrivals, and everything that was postponed.

use std::time::Duration;

use skydht_core::node::{OpenFailure, StreamEnd, StreamId};

use super::faults::below;
use super::table::{EndState, Presence, Ref};
use super::{Cargo, Delivery, Event, HostId, Network, Ready};

/// Interval between attempts to deliver something that is held up.
const TRY_AGAIN: Duration = Duration::from_millis(500);

impl Network {
    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive {
                stream,
                from,
                cargo,
            } => {
                if self.streams.is_current(stream) {
                    self.arrive(stream, usize::from(from), cargo);
                }
            }
            Event::Departed { stream, from } => {
                if self.streams.is_current(stream) {
                    self.departed(stream.slot, usize::from(from));
                }
            }
            Event::Dialled { session } => {
                if self.sessions.is_current(session) {
                    self.dialled(session.slot);
                }
            }
            Event::Reset { stream } => {
                if self.streams.is_current(stream) {
                    self.reset_stream(stream.slot, 0);
                }
            }
            Event::Notify { host, epoch, what } => {
                if self.port(host).epoch == epoch {
                    self.notify(host, what);
                }
            }
            Event::Fail { stream, reason } => {
                if self.streams.is_current(stream) {
                    self.fail(stream.slot, reason);
                }
            }
            Event::GiveUp { host, absence } => self.give_up(host, absence),
        }
    }

    fn fail(&mut self, slot: u32, reason: OpenFailure) {
        let Some(stream) = self.streams.get(slot) else {
            return;
        };
        let opener = &stream.ends[0];
        let (host, epoch, id, state) = (opener.host, opener.epoch, opener.stream, opener.state);
        self.free_stream(slot);
        if state == EndState::Opening && self.port(host).epoch == epoch {
            self.notify(host, Delivery::Failed { stream: id, reason });
        }
    }

    fn arrive(&mut self, reference: Ref, from: usize, cargo: Cargo) {
        let slot = reference.slot;
        let Some(stream) = self.streams.get(slot) else {
            return;
        };
        let (sender, receiver) = (&stream.ends[from], &stream.ends[1 - from]);
        let (source, target, session) = (sender.host, receiver.host, stream.session);
        let absent = self.port(target).presence != Presence::Up;
        let again = if sender.hold > self.now {
            Some(sender.hold)
        } else if absent || self.is_cut(source, target) {
            self.stats.held_up += 1;
            Some(self.now.plus(TRY_AGAIN))
        } else {
            None
        };
        let now = self.now;
        let direction = self
            .sessions
            .get(session)
            .map_or(0, |session| usize::from(session.hosts[0] != source));
        let stalled = self
            .sessions
            .get_mut(session)
            .map(|session| &mut session.stalled[direction]);
        if let Some(again) = again {
            let since = stalled.map(|since| *since.get_or_insert(now));
            if since.is_some_and(|since| now.since(since) >= self.transport.session_timeout) {
                return self.time_out_session(session);
            }
            if let Some(stream) = self.streams.get_mut(slot) {
                stream.ends[from].hold = again;
            }
            let (stream, from) = (reference, from as u8);
            let event = Event::Arrive {
                stream,
                from,
                cargo,
            };
            return self.queue.push(again, event);
        }
        if let Some(since) = stalled {
            *since = None;
        }
        match cargo {
            Cargo::Open => self.arrive_open(reference, target),
            Cargo::Confirm => self.arrive_confirm(slot),
            Cargo::Bytes(bytes) => {
                let Some(stream) = self.streams.get_mut(slot) else {
                    return;
                };
                let end = &mut stream.ends[1 - from];
                if end.state != EndState::Open {
                    return;
                }
                let waits = end.backlog.as_ref().is_some_and(|it| !it.unread.is_empty());
                if end.paused || waits {
                    let backlog = end.backlog();
                    backlog.unread_bytes += bytes.len();
                    backlog.unread.push_back(bytes);
                } else {
                    let stream = end.stream;
                    self.deliver(target, Delivery::Bytes { stream, bytes });
                }
            }
            Cargo::End(end) => self.arrive_end(slot, 1 - from, end),
        }
    }

    /// Delivers a new stream to the accepting host.
    fn arrive_open(&mut self, reference: Ref, target: HostId) {
        let slot = reference.slot;
        let half_open = self.faults.half_open.hits(&mut self.random);
        let deaf = half_open.then(|| below(&mut self.random, 2) as u8);
        let port = self.port_mut(target);
        port.accepted += 1;
        let (id, epoch) = (StreamId(port.accepted * 2 - 1), port.epoch);
        self.stats.streams += 1;
        let Some(stream) = self.streams.get_mut(slot) else {
            return;
        };
        let end = &mut stream.ends[1];
        (end.state, end.stream, end.epoch) = (EndState::Open, id, epoch);
        stream.deaf = deaf;
        let opener = stream.ends[0].host;
        self.by_id.insert((target, epoch, id), slot);
        if half_open {
            self.stats.half_open += 1;
            let wait = self.faults.half_open_for;
            if !wait.is_zero() {
                let stream = reference;
                self.queue
                    .push(self.now.plus(wait), Event::Reset { stream });
            }
        }
        let peer = self.port(opener).key;
        let path = self.path_of(slot, 1);
        let accepted = Delivery::Accepted {
            stream: id,
            peer,
            path,
        };
        self.ready.push_back(Ready::Deliver(target, accepted));
        if self.transport.confirm_streams {
            self.carry(slot, 1, Cargo::Confirm);
        }
    }

    fn arrive_confirm(&mut self, slot: u32) {
        let Some(stream) = self.streams.get_mut(slot) else {
            return;
        };
        let opener = &mut stream.ends[0];
        if opener.state != EndState::Opening {
            return;
        }
        opener.state = EndState::Open;
        let (host, stream) = (opener.host, opener.stream);
        let path = self.path_of(slot, 0);
        self.deliver(host, Delivery::Opened { stream, path });
    }

    /// Delivers the end of a stream.
    fn arrive_end(&mut self, slot: u32, end: usize, how: StreamEnd) {
        let Some(stream) = self.streams.get_mut(slot) else {
            return;
        };
        let reader = &mut stream.ends[end];
        let (host, stream, state) = (reader.host, reader.stream, reader.state);
        let waits = reader.backlog.as_mut().filter(|it| !it.unread.is_empty());
        if let (Some(backlog), StreamEnd::Finished) = (waits, how) {
            backlog.finished = true;
            return;
        }
        self.free_stream(slot);
        if matches!(state, EndState::Open | EndState::Opening) {
            self.deliver(host, Delivery::Closed { stream, end: how });
        }
    }
}
