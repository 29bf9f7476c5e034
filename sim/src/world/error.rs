//! Errors of the world.

use std::net::SocketAddr;

use skydht_core::key::PublicKey;
use skydht_core::node::ConfigError;

use crate::network::HostId;

/// The caller asked for something impossible.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// No host has this number.
    #[error("there is no {0}")]
    UnknownHost(HostId),
    /// Two hosts cannot have the same key.
    #[error("{0} has the key {1} already")]
    DuplicateKey(HostId, PublicKey),
    /// Two hosts cannot have the same address.
    #[error("{0} has the address {1} already")]
    DuplicateAddress(HostId, SocketAddr),
    /// The host already runs.
    #[error("{0} runs already")]
    AlreadyUp(HostId),
    /// The host does not run, or is suspended.
    #[error("{0} does not run")]
    NotUp(HostId),
    /// The host is not suspended.
    #[error("{0} is not suspended")]
    NotSuspended(HostId),
    /// The configuration of the host is invalid.
    #[error("{host}: {error}")]
    Config {
        /// The host.
        host: HostId,
        /// The error.
        error: ConfigError,
    },
}

/// A world did not become quiet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "not quiet: {messages} messages on the wire, {jobs} jobs and writes \
     under way, {operations} operations open"
)]
pub struct NotQuiet {
    /// Number of messages in transit.
    pub messages: usize,
    /// Number of verifications and writes in progress.
    pub jobs: usize,
    /// Number of operations without outcome.
    pub operations: usize,
}
