//! What calls and callers reveal about peers: who enters and leaves the routing table, and where
//! peers can be dialled.

pub(crate) mod clocks;
pub(crate) mod proof;
pub(crate) mod records;

pub use clocks::PeersClock;
pub use proof::{PACE, PROVE_AFTER, PROVE_GRACE};

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::address::canonical;
use crate::id::NodeId;
use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::context::Context;
use crate::node::counters::Counter;
use crate::node::ids::{CallId, CallTag, ProbeId};
use crate::node::input::{Misuse, OpenFailure, Path, Reach};
use crate::node::limits::Limit;
use crate::node::output::{Event, Output, SessionUse};
use crate::node::peers::clocks::PeerClocks;
use crate::node::peers::records::{Dialect, PeerStore};
use crate::node::rpc::calls::{CallEnded, CallFailure, Calls};
use crate::node::timers::Timer;
use crate::routing::{Blame, Candidacy, Contact, Failed, InsertResult, PeerUpdate, Table};
use crate::wire::{Advertised, Request, RequestExt};

/// Number of consecutive failed calls, to any peers, after which the fault is probably local.
const ALL_FAIL: u32 = 16;
/// Delay until bootstrap peers are contacted after the last live peer is lost.
const CUT_OFF_PAUSE: Duration = Duration::from_secs(1);

/// Address probes and ping-backs in progress.
#[derive(Default)]
pub(crate) struct Probing {
    probes: BTreeMap<ProbeId, (PublicKey, SocketAddr)>,
    probed: BTreeSet<PublicKey>,
    last: u64,
    pinged_back: BTreeSet<PublicKey>,
    failures_in_a_row: u32,
    /// Number of pings of bootstrap peers in progress.
    pub(crate) bootstrapping: usize,
}

impl Probing {
    pub(crate) fn probes(&self) -> usize {
        self.probes.len()
    }

    pub(crate) fn ping_backs(&self) -> usize {
        self.pinged_back.len()
    }
}

/// The routing table, and what is remembered about peers besides.
pub(crate) struct Peers {
    pub(crate) store: PeerStore,
    pub(crate) table: Table,
    pub(crate) probing: Probing,
    pub(crate) clocks: PeerClocks,
    /// Peers that entered the table since the last `take_newcomers`.
    newcomers: Vec<PublicKey>,
}

impl Peers {
    pub(crate) fn new(cx: &Context, hash_seed: u64) -> Self {
        let (config, limits) = (&cx.config, &cx.config.limits);
        let mut store = PeerStore::new(limits.known_peers, hash_seed);
        for peer in &config.bootstrap {
            store.pin(peer.key, &peer.addrs);
        }
        Self {
            store,
            table: Table::new(cx.id, config.k, limits.replacements),
            probing: Probing::default(),
            clocks: PeerClocks::default(),
            newcomers: Vec::new(),
        }
    }

    /// Returns the peers that entered the table since the last call.
    pub(crate) fn take_newcomers(&mut self) -> Vec<PublicKey> {
        core::mem::take(&mut self.newcomers)
    }

    /// Whether no live peer is known, but bootstrap peers or callers are being pinged. A node
    /// without bootstrap peers learns of others only from their calls.
    pub(crate) fn awaits_first_peer(&self) -> bool {
        let asking = self.probing.bootstrapping > 0 || !self.probing.pinged_back.is_empty();
        asking && !self.table.has_live()
    }

