//! Hosts as the network knows them: number, access, what they want and what they learn.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;
use skydht_core::node::{Addrs, OpenFailure, Path, ProbeId, SessionUse, StreamEnd, StreamId};

/// A host, numbered from 0 in the order of adding.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct HostId(pub u32);

impl HostId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host {}", self.0)
    }
}

/// How others reach a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// Its address; none if it only uses relays.
    pub addr: Option<SocketAddr>,
    /// Whether a dial to the address arrives; not so behind a NAT.
    pub listens: bool,
    /// Whether it can dial and be dialled by its key, over a relay (DMSG).
    pub relayed: bool,
}

impl Access {
    /// Dialled at an address.
    #[must_use]
    pub const fn direct(addr: SocketAddr) -> Self {
        Self {
            addr: Some(addr),
            listens: true,
            relayed: false,
        }
    }

    /// Dials from an address where it cannot be dialled.
    #[must_use]
    pub const fn behind_nat(addr: SocketAddr) -> Self {
        Self {
            addr: Some(addr),
            listens: false,
            relayed: false,
        }
    }

    /// Reached by its key.
    #[must_use]
    pub const fn relayed() -> Self {
        Self {
            addr: None,
            listens: false,
            relayed: true,
        }
    }

    /// A direct address for each number, none twice.
    #[must_use]
    pub fn numbered(host: HostId) -> Self {
        let [a, b, c, d] = host.0.to_be_bytes();
        Self::direct(SocketAddr::from(([10 + a, b, c, d], 4400)))
    }
}

/// What becomes of a host that goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    /// The process ends, the machine stays: its peers' streams are reset at once, and dials are
    /// refused.
    Process,
    /// The machine vanishes: silence, until its peers' sessions time out.
    Machine,
}

/// What a host wants of the network.
pub(crate) enum Request {
    Open {
        stream: StreamId,
        peer: PublicKey,
        addrs: Addrs,
        session: SessionUse,
    },
    Send {
        stream: StreamId,
        bytes: Arc<[u8]>,
    },
    Close {
        stream: StreamId,
        graceful: bool,
    },
    Pause {
        stream: StreamId,
    },
    Resume {
        stream: StreamId,
    },
    Probe {
        probe: ProbeId,
        peer: PublicKey,
        addr: SocketAddr,
    },
}

/// What a host learns from the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Delivery {
    Opened {
        stream: StreamId,
        path: Path,
    },
    Failed {
        stream: StreamId,
        reason: OpenFailure,
    },
    Accepted {
        stream: StreamId,
        peer: PublicKey,
        path: Path,
    },
    Bytes {
        stream: StreamId,
        bytes: Arc<[u8]>,
    },
    Sent {
        stream: StreamId,
    },
    Closed {
        stream: StreamId,
        end: StreamEnd,
    },
    Probed {
        probe: ProbeId,
        result: Result<(), OpenFailure>,
    },
}
