//! Tests of the network alone. By default there are no faults; each test requests one and checks
//! its effect.

mod dials;
mod harm;
mod presence;
mod reading;

use std::time::Duration;

use skydht_core::key::SecretKey;
use skydht_core::node::{Addrs, Path, ProbeId, SessionUse, StreamId};

use super::*;

pub(crate) const MS: Duration = Duration::from_millis(1);
/// Latency in one direction, unless a test sets another.
pub(crate) const WAY: Duration = Duration::from_millis(50);

pub(crate) const A: HostId = HostId(0);
pub(crate) const B: HostId = HostId(1);
pub(crate) const C: HostId = HostId(2);

pub(crate) fn key(host: HostId) -> PublicKey {
    let mut entropy = [9; 32];
    entropy[..4].copy_from_slice(&host.0.to_be_bytes());
    SecretKey::from_entropy(&entropy).public()
}

pub(crate) fn addrs(host: HostId) -> Addrs {
    Access::numbered(host).addr.into_iter().collect()
}

/// A network of three hosts and everything delivered to them.
pub(crate) struct Bench {
    pub(crate) network: Network,
    pub(crate) now: SimTime,
    pub(crate) learnt: Vec<(Duration, HostId, Delivery)>,
}

impl Bench {
    pub(crate) fn new(faults: Faults, transport: Transport) -> Self {
        let mut network = Network::new(5, faults, transport);
        for host in [A, B, C] {
            network.add_host(key(host), Access::numbered(host));
            network.arrive_host(host);
        }
        Self {
            network,
            now: SimTime::ZERO,
            learnt: Vec::new(),
        }
    }

    /// A bench in which only faults differ from the default.
    pub(crate) fn with(change: impl FnOnce(&mut Faults)) -> Self {
        let mut faults = Faults::default();
        change(&mut faults);
        Self::new(faults, Transport::default())
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now.plus(time);
        loop {
            while let Some((host, what)) = self.network.poll_output() {
                self.learnt
                    .push((self.now.since(SimTime::ZERO), host, what));
            }
            let Some(at) = self.network.next_at().filter(|at| *at <= end) else {
                break;
            };
            self.now = at;
            self.network.advance(at);
            self.network.tick();
        }
        self.now = end;
        self.network.advance(end);
    }

    /// Deliveries since the last call.
    pub(crate) fn take(&mut self) -> Vec<(Duration, HostId, Delivery)> {
        self.run(Duration::ZERO);
        std::mem::take(&mut self.learnt)
    }

    pub(crate) fn open(&mut self, from: HostId, stream: u64, to: HostId) {
        let open = Request::Open {
            stream: StreamId(stream),
            peer: key(to),
            addrs: addrs(to),
            session: SessionUse::ReuseOrDial,
        };
        self.network.handle(from, open);
    }

    pub(crate) fn reuse(&mut self, from: HostId, stream: u64, to: HostId) {
        let open = Request::Open {
            stream: StreamId(stream),
            peer: key(to),
            addrs: Addrs::new(),
            session: SessionUse::ReuseOnly,
        };
        self.network.handle(from, open);
    }

    pub(crate) fn send(&mut self, from: HostId, stream: u64, bytes: &[u8]) {
        let stream = StreamId(stream);
        let bytes = bytes.into();
        self.network.handle(from, Request::Send { stream, bytes });
    }

    pub(crate) fn close(&mut self, from: HostId, stream: u64, graceful: bool) {
        let stream = StreamId(stream);
        self.network
            .handle(from, Request::Close { stream, graceful });
    }

    /// Opens stream 0 from A to B; then time and log start again.
    pub(crate) fn connected(mut self) -> Self {
        self.open(A, 0, B);
        self.run(SECOND);
        let learnt = self.take();
        assert!(
            learnt
                .iter()
                .any(|(_, host, what)| { *host == A && matches!(what, Delivery::Opened { .. }) })
        );
        assert!(learnt.iter().any(|(_, host, what)| *host == B
            && matches!(what, Delivery::Accepted { stream: StreamId(1), peer, .. } if *peer == key(A))));
        self
    }

    /// All bytes that a host got on a stream, and when the last of them came.
    pub(crate) fn bytes(&mut self, host: HostId, stream: u64) -> (Vec<u8>, Option<Duration>) {
        self.run(Duration::ZERO);
        let mut all = Vec::new();
        let mut last = None;
        for (at, to, what) in &self.learnt {
            if let Delivery::Bytes { stream: on, bytes } = what
                && (*to, on.0) == (host, stream)
            {
                all.extend_from_slice(bytes);
                last = Some(*at);
            }
        }
        (all, last)
    }

    /// When a host first got this delivery.
    pub(crate) fn when(&mut self, host: HostId, what: &Delivery) -> Option<Duration> {
        self.run(Duration::ZERO);
        let it = self.learnt.iter();
        it.filter(|(_, to, it)| *to == host && it == what)
            .map(|(at, ..)| *at)
            .next()
    }
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn reset(stream: u64) -> Delivery {
    Delivery::Closed {
        stream: StreamId(stream),
        end: StreamEnd::Reset,
    }
}

pub(crate) fn finished(stream: u64) -> Delivery {
    Delivery::Closed {
        stream: StreamId(stream),
        end: StreamEnd::Finished,
    }
}

pub(crate) fn failed(stream: u64, reason: OpenFailure) -> Delivery {
    let stream = StreamId(stream);
    Delivery::Failed { stream, reason }
}

pub(crate) fn sent(stream: u64) -> Delivery {
    let stream = StreamId(stream);
    Delivery::Sent { stream }
}