    /// Whether the node is isolated: the last call to every peer failed, or many consecutive calls
    /// failed.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.probing.failures_in_a_row > ALL_FAIL || !self.table.has_live()
    }

    /// Schedules a bootstrap soon if the node has just become isolated.
    fn note_cut_off(&self, cx: &mut Context, before: bool) {
        if !before && self.is_cut_off() && !cx.config.bootstrap.is_empty() {
            let pause = cx.random.maintenance.jitter(CUT_OFF_PAUSE);
            let at = cx.now.mono.plus(pause);
            cx.timers.set_earlier(Timer::Bootstrap, at);
        }
    }

    /// Starts a call; `None` if the limit on calls is reached.
    pub(crate) fn call(
        &mut self,
        cx: &mut Context,
        calls: &mut Calls,
        peer: Candidate,
        request: (Request, RequestExt),
        tag: CallTag,
        session: SessionUse,
    ) -> Option<CallId> {
        let call = calls.start(cx, &mut self.store, peer, request, tag, session)?;
        self.store.call_began(&peer.key, cx.now.mono);
        Some(call)
    }

    /// Cancels a call whose answer is no longer needed. A peer that has been silent for too long
    /// counts as failed, although the hard deadline has not passed.
    pub(crate) fn abandon_call(&mut self, cx: &mut Context, calls: &mut Calls, call: CallId) {
        let now = cx.now.mono;
        if let Some((peer, addrs)) = calls.abandon(cx, call) {
            if self.store.is_overdue(&peer, now) {
                self.store.unreachable(&peer, &addrs, now);
            }
            self.store.call_ended(&peer, now);
        }
    }

    /// Records what the end of a call says about its peer.
    pub(crate) fn note_call(&mut self, cx: &mut Context, calls: &mut Calls, ended: &CallEnded) {
        let (peer, now) = (&ended.peer, cx.now.mono);
        if let Some(addrs) = &ended.unreachable {
            self.store.unreachable(&peer.key, addrs, now);
        }
        self.store.call_ended(&peer.key, now);
        match &ended.result {
            Ok(message) => {
                let dialect = match message.ext {
                    Some(_) => Dialect::Skydht,
                    None => Dialect::Go,
                };
                // The time to open the stream counts, since the next call may have to open one,
                // too. The time of a long poll depends on the server.
                let is_poll = matches!(ended.tag, CallTag::Poll(_));
                let rtt = (!is_poll).then(|| now.since(ended.started));
                self.store.answered(&peer.key, rtt, dialect, now);
                let advertised = message.ext.as_ref().and_then(|ext| ext.addr);
                self.note_advertised(cx, &peer.key, advertised, ended.path);
                self.answered(cx, calls, peer, ended.path);
            }
            Err(failure) => self.failed(cx, peer, *failure, ended.tag),
        }
    }

    /// Records the path of a stream to `peer`.
    pub(crate) fn note_path(&mut self, cx: &Context, peer: &PublicKey, path: Path) {
        if let (Reach::Dialled, Some(addr)) = (path.reach, path.remote) {
            self.store.reached(peer, canonical(addr), cx.now.mono);
        }
    }

    /// Records an address that a peer advertised over its own proven session.
    fn note_advertised(
        &mut self,
        cx: &mut Context,
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
        self.store.claims(peer, addr, cx.now.mono);
        let contact = self.table.get(&peer.id());
        if contact.is_none_or(|contact| contact.addr == Some(addr)) {
            return;
        }
        // What a peer advertises over its own session is newer than any address that worked before.
        // If its session comes from that host, the address is passed on immediately. Otherwise a
        // probe has to confirm it first, since the peer could direct others to a victim.
        if seen_at == Some(addr.ip()) {
            self.table.set_addr(&peer.id(), addr);
        }
        self.probe(cx, *peer, addr);
    }

    /// Takes a request of a peer as a sign of life, and pings back a peer that is not in the table.
    pub(crate) fn note_caller(
        &mut self,
        cx: &mut Context,
        calls: &mut Calls,
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
        self.note_advertised(cx, &peer, ext.and_then(|ext| ext.addr), path);
        // A peer to which calls failed may be back; an answer over its own session proves it.
        if live
            || cx.stopping
            || self.store.is_ping_back_paused(&peer, cx.now.mono)
            || self.probing.pinged_back.contains(&peer)
        {
            return;
        }
        if !known {
            match self.table.candidacy_of(&id, cx.now.mono) {
                Candidacy::None => return,
                Candidacy::Reminder { oldest } => return self.ping_oldest(cx, calls, oldest),
                Candidacy::Member => {}
            }
        }
        if self.probing.pinged_back.len() >= cx.config.limits.ping_backs {
            return cx.hit(Limit::ping_backs);
        }
        let candidate = Candidate {
            key: peer,
            id,
            addr: None,
        };
        let ping = (Request::Ping, cx.request_ext());
        let reuse = SessionUse::ReuseOnly;
        let call = self.call(cx, calls, candidate, ping, CallTag::PingBack, reuse);
        if call.is_some() {
            cx.counters.count(Counter::PingBacks);
            self.probing.pinged_back.insert(peer);
        }
    }

    /// Takes the result of pinging a caller back.
    pub(crate) fn ping_back_ended(&mut self, cx: &Context, peer: &PublicKey, answered: bool) {
        self.probing.pinged_back.remove(peer);
        if !answered {
            self.store.ping_back_failed(peer, cx.now.mono);
        } else if self.table.get(&peer.id()).is_none() {
            self.store.bucket_full(peer, cx.now.mono);
        }
    }

    /// Adds or refreshes a peer in the table after an answer.
    fn answered(
        &mut self,
        cx: &mut Context,
        calls: &mut Calls,
        peer: &Candidate,
        path: Option<Path>,
    ) {
        self.probing.failures_in_a_row = 0;
        let reach = path.map(|path| path.reach);
        let own = self.store.own_address(&peer.key);
        let known = self.table.get(&peer.id).and_then(|contact| contact.addr);
        // A host may have several addresses; the one it advertises is not replaced by another that
        // worked.
        let dialled = path.filter(|path| path.reach == Reach::Dialled);
        let dialled = dialled.and_then(|path| path.remote).map(canonical);
        let update = PeerUpdate {
            key: peer.key,
            addr: dialled.filter(|addr| known.is_none() || own == Some(*addr)),
            reachable: matches!(reach, Some(Reach::Dialled | Reach::Relayed)),
        };
        match self.table.insert_or_update(&update, cx.now) {
            InsertResult::Itself | InsertResult::Refreshed => {}
            InsertResult::Added => self.added(cx, peer.key),
            InsertResult::Replaced { removed } => {
                self.added(cx, peer.key);
                note_removed(cx, removed);
            }
            InsertResult::Full { oldest, ping } => {
                if ping {
                    self.ping_oldest(cx, calls, oldest);
                }
            }
        }
        let contact = self.table.get(&peer.id);
        if let (Some(contact), Some(addr)) = (contact, own)
            && (!contact.reachable || contact.addr != own)
        {
            self.probe(cx, peer.key, addr);
        }
    }

    fn added(&mut self, cx: &mut Context, peer: PublicKey) {
        self.newcomers.push(peer);
        self.schedule_proof(cx);
        cx.counters.count(Counter::PeersAdded);
        cx.event(Event::PeerAdded { peer });
    }

    fn ping_oldest(&mut self, cx: &mut Context, calls: &mut Calls, oldest: NodeId) {
        if self.ping_contact(cx, calls, oldest, CallTag::Eviction) {
            cx.counters.count(Counter::EvictionPings);
        }
    }

    /// Pings a peer of the table; the result decides whether it stays.
    pub(crate) fn ping_contact(
        &mut self,
        cx: &mut Context,
        calls: &mut Calls,
        id: NodeId,
        tag: CallTag,
    ) -> bool {
        let Some(contact) = self.table.get(&id) else {
            return false;
        };
        let peer = Candidate {
            key: contact.key,
            id: contact.id,
            addr: contact.addr,
        };
        let ping = (Request::Ping, cx.request_ext());
        let reuse = SessionUse::ReuseOrDial;
        let asked = self.call(cx, calls, peer, ping, tag, reuse).is_some();
        if !asked {
            self.table.failed(&id, Blame::Unclear);
        }
        asked
    }

    /// Records a failed call to a peer.
    fn failed(&mut self, cx: &mut Context, peer: &Candidate, failure: CallFailure, why: CallTag) {
        let ours = match failure {
            CallFailure::Open(OpenFailure::Overloaded | OpenFailure::Closing) => true,
            // Only an existing session was allowed, so its absence is not the peer's fault.
            CallFailure::Open(OpenFailure::NoAddress) => why == CallTag::PingBack,
            _ => false,
        };
        let was_cut_off = self.is_cut_off();
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
                self.added(cx, key);
            }
            if why == CallTag::Eviction {
                cx.counters.count(Counter::PingEvictions);
            }
            note_removed(cx, peer.id);
        }
        self.note_cut_off(cx, was_cut_off);
    }

    /// Finds out whether others can dial a peer that has only dialled this node so far.
    fn probe(&mut self, cx: &mut Context, peer: PublicKey, addr: SocketAddr) {
        let now = cx.now.mono;
        if self.probing.probed.contains(&peer) || self.store.address_paused(&addr, now) {
            return;
        }
        if self.probing.probes.len() >= cx.config.limits.probes {
            return cx.hit(Limit::probes);
        }
        cx.counters.count(Counter::Probes);
        self.probing.last += 1;
        let probe = ProbeId(self.probing.last);
        self.probing.probes.insert(probe, (peer, addr));
        self.probing.probed.insert(peer);
        cx.output(Output::Probe { probe, peer, addr });
    }

    /// Takes the result of a probe.
    pub(crate) fn probed(
        &mut self,
        cx: &mut Context,
        probe: ProbeId,
        result: Result<(), OpenFailure>,
    ) -> Result<(), Misuse> {
        let (peer, addr) = self
            .probing
            .probes
            .remove(&probe)
            .ok_or(Misuse::UnknownProbe(probe))?;
        self.probing.probed.remove(&peer);
        let now = cx.now.mono;
        match result {
            Ok(()) => {
                self.store.reached(&peer, addr, now);
                self.table.set_reach(&peer.id(), Some(addr), true);
            }
            Err(OpenFailure::Overloaded | OpenFailure::Closing) => {}
            Err(_) => {
                cx.counters.count(Counter::ProbesFailed);
                self.store.pause_address(addr, now);
                // The peer does not answer at the address that it advertises, so it is no longer
                // named to others.
                if self.table.get(&peer.id()).and_then(|it| it.addr) == Some(addr) {
                    self.table.set_reach(&peer.id(), Some(addr), false);
                }
            }
        }
        Ok(())
    }
}

fn note_removed(cx: &mut Context, id: NodeId) {
    cx.counters.count(Counter::PeersRemoved);
    cx.event(Event::PeerRemoved { id });
}

/// Whether an address that a peer names can be dialled at all.
fn is_dialable(addr: &SocketAddr) -> bool {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    ip && addr.port() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_dial_is_one_host_and_has_a_port() {
        let dialable = |text: &str| is_dialable(&text.parse().unwrap());
        for good in ["192.0.2.1:1", "10.0.0.1:65535", "[2001:db8::1]:7"] {
            assert!(dialable(good), "{good}");
        }
        for bad in [
            "192.0.2.1:0",
            "[2001:db8::1]:0",
            "0.0.0.0:1",
            "255.255.255.255:1",
            "224.0.0.1:1",
            "[::]:1",
            "[ff02::1]:1",
        ] {
            assert!(!dialable(bad), "{bad}");
        }
    }
}
