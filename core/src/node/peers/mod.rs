//! What calls and callers teach about peers: who enters the table, who leaves it, and where
//! they can be dialled.

pub(crate) mod clocks;
pub(crate) mod proof;
pub(crate) mod records;

pub use clocks::PeersClock;
pub use proof::{PACE, PROVE_AFTER, PROVE_GRACE};

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::{IpAddr, SocketAddr};

use crate::address::canonical;
use crate::id::NodeId;
use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::Node;
use crate::node::counters::Counter;
use crate::node::ids::{CallTag, ProbeId};
use crate::node::input::{Misuse, OpenFailure, Path, Reach};
use crate::node::limits::Limit;
use crate::node::output::{Event, Output, SessionUse};
use crate::node::rpc::calls::CallFailure;
use crate::routing::{Blame, Contact, Failed, Sighting, Touch, Use};
use crate::wire::{Advertised, Request, RequestExt};

/// Failed calls in a row, to whomever, after which the fault is probably ours.
const ALL_FAIL: u32 = 16;

/// Address probes and ping-backs that are out.
#[derive(Default)]
pub(crate) struct Probing {
    probes: BTreeMap<ProbeId, (PublicKey, SocketAddr)>,
    probed: BTreeSet<PublicKey>,
    last: u64,
    pinged_back: BTreeSet<PublicKey>,
    failures_in_a_row: u32,
}

impl Probing {
    pub(crate) fn probes(&self) -> usize {
        self.probes.len()
    }

    pub(crate) fn ping_backs(&self) -> usize {
        self.pinged_back.len()
    }
}

impl Node {
    /// A stream to `peer` runs this way.
    pub(crate) fn note_path(&mut self, peer: &PublicKey, path: Path) {
        if let (Reach::Dialled, Some(addr)) = (path.reach, path.remote) {
            self.book.reached(peer, canonical(addr), self.cx.now.mono);
        }
    }

    /// A peer said over its own proven session where it can be dialled.
    pub(crate) fn note_advertised(
        &mut self,
        peer: &PublicKey,
        advertised: Option<Advertised>,
        path: Option<Path>,
    ) {
        let seen_at = path.and_then(|path| path.remote);
        let seen_at = seen_at.map(|remote| canonical(remote).ip());
        let addr = match (advertised, seen_at) {
            (Some(Advertised::At(addr)), _) => addr,
            (Some(Advertised::Port(port)), Some(ip)) => SocketAddr::new(ip, port),
            _ => return,
        };
        let addr = canonical(addr);
        if !is_dialable(&addr) {
            return;
        }
        self.book.claims(peer, addr, self.cx.now.mono);
        let contact = self.table.get(&peer.id());
        if contact.is_none_or(|contact| contact.addr == Some(addr)) {
            return;
        }
        // Its own word over its own session is newer than whatever worked before. Where its session
        // comes from that very host it is passed on from now on; else it might point others at a
        // victim, and has to be proven first.
        if seen_at == Some(addr.ip()) {
            self.table.set_addr(&peer.id(), addr);
        }
        self.probe(*peer, addr);
    }

    /// A peer asked something: a sign of life, and perhaps a newcomer to ping back.
    pub(crate) fn note_caller(
        &mut self,
        peer: PublicKey,
        path: Option<Path>,
        ext: Option<&RequestExt>,
    ) {
        if ext.is_some_and(|ext| !ext.serves) {
            return;
        }
        let id = peer.id();
        let contact = self.table.get(&id);
        let known = contact.is_some();
        let live = contact.is_some_and(Contact::is_live);
        self.note_advertised(&peer, ext.and_then(|ext| ext.addr), path);
        // A peer to whom calls failed is back, perhaps: an answer on its own session shows it.
        if live
            || self.cx.stopping
            || self.book.is_ping_back_paused(&peer, self.cx.now.mono)
            || self.probing.pinged_back.contains(&peer)
        {
            return;
        }
        if !known {
            match self.table.use_for(&id, self.cx.now.mono) {
                Use::None => return,
                Use::Reminder { oldest } => return self.ping_oldest(oldest),
                Use::Member => {}
            }
        }
        if self.probing.pinged_back.len() >= self.cx.config.limits.ping_backs {
            return self.cx.hit(Limit::ping_backs);
        }
        let candidate = Candidate {
            key: peer,
            id,
            addr: None,
        };
        let ext = self.cx.request_ext();
        let reuse = SessionUse::ReuseOnly;
        if self
            .call(candidate, Request::Ping, ext, CallTag::PingBack, reuse)
            .is_some()
        {
            self.cx.counters.count(Counter::PingBacks);
            self.probing.pinged_back.insert(peer);
        }
    }

    pub(crate) fn ping_back_ended(&mut self, peer: &PublicKey, answered: bool) {
        self.probing.pinged_back.remove(peer);
        if !answered {
            self.book.ping_back_failed(peer, self.cx.now.mono);
        } else if self.table.get(&peer.id()).is_none() {
            self.book.no_room(peer, self.cx.now.mono);
        }
        self.resume_waiting();
    }

