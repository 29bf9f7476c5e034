//! Room for what peers send and for what they are answered: who has to go when it is short.
//!
//! Streams whose request is incomplete go first: of unknown peers before known ones, of peers
//! (and of addresses) that have many before those that have few, the older first. Then idle
//! streams, then long polls, then those whose peer does not take its answer.

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;

use crate::key::PublicKey;
use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::StreamId;
use crate::node::inbound::state::Inbound;
use crate::node::inbound::streams::SEND_DEADLINE;
use crate::node::limits::Limit;
use crate::node::output::CloseReason;
use crate::node::rpc::deadlines::Wait;
use crate::time::{Mono, nanos};

/// Streams looked at to find the one that has to go.
const SAMPLE: usize = 64;
/// Bytes of requests that every peer may have, however short room is.
const FAIR_FLOOR: usize = 16 * 1024;
/// Answers up to this many bytes may fill all the room for answers, larger ones three quarters.
pub(crate) const SMALL_ANSWER: usize = 16 * 1024;
/// Streams that a known peer may have without being charged for requests that had to go.
const SEVERAL: usize = 2;
/// How long a peer may leave its answer while others wait for room.
const PATIENCE: Duration = Duration::from_secs(4);

/// Whether there is room for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// There is.
    Free,
    /// The peer has to take what it has.
    PeerFull,
    /// There is none for any peer.
    Full,
}

impl Inbound {
    /// Makes room for one more accepted stream.
    pub(crate) fn make_room_for_stream(&mut self, base: &mut Base) -> bool {
        let half_sent = self.worst(base, Wait::Read);
        let idle = self.streams.waiting_for(Wait::Idle).next();
        // A lone half-sent request may just be under way.
        let polls = || self.worst(base, Wait::News).map(|found| found.stream);
        let victim = half_sent
            .filter(|found| found.crowd > 1)
            .map(|found| found.stream)
            .or_else(|| idle.map(|(_, id)| id))
            .or_else(polls)
            .or_else(|| half_sent.map(|found| found.stream))
            .or_else(|| self.worst(base, Wait::Send).map(|found| found.stream));
        let Some(victim) = victim else {
            return false;
        };
        let idle = idle.is_some_and(|(_, id)| id == victim);
        self.evict(base, victim, idle);
        true
    }

    fn evict(&mut self, base: &mut Base, id: StreamId, idle: bool) {
        base.cx.counters.count(Counter::StreamsEvicted);
        if idle {
            self.close(&mut base.cx, id, CloseReason::Idle);
        } else {
            self.cut_request(base, id);
        }
    }

