//! Sessions: their streams, how they end, and hosts that come and go.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use skydht_core::key::PublicKey;
use skydht_core::node::{OpenFailure, StreamEnd};

use super::table::{EndState, NONE, Port, Presence};
use super::{Access, Delivery, Departure, Event, HostId, Network};
use crate::clock::SimTime;

/// When an end of a broken session is informed.
#[derive(Clone, Copy)]
enum NoticeTime {
    /// Immediately.
    Now,
    /// After the latency between the hosts.
    Later,
    /// Never, since the host is gone.
    Never,
}

impl Network {
    /// Adds a host that is not running yet. The caller keeps keys distinct.
    pub(crate) fn add_host(&mut self, key: PublicKey, access: Access) -> HostId {
        let host = HostId(self.ports.len() as u32);
        self.ports.push(Port {
            key,
            access,
            presence: Presence::Refusing,
            group: 0,
            epoch: 0,
            accepted: 0,
            sessions: BTreeMap::new(),
            absences: 0,
            later: Vec::new(),
        });
        self.by_key.insert(key, host);
        if let Some(addr) = access.addr {
            self.by_addr.insert(addr, host);
        }
        host
    }

    /// The host with this key.
    pub(crate) fn host_of(&self, key: &PublicKey) -> Option<HostId> {
        self.by_key.get(key).copied()
    }

    /// The host with this address.
    pub(crate) fn at(&self, addr: &SocketAddr) -> Option<HostId> {
        self.by_addr.get(addr).copied()
    }

    /// The access of a host.
    #[must_use]
    pub fn access(&self, host: HostId) -> Option<&Access> {
        self.ports.get(host.index()).map(|port| &port.access)
    }

    /// Changes the access of a host; its sessions stay.
    pub(crate) fn set_access(&mut self, host: HostId, access: Access) {
        let old = std::mem::replace(&mut self.port_mut(host).access, access);
        if let Some(addr) = old.addr
            && self.by_addr.get(&addr) == Some(&host)
        {
            self.by_addr.remove(&addr);
        }
        if let Some(addr) = access.addr {
            self.by_addr.insert(addr, host);
        }
    }

    /// Starts a host (again), with a new life.
    pub(crate) fn arrive_host(&mut self, host: HostId) {
        // Peers that had not noticed its absence notice it now.
        self.break_all(host, NoticeTime::Later);
        let port = self.port_mut(host);
        port.presence = Presence::Up;
        port.epoch += 1;
        port.absences += 1;
        port.accepted = 0;
    }

    /// Stops a host without notice.
    pub(crate) fn depart_host(&mut self, host: HostId, how: Departure) {
        let port = self.port_mut(host);
        port.epoch += 1;
        port.later.clear();
        match how {
            Departure::Process => {
                port.presence = Presence::Refusing;
                self.break_all(host, NoticeTime::Later);
            }
            Departure::Machine => {
                port.presence = Presence::Silent;
                self.forget_ends(host);
                self.give_up_later(host);
            }
        }
    }

    /// Suspends a host: it processes nothing, and peers give up on it after a while.
    pub(crate) fn suspend_host(&mut self, host: HostId) {
        self.port_mut(host).presence = Presence::Suspended;
        self.give_up_later(host);
    }

    /// Resumes a suspended host.
    pub(crate) fn resume_host(&mut self, host: HostId) {
        let port = self.port_mut(host);
        port.presence = Presence::Up;
        port.absences += 1;
        for what in std::mem::take(&mut port.later) {
            self.deliver(host, what);
        }
    }

    fn give_up_later(&mut self, host: HostId) {
        let at = self.now.plus(self.transport.session_timeout);
        let port = self.port_mut(host);
        port.absences += 1;
        let absence = port.absences;
        self.queue.push(at, Event::GiveUp { host, absence });
    }

    /// Breaks the sessions of a host that has been silent for too long.
    pub(super) fn give_up(&mut self, host: HostId, absence: u32) {
        let port = self.port(host);
        let absent = matches!(port.presence, Presence::Silent | Presence::Suspended);
        if absent && port.absences == absence {
            self.break_all(host, NoticeTime::Now);
        }
    }

    /// Removes the stream ends of a vanished host.
    fn forget_ends(&mut self, host: HostId) {
        for session in self.sessions_of(host) {
            for slot in self.streams_of(session) {
                let Some(stream) = self.streams.get_mut(slot) else {
                    continue;
                };
                if let Some(end) = stream.ends.iter_mut().find(|end| end.host == host) {
                    let id = end.id();
                    end.close();
                    self.by_id.remove(&id);
                }
            }
        }
    }

    fn sessions_of(&self, host: HostId) -> Vec<u32> {
        self.port(host).sessions.values().copied().collect()
    }

