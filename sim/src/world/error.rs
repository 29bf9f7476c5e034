//! What cannot be done with a world.

use std::net::SocketAddr;

use skydht_core::key::PublicKey;
use skydht_core::node::ConfigError;

use crate::network::HostId;

/// The caller asked for something that cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// No host has this number.
    #[error("there is no {0}")]
    UnknownHost(HostId),
    /// Two hosts cannot have one key.
    #[error("{0} has the key {1} already")]
    DuplicateKey(HostId, PublicKey),
    /// Two hosts cannot have one address.
    #[error("{0} has the address {1} already")]
    DuplicateAddress(HostId, SocketAddr),
    /// It runs already.
    #[error("{0} runs already")]
    AlreadyUp(HostId),
    /// It does not run, or is suspended.
    #[error("{0} does not run")]
    NotUp(HostId),
    /// It is not suspended.
    #[error("{0} is not suspended")]
    NotSuspended(HostId),
    /// Its configuration cannot be.
    #[error("{host}: {error}")]
    Config {
        /// Which host.
        host: HostId,
        /// What is wrong.
        error: ConfigError,
    },
}

/// A world did not go quiet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "not quiet: {messages} messages on the wire, {jobs} jobs and writes \
     under way, {operations} operations open"
)]
pub struct NotQuiet {
    /// On the wire.
    pub messages: usize,
    /// Verifications and writes.
    pub jobs: usize,
    /// Operations without outcome.
    pub operations: usize,
}
