//! One bucket: the peers whose shared prefix with the local id has a certain length.

use alloc::vec::Vec;

use crate::id::NodeId;
use crate::routing::contact::Contact;
use crate::time::Mono;

/// Peers and their replacements. Both lists are ordered from the least recently seen, no peer is in
/// both, and there are replacements only while the bucket is full.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub(super) peers: Vec<Contact>,
    pub(super) replacements: Vec<Contact>,
    /// The peer whose eviction ping is in progress.
    pub(super) pinging: Option<NodeId>,
    /// When a lookup last covered this range; initially, when the bucket was created.
    pub(super) refreshed: Mono,
}

impl Bucket {
    pub(super) fn new(now: Mono) -> Self {
        Self {
            peers: Vec::new(),
            replacements: Vec::new(),
            pinging: None,
            refreshed: now,
        }
    }

    /// The peers whose last call did not fail.
    pub(super) fn live(&self) -> impl Iterator<Item = &Contact> {
        self.peers.iter().filter(|peer| peer.is_live())
    }

    /// The live peers without a sign of life since `since`.
    pub(super) fn silent_since(&self, since: Mono) -> impl Iterator<Item = &Contact> {
        self.live()
            .take_while(move |peer| peer.last_seen.mono < since)
    }

    pub(super) fn position(&self, id: &NodeId) -> Option<usize> {
        self.peers.iter().position(|peer| peer.id == *id)
    }

    /// Moves the peer at `position` to the tail, changing it on the way.
    pub(super) fn move_to_tail(&mut self, position: usize, change: impl FnOnce(&mut Contact)) {
        let mut peer = self.peers.remove(position);
        change(&mut peer);
        if self.pinging == Some(peer.id) {
            self.pinging = None;
        }
        self.peers.push(peer);
    }

    /// Adds the newest replacement; drops the oldest beyond `limit`.
    pub(super) fn remember(&mut self, newcomer: Contact, limit: usize) {
        self.forget_replacement(&newcomer.id);
        self.replacements.push(newcomer);
        if self.replacements.len() > limit {
            self.replacements.remove(0);
        }
    }

    pub(super) fn forget_replacement(&mut self, id: &NodeId) -> Option<Contact> {
        let position = self.replacements.iter().position(|peer| peer.id == *id)?;
        Some(self.replacements.remove(position))
    }

    /// Removes the peer at `position`. The newest replacement takes its place, at the rank of its
    /// own age, and its id is returned.
    pub(super) fn replace(&mut self, position: usize) -> Option<NodeId> {
        let gone = self.peers.remove(position);
        if self.pinging == Some(gone.id) {
            self.pinging = None;
        }
        let newest = self.replacements.pop()?;
        let rank = self
            .peers
            .partition_point(|peer| peer.last_seen.mono <= newest.last_seen.mono);
        self.peers.insert(rank, newest);
        Some(newest.id)
    }
}
