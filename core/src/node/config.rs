//! The configuration of a node.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::{PublicKey, SecretKey};
use crate::node::limits::{ConfigError, Limits};

/// Peers in a bucket, replicas of an item (Kademlia's k).
pub const K: usize = 20;
/// Requests of a lookup in flight (Kademlia's alpha).
pub const ALPHA: usize = 3;
/// How long an item lives after its signer last vouched for it.
pub const ITEM_TTL: Duration = Duration::from_secs(2 * 60 * 60);
/// Hard deadline of a call: it fails after this time, opening the stream included.
pub const HARD_DEADLINE: Duration = Duration::from_secs(10);
/// Maximum time that an unanswered call occupies the window of a lookup.
pub const MAX_SOFT_DEADLINE: Duration = Duration::from_secs(2);
/// Minimum soft deadline, whatever the measured round trips.
pub const MIN_SOFT_DEADLINE: Duration = Duration::from_millis(100);
/// Soft deadline for a peer without measured round trips.
pub const INITIAL_SOFT_DEADLINE: Duration = Duration::from_secs(1);
/// Default deadline of an operation.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
/// Minimum interval between two publications under a higher sequence of an item that Go nodes hold.
pub const GO_RENEWAL: Duration = Duration::from_secs(45 * 60);

/// A peer through which the node may join the network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BootstrapPeer {
    /// Its key; the transport proves it.
    pub key: PublicKey,
    /// Where to dial; empty where the transport finds peers by key (DMSG).
    pub addrs: Vec<SocketAddr>,
}

/// What a node announces to peers about where it can be dialled directly.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advertise {
    /// Nothing.
    #[default]
    Nothing,
    /// A port on the address at which the peer sees this node.
    Port(u16),
    /// A complete socket address.
    Address(SocketAddr),
}

/// The configuration of a node.
///
/// `Config::default()` is a regular node without bootstrap peers; every default is one of this
/// module's constants or of [`Limits`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Config {
    /// Bucket size and number of replicas of an item.
    pub k: usize,
    /// Number of concurrent requests of a lookup.
    pub alpha: usize,
    /// Disjoint lookup paths (S/Kademlia §4.4); 1 is plain Kademlia.
    pub disjoint_paths: usize,
    /// Peers through which the node joins; empty: it waits until peers find it.
    pub bootstrap: Vec<BootstrapPeer>,
    /// What to announce to peers about dialling this node.
    pub advertise: Advertise,
    /// Whether the driver writes [`Output::Persist`](crate::node::Output::Persist) somewhere.
    pub storage: bool,
    /// Whether the node answers requests. A one-shot client announces that it does not, and peers
    /// keep it out of their routing tables.
    pub serve: bool,
    /// Whether the node stores every item, whatever its distance.
    pub full_node: bool,
    /// Lifetime of an item after its signer last vouched for it.
    pub item_ttl: Duration,
    /// Keys whose owner items never expire and are never evicted.
    pub whitelisted: Vec<PublicKey>,
    /// Keys of a second tier with the same exemptions as `whitelisted`.
    pub trusted: Vec<PublicKey>,
    /// Keys from which mirrored items are accepted.
    pub mirrors: Vec<PublicKey>,
    /// Peers from which items of these mirrors are accepted without a binding signature: full nodes
    /// of upstream's implementation that pass on what a mirror gave them. Such a peer can put an
    /// item of a mirror at a wrong target, so name only your own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirror_relays: Vec<PublicKey>,
    /// Hard deadline of a call, opening the stream included.
    pub hard_deadline: Duration,
    /// Default deadline of an operation.
    pub operation_timeout: Duration,
    /// Bounds on memory, connections and work.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            k: K,
            alpha: ALPHA,
            disjoint_paths: 1,
            bootstrap: Vec::new(),
            advertise: Advertise::Nothing,
            storage: false,
            serve: true,
            full_node: false,
            item_ttl: ITEM_TTL,
            whitelisted: Vec::new(),
            trusted: Vec::new(),
            mirrors: Vec::new(),
            mirror_relays: Vec::new(),
            hard_deadline: HARD_DEADLINE,
            operation_timeout: OPERATION_TIMEOUT,
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of its range or holds a key that is not on the curve.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let range = |field, allowed, ok: bool, got: usize| {
            if ok {
                Ok(())
            } else {
                Err(ConfigError::OutOfRange {
                    field,
                    allowed,
                    got: got as u64,
                })
            }
        };
        range("k", "1 to 64", (1..=64).contains(&self.k), self.k)?;
        range(
            "alpha",
            "1 to 16",
            (1..=16).contains(&self.alpha),
            self.alpha,
        )?;
        let paths = self.disjoint_paths;
        range("disjoint_paths", "1 to 8", (1..=8).contains(&paths), paths)?;
        let ttl = usize::try_from(self.item_ttl.as_secs()).unwrap_or(usize::MAX);
        range(
            "item_ttl",
            "1 second to 30 days",
            (1..=2_592_000).contains(&ttl),
            ttl,
        )?;
        for (field, deadline) in [
            ("hard_deadline", self.hard_deadline),
            ("operation_timeout", self.operation_timeout),
        ] {
            let millis = usize::try_from(deadline.as_millis()).unwrap_or(usize::MAX);
            let ok = (100..=3_600_000).contains(&millis);
            range(field, "100 ms to an hour", ok, millis)?;
        }
        for (field, keys) in [
            ("whitelisted", &self.whitelisted),
            ("trusted", &self.trusted),
            ("mirrors", &self.mirrors),
            ("mirror_relays", &self.mirror_relays),
        ] {
            if let Some(key) = keys.iter().find(|key| key.check_curve().is_err()) {
                return Err(ConfigError::Key { field, key: *key });
            }
        }
        if let Some(peer) = self
            .bootstrap
            .iter()
            .find(|peer| peer.key.check_curve().is_err())
        {
            return Err(ConfigError::Key {
                field: "bootstrap",
                key: peer.key,
            });
        }
        self.limits.validate()
    }
}

/// The identity of a node.
#[derive(Clone, Debug)]
pub enum Identity {
    /// The node has its secret key and can sign.
    Keyed(SecretKey),
    /// The node replays a journal, which supplies the signatures.
    PublicOnly(PublicKey),
}

impl Identity {
    /// The node's public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        match self {
            Self::Keyed(secret) => secret.public(),
            Self::PublicOnly(key) => *key,
        }
    }
}
