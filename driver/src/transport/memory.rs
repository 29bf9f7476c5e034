//! Streams between nodes of one process, without sockets: for tests of this crate and of its users.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use skydht_core::key::PublicKey;
use skydht_core::node::{Addrs, OpenFailure, Path, Reach, SessionUse};
use skydht_runtime::BoxFuture;
use skydht_runtime::pipe::{self, Cutter, OnDrop, Pipe};

use super::{Accepted, Transport, TransportStats};

/// Maximum number of streams that wait to be accepted by one node; further opens fail as
/// overloaded.
pub const ACCEPT_QUEUE: usize = 1_024;

/// A network in memory. Clones refer to the same network.
///
/// It works like a relay: peers are found by key, without addresses, and every node on the network
/// can be reached. Keys are trusted rather than proven, since all nodes are in one process.
#[derive(Clone, Default)]
pub struct MemoryNetwork(Arc<Mutex<BTreeMap<PublicKey, Weak<MemoryNode>>>>);

struct MemoryNode {
    key: PublicKey,
    inbox: Mutex<Inbox>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Inbox {
    waiting: VecDeque<(PublicKey, Pipe)>,
    /// Handles that break the node's streams. Handles of streams that both ends have dropped are
    /// removed when the length reaches `sweep_at`.
    cutters: Vec<Cutter>,
    sweep_at: usize,
    closed: bool,
    stats: TransportStats,
}

impl MemoryNode {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn remember(&mut self, cutter: Cutter) {
        if self.cutters.len() >= self.sweep_at {
            self.cutters.retain(|cutter| !cutter.is_gone());
            self.sweep_at = 2 * self.cutters.len() + 16;
        }
        self.cutters.push(cutter);
    }
}

impl MemoryNetwork {
    /// Creates an empty network.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node to the network. It replaces an earlier one with the same key.
    #[must_use]
    pub fn transport(&self, key: PublicKey) -> MemoryTransport {
        let node = Arc::new(MemoryNode {
            key,
            inbox: Mutex::default(),
            waker: AtomicWaker::new(),
        });
        self.lock().insert(key, Arc::downgrade(&node));
        MemoryTransport {
            network: self.clone(),
            node,
        }
    }

    /// Breaks every stream that was opened to or by `key`, like the loss of a session. Returns
    /// whether the node is on the network.
    pub fn disconnect(&self, key: &PublicKey) -> bool {
        let Some(node) = self.find(key) else {
            return false;
        };
        let cutters = std::mem::take(&mut node.inbox().cutters);
        cutters.iter().for_each(Cutter::cut);
        true
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PublicKey, Weak<MemoryNode>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &PublicKey) -> Option<Arc<MemoryNode>> {
        self.lock().get(key)?.upgrade()
    }

    fn connect(&self, from: &MemoryNode, to: &PublicKey) -> Result<Pipe, OpenFailure> {
        if from.inbox().closed {
            return Err(OpenFailure::Closing);
        }
        let target = self.find(to).ok_or(OpenFailure::Unreachable)?;
        let (near, far) = pipe::pair(pipe::DEFAULT_CAPACITY, OnDrop::Reset);
        let mut inbox = target.inbox();
        if inbox.closed {
            return Err(OpenFailure::Unreachable);
        }
        if inbox.waiting.len() >= ACCEPT_QUEUE {
            inbox.stats.refused += 1;
            return Err(OpenFailure::Overloaded);
        }
        inbox.remember(far.cutter());
        inbox.waiting.push_back((from.key, far));
        drop(inbox);
        target.waker.wake();
        from.inbox().remember(near.cutter());
        Ok(near)
    }
}

/// The transport of one node on a [`MemoryNetwork`].
pub struct MemoryTransport {
    network: MemoryNetwork,
    node: Arc<MemoryNode>,
}

const PATH: Path = Path {
    reach: Reach::Relayed,
    remote: None,
};

impl Transport for MemoryTransport {
    type Stream = Pipe;

