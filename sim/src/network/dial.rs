//! Opening streams, dialling and probing.

use std::net::SocketAddr;
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::node::{OpenFailure, Path, ProbeId, Reach, SessionUse, StreamId};
use skydht_core::time::nanos;

use super::faults::{below, mix};
use super::table::{End, EndState, NONE, Presence, Session, Stream};
use super::{Cargo, Delivery, Event, HostId, Network};
use crate::clock::SimTime;

/// The expected result of a dial, as known at its start.
enum Dial {
    Succeeds { relayed: bool, after: Duration },
    Fails { why: OpenFailure, after: Duration },
}

impl Network {
    /// One-way latency between two hosts, without jitter.
    pub(super) fn latency(&self, a: HostId, b: HostId) -> Duration {
        let (low, high) = (a.min(b), a.max(b));
        let pair = u64::from(low.0) << 32 | u64::from(high.0);
        self.faults.latency.at(mix(self.seed ^ pair))
    }

    /// Random addition to the latency of a message.
    pub(super) fn jitter(&mut self) -> Duration {
        let jitter = nanos(self.faults.jitter);
        if jitter == 0 {
            return Duration::ZERO;
        }
        Duration::from_nanos(below(&mut self.random, jitter.saturating_add(1)))
    }

    pub(super) fn open(
        &mut self,
        host: HostId,
        id: StreamId,
        peer: &PublicKey,
        addrs: &[SocketAddr],
        session: SessionUse,
    ) {
        let to = self.by_key.get(peer).copied().filter(|to| *to != host);
        let existing = to.and_then(|to| Some((to, *self.port(host).sessions.get(&to)?)));
        if let Some((to, session)) = existing {
            let slot = self.add_stream(host, id, to, session);
            if self.sessions.get(session).is_some_and(|s| s.ready) {
                self.begin_stream(slot);
            }
            return;
        }
        if session == SessionUse::ReuseOnly {
            let reason = OpenFailure::NoAddress;
            return self.deliver(host, Delivery::Failed { stream: id, reason });
        }
        match (to, self.dial(host, peer, to, addrs)) {
            (Some(to), Dial::Succeeds { relayed, after }) => {
                let session = self.add_session(host, to, relayed);
                self.add_stream(host, id, to, session);
                let session = self.sessions.reference(session);
                self.queue
                    .push(self.now.plus(after), Event::Dialled { session });
            }
            (to, outcome) => {
                let (reason, after) = match outcome {
                    Dial::Fails { why, after } => (why, after),
                    Dial::Succeeds { after, .. } => (OpenFailure::Unreachable, after),
                };
                self.stats.dials_failed += 1;
                // The stream exists until then, so that the host can close it.
                let slot = self.add_stream(host, id, to.unwrap_or(host), NONE);
                let stream = self.streams.reference(slot);
                self.queue
                    .push(self.now.plus(after), Event::Fail { stream, reason });
            }
        }
    }

    /// The expected result of a dial. All addresses are tried concurrently: the first that works
    /// counts, otherwise the failure that takes longest.
    fn dial(
        &mut self,
        host: HostId,
        peer: &PublicKey,
        to: Option<HostId>,
        addrs: &[SocketAddr],
    ) -> Dial {
        let trips = u32::from(self.transport.dial_trips);
        let timeout = self.transport.dial_timeout;
        let fails = |why, after| Dial::Fails { why, after };
        let silence = || fails(OpenFailure::Timeout, timeout);
        if to.is_none() && peer.check_curve().is_err() {
            return fails(OpenFailure::InvalidKey, Duration::ZERO);
        }
        let own = self.port(host).access;
        let relayed = own.relayed && to.is_none_or(|to| self.port(to).access.relayed);
        if relayed {
            // The relay answers for absent peers.
            let relay = self.latency(host, host) * 2;
            let Some(to) = to else {
                return fails(OpenFailure::Unreachable, relay);
            };
            return match self.port(to).presence {
                Presence::Up => self.try_connect(host, to, trips, true),
                Presence::Refusing => fails(OpenFailure::Unreachable, relay),
                Presence::Silent | Presence::Suspended => silence(),
            };
        }
        if addrs.is_empty() || own.addr.is_none() {
            return fails(OpenFailure::NoAddress, Duration::ZERO);
        }
        let mut worst = (OpenFailure::Unreachable, Duration::ZERO);
        for addr in addrs {
            let there = self.by_addr.get(addr).copied();
            let Some(there) = there.filter(|there| self.port(*there).access.listens) else {
                // No host has the address, or a NAT drops unknown packets.
                worst = worst.or_longer(OpenFailure::Timeout, timeout);
                continue;
            };
            let trip = self.latency(host, there) * 2;
            match self.port(there).presence {
                Presence::Silent | Presence::Suspended => {
                    worst = worst.or_longer(OpenFailure::Timeout, timeout);
                }
                Presence::Refusing => worst = worst.or_longer(OpenFailure::Unreachable, trip),
                Presence::Up if Some(there) != to => {
                    worst = worst.or_longer(OpenFailure::Handshake, trip * trips.max(1));
                }
                Presence::Up => return self.try_connect(host, there, trips, false),
            }
        }
        fails(worst.0, worst.1)
    }