    /// Breaks all sessions of a host. Its peers are informed as given, the host itself immediately
    /// unless it is gone.
    fn break_all(&mut self, host: HostId, peers: NoticeTime) {
        for slot in self.sessions_of(host) {
            let own = match self.port(host).presence {
                Presence::Up | Presence::Suspended => NoticeTime::Now,
                Presence::Refusing | Presence::Silent => NoticeTime::Never,
            };
            let first = self.sessions.get(slot).map(|session| session.hosts[0]);
            let notice = if first == Some(host) {
                [own, peers]
            } else {
                [peers, own]
            };
            self.break_session(slot, notice);
        }
    }

    /// Breaks a session by a fault: one end notices immediately, the other after the latency.
    pub(super) fn reset_session(&mut self, slot: u32, noticed_by: HostId) {
        self.stats.resets += 1;
        let first = self.sessions.get(slot).map(|session| session.hosts[0]);
        let notice = if first == Some(noticed_by) {
            [NoticeTime::Now, NoticeTime::Later]
        } else {
            [NoticeTime::Later, NoticeTime::Now]
        };
        self.break_session(slot, notice);
    }

    /// Breaks a session without any delivery for too long: both ends give up on their own.
    pub(super) fn time_out_session(&mut self, slot: u32) {
        self.break_session(slot, [NoticeTime::Now; 2]);
    }

    fn break_session(&mut self, slot: u32, notice: [NoticeTime; 2]) {
        let Some(session) = self.sessions.get(slot) else {
            return;
        };
        let hosts = session.hosts;
        let news = self.now.plus(self.latency(hosts[0], hosts[1]));
        for stream in self.streams_of(slot) {
            let ends = self.streams.get(stream).map(|stream| {
                let end = |i: usize| {
                    (
                        stream.ends[i].host,
                        stream.ends[i].stream,
                        stream.ends[i].state,
                    )
                };
                [end(0), end(1)]
            });
            self.free_stream(stream);
            for (host, id, state) in ends.into_iter().flatten() {
                let what = match state {
                    EndState::Opening => Delivery::Failed {
                        stream: id,
                        reason: OpenFailure::Timeout,
                    },
                    EndState::Open => Delivery::Closed {
                        stream: id,
                        end: StreamEnd::Reset,
                    },
                    EndState::Unborn | EndState::Closed => continue,
                };
                match notice[usize::from(host == hosts[1])] {
                    NoticeTime::Never => {}
                    NoticeTime::Now => self.notify(host, what),
                    NoticeTime::Later => self.notify_at(news, host, what),
                }
            }
        }
        self.remove_session(slot);
    }

    /// The streams of a session, the latest first.
    pub(super) fn streams_of(&self, slot: u32) -> Vec<u32> {
        let Some(session) = self.sessions.get(slot) else {
            return Vec::new();
        };
        let mut streams = Vec::with_capacity(session.streams as usize);
        let mut next = session.first;
        while let Some(stream) = self.streams.get(next) {
            streams.push(next);
            next = stream.next;
        }
        streams
    }

    pub(super) fn join_session(&mut self, slot: u32, session: u32) {
        let Some(of) = self.sessions.get_mut(session) else {
            return;
        };
        let first = std::mem::replace(&mut of.first, slot);
        of.streams += 1;
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.next = first;
        }
        if let Some(second) = self.streams.get_mut(first) {
            second.previous = slot;
        }
    }

    pub(super) fn leave_session(&mut self, slot: u32) {
        let Some(stream) = self.streams.get_mut(slot) else {
            return;
        };
        let (next, previous) = (stream.next, stream.previous);
        let session = std::mem::replace(&mut stream.session, NONE);
        (stream.next, stream.previous) = (NONE, NONE);
        if let Some(stream) = self.streams.get_mut(next) {
            stream.previous = previous;
        }
        if let Some(stream) = self.streams.get_mut(previous) {
            stream.next = next;
        }
        let now = self.now;
        let Some(session) = self.sessions.get_mut(session) else {
            return;
        };
        if session.first == slot {
            session.first = next;
        }
        session.streams -= 1;
        session.idle_since = now;
    }

    pub(super) fn remove_session(&mut self, slot: u32) {
        if let Some(session) = self.sessions.remove(slot) {
            let [a, b] = session.hosts;
            self.port_mut(a).sessions.remove(&b);
            self.port_mut(b).sessions.remove(&a);
        }
    }

    /// Closes sessions without streams. Each is checked every half of its timeout.
    pub(super) fn end_idle_sessions(&mut self) {
        while let Some((look, session)) = self.watched.front().copied() {
            if look > self.now {
                return;
            }
            self.watched.pop_front();
            if !self.sessions.is_current(session) {
                continue;
            }
            let timeout = self.transport.idle_timeout;
            let idle = self.sessions.get(session.slot).is_some_and(|it| {
                it.ready && it.streams == 0 && self.now.since(it.idle_since) >= timeout
            });
            if idle {
                self.remove_session(session.slot);
            } else {
                let look: SimTime = self.now.plus(timeout / 2);
                self.watched.push_back((look, session));
            }
        }
    }
}