    fn local_key(&self) -> PublicKey {
        self.node.key
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }

    fn open(
        &self,
        peer: PublicKey,
        _: Addrs,
        _: SessionUse,
    ) -> BoxFuture<'static, Result<(Pipe, Path), OpenFailure>> {
        let (network, node) = (self.network.clone(), Arc::clone(&self.node));
        Box::pin(async move { network.connect(&node, &peer).map(|pipe| (pipe, PATH)) })
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<Accepted<Pipe>>> {
        self.node.waker.register(cx.waker());
        let mut inbox = self.node.inbox();
        match inbox.waiting.pop_front() {
            Some((peer, stream)) => Poll::Ready(Some(Accepted {
                peer,
                path: PATH,
                stream,
            })),
            None if inbox.closed => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn probe(&self, _: PublicKey, _: SocketAddr) -> BoxFuture<'static, Result<(), OpenFailure>> {
        Box::pin(std::future::ready(Err(OpenFailure::NoAddress)))
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let mut inbox = self.node.inbox();
        inbox.closed = true;
        let waiting = std::mem::take(&mut inbox.waiting);
        let cutters = std::mem::take(&mut inbox.cutters);
        drop(inbox);
        drop(waiting);
        cutters.iter().for_each(Cutter::hang_up);
        self.node.waker.wake();
        Box::pin(std::future::ready(()))
    }

    fn stats(&self) -> TransportStats {
        self.node.inbox().stats
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        let mut nodes = self.network.lock();
        // Keep a later node with the same key.
        if nodes
            .get(&self.node.key)
            .is_some_and(|node| std::ptr::eq(node.as_ptr(), Arc::as_ptr(&self.node)))
        {
            nodes.remove(&self.node.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use skydht_core::node::SessionUse::ReuseOrDial;

    use super::*;

    fn key(n: u8) -> PublicKey {
        let mut bytes = [2; 33];
        bytes[1] = n;
        PublicKey::from_bytes(&bytes).unwrap()
    }

    fn open(from: &MemoryTransport, to: u8) -> Result<Pipe, OpenFailure> {
        block_on(from.open(key(to), Addrs::default(), ReuseOrDial)).map(|(pipe, _)| pipe)
    }

    fn accept(at: &MemoryTransport) -> Poll<Option<Pipe>> {
        let accepted = at.poll_accept(&mut Context::from_waker(std::task::Waker::noop()));
        accepted.map(|it| it.map(|it| it.stream))
    }

    #[test]
    fn connections_and_nodes_that_are_gone_leave_nothing() {
        let network = MemoryNetwork::new();
        let (one, two) = (network.transport(key(1)), network.transport(key(2)));
        for _ in 0..1_000 {
            let near = open(&one, 2).unwrap();
            let far = accept(&two);
            assert!(matches!(far, Poll::Ready(Some(_))));
            drop((near, far));
        }
        for node in [&one.node, &two.node] {
            assert!(node.inbox().cutters.len() < 20);
        }
        // A later node with the same key stays when the earlier one is dropped.
        let again = network.transport(key(2));
        drop(two);
        assert!(open(&one, 2).is_ok());
        drop((one, again));
        assert!(network.lock().is_empty());
    }

    #[test]
    fn a_queue_that_is_full_refuses_counts_and_has_room_again() {
        let network = MemoryNetwork::new();
        let (one, two) = (network.transport(key(1)), network.transport(key(2)));
        assert!(accept(&two).is_pending());
        let held: Vec<_> = (0..ACCEPT_QUEUE).map(|_| open(&one, 2).unwrap()).collect();
        for _ in 0..2 {
            assert_eq!(open(&one, 2).err(), Some(OpenFailure::Overloaded));
        }
        assert_eq!((two.stats().refused, one.stats().refused), (2, 0));
        assert!(accept(&two).is_ready());
        assert!(open(&one, 2).is_ok());
        assert!(network.disconnect(&key(2)) && !network.disconnect(&key(3)));
        drop(held);
    }
}
