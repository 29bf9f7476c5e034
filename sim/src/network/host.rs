//! Hosts in the network: number, access, requests and deliveries.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;
use skydht_core::node::{Addrs, OpenFailure, Path, ProbeId, SessionUse, StreamEnd, StreamId};

/// Number of a host, from 0 in the order of adding.
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

/// How a host can be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// Its address; `None` if it uses only relays.
    pub addr: Option<SocketAddr>,
    /// Whether a dial to the address arrives; false behind a NAT.
    pub listens: bool,
    /// Whether it can dial and be dialled by key over a relay (DMSG).
    pub relayed: bool,
}

impl Access {
    /// A host that can be dialled at an address.
    #[must_use]
    pub const fn direct(addr: SocketAddr) -> Self {
        Self {
            addr: Some(addr),
            listens: true,
            relayed: false,
        }
    }

    /// A host that dials from an address where it cannot be dialled.
    #[must_use]
    pub const fn behind_nat(addr: SocketAddr) -> Self {
        Self {
            addr: Some(addr),
            listens: false,
            relayed: false,
        }
    }

    /// A host that is reached by key over a relay.
    #[must_use]
    pub const fn relayed() -> Self {
        Self {
            addr: None,
            listens: false,
            relayed: true,
        }
    }

    /// A host with a direct address that is unique for its number.
    #[must_use]
    pub fn numbered(host: HostId) -> Self {
        let [a, b, c, d] = host.0.to_be_bytes();
        Self::direct(SocketAddr::from(([10 + a, b, c, d], 4400)))
    }
}

/// How a host goes down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    /// The process ends, but the machine stays: its peers' streams are reset immediately, and dials
    /// are refused.
    Process,
    /// The machine vanishes: there is no answer until its peers' sessions time out.
    Machine,
}

/// A request of a host to the network.
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

/// An event that the network delivers to a host.
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
