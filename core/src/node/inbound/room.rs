//! Room for what peers send and for their answers, and which stream is closed when it is short.
//!
//! Streams with an incomplete request are closed first: those of unknown peers before known ones
//! ([`Base::is_known`]), those of peers (and of addresses) with many before those with few, older
//! before newer. Then idle streams, then long polls, then incomplete requests that are the only one
//! of their peer and address, then streams whose peer does not read its answer.

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

/// Number of streams examined to find the one to close.
const SAMPLE: usize = 64;
/// Bytes of requests that every peer may have until the room of all peers together is used up.
const FAIR_FLOOR: usize = 16 * 1024;
/// Answers up to this size may use all the room for answers, larger ones three quarters.
pub(crate) const SMALL_ANSWER: usize = 16 * 1024;
/// Number of streams up to which a known peer is not charged for requests that were cut.
const MAX_UNCHARGED_STREAMS: usize = 2;
/// How long a peer may leave its answer unread while others wait for room.
const PATIENCE: Duration = Duration::from_secs(4);

/// Whether there is room for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// The answer may be made.
    Free,
    /// The peer has to read its earlier answers first.
    PeerFull,
    /// The room of all peers together is used up.
    Full,
}

impl Inbound {
    /// Closes a stream to make room for another. Returns false if none can be closed.
    pub(crate) fn make_room_for_stream(&mut self, base: &mut Base) -> bool {
        let half_sent = self.eviction_candidate(base, Wait::Read);
        let idle = self.streams.waiting_for(Wait::Idle).next();
        // The only incomplete request of a peer and of its address may be a regular one in
        // progress, so idle streams and long polls are closed before it.
        let polls = || {
            self.eviction_candidate(base, Wait::Poll)
                .map(|found| found.stream)
        };
        let victim = half_sent
            .filter(|found| found.crowd > 1)
            .map(|found| found.stream)
            .or_else(|| idle.map(|(_, id)| id))
            .or_else(polls)
            .or_else(|| half_sent.map(|found| found.stream))
            .or_else(|| {
                self.eviction_candidate(base, Wait::Send)
                    .map(|found| found.stream)
            });
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

    /// Closes a stream whose request takes room that others need.
    ///
    /// A peer that is unknown, or has more streams than [`MAX_UNCHARGED_STREAMS`], is charged for
    /// what had arrived. Otherwise peers whose requests are always cut before they are complete,
    /// and hence before they turn out to be worthless, could continue forever.
    fn cut_request(&mut self, base: &mut Base, id: StreamId) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let (peer, request_bytes) = (stream.peer, stream.state.request_bytes);
        let usage = self.usage.get(&peer);
        let several = usage.is_some_and(|usage| usage.streams.len() > MAX_UNCHARGED_STREAMS);
        let charged = several || !base.is_known(&peer);
        self.close(&mut base.cx, id, CloseReason::Evicted);
        if charged && request_bytes > 0 {
            self.note_waste(base, &peer, request_bytes as u64);
        }
    }

    /// Returns the stream to close first among those that have waited longest: prefers unknown
    /// peers, then the peer and the address with most such streams.
    fn eviction_candidate(&self, base: &Base, wait: Wait) -> Option<EvictionCandidate> {
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
        let mut worst: Option<((bool, usize, usize), EvictionCandidate)> = None;
        for (stream, peer, host) in sample() {
            let crowd = peers[&peer];
            let of_host = host.map_or(0, |host| hosts[&host]);
            let rank = (!base.is_known(&peer), crowd, of_host);
            if worst.is_none_or(|(other, _)| rank > other) {
                let crowd = crowd.max(of_host);
                worst = Some((rank, EvictionCandidate { stream, crowd }));
            }
        }
        worst.map(|(_, worst)| worst)
    }

    /// Closes streams until the bytes that arrived on stream `id` are within the limits: this one
    /// if its peer exceeds its own limit or if no other can be closed, otherwise others.
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
            // No peer may take more than what is left for all others, so that some always is left.
            let left = limits.request_bytes.saturating_sub(all);
            if all <= limits.request_bytes && of_peer <= left.max(FAIR_FLOOR) {
                return;
            }
            base.cx.hit(Limit::request_bytes);
            match self.eviction_candidate(base, Wait::Read) {
                Some(found) if found.stream != id => self.evict(base, found.stream, false),
                _ => break,
            }
        }
        base.cx.counters.count(Counter::RequestsOverloaded);
        self.cut_request(base, id);
    }

    /// Whether an answer of about `bytes` may be made for `peer`.
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

    /// The stream with the oldest unread answer, and the time until which its peer may leave it
    /// unread while others wait.
    fn slow_reader(&self) -> Option<(Mono, StreamId)> {
        let (until, id) = self.streams.waiting_for(Wait::Send).next()?;
        let since = Mono(until.0.saturating_sub(nanos(SEND_DEADLINE)));
        Some((since.plus(PATIENCE), id))
    }

    /// When the next slow reader is cut; `None` while no request waits for room.
    pub(crate) fn next_relief(&self) -> Option<Mono> {
        if self.backlog.room.runnable() == 0 {
            return None;
        }
        self.slow_reader().map(|(at, _)| at)
    }

    /// Closes the stream of a peer that does not read its answer, and charges the peer for it.
    pub(crate) fn cut_slow_reader(&mut self, base: &mut Base, id: StreamId, reason: CloseReason) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let (peer, bytes) = (stream.peer, stream.state.answer_bytes);
        base.cx.counters.count(Counter::SlowReaders);
        self.close(&mut base.cx, id, reason);
        self.note_waste(base, &peer, bytes as u64);
    }

    /// Closes the stream of a peer that has left its answer unread for too long while others wait.
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

/// The stream to close first, and how many such streams its peer or its address has in the sample,
/// whichever has more.
#[derive(Clone, Copy)]
struct EvictionCandidate {
    stream: StreamId,
    crowd: usize,
}
