//! Rules for single entries.

use std::time::Duration;

use skydht_core::time::Unix;
use skydht_dmsg::entry::SignedEntry;
use subtle::ConstantTimeEq as _;

use super::Refusal;

/// Largest entry of a server, in bytes. All servers are sent in one response. Go's service has no
/// limit.
pub const MAX_SERVER_ENTRY: usize = 4096;

const OFFICIAL: &str = "official";
const COMMUNITY: &str = "community";

/// Strictness of a discovery.
#[derive(Clone, Default)]
pub struct Rules {
    /// Whether servers may have loopback addresses: upstream's test mode, for networks on one
    /// machine.
    pub allow_loopback: bool,
    /// Servers whose entry has this text as its type are published as `official`, all others as
    /// `community`. If it is empty, servers without a type are official, as upstream has it.
    pub passphrase: String,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules")
            .field("allow_loopback", &self.allow_loopback)
            .finish_non_exhaustive()
    }
}

impl Rules {
    /// Validates an entry to be stored, and returns it in the form in which it is stored.
    ///
    /// # Errors
    /// The first violated rule, in upstream's order.
    pub fn publish(&self, signed: SignedEntry, now: Unix) -> Result<SignedEntry, Refusal> {
        if !self.allow_loopback {
            signed.entry().validate_public()?;
        }
        signed.judge(Duration::from_nanos(now.0))?;
        let Some(server) = &signed.entry().server else {
            return Ok(signed);
        };
        if signed.json().len() > MAX_SERVER_ENTRY {
            return Err(Refusal::TooLong);
        }
        let said = server.server_type.as_bytes();
        let is_official = bool::from(said.ct_eq(self.passphrase.as_bytes()));
        let kind = if is_official { OFFICIAL } else { COMMUNITY };
        Ok(signed.with_server_type(kind)?)
    }

    /// Validates a request to remove an entry.
    ///
    /// # Errors
    /// As [`Rules::publish`].
    pub fn remove(&self, signed: &SignedEntry, now: Unix) -> Result<(), Refusal> {
        Ok(signed.judge(Duration::from_nanos(now.0))?)
    }
}