    /// A peer answered a call: it belongs into the table.
    pub(crate) fn peer_answered(&mut self, peer: &Candidate, path: Option<Path>) {
        self.probing.failures_in_a_row = 0;
        let reach = path.map(|path| path.reach);
        let own = self.book.own_address(&peer.key);
        let known = self.table.get(&peer.id).and_then(|contact| contact.addr);
        // A host may have several addresses; what it says itself is not given up for another one.
        let dialled = path.filter(|path| path.reach == Reach::Dialled);
        let dialled = dialled.and_then(|path| path.remote).map(canonical);
        let sighting = Sighting {
            key: peer.key,
            addr: dialled.filter(|addr| known.is_none() || own == Some(*addr)),
            reachable: matches!(reach, Some(Reach::Dialled | Reach::Relayed)),
        };
        match self.table.insert_or_touch(&sighting, self.cx.now) {
            Touch::Itself | Touch::Refreshed => {}
            Touch::Added => self.peer_added(peer.key),
            Touch::Replaced { removed } => {
                self.peer_added(peer.key);
                self.peer_removed(removed);
            }
            Touch::Full { oldest, ping } => {
                if ping {
                    self.ping_oldest(oldest);
                }
            }
        }
        let contact = self.table.get(&peer.id);
        if let (Some(contact), Some(addr)) = (contact, own)
            && (!contact.reachable || contact.addr != own)
        {
            self.probe(peer.key, addr);
        }
    }

    fn peer_added(&mut self, peer: PublicKey) {
        self.schedule_proof();
        self.cx.counters.count(Counter::PeersAdded);
        self.cx.event(Event::PeerAdded { peer });
    }

    fn peer_removed(&mut self, id: NodeId) {
        self.cx.counters.count(Counter::PeersRemoved);
        self.cx.event(Event::PeerRemoved { id });
    }

    fn ping_oldest(&mut self, oldest: NodeId) {
        if self.ping_contact(oldest, CallTag::Eviction) {
            self.cx.counters.count(Counter::EvictionPings);
        }
    }

    /// Asks a peer of the table for a sign of life, which decides whether it stays.
    pub(crate) fn ping_contact(&mut self, id: NodeId, purpose: CallTag) -> bool {
        let Some(contact) = self.table.get(&id) else {
            return false;
        };
        let peer = Candidate {
            key: contact.key,
            id: contact.id,
            addr: contact.addr,
        };
        let ext = self.cx.request_ext();
        let reuse = SessionUse::ReuseOrDial;
        let asked = self
            .call(peer, Request::Ping, ext, purpose, reuse)
            .is_some();
        if !asked {
            self.table.failed(&id, Blame::Unclear);
        }
        asked
    }

    /// A call to a peer failed.
    pub(crate) fn peer_failed(&mut self, peer: &Candidate, failure: CallFailure, why: CallTag) {
        let ours = match failure {
            CallFailure::Open(OpenFailure::Overloaded | OpenFailure::Closing) => true,
            // Only an existing session was allowed; that there is none says nothing.
            CallFailure::Open(OpenFailure::NoAddress) => why == CallTag::PingBack,
            _ => false,
        };
        self.probing.failures_in_a_row = self.probing.failures_in_a_row.saturating_add(1);
        let blame = if ours || self.probing.failures_in_a_row > ALL_FAIL {
            Blame::Unclear
        } else {
            Blame::Peer
        };
        if let Failed::Removed { replacement } = self.table.failed(&peer.id, blame) {
            let entered = replacement
                .and_then(|id| self.table.get(&id))
                .map(|it| it.key);
            if let Some(key) = entered {
                self.peer_added(key);
            }
            if why == CallTag::Eviction {
                self.cx.counters.count(Counter::PingEvictions);
            }
            self.peer_removed(peer.id);
        }
    }

    /// Finds out whether others can dial a peer that so far only dialled us.
    fn probe(&mut self, peer: PublicKey, addr: SocketAddr) {
        let now = self.cx.now.mono;
        if self.probing.probed.contains(&peer) || self.book.address_paused(&addr, now) {
            return;
        }
        if self.probing.probes.len() >= self.cx.config.limits.probes {
            return self.cx.hit(Limit::probes);
        }
        self.cx.counters.count(Counter::Probes);
        self.probing.last += 1;
        let probe = ProbeId(self.probing.last);
        self.probing.probes.insert(probe, (peer, addr));
        self.probing.probed.insert(peer);
        self.cx.output(Output::Probe { probe, peer, addr });
    }

    /// A probe ended.
    pub(crate) fn probed(
        &mut self,
        probe: ProbeId,
        result: Result<(), OpenFailure>,
    ) -> Result<(), Misuse> {
        let (peer, addr) = self
            .probing
            .probes
            .remove(&probe)
            .ok_or(Misuse::UnknownProbe(probe))?;
        self.probing.probed.remove(&peer);
        let now = self.cx.now.mono;
        match result {
            Ok(()) => {
                self.book.reached(&peer, addr, now);
                self.table.set_reach(&peer.id(), Some(addr), true);
            }
            Err(OpenFailure::Overloaded | OpenFailure::Closing) => {}
            Err(_) => {
                self.cx.counters.count(Counter::ProbesFailed);
                self.book.pause_address(addr, now);
                // Where it says it is nobody answers for it, so it is handed out no more.
                if self.table.get(&peer.id()).and_then(|it| it.addr) == Some(addr) {
                    self.table.set_reach(&peer.id(), Some(addr), false);
                }
            }
        }
        Ok(())
    }
}

/// Whether an address that a peer names can be a destination at all.
fn is_dialable(addr: &SocketAddr) -> bool {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    ip && addr.port() != 0
}