    /// Closes a stream whose request takes room that others need. A peer that is unknown or has
    /// several streams is charged for what had come: a crowd that is always cut before its
    /// requests are whole, hence before they turn out to be nothing, would else go on for ever.
    fn cut_request(&mut self, base: &mut Base, id: StreamId) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let (peer, request_bytes) = (stream.peer, stream.state.request_bytes);
        let usage = self.usage.get(&peer);
        let several = usage.is_some_and(|usage| usage.streams.len() > SEVERAL);
        let charged = several || !base.is_known(&peer);
        self.close(&mut base.cx, id, CloseReason::Evicted);
        if charged && request_bytes > 0 {
            self.note_waste(base, &peer, request_bytes as u64);
        }
    }

    /// Of the streams that have waited longest, the one to go first: of an unknown peer, of the
    /// peer and the address that have most of them.
    fn worst(&self, base: &Base, wait: Wait) -> Option<Worst> {
        let mut peers: BTreeMap<PublicKey, usize> = BTreeMap::new();
        let mut hosts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        let sample = || {
            let streams = self.streams.waiting_for(wait).take(SAMPLE);
            streams.filter_map(|(_, id)| {
                let stream = self.streams.get(id)?;
                let host = stream.path.and_then(|path| path.remote);
                Some((id, stream.peer, host.map(|remote| remote.ip())))
            })
        };
        for (_, peer, host) in sample() {
            *peers.entry(peer).or_default() += 1;
            if let Some(host) = host {
                *hosts.entry(host).or_default() += 1;
            }
        }
        let mut worst: Option<((bool, usize, usize), Worst)> = None;
        for (stream, peer, host) in sample() {
            let crowd = peers[&peer];
            let of_host = host.map_or(0, |host| hosts[&host]);
            let rank = (!base.is_known(&peer), crowd, of_host);
            if worst.is_none_or(|(other, _)| rank > other) {
                let crowd = crowd.max(of_host);
                worst = Some((rank, Worst { stream, crowd }));
            }
        }
        worst.map(|(_, worst)| worst)
    }

    /// After bytes of a request came: cuts what is beyond the limits.
    pub(crate) fn relieve_requests(&mut self, base: &mut Base, id: StreamId) {
        for _ in 0..SAMPLE {
            let Some(stream) = self.streams.get(id) else {
                return;
            };
            let limits = &base.cx.config.limits;
            let usage = self.usage.get(&stream.peer);
            let of_peer = usage.map_or(0, |usage| usage.request_bytes);
            let all = self.request_bytes();
            if of_peer > limits.request_bytes_per_peer {
                base.cx.hit(Limit::request_bytes_per_peer);
                break;
            }
            // No peer takes more than is left for the others, so that something always is.
            let left = limits.request_bytes.saturating_sub(all);
            if all <= limits.request_bytes && of_peer <= left.max(FAIR_FLOOR) {
                return;
            }
            base.cx.hit(Limit::request_bytes);
            match self.worst(base, Wait::Read) {
                Some(found) if found.stream != id => self.evict(base, found.stream, false),
                _ => break,
            }
        }
        base.cx.counters.count(Counter::RequestsOverloaded);
        self.cut_request(base, id);
    }

    /// Whether an answer of about `bytes` may be made for a peer.
    pub(crate) fn room_for_answer(&self, base: &Base, peer: &PublicKey, bytes: usize) -> Room {
        let limits = &base.cx.config.limits;
        let usage = self.usage.get(peer);
        let of_peer = usage.map_or(0, |usage| usage.answer_bytes);
        if of_peer > 0 && of_peer + bytes > limits.answer_bytes_per_peer {
            Room::PeerFull
        } else if !self.room_in_all(base, bytes) {
            Room::Full
        } else {
            Room::Free
        }
    }

    /// Whether an answer of about `bytes` may be made for any peer.
    pub(crate) fn room_in_all(&self, base: &Base, bytes: usize) -> bool {
        let all = self.answer_bytes();
        all == 0 || all + bytes <= self.most_answer_bytes(base, bytes)
    }

    fn most_answer_bytes(&self, base: &Base, bytes: usize) -> usize {
        let limit = base.cx.config.limits.answer_bytes;
        if bytes <= SMALL_ANSWER {
            limit
        } else {
            limit - limit / 4
        }
    }

    /// The stream whose peer was given its answer first, and until when it may leave it there
    /// while others wait.
    fn slow_reader(&self) -> Option<(Mono, StreamId)> {
        let (until, id) = self.streams.waiting_for(Wait::Send).next()?;
        let since = Mono(until.0.saturating_sub(nanos(SEND_DEADLINE)));
        Some((since.plus(PATIENCE), id))
    }

    /// While requests wait for room: when the next peer that does not take its answer goes.
    pub(crate) fn next_relief(&self) -> Option<Mono> {
        if self.backlog.room.runnable() == 0 {
            return None;
        }
        self.slow_reader().map(|(at, _)| at)
    }

    /// Cuts a peer that does not take its answer, and charges it for that.
    pub(crate) fn cut_slow_reader(&mut self, base: &mut Base, id: StreamId, reason: CloseReason) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let (peer, bytes) = (stream.peer, stream.state.answer_bytes);
        base.cx.counters.count(Counter::SlowReaders);
        self.close(&mut base.cx, id, reason);
        self.note_waste(base, &peer, bytes as u64);
    }

    /// Cuts the peer that has not taken its answer for too long while others wait.
    pub(crate) fn relieve_answers(&mut self, base: &mut Base) {
        if self.backlog.room.runnable() == 0 {
            return;
        }
        if let Some((at, id)) = self.slow_reader()
            && at <= base.cx.now.mono
        {
            self.cut_slow_reader(base, id, CloseReason::Evicted);
        }
    }
}

/// The stream to go first, and how many its peer or its address has like it.
#[derive(Clone, Copy)]
struct Worst {
    stream: StreamId,
    crowd: usize,
}
