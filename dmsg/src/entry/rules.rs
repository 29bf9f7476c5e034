//! Rules that a discovery applies to entries (specification of discovery, §1).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Entry, EntryError};

/// Maximum age of a server's entry, in nanoseconds.
const MAX_AGE: i128 = 60_000_000_000;
/// How far in the future a server's entry may be, in nanoseconds.
const MAX_AHEAD: i128 = 5_000_000_000;

impl Entry {
    /// Checks that the entry is complete.
    ///
    /// # Errors
    /// The first rule that is broken, in upstream's order.
    pub fn validate(&self) -> Result<(), EntryError> {
        if self.signature.is_empty() {
            return Err(EntryError::NoSignature);
        }
        if self.version.is_empty() {
            return Err(EntryError::NoVersion);
        }
        match &self.server {
            None if self.client.is_none() => Err(EntryError::NoRole),
            Some(server) if server.address.is_empty() => Err(EntryError::NoAddress),
            _ => Ok(()),
        }
    }

    /// Checks the timestamp against the clock. Discoveries apply this to servers' entries only.
    ///
    /// # Errors
    /// [`EntryError::Outdated`].
    pub fn validate_time(&self, unix_now: Duration) -> Result<(), EntryError> {
        let age =
            i128::try_from(unix_now.as_nanos()).unwrap_or(i128::MAX) - i128::from(self.timestamp);
        if !(-MAX_AHEAD..=MAX_AGE).contains(&age) {
            return Err(EntryError::Outdated);
        }
        Ok(())
    }

    /// Checks that a server's address is not a loopback address, as upstream's production mode
    /// does.
    ///
    /// # Errors
    /// [`EntryError::LoopbackAddress`].
    pub fn validate_public(&self) -> Result<(), EntryError> {
        match &self.server {
            Some(server) if is_loopback(&server.address) => Err(EntryError::LoopbackAddress),
            _ => Ok(()),
        }
    }

    /// Checks that the entry may replace `old`.
    ///
    /// # Errors
    /// [`EntryError::Sequence`] or [`EntryError::Timestamp`].
    pub fn validate_iteration(&self, old: &Self) -> Result<(), EntryError> {
        if self.sequence <= old.sequence {
            return Err(EntryError::Sequence);
        }
        if self.timestamp < old.timestamp {
            return Err(EntryError::Timestamp);
        }
        Ok(())
    }
}

fn is_loopback(address: &str) -> bool {
    if let Ok(address) = address.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    // An empty host means the local one.
    (host.is_empty() && !address.is_empty())
        || host == "localhost"
        || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}