    /// The result of dialling a peer that is there, after network faults.
    fn try_connect(&mut self, host: HostId, to: HostId, trips: u32, relayed: bool) -> Dial {
        let trip = self.latency(host, to) * 2;
        if self.faults.dial_refused.hits(&mut self.random) {
            return Dial::Fails {
                why: OpenFailure::Unreachable,
                after: trip,
            };
        }
        let cut = self.is_cut(host, to) || self.is_cut(to, host);
        if cut || self.faults.dial_lost.hits(&mut self.random) {
            return Dial::Fails {
                why: OpenFailure::Timeout,
                after: self.transport.dial_timeout,
            };
        }
        let mut after = Duration::ZERO;
        for _ in 0..trips {
            after += trip + self.jitter() + self.jitter() + self.repeats();
        }
        Dial::Succeeds { relayed, after }
    }

    pub(super) fn probe(
        &mut self,
        host: HostId,
        probe: ProbeId,
        peer: &PublicKey,
        addr: SocketAddr,
    ) {
        let to = self.by_key.get(peer).copied().filter(|to| *to != host);
        let relayed = std::mem::take(&mut self.port_mut(host).access.relayed);
        let outcome = self.dial(host, peer, to, &[addr]);
        self.port_mut(host).access.relayed = relayed;
        let (result, after) = match outcome {
            Dial::Succeeds { after, .. } => (Ok(()), after),
            Dial::Fails { why, after } => (Err(why), after),
        };
        self.notify_at(
            self.now.plus(after),
            host,
            Delivery::Probed { probe, result },
        );
    }

    fn add_session(&mut self, from: HostId, to: HostId, relayed: bool) -> u32 {
        let session = self.sessions.insert(Session {
            hosts: [from, to],
            ready: false,
            relayed,
            streams: 0,
            first: NONE,
            idle_since: self.now,
            started: self.now,
            stalled: [None; 2],
        });
        self.port_mut(from).sessions.insert(to, session.slot);
        self.port_mut(to).sessions.insert(from, session.slot);
        let look = self.now.plus(self.transport.idle_timeout);
        self.watched.push_back((look, session));
        session.slot
    }

    /// Adds a stream that its opener waits for.
    fn add_stream(&mut self, host: HostId, id: StreamId, to: HostId, session: u32) -> u32 {
        let (epoch, there) = (self.port(host).epoch, self.port(to).epoch);
        let ends = [
            End::new(host, epoch, id, EndState::Opening),
            End::new(to, there, StreamId(0), EndState::Unborn),
        ];
        let stream = self.streams.insert(Stream {
            ends,
            session,
            next: NONE,
            previous: NONE,
            slow: false,
            deaf: None,
        });
        self.by_id.insert((host, epoch, id), stream.slot);
        self.join_session(stream.slot, session);
        stream.slot
    }

    /// Ends a dial, and begins the streams that waited for the session.
    pub(super) fn dialled(&mut self, slot: u32) {
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        let [from, to] = session.hosts;
        let started = session.started;
        let there = self.port(to).presence == Presence::Up;
        if !there || self.is_cut(from, to) || self.is_cut(to, from) {
            self.stats.dials_failed += 1;
            let late = started.plus(self.transport.dial_timeout);
            return self.abort_dial(slot, late.max(self.now));
        }
        self.stats.dials += 1;
        if let Some(session) = self.sessions.get_mut(slot) {
            session.ready = true;
        }
        for stream in self.streams_of(slot) {
            self.begin_stream(stream);
        }
    }

    /// Fails a dial without an answer.
    fn abort_dial(&mut self, slot: u32, at: SimTime) {
        let reason = OpenFailure::Timeout;
        for slot in self.streams_of(slot) {
            self.leave_session(slot);
            let stream = self.streams.reference(slot);
            self.queue.push(at, Event::Fail { stream, reason });
        }
        self.remove_session(slot);
    }

    /// Sends the opening of a stream over an established session.
    fn begin_stream(&mut self, slot: u32) {
        let confirm = self.transport.confirm_streams;
        let slow = self.faults.slow.hits(&mut self.random);
        let Some(stream) = self.streams.get_mut(slot) else {
            return;
        };
        stream.slow = slow;
        let (host, id) = (stream.ends[0].host, stream.ends[0].stream);
        if !confirm {
            stream.ends[0].state = EndState::Open;
            let path = self.path_of(slot, 0);
            self.deliver(host, Delivery::Opened { stream: id, path });
        }
        self.carry(slot, 0, Cargo::Open);
    }

    /// The path of a stream, as seen from one of its ends.
    pub(super) fn path_of(&self, slot: u32, end: usize) -> Path {
        let relayed = Path {
            reach: Reach::Relayed,
            remote: None,
        };
        let Some(stream) = self.streams.get(slot) else {
            return relayed;
        };
        match self.sessions.get(stream.session) {
            Some(session) if !session.relayed => {
                let peer = stream.ends[1 - end].host;
                if session.hosts[0] == stream.ends[end].host {
                    Path {
                        reach: Reach::Dialled,
                        remote: self.port(peer).access.addr,
                    }
                } else {
                    Path {
                        reach: Reach::Accepted,
                        remote: self.port(peer).dials_from(peer),
                    }
                }
            }
            _ => relayed,
        }
    }
}

trait LongerFailure {
    /// Keeps the failure that takes longer.
    fn or_longer(self, why: OpenFailure, after: Duration) -> Self;
}

impl LongerFailure for (OpenFailure, Duration) {
    fn or_longer(self, why: OpenFailure, after: Duration) -> Self {
        if after > self.1 { (why, after) } else { self }
    }
}
